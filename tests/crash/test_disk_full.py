"""The disk is full, really: a small one, filled by the log itself or by a file beside it.

DISK_FULL_ROUNDS (2) is how often the disk ends at a random moment; PSBROKER_SEED chooses the moments.
"""
import os
import random
import shutil
import signal
import sys
import time

import tap

from psbroker_test import Case, Process, wait_until
from small_disk import SmallDisk

MIB = 1 << 20
FLOOR = "64M"
LOG = 70000  # messages of 1000 bytes: more than the floor
PROMISED = 5  # seconds until service resumes


class DiskCase(Case):
    def setUp(self):
        super().setUp()
        self.disk = None

    def mount(self, size):
        self.disk = SmallDisk(self.path("disk"), size)
        self.addCleanup(self.disk.end)

    def start_broker(self, *arguments, **keywords):
        return self.broker(*arguments, data=self.path("disk", "data"), prefix=self.disk.enter, **keywords)

    def lines(self, server, topic, count, size, code, first=0):
        """Publishes numbered lines until one is refused; how many were acknowledged."""
        lines = b"".join(b"%d %s\n" % (number, b"x" * size) for number in range(first, first + count))
        done = self.run_psctl(server, "pub", topic, "--lines", "-", stdin=lines, code=code)
        if code == 6:
            self.assertIn("disk_full", done.err)
        return done.out.count(b"\n")

    def published(self, server, topic, count):
        """Whether so many messages of 1000 bytes are taken at once."""
        lines = b"".join(b"%d %s\n" % (number, b"x" * 1000) for number in range(count))
        return self.run_psctl(server, "pub", topic, "--lines", "-", stdin=lines, code=None).code == 0

    def refused(self, server, topic):
        """From now on publications are: the broker looks at the disk ten times a second."""
        wait_until(lambda: self.run_psctl(server, "pub", topic, "x", code=None).code == 6, "a refusal")

    def holds(self, server, topic, count):
        """What was acknowledged and nothing else, in order; behind a refusal there may be room again."""
        numbers = self.numbers(server, topic)
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(len(numbers), count)

    def numbers(self, server, topic):
        return [int(line.split(b" ")[0]) for line in self.history(server, topic)]

    def resumes(self, server, topic):
        """Publishing works again within the time that is promised."""
        began = time.monotonic()
        wait_until(lambda: self.run_psctl(server, "pub", topic, "again", code=None).code == 0, "room for publications")
        self.assertLess(time.monotonic() - began, PROMISED)

    def reserve(self):
        return os.path.join(self.disk.seen, "data", "psbroker.reserve")


