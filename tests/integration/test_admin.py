"""psctl get, topics, subs, unsub, ping, info, help: what they print and when they refuse."""
import pathlib
import re
import subprocess

import tap

from psbroker_test import PSBROKER, Case, wait_until


class Get(Case):
    def setUp(self):
        super().setUp()
        self.server = self.broker()
        self.pub(self.server, "t", "0", "1", "2")

    def get(self, *arguments, **keywords):
        return self.run_psctl(self.server, "get", *arguments, **keywords)

    def test_one_message(self):
        self.assertEqual(self.get("t", "1").out, b"1\n")
        self.assertEqual(self.get("t", "2", "-v").out, b"t\t2\t2\n")
        self.assertEqual(self.get("t", "0", "-o", "json").json()[0]["payload"], "0")

    def test_no_such_topic(self):
        done = self.get("nothing", "0", code=5)
        self.assertIn("nothing", done.err)
        self.assertEqual(done.out, b"")

    def test_beyond_the_end_names_the_range(self):
        done = self.get("t", "3", code=5)
        self.assertIn("2", done.err)
        self.get("t", str((1 << 63) - 1), code=5)

    def test_what_is_no_longer_kept(self):
        self.run_psctl(self.server, "topics", "delete", "t", "--yes")
        self.pub(self.server, "t", "3")
        done = self.get("t", "1", code=5)
        self.assertIn("3", done.err)
        self.assertEqual(self.get("t", "3").out, b"3\n")

    def test_not_an_offset(self):
        for value in ("-1", "x", "", "1.5", "18446744073709551616"):
            with self.subTest(value=value):
                self.get("t", value, code=2)

    def test_wildcards_are_no_topic(self):
        self.get("t/#", "0", code=2)

    def test_get_creates_nothing(self):
        self.get("nothing", "0", code=5)
        self.assertEqual(len(self.run_psctl(self.server, "topics", "-o", "json").json()), 1)


