"""psctl bench: every mode measures something, says it in JSON, and leaves no topic behind, however it ends."""
import json
import signal
import time

import tap

from psbroker_test import Case, wait_until

EVERYWHERE = {"mode", "messages", "size", "topics", "clients", "subscribers", "window", "seconds", "msgs_per_s",
              "mb_per_s", "refused", "unknown", "complete"}
LATENCY = {"p50_ms", "p99_ms", "p999_ms", "max_ms"}


class Bench(Case):
    def setUp(self):
        super().setUp()
        self.server = self.broker()
        self.pub(self.server, "mine", "0")

    def topics(self):
        return [topic["topic"] for topic in self.run_psctl(self.server, "topics", "-o", "json").json()]

    def bench(self, *arguments, **keywords):
        """The one object it prints; nothing but the topic that was there before is left."""
        objects = self.run_psctl(self.server, "bench", *arguments, "-o", "json", **keywords).json()
        self.assertEqual(len(objects), 1)
        self.assertEqual(self.topics(), ["mine"])
        self.assertLessEqual(EVERYWHERE, set(objects[0]))
        self.assertEqual((objects[0]["mode"], objects[0]["refused"], objects[0]["unknown"]), (arguments[0], 0, 0))
        return objects[0]

    def assert_latency(self, found):
        self.assertLessEqual(LATENCY, set(found))
        self.assertGreater(found["p50_ms"], 0)
        self.assertLessEqual(found["p50_ms"], found["p99_ms"])
        self.assertLessEqual(found["p99_ms"], found["p999_ms"])
        self.assertLessEqual(found["p999_ms"], found["max_ms"])

    def assert_rates(self, found, count):
        self.assertTrue(found["complete"])
        self.assertGreater(found["seconds"], 0)
        self.assertAlmostEqual(count / found["msgs_per_s"], found["seconds"], delta=0.001)

    def test_pub(self):
        found = self.bench("pub", "--messages", "3000", "--topics", "7", "--clients", "3", "--size", "50")
        self.assertEqual((found["messages"], found["topics"], found["clients"], found["size"]), (3000, 7, 3, 50))
        self.assertNotIn("deliveries", found)
        self.assert_latency(found)
        self.assert_rates(found, 3000)
        self.assertEqual(self.info(self.server)["messages"], 3001)

    def test_pub_one_at_a_time(self):
        found = self.bench("pub", "--messages", "20", "--window", "1", "--size", "0")
        self.assertEqual((found["messages"], found["window"]), (20, 1))
        self.assertGreaterEqual(self.info(self.server)["commits"], 20)

    def test_pub_until_the_time_is_over(self):
        found = self.bench("pub", "--duration", "50ms")
        self.assertGreater(found["messages"], 0)
        self.assertTrue(found["complete"])

    def test_replay(self):
        found = self.bench("replay", "--messages", "3000", "--subscribers", "2", "--topics", "5")
        self.assertEqual((found["messages"], found["deliveries"], found["subscribers"]), (3000, 6000, 2))
        self.assert_rates(found, 6000)
        self.assertFalse(LATENCY & set(found))

    def test_replay_of_one_topic_after_the_other(self):
        for messages, topics in ((3000, 5), (3, 20)):  # in the second, most topics do not exist
            with self.subTest(topics=topics):
                found = self.bench("replay", "--messages", str(messages), "--topics", str(topics), "--subscribers", "2",
                                   "--one-topic")
                self.assertTrue(found["complete"])
                self.assertEqual(found["deliveries"], 2 * messages)

    def test_fanout(self):
        found = self.bench("fanout", "--messages", "500", "--subscribers", "5", "--window", "50")
        self.assertEqual((found["messages"], found["deliveries"]), (500, 2500))
        self.assert_latency(found)
        self.assert_rates(found, 2500)

    def test_latency(self):
        found = self.bench("latency", "--rate", "1000", "--duration", "200ms")
        self.assertEqual((found["messages"], found["deliveries"], found["rate"]), (200, 200, 1000))
        self.assert_latency(found)

    def test_latency_counts_from_when_a_message_was_due(self):
        """A pause shows in every message that it held up, though only one was under way."""
        process = self.start(self.server, "bench", "latency", "--rate", "200", "--duration", "3s", "--window",
                             "1", "-o", "json")
        wait_until(lambda: len(self.topics()) > 1, "a topic of the benchmark")
        self.server.signal(signal.SIGSTOP)
        time.sleep(0.5)
        self.server.signal(signal.SIGCONT)
        self.assertEqual(process.wait(), 0)
        found = json.loads(process.out)
        self.assertEqual(found["deliveries"], 600)
        self.assertGreater(found["p99_ms"], 200)

    def test_e2e(self):
        found = self.bench("e2e", "--messages", "2000", "--topics", "3", "--clients", "2")
        self.assertEqual((found["messages"], found["deliveries"]), (2000, 2000))
        self.assert_latency(found)
        self.assert_rates(found, 2000)

    def test_e2e_one_at_a_time(self):
        self.assertEqual(self.bench("e2e", "--messages", "20", "--window", "1")["deliveries"], 20)

    def test_for_people(self):
        done = self.run_psctl(self.server, "bench", "pub", "--messages", "100")
        self.assertIn(b"msgs/s", done.out)
        self.assertEqual(done.err, "")

    def test_progress_on_a_terminal_only(self):
        terminal = self.terminal(self.server, "bench", "pub", "--window", "1", "--duration", "700ms",
                                 stderr_too=True)
        terminal.output.wait_text("publishing")
        self.assertEqual(terminal.wait(), 0)
        self.assertEqual(self.topics(), ["mine"])

    def under_way(self, *arguments):
        process = self.start(self.server, "bench", *arguments, "--duration", "1h", "-o", "json")
        wait_until(lambda: len(self.topics()) > 1, "a topic of the benchmark")
        return process

    def test_ctrl_c_deletes_the_topics(self):
        for mode in (["pub", "--topics", "20"], ["fanout", "--subscribers", "3"], ["latency", "--rate", "100"]):
            with self.subTest(mode=mode[0]):
                process = self.under_way(*mode)
                process.signal(signal.SIGINT)
                self.assertEqual(process.wait(), 130)
                self.assertEqual(self.topics(), ["mine"])
                found = json.loads(process.out)
                self.assertFalse(found["complete"])
                self.assertGreater(found["messages"], 0)

    def test_a_second_ctrl_c_does_not_wait_for_the_broker(self):
        process = self.under_way("e2e")
        self.server.signal(signal.SIGSTOP)
        while process.running():
            process.signal(signal.SIGINT)
            time.sleep(0.05)
        self.server.signal(signal.SIGCONT)
        self.assertEqual(process.wait(), 130)
        self.assertIn("topics may be left", process.err)

    def test_ctrl_c_while_replay_still_publishes(self):
        process = self.start(self.server, "bench", "replay", "--messages", "1000000000", "--window", "1")
        wait_until(lambda: len(self.topics()) > 1, "a topic of the benchmark")
        process.signal(signal.SIGINT)
        self.assertEqual(process.wait(), 130)
        self.assertEqual(self.topics(), ["mine"])
        self.assertEqual(process.out, b"")

    def test_terminate_deletes_the_topics(self):
        process = self.under_way("e2e")
        process.signal(signal.SIGTERM)
        self.assertEqual(process.wait(), 143)
        self.assertEqual(self.topics(), ["mine"])

    def test_output_to_a_full_device_leaves_no_topics(self):
        with open("/dev/full", "wb") as full:
            process = self.start(self.server, "bench", "pub", "--messages", "10", stdout=full)
            self.assertEqual(process.wait(), 1)
        self.assertEqual(self.topics(), ["mine"])

    def test_a_message_that_is_too_large(self):
        done = self.run_psctl(self.server, "bench", "pub", "--size", "2M", code=6)
        self.assertIn("--size 2097152: payload, key and headers exceed the limit; max_message is 1048576 (psbroker --max-message)", done.err)
        self.assertIn("message_too_large", done.err)
        self.assertEqual(done.err.count("\n"), 1)
        self.assertEqual(self.topics(), ["mine"])

    def test_a_refusal_ends_it_and_is_counted(self):
        server = self.broker("--listen", "127.0.0.1:0,role=subscribe", data=self.path("other"))
        server.listeners.append(tuple(server.stdout.wait_lines(2)[1].decode().split(" ", 2)[1:]))
        done = self.run_psctl(server.port_of(1), "bench", "pub", "--messages", "100", "-o", "json", code=4)
        self.assertIn("role_refused", done.err)
        found = done.json()[0]
        self.assertEqual((found["messages"], found["refused"], found["complete"]), (0, 100, False))

    def test_a_lost_broker_is_told_with_what_may_be_left(self):
        process = self.under_way("latency", "--rate", "100")
        self.server.kill()
        self.assertEqual(process.wait(), 3)
        self.assertIn("topics may be left", process.err)
        self.assertIn("psctl topics list 'psctl-bench/", process.err)

    def test_no_broker(self):
        self.server.terminate()
        done = self.run_psctl(self.server, "bench", "pub", "--connect-timeout", "10ms", "-q", code=3)
        self.assertEqual(done.err.count("\n"), 1)

    def test_wrong_words(self):
        self.run_psctl(self.server, "bench", code=2)
        self.run_psctl(self.server, "bench", "sub", code=2)
        self.assertIn("16 bytes", self.run_psctl(self.server, "bench", "latency", "--size", "8", code=2).err)


if __name__ == "__main__":
    tap.main()
