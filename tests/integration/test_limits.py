"""Every limit that an option of psbroker sets: reached, and told to the client by its name and value.

What Welcome announces is what counts. The table of limits stands in broker/README.md.
"""
import struct

import tap
import wire
from wire import Closed, Refused, Wire, frame, pb

from psbroker_test import Case, wait_until

KIB = 1 << 10
MIB = 1 << 20


class LimitCase(Case):
    def connect(self, server, **options):
        client = Wire(server.port, **options)
        self.addCleanup(client.close)
        return client

    def assert_limit(self, error, status, name, value, retryable=None):
        self.assertEqual((error.status, error.limit_name, error.limit_value), (status, name, value), str(error))
        if retryable is not None:
            self.assertEqual(error.retryable, retryable, str(error))
            self.assertEqual(error.retry_after_ms > 0, retryable, str(error))

    def assert_ends(self, client, status, name, value, retryable=None):
        """The connection ends, and its last frame says why."""
        frames = client.closed()
        self.assertTrue(frames, "closed without a word")
        self.assert_limit(frames[-1].error, status, name, value, retryable)

    def refusal(self, call, *arguments, **keywords):
        with self.assertRaises(Refused) as caught:
            call(*arguments, **keywords)
        return caught.exception.error


class Sizes(LimitCase):
    def test_first_frame(self):
        server = self.broker("--hello-frame", "2K")
        exact = self.connect(server, hello=False)
        hello = pb.ClientFrame(request_id=1, hello=pb.Hello(min_version=1, max_version=1)).SerializeToString()
        exact.raw(frame(hello + b"\xfa\x07" + _length(2 * KIB - len(hello) - 4) + b"x" * (2 * KIB - len(hello) - 4)))
        self.assertEqual(exact.answer(1).WhichOneof("body"), "welcome")
        larger = self.connect(server, hello=False)
        larger.raw(struct.pack(">I", 2 * KIB + 1))
        self.assert_ends(larger, wire.FRAME_TOO_LARGE, "hello_frame", 2 * KIB)

    def test_message_and_frame(self):
        server = self.broker("--max-message", "8K")
        client = self.connect(server)
        self.assertEqual(client.welcome.limits.max_message, 8 * KIB)
        self.assertEqual(client.welcome.limits.max_frame, 72 * KIB)
        self.assertFalse(client.publish("t", b"x" * 8 * KIB)[0].HasField("error"))
        run = client.publish("t", pb.Message(payload=b"x" * 8 * KIB, key=b"k"))[0]
        self.assert_limit(run.error, wire.MESSAGE_TOO_LARGE, "max_message", 8 * KIB, retryable=False)
        client.raw(struct.pack(">I", 72 * KIB + 1))
        self.assert_ends(client, wire.FRAME_TOO_LARGE, "max_frame", 72 * KIB)

    def test_largest_messages_come_back_and_nothing_beyond_the_hard_cap(self):
        server = self.broker("--max-message", "15M")
        client = self.connect(server)
        self.assertEqual(client.welcome.limits.hard_frame_cap, 16 * MIB)
        self.assertLessEqual(client.welcome.limits.max_frame, 16 * MIB)
        payload = b"y" * (15 * MIB)
        self.assertFalse(client.publish("t", payload)[0].HasField("error"))
        live = self.connect(server).subscribe("t", start=wire.BEGINNING)
        self.assertEqual(live.starts[0].head, 1)
        reader = self.connect(server)
        subscribed = reader.subscribe("t", start=wire.BEGINNING)
        self.assertEqual(reader.messages(subscribed.subscription, 1)[0][1].payload, payload)
        refused = self.broker_fails("--max-message", "16M", data=self.path("other"))
        self.assertEqual(refused.wait(), 2)
        self.assertIn("15M", refused.err)

    def test_names(self):
        server = self.broker("--max-name", "8")
        client = self.connect(server, identifier="12345678")
        self.assertEqual(client.welcome.limits.max_name_bytes, 8)
        self.assertFalse(client.publish("12345678", "x")[0].HasField("error"))
        long = "123456789"
        self.assert_limit(client.publish(long, "x")[0].error, wire.BAD_TOPIC, "max_name_bytes", 8)
        self.assert_limit(self.refusal(client.subscribe, long), wire.BAD_FILTER, "max_name_bytes", 8)
        self.assert_limit(self.refusal(client.subscribe, "t", durable_id=long.encode()), wire.BAD_ID,
                          "max_name_bytes", 8)
        other = self.connect(server, hello=False)
        self.assert_limit(self.refusal(other.hello, long), wire.BAD_ID, "max_name_bytes", 8)

    def test_topics_stay_usable_when_names_are_limited_later(self):
        server = self.broker()
        self.connect(server).publish("a long name", "0")
        self.assertEqual(server.terminate(), 0, server.err)
        client = self.connect(self.broker("--max-name", "4"))
        self.assertEqual(client.publish("a long name", "1")[0].first_offset, 1)