class Topics(Case):
    def setUp(self):
        super().setUp()
        self.server = self.broker()

    def test_list(self):
        self.pub(self.server, "b", *range(3))
        self.pub(self.server, "a", "x")
        listed = self.run_psctl(self.server, "topics", "-o", "json").json()
        self.assertEqual([(e["topic"], e["first"], e["head"]) for e in listed], [("a", 0, 1), ("b", 0, 3)])
        lines = self.run_psctl(self.server, "topics").lines()
        self.assertTrue(any("b" in line and "3" in line for line in lines))

    def test_list_of_none(self):
        self.assertEqual(self.run_psctl(self.server, "topics", "-o", "json").out, b"")

    def test_delete_asks_for_yes_without_a_terminal(self):
        self.pub(self.server, "t", "x")
        done = self.run_psctl(self.server, "topics", "delete", "t", code=2)
        self.assertIn("--yes", done.err)
        self.assertEqual(self.history(self.server, "t"), [b"x"])

    def test_delete_asks_on_a_terminal(self):
        self.pub(self.server, "t", "x")
        for answer, left in ((b"n\n", [b"x"]), (b"\n", [b"x"]), (b"y\n", [])):
            with self.subTest(answer=answer):
                terminal = self.terminal(self.server, "topics", "delete", "t", stderr_too=True)
                terminal.output.wait(lambda data: b"t" in data and b"?" in data, "a question")
                terminal.write(answer)
                terminal.wait()
                self.assertEqual(self.history(self.server, "t"), left)

    def test_delete_and_make_it_again(self):
        self.pub(self.server, "t", "0", "1")
        self.run_psctl(self.server, "topics", "delete", "t", "--yes")
        self.assertEqual(self.run_psctl(self.server, "topics", "-o", "json").out, b"")
        self.assertEqual(self.history(self.server, "t"), [])
        self.assertEqual(self.pub(self.server, "t", "2"), [2])
        self.assertEqual(self.history(self.server, "t"), [b"2"])
        rows = self.database(self.server).execute("select offset from history where topic = 't'").fetchall()
        self.assertEqual(rows, [(2,)])

    def test_deleting_what_is_not_there(self):
        done = self.run_psctl(self.server, "topics", "delete", "nothing", "--yes", code=5)
        self.assertIn('"nothing": no such topic', done.err)

    def test_a_list_of_nothing_says_so(self):
        self.assertIn("no topics yet", self.run_psctl(self.server, "topics").err)
        self.assertIn("no subscription is stored", self.run_psctl(self.server, "subs").err)
        self.pub(self.server, "line", "0")
        done = self.run_psctl(self.server, "topics", "list", "lin#")
        self.assertEqual(done.out, b"")
        self.assertIn("wildcards only as a whole level", done.err)
        self.assertEqual(self.run_psctl(self.server, "topics", "list", "line").err, "")

    def test_a_terminal_is_shown_a_header(self):
        self.pub(self.server, "t", "0")
        self.run_psctl(self.server, "sub", "-i", "s", "t", "nothing", "--exit-at-end")
        for command, words in (("topics", rb"TOPIC\s+FIRST\s+NEXT\s+SUBSCRIBERS\s+t\s"),
                               ("subs", rb"ID\s+FILTER\s+TOPIC\s+COMMITTED\s+LAG\s+s\s+nothing\s+-\s")):
            with self.subTest(command=command):
                terminal = self.terminal(self.server, command)
                self.assertEqual(terminal.wait(), 0)
                self.assertRegex(terminal.output.finish(), words)
                self.assertNotIn(b"TOPIC", self.run_psctl(self.server, command).out)

    def test_deleted_stays_deleted_after_a_kill(self):
        self.pub(self.server, "t", *range(100))
        self.run_psctl(self.server, "topics", "delete", "t", "--yes")
        self.server.kill()
        self.server = self.broker()
        self.assertEqual(self.history(self.server, "t"), [])
        self.assertEqual(self.pub(self.server, "t", "x"), [100])

    def test_deleted_rows_are_swept(self):
        self.pub(self.server, "t", *range(1000))
        self.pub(self.server, "u", "kept")
        self.run_psctl(self.server, "topics", "delete", "t", "--yes")
        self.assertEqual(self.server.terminate(), 0)  # ends the epoch: only indexed rows are swept
        self.server = self.broker()
        database = self.database(self.server)
        wait_until(lambda: database.execute("select count(*) from messages").fetchone()[0] <= 1, "the sweeper")
        self.assertEqual(self.history(self.server, "u"), [b"kept"])

    def test_a_subscriber_goes_on_over_a_deletion(self):
        self.pub(self.server, "t", "0")
        subscriber = self.start(self.server, "sub", "t", "--from-beginning")
        subscriber.stdout.wait_lines(1)
        self.run_psctl(self.server, "topics", "delete", "t", "--yes")
        self.pub(self.server, "t", "1")
        subscriber.stdout.wait_text("0\n1\n")


