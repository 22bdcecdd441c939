"""A client that knows only proto/README.md and the schema gets along with the broker."""
import os
import re

import tap
from client import END_REACHED, LOG_CHANGED, BrokerError, Connection, LogChanged, Subscription, schema

from psbroker_test import Case

README = os.environ["WIRE_README"]
BEGINNING = schema.Start(beginning=True)
NEW = schema.Start(new=True)


class Interop(Case):
    def setUp(self):
        super().setUp()
        self.server = self.broker()

    def connect(self, publisher=None):
        connection = Connection("127.0.0.1", self.server.port, publisher)
        self.addCleanup(connection.close)
        return connection

    def take(self, subscription, count):
        return [(topic.decode(), message.offset, message.payload) for topic, message in
                (subscription.next() for _ in range(count))]

    def test_publishes_and_replays(self):
        publisher = self.connect(b"interop")
        payloads = [b"%d %s" % (number, b"x" * (number % 300)) for number in range(30000)]
        self.assertEqual(publisher.publish(b"t", payloads), list(range(30000)))
        replay = Subscription(b"t", BEGINNING, until_end=True).attach(self.connect())
        found = []
        while (entry := replay.next()) is not None:
            self.assertEqual(entry[1].publisher, b"interop")
            found.append(entry[1].payload)
        self.assertEqual(replay.ended.status, END_REACHED)
        self.assertEqual(found, payloads)

    def test_large_messages(self):
        publisher = self.connect()
        size = publisher.welcome.limits.max_message
        payloads = [bytes([number]) * size for number in range(20)]
        self.assertEqual(publisher.publish(b"t", payloads), list(range(20)))
        replay = Subscription(b"t", BEGINNING, until_end=True).attach(self.connect())
        self.assertEqual([replay.next()[1].payload for _ in range(20)], payloads)
        with self.assertRaises(BrokerError):
            publisher.publish(b"t", [b"x" * (size + 1)])

    def test_follows(self):
        publisher = self.connect()
        publisher.publish(b"a/1", [b"old"])
        follower = Subscription(b"a/#", NEW).attach(self.connect())
        for number in range(100):
            publisher.publish(b"a/%d" % (number % 3), [b"%d" % number])
        found = self.take(follower, 100)
        self.assertEqual(sorted(int(payload) for _, _, payload in found), list(range(100)))

    def test_a_temporary_subscription_resumes_after_a_restart(self):
        publisher = self.connect()
        publisher.publish(b"a/1", [b"0", b"1", b"2"])
        follower = Subscription(b"a/#", BEGINNING).attach(self.connect())
        self.take(follower, 2)
        self.server.kill()
        self.server = self.broker()
        self.connect().publish(b"a/2", [b"created while away"])
        self.connect().publish(b"a/1", [b"3"])
        follower.attach(self.connect())
        self.assertEqual(sorted(self.take(follower, 3)), [("a/1", 2, b"2"), ("a/1", 3, b"3"),
                                                          ("a/2", 0, b"created while away")])

    def test_a_durable_subscription_resumes_after_restarts(self):
        self.connect().publish(b"t", [b"%d" % number for number in range(10)])
        durable = Subscription(b"t", BEGINNING, durable_id=b"interop").attach(self.connect())
        self.assertTrue(durable.created)
        self.take(durable, 4)
        durable.acknowledge(b"t")
        self.take(durable, 2)  # not acknowledged: comes again
        self.assertEqual(self.server.terminate(), 0)
        self.server = self.broker()
        durable.attach(self.connect())
        self.assertFalse(durable.created)
        self.assertEqual([offset for _, offset, _ in self.take(durable, 3)], [4, 5, 6])
        durable.acknowledge(b"t")
        self.server.kill()
        self.server = self.broker()
        durable.attach(self.connect())
        self.assertEqual([offset for _, offset, _ in self.take(durable, 3)], [7, 8, 9])

    def test_another_log_is_noticed(self):
        follower = Subscription(b"t", BEGINNING).attach(self.connect())
        self.server.kill()
        self.server = self.broker(data=self.path("another"))
        with self.assertRaises(LogChanged):
            follower.attach(self.connect())
        with self.assertRaises(BrokerError) as caught:
            self.connect().call(subscribe=schema.Subscribe(filter=b"t", log_id=follower.log_id))
        self.assertEqual(caught.exception.status, LOG_CHANGED)

    def test_a_gap_after_a_deletion(self):
        client = self.connect()
        client.publish(b"t", [b"0", b"1"])
        client.call(delete_topic=schema.DeleteTopic(topic=b"t"))
        client.publish(b"t", [b"2"])
        late = Subscription(b"t", schema.Start(offset=0)).attach(self.connect())
        self.assertEqual(self.take(late, 1), [("t", 2, b"2")])
        self.assertEqual(late.gaps, [(b"t", 0, 2)])

    def test_examples_of_the_readme_are_what_they_say(self):
        with open(README, encoding="utf-8") as file:
            text = file.read()
        blocks = re.findall(r"```\n((?:(?: *[0-9a-f]{2}\b)+.*\n)+)```", text)
        frames = []
        for block in blocks:
            data = bytes.fromhex("".join(re.match(r"((?: *[0-9a-f]{2}\b)+)(?:  |$)", line).group(1)
                                         for line in block.splitlines()))
            self.assertEqual(int.from_bytes(data[:4], "big"), len(data) - 4)
            frames.append(data[4:])
        self.assertEqual(len(frames), 4)
        self.assertEqual(schema.ClientFrame.FromString(frames[0]), schema.ClientFrame(
            request_id=1, hello=schema.Hello(min_version=1, max_version=1)))
        self.assertEqual(schema.ClientFrame.FromString(frames[1]), schema.ClientFrame(
            request_id=7, publish=schema.Publish(batches=[schema.PublishBatch(
                topic=b"A", messages=[schema.Message(payload=b"hello")])])))
        self.assertEqual(schema.ServerFrame.FromString(frames[2]), schema.ServerFrame(
            request_id=7, published=schema.Published(runs=[schema.PublishedRun(
                first_index=0, count=1, first_offset=0)])))
        self.assertEqual(schema.ServerFrame.FromString(frames[3]), schema.ServerFrame(
            delivery=schema.Delivery(subscription=1, topic=b"A", messages=[schema.Message(
                offset=0, published_at=1767225600000000, payload=b"hello")])))


if __name__ == "__main__":
    tap.main()
