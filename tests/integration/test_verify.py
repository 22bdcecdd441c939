"""psbroker verify finds and names what is wrong in a log that no broker has open, and psctl verify in one that works."""
import os
import shutil
import subprocess

import tap

from psbroker_test import PSBROKER, Case, Done, wait_until


class VerifyCase(Case):
    def verify(self, path, code=0):
        process = subprocess.run([PSBROKER, "verify", path], capture_output=True, check=False)
        done = Done(process.returncode, process.stdout, process.stderr.decode())
        self.assertEqual(done.code, code, f"{done.out!r} {done.err}")
        return done

    def filled(self, *arguments):
        """A running broker with two topics, a deleted one, a durable subscriber and committed offsets."""
        server = self.broker(*arguments)
        self.pub(server, "A", *["payload %d" % number for number in range(3000)])
        self.pub(server, "gone", *range(500))
        self.pub(server, "B", *range(200))
        self.run_psctl(server, "topics", "delete", "gone", "--yes")
        self.run_psctl(server, "sub", "A", "-i", "s1", "--from-beginning", "--count", "100")
        self.pub(server, "A", *["payload %d" % number for number in range(3000, 4000)])
        return server

    def stopped(self):
        server = self.filled()
        self.assertEqual(server.terminate(), 0, server.err)
        return server.database

    def change(self, path, *statements):
        connection = self.database(path, write=True)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    def leaf(self, path):
        return self.database(path).execute("select pageno from dbstat where name = 'messages' and pagetype = 'leaf' "
                                           "limit 1 offset 2").fetchone()[0]

    def write_noise(self, path, page):
        with open(path, "r+b") as file:
            file.seek((page - 1) * 16384)
            file.write(b"\xa5" * 16384)


