"""Clients that are too many, too slow, too large, or gone: what they do to a broker, and what must hold.

Each flood is a class: the broker's options, and `round()`, which does it once and gives how many faults that were.
`Site` runs rounds on one broker and checks around them: what was acknowledged is there, every descriptor came back,
memory does not grow from one round to the next, the broker ends with 0. A violation is an AssertionError.
"""
import os
import random
import resource
import select
import signal
import socket
import struct
import subprocess
import time

import wire
from psbroker_test import LIMIT, PSCTL, Broker, wait_until
from wire import Closed, Refused, Wire, frame, pb

MIB = 1 << 20
HELLO = frame(pb.ClientFrame(request_id=1, hello=pb.Hello(min_version=1, max_version=1)).SerializeToString())


def check(condition, *about):
    if not condition:
        raise AssertionError(" ".join(map(str, about)))


def need_descriptors(count):
    """For this process and what it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    check(hard == resource.RLIM_INFINITY or hard >= count, f"{count} file descriptors are needed, ulimit -Hn is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


class Site:
    """One broker, a client that goes on working beside the flood, and rounds of it."""

    def __init__(self, flood, directory, seed, program=None):
        self.flood = flood
        self.chance = random.Random(seed)
        self.acknowledged = 0
        self.faults = 0
        self.checked = 0  # other acknowledged messages that came back
        self.rounds = []  # (resident bytes, descriptors) after each
        self.open = []
        self.program = program
        self.data = os.path.join(directory, "data")
        self.server = self.start()
        with open(f"/proc/{self.server.pid}/maps", encoding="ascii") as maps:
            self.sanitized = "libasan" in maps.read()
        self.worker = Wire(self.server.port)
        self.publish(100)
        flood.site = self

    def start(self):
        return Broker(self.data, *self.flood.options, program=self.program, preexec=self.flood.preexec)

    def connect(self, **options):
        client = Wire(self.server.port, **options)
        self.open.append(client)
        return client

    def raw(self, data=b""):
        """A connected socket; nothing more was sent than `data`."""
        peer = socket.create_connection(("127.0.0.1", self.server.port), LIMIT)
        self.open.append(peer)
        if data:
            peer.sendall(data)
        return peer

    def close_all(self):
        for client in self.open:
            client.close()
        self.open.clear()

    def publish(self, count=10):
        """Messages that must be there in the end; the longest that one of them took."""
        longest = 0
        for _ in range(count):
            began = time.monotonic()
            run = self.worker.publish("kept", b"%d" % self.acknowledged)[0]
            longest = max(longest, time.monotonic() - began)
            check(not run.HasField("error") and run.first_offset == self.acknowledged, "a publication beside it:", run)
            self.acknowledged += 1
        return longest

    def restart(self):
        """Seconds that the broker took to start."""
        self.worker.close()
        check(self.server.terminate() == 0, "the broker did not end well:", self.server.err[-2000:])
        began = time.monotonic()
        self.server = self.start()
        took = time.monotonic() - began
        self.worker = Wire(self.server.port)
        return took

    # ------------------------------------------------------------------------------------------- measures

    def memory(self, name="VmRSS:"):
        with open(f"/proc/{self.server.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))

    def forget_peak(self):
        with open(f"/proc/{self.server.pid}/clear_refs", "w", encoding="ascii") as refs:
            refs.write("5")

    def expect_memory(self, most, before, what):
        """Sanitizers keep what was freed: then it cannot be judged."""
        peak = self.memory("VmHWM:")
        if not self.sanitized:
            check(peak - before < most,
                  f"{what}: {(peak - before) / MIB:.1f} MiB more than before, at most {most / MIB:.0f}")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    def cpu_seconds(self):
        with open(f"/proc/{self.server.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # ---------------------------------------------------------------------------------------------- rounds

    def round(self):
        if not self.rounds:
            baseline = self.descriptors()
        else:
            baseline = self.rounds[0][1]
        self.faults += self.flood.round()
        self.close_all()
        wait_until(lambda: self.worker.info().connections == 1, "everybody to be gone")
        wait_until(lambda: self.descriptors() <= baseline, f"the {baseline} descriptors that there were")
        self.publish()
        self.rounds.append((self.memory(), baseline))

    def check_growth(self):
        """malloc gives memory back now and then: what counts is the least of it, in the first rounds and the last."""
        half = len(self.rounds) // 2
        if self.sanitized or half < 2:
            return
        first = min(memory for memory, _ in self.rounds[1:half + 1])
        last = min(memory for memory, _ in self.rounds[half:])
        check(last < first * 1.05 + self.flood.kept,
              f"{(last - first) / MIB:.1f} MiB more after {len(self.rounds)} rounds ({first / MIB:.1f} before)")

    def verify(self):
        """All that was acknowledged comes back, once and in order."""
        with Wire(self.server.port) as reader:
            subscribed = reader.subscribe("kept", start=wire.BEGINNING)
            check(subscribed.starts[0].head == self.acknowledged, "the head is", subscribed.starts[0].head)
            for index, (_, message) in enumerate(reader.messages(subscribed.subscription, self.acknowledged)):
                check((message.offset, message.payload) == (index, b"%d" % index), "instead of", index, message)

    def finish(self):
        self.check_growth()
        self.verify()
        self.worker.close()
        check(self.server.terminate() == 0, "the broker did not end well:", self.server.err[-2000:])

    def end(self):
        self.close_all()
        self.worker.close()
        self.server.end()


class Flood:
    options = ()
    preexec = None
    rounds = 4  # of a test
    kept = MIB  # by malloc, which decides anew in each round
    site = None

    def round(self):
        raise NotImplementedError


def last_words(peer, limit=LIMIT):
    """Reads a raw socket to its end; the last frame's error, None when there was none."""
    peer.settimeout(limit)
    data = b""
    try:
        while piece := peer.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    error = None
    while len(data) >= 4:
        (size,) = struct.unpack_from(">I", data)
        message = pb.ServerFrame.FromString(data[4:4 + size])
        error = message.error if message.WhichOneof("body") == "error" else None
        data = data[4 + size:]
    return error


