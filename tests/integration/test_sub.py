"""psctl sub without an id: where it starts, what it prints, how it ends."""
import os
import signal

import tap

from psbroker_test import PSCTL, Case, Process, wait_until


class SubCase(Case):
    def setUp(self):
        super().setUp()
        self.server = self.broker()

    def sub(self, *arguments, **keywords):
        return self.run_psctl(self.server, "sub", *arguments, **keywords)

    def restart(self, kill=False):
        port = self.server.port
        if kill:
            self.server.kill()
        else:
            self.assertEqual(self.server.terminate(), 0, self.server.err)
        self.server = self.broker(listen=(f"127.0.0.1:{port}",))


class Starts(SubCase):
    def test_new_is_what_comes_from_now_on(self):
        self.pub(self.server, "t", "old")
        subscriber = self.start(self.server, "sub", "t", "--count", "1")
        self.wait_attached(self.server, 1)
        self.pub(self.server, "t", "new")
        self.assertEqual(subscriber.wait(), 0)
        self.assertEqual(subscriber.out, b"new\n")

    def test_from_beginning_goes_on_live(self):
        self.pub(self.server, "t", "0", "1")
        subscriber = self.start(self.server, "sub", "t", "--from-beginning")
        subscriber.stdout.wait_lines(2)
        self.pub(self.server, "t", "2")
        self.assertEqual(subscriber.stdout.wait_lines(3), [b"0", b"1", b"2"])

    def test_from_offset(self):
        self.pub(self.server, "t", *range(10))
        self.assertEqual(self.sub("t", "--from-offset", "7", "--exit-at-end").out, b"7\n8\n9\n")
        self.assertEqual(self.sub("t", "--from-offset", "0", "--count", "2").out, b"0\n1\n")

    def test_from_the_next_offset_and_beyond_waits(self):
        self.pub(self.server, "t", *range(3))
        subscriber = self.start(self.server, "sub", "t", "--from-offset", "5", "--count", "2")
        self.wait_attached(self.server, 1)
        self.pub(self.server, "t", *range(3, 8))
        self.assertEqual(subscriber.wait(), 0)
        self.assertEqual(subscriber.out, b"5\n6\n")

    def test_from_offset_wants_exact_topics(self):
        self.pub(self.server, "a/b", "0")
        done = self.sub("a/+", "--from-offset", "0", "--exit-at-end", code=2)
        self.assertTrue(done.err)

    def test_from_offset_wants_a_number(self):
        for value in ("-1", "x", "", "1x", "18446744073709551616", "0x10", " 1"):
            with self.subTest(value=value):
                self.sub("t", f"--from-offset={value}", "--exit-at-end", code=2)

    def test_start_options_exclude_each_other(self):
        self.sub("t", "--from-beginning", "--last", "3", "--exit-at-end", code=2)

    def test_last_counts_per_topic(self):
        self.pub(self.server, "a/1", *range(5))
        self.pub(self.server, "a/2", "x")
        done = self.sub("a/#", "--last", "2", "--exit-at-end", "-v")
        self.assertEqual(sorted(done.lines()), ["a/1\t3\t3", "a/1\t4\t4", "a/2\t0\tx"])
        self.assertEqual(self.sub("a/1", "--last", "0", "--exit-at-end").out, b"")

    def test_several_filters_print_a_message_once(self):
        self.pub(self.server, "a/b", "0", "1")
        done = self.sub("a/b", "a/+", "#", "--from-beginning", "--exit-at-end", "-v")
        self.assertEqual(sorted(done.lines()), ["a/b\t0\t0", "a/b\t1\t1"])

    def test_several_filters_print_a_live_message_once(self):
        subscriber = self.start(self.server, "sub", "a/b", "a/+", "#", "-v", "--count", "3")
        self.wait_attached(self.server, 3)
        self.pub(self.server, "a/b", "0", "1")
        self.pub(self.server, "c", "2")
        self.assertEqual(subscriber.wait(), 0)
        self.assertEqual(sorted(subscriber.out.decode().splitlines()), ["a/b\t0\t0", "a/b\t1\t1", "c\t0\t2"])

    def test_topics_created_while_subscribed_come_from_their_beginning(self):
        subscriber = self.start(self.server, "sub", "a/#", "-v", "--count", "2")
        self.wait_attached(self.server, 1)
        self.pub(self.server, "a/1", "x")
        self.pub(self.server, "a", "y")
        self.assertEqual(subscriber.wait(), 0)
        self.assertEqual(sorted(subscriber.out.decode().splitlines()), ["a\t0\ty", "a/1\t0\tx"])

    def test_waiting_never_creates_a_topic(self):
        self.start(self.server, "sub", "never", "--from-beginning")
        self.wait_attached(self.server, 1)
        self.assertEqual(self.run_psctl(self.server, "topics", "-o", "json").out, b"")

    def test_what_is_not_there_is_said(self):
        self.pub(self.server, "t", "0", "1")
        for arguments, words in ((("nope", "--exit-at-end"), '"nope": no such topic yet'),
                                 (("a/+", "--exit-at-end"), '"a/+": no topic matches yet'),
                                 (("lin#", "--exit-at-end"), "wildcards only as a whole level"),
                                 (("t", "--from-offset", "77", "--exit-at-end"),
                                  '"t" ends before offset 77: the next message will be 2')):
            with self.subTest(arguments=arguments):
                done = self.sub(*arguments)
                self.assertIn(words, done.err)
                self.assertEqual(done.out, b"")
                self.assertEqual(self.sub(*arguments, "-q").err, "")
        self.assertEqual(self.sub("t", "--from-offset", "2", "--exit-at-end").err, "")

    def test_no_filter_is_a_usage_error(self):
        self.sub(code=2)

    def test_bad_filters(self):
        for filter in ("#/a", "a/#/b", "", "x" * 256):
            with self.subTest(filter=filter):
                done = self.sub(filter, "--exit-at-end", code=2)
                self.assertTrue(done.err)


