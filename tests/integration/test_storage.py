"""Any state of the file gives a working log or a named refusal; outsiders may read and must not write."""
import os
import shutil
import signal
import sqlite3
import subprocess

import tap

from psbroker_test import PSBROKER, Case, Process, wait_until, without_override


class StorageCase(Case):
    def rw(self, path):
        return self.database(path, write=True)

    def stopped(self, *messages):
        """A cleanly stopped directory with some messages; the path of its database."""
        server = self.broker()
        if messages:
            self.pub(server, "t", *messages)
        self.assertEqual(server.terminate(), 0, server.err)
        return server.database

    def refused(self, code, *words, arguments=()):
        process = self.broker_fails(*arguments)
        self.assertEqual(process.wait(), code, process.err)
        self.assertEqual(process.out, b"")
        for word in words:
            self.assertIn(word, process.err)
        return process


class Refusals(StorageCase):
    def test_newer_schema(self):
        path = self.stopped("0")
        connection = self.rw(path)
        version = connection.execute("pragma user_version").fetchone()[0]
        connection.execute(f"pragma user_version = {version + 1}")
        connection.close()
        self.refused(4, "newer", arguments=["--accept-changes"])
        connection = self.rw(path)
        self.assertEqual(connection.execute("pragma user_version").fetchone()[0], version + 1)
        connection.execute(f"pragma user_version = {version}")
        connection.close()
        self.assertEqual(self.history(self.broker("--accept-changes"), "t"), [b"0"])

    def test_foreign_sqlite_file(self):
        os.mkdir(self.path("data"))
        connection = sqlite3.connect(self.path("data", "psbroker.db"))
        connection.execute("create table photos(name)")
        connection.execute("insert into photos values ('x')")
        connection.commit()
        connection.close()
        with open(self.path("data", "psbroker.db"), "rb") as file:
            before = file.read()
        self.refused(4)
        with open(self.path("data", "psbroker.db"), "rb") as file:
            self.assertEqual(file.read(), before)

    def test_not_a_database(self):
        os.mkdir(self.path("data"))
        self.file("data/psbroker.db", b"this is a text file, not a database\n" * 1000)
        process = self.broker_fails()
        self.assertIn(process.wait(), (4, 5))

    def test_an_empty_file_is_a_new_database(self):
        os.mkdir(self.path("data"))
        self.file("data/psbroker.db", b"")
        self.pub(self.broker(), "t", "x")

    def test_trigger_on_our_tables(self):
        path = self.stopped("0")
        connection = self.rw(path)
        connection.execute("create trigger user_watch after insert on messages begin select 1; end")
        connection.close()
        self.refused(4, "user_watch", arguments=["--accept-changes"])

    def test_foreign_object_under_our_name(self):
        path = self.stopped("0")
        connection = self.rw(path)
        connection.execute("drop view history")
        connection.execute("create table history(x)")
        connection.close()
        self.refused(4, "history", arguments=["--accept-changes"])

    def test_objects_of_the_user_are_left_alone(self):
        path = self.stopped("0")
        connection = self.rw(path)
        connection.execute("create table user_notes(x)")
        connection.execute("insert into user_notes values (1)")
        connection.close()
        self.refused(5, "--accept-changes")
        server = self.broker("--accept-changes")
        self.assertEqual(server.terminate(), 0, server.err)
        server = self.broker()
        self.pub(server, "t", "1")
        self.assertEqual(self.database(server).execute("select count(*) from user_notes").fetchone(), (1,))

    def test_a_file_in_place_of_the_directory(self):
        self.file("data", "x")
        process = self.broker_fails()
        self.assertIn(process.wait(), (1, 2))
        self.assertIn("data", process.err)

    def test_a_directory_in_place_of_the_database(self):
        os.makedirs(self.path("data", "psbroker.db"))
        process = self.broker_fails()
        self.assertIn(process.wait(), (1, 4, 5))

    def test_a_directory_that_may_not_be_written(self):
        os.mkdir(self.path("data"))
        os.chmod(self.path("data"), 0o555)
        process = self.broker_fails(preexec=without_override)
        self.assertIn(process.wait(), (1, 2), process.err)
        self.assertTrue(process.err)
        self.assertEqual(process.out, b"")

    def test_a_database_that_may_not_be_written(self):
        path = self.stopped("0")
        os.chmod(path, 0o444)
        process = self.broker_fails(preexec=without_override)
        self.assertIn(process.wait(), (1, 2), process.err)
        self.assertTrue(process.err)

    def test_a_read_only_mount(self):
        path = self.stopped("0")
        directory = os.path.dirname(path)
        probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
        if probe.returncode != 0:
            self.skipTest("no mount namespaces here")
        script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'

        process = Process(["unshare", "-m", "sh", "-c", script, "sh", directory, PSBROKER, "--data", directory,
                           "--listen", "127.0.0.1:0"])
        self.addCleanup(process.end)
        self.assertIn(process.wait(), (1, 2), process.err)
        self.assertTrue(process.err)
        self.assertEqual(process.out, b"")


