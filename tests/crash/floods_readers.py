"""Readers of long histories, and readers that stop and go on, beside publishers that do not wait for them."""
import os
import signal
import socket
import sqlite3
import subprocess
import time

import wire
from flood_site import MIB, Flood, check
from psbroker_test import LIMIT, PSCTL, wait_until
from wire import Wire


class LongReaders(Flood):
    """Clients replay a long history slowly: the WAL stays as short as without them. Every fourth round an outside
    sqlite3 holds a snapshot beside them: publishing goes on up to the hard bound of the WAL, is refused by name there,
    and goes on when that reader ends."""
    READERS = 8
    ROWS = 100000
    FRAMES = 60            # published beside the readers, a megabyte each
    SOFT = 8 * MIB         # from here on a checkpoint is due (storage/README.md)
    COMMIT = 9 * MIB       # the largest commit, with what its pages take beside the payloads
    HARD = 1024 * MIB      # from here on publications are refused
    KEPT = 64 * MIB        # of its file, when it begins anew
    RESUMES = 5            # seconds
    rounds = 3
    fill = 32 * MIB
    kept = 16 * MIB
    options = ("--tail-memory", "8M")

    def __init__(self):
        self.number = 0
        self.stored = 0    # of "history"

    def round(self):
        site = self.site
        while self.stored < self.ROWS:
            site.worker.publish("history", *[b"%d" % (self.stored + index) for index in range(1000)])
            self.stored += 1000
        readers = [self.reader() for _ in range(self.READERS)]
        self.publish_beside(readers)
        self.finish_one(site.chance.choice(readers))
        self.number += 1
        if self.number % 4 != 0:
            return self.READERS
        self.outside()
        site.close_all()
        site.restart()  # the file of the WAL is judged by its size, and was long for once
        site.fill(self.fill)
        return self.READERS + 1

    def reader(self):
        """With a small window, so that what it does not read is not in its kernel."""
        reader = Wire.__new__(Wire)
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(LIMIT)
        peer.connect(("127.0.0.1", self.site.server.port))
        reader.adopt(peer)
        self.site.open.append(reader)
        reader.hello()
        reader.history = reader.subscribe("history", start=wire.BEGINNING).subscription
        return reader

    def wal(self):
        return os.path.getsize(self.site.server.database + "-wal")

    def publish(self):
        """A megabyte; the error that refused it, None when it was taken."""
        run = self.site.worker.publish("stream", *[b"x" * 1000] * 1000)[-1]
        return run.error if run.HasField("error") else None

    def publish_beside(self, readers):
        """A little is read from each between frames, at other places of the history."""
        largest = 0
        for _ in range(self.FRAMES):
            check(self.publish() is None, "a publication beside slow readers was refused")
            for reader in self.site.chance.sample(readers, 3):
                reader.buffer += reader.socket.recv(self.site.chance.randint(1, 65536))
            largest = max(largest, self.wal())
        check(largest < self.SOFT + self.COMMIT, f"the WAL had {largest / MIB:.1f} MiB beside slow readers")

    def outside(self):
        """A reader of the file that we have no say over."""
        site = self.site
        reader = sqlite3.connect(f"file:{site.server.database}?mode=ro", uri=True, isolation_level=None)
        try:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM topics").fetchone()
            error = None
            for _ in range(2 * self.HARD // MIB):
                error = self.publish()
                if error is not None:
                    break
            check(error is not None and error.status == wire.STORAGE_BUSY, "at the WAL's hard bound:", error)
            check(self.wal() < self.HARD + 2 * self.COMMIT, f"the WAL has {self.wal() / MIB:.0f} MiB")
            reader.execute("ROLLBACK")
        finally:
            reader.close()
        began = time.monotonic()
        wait_until(lambda: self.publish() is None, "publications to be taken again")
        site.expect_within(self.RESUMES, time.monotonic() - began, "service after an outside reader")
        wait_until(lambda: self.publish() is None and self.wal() <= self.KEPT, "the WAL to be short again")

    def finish_one(self, reader):
        """It gets all of it after all, once and in order."""
        for index, (_, message) in enumerate(reader.messages(reader.history, self.stored)):
            check((message.offset, message.payload) == (index, b"%d" % index), "instead of", index, message)
        self.site.checked += self.stored


class StoppedAndResumed(Flood):
    """Subscribers are stopped and go on, again and again, while messages come: between memory and disk none is missing,
    none comes twice. A round of the long form: FLOOD_MESSAGES=1000000."""
    SUBSCRIBERS = 8
    MESSAGES = int(os.environ.get("FLOOD_MESSAGES", "50000"))
    AT_ONCE = 500
    SIZE = 400
    rounds = 2
    fill = 32 * MIB
    kept = 16 * MIB
    options = ("--tail-memory", "2M")

    def __init__(self):
        self.head = 0  # of "stream"

    def line(self, number):
        return b"%d " % number + b"x" * self.SIZE

    def round(self):
        site = self.site
        first, end = self.head, self.head + self.MESSAGES
        paths = [os.path.join(site.data, os.pardir, f"out-{index}") for index in range(self.SUBSCRIBERS)]
        running = []
        # LeakSanitizer stops the process by itself at its end, and hangs when it is stopped or continued meanwhile.
        alone = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
        try:
            for path in paths:
                with open(path, "wb") as out:
                    running.append(subprocess.Popen(
                        [PSCTL, "-p", str(site.server.port), "sub", "stream", "--from-offset", str(first), "--count",
                         str(self.MESSAGES)], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, env=alone))
            wait_until(lambda: site.worker.info().subscriptions == len(running), "all subscribers")
            stops = self.publish(running, end)
            for process in running:
                process.send_signal(signal.SIGCONT)
            for process in running:
                _, said = process.communicate(timeout=LIMIT)
                check(process.returncode == 0, "a subscriber ended with", process.returncode, said)
        finally:
            for process in running:
                process.kill()
                process.communicate()
        for path in paths:
            self.compare(path, first, end)
            os.unlink(path)
        return stops

    def publish(self, running, end):
        """Up to `end`, in pieces; between them somebody is stopped or goes on. How often one was stopped."""
        stopped, stops = set(), 0
        while self.head < end:
            run = self.site.worker.publish("stream", *[self.line(self.head + index) for index in range(self.AT_ONCE)])[0]
            check(not run.HasField("error") and run.first_offset == self.head, run)
            self.head += self.AT_ONCE
            process = self.site.chance.choice(running)
            if process in stopped:
                process.send_signal(signal.SIGCONT)
                stopped.remove(process)
            elif self.site.chance.random() < 0.5:
                process.send_signal(signal.SIGSTOP)
                stopped.add(process)
                stops += 1
        return stops

    def compare(self, path, first, end):
        with open(path, "rb") as lines:
            for number in range(first, end):
                line = lines.readline()
                check(line == self.line(number) + b"\n", f"instead of message {number}: {line[:40]!r}")
            check(not lines.read(1), "more than was asked for")
        self.site.checked += end - first
