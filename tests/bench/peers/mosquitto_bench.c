/* Mosquitto under the load of `psctl bench`.
 *
 * libmosquitto makes the connections and subscriptions. The messages then pass over its sockets without it: it writes
 * every packet by a call of its own and reads one in three (a byte, the length, the rest), which costs more than what
 * the broker does for the packet, so that the library would be what is measured. Here packets are written and read by
 * the buffer; what an MQTT 3.1.1 client owes, a PUBACK for every PUBLISH of QoS 1, is sent.
 *
 * The broker forgets a message that nobody has subscribed to. In `pub` and `replay` there is therefore a durable
 * session that is away while everything is published, and is given all of it afterwards; `pub` measures the first half,
 * `replay` the second. */
#include "drive.h"

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <mosquitto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT = 1883, IN_FLIGHT = 1000, MOST_IN_FLIGHT = 65535, AHEAD = 4096 };
enum { NAME_BYTES = 64, READ_BYTES = 256 * 1024, FRAME_OVERHEAD = 256, KEEPALIVE_S = 3600, PATIENCE_S = 10 };
enum { PAUSE_NS = 1000000, FANOUT_PAUSE_NS = 20000000 }; /* measured: of 0 to 50 ms the fastest */
enum { PUBLISH = 3, PUBACK = 4 };                        /* packet types */

struct session {
    struct mosquitto *mosquitto;
    int fd;
    unsigned number;
    unsigned granted;
    bool answered;
    struct text rest; /* the beginning of a packet that is still to come */
};

struct mosquitto_bench {
    struct peer peer;
    struct drive drive;
    struct session publisher;
    struct session *subscribers;
    struct text *heads;  /* of each topic: a PUBLISH up to the packet id or the payload */
    struct text packets; /* to be written */
    struct text pubacks; /* to be written */
    char *buffer;        /* what is read */
    size_t room;
    bool stored; /* there is a durable session */
};

static struct mosquitto_bench bench; /* the histogram is large; and atexit() passes nothing */

/* ------------------------------------------------------------------------------------------------- sessions */

static void must(int code, const char *what)
{
    if (code != MOSQ_ERR_SUCCESS)
        peer_fail("%s: %s", what, code == MOSQ_ERR_ERRNO ? strerror(errno) : mosquitto_strerror(code));
}

static void connected_cb(struct mosquitto *mosquitto, void *data, int code)
{
    struct session *session = data;

    (void)mosquitto;
    if (code != 0)
        peer_fail("connecting to Mosquitto: %s", mosquitto_connack_string(code));
    session->answered = true;
}

static void subscribed_cb(struct mosquitto *mosquitto, void *data, int id, int count, const int *granted)
{
    struct session *session = data;

    (void)mosquitto;
    (void)id;
    session->granted = count == 1 ? (unsigned)granted[0] : MOST_IN_FLIGHT;
    session->answered = true;
}

/* One packet at a time: behind the answer, what comes is ours to read. */
static void await_answer(struct session *session)
{
    uint64_t until = peer_now() + PATIENCE_S * UINT64_C(1000000000);

    while (!session->answered) {
        must(mosquitto_loop(session->mosquitto, 1000, 1), "connecting to Mosquitto");
        if (peer_now() > until)
            peer_fail("no answer from Mosquitto in %d s", PATIENCE_S);
    }
    session->answered = false;
}

static void open_session(struct session *session, unsigned number, const char *role, bool clean)
{
    char id[NAME_BYTES];

    snprintf(id, sizeof id, "psbroker-bench-%ld-%s-%u", (long)getpid(), role, number);
    *session = (struct session){.number = number, .mosquitto = mosquitto_new(id, clean, session)};
    if (session->mosquitto == NULL)
        peer_fail("mosquitto_new: %s", strerror(errno));
    mosquitto_connect_callback_set(session->mosquitto, connected_cb);
    mosquitto_subscribe_callback_set(session->mosquitto, subscribed_cb);
    must(mosquitto_int_option(session->mosquitto, MOSQ_OPT_TCP_NODELAY, 1), "TCP_NODELAY");
    must(mosquitto_connect(session->mosquitto, bench.peer.host, bench.peer.port, KEEPALIVE_S),
         bench.peer.host);
    await_answer(session);
    session->fd = mosquitto_socket(session->mosquitto);
    int flags = fcntl(session->fd, F_GETFL);
    if (flags < 0 || fcntl(session->fd, F_SETFL, flags & ~O_NONBLOCK) != 0)
        peer_fail("fcntl: %s", strerror(errno));
}

static void close_session(struct session *session)
{
    if (session->mosquitto == NULL)
        return;
    mosquitto_disconnect(session->mosquitto);
    mosquitto_destroy(session->mosquitto);
    text_deinit(&session->rest);
    session->mosquitto = NULL;
}

