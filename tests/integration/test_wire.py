"""What the wire promises to a client that keeps its rules."""
import tap
import wire
from wire import PLENTY, Refused, Wire, pb

from psbroker_test import Case


class WireCase(Case):
    def setUp(self):
        super().setUp()
        self.server = self.broker()

    def connect(self, **options):
        client = Wire(self.server.port, **options)
        self.addCleanup(client.close)
        return client

    def payloads(self, client, subscribed, count):
        return [message.payload for _, message in client.messages(subscribed.subscription, count)]


class Publishing(WireCase):
    def test_welcome_says_the_limits(self):
        welcome = self.connect().welcome
        self.assertEqual(welcome.version, 1)
        self.assertEqual(len(welcome.log_id), 16)
        self.assertEqual(welcome.limits.max_message, 1 << 20)
        self.assertEqual(welcome.limits.max_frame, (1 << 20) + (64 << 10))
        self.assertEqual(welcome.limits.max_headers, 64)
        self.assertEqual(welcome.limits.max_header_bytes, 16 << 10)
        self.assertEqual(welcome.limits.hard_frame_cap, 16 << 20)
        self.assertGreater(welcome.publish_window, 1 << 20)

    def test_every_field_of_a_message_comes_back(self):
        publisher = self.connect(identifier="p1")
        sent = pb.Message(key=b"\x00key", payload=b"a\0b\xff", headers=[
            pb.Header(name=b"one", value=b"1"), pb.Header(name="zwölf".encode(), value=b""),
            pb.Header(name=b'q"\\', value=b"\x01\n")])
        publisher.publish("t", sent, pb.Message(), pb.Message(key=b"", payload=b""))
        for when in ("from the tail", "from history"):
            with self.subTest(when):
                client = self.connect()
                subscribed = client.subscribe("t", start=wire.BEGINNING)
                full, bare, empty = [message for _, message in client.messages(subscribed.subscription, 3)]
                self.assertEqual(full.key, sent.key)
                self.assertEqual(full.payload, sent.payload)
                self.assertEqual([(h.name, h.value) for h in full.headers], [(h.name, h.value) for h in sent.headers])
                self.assertEqual(full.publisher, b"p1")
                self.assertGreater(full.published_at, 1_600_000_000_000_000)
                self.assertEqual([full.offset, bare.offset, empty.offset], [0, 1, 2])
                self.assertFalse(bare.HasField("key"))
                self.assertTrue(empty.HasField("key"))
                self.assertEqual(bare.payload, b"")
                client.close()
            if when == "from the tail":
                self.server.terminate()
                self.server = self.broker()

    def test_unidentified_publisher_is_absent(self):
        client = self.connect()
        client.publish("t", "x")
        subscribed = client.subscribe("t", start=wire.BEGINNING)
        self.assertFalse(client.messages(subscribed.subscription, 1)[0][1].HasField("publisher"))

    def test_pipelined_publications_are_answered_in_order(self):
        client = self.connect()
        numbers = []
        for index in range(300):
            number = client.request_id()
            numbers.append(number)
            client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(("t", [str(index)]))))
        offsets = [client.published(number, 1)[0].first_offset for number in numbers]
        self.assertEqual(offsets, list(range(300)))

    def test_offsets_are_those_of_the_topic(self):
        client = self.connect()
        number = client.request_id()
        client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(
            ("a", ["1", "2"]), ("b", ["3"]), ("a", ["4"]))))
        found = {}
        for run in client.published(number, 4):
            for index in range(run.count):
                found[run.first_index + index] = run.first_offset + index
        self.assertEqual(found, {0: 0, 1: 1, 2: 0, 3: 2})

    def test_publication_without_messages_is_answered(self):
        client = self.connect()
        number = client.request_id()
        client.send(pb.ClientFrame(request_id=number, publish=pb.Publish()))
        answer = client.answer(number)
        self.assertEqual(len(answer.published.runs), 0)

    def test_publications_of_a_client_that_left_are_kept(self):
        client = self.connect()
        number = client.request_id()
        client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(("t", ["x"] * 1000))))
        client.half_close()
        client.closed()
        watcher = self.connect()
        subscribed = watcher.subscribe("t", start=wire.BEGINNING)
        self.assertEqual(len(self.payloads(watcher, subscribed, 1000)), 1000)


