#include "peer.h"

#include "args.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)

/* -------------------------------------------------------------------------------------- the command line */

enum { OPTION_SERVER = 256, OPTION_CORE, OPTION_QOS, OPTION_HELP };

static const struct option long_options[] = {
    {"messages", required_argument, NULL, BENCH_MESSAGES},
    {"size", required_argument, NULL, BENCH_SIZE},
    {"topics", required_argument, NULL, BENCH_TOPICS},
    {"clients", required_argument, NULL, BENCH_CLIENTS},
    {"subscribers", required_argument, NULL, BENCH_SUBSCRIBERS},
    {"window", required_argument, NULL, BENCH_WINDOW},
    {"rate", required_argument, NULL, BENCH_RATE},
    {"duration", required_argument, NULL, BENCH_DURATION},
    {"server", required_argument, NULL, OPTION_SERVER},
    {"core", no_argument, NULL, OPTION_CORE},
    {"qos", required_argument, NULL, OPTION_QOS},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static const char help[] =
    "Modes: pub, replay, fanout, latency, e2e, as in psctl bench; the result is one JSON object on stdout.\n"
    "\n"
    "  --server HOST:PORT   where the broker listens\n"
    "  --messages N         how many to publish\n"
    "  --size BYTES         of a payload (100)\n"
    "  --topics N           one at random for each message (1)\n"
    "  --clients N          publishing connections (1)\n"
    "  --subscribers N      subscribing connections\n"
    "  --window N           messages in flight\n"
    "  --rate N             messages per second, each measured from when it was due\n"
    "  --duration TIME      such as 10s, instead of --messages\n"
    "  --core               NATS without JetStream: nothing is stored\n"
    "  --qos 0|1            MQTT's quality of service (1)\n";

static _Noreturn void usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

static _Noreturn void usage(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\nTry --help.\n");
    va_end(arguments);
    exit(2);
}

static void set_server(struct peer *peer, const char *value)
{
    const char *colon = strrchr(value, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - value);
    uint64_t port;

    if (colon == NULL || length == 0 || length >= sizeof peer->host || !args_number(colon + 1, &port) ||
        port == 0 || port > UINT16_MAX)
        usage("--server: \"%s\" is not HOST:PORT", value);
    memcpy(peer->host, value, length);
    peer->host[length] = '\0';
    peer->port = (uint16_t)port;
}

static void set(struct peer *peer, int option, const char *value)
{
    uint64_t number = 0;

    if (option == OPTION_SERVER) {
        set_server(peer, value);
    } else if (option == OPTION_CORE) {
        peer->core = true;
    } else if (option == BENCH_DURATION ? !args_duration(value, &number) : !args_number(value, &number)) {
        usage("\"%s\" is not a %s", value, option == BENCH_DURATION ? "time, such as 10s" : "number");
    } else if (option == OPTION_QOS) {
        if (number > 1)
            usage("--qos: 0 or 1");
        peer->qos = (unsigned)number;
    } else {
        peer->options.value[option] = number;
        peer->options.given[option] = true;
    }
}

static void parse(struct peer *peer, int argc, char **argv, const char *about)
{
    char error[ARGS_ERROR_BYTES];
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == '?')
            exit(2);
        if (option == OPTION_HELP) {
            printf("Usage: %s MODE [OPTION...]\n%s\n%s", program_invocation_short_name, about, help);
            exit(0);
        }
        set(peer, option, optarg);
    }
    if (optind + 1 != argc)
        usage("one mode is expected");
    if (!bench_plan_make(&peer->plan, argv[optind], &peer->options, error, sizeof error))
        usage("%s", error);
}

/* ------------------------------------------------------------------------------------------------ memory */

/* The bytes that psctl bench sends. */
static void fill_payload(struct peer *peer)
{
    uint64_t dice = 1;

    peer->payload = must_alloc(peer->plan.size + 1);
    for (size_t i = 0; i < peer->plan.size; i++) {
        dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        peer->payload[i] = (char)('0' + (dice >> 58));
    }
    peer->payload[peer->plan.size] = '\0';
}