class Numbers(LimitCase):
    def test_topics(self):
        server = self.broker("--max-topics", "3")
        client = self.connect(server)
        for name in "abc":
            self.assertFalse(client.publish(name, "x")[0].HasField("error"))
        self.assert_limit(client.publish("d", "x")[0].error, wire.LIMIT_EXCEEDED, "max_topics", 3)
        self.assertEqual(client.publish("a", "x")[0].first_offset, 1)
        number = client.request_id()  # many at once: decided by the store, in their order
        client.request(delete_topic=pb.DeleteTopic(topic=b"c"))
        client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(
            *[("new/%d" % i, ["x"]) for i in range(10)])))
        runs = client.published(number, 10)
        self.assertEqual([run.count for run in runs if not run.HasField("error")], [1])
        for run in runs[1:]:
            self.assert_limit(run.error, wire.LIMIT_EXCEEDED, "max_topics", 3)
        self.assertIn("max_topics", self.run_psctl(server, "pub", "e", "x", code=6).err)

    def test_subscriptions_of_one_connection(self):
        server = self.broker("--max-subscriptions", "2")
        client = self.connect(server)
        self.assertEqual(client.welcome.limits.max_subscriptions, 2)
        first = client.subscribe("a")
        client.subscribe("b")
        self.assert_limit(self.refusal(client.subscribe, "c"), wire.LIMIT_EXCEEDED, "max_subscriptions", 2)
        self.connect(server).subscribe("c")
        client.request(detach=pb.Detach(subscription=first.subscription))
        client.subscribe("c")

    def test_rate_of_new_topics(self):
        server = self.broker("--topic-rate", "1", "--limit-local")
        client = self.connect(server)
        self.assertFalse(client.publish("first", "x")[0].HasField("error"))
        self.assertFalse(client.publish("first", "y")[0].HasField("error"))
        number = client.request_id()
        client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(
            *[("many/%d" % i, ["x", "y"]) for i in range(100)])))
        refused = [run for run in client.published(number, 200) if run.HasField("error")]
        self.assertGreaterEqual(len(refused), 99)  # a second went by, if not 100
        for run in refused:
            self.assertEqual(run.count, 2)
            self.assert_limit(run.error, wire.RATE_EXCEEDED, "topic_rate", 1, retryable=True)
        told = self.run_psctl(server, "load", stdin=b"".join(b'{"topic":"l/%d","payload":""}\n' % i for i in range(100)), code=6).err
        self.assertRegex(told, r"this address makes new topics faster than it may; topic_rate is 1 new topics a second "
                               r"\(psbroker --topic-rate\); try again in [0-9]+ ms \(rate_exceeded, 6\)")
        free = self.broker("--topic-rate", "1", data=self.path("free"))
        client = self.connect(free)
        for index in range(50):
            self.assertFalse(client.publish("t/%d" % index, "x")[0].HasField("error"))

    def test_connections(self):
        server = self.broker("--max-connections", "2")
        first, second = self.connect(server), self.connect(server)
        for hello in (False, True):
            with self.subTest(hello=hello):
                extra = self.connect(server, hello=False)
                if hello:
                    extra.send(pb.ClientFrame(request_id=1, hello=pb.Hello(min_version=1, max_version=1)))
                self.assert_ends(extra, wire.LIMIT_EXCEEDED, "max_connections", 2, retryable=True)
        self.assertIn("max_connections", self.run_psctl(server, "ping", code=6).err)
        second.close()
        wait_until(lambda: first.info().connections == 1, "room")
        self.connect(server).publish("t", "x")

    def test_connections_of_one_address(self):
        server = self.broker("--max-per-address", "2", "--limit-local",
                             listen=("127.0.0.1:0", "unix:" + self.path("s")))
        first = self.connect(server)
        self.connect(server)
        self.assert_ends(self.connect(server, hello=False), wire.LIMIT_EXCEEDED, "max_per_address", 2, retryable=True)
        unix = [self.connect(server, path=self.path("s")) for _ in range(2)]
        self.assert_ends(self.connect(server, path=self.path("s"), hello=False), wire.LIMIT_EXCEEDED,
                         "max_per_address", 2, retryable=True)
        unix[0].close()
        wait_until(lambda: first.info().connections == 3, "room")
        self.connect(server, path=self.path("s")).info()

    def test_loopback_is_not_limited_by_address(self):
        server = self.broker("--max-per-address", "1", listen=("127.0.0.1:0", "unix:" + self.path("s")))
        for _ in range(5):
            self.connect(server)
            self.connect(server, path=self.path("s"))

    def test_connections_before_hello(self):
        server = self.broker("--max-greeting", "3", "--hello-timeout", "60s")
        silent = [self.connect(server, hello=False) for _ in range(3)]
        working = self.connect(server)
        self.assert_ends(silent[0], wire.LIMIT_EXCEEDED, "max_greeting", 3, retryable=True)
        silent[1].hello()
        working.publish("t", "x")
        self.connect(server, hello=False)
        silent[2].hello()


