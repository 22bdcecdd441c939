"""The generators for NATS: every mode counts what it should, and what the server refuses has no figure."""
import os
import unittest

import tap

from psbroker_test import Case
from systems import SYSTEMS, NotMeasured, run

PEERS = {"peers": os.environ["PEERS"]}


class Modes:
    """What both of them do."""

    def bench(self, system, *work):
        os.makedirs(self.path("place"), exist_ok=True)
        return run(SYSTEMS[system + self.way], work, PEERS, self.path("place"))

    def assert_found(self, found, messages, deliveries=None):
        self.assertEqual((found["messages"], found.get("deliveries"), found["complete"]), (messages, deliveries, True))
        self.assertGreater(found["msgs_per_s"], 0)

    def test_pub(self):
        found = self.bench("jetstream", "pub", "--messages", "5000", "--topics", "20")
        self.assert_found(found, 5000)
        self.assertLessEqual(found["p50_ms"], found["max_ms"])

    def test_large_payloads(self):
        self.assert_found(self.bench("jetstream", "pub", "--messages", "30", "--size", "262144"), 30)

    def test_replay_of_more_than_the_server_keeps_waiting(self):
        """Without flow control it closes the connection of a consumer that is 64 MiB behind."""
        self.assert_found(self.bench("jetstream", "replay", "--messages", "1000", "--size", "262144"), 1000, 1000)

    def test_fanout(self):
        found = self.bench("jetstream", "fanout", "--messages", "500", "--subscribers", "5")
        self.assert_found(found, 500, 2500)

    def test_fanout_of_what_is_not_stored(self):
        found = self.bench("nats", "fanout", "--messages", "500", "--subscribers", "5", "--core")
        self.assert_found(found, 500, 2500)

    def test_end_to_end(self):
        self.assert_found(self.bench("jetstream", "e2e", "--messages", "2000"), 2000, 2000)

    def test_all_that_is_due_is_sent(self):
        found = self.bench("jetstream", "latency", "--rate", "1000", "--duration", "500ms")
        self.assert_found(found, 500, 500)
        self.assertGreater(found["p50_ms"], 0)

    def test_a_refusal_has_no_figure(self):
        with self.assertRaisesRegex(NotMeasured, "Maximum Payload|greater than maximum"):
            self.bench("jetstream", "pub", "--messages", "1", "--size", "2000000")

    def test_without_jetstream_there_is_no_stream(self):
        with self.assertRaisesRegex(NotMeasured, "no answer|cannot (make|delete) the stream"):
            self.bench("nats", "pub", "--messages", "1")


class Raw(Modes, Case):
    way = "-raw"

    def test_several_connections_share_the_messages(self):
        self.assert_found(self.bench("jetstream", "pub", "--messages", "1001", "--clients", "3", "--window", "7"), 1001)


class ThroughTheLibrary(Modes, Case):
    way = ""

    def test_one_connection_publishes(self):
        with self.assertRaisesRegex(NotMeasured, "on one connection"):
            self.bench("jetstream", "pub", "--messages", "10", "--clients", "3")


if __name__ == "__main__":
    tap.main()