class Ends(SubCase):
    def test_exit_at_end_of_nothing(self):
        for arguments in (("t",), ("t", "--from-beginning"), ("a/#", "--from-beginning"), ("t", "--last", "3"),
                          ("t", "--from-offset", "0")):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.sub(*arguments, "--exit-at-end").out, b"")

    def test_exit_at_end_does_not_wait_for_later_messages(self):
        self.pub(self.server, "t", *range(5))
        self.assertEqual(self.sub("t", "--exit-at-end").out, b"")
        self.assertEqual(self.history(self.server, "t"), [b"0", b"1", b"2", b"3", b"4"])

    def test_exit_at_end_of_many_topics(self):
        for number in range(50):
            self.pub(self.server, f"a/{number}", "x", "y")
        self.assertEqual(len(self.history(self.server, "a/+")), 100)

    def test_idle_timeout(self):
        self.pub(self.server, "t", "0")
        done = self.sub("t", "--from-beginning", "--idle-timeout", "0.3", code=124)
        self.assertEqual(done.out, b"0\n")

    def test_idle_timeout_with_units(self):
        self.sub("t", "--idle-timeout", "200ms", code=124)
        self.sub("t", "--idle-timeout", "soon", code=2)

    def test_count_reached_before_the_idle_timeout(self):
        self.pub(self.server, "t", *range(5))
        self.assertEqual(self.sub("t", "--from-beginning", "--count", "3", "--idle-timeout", "50").out, b"0\n1\n2\n")

    def test_count_over_several_topics(self):
        self.pub(self.server, "a/1", *range(5))
        self.pub(self.server, "a/2", *range(5))
        self.assertEqual(self.sub("a/#", "--from-beginning", "--count", "7").out.count(b"\n"), 7)

    def test_signals(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with self.subTest(code=code):
                subscriber = self.start(self.server, "sub", "t")
                self.wait_attached(self.server, 1)
                subscriber.signal(number)
                self.assertEqual(subscriber.wait(), code)
                self.wait_attached(self.server, 0)

    def test_broken_pipe_ends_quietly(self):
        self.pub(self.server, "t", *range(5000))
        reader, writer = os.pipe()
        subscriber = Process([PSCTL, "sub", "t", "--from-beginning"], env=self.environment(self.server), stdout=writer)
        os.close(writer)
        self.addCleanup(subscriber.end)
        self.assertTrue(os.read(reader, 10))
        os.close(reader)
        self.pub(self.server, "t", "more")
        self.assertEqual(subscriber.wait(), 0)
        self.assertIn(subscriber.err, ("", "subscribed\n"))

    def test_broken_pipe_is_seen_without_a_message(self):
        reader, writer = os.pipe()
        subscriber = Process([PSCTL, "sub", "t"], env=self.environment(self.server), stdout=writer)
        os.close(writer)
        self.addCleanup(subscriber.end)
        self.wait_attached(self.server, 1)
        os.close(reader)
        self.assertEqual(subscriber.wait(), 0)


class Reconnects(SubCase):
    def test_nobody_listens(self):
        port = self.server.port
        self.server.kill()
        done = self.run_psctl(port, "sub", "t", "--connect-timeout", "0.2", code=3)
        self.assertIn("is psbroker running there?", done.err)
        self.assertIn(f"127.0.0.1:{port}", done.err)

    def test_goes_on_after_a_restart_without_gap_or_duplicate(self):
        for kill in (False, True):
            with self.subTest(kill=kill):
                self.pub(self.server, f"t{kill}", "0", "1")
                subscriber = self.start(self.server, "sub", f"t{kill}", "--from-beginning", "--count", "5", "-v")
                subscriber.stdout.wait_lines(2)
                self.restart(kill=kill)
                self.pub(self.server, f"t{kill}", "2", "3", "4")
                self.assertEqual(subscriber.wait(), 0)
                self.assertEqual(subscriber.out.decode().splitlines(), [f"t{kill}\t{n}\t{n}" for n in range(5)])
                self.assertTrue(subscriber.err)

    def test_topics_created_while_away_come_from_their_beginning(self):
        self.pub(self.server, "a/1", "0")
        subscriber = self.start(self.server, "sub", "a/#", "-v")
        self.wait_attached(self.server, 1)
        port = self.server.port
        self.server.kill()
        subscriber.stderr.wait(lambda text: text, "word about the loss")
        other = self.broker()  # the same directory on another port: the subscriber cannot see it yet
        self.pub(other, "a/1", "1")
        self.pub(other, "a/2", "x", "y")
        other.terminate()
        self.server = self.broker(listen=(f"127.0.0.1:{port}",))
        subscriber.stdout.wait_lines(3)
        self.assertEqual(sorted(subscriber.out.decode().splitlines()), ["a/1\t1\t1", "a/2\t0\tx", "a/2\t1\ty"])

    def test_another_log_is_refused_not_waited_for(self):
        self.pub(self.server, "t", "0")
        subscriber = self.start(self.server, "sub", "t", "--from-beginning")
        subscriber.stdout.wait_lines(1)
        port = self.server.port
        self.server.kill()
        self.server = self.broker(data=self.path("another"), listen=(f"127.0.0.1:{port}",))
        self.assertNotEqual(subscriber.wait(), 0)
        self.assertEqual(subscriber.out, b"0\n")
        self.assertIn("log", subscriber.err)

    def test_no_reconnect(self):
        subscriber = self.start(self.server, "sub", "t", "--no-reconnect")
        self.wait_attached(self.server, 1)
        self.server.kill()
        self.assertEqual(subscriber.wait(), 3)

    def test_ctrl_c_while_away(self):
        subscriber = self.start(self.server, "sub", "t")
        self.wait_attached(self.server, 1)
        self.server.kill()
        subscriber.stderr.wait(lambda text: text, "word about the loss")
        subscriber.signal(signal.SIGINT)
        self.assertEqual(subscriber.wait(), 130)


class Output(SubCase):
    def test_raw_is_the_payload_and_a_newline(self):
        for data in (b"", b"\0", b"a\nb\n", b"\xff\xfe", b"\x1b[31m"):
            self.run_psctl(self.server, "pub", "t", "-", stdin=data)
        self.assertEqual(self.sub("t", "--from-beginning", "--exit-at-end").out,
                         b"\n\0\na\nb\n\n\xff\xfe\n\x1b[31m\n")

    def test_records_that_end_with_nul(self):
        for data in (b"", b"a\nb"):
            self.run_psctl(self.server, "pub", "t", "-", stdin=data)
        self.assertEqual(self.sub("t", "--from-beginning", "--exit-at-end", "-0").out, b"\0a\nb\0")
        self.assertEqual(self.sub("t", "--from-beginning", "--exit-at-end", "-0", "-v").out,
                         b"t\t0\t\0t\t1\ta\nb\0")

    def test_exact_bytes_without_a_newline(self):
        blob = bytes(range(256)) * 20 + b"\n\n\0"
        self.run_psctl(self.server, "pub", "t", "-", stdin=blob)
        self.run_psctl(self.server, "pub", "t", "")
        self.run_psctl(self.server, "pub", "t", "-", stdin=b"a\n")
        self.assertEqual(self.run_psctl(self.server, "get", "t", "0", "--no-newline").out, blob)
        self.assertEqual(self.run_psctl(self.server, "get", "t", "1", "-N").out, b"")
        self.assertEqual(self.sub("t", "--from-beginning", "--exit-at-end", "-N").out, blob + b"a\n")

    def test_verbose(self):
        self.pub(self.server, "a b", "x\ty")
        self.assertEqual(self.sub("a b", "--from-beginning", "--exit-at-end", "-v").out, b"a b\t0\tx\ty\n")

    def test_json(self):
        self.run_psctl(self.server, "pub", "t", "-i", "me", 'say "hi"\n')
        self.run_psctl(self.server, "pub", "t", "-", stdin=b"\xff\0")
        self.run_psctl(self.server, "pub", "t", "-", stdin=b"nul\0")
        first, second, third = self.sub("t", "--from-beginning", "--exit-at-end", "-o", "json").json()
        self.assertEqual(set(first), {"topic", "offset", "published", "publisher", "payload"})
        self.assertEqual((first["topic"], first["offset"], first["publisher"], first["payload"]),
                         ("t", 0, "me", 'say "hi"\n'))
        self.assertRegex(first["published"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        self.assertEqual(set(second), {"topic", "offset", "published", "payload_b64"})
        self.assertEqual(second["payload_b64"], "/wA=")
        self.assertEqual(third["payload"], "nul\0")

    def test_json_time_is_that_of_the_view(self):
        self.pub(self.server, "t", "x")
        shown = self.sub("t", "--from-beginning", "--exit-at-end", "-o", "json").json()[0]["published"]
        stored = self.database(self.server).execute("select published from history").fetchone()[0]
        self.assertEqual(shown, stored)

    def test_terminal_shows_control_bytes_as_escapes(self):
        self.run_psctl(self.server, "pub", "t", "-", stdin=b"\x1b[31mred\x07\0\x7f\xff end")
        self.pub(self.server, "t", "grün")
        terminal = self.terminal(self.server, "sub", "t", "--from-beginning", "--exit-at-end")
        self.assertEqual(terminal.wait(), 0)
        text = terminal.output.finish()
        self.assertIn(rb"\x1b[31mred\x07\x00\x7f\xff end", text)
        self.assertIn("grün".encode(), text)
        self.assertNotIn(b"\x1b[31m", text)

    def test_terminal_shows_c1_controls_as_escapes(self):
        self.pub(self.server, "t", "a\u009bb")
        terminal = self.terminal(self.server, "sub", "t", "--from-beginning", "--exit-at-end")
        self.assertEqual(terminal.wait(), 0)
        self.assertIn(rb"a\xc2\x9bb", terminal.output.finish())

    def test_output_to_a_full_device_fails(self):
        self.pub(self.server, "t", "x")
        with open("/dev/full", "wb") as full:
            subscriber = Process([PSCTL, "sub", "t", "--from-beginning", "--exit-at-end"],
                                 env=self.environment(self.server), stdout=full)
            self.addCleanup(subscriber.end)
            self.assertEqual(subscriber.wait(), 1)
        self.assertTrue(subscriber.err)

    def test_blocked_output_loses_nothing(self):
        count = 50000
        self.pub(self.server, "t", *["x" * 100] * count)
        reader, writer = os.pipe()
        subscriber = Process([PSCTL, "sub", "t", "--from-beginning", "--exit-at-end", "-v"],
                             env=self.environment(self.server), stdout=writer)
        os.close(writer)
        self.addCleanup(subscriber.end)
        # It stands at a full pipe while others work.
        other = self.sub("t", "--from-beginning", "--exit-at-end")
        self.assertEqual(other.out.count(b"\n"), count)
        with os.fdopen(reader, "rb") as pipe:
            offsets = [int(line.split(b"\t")[1]) for line in pipe]
        self.assertEqual(offsets, list(range(count)))
        self.assertEqual(subscriber.wait(), 0)


    def test_subscribed_tells_more_on_a_terminal(self):
        self.pub(self.server, "t", "0", "1", "2")
        self.pub(self.server, "u", "0")
        for arguments, words in ((("t", "-i", "s", "--from-offset", "1"), b'subscribed to "t" as "s", from offset 1 (2 behind)'),
                                 (("#",), b'subscribed to "#", 2 topics\r\n'),
                                 (("new",), b'subscribed to "new"\r\n')):
            with self.subTest(arguments=arguments):
                terminal = self.terminal(self.server, "sub", *arguments, "--idle-timeout", "50ms", stderr_too=True)
                self.assertEqual(terminal.wait(), 124)
                self.assertIn(words, terminal.output.finish())


class Pings(Case):
    def test_blocked_output_answers_pings(self):
        server = self.broker("--ping-interval", "200ms")
        self.pub(server, "t", *["x" * 100] * 20000)
        reader, writer = os.pipe()
        subscriber = Process([PSCTL, "sub", "t", "--from-beginning", "--count", "20001"],
                             env=self.environment(server), stdout=writer)
        os.close(writer)
        self.addCleanup(subscriber.end)
        self.wait_attached(server, 1)
        before = self.info(server)["uptime_ms"]
        wait_until(lambda: self.info(server)["uptime_ms"] > before + 1500, "several ping intervals")
        self.assertEqual(self.info(server)["subscriptions"], 1)
        self.pub(server, "t", "last")
        with os.fdopen(reader, "rb") as pipe:
            lines = pipe.read().split(b"\n")[:-1]
        self.assertEqual(len(lines), 20001)
        self.assertEqual(lines[-1], b"last")
        self.assertEqual(subscriber.wait(), 0)
        self.assertNotIn("reconnect", subscriber.err)


if __name__ == "__main__":
    tap.main()