class Outsiders(StorageCase):
    def test_foreign_commit_while_running_stops_the_broker(self):
        server = self.broker()
        self.pub(server, "t", "0")
        connection = self.rw(server)
        connection.execute("create table user_intruder(x)")
        connection.close()
        publisher = self.start(server, "pub", "t", "1")
        self.assertEqual(server.wait(), 7, server.err)
        self.assertNotEqual(publisher.wait(), 0)
        self.assertEqual(publisher.out, b"")
        self.assertEqual(self.history(self.broker(), "t"), [b"0"])

    def test_a_store_that_fails_at_the_end_is_no_clean_end(self):
        server = self.broker()
        self.pub(server, "t", "0")
        os.rename(server.database, self.path("elsewhere"))
        self.assertEqual(server.terminate(), 6, server.err)
        self.assertIn("event=file_lost", server.err)
        self.assertIn("event=stopped reason=storage_failed", server.err)

    def test_sigterm_while_a_failed_broker_ends_does_not_hide_why(self):
        server = self.broker()
        self.pub(server, "t", "0")
        connection = self.rw(server)
        connection.execute("create table user_intruder(x)")
        connection.close()
        publisher = self.start(server, "pub", "t", "1")
        publisher.wait()
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait(), 7, server.err)

    def test_an_outside_lock_is_waited_for(self):
        server = self.broker()
        self.pub(server, "t", "0")
        connection = self.rw(server)
        connection.execute("begin immediate")
        publisher = self.start(server, "pub", "t", "1")
        server.stderr.wait(lambda text: b"busy" in text or b"lock" in text, "a log line about the lock")
        self.run_psctl(server, "ping")
        self.assertEqual(self.history(server, "t"), [b"0"])
        self.assertTrue(publisher.running())
        connection.execute("rollback")
        self.assertEqual(publisher.wait(), 0)
        self.assertEqual(publisher.out, b"1\n")

    def opened(self, pid, path):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") == path:
                    return True
            except OSError:
                pass
        return False

    def test_an_outside_lock_at_the_start_is_waited_for(self):
        path = self.stopped("0")
        connection = self.rw(path)
        connection.execute("begin immediate")
        server = self.broker(wait=False)
        wait_until(lambda: self.opened(server.pid, path), "the broker to open the database")
        self.assertEqual(server.out, b"")
        connection.execute("rollback")
        connection.close()
        server.stdout.wait_lines(1)

    def read_outside(self, count):
        """A broker with messages 0, 1, … and a connection that reads its file."""
        server = self.broker()
        self.pub(server, "t", *range(count))
        return server, self.database(server)

    def test_outside_readers_see_only_what_is_committed(self):
        _, connection = self.read_outside(1000)
        rows = connection.execute("select offset, payload from history where topic = 't' order by offset").fetchall()
        self.assertEqual(rows, [(number, str(number)) for number in range(1000)])

    def test_a_long_outside_reader_costs_nobody_anything(self):
        server, connection = self.read_outside(10)
        connection.execute("begin")
        connection.execute("select count(*) from messages").fetchone()
        self.pub(server, "t", *["x" * 1000] * 20000)
        self.assertEqual(connection.execute("select count(*) from history where topic = 't'").fetchone()[0], 10)
        connection.execute("rollback")
        self.assertEqual(connection.execute("select count(*) from history where topic = 't'").fetchone()[0], 20010)
        connection.close()
        self.assertEqual(server.terminate(), 0)

    def test_sqlite3_tool_reads_while_the_broker_runs(self):
        if shutil.which("sqlite3") is None:
            self.skipTest("no sqlite3 tool")
        server = self.broker()
        self.pub(server, "A", "hello", "007", "1e3")
        out = subprocess.run(["sqlite3", "-readonly", server.database,
                              "select offset, payload from history where topic = 'A'"], capture_output=True,
                             check=True).stdout
        self.assertEqual(out, b"0|hello\n1|007\n2|1e3\n")
        out = subprocess.run(["sqlite3", "-readonly", server.database, "pragma integrity_check"],
                             capture_output=True, check=True).stdout
        self.assertEqual(out, b"ok\n")

    def test_payload_types(self):
        server = self.broker()
        for data in (b"text", b"\xff", b"nul\0", b"", '{"x": 1}'.encode()):
            self.run_psctl(server, "pub", "t", "-", stdin=data)
        rows = self.database(server).execute("select typeof(payload) from history where topic = 't' order by offset")
        self.assertEqual([row[0] for row in rows], ["text", "blob", "blob", "text", "text"])