class Subscriptions(Case):
    def setUp(self):
        super().setUp()
        self.server = self.broker()
        self.pub(self.server, "t", *range(5))
        self.sub("t", "--from-beginning", "--count", "3")

    def sub(self, *arguments, **keywords):
        return self.run_psctl(self.server, "sub", "-i", "s1", *arguments, **keywords)

    def seek(self, *arguments, **keywords):
        return self.run_psctl(self.server, "subs", "seek", "t", "-i", "s1", *arguments, **keywords)

    def test_list(self):
        entry = self.run_psctl(self.server, "subs", "-o", "json").json()[0]
        self.assertEqual((entry["id"], entry["filter"]), ("s1", "t"))
        position = entry["topics"][0]
        self.assertEqual((position["topic"], position["committed"], position["lag"]), ("t", 3, 2))
        lines = self.run_psctl(self.server, "subs").lines()
        self.assertTrue(any("s1" in line and "t" in line for line in lines))

    def test_list_of_one_id(self):
        self.run_psctl(self.server, "sub", "-i", "s2", "t", "--exit-at-end")
        entries = self.run_psctl(self.server, "subs", "-i", "s2", "-o", "json").json()
        self.assertEqual([entry["id"] for entry in entries], ["s2"])

    def test_seek_to_an_offset(self):
        self.seek("--to-offset", "1")
        self.assertEqual(self.sub("t", "--exit-at-end").out, b"1\n2\n3\n4\n")

    def test_seek_to_the_beginning_and_to_the_end(self):
        self.seek("--to-beginning")
        self.assertEqual(self.sub("t", "--exit-at-end").out, b"0\n1\n2\n3\n4\n")
        self.seek("--to-beginning")
        self.seek("--to-end")
        self.assertEqual(self.sub("t", "--exit-at-end").out, b"")

    def test_seek_survives_a_kill(self):
        self.seek("--to-offset", "4")
        self.server.kill()
        self.server = self.broker()
        self.assertEqual(self.sub("t", "--exit-at-end").out, b"4\n")

    def test_seek_beyond_the_end(self):
        done = self.seek("--to-offset", "6", code=5)
        self.assertIn('"t" of "s1": no such offset, even counting the next to be published; offsets 0 to 5', done.err)
        self.seek("--to-offset", "5")
        self.assertEqual(self.sub("t", "--exit-at-end").out, b"")

    def test_seek_of_nothing(self):
        done = self.run_psctl(self.server, "subs", "seek", "t", "-i", "nobody", "--to-end", code=5)
        self.assertIn('"t" of "nobody": no such subscription', done.err)
        self.run_psctl(self.server, "subs", "seek", "x", "-i", "s1", "--to-end", code=5)

    def test_seek_says_where(self):
        self.seek(code=2)
        self.seek("--to-end", "--to-beginning", code=2)
        self.seek("--to-offset", "-1", code=2)

    def test_unsub(self):
        self.run_psctl(self.server, "unsub", "t", "-i", "s1")
        self.assertEqual(self.run_psctl(self.server, "subs", "-o", "json").out, b"")
        done = self.run_psctl(self.server, "unsub", "t", "-i", "s1", code=5)
        self.assertIn('"t" of "s1": no such subscription', done.err)

    def test_unsub_wants_an_id(self):
        self.run_psctl(self.server, "unsub", "t", code=2)

    def test_lag_counts_what_is_published_later(self):
        self.pub(self.server, "t", "5")
        position = self.run_psctl(self.server, "subs", "-o", "json").json()[0]["topics"][0]
        self.assertEqual((position["committed"], position["lag"]), (3, 3))


    def test_the_lag_that_the_readme_asks_sqlite3_for_is_that_of_subs(self):
        self.pub(self.server, "a/1", *range(4))
        self.pub(self.server, "a/2", *range(9))
        self.run_psctl(self.server, "sub", "-i", "s2", "a/+", "--from-beginning", "--exit-at-end")
        self.pub(self.server, "a/2", *range(7))
        self.run_psctl(self.server, "topics", "delete", "a/1", "--yes")
        self.pub(self.server, "a/1", "again")
        readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
        query = re.search(r"^-- who is behind.*?;", readme, re.M | re.S).group()
        shown = sorted(self.database(self.server).execute(query).fetchall())
        told = [(entry["id"], entry["filter"], topic["topic"], topic["committed"], topic["lag"])
                for entry in self.run_psctl(self.server, "subs", "-o", "json").json() for topic in entry["topics"]]
        self.assertEqual(shown, sorted(told))
        self.assertIn(("s1", "t", "t", 3, 2), shown)
        self.assertIn(("s2", "a/+", "a/2", 9, 7), shown)