class BelowTheFloor(DiskCase):
    def test_everything_but_publishing_goes_on_and_that_resumes(self):
        self.mount("160M")
        server = self.start_broker("--disk-floor", FLOOR)
        live = self.start(server, "sub", "t")
        self.wait_attached(server, 1)
        stored = self.lines(server, "t", 2000, 1000, 0)
        self.disk.fill(leave=84 * MIB)
        stored += self.lines(server, "t", 60000, 1000, 6, first=stored)
        self.holds(server, "t", stored)
        live.stdout.wait_lines(stored)

        self.run_psctl(server, "ping")
        self.run_psctl(server, "sub", "t", "-i", "s", "--from-beginning", "--count", "10")
        self.assertEqual(self.durable(server, "s")["t"]["topics"][0]["committed"], 10)
        self.assertEqual(self.run_psctl(server, "get", "t", "0").out.split(b" ")[0], b"0")
        self.run_psctl(server, "subs", "seek", "t", "-i", "s", "--to-offset", "5")
        self.run_psctl(server, "unsub", "t", "-i", "s")

        self.disk.clear()
        self.resumes(server, "t")
        live.stdout.wait_lines(stored + 1)
        self.assertEqual(server.terminate(), 0, server.err)

    def test_a_deleted_topic_gives_its_room_back(self):
        self.mount("160M")
        server = self.start_broker("--disk-floor", FLOOR)
        self.lines(server, "kept", 10, 10, 0)
        self.disk.fill(leave=94 * MIB)
        self.lines(server, "t", 60000, 1000, 6)
        self.run_psctl(server, "topics", "delete", "t", "--yes")
        for number in range(4):  # more than is free
            wait_until(lambda: self.published(server, "u", 4000), f"room for more: {number}")
        self.assertEqual(self.numbers(server, "kept"), list(range(10)))
        self.assertEqual(server.terminate(), 0, server.err)
        self.assertEqual(self.numbers(self.start_broker("--disk-floor", FLOOR), "kept"), list(range(10)))


    def test_a_copy_that_nobody_fetches_gives_way(self):
        self.mount("200M")
        server = self.start_broker("--disk-floor", FLOOR)
        stored = self.lines(server, "t", 20000, 1000, 0)
        process = self.start(server, "backup", self.path("copy.db"))
        partial = self.path("copy.db.partial")
        wait_until(lambda: os.path.exists(partial) and os.path.getsize(partial) > 0, "the first piece")
        process.signal(signal.SIGSTOP)
        self.disk.fill(leave=60 * MIB)
        wait_until(lambda: "event=backup_failed" in server.err, "the copy to be given up")
        self.resumes(server, "t")
        process.signal(signal.SIGCONT)
        self.assertEqual(process.wait(), 6, process.err)
        self.assertIn("disk_full", process.err)
        self.assertEqual([name for name in os.listdir(self.dir) if "copy" in name], [])
        self.assertGreater(len(self.history(server, "t")), stored)
        self.assertEqual(server.terminate(), 0, server.err)

    def test_what_an_outside_reader_keeps_in_the_wal_has_room_when_it_goes(self):
        # Half of the floor, where more than publications is refused, is more than is written between two looks at it.
        self.mount("288M")
        server = self.start_broker("--disk-floor", FLOOR)
        self.pub(server, "t", "first")
        reader = Process([*self.disk.enter, "sqlite3", "-readonly", self.path("disk", "data", "psbroker.db")])
        self.addCleanup(reader.end)
        reader.write(b"begin; select count(*) from messages;\n")
        reader.stdout.wait_lines(1)
        stored = 1 + self.lines(server, "t", LOG, 2000, 6)
        self.assertGreater(self.disk.free(), os.path.getsize(f"{self.disk.seen}/data/psbroker.db-wal") // 2)
        self.assertEqual(self.run_psctl(server, "sub", "t", "-i", "s", "--from-beginning", "--count", "1").lines(),
                         ["first"])
        reader.close_stdin()
        self.assertEqual(reader.wait(), 0)
        self.resumes(server, "t")
        self.assertGreater(len(self.history(server, "t")), stored)
        self.assertEqual(server.terminate(), 0, server.err)


class NothingFree(DiskCase):
    def filled(self):
        """A log on a disk with room, and the reserve beside it."""
        self.mount("256M")
        server = self.start_broker("--disk-floor", FLOOR)
        self.lines(server, "t", LOG, 1000, 0)
        self.assertEqual(os.path.getsize(self.reserve()), 16 * MIB)
        return server

    def test_while_it_runs(self):
        server = self.filled()
        live = self.start(server, "sub", "t", "-i", "live", "--from-beginning")
        live.stdout.wait_lines(LOG)
        self.disk.fill()
        self.refused(server, "u")
        wait_until(lambda: not os.path.exists(self.reserve()), "the reserve to be given up")
        live.signal(15)
        self.assertEqual(live.wait(), 143, live.err)
        self.assertEqual(self.numbers(server, "t"), list(range(LOG)))
        self.run_psctl(server, "topics", "delete", "t", "--yes")
        wait_until(lambda: self.published(server, "v", 1), "room from what was deleted")
        self.disk.clear()
        self.resumes(server, "v")
        wait_until(lambda: os.path.exists(self.reserve()), "another reserve")
        self.assertEqual(server.terminate(), 0, server.err)

    def test_at_the_start(self):
        for end in ("terminate", "kill"):
            with self.subTest(end=end):
                server = self.filled()
                getattr(server, end)()
                self.disk.fill()
                self.assertEqual(self.disk.free(), 0)
                server = self.start_broker("--disk-floor", FLOOR)
                self.assertIn("event=reserve_given_up", server.err)
                self.assertEqual(self.numbers(server, "t"), list(range(LOG)))
                self.disk.fill()
                self.refused(server, "u")
                self.assertEqual(self.numbers(server, "t"), list(range(LOG)))
                self.disk.clear()
                self.resumes(server, "t")
                self.assertEqual(server.terminate(), 0, server.err)
                self.disk.end()
                os.rmdir(self.path("disk"))

    def test_a_reserve_without_blocks_is_none(self):
        server = self.filled()
        self.assertEqual(server.terminate(), 0, server.err)
        os.truncate(self.reserve(), 0)
        os.truncate(self.reserve(), 16 * MIB)
        server = self.start_broker("--disk-floor", FLOOR)
        self.lines(server, "t", 1, 1, 0)
        wait_until(lambda: os.stat(self.reserve()).st_blocks * 512 >= 16 * MIB, "blocks")

    def test_at_the_start_without_a_reserve(self):
        server = self.filled()
        self.assertEqual(server.terminate(), 0, server.err)
        os.unlink(self.reserve())
        self.disk.fill()
        refused = self.start_broker("--disk-floor", FLOOR, wait=False)
        self.assertNotEqual(refused.wait(), 0)
        self.assertIn("is full", refused.err)
        self.disk.clear()
        self.assertEqual(self.numbers(self.start_broker("--disk-floor", FLOOR), "t"), list(range(LOG)))


class AtAnyMoment(DiskCase):
    """Without a floor the disk itself ends: in a commit, in a checkpoint, in a flush of the index."""

    def test_what_was_acknowledged_stays_and_service_resumes(self):
        seed = int(os.environ.get("PSBROKER_SEED", "1"))
        chance = random.Random(seed)
        checked = rounds = 0
        self.mount("40M")
        for rounds in range(1, int(os.environ.get("DISK_FULL_ROUNDS", "2")) + 1):
            with self.subTest(seed=seed, round=rounds):
                checked += self.round(self.start_broker("--disk-floor", "0"), chance)
        print(f"injected {rounds} faults, checked {checked} acknowledged messages", file=sys.stderr)

    def round(self, server, chance):
        """The disk gets full once more, with much or little of the log on it, and in large or small commits."""
        topic = "t"
        live = self.start(server, "sub", topic)
        self.wait_attached(server, 1)
        self.disk.fill(leave=chance.randrange(1 * MIB, 10 * MIB))
        size = chance.choice((300, 1000, 15000, 40000))
        stored = self.lines(server, topic, 40 * MIB // size, size, 6)
        live.stdout.wait_lines(stored)
        self.run_psctl(server, "ping")
        self.holds(server, topic, stored)
        self.disk.clear()
        self.resumes(server, topic)
        live.stdout.wait_lines(stored + 1)
        live.signal(15)
        live.wait()
        self.assertEqual(server.terminate(), 0, server.err)
        shutil.rmtree(os.path.join(self.disk.seen, "data"))
        return stored + 1


if __name__ == "__main__":
    tap.main()