class Damage(StorageCase):
    def flip(self, path, needle):
        """Flips one bit of some bytes in the file, where they stand last: before, SQLite may have left a copy."""
        with open(path, "r+b") as file:
            at = file.read().rindex(needle) + len(needle) // 2
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x01]))

    def test_a_flipped_bit_is_named_and_never_delivered(self):
        later = ["later %d %s" % (number, "x" * 4000) for number in range(10)]
        path = self.stopped(*["good %d" % number for number in range(100)], "precious payload to be damaged", *later)
        self.flip(path, b"precious payload to be damaged")
        server = self.broker()
        done = self.run_psctl(server, "sub", "t", "--from-beginning", "--exit-at-end", code=9)
        self.assertEqual(done.out, b"".join(b"good %d\n" % number for number in range(100)))
        self.assertIn("100", done.err)
        self.assertIn("t", done.err)
        self.assertNotIn(b"precious", done.out)
        server.stderr.wait(lambda text: b"event=damaged topic=t offset=100" in text, "a log line about the damage")
        done = self.run_psctl(server, "get", "t", "100", code=9)
        self.assertEqual(done.out, b"")
        self.assertEqual(self.run_psctl(server, "get", "t", "99").out, b"good 99\n")
        done = self.run_psctl(server, "sub", "t", "--from-offset", "101", "--exit-at-end")
        self.assertEqual(done.out.count(b"\n"), 10)
        self.assertEqual(self.pub(server, "t", "goes on"), [111])

    def test_damage_where_the_log_goes_on_must_be_accepted(self):
        path = self.stopped("0", "precious payload to be damaged", "2")
        self.flip(path, b"precious payload to be damaged")
        self.refused(5, "does not match its checksum", "--accept-changes")
        server = self.broker("--accept-changes")
        done = self.run_psctl(server, "sub", "t", "--from-beginning", "--exit-at-end", code=9)
        self.assertEqual(done.out, b"0\n")
        self.assertEqual(self.run_psctl(server, "get", "t", "2").out, b"2\n")
        self.assertEqual(self.pub(server, "t", "goes on"), [3])

    def test_an_offset_that_was_changed_is_damage(self):
        path = self.stopped("0", "1", "2")
        connection = self.rw(path)
        connection.execute("update messages set payload = 'forged' where offset = 1")
        connection.close()
        server = self.broker("--accept-changes")
        done = self.run_psctl(server, "sub", "t", "--from-beginning", "--exit-at-end", code=9)
        self.assertEqual(done.out, b"0\n")

    def test_a_row_that_was_removed_is_damage(self):
        path = self.stopped("0", "1", "2")
        connection = self.rw(path)
        connection.execute("delete from messages where offset = 1")
        connection.close()
        process = self.broker("--accept-changes", wait=False)
        try:
            process.stdout.wait_lines(1)
        except AssertionError:
            self.assertEqual(process.wait(), 5, process.err)
            return
        kind, address = process.stdout.wait_lines(1)[0].decode().split(" ")[1:]
        done = self.run_psctl(int(address.rpartition(":")[2]), "sub", "t", "--from-beginning", "--exit-at-end", code=9)
        self.assertEqual(done.out, b"0\n", kind)

    def test_a_damaged_page_of_the_file(self):
        path = self.stopped(*["x" * 2000] * 500)
        with open(path, "r+b") as file:
            size = file.seek(0, 2)
            file.seek(size // 2 // 16384 * 16384)
            file.write(b"\xa5" * 16384)
        process = self.broker(wait=False)
        try:
            process.stdout.wait_lines(1)
        except AssertionError:
            self.assertEqual(process.wait(), 5, process.err)
            return
        port = int(process.stdout.wait_lines(1)[0].decode().rpartition(":")[2])
        done = self.run_psctl(port, "sub", "t", "--from-beginning", "--exit-at-end", code=None)
        self.assertNotEqual(done.code, 0)
        self.assertEqual(set(done.out.split(b"\n")) - {b""}, {b"x" * 2000})

    def test_a_truncated_file(self):
        path = self.stopped(*["x" * 2000] * 500)
        os.truncate(path, os.path.getsize(path) // 2)
        process = self.broker(wait=False)
        try:
            process.stdout.wait_lines(1)
        except AssertionError:
            self.assertEqual(process.wait(), 5, process.err)
            return
        port = int(process.stdout.wait_lines(1)[0].decode().rpartition(":")[2])
        done = self.run_psctl(port, "sub", "t", "--from-beginning", "--exit-at-end", code=None)
        self.assertNotEqual(done.code, 0)

    def test_a_torn_wal_end_is_recovered(self):
        server = self.broker()
        self.pub(server, "t", *range(100))
        server.kill()
        wal = server.database + "-wal"
        if os.path.getsize(wal):
            with open(wal, "ab") as file:
                file.write(b"\x5a" * 10000)
        self.assertEqual(self.history(self.broker(), "t"), [str(number).encode() for number in range(100)])


class NearlyFull(StorageCase):
    def test_below_the_floor_publications_are_refused_and_reading_goes_on(self):
        self.stopped("0")
        server = self.broker("--disk-floor", "1024G")
        done = self.run_psctl(server, "pub", "t", "1", code=6)
        self.assertEqual(done.out, b"")
        self.assertIn("disk", done.err)
        self.assertEqual(self.history(server, "t"), [b"0"])
        self.assertEqual(server.terminate(), 0, server.err)
        self.assertEqual(self.pub(self.broker(), "t", "1"), [1])

    def test_service_resumes_when_there_is_room_again(self):
        os.mkdir(self.path("data"))
        script = 'mount -t tmpfs -o size=200M,mode=700 none "$1" && shift && exec "$@"'
        if subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", self.path("data"), "true"],
                          capture_output=True, check=False).returncode != 0:
            self.skipTest("no mount namespaces here")
        process = Process(["unshare", "-m", "sh", "-c", script, "sh", self.path("data"), PSBROKER, "--data",
                           self.path("data"), "--listen", "127.0.0.1:0"])
        self.addCleanup(process.end)
        port = int(process.stdout.wait_lines(1)[0].rpartition(b":")[2])
        self.assertEqual(self.pub(port, "t", "0"), [0])
        filler = f"/proc/{process.pid}/root{self.path('data')}/filler"
        with open(filler, "wb") as file:
            file.write(b"x" * (160 << 20))
        self.run_psctl(port, "pub", "t", "refused", code=6)
        self.assertEqual(self.history(port, "t"), [b"0"])
        os.remove(filler)
        wait_until(lambda: self.run_psctl(port, "pub", "t", "1", code=None).code == 0, "room for publications")
        self.assertEqual(self.history(port, "t"), [b"0", b"1"])
        process.signal(15)
        self.assertEqual(process.wait(), 0, process.err)


class Rules(StorageCase):
    def test_settings_of_the_file(self):
        server = self.broker()
        self.pub(server, "t", "x")
        connection = self.database(server)
        self.assertEqual(connection.execute("pragma journal_mode").fetchone()[0], "wal")
        self.assertEqual(connection.execute("pragma page_size").fetchone()[0], 16384)
        self.assertNotEqual(connection.execute("pragma application_id").fetchone()[0], 0)
        self.assertGreaterEqual(connection.execute("pragma user_version").fetchone()[0], 1)
        strict = connection.execute("select name from pragma_table_list where type = 'table' and schema = 'main' "
                                    "and name not like 'sqlite_%' and not strict").fetchall()
        self.assertEqual(strict, [])
        self.assertEqual(os.stat(server.data).st_mode & 0o777, 0o700)

    def test_each_start_commits_a_row(self):
        counts = []
        for _ in range(3):
            server = self.broker()
            rows = dict(self.database(server).execute("select * from settings"))
            counts.append(int(rows["start_count"]))
            server.kill()
        self.assertEqual(counts, [counts[0], counts[0] + 1, counts[0] + 2])

    def test_the_wal_is_emptied_at_the_start(self):
        server = self.broker()
        self.pub(server, "t", *["x" * 1000] * 1000)
        server.kill()
        server = self.broker()
        self.assertLess(os.path.getsize(server.database + "-wal"), 1 << 20)

    def test_times_never_go_back(self):
        server = self.broker()
        for _ in range(5):
            self.pub(server, "t", *range(10))
        times = [row[0] for row in self.database(server).execute("select published_at from messages order by seq")]
        self.assertEqual(times, sorted(times))

    def test_the_documented_range_query(self):
        server = self.broker()
        self.pub(server, "t", *range(5000))
        rows = self.database(server).execute(
            "select offset, payload from history where topic = 't' and offset between 4000 and 4009 "
            "and run between 4000-1023 and 4009").fetchall()
        self.assertEqual(rows, [(number, str(number)) for number in range(4000, 4010)])


if __name__ == "__main__":
    tap.main()