class Times(LimitCase):
    def test_time_to_hello(self):
        server = self.broker("--hello-timeout", "200ms")
        self.assert_ends(self.connect(server, hello=False), wire.TIMED_OUT, "hello_timeout_ms", 200, retryable=True)

    def test_time_for_a_frame(self):
        server = self.broker("--frame-timeout", "300ms")
        for hello in (False, True):
            with self.subTest(hello=hello):
                client = self.connect(server, hello=hello)
                client.raw(struct.pack(">I", 1000) + b"x")
                self.assert_ends(client, wire.TIMED_OUT, "frame_timeout_ms", 300, retryable=True)

    def test_a_large_frame_has_time_for_each_part(self):
        server = self.broker("--frame-timeout", "1s", "--max-message", "4M")
        client = self.connect(server)
        body = pb.ClientFrame(request_id=9, publish=client.publish_frame(("t", [b"x" * (4 * MIB)]))).SerializeToString()
        data = frame(body)
        step = 256 * KIB
        probe = self.connect(server)
        for at in range(0, len(data), step):  # each within its second, all of them not
            client.raw(data[at:at + step])
            begin = probe.info().uptime_ms
            while at + step < len(data) and probe.info().uptime_ms < begin + 200:
                pass
        self.assertEqual(client.published(9, 1)[0].first_offset, 0)

    def test_idle(self):
        server = self.broker("--ping-interval", "300ms")
        client = self.connect(server)
        self.assertEqual(client.welcome.ping_interval_ms, 300)
        self.assert_ends(client, wire.TIMED_OUT, "ping_interval_ms", 300, retryable=True)


