"""psctl backup: a consistent copy of a log that works, or nothing that looks like one."""
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading

import tap
from wire import Wire, pb

from psbroker_test import PSBROKER, Case, wait_until


def flagless():
    """Of a program for which renaming knows no flags (rename_shim.c). Under AddressSanitizer the library comes before its
    own, too."""
    options = os.environ.get("ASAN_OPTIONS", "")
    return {"LD_PRELOAD": os.environ["RENAME_SHIM_LIBRARY"],
            "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0".lstrip(":")}


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))


class Valve:
    """Between one client and the broker: it lets 1 MiB of answers through, and the rest when it is opened. Its ends close
    with each other."""

    def __init__(self, port):
        self.broker = socket.create_connection(("127.0.0.1", port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.client = None
        self.shut, self.opened = threading.Event(), threading.Event()
        self.threads = [threading.Thread(target=self.answers, daemon=True)]
        self.threads[0].start()

    def answers(self):
        self.client = self.listener.accept()[0]
        self.threads.append(threading.Thread(target=self.pass_on, args=(self.client, self.broker), daemon=True))
        self.threads[1].start()
        self.pass_on(self.broker, self.client, 1 << 20)

    def pass_on(self, source, target, limit=None):
        passed = 0
        try:
            while data := source.recv(65536):
                passed += len(data)
                if limit is not None and passed > limit:
                    self.shut.set()
                    self.opened.wait()
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def open(self):
        self.opened.set()

    def close(self):
        self.open()
        for end in (self.listener, self.broker, self.client):
            if end is not None:
                end.close()


class BackupCase(Case):
    def verified(self, path):
        process = subprocess.run([PSBROKER, "verify", path], capture_output=True, check=False)
        self.assertEqual(process.returncode, 0, process.stdout + process.stderr)
        return process.stderr.decode()

    def restored(self, path):
        """A broker on the copy."""
        os.mkdir(self.path("restored"), 0o700)
        shutil.copy(path, self.path("restored", "psbroker.db"))
        return self.broker(data=self.path("restored"))

    def copies(self):
        return [name for name in os.listdir(self.dir) if "copy" in name]

    def leftovers(self, server):
        return [name for name in os.listdir(server.data) if name.startswith("psbroker.backup")]


class Backup(BackupCase):
    def test_it_holds_messages_subscriptions_and_offsets(self):
        server = self.broker()
        self.pub(server, "A", *range(1000))
        self.pub(server, "B", *range(50))
        self.run_psctl(server, "sub", "A", "-i", "s1", "--from-beginning", "--count", "300")
        file = self.path("copy.db")
        out = self.run_psctl(server, "backup", file).lines()
        self.assertEqual(out, [f"bytes\t{os.path.getsize(file)}", "mark\t1051"])
        self.assertEqual(os.stat(file).st_mode & 0o777, 0o600)
        self.assertEqual([name for name in os.listdir(self.dir) if name.startswith("copy")], ["copy.db"])
        wait_until(lambda: self.leftovers(server) == [], "the copy to be removed")
        self.assertIn("a backup: 0 problems", self.verified(file))
        # A file for any SQLite tool, without anything beside it.
        self.assertEqual(self.database(file).execute("pragma integrity_check").fetchone(), ("ok",))
        self.assertEqual(self.database(file).execute("select count(*) from history").fetchone(), (1050,))
        other = self.restored(file)
        self.assertNotIn("head_", other.err)
        self.assertNotEqual(self.info(other)["log_id"], self.info(server)["log_id"])
        self.assertEqual(self.history(other, "A"), [b"%d" % number for number in range(1000)])
        self.assertEqual(self.run_psctl(other, "sub", "-i", "s1", "--exit-at-end").lines()[0], "300")
        self.assertEqual(self.pub(other, "B", "goes on"), [50])

    def test_under_load_it_is_a_prefix_of_what_was_acknowledged(self):
        server = self.broker()
        self.pub(server, "A", *["x" * 2000] * 5000)
        stop = threading.Event()
        acknowledged = []

        def publish():
            while not stop.is_set():
                acknowledged.extend(self.pub(server, "A", *["later %d" % number for number in range(200)]))
        publisher = threading.Thread(target=publish)
        publisher.start()
        try:
            wait_until(lambda: len(acknowledged) > 400, "load")
            before = acknowledged[-1]
            done = self.run_psctl(server, "backup", self.path("copy.db"), "-o", "json").json()[0]
        finally:
            stop.set()
            publisher.join()
        self.verified(self.path("copy.db"))
        other = self.restored(self.path("copy.db"))
        history = self.history(other, "A")
        self.assertEqual(len(history), done["mark"] - 1)
        self.assertGreater(len(history), before)
        self.assertEqual(history, self.history(server, "A")[:len(history)])

    def test_put_beside_the_wal_of_a_killed_broker_it_is_refused(self):
        server = self.broker()
        self.pub(server, "A", *range(10))
        self.run_psctl(server, "backup", self.path("copy.db"))
        self.run_psctl(server, "sub", "A", "-i", "s", "--from-beginning", "--count", "5")
        self.pub(server, "A", *["x" * 50000] * 80)
        before = 0
        while (now := self.info(server)["wal_bytes"]) > before:  # one checkpoint: the next WAL has nothing of that subscription
            before = now
            self.pub(server, "A", *["x" * 50000] * 8)
        server.kill()
        shutil.copy(self.path("copy.db"), server.database)
        refused = self.broker_fails()
        self.assertEqual(refused.wait(), 5, refused.err)
        self.assertIn("psbroker.db-wal", refused.err.splitlines()[-1])

    def test_nothing_is_overwritten(self):
        server = self.broker()
        file = self.file("copy.db", "precious")
        self.assertIn("exists", self.run_psctl(server, "backup", file, code=2).err)
        self.assertEqual(open(file, encoding="ascii").read(), "precious")
        self.file("other.db.partial", "")
        self.assertIn("other.db.partial", self.run_psctl(server, "backup", self.path("other.db"), code=1).err)

    def test_where_renaming_knows_no_flags(self):
        server = self.broker()
        self.pub(server, "A", *range(10))
        self.run_psctl(server, "backup", self.path("copy.db"), env=flagless())
        self.assertEqual(self.copies(), ["copy.db"])
        self.verified(self.path("copy.db"))

    def test_without_room_it_is_refused(self):
        server = self.broker("--disk-floor", "1024G")
        done = self.run_psctl(server, "backup", self.path("copy.db"), code=6)
        self.assertIn("disk_full", done.err)
        self.assertEqual(self.copies(), [])

    def half_way(self, server, env=None):
        """psctl while it fetches, no further than a valve lets it, and the copy there."""
        self.pub(server, "A", *["x" * 100000] * 300)
        valve = Valve(server.port)
        self.addCleanup(valve.close)
        process = self.start(valve.port, "backup", self.path("copy.db"), env=env)
        wait_until(valve.shut.is_set, "the valve to shut")
        self.assertLess(os.path.getsize(self.path("copy.db.partial")), 300 * 100000)
        self.assertEqual(self.leftovers(server), ["psbroker.backup"])
        return process, valve

    def test_behind_its_end_there_is_nothing(self):
        server = self.broker()
        self.pub(server, "A", "x")
        wire = Wire(server.port)
        self.addCleanup(wire.close)
        number = wire.request_id()
        wire.send(pb.ClientFrame(request_id=number, backup=pb.Backup()))
        while not (state := wire.answer(number).backup_state).ready:
            pass
        for offset in (state.total, state.total + 1, (1 << 63) - (1 << 18), (1 << 63) - 1):
            chunk = wire.request(read_backup=pb.ReadBackup(offset=offset)).backup_chunk
            self.assertEqual((chunk.offset, chunk.data), (offset, b""))

    def test_where_no_file_may_grow_nothing_is_left(self):
        server = self.broker()
        self.pub(server, "A", *["x" * 50000] * 20)
        process = self.start(server, "backup", self.path("copy.db"), preexec=small_files)
        self.assertEqual(process.wait(), 1, process.err)
        self.assertIn("copy.db.partial: File too large", process.err)
        self.assertEqual(self.copies(), [])

    def test_one_at_a_time(self):
        server = self.broker()
        process, valve = self.half_way(server)
        done = self.run_psctl(server, "backup", self.path("second.db"), code=6)
        self.assertIn("backups", done.err)
        valve.open()
        self.assertEqual(process.wait(), 0, process.err)
        self.verified(self.path("copy.db"))

    def test_a_file_that_came_meanwhile_is_not_overwritten(self):
        for env in (None, flagless()):
            with self.subTest(flags=env is None):
                server = self.broker(data=self.path(f"log {env is None}"))
                process, valve = self.half_way(server, env)
                self.file("copy.db", "precious")
                valve.open()
                self.assertEqual(process.wait(), 1, process.err)
                self.assertIn("exists", process.err)
                self.assertEqual(self.copies(), ["copy.db"])
                self.assertEqual(open(self.path("copy.db"), encoding="ascii").read(), "precious")
                os.unlink(self.path("copy.db"))

    def test_psctl_killed_half_way(self):
        server = self.broker()
        process, _ = self.half_way(server)
        process.signal(signal.SIGKILL)
        process.wait()
        wait_until(lambda: self.leftovers(server) == [], "the copy to be removed")
        self.assertFalse(os.path.exists(self.path("copy.db")))
        self.run_psctl(server, "backup", self.path("again.db"))
        self.verified(self.path("again.db"))

    def test_psctl_interrupted_half_way(self):
        server = self.broker()
        process, _ = self.half_way(server)
        process.signal(signal.SIGINT)
        self.assertEqual(process.wait(), 130)
        self.assertEqual(self.copies(), [])
        wait_until(lambda: self.leftovers(server) == [], "the copy to be removed")

    def test_broker_killed_half_way(self):
        server = self.broker()
        process, valve = self.half_way(server)
        server.kill()
        valve.open()
        self.assertEqual(process.wait(), 3, process.err)
        self.assertEqual(self.copies(), [])
        self.assertEqual(self.leftovers(self.broker()), [])

    def test_broker_stopped_half_way(self):
        server = self.broker()
        process, valve = self.half_way(server)
        self.assertEqual(server.terminate(), 0, server.err)
        valve.open()
        self.assertEqual(process.wait(), 3, process.err)
        self.assertEqual(self.leftovers(server), [])
        self.assertEqual(self.copies(), [])


if __name__ == "__main__":
    tap.main()
