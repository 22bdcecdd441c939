"""The generators for Redis and Mosquitto: every mode counts what it should, and what is refused or lost has no figure."""
import os
import unittest

import tap

from psbroker_test import Case
from systems import SYSTEMS, NotMeasured, run

PEERS = {"peers": os.environ["PEERS"]}


class StreamBenches(Case):
    def bench(self, system, *work):
        os.makedirs(self.path("place"), exist_ok=True)
        return run(SYSTEMS[system], work, PEERS, self.path("place"))

    def assert_found(self, found, messages, deliveries=None):
        self.assertEqual((found["messages"], found.get("deliveries"), found["complete"]), (messages, deliveries, True))
        self.assertGreater(found["msgs_per_s"], 0)

    def test_redis_pub(self):
        self.assert_found(self.bench("redis", "pub", "--messages", "5000", "--topics", "20"), 5000)

    def test_redis_lone_publisher(self):
        self.assert_found(self.bench("redis-always", "pub", "--messages", "50", "--window", "1"), 50)

    def test_redis_replay_of_several_streams(self):
        self.assert_found(self.bench("redis", "replay", "--messages", "5000", "--topics", "3"), 5000, 5000)

    def test_redis_fanout(self):
        self.assert_found(self.bench("redis", "fanout", "--messages", "500", "--subscribers", "5"), 500, 2500)

    def test_redis_all_that_is_due_is_sent(self):
        self.assert_found(self.bench("redis", "latency", "--rate", "1000", "--duration", "500ms"), 500, 500)

    def test_mosquitto_pub_is_stored(self):
        self.assert_found(self.bench("mosquitto", "pub", "--messages", "3000", "--topics", "20"), 3000)

    def test_mosquitto_replay(self):
        self.assert_found(self.bench("mosquitto", "replay", "--messages", "3000"), 3000, 3000)

    def test_mosquitto_fanout_loses_nothing(self):
        for qos in "01":
            found = self.bench("mosquitto", "fanout", "--messages", "500", "--subscribers", "5", "--qos", qos)
            self.assert_found(found, 500, 2500)

    def test_mosquitto_end_to_end_with_large_payloads(self):
        self.assert_found(self.bench("mosquitto", "e2e", "--messages", "30", "--size", "262144"), 30, 30)

    def test_mosquitto_stores_nothing_of_qos_0(self):
        with self.assertRaisesRegex(NotMeasured, "durable session"):
            self.bench("mosquitto", "pub", "--messages", "1", "--qos", "0")


if __name__ == "__main__":
    tap.main()