void peer_init(struct peer *peer, int argc, char **argv, const char *about, uint16_t port)
{
    *peer = (struct peer){.host = "127.0.0.1", .port = port, .qos = 1, .dice = UINT64_C(0x9e3779b97f4a7c15)};
    parse(peer, argc, argv, about);
    peer->result = (struct bench_result){.plan = &peer->plan, .latency = &peer->latency};
    fill_payload(peer);
}

void peer_deinit(struct peer *peer)
{
    free(peer->payload);
}

void peer_fail(const char *format, ...)
{
    static bool failing;
    va_list arguments;

    if (failing)
        _exit(1); /* while cleaning up: the first reason counts */
    failing = true;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* ------------------------------------------------------------------------------------------------- clock */

uint64_t peer_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static double cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void peer_begin(struct peer *peer)
{
    peer->cpu_began = cpu_s();
    peer->began = peer_now();
}

void peer_measure(struct peer *peer, const struct peer_steps *steps, void *data)
{
    if (peer->plan.mode == BENCH_REPLAY) {
        steps->publish(data);
        steps->open(data);
        peer_begin(peer);
        steps->attach(data);
        steps->receive(data);
    } else {
        if (peer->plan.live) {
            steps->open(data);
            steps->attach(data);
        }
        peer_begin(peer);
        steps->publish(data);
    }
    peer->ended = peer_now();
}

uint64_t peer_due_at(const struct peer *peer, uint64_t message)
{
    uint64_t rate = peer->plan.rate;

    return peer->began + message / rate * SECOND + message % rate * SECOND / rate;
}

uint64_t peer_due_by(const struct peer *peer, uint64_t sent, uint64_t now)
{
    const struct bench_plan *plan = &peer->plan;
    uint64_t elapsed = now - peer->began, due = plan->messages;

    if (plan->rate != 0)
        due = elapsed / SECOND * plan->rate + elapsed % SECOND * plan->rate / SECOND + 1;
    else if (plan->duration_ms != 0 && elapsed >= plan->duration_ms * (SECOND / 1000))
        due = sent;
    return due < plan->messages ? due : plan->messages;
}

/* ----------------------------------------------------------------------------------------------- messages */

unsigned peer_choose_topic(struct peer *peer)
{
    if (peer->plan.topics == 1)
        return 0;
    peer->dice ^= peer->dice << 13;
    peer->dice ^= peer->dice >> 7;
    peer->dice ^= peer->dice << 17;
    return (unsigned)(peer->dice % peer->plan.topics);
}

void peer_stamp(char *payload, uint64_t time)
{
    for (int i = BENCH_STAMP_BYTES - 1; i >= 0; i--, time >>= 4)
        payload[i] = "0123456789abcdef"[time & 15];
}

uint64_t peer_stamped(const char *payload)
{
    uint64_t time = 0;

    for (int i = 0; i < BENCH_STAMP_BYTES; i++)
        time = time << 4 | (uint64_t)(payload[i] <= '9' ? payload[i] - '0' : payload[i] - 'a' + 10);
    return time;
}

void peer_delivered(struct peer *peer, const char *payload, uint64_t now)
{
    uint64_t from = peer_stamped(payload);

    peer->result.deliveries++;
    histogram_record(&peer->latency, now > from ? now - from : 0);
}

/* ------------------------------------------------------------------------------------------------- result */

int peer_show(struct peer *peer)
{
    struct bench_result *result = &peer->result;
    struct text text = {0};
    struct json json = json_object(&text);

    result->ns = peer->ended - peer->began;
    result->complete = result->refused == 0 && result->unknown == 0;
    bench_result_members(&json, result);
    json_double(&json, "client_cpu_s", cpu_s() - peer->cpu_began);
    json_end(&json);
    text_char(&text, '\n');
    fputs(text_string(&text), stdout);
    text_deinit(&text);
    if (!result->complete)
        fprintf(stderr, "%s: %" PRIu64 " refused, %" PRIu64 " unknown\n", program_invocation_short_name,
                result->refused, result->unknown);
    return fflush(stdout) == 0 && result->complete ? 0 : 1;
}