static void subscribe(struct session *session)
{
    char filter[NAME_BYTES];

    snprintf(filter, sizeof filter, "psbroker-bench/%ld/+", (long)getpid());
    must(mosquitto_subscribe(session->mosquitto, NULL, filter, (int)bench.peer.qos), "subscribing");
    await_answer(session);
    if (session->granted != bench.peer.qos)
        peer_fail("subscribing: QoS %u was not granted", bench.peer.qos);
}

/* Connecting clean ends a durable session, and the broker drops what it kept for it. */
static void forget_session(void)
{
    struct session session;

    if (!bench.stored)
        return;
    open_session(&session, 0, "sub", true);
    close_session(&session);
}

/* --------------------------------------------------------------------------------------------- publishing */

static void encode_heads(void)
{
    const struct bench_plan *plan = &bench.peer.plan;
    char topic[NAME_BYTES];

    bench.heads = must_alloc(plan->topics * sizeof *bench.heads);
    for (unsigned i = 0; i < plan->topics; i++) {
        size_t size = (size_t)snprintf(topic, sizeof topic, "psbroker-bench/%ld/%u", (long)getpid(), i);
        size_t left = 2 + size + (bench.peer.qos != 0 ? 2 : 0) + plan->size;
        struct text head = {0};
        text_char(&head, (char)(PUBLISH << 4 | bench.peer.qos << 1));
        for (; left >= 128; left >>= 7)
            text_char(&head, (char)(left | 128));
        text_char(&head, (char)left);
        text_char(&head, (char)(size >> 8));
        text_char(&head, (char)size);
        text_add(&head, topic, size);
        bench.heads[i] = head;
    }
}

/* Packet ids go round from 1 to 65535: a window is never that long. */
static void publish(struct drive *drive, unsigned topic, const char *payload)
{
    text_add(&bench.packets, bench.heads[topic].data, text_size(&bench.heads[topic]));
    if (bench.peer.qos != 0) {
        unsigned id = (unsigned)(drive->sent % MOST_IN_FLIGHT) + 1;
        text_char(&bench.packets, (char)(id >> 8));
        text_char(&bench.packets, (char)id);
    }
    text_add(&bench.packets, payload, drive->peer->plan.size);
}

static void flush(struct drive *drive)
{
    (void)drive;
    drive_write(bench.publisher.fd, bench.packets.data, bench.packets.end);
    bench.packets.end = 0;
}

/* ------------------------------------------------------------------------------------------------- packets */

static void take_publish(struct session *session, const unsigned char *packet, size_t size)
{
    size_t qos = packet[0] >> 1 & 3, at, topic;

    for (at = 1; packet[at] >= 128; at++) {
    }
    at++;
    topic = size - at < 2 ? SIZE_MAX : (size_t)packet[at] << 8 | packet[at + 1];
    if (topic > size - at - 2 || size - at - 2 - topic != bench.peer.plan.size + (qos != 0 ? 2 : 0))
        peer_fail("a message of another size than was published");
    at += 2 + topic;
    if (qos != 0) {
        text_add(&bench.pubacks, "\x40\x02", 2);
        text_add(&bench.pubacks, packet + at, 2);
        at += 2;
    }
    drive_delivered(&bench.drive, session->number, (const char *)packet + at);
}

static void take_packet(struct session *session, const unsigned char *packet, size_t size)
{
    unsigned type = packet[0] >> 4;

    if (type == PUBACK && session == &bench.publisher)
        drive_acknowledged(&bench.drive);
    else if (type == PUBLISH && session != &bench.publisher)
        take_publish(session, packet, size);
    else
        peer_fail("a packet of type %u that nobody asked for", type);
}

/* The bytes of the packet at the front; 0 when it is not complete. */
static size_t packet_size(const unsigned char *data, size_t size)
{
    size_t left = 0;

    for (unsigned i = 1; i < size; i++) {
        if (i > 4)
            peer_fail("a packet length of more than four bytes");
        left |= (size_t)(data[i] & 127) << (7 * (i - 1));
        if (data[i] < 128)
            return size - i - 1 < left ? 0 : i + 1 + left;
    }
    return 0;
}