# ------------------------------------------------------------------------------------------- descriptors

class Descriptors(Flood):
    """64 file descriptors and 200 clients: those that find none wait, at no cost, until others leave."""
    CLIENTS = 200

    @staticmethod
    def preexec():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    def round(self):
        site = self.site
        waiting = [site.raw(HELLO) for _ in range(self.CLIENTS)]
        wait_until(lambda: "event=accept_paused" in site.server.err, "accepting to pause")
        site.publish()
        began, before = time.monotonic(), site.cpu_seconds()
        select.select([], [], [], 0.5)  # the measurement itself
        spent = (site.cpu_seconds() - before) / (time.monotonic() - began)
        check(spent < 0.05, f"{spent * 100:.0f} % of a processor while accepting is paused")
        served = 0
        while waiting:
            ready, _, _ = select.select(waiting, [], [], LIMIT)
            check(ready, f"nobody of {len(waiting)} is served any more")
            for peer in ready:
                check(peer.recv(65536), "closed instead of served")
                waiting.remove(peer)
                peer.close()
                served += 1
        check(served == self.CLIENTS, served, "were served")
        return 1


# -------------------------------------------------------------------------------------------- half-open

class HalfOpen(Flood):
    """Peers that answer nothing any more: found by pings within two intervals, however they stopped."""
    INTERVAL = 2.0
    PEERS = 6  # of each kind
    rounds = 2
    options = ("--ping-interval", "2s")

    def round(self):
        site = self.site
        for index in range(self.PEERS):
            site.connect().subscribe("idle")                  # waiting for messages
            site.connect().subscribe("busy/#")                # with deliveries that it does not take
            site.connect().subscribe("d", durable_id=b"d%d" % index, start=wire.BEGINNING)
        stopped = [subprocess.Popen([PSCTL, "-p", str(site.server.port), "sub", "busy/#"], stdin=subprocess.DEVNULL,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                   for _ in range(self.PEERS)]
        try:
            wait_until(lambda: self.answer_pings().subscriptions == 4 * self.PEERS, "all to be there")
            for process in stopped:
                process.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            self.deliver()
            wait_until(lambda: self.answer_pings().subscriptions == 0, "all to be given up")
            took = time.monotonic() - began
            # Their last sign of life came before; the look itself is an eighth of an interval late at most.
            check(took < 2.75 * self.INTERVAL, f"given up after {took:.1f} s, two intervals are {2 * self.INTERVAL} s")
        finally:
            for process in stopped:
                process.kill()
                process.wait()
        return 4 * self.PEERS

    def answer_pings(self):
        return self.site.worker.info()

    def deliver(self):
        """More than the sockets of those who stopped take, so that something stays queued for them."""
        publisher = self.site.worker
        for _ in range(8):
            publisher.publish("busy/t", *[b"x" * 1000] * 1000)


# ------------------------------------------------------------------------------------------- slow senders

class SlowSenders(Flood):
    """Frames that come byte by byte: 500 connections, half of them before Hello, each ended in its time."""
    SENDERS = 500
    SECONDS = 1.0
    options = ("--frame-timeout", "1s", "--hello-timeout", "1s")

    def round(self):
        site = self.site
        half = self.SENDERS // 2
        senders = []
        for index in range(self.SENDERS):
            if index < half:
                senders.append(site.connect().socket)
            else:
                senders.append(site.raw())
        start = struct.pack(">I", 4000)
        began = time.monotonic()
        at = 0
        longest = 0
        while at < 4 + 20:
            for peer in senders:
                try:
                    peer.send(start[at:at + 1] if at < 4 else b"\x08")
                except OSError:
                    pass  # it was ended
            at += 1
            longest = max(longest, site.publish(1))
            site.chance.random()
            select.select([], [], [], 0.05)
        for peer in senders:
            error = last_words(peer)
            check(error is not None and error.status == wire.TIMED_OUT, "a slow sender was told", error)
            check(error.limit_name in ("frame_timeout_ms", "hello_timeout_ms"), error)
        took = time.monotonic() - began
        check(took < self.SECONDS + 5, f"the last slow sender was ended after {took:.1f} s")
        check(longest < 1, f"a publication beside them took {longest:.2f} s")
        return self.SENDERS


# --------------------------------------------------------------------------------------- unauthenticated

class Unauthenticated(Flood):
    """5,000 connections that never say Hello: a client logs in within a second all the while, memory is bounded."""
    CLIENTS = 5000

    @staticmethod
    def preexec():
        need_descriptors(2 * Unauthenticated.CLIENTS)

    def round(self):
        site = self.site
        need_descriptors(2 * self.CLIENTS)
        before = site.memory()
        site.forget_peak()
        logins = []
        for index in range(self.CLIENTS):
            site.raw(b"" if index % 2 else b"\0")
            if index % 500 == 499:
                logins.append(self.login())
        check(max(logins) < 1, f"a login took {max(logins):.2f} s")
        check(site.worker.info().connections < 1 + 512 + 2 * 64, "connections:", site.worker.info().connections)
        site.expect_memory(16 * MIB, before, "5,000 connections before Hello")
        # Those that made way were told why.
        error = last_words(site.open[0])
        check(error is not None and error.status in (wire.LIMIT_EXCEEDED, wire.TIMED_OUT), "the first was told", error)
        return 1

    def login(self):
        began = time.monotonic()
        with Wire(self.site.server.port) as client:
            client.request(ping=pb.Ping(token=1))
        return time.monotonic() - began


# ------------------------------------------------------------------------------------------------- bombs

def field(number, kind, data):
    """One protobuf field from its bytes."""
    return _varint(number << 3 | kind) + (_varint(len(data)) + data if kind == 2 else data)


def _varint(value):
    data = bytearray()
    while value > 0x7f:
        data.append(value & 0x7f | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def bombs(size):
    """Bodies of about `size` bytes that a careless decoder turns into many times as much."""
    topic = field(1, 2, b"t")
    many = size - 64
    inner = {
        "unknown fields": b"\x78\x01" * (many // 2),
        "empty unknown messages": b"\x7a\x00" * (many // 2),
        "the same number again and again": b"\x08\x01" * (many // 2),
        "fields without end": b"\xff" * many,
    }
    for name, data in inner.items():
        yield name + " in the frame", data
        yield name + " in Hello", field(2, 2, field(1, 0, b"\1") + field(2, 0, b"\1") + data)
        yield name + " in Publish", field(1, 0, b"\7") + field(5, 2, data)
        yield name + " in a batch", field(1, 0, b"\7") + field(5, 2, field(1, 2, topic + data))
        yield name + " in a message", field(1, 0, b"\7") + field(5, 2, field(1, 2, topic + field(2, 2, data)))
        yield name + " in Subscribe", field(1, 0, b"\7") + field(6, 2, topic + data)
    yield "empty batches", field(1, 0, b"\7") + field(5, 2, b"\x0a\x00" * (many // 2))
    yield "empty messages", field(1, 0, b"\7") + field(5, 2, field(1, 2, topic + b"\x12\x00" * (many // 2)))
    yield "small headers", field(1, 0, b"\7") + field(5, 2, field(1, 2, topic + field(
        2, 2, b"\x2a\x04\x0a\x00\x12\x00" * (many // 6))))
    yield "a long list of features", field(2, 2, field(1, 0, b"\1") + field(2, 0, b"\1") + field(3, 2, b"\1" * many))
    yield "single features", field(2, 2, field(1, 0, b"\1") + field(2, 0, b"\1") + b"\x18\1" * (many // 2))
    yield "resumed offsets", field(1, 0, b"\7") + field(6, 2, topic + field(3, 2, field(5, 2, b"\x08\1" + field(
        2, 2, b"\x0a\1t\x10\1") * (many // 7))))
    yield "groups in groups", b"\x7b" * many


class DecodeBombs(Flood):
    """Frames made to cost many times their size, before Hello and after: refused or answered, memory flat."""

    def round(self):
        site = self.site
        thrown = 0
        for hello, size in ((False, 4096), (True, MIB)):
            for name, body in bombs(size):
                client = site.connect(hello=hello)
                before = site.memory()
                site.forget_peak()
                client.raw(frame(body))
                self.expect_outcome(client, name, hello)
                site.expect_memory(8 * MIB, before, name)
                client.close()
                site.open.pop()
                thrown += 1
        return thrown

    def expect_outcome(self, client, name, hello):
        """A refusal by its name, or an answer and a connection that goes on."""
        try:
            client.raw(frame(pb.ClientFrame(request_id=99, ping=pb.Ping(token=5)).SerializeToString()))
            client.answer(99)
            check(hello or client.kept[0].HasField("welcome"), name, "was taken before Hello")
        except Refused as refused:
            check(refused.status == wire.PROTOCOL_VIOLATION and not hello, name, "was answered", refused)
        except (Closed, OSError):
            errors = [message.error for message in client.kept if message.WhichOneof("body") == "error"]
            check(errors and errors[-1].status in (wire.MALFORMED, wire.LIMIT_EXCEEDED, wire.PROTOCOL_VIOLATION,
                                                   wire.UNSUPPORTED), name, "ended with", errors or "nothing")


# ------------------------------------------------------------------------------------------------ topics

class Topics(Flood):
    """One client, a million names: a quota by its name, memory and the time to start flat."""
    LIMIT = 2000
    NAMES = int(os.environ.get("FLOOD_TOPICS", "200000"))
    options = ("--max-topics", str(LIMIT))

    def attempt(self, first, count):
        client = self.site.worker
        number = client.request_id()
        client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(
            *[("made/%d" % index, ["x"]) for index in range(first, first + count)])))
        return client.published(number, count)

    def round(self):
        site = self.site
        rest = self.LIMIT - site.worker.info().topics
        if rest > 0:
            self.attempt(0, rest)
        starting = site.restart()
        runs = self.attempt(self.LIMIT, 10000)  # what refusing needs is there from now on
        before, database = site.memory(), site.worker.info().database_bytes
        site.forget_peak()
        for first in range(0, self.NAMES, 10000):
            for run in self.attempt(1000000 + site.chance.randrange(1 << 40), 10000):
                check(run.error.status == wire.LIMIT_EXCEEDED and run.error.limit_name == "max_topics", run)
        site.expect_memory(8 * MIB, before, f"{self.NAMES} names")
        check(site.worker.info().topics == self.LIMIT, site.worker.info().topics, "topics")
        check(site.worker.info().database_bytes - database < MIB, "the file grew")
        again = site.restart()
        check(again < 2 * starting + 1, f"a start took {again:.2f} s, {starting:.2f} before")
        return self.NAMES // 10000 + (len(runs) > 0)


# ----------------------------------------------------------------------------------------- unread replies

class UnreadReplies(Flood):
    """Clients that ask and ask and read nothing: what is queued for all of them stays within its budget."""
    CLIENTS = 40
    kept = 16 * MIB
    options = ("--send-memory", "8M")

    def round(self):
        site = self.site
        if site.worker.info().topics < 500:
            number = site.worker.request_id()
            site.worker.send(pb.ClientFrame(request_id=number, publish=site.worker.publish_frame(
                *[("many/%d/%s" % (index, "x" * 200), ["p"]) for index in range(500)])))
            site.worker.published(number, 500)
        before = site.memory()
        site.forget_peak()
        request = frame(pb.ClientFrame(request_id=1, list_topics=pb.ListTopics()).SerializeToString()) * 500
        crowd = [site.connect() for _ in range(self.CLIENTS)]
        for client in crowd:
            client.socket.setblocking(False)
        for _ in range(40):
            for client in crowd:
                try:
                    client.socket.send(request)
                except BlockingIOError:
                    pass  # it is not read any more: that is the point
            longest = site.publish(1)
            check(longest < 1, f"a publication beside them took {longest:.2f} s")
        # Each may go beyond by the answer that made it too much.
        queued = site.worker.info().queued_bytes
        check(queued < 8 * MIB + self.CLIENTS * 200 * 1024, f"{queued / MIB:.1f} MiB are queued")
        site.expect_memory(40 * MIB, before, "answers that nobody reads")
        return self.CLIENTS


# ---------------------------------------------------------------------------------------------- arriving

class LargeFrames(Flood):
    """Large frames that begin all at once: a few arrive at a time, in the end all of them have."""
    CLIENTS = 64
    kept = 16 * MIB
    options = ("--receive-memory", "4M", "--publish-memory", "4M")

    def round(self):
        site = self.site
        if not site.rounds:
            for _ in range(64):  # what the store keeps of so much does not count
                site.worker.publish("large/first", b"x" * (MIB - 100))
        before = site.memory()
        site.forget_peak()
        senders = {}
        for index in range(self.CLIENTS):
            client = site.connect()
            client.socket.setblocking(False)
            body = pb.ClientFrame(request_id=7, publish=client.publish_frame(
                ("large/%d" % index, [b"x" * (MIB - 100)]))).SerializeToString()
            senders[client] = memoryview(frame(body))
        self.send(senders, keep=1000)
        check(site.publish() < 1, "a publication beside them took more than a second")
        for client in list(senders)[:4]:  # they are given up, and others take their place
            client.close()
            del senders[client]
        waiting = list(senders)
        self.send(senders)
        for client in waiting:
            client.socket.settimeout(LIMIT)
            check(client.answer(7).published.runs[0].count == 1, "a large message is not stored")
        site.expect_memory(32 * MIB, before, f"{self.CLIENTS} large frames at once")
        return self.CLIENTS

    def send(self, senders, keep=0):
        """All but the last `keep` bytes of each, or with any kept, as much as is taken within a moment."""
        left = dict(senders)
        while left:
            _, ready, _ = select.select([], [client.socket for client in left], [], 0.3 if keep else LIMIT)
            if not ready:
                check(keep, "nobody is read any more")
                break
            for client in [client for client in left if client.socket in ready]:
                data = senders[client]
                senders[client] = data[client.socket.send(data[:max(0, len(data) - keep)]):]
                if len(senders[client]) <= keep:
                    del left[client]


# ---------------------------------------------------------------------------------------------- consumers

class StoppedConsumers(Flood):
    """1,000 consumers that stop reading beside a producer at full rate: bounded memory, nobody else is slower,
    and who reads again gets all of it."""
    CLIENTS = 1000
    STEPS = 40
    rounds = 1
    kept = 16 * MIB
    options = ("--send-memory", "64M", "--tail-memory", "8M")

    @staticmethod
    def preexec():
        need_descriptors(2 * StoppedConsumers.CLIENTS)

    def round(self):
        site = self.site
        need_descriptors(2 * self.CLIENTS)
        healthy, producer = site.connect(), site.connect()
        live = healthy.subscribe("live").subscription
        self.stream(producer, healthy, live)
        baseline, head = self.stream(producer, healthy, live)
        before = site.memory()
        site.forget_peak()
        stopped = [self.consumer() for _ in range(self.CLIENTS)]
        self.stream(producer, healthy, live)  # until their sockets are full
        beside, end = self.stream(producer, healthy, live)
        # Beside what 2 x the baseline says: what another program on this machine may take.
        check(beside < 2 * baseline + 0.5, f"p99 of a delivery {beside:.3f} s, {baseline:.3f} s without them")
        site.expect_memory(48 * MIB, before, f"{self.CLIENTS} stopped consumers")
        wal = os.path.getsize(site.server.database + "-wal")
        check(wal < 64 * MIB, f"the WAL has {wal / MIB:.0f} MiB")
        for consumer in site.chance.sample(stopped, 5):
            messages = consumer.messages(1, end - head)
            check([message.offset for _, message in messages] == list(range(head, end)), "not what it missed")
            site.checked += len(messages)
        return self.CLIENTS

    def consumer(self):
        """With a small window, so that what it does not read is the broker's and not its kernel's."""
        consumer = Wire.__new__(Wire)
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(LIMIT)
        peer.connect(("127.0.0.1", self.site.server.port))
        consumer.adopt(peer)
        self.site.open.append(consumer)
        consumer.hello()
        consumer.subscribe("stream")
        return consumer

    def stream(self, producer, healthy, live):
        """1 MiB at a time with a message beside it; p99 of the seconds until that one comes, and the stream's head."""
        seconds = []
        head = 0
        for _ in range(self.STEPS):
            numbers = [producer.request_id() for _ in range(2)]
            for number in numbers:
                producer.send(pb.ClientFrame(request_id=number, publish=producer.publish_frame(
                    ("stream", [b"x" * 1000] * 500))))
            began = time.monotonic()
            self.site.worker.publish("live", "x")
            healthy.messages(live, 1)
            seconds.append(time.monotonic() - began)
            for number in numbers:
                run = producer.published(number, 500)[-1]
                head = run.first_offset + run.count
        return sorted(seconds)[-1 - len(seconds) // 100], head
