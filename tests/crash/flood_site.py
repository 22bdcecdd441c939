"""What floods have in common: the broker that they come over, and what is checked around each.

Each flood is a class: the broker's options, and `round()`, which does it once and gives how many faults that were.
`Site` runs rounds on one broker and checks around them: what was acknowledged is there, every descriptor came back,
memory does not grow from one round to the next, the broker ends with 0. A violation is an AssertionError. How long
something took is judged where the site is `timed`, as in torture.py; tests run beside others and only wait.
"""
import os
import random
import resource
import socket
import struct
import time

import wire
from psbroker_test import LIMIT, Broker, wait_until
from wire import Wire, pb

MIB = 1 << 20


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

    def __init__(self, flood, directory, seed, program=None, timed=False):
        self.flood = flood
        self.timed = timed
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
        self.fill(flood.fill)
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

    def fill(self, size):
        """So many bytes of messages: what the broker's caches keep of them is there before a round begins."""
        for _ in range(size // MIB):
            self.worker.publish("fill", b"x" * (MIB - 100))

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

    def expect_within(self, most, seconds, what):
        if self.timed:
            check(seconds < most, f"{what}: {seconds:.3f} s, at most {most:.3f}")

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
        last = min(memory for memory, _ in self.rounds[-half:])
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
        self.flood.judge()
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
    fill = 0  # bytes of messages before the first round: caches that fill up to their bounds are no growth
    kept = MIB  # by malloc, which decides anew in each round
    site = None

    def round(self):
        raise NotImplementedError

    def judge(self):
        """What all rounds together must have shown."""


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