/* One read, and all packets that are complete with it. One buffer for all sessions stays in the cache. */
static void take_packets(struct session *session)
{
    unsigned char *from = (unsigned char *)bench.buffer;
    size_t kept = text_size(&session->rest), size;

    if (kept != 0)
        memcpy(bench.buffer, session->rest.data, kept);
    ssize_t got = recv(session->fd, bench.buffer + kept, bench.room - kept, 0);
    if (got <= 0)
        peer_fail("reading from Mosquitto: %s", got == 0 ? "it closed the connection" : strerror(errno));
    bench.drive.now = peer_now();
    kept += (size_t)got;
    while ((size = packet_size(from, kept)) != 0) {
        take_packet(session, from, size);
        from += size;
        kept -= size;
    }
    session->rest.end = session->rest.begin;
    text_add(&session->rest, from, kept);
    if (bench.pubacks.end != 0)
        drive_write(session->fd, bench.pubacks.data, bench.pubacks.end);
    bench.pubacks.end = 0;
}

static void answered(struct drive *drive)
{
    (void)drive;
    take_packets(&bench.publisher);
}

static void received(struct drive *drive, unsigned subscriber)
{
    (void)drive;
    take_packets(&bench.subscribers[subscriber]);
}

/* --------------------------------------------------------------------------------------------------- modes */

static void open_subscribers(void)
{
    for (unsigned i = 0; i < bench.peer.plan.subscribers; i++) {
        open_session(&bench.subscribers[i], i, "sub", true);
        subscribe(&bench.subscribers[i]);
        drive_watch_subscriber(&bench.drive, i, bench.subscribers[i].fd);
    }
}

static void prepare_durable_session(void)
{
    open_session(&bench.subscribers[0], 0, "sub", false);
    bench.stored = true;
    subscribe(&bench.subscribers[0]);
    close_session(&bench.subscribers[0]);
}

static void receive_stored(void)
{
    open_session(&bench.subscribers[0], 0, "sub", false);
    drive_watch_subscriber(&bench.drive, 0, bench.subscribers[0].fd);
    drive_receive(&bench.drive);
}

static void measure_stored(void)
{
    struct peer *peer = &bench.peer;

    prepare_durable_session();
    peer_begin(peer);
    drive_publish(&bench.drive);
    if (peer->plan.mode == BENCH_REPLAY)
        peer_begin(peer);
    else
        peer->ended = peer_now();
    receive_stored();
    if (peer->plan.mode == BENCH_REPLAY)
        peer->ended = peer_now();
}

static void measure_live(void)
{
    open_subscribers();
    peer_begin(&bench.peer);
    drive_publish(&bench.drive);
    bench.peer.ended = peer_now();
}

static void init(int argc, char **argv)
{
    static const struct drive_calls calls = {publish, flush, answered, received};
    struct bench_plan *plan = &bench.peer.plan;

    peer_init(&bench.peer, argc, argv,
              "Mosquitto: PUBLISH with QoS 1 (or --qos 0), to sessions that are there or away.", PORT);
    if (!plan->live && (bench.peer.qos == 0 || plan->subscribers > 1))
        peer_fail("%s: one durable session, with QoS 1", plan->name);
    drive_init(&bench.drive, &bench.peer, &calls, IN_FLIGHT);
    if (plan->window >= MOST_IN_FLIGHT)
        peer_fail("--window: MQTT has %d packet ids", MOST_IN_FLIGHT);
    bench.drive.ahead = AHEAD;
    bench.drive.pause_ns = plan->mode == BENCH_FANOUT ? FANOUT_PAUSE_NS : PAUSE_NS;
    bench.drive.unacknowledged = bench.peer.qos == 0;
    bench.room = READ_BYTES + plan->size + FRAME_OVERHEAD;
    bench.buffer = must_alloc(bench.room);
    bench.subscribers = must_alloc((plan->subscribers + 1) * sizeof *bench.subscribers);
    memset(bench.subscribers, 0, (plan->subscribers + 1) * sizeof *bench.subscribers);
    encode_heads();
    mosquitto_lib_init();
}

static void deinit(void)
{
    for (unsigned i = 0; i < bench.drive.subscribers; i++)
        close_session(&bench.subscribers[i]);
    close_session(&bench.publisher);
    for (unsigned i = 0; i < bench.peer.plan.topics; i++)
        text_deinit(&bench.heads[i]);
    free(bench.heads);
    free(bench.subscribers);
    free(bench.buffer);
    text_deinit(&bench.packets);
    text_deinit(&bench.pubacks);
    drive_deinit(&bench.drive);
    peer_deinit(&bench.peer);
}

int main(int argc, char **argv)
{
    init(argc, argv);
    atexit(forget_session);
    open_session(&bench.publisher, 0, "pub", true);
    drive_watch_publisher(&bench.drive, bench.publisher.fd);
    if (bench.peer.plan.live)
        measure_live();
    else
        measure_stored();
    int code = peer_show(&bench.peer);
    forget_session();
    bench.stored = false;
    deinit();
    mosquitto_lib_cleanup();
    return code;
}
