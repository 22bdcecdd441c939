"""psctl shell: files of timed commands, then the keyboard."""
import signal

import tap

from psbroker_test import Case


class Shell(Case):
    def setUp(self):
        super().setUp()
        self.server = self.broker()

    def shell(self, script, *arguments, stdin=b"", **keywords):
        return self.run_psctl(self.server, "shell", "-f", self.file("script", script), *arguments, stdin=stdin,
                              **keywords)

    def test_publishes_the_rest_of_the_line(self):
        self.shell("0 pub t hello world\n0  pub   t   two  blanks \r\n0 pub u x\n")
        self.assertEqual(self.history(self.server, "t"), [b"hello world", b"two  blanks "])
        self.assertEqual(self.history(self.server, "u"), [b"x"])

    def test_a_script_without_a_last_newline(self):
        self.shell("0 pub t a\n0 pub t b")
        self.assertEqual(self.history(self.server, "t"), [b"a", b"b"])

    def test_subscriptions_start_at_the_beginning(self):
        self.pub(self.server, "t", "old 0", "old 1")
        done = self.shell("0 sub t\n0 pub t new\n")
        text = done.out.decode()
        for line in ("old 0", "old 1", "new"):
            self.assertIn(line, text)

    def test_other_starts(self):
        self.pub(self.server, "t", "m0", "m1", "m2")
        text = self.shell("0 sub t 2\n").out.decode()
        self.assertIn("m2", text)
        self.assertNotIn("m1", text)
        text = self.shell("0 sub t new\n0 pub t m3\n").out.decode()
        self.assertIn("m3", text)
        self.assertNotIn("m2", text)

    def test_unsub_stops_delivery(self):
        text = self.shell("0 sub t\n0 pub t before\n0.2 unsub t\n0 pub t after\n").out.decode()
        self.assertNotIn("after", text)

    def test_fractional_seconds_are_waited_for(self):
        self.shell("0.05 pub t a\n.05 pub t b\n0.0 pub t c\n")
        self.assertEqual(self.history(self.server, "t"), [b"a", b"b", b"c"])

    def test_between_two_shells(self):
        subscriber = self.start(self.server, "shell", "-f", self.file("subscriber", "0 sub A\n"))
        self.wait_attached(self.server, 1)
        self.run_psctl(self.server, "shell", "-f", self.file("publisher", "0 pub A one\n0 pub A two words\n"), stdin=b"")
        subscriber.stdout.wait_text("two words")
        subscriber.close_stdin()
        self.assertEqual(subscriber.wait(), 0)
        self.assertIn(b"one", subscriber.out)

    def test_the_keyboard_takes_the_same_commands(self):
        done = self.run_psctl(self.server, "shell", stdin=b"sub t\npub t hello there\n")
        self.assertIn("hello there", done.out.decode())
        self.assertEqual(self.history(self.server, "t"), [b"hello there"])

    def test_the_keyboard_follows_the_file(self):
        self.shell("0 pub t file\n", stdin=b"pub t keyboard\n")
        self.assertEqual(self.history(self.server, "t"), [b"file", b"keyboard"])

    def test_a_line_that_cannot_be_read_names_itself(self):
        for bad in ("x pub t a", "0 fly t", "0 pub", "0", "-1 pub t a", "0 sub", "nan pub t a"):
            with self.subTest(bad=bad):
                done = self.shell(f"0 pub t ok\n{bad}\n", code=2)
                self.assertIn("2", done.err)

    def test_a_refused_command_prints_its_error_and_the_file_goes_on(self):
        done = self.shell("# first\n0 pub a/+ x\n\n0 unsub u\n0 pub t after\n", stdin=b"pub $x y\n")
        for words in ('script, line 2: "a/+": not a topic name: + and # are wildcards', 'script, line 4: "u": no such subscription',
                      'standard input, line 1: "$x": '):
            self.assertIn(words, done.err)
        self.assertEqual(self.history(self.server, "t"), [b"after"])

    def test_unsub_of_nothing_goes_on(self):
        done = self.shell("0 unsub nothing\n0 pub t after\n", code=None)
        self.assertTrue(done.err)
        self.assertEqual(self.history(self.server, "t"), [b"after"])

    def test_blank_lines_are_skipped(self):
        self.shell("\n0 pub t a\n   \n\r\n0 pub t b\n")
        self.assertEqual(self.history(self.server, "t"), [b"a", b"b"])

    def test_comments_are_skipped(self):
        self.shell("# a file\n0 pub t a\n  # more\n", stdin=b"# typed\npub t b\n")
        self.assertEqual(self.history(self.server, "t"), [b"a", b"b"])

    def test_lines_before_one_that_cannot_be_read_were_carried_out(self):
        self.shell("0 pub t a\n0 pub t b\nnonsense\n0 pub t c\n", code=2)
        self.assertEqual(self.history(self.server, "t"), [b"a", b"b"])

    def test_quit_ends_as_the_end_of_the_input_does(self):
        self.pub(self.server, "t", "0", "1")
        done = self.run_psctl(self.server, "shell", stdin=b"help\nsub t\nquit\npub t never\n")
        self.assertIn("pub TOPIC MESSAGE", done.err)
        self.assertEqual(done.out, b"0\n1\n")
        self.assertEqual(self.history(self.server, "t"), [b"0", b"1"])

    def test_a_line_that_cannot_be_read_leaves_one_clean_prompt(self):
        terminal = self.terminal(self.server, "shell", stderr_too=True)
        terminal.output.wait_text("psctl> ")
        terminal.write(b"foo\r")
        terminal.output.wait(lambda text: text.count(b"psctl> ") == 2, "second prompt")
        terminal.write(b"sub\r")
        terminal.output.wait(lambda text: text.count(b"psctl> ") == 3, "third prompt")
        terminal.write(b"quit\r")
        self.assertEqual(terminal.wait(), 0)
        text = terminal.output.finish()
        self.assertRegex(text, rb'^psctl> foo\r\npsctl: [^\r\n]*\r\npsctl> sub\r\npsctl: [^\r\n]*\r\npsctl> quit\r\n$')

    def test_with_an_id_what_was_subscribed_stays(self):
        self.shell("0 sub t\n", "-i", "s1")
        self.pub(self.server, "t", "while away")
        done = self.shell("", "-i", "s1")
        self.assertIn("while away", done.out.decode())
        done = self.shell("", "-i", "s1")
        self.assertNotIn("while away", done.out.decode())
        self.shell("0 unsub t\n", "-i", "s1")
        self.assertEqual(self.run_psctl(self.server, "subs", "-o", "json").out, b"")

    def test_with_an_id_over_a_broker_restart(self):
        port = self.server.port
        self.shell("0 sub t\n0 pub t first\n", "-i", "s1")
        self.pub(self.server, "t", "second")
        self.server.kill()
        self.server = self.broker(listen=(f"127.0.0.1:{port}",))
        text = self.shell("", "-i", "s1").out.decode()
        self.assertIn("second", text)
        self.assertNotIn("first", text)

    def test_a_lost_connection_is_told_and_its_coming_back(self):
        port = self.server.port
        shell = self.start(self.server, "shell")
        shell.write(b"sub t\npub t 0\n")
        shell.stdout.wait_text("0\n")
        self.server.kill()
        shell.stderr.wait_text("connecting again")
        shell.write(b"pub t 1\n")
        self.server = self.broker(listen=(f"127.0.0.1:{port}",))
        shell.stdout.wait_text("1\n")
        shell.close_stdin()
        self.assertEqual(shell.wait(), 0)
        self.assertEqual(shell.out, b"0\n1\n")
        self.assertEqual(shell.err.count("connected again"), 1)

    def test_wildcards(self):
        self.pub(self.server, "a/1", "one")
        self.pub(self.server, "a/2", "two")
        text = self.shell("0 sub a/#\n").out.decode()
        self.assertIn("one", text)
        self.assertIn("two", text)

    def test_ctrl_c(self):
        shell = self.start(self.server, "shell")
        shell.write(b"sub t\n")
        self.wait_attached(self.server, 1)
        shell.signal(signal.SIGINT)
        self.assertEqual(shell.wait(), 130)

    def test_on_a_terminal(self):
        terminal = self.terminal(self.server, "shell", stderr_too=True)
        terminal.write(b"sub t\n")
        self.wait_attached(self.server, 1)
        self.run_psctl(self.server, "pub", "t", "-", stdin=b"hello \x1b[31m terminal")
        terminal.output.wait_text(rb"hello \x1b[31m terminal")
        terminal.write(b"\x04")
        self.assertEqual(terminal.wait(), 0)


if __name__ == "__main__":
    tap.main()
