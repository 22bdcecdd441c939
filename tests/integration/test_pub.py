"""psctl pub: what becomes a message, what is printed, which exit code."""
import os
import signal
import subprocess

import tap

from psbroker_test import PSCTL, Case, Process, wait_until

MEGABYTE = 1 << 20


class Messages(Case):
    def setUp(self):
        super().setUp()
        self.server = self.broker()

    def payloads(self, topic="t"):
        """Payloads as stored, seen from outside with SQL."""
        rows = self.database(self.server).execute(
            "select cast(payload as blob) from history where topic = ? order by offset", (topic,))
        return [bytes(row[0]) for row in rows]

    def test_a_word_prints_its_offset(self):
        self.assertEqual(self.run_psctl(self.server, "pub", "t", "hello").out, b"0\n")
        self.assertEqual(self.run_psctl(self.server, "pub", "t", "hello").out, b"1\n")
        self.assertEqual(self.run_psctl(self.server, "pub", "u", "hello").out, b"0\n")
        self.assertEqual(self.payloads(), [b"hello", b"hello"])

    def test_what_was_stored_is_told_though_stdout_takes_nothing(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PSCTL, "pub", "t", "hello"], env=self.environment(self.server), stdout=full,
                                  stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b'stored all the same: offset 0 of "t"', done.stderr)
        self.assertEqual(self.payloads(), [b"hello"])

    def test_an_empty_word_is_an_empty_message(self):
        self.assertEqual(self.run_psctl(self.server, "pub", "t", "").out, b"0\n")
        self.assertEqual(self.payloads(), [b""])

    def test_blanks_and_unicode_are_kept(self):
        self.run_psctl(self.server, "pub", "t", " ä  b ")
        self.assertEqual(self.payloads(), [" ä  b ".encode()])

    def test_two_words_are_a_usage_error_with_a_hint(self):
        done = self.run_psctl(self.server, "pub", "t", "hello", "world", code=2)
        self.assertIn("quote", done.err)
        self.assertEqual(done.out, b"")

    def test_whole_input_is_one_message(self):
        data = b"one\ntwo\0\xff\r\n\n"
        for arguments in (("pub", "t"), ("pub", "t", "-")):
            self.run_psctl(self.server, *arguments, stdin=data)
        self.assertEqual(self.payloads(), [data, data])

    def test_empty_input_is_an_empty_message(self):
        self.run_psctl(self.server, "pub", "t", "-", stdin=b"")
        self.assertEqual(self.payloads(), [b""])

    def test_lines(self):
        done = self.run_psctl(self.server, "pub", "t", "--lines", "-", stdin=b"a\n\nb\r\n c \nlast")
        self.assertEqual(done.out, b"0\n1\n2\n3\n4\n")
        self.assertEqual(self.payloads(), [b"a", b"", b"b\r", b" c ", b"last"])

    def test_lines_of_an_empty_input_are_none(self):
        done = self.run_psctl(self.server, "pub", "t", "--lines", "-", stdin=b"")
        self.assertEqual(done.out, b"")
        self.assertEqual(done.err, "psctl: nothing published: the input has no lines\n")
        self.assertEqual(self.run_psctl(self.server, "pub", "t", "--lines", "-", "-q", stdin=b"").err, "")
        self.assertEqual(self.run_psctl(self.server, "topics", "-o", "json").out, b"")

    def test_a_blank_last_line_without_newline_is_none(self):
        self.run_psctl(self.server, "pub", "t", "--lines", "-", stdin=b"a\n")
        self.assertEqual(self.payloads(), [b"a"])

    def test_lines_with_any_bytes(self):
        lines = [bytes(byte for byte in range(256) if byte != 10), b"\0", b"\xff\xfe", b"\0\0\0"]
        self.run_psctl(self.server, "pub", "t", "--lines", "-", stdin=b"\n".join(lines))
        self.assertEqual(self.payloads(), lines)

    def test_lines_come_back_as_they_went(self):
        data = b"".join(b"line %d %s\n" % (number, b"x" * (number % 257)) for number in range(20000))
        done = self.run_psctl(self.server, "pub", "t", "--lines", "-", stdin=data)
        self.assertEqual(done.out, b"".join(b"%d\n" % number for number in range(20000)))
        self.assertEqual(self.run_psctl(self.server, "sub", "t", "--from-beginning", "--exit-at-end").out, data)

    def test_file_is_one_message(self):
        data = bytes(range(256)) * 100
        self.run_psctl(self.server, "pub", "t", "--file", self.file("message", data))
        self.assertEqual(self.payloads(), [data])

    def test_lines_of_a_file(self):
        done = self.run_psctl(self.server, "pub", "t", "--lines", "--file", self.file("lines", b"a\nb\n"))
        self.assertEqual(done.out, b"0\n1\n")

    def test_a_missing_file_is_named(self):
        done = self.run_psctl(self.server, "pub", "t", "--file", self.path("nothing"), code=None)
        self.assertIn(done.code, (1, 2))
        self.assertIn("nothing", done.err)

    def test_json_output(self):
        done = self.run_psctl(self.server, "pub", 'q"t', "--lines", "-", "-o", "json", stdin=b"a\nb\n")
        self.assertEqual(done.json(), [{"topic": 'q"t', "offset": 0}, {"topic": 'q"t', "offset": 1}])

    def test_quiet(self):
        done = self.run_psctl(self.server, "pub", "t", "-q", "hello")
        self.assertEqual((done.out, done.err), (b"", ""))

    def test_largest_message(self):
        self.run_psctl(self.server, "pub", "t", "-", stdin=b"x" * MEGABYTE)
        done = self.run_psctl(self.server, "pub", "t", "-", stdin=b"x" * (MEGABYTE + 1), code=6)
        self.assertEqual(done.out, b"")
        self.assertEqual([len(payload) for payload in self.payloads()], [MEGABYTE])

    def test_a_line_too_long_is_refused_by_number_and_never_split(self):
        data = b"a\nb\n" + b"x" * (MEGABYTE + 1) + b"\nc\n"
        done = self.run_psctl(self.server, "pub", "t", "--lines", "-", stdin=data, code=6)
        self.assertEqual(done.out, b"0\n1\n")
        self.assertIn("line 3 refused", done.err)
        self.assertIn("line 3 is the next to publish", done.err)
        self.assertEqual(self.payloads(), [b"a", b"b"])

    def test_a_longest_line_is_taken(self):
        data = b"x" * MEGABYTE + b"\n" + b"y" * MEGABYTE
        self.run_psctl(self.server, "pub", "t", "--lines", "-", stdin=data)
        self.assertEqual([len(payload) for payload in self.payloads()], [MEGABYTE, MEGABYTE])

    def test_what_is_not_a_topic(self):
        for topic in ("", "a/+", "a/#", "x" * 256, "$sys", "a\nb", b"\xff"):
            with self.subTest(topic=topic):
                done = self.run_psctl(self.server, "pub", topic, "hello", code=2)
                self.assertEqual(done.out, b"")
                self.assertTrue(done.err)
        done = self.run_psctl(self.server, "pub", "x" * 256, "hello", code=2)
        self.assertIn("not a topic name: it is longer than 255 bytes", done.err)
        self.assertEqual(self.run_psctl(self.server, "topics", "-o", "json").out, b"")

    def test_key_and_headers(self):
        self.run_psctl(self.server, "pub", "t", "-k", "user 7", "-H", "type=a=b", "-H", "empty=", "hello")
        message = self.run_psctl(self.server, "get", "t", "0", "-o", "json").json()[0]
        self.assertEqual(message["key"], "user 7")
        self.assertEqual(message["headers"], {"type": "a=b", "empty": ""})
        self.run_psctl(self.server, "pub", "t", "--key", "", "hello")
        self.assertEqual(self.run_psctl(self.server, "get", "t", "1", "-o", "json").json()[0]["key"], "")

    def test_duplicate_header_names_are_refused(self):
        done = self.run_psctl(self.server, "pub", "t", "-H", "a=1", "-H", "a=2", "hello", code=2)
        self.assertTrue(done.err)
        self.assertEqual(self.run_psctl(self.server, "topics", "-o", "json").out, b"")

    def test_records_that_end_with_nul(self):
        done = self.run_psctl(self.server, "pub", "t", "--lines", "-0", "-", stdin=b"a\nb\0\0c")
        self.assertEqual(done.out, b"0\0" b"1\0" b"2\0")
        self.assertEqual(self.payloads(), [b"a\nb", b"", b"c"])

    def test_publisher_id_is_kept(self):
        self.run_psctl(self.server, "pub", "t", "hello", "-i", "me")
        done = self.run_psctl(self.server, "get", "t", "0", "-o", "json")
        self.assertEqual(done.json()[0]["publisher"], "me")

    def test_publishing_with_an_id_takes_over_nothing(self):
        holder = self.start(self.server, "sub", "t", "-i", "me")
        holder.stderr.wait_text("subscribed")
        self.run_psctl(self.server, "pub", "t", "hello", "-i", "me")
        holder.stdout.wait_text("hello\n")
        self.assertTrue(holder.running())

    def test_lines_arrive_as_they_are_written(self):
        publisher = self.start(self.server, "pub", "t", "--lines", "-")
        for number in range(3):
            publisher.write(b"line\n")
            publisher.stdout.wait_lines(number + 1)
        publisher.close_stdin()
        self.assertEqual(publisher.wait(), 0)

    def test_ctrl_c_and_sigterm(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with self.subTest(code=code):
                publisher = self.start(self.server, "pub", "t", "--lines", "-")
                publisher.write(b"line\n")
                publisher.stdout.wait_lines(1)
                publisher.signal(number)
                self.assertEqual(publisher.wait(), code)

    def test_summary_on_a_terminal(self):
        lines = self.file("lines", b"a\nb\nc\n")
        terminal = self.terminal(self.server, "pub", "t", "--lines", "--file", lines, stderr_too=True)
        self.assertEqual(terminal.wait(), 0)
        text = terminal.output.finish()
        self.assertIn(b"3", text)
        self.assertNotIn(b"0\r\n1\r\n2\r\n", text)

    def test_broken_pipe_ends_quietly(self):
        data = b"x\n" * 50000
        reader, writer = os.pipe()
        os.close(reader)
        publisher = Process([PSCTL, "pub", "t", "--lines", "--file", self.file("lines", data)],
                            env=self.environment(self.server), stdout=writer)
        os.close(writer)
        self.addCleanup(publisher.end)
        self.assertEqual(publisher.wait(), 0)
        self.assertEqual(publisher.err, "")


class Outcomes(Case):
    def test_nobody_listens(self):
        server = self.broker()
        port = server.port
        server.kill()
        done = self.run_psctl(port, "--connect-timeout", "0.2", "pub", "t", "hello", code=3)
        self.assertEqual(done.out, b"")
        self.assertIn(str(port), done.err)

    def test_waits_for_a_broker_that_is_starting(self):
        server = self.broker()
        port = server.port
        server.kill()
        publisher = self.start(port, "pub", "--connect-timeout", "60", "t", "hello")
        server = self.broker(listen=(f"127.0.0.1:{port}",))
        self.assertEqual(publisher.wait(), 0)
        self.assertEqual(publisher.out, b"0\n")

    def test_unknown_is_said_and_never_sent_again(self):
        server = self.broker()
        port = server.port
        publisher = self.start(server, "pub", "t", "--lines", "-")
        publisher.write(b"acknowledged\n")
        publisher.stdout.wait_lines(1)
        server.signal(signal.SIGSTOP)
        publisher.write(b"in flight\n")
        wait_until(lambda: received_unread(port) > 0, "the line to travel")
        server.kill()
        self.assertEqual(publisher.wait(), 8)
        self.assertEqual(publisher.out, b"0\n")
        self.assertIn("unknown", publisher.err)
        server = self.broker(listen=(f"127.0.0.1:{port}",))
        self.assertIn(self.history(server, "t"), ([b"acknowledged"], [b"acknowledged", b"in flight"]))

    def test_lost_with_nothing_in_flight(self):
        server = self.broker()
        publisher = self.start(server, "pub", "t", "--lines", "-")
        publisher.write(b"acknowledged\n")
        publisher.stdout.wait_lines(1)
        server.kill()
        publisher.stderr.wait(lambda text: text or not publisher.running(), "word about the loss")
        publisher.close_stdin()
        self.assertEqual(publisher.wait(), 3)
        self.assertIn("line 2 is the next to publish", publisher.err)

    def test_acknowledged_survives_kill(self):
        server = self.broker()
        publisher = self.start(server, "pub", "t", "--lines", "-")
        lines = [b"message %d" % number for number in range(200000)]
        try:
            publisher.popen.stdin.write(b"\n".join(lines[:100000]) + b"\n")
            publisher.popen.stdin.flush()
            publisher.stdout.wait_lines(20000)
            server.kill()
            publisher.popen.stdin.write(b"\n".join(lines[100000:]))
        except BrokenPipeError:
            pass
        try:
            publisher.close_stdin()
        except BrokenPipeError:
            pass
        self.assertIn(publisher.wait(), (3, 8))
        acknowledged = publisher.out.count(b"\n")
        self.assertGreaterEqual(acknowledged, 20000)
        server = self.broker()
        stored = self.history(server, "t")
        self.assertGreaterEqual(len(stored), acknowledged)
        self.assertEqual(stored, lines[:len(stored)])

    def test_drain_answers_what_is_in_flight(self):
        server = self.broker()
        publisher = self.start(server, "pub", "t", "--lines", "-")
        publisher.write(b"x\n" * 20000)
        publisher.stdout.wait_lines(1)
        self.assertEqual(server.terminate(), 0)
        try:
            publisher.close_stdin()
        except BrokenPipeError:
            pass
        code = publisher.wait()
        self.assertIn(code, (0, 1, 3, 6, 8))
        server = self.broker()
        stored = len(self.history(server, "t"))
        if code != 8:
            self.assertEqual(stored, publisher.out.count(b"\n"), publisher.err)
        else:
            self.assertGreaterEqual(stored, publisher.out.count(b"\n"))


def received_unread(port):
    """Bytes that wait in sockets connected to the broker's port and that it has not read."""
    total = 0
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            fields = line.split()
            if fields[1].endswith(":%04X" % port) and fields[3] == "01":
                total += int(fields[4].split(":")[1], 16)
    return total


if __name__ == "__main__":
    tap.main()