class Offline(VerifyCase):
    def test_a_sound_log_by_directory_and_by_file_is_left_alone(self):
        path = self.stopped()
        before = sorted(os.listdir(os.path.dirname(path)))
        with open(path, "rb") as file:
            content = file.read()
        for name in (path, os.path.dirname(path), "/" + path):
            done = self.verify(name)
            self.assertEqual(done.out, b"")
            self.assertIn("4200 records in 2 topics, mark 4701: 0 problems", done.err)
        self.assertEqual(sorted(os.listdir(os.path.dirname(path))), before)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), content)

    def test_a_killed_brokers_log_with_its_wal(self):
        server = self.filled()
        server.kill()
        self.assertIn("mark 4701: 0 problems", self.verify(server.data).err)
        self.assertEqual(len(self.history(self.broker(), "A")), 4000)

    def test_whole_epochs_that_were_swept_are_not_missed(self):
        for topic in "AB":  # each run of a broker ends with an epoch of its own
            server = self.broker()
            self.pub(server, topic, "payload")
            self.assertEqual(server.terminate(), 0, server.err)
        server = self.broker()
        self.run_psctl(server, "topics", "delete", "B", "--yes")
        outside = self.database(server)
        wait_until(lambda: outside.execute("select count(*) from messages").fetchone() == (1,), "the sweep")
        self.pub(server, "A", "again")
        server.kill()
        self.assertIn("2 records in 1 topics, mark 4: 0 problems", self.verify(server.data).err)

    def test_a_directory_in_use_is_refused(self):
        server = self.filled()
        done = self.verify(server.data, 3)
        self.assertIn(str(server.pid), done.err)
        self.assertIn("psctl verify", done.err)

    def test_bytes_of_a_damaged_name_do_not_reach_the_terminal(self):
        path = self.stopped()
        self.change(path, "update messages set payload = 'forged' where offset = 1234",
                    "update topics set name = 'A' || char(27) || '[2J' where name = 'A'")
        done = self.verify(path, 9)
        self.assertNotIn(b"\x1b", done.out)
        self.assertIn(b"topic A\\x1b[2J", done.out)

    def test_a_changed_record_is_named(self):
        path = self.stopped()
        self.change(path, "update messages set payload = 'forged' where offset = 1234")
        done = self.verify(path, 9)
        self.assertIn(b"topic A offset 1234: does not match its checksum", done.out)

    def test_a_missing_record_is_named(self):
        path = self.stopped()
        self.change(path, "delete from messages where offset between 77 and 79 and topic_id = 1")
        self.assertIn(b"topic A offset 77: offsets 77 to 79 are missing\n", self.verify(path, 9).out)

    def test_missing_records_at_an_end_are_named(self):
        path = self.stopped()
        self.change(path, "delete from messages where offset >= 190 and "
                          "topic_id = (select topic_id from topics where name = 'B')")
        self.assertIn(b"topic B offset 190: offsets 190 to 199 are missing at its end\n", self.verify(path, 9).out)

    def test_a_missing_run_is_named(self):
        path = self.stopped()
        self.change(path, "delete from topic_runs where first_offset = 1024")
        self.assertIn(b"topic A offset 1024: is not found by the index", self.verify(path, 9).out)

    def test_an_offset_behind_its_head_is_named(self):
        path = self.stopped()
        self.change(path, "update committed_offsets set next_offset = 4001")
        done = self.verify(path, 9)
        self.assertIn(b"topic A offset 4001: is committed for the subscriber s1, though the topic ends before", done.out)

    def test_an_offset_of_nobody_is_named(self):
        path = self.stopped()
        self.change(path, "delete from subscriptions")
        self.assertIn(b"topic A offset 100: is committed for subscription_id", self.verify(path, 9).out)

    def test_an_end_that_lags_behind_its_records_is_named(self):
        path = self.stopped()
        self.change(path, "update topics set next_offset = 1000 where name = 'A'")
        self.assertIn(b"topic A offset 1000: next_offset 1000 is behind its records", self.verify(path, 9).out)

    def test_a_flipped_bit_anywhere_is_found(self):
        path = self.stopped()
        size = os.path.getsize(path)
        for place in range(4096, size, size // 13):
            with open(path, "r+b") as file:
                file.seek(place)
                byte = file.read(1)[0]
                file.seek(place)
                file.write(bytes([byte ^ 16]))
                file.flush()
                done = self.verify(path, 9)
                self.assertIn(b"page %d does not match its checksum" % (place // 16384 + 1), done.out)
                file.seek(place)
                file.write(bytes([byte]))
        self.verify(path)

    def test_adjacent_pages_are_one_line_and_what_to_do_is_said(self):
        path = self.stopped()
        with open(path, "r+b") as file:
            for page in (3, 4, 5, 7):
                file.seek(page * 16384 + 100)
                file.write(b"\xa5" * 8)
        done = self.verify(path, 9)
        self.assertIn(b"pages 4 to 6 do not match their checksums\npage 8 does not match its checksum\n", done.out)
        self.assertIn("put a backup in the place", done.err)
        self.assertIn("--accept-changes", done.err)

    def test_a_page_of_noise_beside_a_wal_says_what_to_do(self):
        path = self.stopped()
        page = self.leaf(path)
        server = self.broker()
        self.pub(server, "A", "more")
        server.kill()
        self.write_noise(path, page)
        self.assertGreater(os.path.getsize(path + "-wal"), 0)
        done = self.verify(path, 9)
        self.assertIn(b"is damaged", done.out)
        self.assertIn("--accept-changes", done.err)

    def test_a_page_of_noise_is_gone_around(self):
        path = self.stopped()
        page = self.leaf(path)
        self.write_noise(path, page)
        done = self.verify(path, 9)
        self.assertIn(b"page %d does not match its checksum" % page, done.out)
        self.assertIn(b"cannot be read: the file is damaged there", done.out)
        self.assertIn(b"are missing\n", done.out)
        self.assertNotIn(b"topic B", done.out)

    def test_a_truncated_file(self):
        path = self.stopped()
        os.truncate(path, os.path.getsize(path) // 2 + 5)
        self.assertTrue(self.verify(path, 9).out)

    def test_a_log_that_ends_early(self):
        server = self.filled()
        server.kill()
        os.truncate(server.database + "-wal", os.path.getsize(server.database + "-wal") - 16408)
        self.assertIn(b"the log ends early", self.verify(server.data, 9).out)

    def test_an_empty_file_is_no_sound_log(self):
        empty = self.file("empty.db", "")
        self.assertIn(b"holds no log", self.verify(empty, 9).out)
        os.mkdir(self.path("directory"))
        self.file("directory/psbroker.db", "")
        self.assertIn(b"holds no log", self.verify(self.path("directory"), 9).out)
        self.assertIn("not a regular file", self.verify("/dev/null", 4).err)

    def test_an_older_file_beside_a_wal(self):
        path = self.stopped()
        older = self.path("older")
        shutil.copy(path, older)
        for _ in range(2):
            server = self.broker()
            self.pub(server, "A", "more")
            server.kill()
        shutil.copy(older, path)
        self.assertIn(b"psbroker.db-wal does not continue psbroker.db", self.verify(path, 9).out)

    def test_what_is_no_log_of_ours(self):
        self.assertIn("cannot be read: No such file or directory", self.verify(self.path("nothing"), 1).err)
        self.verify(self.file("text", "no database\n" * 1000), 4)
        self.assertIn("usage", subprocess.run([PSBROKER, "verify"], capture_output=True, check=False).stderr.decode())


    def test_help(self):
        done = subprocess.run([PSBROKER, "verify", "--help"], capture_output=True, check=True)
        self.assertIn(b"psbroker verify ./data", done.stdout)
        self.assertEqual(done.stderr, b"")


class Running(VerifyCase):
    def test_a_sound_log_while_it_grows(self):
        server = self.filled()
        publisher = self.start(server, "bench", "pub", "--messages", "30000", "--topics", "20")
        for _ in range(5):
            done = self.run_psctl(server, "verify")
            self.assertEqual(done.out, b"")
            self.assertIn(": 0 problems", done.err)
        self.assertEqual(publisher.wait(), 0, publisher.err)

    def test_topics_deleted_meanwhile_are_not_missed(self):
        server = self.filled()
        for number in range(10):
            self.pub(server, "t%d" % number, *range(300))
        process = self.start(server, "verify")
        for number in range(10):
            self.run_psctl(server, "topics", "delete", "t%d" % number, "--yes")
        self.assertEqual(process.wait(), 0, process.out)

    def test_problems_are_listed(self):
        path = self.stopped()
        self.change(path, "update messages set payload = 'forged' where offset in (17, 2000) and topic_id = 1")
        server = self.broker("--accept-changes")
        done = self.run_psctl(server, "verify", code=9)
        self.assertIn(b"topic A offset 17: does not match its checksum", done.out)
        self.assertIn(b"topic A offset 2000: does not match its checksum", done.out)
        self.assertEqual(len(done.lines()), 2)
        self.assertIn("4200 records checked: 2 problems", done.err)
        done = self.run_psctl(server, "verify", "-o", "json", code=9)
        self.assertEqual([(entry["topic"], entry["offset"]) for entry in done.json()], [("A", 17), ("A", 2000)])

    def test_very_many_problems_are_counted(self):
        path = self.stopped()
        self.change(path, "update messages set payload = 'forged' where topic_id = 1")
        done = self.run_psctl(self.broker("--accept-changes"), "verify", code=9)
        self.assertEqual(len(done.lines()), 1000)
        self.assertIn(": 4000 problems", done.err)


if __name__ == "__main__":
    tap.main()