class Memory(LimitCase):
    def flood(self, server, topic, number):
        """One Publish of 1 MiB."""
        client = self.connect(server)
        publish = client.publish_frame((topic, [b"x" * 1000] * 1000))
        client.send(pb.ClientFrame(request_id=number, publish=publish))
        return client

    def test_window_of_one_connection(self):
        server = self.broker("--publish-window", "64K")
        client = self.connect(server)
        self.assertEqual(client.welcome.publish_window, 64 * KIB)
        publish = pb.ClientFrame(publish=client.publish_frame(("t", [b"x" * 1000] * 60))).SerializeToString()
        for number in range(100):  # beyond the window the socket is not read, and all of it arrives
            client.raw(frame(publish))
        self.assertEqual(client.publish("t", "last")[0].first_offset, 6000)

    def test_publications_of_all(self):
        server = self.broker("--publish-memory", "1M")
        clients = [self.flood(server, "t/%d" % index, 1) for index in range(16)]
        for client in clients:
            self.assertEqual(sum(run.count for run in client.published(1, 1000)), 1000)

    def test_deliveries_to_all(self):
        server = self.broker("--send-memory", "1M", "--tail-memory", "1M")
        publisher = self.connect(server)
        stopped = [self.connect(server) for _ in range(20)]
        for client in stopped:
            client.subscribe("t")
        for _ in range(100):
            publisher.publish("t", *[b"x" * 1000] * 60)
        # The budget, and for each socket a batch that was allowed when it had next to nothing.
        self.assertLess(publisher.info().queued_bytes, 1 * MIB + 20 * 100 * KIB)
        reader = self.connect(server)
        subscribed = reader.subscribe("t", start=wire.BEGINNING)
        offsets = [message.offset for _, message in reader.messages(subscribed.subscription, 6000)]
        self.assertEqual(offsets, list(range(6000)))
        self.assertEqual(len(stopped[0].messages(1, 6000)), 6000)

    def handed_beside_those_that_end(self, server, observer):
        """What one that does not read is handed while others, with the budget full, come to their end. None: it came too
        soon."""
        clients = [self.connect(server) for _ in range(20)]
        for client in clients:
            client.subscribe("t")
        for _ in range(30):
            observer.publish("t", *[b"x" * 1000] * 60)
        for client in clients:
            client.raw(b"\0\0\0\1\xff")
        stopped = self.connect(server)
        before = observer.info()
        stopped.subscribe("t")
        for _ in range(30):
            observer.publish("t", *[b"x" * 1000] * 60)
        after = observer.info()
        return after.queued_bytes - before.queued_bytes if after.connections == before.connections else None

    def test_deliveries_to_those_that_end(self):
        """What a connection leaves behind counts until it is closed."""
        server = self.broker("--send-memory", "1M", "--tail-memory", "1M")
        observer = self.connect(server)
        handed = None
        while handed is None:
            handed = self.handed_beside_those_that_end(server, observer)
        self.assertLess(handed, 100 * KIB)

    def test_cursors(self):
        server = self.broker("--cursor-memory", "1M")
        client = self.connect(server)
        number = client.request_id()
        client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(
            *[("t/%d" % index, ["x"]) for index in range(6000)])))
        client.published(number, 6000)
        error = self.refusal(client.subscribe, "#")
        self.assert_limit(error, wire.LIMIT_EXCEEDED, "cursor_memory", 1 * MIB)
        client.subscribe("t/1")

    def test_durable_subscriptions(self):
        """Those that are stored count, attached or not, also behind a restart; one that is there can be attached."""
        server = self.broker("--max-durable", "2")
        client = self.connect(server)
        client.subscribe("t", durable_id=b"1")
        client.subscribe("t", durable_id=b"2")
        error = self.refusal(client.subscribe, "t", durable_id=b"3")
        self.assert_limit(error, wire.LIMIT_EXCEEDED, "max_durable", 2)
        self.assertEqual(server.terminate(), 0)
        server = self.broker("--max-durable", "2")
        client = self.connect(server)
        self.assertEqual(self.refusal(client.subscribe, "t", durable_id=b"3").limit_name, "max_durable")
        client.subscribe("t", durable_id=b"1")
        client.request(unsubscribe=pb.Unsubscribe(durable_id=b"2", filter=b"t"))
        client.subscribe("t", durable_id=b"3")
        self.assertEqual(self.refusal(client.subscribe, "t", durable_id=b"4").limit_name, "max_durable")

    def test_long_filters(self):
        """What a subscription costs is charged: itself and every level that its filter alone has."""
        server = self.broker("--cursor-memory", "1M")
        client = self.connect(server)
        with self.assertRaises(Refused) as caught:
            for index in range(1024):
                client.subscribe(f"{index:04}" + "/a" * 120)
        self.assert_limit(caught.exception.error, wire.LIMIT_EXCEEDED, "cursor_memory", 1 * MIB)
        self.assertLess(index, 200)
        client.close()
        self.connect(server).subscribe("t")

    def test_disk_floor(self):
        server = self.broker("--disk-floor", "1024G")
        client = self.connect(server)
        for _ in range(2):
            error = client.publish("t", "x")[0].error
            self.assert_limit(error, wire.DISK_FULL, "disk_floor", 1024 * 1024 * MIB)
            self.assertTrue(error.retryable)
        client.subscribe("t")
        self.assertIn("disk_floor", self.run_psctl(server, "pub", "t", "x", code=6).err)
        self.assertEqual(server.err.count("event=disk_low"), 1)


def _length(size):
    """As a varint of two bytes."""
    return bytes([size & 0x7f | 0x80, size >> 7])


if __name__ == "__main__":
    tap.main()