class Subscribing(WireCase):
    def test_starts(self):
        client = self.connect()
        client.publish("t", *[str(number) for number in range(10)])
        for start, first in ((wire.BEGINNING, 0), (wire.at(4), 4), (wire.last(3), 7), (wire.last(0), 10),
                             (wire.NEW, 10), (None, 10), (wire.at(10), 10)):
            with self.subTest(start=str(start)):
                subscribed = client.subscribe("t", start=start)
                self.assertEqual([(s.topic, s.offset, s.head) for s in subscribed.starts], [(b"t", first, 10)])
                if first < 10:
                    found = client.messages(subscribed.subscription, 10 - first)
                    self.assertEqual([m.offset for _, m in found], list(range(first, 10)))
                client.request(detach=pb.Detach(subscription=subscribed.subscription))

    def test_live_messages_come_after_history_without_gap(self):
        client, publisher = self.connect(), self.connect()
        publisher.publish("t", *["h%d" % number for number in range(100)])
        subscribed = client.subscribe("t", start=wire.BEGINNING)
        publisher.publish("t", *["l%d" % number for number in range(100)])
        found = client.messages(subscribed.subscription, 200)
        self.assertEqual([m.offset for _, m in found], list(range(200)))
        self.assertEqual(found[150][1].payload, b"l50")

    def test_no_credit_no_delivery(self):
        client = self.connect()
        client.publish("t", "0", "1", "2", "3")
        subscribed = client.subscribe("t", start=wire.BEGINNING, credit=False)
        number = subscribed.subscription
        client.request(ping=pb.Ping())
        self.assertEqual([f for f in client.kept if f.WhichOneof("body") == "delivery"], [])
        client.send(pb.ClientFrame(credit=pb.Credit(subscription=number, messages=1, bytes=PLENTY)))
        self.assertEqual([m.offset for _, m in client.messages(number, 1)], [0])
        client.send(pb.ClientFrame(credit=pb.Credit(subscription=number, messages=3, bytes=PLENTY)))
        self.assertEqual([m.offset for _, m in client.messages(number, 2)], [1, 2])
        # a total below the last one takes nothing back and gives nothing
        client.send(pb.ClientFrame(credit=pb.Credit(subscription=number, messages=2, bytes=1)))
        client.request(ping=pb.Ping())
        self.assertEqual([f for f in client.kept if f.WhichOneof("body") == "delivery"], [])
        client.send(pb.ClientFrame(credit=pb.Credit(subscription=number, messages=4, bytes=PLENTY)))
        self.assertEqual([m.offset for _, m in client.messages(number, 1)], [3])

    def test_byte_credit_may_be_exceeded_by_one_message(self):
        client = self.connect()
        client.publish("t", "x" * 1000, "y" * 1000)
        subscribed = client.subscribe("t", start=wire.BEGINNING, credit=False, credit_messages=10, credit_bytes=1)
        self.assertEqual([m.offset for _, m in client.messages(subscribed.subscription, 1)], [0])
        client.request(ping=pb.Ping())
        self.assertEqual([f for f in client.kept if f.WhichOneof("body") == "delivery"], [])
        client.send(pb.ClientFrame(credit=pb.Credit(subscription=subscribed.subscription, messages=10, bytes=1001)))
        self.assertEqual([m.offset for _, m in client.messages(subscribed.subscription, 1)], [1])

    def test_until_end(self):
        client = self.connect()
        client.publish("t", "0", "1")
        subscribed = client.subscribe("t", start=wire.BEGINNING, until_end=True)
        client.messages(subscribed.subscription, 2)
        ended = client.next("subscription_ended").subscription_ended
        self.assertEqual(ended.reason.status, wire.END_REACHED)

    def test_until_end_with_nothing_there(self):
        client = self.connect()
        client.subscribe("nothing/#", start=wire.BEGINNING, until_end=True)
        ended = client.next("subscription_ended").subscription_ended
        self.assertEqual(ended.reason.status, wire.END_REACHED)
        self.assertEqual(len(client.request(list_topics=pb.ListTopics()).topic_list.topics), 0)

    def test_progress_and_resume_on_topics_created_meanwhile(self):
        client, publisher = self.connect(), self.connect()
        publisher.publish("a/1", "0", "1")
        subscribed = client.subscribe("a/#", start=wire.BEGINNING)
        client.messages(subscribed.subscription, 2)
        mark = client.next("progress").progress.mark
        client.close()
        publisher.publish("a/2", "new")
        publisher.publish("a/1", "2")
        again = self.connect()
        subscribed = again.subscribe("a/#", start=wire.resume(mark, [("a/1", 2)]))
        found = sorted((t, m.offset, m.payload) for t, m in again.messages(subscribed.subscription, 2))
        self.assertEqual(found, [(b"a/1", 2, b"2"), (b"a/2", 0, b"new")])

    def test_wildcards(self):
        client = self.connect()
        for topic in ("a", "a/b", "a/b/c", "a/", "b", "/a", "a/+x"):
            client.publish(topic, topic)
        for filter, expected in (("a/#", {"a", "a/b", "a/b/c", "a/", "a/+x"}), ("a/+", {"a/b", "a/", "a/+x"}),
                                 ("+", {"a", "b"}), ("#", {"a", "a/b", "a/b/c", "a/", "b", "/a", "a/+x"}),
                                 ("+/+", {"a/b", "a/", "/a", "a/+x"}), ("a/+x", {"a/+x"}), ("+/b/#", {"a/b", "a/b/c"})):
            with self.subTest(filter=filter):
                subscribed = client.subscribe(filter, start=wire.BEGINNING)
                self.assertEqual({start.topic.decode() for start in subscribed.starts}, expected)
                found = client.messages(subscribed.subscription, len(expected))
                self.assertEqual({topic.decode() for topic, _ in found}, expected)
                client.request(detach=pb.Detach(subscription=subscribed.subscription))

    def test_many_topics_in_the_answer(self):
        client = self.connect()
        count = 5000
        number = client.request_id()
        client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(
            *[("many/%d/%s" % (index, "x" * 200), ["p"]) for index in range(count // 2)])))
        client.published(number, count // 2)
        number = client.request_id()
        client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(
            *[("many/%d/%s" % (index, "y" * 200), ["p"]) for index in range(count // 2)])))
        client.published(number, count // 2)
        subscribed = client.subscribe("many/#", start=wire.BEGINNING)
        self.assertEqual(len(subscribed.starts), count)
        self.assertEqual(len(client.messages(subscribed.subscription, count)), count)
        names, after = [], None
        while True:
            page = client.request(list_topics=pb.ListTopics(after=after)).topic_list
            names += [info.topic for info in page.topics]
            if not page.more:
                break
            after = names[-1]
        self.assertEqual(len(set(names)), count)
        self.assertEqual(names, sorted(names))


class Durable(WireCase):
    def attach(self, client, filter="t", **options):
        return client.subscribe(filter, durable_id=b"d", **options)

    def acknowledge(self, client, subscribed, topic, offset):
        client.request(ack=pb.Ack(subscription=subscribed.subscription, topic=topic, next_offset=offset))

    def test_resumes_at_the_committed_offset(self):
        client = self.connect()
        client.publish("t", "0", "1", "2")
        subscribed = self.attach(client, start=wire.BEGINNING)
        self.assertTrue(subscribed.created)
        client.messages(subscribed.subscription, 3)
        self.acknowledge(client, subscribed, b"t", 2)
        client.close()
        client = self.connect()
        subscribed = self.attach(client, start=wire.BEGINNING)
        self.assertFalse(subscribed.created)
        self.assertEqual(self.payloads(client, subscribed, 1), [b"2"])

    def test_acknowledgements_never_move_back(self):
        client = self.connect()
        client.publish("t", "0", "1", "2")
        subscribed = self.attach(client, start=wire.BEGINNING)
        client.messages(subscribed.subscription, 3)
        self.acknowledge(client, subscribed, b"t", 3)
        self.acknowledge(client, subscribed, b"t", 1)
        for restart in (False, True):
            if restart:
                self.server.kill()
                self.server = self.broker()
            listed = self.connect().request(list_subscriptions=pb.ListSubscriptions()).subscription_list
            self.assertEqual([(p.topic, p.committed, p.lag) for p in listed.subscriptions[0].positions], [(b"t", 3, 0)])

    def test_take_over_raises_the_generation_and_tells_the_older(self):
        older, newer = self.connect(), self.connect()
        older.publish("t", "0", "1")
        first = self.attach(older, start=wire.BEGINNING)
        older.messages(first.subscription, 2)
        second = self.attach(newer)
        self.assertGreater(second.generation, first.generation)
        self.assertEqual(older.next("subscription_ended").subscription_ended.reason.status, wire.REPLACED)
        with self.assertRaises(Refused) as caught:
            self.acknowledge(older, first, b"t", 2)
        self.assertIn(caught.exception.status, (wire.STALE_GENERATION, wire.NO_SUCH_SUBSCRIPTION))
        self.assertEqual(self.payloads(newer, second, 2), [b"0", b"1"])

    def test_the_same_connection_cannot_hold_it_twice(self):
        client = self.connect()
        self.attach(client)
        with self.assertRaises(Refused) as caught:
            self.attach(client)
        self.assertEqual(caught.exception.status, wire.ALREADY_SUBSCRIBED)

    def test_detach_keeps_and_unsubscribe_forgets(self):
        client = self.connect()
        subscribed = self.attach(client)
        client.request(detach=pb.Detach(subscription=subscribed.subscription))
        self.assertFalse(self.attach(client).created)
        client.request(unsubscribe=pb.Unsubscribe(durable_id=b"d", filter=b"t"))
        self.assertEqual(len(client.request(list_subscriptions=pb.ListSubscriptions()).subscription_list.subscriptions), 0)
        self.assertTrue(self.attach(self.connect()).created)

    def test_unsubscribe_by_another_ends_the_attached(self):
        holder, other = self.connect(), self.connect()
        self.attach(holder)
        other.request(unsubscribe=pb.Unsubscribe(durable_id=b"d", filter=b"t"))
        self.assertEqual(holder.next("subscription_ended").subscription_ended.reason.status, wire.REMOVED)

    def test_new_means_new_since_it_was_stored_over_restarts(self):
        client = self.connect()
        client.publish("a/1", "old")
        self.attach(client, "a/#")
        client.close()
        for number in range(3):
            publisher = self.connect()
            publisher.publish("a/1", "new %d" % number)
            publisher.publish("a/%d" % (number + 2), "first")
            if number == 1:
                self.server.kill()
                self.server = self.broker()
        client = self.connect()
        subscribed = self.attach(client, "a/#", existing_only=True)
        found = sorted((t, m.payload) for t, m in client.messages(subscribed.subscription, 6))
        self.assertEqual(found, [(b"a/1", b"new 0"), (b"a/1", b"new 1"), (b"a/1", b"new 2"), (b"a/2", b"first"),
                                 (b"a/3", b"first"), (b"a/4", b"first")])

    def test_seek_moves_the_attached(self):
        holder, other = self.connect(), self.connect()
        holder.publish("t", "0", "1", "2")
        subscribed = self.attach(holder, start=wire.BEGINNING)
        holder.messages(subscribed.subscription, 3)
        self.acknowledge(holder, subscribed, b"t", 3)
        other.request(seek=pb.Seek(durable_id=b"d", filter=b"t", to=wire.at(1)))
        self.assertEqual(holder.next("subscription_ended").subscription_ended.reason.status, wire.MOVED)
        self.assertEqual(self.payloads(holder, self.attach(holder), 2), [b"1", b"2"])
        with self.assertRaises(Refused) as caught:
            other.request(seek=pb.Seek(durable_id=b"d", filter=b"t", to=wire.at(4)))
        self.assertEqual(caught.exception.status, wire.OUT_OF_RANGE)

    def test_unacknowledged_is_delivered_again_after_kill(self):
        client = self.connect()
        client.publish("t", "0", "1", "2")
        subscribed = self.attach(client, start=wire.BEGINNING)
        client.messages(subscribed.subscription, 3)
        self.acknowledge(client, subscribed, b"t", 1)
        self.server.kill()
        self.server = self.broker()
        client = self.connect()
        subscribed = self.attach(client)
        self.assertEqual(self.payloads(client, subscribed, 2), [b"1", b"2"])


class Ending(WireCase):
    def test_drain_says_goodbye_and_answers_what_was_sent(self):
        client = self.connect()
        subscribed = client.subscribe("t", start=wire.BEGINNING)
        number = client.request_id()
        client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(("t", ["x"] * 100))))
        self.assertEqual(sum(run.count for run in client.published(number, 100)), 100)
        del subscribed
        self.assertEqual(self.server.terminate(), 0)
        frames = client.closed()
        goodbyes = [f.goodbye.reason for f in frames if f.WhichOneof("body") == "goodbye"]
        self.assertEqual([reason.status for reason in goodbyes], [wire.DRAINING])

    def test_delete_topic_and_make_it_again(self):
        client = self.connect()
        client.publish("t", "0", "1")
        client.request(delete_topic=pb.DeleteTopic(topic=b"t"))
        self.assertEqual(len(client.request(list_topics=pb.ListTopics()).topic_list.topics), 0)
        self.assertEqual(client.publish("t", "2")[0].first_offset, 2)
        info = client.request(list_topics=pb.ListTopics()).topic_list.topics[0]
        self.assertEqual((info.first, info.head), (2, 3))
        for restart in (False, True):
            if restart:
                self.server.kill()
                self.server = self.broker()
                client = self.connect()
            subscribed = client.subscribe("t", start=wire.BEGINNING)
            self.assertEqual(self.payloads(client, subscribed, 1), [b"2"])


if __name__ == "__main__":
    tap.main()
