"""What the growth measurements work with: a broker that is sampled, and the loads put on it.

The programs are the real ones: psbroker, and `psctl bench pub` as publisher. A publisher is ended with SIGKILL, so
that it does not delete its topics. Subscribers that only take bytes, or not even that, are bare sockets here: what
is measured is the broker, on a machine that it shares with its clients.
"""
import os
import re
import selectors
import shutil
import struct
import subprocess
import tempfile
import threading
import time

import wire
from wire import Wire, pb

from psbroker_test import PSCTL, Broker, current_memory

MEBIBYTE = 1 << 20
ENDLESS = 10 ** 12  # the most that psctl bench takes


class Server:
    """psbroker on a directory of its own, with a connection that asks it how it is."""

    def __init__(self, place, *arguments):
        self.data = tempfile.mkdtemp(prefix="broker.", dir=place)
        self.arguments = arguments
        self.broker = self.client = None
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.broker is not None:
            self.broker.end()
        shutil.rmtree(self.data, ignore_errors=True)

    def start(self):
        """Seconds from the start of the program to its first answer."""
        begin = time.monotonic()
        self.broker = Broker(self.data, "--ping-interval", "60m", "--max-connections", "100000", *self.arguments)
        self.client = Wire(self.broker.port)
        self.client.request(ping=pb.Ping())
        return time.monotonic() - begin

    def kill(self):
        self.client.close()
        self.broker.kill()

    def terminate(self):
        self.client.close()
        if self.broker.terminate() != 0:
            raise RuntimeError(f"psbroker did not end cleanly: {self.broker.err[-2000:]}")

    def info(self):
        return self.client.info()

    def file_bytes(self):
        return os.path.getsize(self.broker.database)

    def wal_bytes(self):
        try:
            return os.path.getsize(self.broker.database + "-wal")
        except FileNotFoundError:
            return 0

    def recovered_ms(self):
        """What the broker says its recovery took."""
        found = re.search(r"event=recovered .*?milliseconds=(\d+)", self.broker.err)
        return int(found.group(1)) if found else None

    def drop_cache(self):
        """After kill(): lets the kernel forget the file, as if the machine had just started."""
        for name in os.listdir(self.data):
            if name.startswith("psbroker.db"):
                fd = os.open(os.path.join(self.data, name), os.O_RDWR)
                os.fsync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)

    def memory_bytes(self):
        return current_memory(self.broker.pid)

    def peak_bytes(self):
        return self.broker.peak_memory()

    def threads(self):
        return len(os.listdir(f"/proc/{self.broker.pid}/task"))


class Publisher:
    """`psctl bench pub` at full rate until it is stopped; its topics stay."""

    def __init__(self, server, size=100, topics=1):
        environment = {**os.environ, "PSCTL_HOST": "127.0.0.1", "PSCTL_PORT": str(server.broker.port)}
        self.popen = subprocess.Popen(
            [PSCTL, "bench", "pub", "--messages", str(ENDLESS), "--size", str(size), "--topics", str(topics), "-q"],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def check(self):
        if self.popen.poll() is not None:
            raise RuntimeError(f"psctl bench ended with {self.popen.returncode}: {self.popen.stderr.read().decode()}")

    def stop(self):
        self.popen.kill()
        self.popen.wait()
        self.popen.stderr.close()


class Meter:
    """Messages acknowledged per second between two looks."""

    def __init__(self, server):
        self.server = server
        self.look()

    def look(self):
        """(messages per second since the last look, the broker's Info)."""
        info, now = self.server.info(), time.monotonic()
        rate = 0
        if hasattr(self, "messages"):
            rate = (info.messages - self.messages) / (now - self.time)
        self.messages, self.time = info.messages, now
        return rate, info


def published(server, count, size=100, topics=1):
    """Publishes at least `count` messages and stops."""
    with Publisher(server, size, topics) as publisher:
        before = server.info().messages
        while server.info().messages - before < count:
            publisher.check()
            time.sleep(0.02)


def topic_names(server):
    return [topic.topic for topic in server.client.request(list_topics=pb.ListTopics()).topic_list.topics]


class Replays:
    """Subscribers that read a topic from the beginning to its end, again and again, and throw it away."""

    ENDED, ERROR = 0x5A, 0x12  # first bytes of a ServerFrame with that body

    def __init__(self, server, topic, count):
        self.topic = topic
        self.clients = [Wire(server.broker.port) for _ in range(count)]
        self.rounds = 0
        self.failure = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        for client in self.clients:
            client.close()
        if self.failure is not None:
            raise self.failure

    def _begin(self, client):
        client.send(pb.ClientFrame(request_id=client.request_id(), subscribe=pb.Subscribe(
            filter=self.topic, start=wire.BEGINNING, until_end=True, credit_messages=wire.PLENTY,
            credit_bytes=wire.PLENTY)))

    def _run(self):
        selector, pending = selectors.DefaultSelector(), {}
        try:
            for client in self.clients:
                pending[client] = bytearray()
                client.skip = 0
                selector.register(client.socket, selectors.EVENT_READ, client)
                self._begin(client)
            buffer = bytearray(4 * MEBIBYTE)
            while not self.over.is_set():
                for key, _ in selector.select(0.1):
                    size = key.data.socket.recv_into(buffer)
                    if size == 0:
                        raise RuntimeError("a replay lost its connection")
                    pending[key.data] = self._take(key.data, pending[key.data] + memoryview(buffer)[:size])
        except Exception as error:  # handed to whoever waits for the end
            self.failure = error
        finally:
            selector.close()

    def _take(self, client, data):
        """Looks at the first byte of each frame only; returns the begin of a frame that is cut in its head."""
        at = client.skip
        while at + 5 <= len(data):
            (size,) = struct.unpack_from(">I", data, at)
            kind = data[at + 4]
            if kind == self.ENDED:
                self.rounds += 1
                self._begin(client)
            elif kind == self.ERROR:
                raise RuntimeError("a replay was refused")
            at += 4 + size
        if at >= len(data):
            client.skip = at - len(data)
            return bytearray()
        client.skip = 0
        return data[at:]


class Stopped:
    """Subscribers with endless credit that never read; each at one of the starts."""

    def __init__(self, server, filter, starts):
        self.clients = []
        for start in starts:
            client = Wire(server.broker.port)
            client.subscribe(filter, start=start)
            self.clients.append(client)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.close()
