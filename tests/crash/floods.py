"""Clients that are too many, too slow, or send what costs too much: what they do to a broker, and what must hold."""
import os
import resource
import select
import struct
import time

import wire
from flood_site import MIB, Flood, check, last_words, need_descriptors
from psbroker_test import LIMIT, wait_until
from wire import Closed, Refused, Wire, frame, pb

HELLO = frame(pb.ClientFrame(request_id=1, hello=pb.Hello(min_version=1, max_version=1)).SerializeToString())


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
        # One that spins takes all that it is given; how little it really takes is seen where nothing else runs.
        check(spent < (0.05 if site.timed else 0.5), f"{spent * 100:.0f} % of a processor while accepting is paused")
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


class SlowSenders(Flood):
    """Frames that come byte by byte: 500 connections, half of them before Hello, each ended in its time."""
    SENDERS = 500
    SECONDS = 1.0
    kept = 3 * MIB  # malloc gives 2 MiB back behind one round and not behind the next, over any number of them
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
            select.select([], [], [], 0.05)
        for peer in senders:
            error = last_words(peer)
            check(error is not None and error.status == wire.TIMED_OUT, "a slow sender was told", error)
            check(error.limit_name in ("frame_timeout_ms", "hello_timeout_ms"), error)
        site.expect_within(self.SECONDS + 5, time.monotonic() - began, "the last slow sender was ended")
        site.expect_within(1, longest, "a publication beside them")
        return self.SENDERS


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
        site.expect_within(1, max(logins), "the slowest login")
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


class Topics(Flood):
    """One client, a million names: a quota by its name, memory and the time to start flat."""
    LIMIT = 2000
    NAMES = int(os.environ.get("FLOOD_TOPICS", "200000"))
    options = ("--max-topics", str(LIMIT))

    def make(self, first, count):
        """The runs of the answers, a topic each."""
        client = self.site.worker
        number = client.request_id()
        client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(
            *[("made/%d" % index, ["x"]) for index in range(first, first + count)])))
        return client.published(number, count)

    def be_refused(self, first):
        """One fault: 10,000 names at once, beyond the quota."""
        for run in self.make(first, 10000):
            check(run.error.status == wire.LIMIT_EXCEEDED and run.error.limit_name == "max_topics", run)
        return 1

    def round(self):
        site = self.site
        rest = self.LIMIT - site.worker.info().topics
        if rest > 0:
            self.make(0, rest)
        starting = site.restart()
        refused = self.be_refused(self.LIMIT)  # what refusing needs is there from now on
        before, database = site.memory(), site.worker.info().database_bytes
        site.forget_peak()
        for _ in range(0, self.NAMES, 10000):
            refused += self.be_refused(1000000 + site.chance.randrange(1 << 40))
        site.expect_memory(8 * MIB, before, f"{self.NAMES} names")
        check(site.worker.info().topics == self.LIMIT, site.worker.info().topics, "topics")
        check(site.worker.info().database_bytes - database < MIB, "the file grew")
        site.expect_within(2 * starting + 1, site.restart(), f"a start, after one of {starting:.2f} s")
        return refused


class LargeFrames(Flood):
    """Large frames that begin all at once: a few arrive at a time, in the end all of them have."""
    CLIENTS = 64
    fill = 64 * MIB
    kept = 16 * MIB
    options = ("--receive-memory", "4M", "--publish-memory", "4M")

    def round(self):
        site = self.site
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
        site.expect_within(1, site.publish(), "a publication beside them")
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
