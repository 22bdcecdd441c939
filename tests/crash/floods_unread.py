"""Clients that do not take what they are sent, or answer nothing any more: what must hold beside them."""
import os
import signal
import socket
import statistics
import subprocess
import time

import wire
from flood_site import MIB, Flood, check, need_descriptors
from psbroker_test import LIMIT, PSCTL, wait_until
from wire import Wire, frame, pb


class HalfOpen(Flood):
    """Peers that answer nothing any more: found by pings within two intervals, however they stopped."""
    INTERVAL = 2.0
    PEERS = 6  # of each kind
    rounds = 2
    # Each round is 8 MiB of messages: they would fill the tail (32 MiB) for four rounds, and the writer's pages (16 MiB).
    fill = 24 * MIB
    options = ("--ping-interval", "2s", "--tail-memory", "4M")

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
            # Their last sign of life came before; the look itself is an eighth of an interval late at most.
            site.expect_within(2.75 * self.INTERVAL, time.monotonic() - began, "to give up all after two intervals")
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
            site.expect_within(1, site.publish(1), "a publication beside them")
        # Each may go beyond by the answer that made it too much.
        queued = site.worker.info().queued_bytes
        check(queued < 8 * MIB + self.CLIENTS * 200 * 1024, f"{queued / MIB:.1f} MiB are queued")
        site.expect_memory(40 * MIB, before, "answers that nobody reads")
        return self.CLIENTS


class StoppedConsumers(Flood):
    """1,000 consumers that stop reading beside a producer at full rate: bounded memory, nobody else is slower,
    and who reads again gets all of it."""
    CLIENTS = 1000
    STEPS = 100
    rounds = 1
    fill = 32 * MIB
    kept = 16 * MIB
    options = ("--send-memory", "64M", "--tail-memory", "8M")

    def __init__(self):
        self.without, self.beside = [], []  # p99 of each round, in seconds

    @staticmethod
    def preexec():
        need_descriptors(2 * StoppedConsumers.CLIENTS)

    def round(self):
        site = self.site
        need_descriptors(2 * self.CLIENTS)
        healthy, producer = site.connect(), site.connect()
        live = healthy.subscribe("live").subscription
        self.stream(producer, healthy, live)
        without, head = self.stream(producer, healthy, live)
        self.without.append(without)
        before = site.memory()
        site.forget_peak()
        stopped = [self.consumer() for _ in range(self.CLIENTS)]
        self.stream(producer, healthy, live)  # until their sockets are full
        beside, end = self.stream(producer, healthy, live)
        self.beside.append(beside)
        site.expect_memory(48 * MIB, before, f"{self.CLIENTS} stopped consumers")
        wal = os.path.getsize(site.server.database + "-wal")
        check(wal < 64 * MIB, f"the WAL has {wal / MIB:.0f} MiB")
        for consumer in site.chance.sample(stopped, 3):
            messages = consumer.messages(1, end - head)
            check([message.offset for _, message in messages] == list(range(head, end)), "not what it missed")
            site.checked += len(messages)
        return self.CLIENTS

    def judge(self):
        """Rounds without and beside them alternate, so that what else the machine does for a while meets both."""
        if len(self.beside) >= 3:
            without = statistics.median(self.without)
            self.site.expect_within(2 * without, statistics.median(self.beside),
                                    f"p99 of a delivery beside them, {without:.3f} s without, medians of {len(self.beside)}")

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
        """A quarter of a megabyte at a time with a message beside it; p99 of the seconds until that one comes, and the
        stream's head."""
        seconds = []
        head = 0
        for _ in range(self.STEPS):
            numbers = [producer.request_id() for _ in range(2)]
            for number in numbers:
                producer.send(pb.ClientFrame(request_id=number, publish=producer.publish_frame(
                    ("stream", [b"x" * 1000] * 125))))
            began = time.monotonic()
            self.site.worker.publish("live", "x")
            healthy.messages(live, 1)
            seconds.append(time.monotonic() - began)
            for number in numbers:
                run = producer.published(number, 125)[-1]
                head = run.first_offset + run.count
        return sorted(seconds)[-1 - len(seconds) // 100], head