class Info(Case):
    def test_info_json(self):
        server = self.broker()
        self.pub(server, "t", *range(100))
        info = self.info(server)
        for field in ("version", "log_id", "uptime_ms", "connections", "queued_bytes", "commits",
                      "messages_per_commit", "wal_bytes", "oldest_reader_ms", "memory_bytes", "free_disk_bytes"):
            self.assertIn(field, info)
        self.assertGreaterEqual(info["connections"], 1)
        self.assertGreaterEqual(info["commits"], 1)
        self.assertGreater(info["memory_bytes"], 1 << 20)
        self.assertRegex(str(info["log_id"]), r"^[0-9a-f-]{32,36}$")

    def test_log_id_stays_over_restarts(self):
        server = self.broker()
        before = self.info(server)["log_id"]
        server.kill()
        self.assertEqual(self.info(self.broker())["log_id"], before)
        self.assertNotEqual(self.info(self.broker(data=self.path("other")))["log_id"], before)

    def test_info_text(self):
        server = self.broker()
        text = self.run_psctl(server, "info").out.decode()
        for word in ("version", "log", "uptime", "connections"):
            self.assertIn(word, text)

    def test_ping(self):
        server = self.broker()
        self.assertTrue(self.run_psctl(server, "ping").out)
        self.assertTrue(self.run_psctl(server, "ping", "-o", "json").json())
        port = server.port
        server.kill()
        self.run_psctl(port, "ping", "--connect-timeout", "0.2", code=3)


class Help(Case):
    def text(self, *arguments, code=0):
        return self.run_psctl(None, *arguments, code=code)

    def test_every_command_has_help_with_an_example(self):
        overview = self.text("--help").out.decode()
        for command in (["pub"], ["sub"], ["get"], ["topics"], ["topics", "delete"], ["subs"], ["subs", "seek"],
                        ["unsub"], ["ping"], ["info"], ["shell"]):
            with self.subTest(command=command):
                self.assertIn(command[0], overview)
                text = self.text(*command, "--help").out.decode()
                self.assertRegex(text, r"(?s)[Ee]xample.*psctl .*" + re.escape(" ".join(command)))

    def test_h_without_an_argument_is_help(self):
        self.assertIn("pub", self.text("-h").out.decode())
        self.assertIn("--lines", self.text("pub", "-h").out.decode())

    def test_usage_errors(self):
        for arguments in ((), ("nonsense",), ("pub",), ("pub", "t", "x", "--nonsense"), ("sub", "t", "--count"),
                          ("sub", "t", "--count", "-1"), ("sub", "t", "--count", "x"), ("sub", "t", "-o", "nonsense"),
                          ("get", "t"), ("topics", "nonsense"), ("subs", "seek"), ("-p", "0", "ping"),
                          ("-p", "65536", "ping"), ("-p", "x", "ping"), ("sub", "t", "--last", "-3")):
            with self.subTest(arguments=arguments):
                done = self.text(*arguments, code=2)
                self.assertEqual(done.out, b"")
                self.assertTrue(done.err)

    def test_version(self):
        self.assertRegex(self.text("--version").out.decode(), r"\d+\.\d+")

    def test_where_the_broker_is(self):
        server = self.broker()
        port = str(server.port)
        for arguments, env in ((("-h", "127.0.0.1", "-p", port, "ping"), {}),
                               (("ping", "-h", "127.0.0.1", "-p", port), {}),
                               (("-h127.0.0.1", f"-p{port}", "ping"), {}),
                               (("-p", port, "ping"), {}),
                               (("-h", "localhost", "-p", port, "ping"), {}),
                               (("ping",), {"PSCTL_HOST": "127.0.0.1", "PSCTL_PORT": port}),
                               (("-p", port, "ping"), {"PSCTL_PORT": "1"})):
            with self.subTest(arguments=arguments, env=env):
                self.run_psctl(None, *arguments, env=env)


class BrokerOptions(Case):
    def run_broker(self, *arguments):

        done = subprocess.run([PSBROKER, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                              cwd=self.dir, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def test_version_and_help(self):
        code, out, _ = self.run_broker("--version")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"\d+\.\d+")
        code, out, _ = self.run_broker("--help")
        self.assertEqual(code, 0)
        self.assertIn("--listen", out)

    def test_usage_errors(self):
        for arguments in (("--nonsense",), ("--data",), ("--listen", "127.0.0.1:x"), ("--listen", "127.0.0.1:70000"),
                          ("--listen", "127.0.0.1:0,role=king"), ("word",), ("--listen", "unix:"), ("--data", "")):
            with self.subTest(arguments=arguments):
                code, out, err = self.run_broker(*arguments)
                self.assertEqual(code, 2, err)
                self.assertEqual(out, "")
                self.assertTrue(err)


if __name__ == "__main__":
    tap.main()
