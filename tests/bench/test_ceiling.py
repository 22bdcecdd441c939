"""The ceiling writes what the broker writes: the broker opens its log, and finds everything in it."""
import json
import os
import shutil
import sqlite3
import subprocess

import tap

from psbroker_test import Case

CEILING = os.environ["CEILING"]


class Ceiling(Case):
    def ceiling(self, *arguments):
        os.mkdir(self.path("data"), mode=0o700)
        done = subprocess.run([CEILING, *arguments, "--data", self.path("data")], capture_output=True, check=True)
        return json.loads(done.stdout)

    def query(self, sql):
        with sqlite3.connect(f"file:{self.path('data')}/psbroker.db?mode=ro", uri=True) as database:
            return database.execute(sql).fetchall()

    def assert_log(self, found, topics):
        """As many messages as it says, indexed as ours; the broker compares the file with itself when it starts."""
        server = self.broker()
        listed = self.run_psctl(server, "topics", "-o", "json").json()
        self.assertEqual(len(listed), topics)
        self.assertEqual(sum(topic["messages"] for topic in listed), found["messages"])
        self.assertEqual(self.query("PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(self.query("SELECT sum(count) FROM topic_runs")[0][0],
                         self.query("SELECT max(last_seq) FROM epochs")[0][0])
        self.assertEqual(self.query("SELECT count(*) FROM history")[0][0], found["messages"])

    def test_pages_and_tables_are_the_store_s(self):
        facts = ("PRAGMA page_size", "PRAGMA auto_vacuum", "PRAGMA user_version", "SELECT type, name, sql FROM sqlite_schema")
        self.ceiling("batch", "--messages", "1")
        by_ceiling = [self.query(fact) for fact in facts]
        server = self.broker(data=self.path("other"))
        server.terminate()
        os.rename(self.path("data"), self.path("ceiling"))
        os.rename(self.path("other"), self.path("data"))
        self.assertEqual(by_ceiling, [self.query(fact) for fact in facts])

    def test_one_topic(self):
        found = self.ceiling("batch", "--messages", "140000", "--batch", "9000")
        self.assertEqual((found["commits"], found["topics"]), (16, 1))
        self.assertGreater(found["checkpoints"], 0)
        self.assert_log(found, 1)

    def test_on_the_store_s_vfs(self):
        plain = self.ceiling("batch", "--messages", "3000")
        self.assertFalse(plain["store_vfs"])
        shutil.rmtree(self.path("data"))
        found = self.ceiling("batch", "--messages", "140000", "--batch", "9000", "--store-vfs")
        self.assertTrue(found["store_vfs"])
        self.assertGreater(found["checkpoints"], 0)
        self.assert_log(found, 1)

    def test_more_topics_than_are_busy(self):
        self.assert_log(self.ceiling("batch", "--messages", "140000", "--topics", "500"), 500)

    def test_a_commit_for_each_row(self):
        found = self.ceiling("single", "--messages", "20")
        self.assertEqual((found["mode"], found["commits"], found["batch"]), ("single", 20, 1))
        self.assertAlmostEqual(20 / found["msgs_per_s"], found["seconds"], delta=0.001)
        self.assertEqual(self.query("SELECT count(*) FROM messages"), [(20,)])

    def test_large_payloads_make_small_batches(self):
        found = self.ceiling("batch", "--messages", "100", "--size", "262144")
        self.assertEqual(found["commits"], 4)
        self.assertEqual(self.query("SELECT min(length(payload)) FROM messages"), [(262144,)])

    def test_an_epoch_ends_at_its_bytes(self):
        found = self.ceiling("batch", "--messages", "300", "--size", "262144")
        self.assertEqual(self.query("SELECT count(*) FROM epochs"), [(1,)])
        self.assert_log(found, 1)


if __name__ == "__main__":
    tap.main()
