"""psctl sub -i ID: the broker remembers what was printed, over everything that can happen in between."""
import os
import signal

import tap

from psbroker_test import PSCTL, Case, Process, wait_until


class DurableCase(Case):
    def setUp(self):
        super().setUp()
        self.server = self.broker()

    def sub(self, *arguments, **keywords):
        return self.run_psctl(self.server, "sub", "-i", "s1", *arguments, **keywords)

    def restart(self, kill):
        port = self.server.port
        if kill:
            self.server.kill()
        else:
            self.assertEqual(self.server.terminate(), 0, self.server.err)
        self.server = self.broker(listen=(f"127.0.0.1:{port}",))

    def attach(self, *arguments, **keywords):
        subscriber = self.start(self.server, "sub", "-i", "s1", *arguments, **keywords)
        subscriber.stderr.wait_text("subscribed")
        return subscriber

    def committed(self, filter="t", topic="t"):
        return positions(self.durable(self.server, "s1")[filter]).get(topic, (None, None))[0]


def positions(entry):
    return {position["topic"]: (position["committed"], position["lag"]) for position in entry["topics"]}


class Resuming(DurableCase):
    def test_says_subscribed_after_it_was_stored(self):
        subscriber = self.attach("t")
        subscriber.signal(signal.SIGKILL)
        subscriber.wait()
        self.pub(self.server, "t", "while away")
        self.assertEqual(self.sub("t", "--exit-at-end").out, b"while away\n")

    def test_a_reader_of_stdout_that_leaves_is_noticed_at_once(self):
        self.pub(self.server, "t", *range(2500))
        reader, writer = os.pipe()
        subscriber = Process([PSCTL, "sub", "t", "-i", "s1", "--from-beginning"], env=self.environment(self.server),
                             stdout=writer)
        os.close(writer)
        self.addCleanup(subscriber.end)
        text = b"".join(b"%d\n" % number for number in range(2500))
        with os.fdopen(reader, "rb") as pipe:
            self.assertEqual(pipe.read(len(text)), text)
        self.assertEqual(subscriber.wait(), 0)
        self.assertEqual(self.committed(), 2500)

    def test_only_what_the_pipe_took_is_acknowledged_when_its_reader_leaves(self):
        self.pub(self.server, "t", *["x" * 100] * 5000)
        reader, writer = os.pipe()
        subscriber = Process([PSCTL, "sub", "t", "-i", "s1", "--from-beginning"], env=self.environment(self.server),
                             stdout=writer)
        os.close(writer)
        self.addCleanup(subscriber.end)
        with os.fdopen(reader, "rb") as pipe:
            pipe.read(101)
        self.assertEqual(subscriber.wait(), 0)
        committed = self.committed()
        self.assertGreaterEqual(committed, 1)
        self.assertLess(committed, 5000)
        self.assertEqual(len(self.sub("t", "--exit-at-end").lines()), 5000 - committed)

    def test_resumes_after_a_reconnect(self):
        self.pub(self.server, "t", "old")
        self.assertEqual(self.sub("t", "--exit-at-end").out, b"")
        self.pub(self.server, "t", "1", "2")
        self.assertEqual(self.sub("t", "--exit-at-end").out, b"1\n2\n")
        self.assertEqual(self.sub("t", "--exit-at-end").out, b"")

    def test_resumes_after_a_restart_and_after_a_kill(self):
        self.pub(self.server, "t", "0", "1", "2", "3")
        self.assertEqual(self.sub("t", "--from-beginning", "--count", "1").out, b"0\n")
        self.restart(kill=False)
        self.assertEqual(self.sub("t", "--count", "1").out, b"1\n")
        self.restart(kill=True)
        self.assertEqual(self.sub("t", "--exit-at-end").out, b"2\n3\n")

    def test_an_attached_one_goes_on_over_restarts(self):
        subscriber = self.attach("t", "-v")
        for number, kill in enumerate((False, True, False, True)):
            self.pub(self.server, "t", number)
            subscriber.stdout.wait_lines(number + 1)
            self.restart(kill)
        self.pub(self.server, "t", "end")
        subscriber.stdout.wait_lines(5)
        self.assertEqual(subscriber.out, b"t\t0\t0\nt\t1\t1\nt\t2\t2\nt\t3\t3\nt\t4\tend\n")

    def test_count_and_the_next_run(self):
        self.pub(self.server, "t", *range(1000))
        for first in range(0, 1000, 250):
            out = self.sub("t", "--from-beginning", "--count", "250").out
            self.assertEqual(out, b"".join(b"%d\n" % number for number in range(first, first + 250)))
        self.assertEqual(self.committed(), 1000)

    def test_count_over_a_wildcard_and_the_next_run(self):
        for topic in ("a/1", "a/2", "a/3"):
            self.pub(self.server, topic, *range(100))
        found = []
        for _ in range(3):
            found += self.sub("a/#", "--from-beginning", "--count", "100", "-v").lines()
        self.assertEqual(len(set(found)), 300)

    def test_ctrl_c_acknowledges_what_was_printed(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with self.subTest(code=code):
                subscriber = self.attach("t")
                before = subscriber.out.count(b"\n")
                self.pub(self.server, "t", "x", "y")
                subscriber.stdout.wait_lines(before + 2)
                subscriber.signal(number)
                self.assertEqual(subscriber.wait(), code)
                self.assertEqual(self.sub("t", "--exit-at-end").out, b"")

    def test_a_killed_subscriber_gets_again_what_it_did_not_acknowledge(self):
        subscriber = self.attach("t")
        self.pub(self.server, "t", "x")
        subscriber.stdout.wait_lines(1)
        subscriber.signal(signal.SIGKILL)
        subscriber.wait()
        self.assertIn(self.sub("t", "--exit-at-end").out, (b"", b"x\n"))

    def test_broken_pipe_keeps_what_was_not_written(self):
        self.pub(self.server, "t", *range(20000))
        reader, writer = os.pipe()
        subscriber = Process([PSCTL, "sub", "-i", "s1", "t", "--from-beginning"],
                             env=self.environment(self.server), stdout=writer)
        os.close(writer)
        self.addCleanup(subscriber.end)
        first = os.read(reader, 4096)
        os.close(reader)
        self.assertEqual(subscriber.wait(), 0)
        rest = self.sub("t", "--exit-at-end").out
        # What write(2) took counts as written, although nobody read it; nothing before that is repeated
        # and nothing behind it is skipped.
        whole = b"".join(b"%d\n" % number for number in range(20000))
        self.assertTrue(whole.startswith(first))
        self.assertTrue(whole.endswith(rest))
        self.assertLess(len(rest), len(whole))
        self.assertGreater(len(rest), 0)

    def test_blocked_output_is_not_acknowledged(self):
        self.pub(self.server, "t", *["%d %s" % (number, "x" * 1000) for number in range(2000)])
        reader, writer = os.pipe()
        subscriber = Process([PSCTL, "sub", "-i", "s1", "t", "--from-beginning"],
                             env=self.environment(self.server), stdout=writer)
        os.close(writer)
        self.addCleanup(subscriber.end)
        subscriber.stderr.wait_text("subscribed")
        wait_until(lambda: (self.committed() or 0) > 0, "the first acknowledgement")
        subscriber.signal(signal.SIGKILL)
        subscriber.wait()
        with os.fdopen(reader, "rb") as pipe:
            written = pipe.read().count(b"\n")
        committed = self.committed()
        self.assertLessEqual(committed, written)
        first = self.sub("t", "--count", "1").out.split(b" ")[0]
        self.assertEqual(int(first), committed)


class Ends(DurableCase):
    """--exit-at-end ends, whatever becomes of the topic meanwhile."""

    def begin(self):
        """More than one window of credit, behind an output that nobody reads."""
        self.pub(self.server, "t", *["%d %s" % (number, "x" * 1000) for number in range(6000)])
        self.pub(self.server, "u", "other")
        reader, writer = os.pipe()
        subscriber = Process([PSCTL, "sub", "-i", "s1", "t", "u", "--from-beginning", "--exit-at-end"],
                             env=self.environment(self.server), stdout=writer)
        os.close(writer)
        self.addCleanup(subscriber.end)
        subscriber.stderr.wait_text("subscribed")
        wait_until(lambda: (self.committed() or 0) > 0, "the first acknowledgement")
        return subscriber, reader

    def finish(self, subscriber, reader):
        with os.fdopen(reader, "rb") as pipe:
            printed = pipe.read().count(b"\n")
        self.assertEqual(subscriber.wait(), 0, subscriber.err)
        return printed

    def delete(self):
        self.assertEqual(self.run_psctl(self.server, "topics", "delete", "t", "--yes").code, 0)

    def test_a_topic_that_is_deleted_midway(self):
        subscriber, reader = self.begin()
        self.delete()
        self.assertLess(self.finish(subscriber, reader), 6001)

    def test_a_topic_that_is_deleted_while_the_connection_is_gone(self):
        subscriber, reader = self.begin()
        port = self.server.port
        self.server.kill()
        self.server = self.broker()
        self.delete()
        self.assertEqual(self.server.terminate(), 0)
        self.server = self.broker(listen=(f"127.0.0.1:{port}",))
        self.assertLess(self.finish(subscriber, reader), 6001)

    def test_one_that_is_moved_to_the_end_midway(self):
        subscriber, reader = self.begin()
        self.assertEqual(self.run_psctl(self.server, "subs", "seek", "t", "-i", "s1", "--to-end").code, 0)
        self.assertLess(self.finish(subscriber, reader), 6001)


class Wildcards(DurableCase):
    def test_topics_created_while_away_come_from_their_beginning(self):
        self.pub(self.server, "a/old", "before")
        self.assertEqual(self.sub("a/#", "--exit-at-end").out, b"")
        self.pub(self.server, "a/old", "after")
        self.pub(self.server, "a/new", "0", "1")
        self.pub(self.server, "b", "no")
        self.restart(kill=True)
        self.pub(self.server, "a/newer", "2")
        self.assertEqual(sorted(self.sub("a/#", "--exit-at-end", "-v").lines()),
                         ["a/new\t0\t0", "a/new\t1\t1", "a/newer\t0\t2", "a/old\t1\tafter"])
        self.assertEqual(self.sub("a/#", "--exit-at-end", "-v").out, b"")

    def test_last_is_resolved_when_it_was_stored(self):
        self.pub(self.server, "a/1", *range(5))
        subscriber = self.attach("a/#", "--last", "2")
        subscriber.stdout.wait_lines(2)
        subscriber.signal(signal.SIGINT)
        subscriber.wait()
        self.pub(self.server, "a/1", "5", "6", "7")
        self.assertEqual(self.sub("a/#", "--exit-at-end").out, b"5\n6\n7\n")

    def test_overlapping_durable_filters_are_two_subscriptions(self):
        self.sub("a/1", "a/#", "--exit-at-end")
        self.pub(self.server, "a/1", "x")
        entries = self.durable(self.server, "s1")
        self.assertEqual(set(entries), {"a/1", "a/#"})
        out = self.sub("--exit-at-end").out
        self.assertEqual(out, b"x\n")
        self.assertEqual(self.sub("--exit-at-end").out, b"")


class Stored(DurableCase):
    def test_start_options_count_when_it_is_created(self):
        self.pub(self.server, "t", *range(5))
        self.assertEqual(self.sub("t", "--from-offset", "3", "--exit-at-end").out, b"3\n4\n")
        done = self.sub("t", "--from-beginning", "--exit-at-end")
        self.assertEqual(done.out, b"")
        self.assertIn("--from-beginning", done.err)

    def test_offset_beyond_the_end_is_refused_with_the_range(self):
        self.pub(self.server, "t", *range(5))
        done = self.sub("t", "--from-offset", "9", "--exit-at-end", code=5)
        self.assertIn("0", done.err)
        self.assertIn("5", done.err)
        self.assertEqual(self.durable(self.server, "s1"), {})

    def test_without_a_filter_all_stored_ones_are_attached(self):
        self.sub("a", "--exit-at-end")
        self.sub("b/#", "--exit-at-end")
        self.pub(self.server, "a", "1")
        self.pub(self.server, "b/x", "2")
        self.pub(self.server, "c", "3")
        self.assertEqual(sorted(self.sub("--exit-at-end", "-v").lines()), ["a\t0\t1", "b/x\t0\t2"])

    def test_without_a_filter_and_none_stored(self):
        done = self.sub(code=5)
        self.assertIn("s1", done.err)

    def test_bad_ids(self):
        for identifier in ("", "x" * 256, "a\nb"):
            with self.subTest(identifier=identifier[:3]):
                self.run_psctl(self.server, "sub", "t", "-i", identifier, "--exit-at-end", code=2)

    def test_ids_are_independent(self):
        self.run_psctl(self.server, "sub", "t", "-i", "s1", "--exit-at-end")
        self.run_psctl(self.server, "sub", "t", "-i", "s2", "--exit-at-end")
        self.pub(self.server, "t", "x")
        for identifier in ("s1", "s2"):
            self.assertEqual(self.run_psctl(self.server, "sub", "t", "-i", identifier, "--exit-at-end").out, b"x\n")


class OtherLog(Case):
    def test_a_log_that_was_exchanged_is_told(self):
        first = self.broker()
        address = f"127.0.0.1:{first.port}"
        self.pub(first, "t", "old")
        temporary = self.start(first, "sub", "t", "--from-beginning")
        durable = self.start(first, "sub", "t", "-i", "me", "--from-beginning")
        for process in (temporary, durable):
            process.stdout.wait_lines(1)
        first.kill()
        second = self.broker(data=self.path("other"), listen=(address,))
        self.assertEqual(temporary.wait(), 5)
        self.assertIn("(log_changed, 5)", temporary.err)
        self.assertIn("offsets known from the log before mean nothing in this one", temporary.err)
        durable.stderr.wait_text('"t" was made anew, as the broker has another log now')
        self.pub(second, "t", "new")
        self.assertEqual([bytes(line) for line in durable.stdout.wait_lines(2)], [b"old", b"new"])


class TakeOver(DurableCase):
    def test_the_older_is_replaced_and_stays_away(self):
        older = self.attach("t")
        newer = self.attach("t")
        self.assertEqual(older.wait(), 10)
        self.assertRegex(older.err, "replaced|newer connection")
        self.pub(self.server, "t", "x")
        newer.stdout.wait_text("x\n")
        self.assertEqual(older.out, b"")

    def test_another_filter_of_the_id_takes_over_nothing(self):
        first = self.attach("t")
        second = self.attach("u")
        self.pub(self.server, "t", "1")
        self.pub(self.server, "u", "2")
        first.stdout.wait_text("1\n")
        second.stdout.wait_text("2\n")

    def test_an_unsubscribed_one_ends(self):
        subscriber = self.attach("t")
        self.run_psctl(self.server, "unsub", "t", "-i", "s1")
        self.assertEqual(subscriber.wait(), 10)
        self.assertEqual(self.durable(self.server, "s1"), {})

    def test_a_moved_one_goes_on_where_it_was_moved(self):
        self.pub(self.server, "t", *range(5))
        subscriber = self.attach("t", "--from-beginning", "-v")
        subscriber.stdout.wait_lines(5)
        self.run_psctl(self.server, "subs", "seek", "t", "-i", "s1", "--to-end")
        self.pub(self.server, "t", "new")
        subscriber.stdout.wait_lines(6)
        self.assertEqual(subscriber.out.splitlines()[-1], b"t\t5\tnew")

    def test_nothing_is_printed_twice_by_one_process(self):
        self.pub(self.server, "t", *range(5))
        subscriber = self.attach("t", "--from-beginning", "-v")
        subscriber.stdout.wait_lines(5)
        self.run_psctl(self.server, "subs", "seek", "t", "-i", "s1", "--to-beginning")
        self.pub(self.server, "t", "new")
        subscriber.stdout.wait_text("new")
        lines = subscriber.out.splitlines()
        self.assertEqual(len(lines), len(set(lines)))


if __name__ == "__main__":
    tap.main()
