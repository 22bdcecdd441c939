"""Bytes and frames that no client should send: each gets a named refusal, and nobody else is hurt."""
import random
import struct

import tap
import wire
from wire import Closed, Refused, Wire, frame, pb

from psbroker_test import Case


class BadInput(Case):
    def setUp(self):
        super().setUp()
        self.server = self.broker()

    def connect(self, **options):
        client = Wire(self.server.port, **options)
        self.addCleanup(client.close)
        return client

    def assert_alive(self):
        """The broker still takes and gives messages."""
        client = self.connect()
        runs = client.publish("alive", "x")
        self.assertEqual(runs[0].count, 1)
        self.assertFalse(runs[0].HasField("error"))

    def assert_last_word(self, client, status):
        """The connection ends, and the last frame said why."""
        frames = client.closed()
        self.assertTrue(frames, "closed without a word")
        body = frames[-1].WhichOneof("body")
        self.assertIn(body, ("error", "goodbye"))
        error = frames[-1].error if body == "error" else frames[-1].goodbye.reason
        self.assertEqual(error.status, status, str(error))

    # -------------------------------------------------------------------------------------------- bytes

    def test_garbage_as_first_bytes_is_refused(self):
        for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00" + b"x" * 100,
                        b"\xff" * 64, b"\x05\x00\x00\x00"):
            with self.subTest(garbage=garbage[:8]):
                client = self.connect(hello=False)
                client.raw(garbage)
                frames = client.closed()
                self.assertLessEqual(len(frames), 1)
        self.assert_alive()

    def test_garbage_inside_a_frame_is_malformed(self):
        client = self.connect(hello=False)
        client.raw(frame(b"\xff\xff\xff\xff\xff"))
        self.assert_last_word(client, wire.MALFORMED)
        self.assert_alive()

    def test_garbage_inside_a_frame_after_hello_is_malformed(self):
        client = self.connect()
        client.raw(frame(b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
        self.assert_last_word(client, wire.MALFORMED)
        self.assert_alive()

    def test_random_frames_never_hurt_the_broker(self):
        chance = random.Random(7)
        sample = pb.ClientFrame(request_id=3, publish=pb.Publish(batches=[
            pb.PublishBatch(topic=b"r", messages=[pb.Message(payload=b"abc", key=b"k")])])).SerializeToString()
        for _ in range(200):
            client = self.connect()
            body = bytearray(sample)
            for _ in range(chance.randrange(1, 5)):
                body[chance.randrange(len(body))] = chance.randrange(256)
            client.raw(frame(bytes(body)))
            client.half_close()
            client.closed()
            client.close()
        self.assert_alive()

    def test_oversized_frame_before_hello(self):
        client = self.connect(hello=False)
        client.raw(struct.pack(">I", 4097))
        self.assert_last_word(client, wire.FRAME_TOO_LARGE)
        self.assert_alive()

    def test_oversized_frame_after_hello(self):
        client = self.connect()
        client.raw(struct.pack(">I", client.welcome.limits.max_frame + 1))
        self.assert_last_word(client, wire.FRAME_TOO_LARGE)
        self.assert_alive()

    def test_largest_frame_after_hello_is_taken(self):
        client = self.connect()
        size = client.welcome.limits.max_message
        runs = client.publish("big", b"x" * size)
        self.assertFalse(runs[0].HasField("error"), str(runs))

    def test_frame_of_no_bytes_is_malformed(self):
        client = self.connect()
        client.raw(b"\0\0\0\0")
        self.assert_last_word(client, wire.MALFORMED)

    def test_too_many_messages_in_a_frame(self):
        client = self.connect()
        count = client.welcome.limits.max_messages_per_frame + 1
        client.send(pb.ClientFrame(request_id=5, publish=client.publish_frame(("t", [""] * count))))
        self.assert_last_word(client, wire.LIMIT_EXCEEDED)
        self.assert_alive()

    def test_too_many_subscriptions(self):
        client = self.connect()
        limit = client.welcome.limits.max_subscriptions
        self.assertGreater(limit, 0)
        for number in range(min(limit, 5000)):
            client.subscribe("t/%d" % number)
        if limit <= 5000:
            with self.assertRaises(Refused) as caught:
                client.subscribe("one/more")
            self.assertEqual(caught.exception.status, wire.LIMIT_EXCEEDED)
        client.request(ping=pb.Ping())

    def test_truncated_frames(self):
        whole = frame(pb.ClientFrame(request_id=1, publish=pb.Publish(batches=[
            pb.PublishBatch(topic=b"t", messages=[pb.Message(payload=b"p")])])).SerializeToString())
        for size in range(len(whole)):
            client = self.connect()
            client.raw(whole[:size])
            client.half_close()
            client.closed()
            client.close()
        client = self.connect()
        topics = client.request(list_topics=pb.ListTopics()).topic_list.topics
        self.assertEqual(list(topics), [])

    def test_truncated_message_inside_a_frame_is_malformed(self):
        body = pb.ClientFrame(request_id=1, publish=pb.Publish(batches=[
            pb.PublishBatch(topic=b"t", messages=[pb.Message(payload=b"payload")])])).SerializeToString()
        client = self.connect()
        client.raw(frame(body[:-3]))
        self.assert_last_word(client, wire.MALFORMED)

    def test_frames_in_single_bytes_are_whole_frames(self):
        client = self.connect(hello=False)
        body = frame(pb.ClientFrame(request_id=9, hello=pb.Hello(min_version=1, max_version=1)).SerializeToString())
        for byte in body:
            client.raw(bytes([byte]))
        self.assertEqual(client.answer(9).WhichOneof("body"), "welcome")

    # ---------------------------------------------------------------------------------------- protocol

    def test_unknown_member_is_unsupported_with_its_id(self):
        client = self.connect()
        # field 500, length-delimited, beside a request id
        client.raw(frame(pb.ClientFrame(request_id=77).SerializeToString() + b"\xa2\x1f\x03abc"))
        with self.assertRaises(Refused) as caught:
            client.answer(77)
        self.assertEqual(caught.exception.status, wire.UNSUPPORTED)
        client.request(ping=pb.Ping(token=1))

    def test_empty_frame_is_answered(self):
        client = self.connect()
        client.raw(frame(pb.ClientFrame(request_id=78).SerializeToString()))
        with self.assertRaises(Refused) as caught:
            client.answer(78)
        self.assertEqual(caught.exception.status, wire.UNSUPPORTED)

    def test_anything_before_hello_is_a_violation(self):
        client = self.connect(hello=False)
        client.send(pb.ClientFrame(request_id=1, get_info=pb.GetInfo()))
        self.assert_last_word(client, wire.PROTOCOL_VIOLATION)

    def test_second_hello_is_a_violation(self):
        client = self.connect()
        client.send(pb.ClientFrame(request_id=5, hello=pb.Hello(min_version=1, max_version=1)))
        self.assert_last_word(client, wire.PROTOCOL_VIOLATION)

    def test_no_common_version(self):
        client = self.connect(hello=False)
        client.send(pb.ClientFrame(request_id=1, hello=pb.Hello(min_version=900, max_version=901)))
        self.assert_last_word(client, wire.VERSION_MISMATCH)

    def test_bad_id_in_hello(self):
        for identifier in (b"", b"\xff", b"a\nb", b"x" * 256):
            with self.subTest(identifier=identifier[:4]):
                client = self.connect(hello=False)
                client.send(pb.ClientFrame(request_id=1, hello=pb.Hello(min_version=1, max_version=1,
                                                                        id=identifier)))
                self.assert_last_word(client, wire.BAD_ID)

    def test_reserved_publish_members_are_refused_not_ignored(self):
        client = self.connect()
        publish = pb.Publish(batches=[pb.PublishBatch(topic=b"t", messages=[pb.Message(payload=b"p")])])
        body = publish.SerializeToString() + b"\x10\x01"  # field 2 = 1
        head = pb.ClientFrame(request_id=4).SerializeToString()
        client.raw(frame(head + b"\x2a" + bytes([len(body)]) + body))
        try:
            runs = client.published(4, 1)
            self.assertEqual(runs[0].error.status, wire.UNSUPPORTED)
        except Refused as refused:
            self.assertEqual(refused.status, wire.UNSUPPORTED)
        self.assertEqual(len(client.request(list_topics=pb.ListTopics()).topic_list.topics), 0)

    def test_reserved_message_members_are_refused_not_ignored(self):
        client = self.connect()
        message = pb.Message(payload=b"p").SerializeToString() + b"\x42\x01m"  # field 8 = message_id
        batch = b"\x0a\x01t\x12" + bytes([len(message)]) + message
        publish = b"\x0a" + bytes([len(batch)]) + batch
        client.raw(frame(pb.ClientFrame(request_id=4).SerializeToString() + b"\x2a" + bytes([len(publish)]) + publish))
        try:
            runs = client.published(4, 1)
            self.assertEqual(runs[0].error.status, wire.UNSUPPORTED)
        except Refused as refused:
            self.assertEqual(refused.status, wire.UNSUPPORTED)
        self.assertEqual(len(client.request(list_topics=pb.ListTopics()).topic_list.topics), 0)

    # ------------------------------------------------------------------------------------ publications

    def refused_publication(self, topic, message, status):
        client = self.connect()
        number = client.request_id()
        client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame((topic, [message]))))
        try:
            run = client.published(number, 1)[0]
            self.assertTrue(run.HasField("error"), f"{topic!r} was accepted")
            self.assertEqual(run.error.status, status, str(run.error))
            self.assertEqual(run.error.outcome, pb.Error.REFUSED)
        except Refused as refused:
            self.assertEqual(refused.status, status, str(refused.error))
        client.request(ping=pb.Ping())
        self.assertEqual(len(client.request(list_topics=pb.ListTopics()).topic_list.topics), 0)
        client.close()

    def test_bad_topics(self):
        for topic in (b"", b"x" * 256, b"a/+/c", b"a/#", b"+", b"#", b"a\0b", b"a\nb", b"\xff\xfe", b"\xc0\xaf",
                      b"\xed\xa0\x80", b"a\xc2\x85", b"\x7f"):
            with self.subTest(topic=topic[:8]):
                self.refused_publication(topic, b"p", wire.BAD_TOPIC)

    def test_reserved_topic(self):
        self.refused_publication(b"$sys/x", b"p", wire.RESERVED_TOPIC)

    def test_odd_but_valid_topics(self):
        client = self.connect()
        for topic in ("x" * 255, "/", "//", "#hello", "a/b+", "007", "1e3", "ä/ö", " ", "a$", "a/$b"):
            with self.subTest(topic=topic):
                self.assertFalse(client.publish(topic, "p")[0].HasField("error"))
        stored = {info.topic.decode() for info in client.request(list_topics=pb.ListTopics()).topic_list.topics}
        self.assertIn("007", stored)
        self.assertIn("1e3", stored)
        self.assertEqual(len(stored), 11)

    def test_duplicate_header_names(self):
        headers = [pb.Header(name=b"a", value=b"1"), pb.Header(name=b"a", value=b"2")]
        self.refused_publication(b"t", pb.Message(payload=b"p", headers=headers), wire.BAD_HEADER)

    def test_headers_over_their_limits(self):
        many = [pb.Header(name=b"h%d" % number, value=b"v") for number in range(65)]
        self.refused_publication(b"t", pb.Message(headers=many), wire.BAD_HEADER)
        self.refused_publication(b"t", pb.Message(headers=[pb.Header(name=b"n", value=b"v" * 16384)]), wire.BAD_HEADER)

    def test_headers_that_are_not_text(self):
        self.refused_publication(b"t", pb.Message(headers=[pb.Header(name=b"\xff", value=b"v")]), wire.BAD_HEADER)
        self.refused_publication(b"t", pb.Message(headers=[pb.Header(name=b"n", value=b"\xff")]), wire.BAD_HEADER)

    def test_message_too_large_with_its_limit(self):
        client = self.connect()
        limit = client.welcome.limits.max_message
        run = client.publish("t", pb.Message(payload=b"x" * limit, key=b"k"))[0]
        self.assertEqual(run.error.status, wire.MESSAGE_TOO_LARGE)
        self.assertEqual(run.error.limit_value, limit)
        self.assertTrue(run.error.limit_name)

    def test_one_bad_message_does_not_refuse_its_neighbours(self):
        client = self.connect()
        number = client.request_id()
        bad = pb.Message(headers=[pb.Header(name=b"a", value=b"1"), pb.Header(name=b"a", value=b"2")])
        client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(
            ("t", ["0", bad, "2"]), ("a/+", ["3"]), ("u", ["4"]))))
        outcome = {}
        for run in client.published(number, 5):
            for index in range(run.count):
                outcome[run.first_index + index] = (run.error.status if run.HasField("error")
                                                    else run.first_offset + index)
        self.assertEqual(outcome, {0: 0, 1: wire.BAD_HEADER, 2: 1, 3: wire.BAD_TOPIC, 4: 0})

    # ------------------------------------------------------------------------- subscriptions and offsets

    def refused(self, status, **body):
        client = self.connect()
        with self.assertRaises(Refused) as caught:
            client.request(**body)
        self.assertEqual(caught.exception.status, status, str(caught.exception.error))
        client.request(ping=pb.Ping())
        return caught.exception.error

    def test_bad_filters(self):
        for filter in (b"", b"#/a", b"a/#/b", b"x" * 256, b"\xff", b"a\0"):
            with self.subTest(filter=filter[:8]):
                self.refused(wire.BAD_FILTER, subscribe=pb.Subscribe(filter=filter))

    def test_bad_durable_ids(self):
        for identifier in (b"", b"\xff", b"a\x01", b"x" * 256):
            with self.subTest(identifier=identifier[:8]):
                self.refused(wire.BAD_ID, subscribe=pb.Subscribe(filter=b"a", durable_id=identifier))

    def test_offset_start_with_a_wildcard(self):
        self.refused(wire.INVALID_ARGUMENT, subscribe=pb.Subscribe(filter=b"a/#", start=wire.at(1)))

    def test_durable_offset_beyond_the_end_names_the_range(self):
        self.connect().publish("t", "0", "1", "2")
        error = self.refused(wire.OUT_OF_RANGE, subscribe=pb.Subscribe(filter=b"t", durable_id=b"d",
                                                                       start=wire.at(9)))
        self.assertEqual((error.offset_from, error.offset_to), (0, 4))  # the next offset is a valid start too
        stored = self.connect().request(list_subscriptions=pb.ListSubscriptions()).subscription_list
        self.assertEqual(len(stored.subscriptions), 0)

    def test_temporary_offset_beyond_the_end_waits(self):
        client = self.connect()
        client.publish("t", "0")
        subscribed = client.subscribe("t", start=wire.at(3))
        client.publish("t", "1", "2", "3", "4")
        found = client.messages(subscribed.subscription, 2)
        self.assertEqual([(message.offset, message.payload) for _, message in found], [(3, b"3"), (4, b"4")])

    def test_negative_numbers_are_malformed(self):
        # -1 as a varint is 2^64-1; what does not fit into 63 bits is no offset
        self.connect().publish("t", "0")
        for number in ((1 << 64) - 1, 1 << 63):
            for body in ({"subscribe": pb.Subscribe(filter=b"t", durable_id=b"d", start=wire.at(number))},
                         {"subscribe": pb.Subscribe(filter=b"t", start=wire.last(number))},
                         {"subscribe": pb.Subscribe(filter=b"t", start=wire.resume(number))},
                         {"subscribe": pb.Subscribe(filter=b"t", start=wire.resume(1, [("t", number)]))},
                         {"ack": pb.Ack(subscription=1, topic=b"t", next_offset=number)}):
                with self.subTest(body=str(body)):
                    client = self.connect()
                    client.send(pb.ClientFrame(request_id=50, **body))
                    self.assert_last_word(client, wire.MALFORMED)
        self.assert_alive()

    def test_largest_offset(self):
        largest = (1 << 63) - 1
        client = self.connect()
        client.publish("t", "0")
        self.refused(wire.OUT_OF_RANGE, subscribe=pb.Subscribe(filter=b"t", durable_id=b"d", start=wire.at(largest)))
        client.subscribe("t", start=wire.at(largest))  # waits, for ever
        self.refused(wire.LOG_CHANGED, subscribe=pb.Subscribe(filter=b"t", start=wire.resume(largest)))
        subscribed = client.subscribe("t", start=wire.last(largest))
        client.publish("t", "1")
        self.assertEqual([message.offset for _, message in client.messages(subscribed.subscription, 2)], [0, 1])
        self.assert_alive()

    def test_start_below_the_first_kept_begins_there_after_a_gap(self):
        client = self.connect()
        client.publish("t", "0", "1", "2")
        client.request(delete_topic=pb.DeleteTopic(topic=b"t"))
        client.publish("t", "3")
        subscribed = client.subscribe("t", start=wire.at(1))
        gap = client.next("gap", "delivery")
        self.assertEqual(gap.WhichOneof("body"), "gap")
        self.assertEqual((gap.gap.topic, getattr(gap.gap, "from"), gap.gap.to), (b"t", 1, 3))
        self.assertEqual(client.messages(subscribed.subscription, 1)[0][1].offset, 3)

    def test_resume_against_another_log(self):
        self.refused(wire.LOG_CHANGED, subscribe=pb.Subscribe(filter=b"t", log_id=b"0" * 16,
                                                              start=wire.resume(1)))
        self.refused(wire.LOG_CHANGED, subscribe=pb.Subscribe(filter=b"t", log_id=b"short"))
        client = self.connect()
        subscribed = client.subscribe("t", durable_id=b"d")
        with self.assertRaises(Refused) as caught:
            client.request(seek=pb.Seek(durable_id=b"d", filter=b"t", to=wire.BEGINNING, log_id=b"0" * 16))
        self.assertEqual(caught.exception.status, wire.LOG_CHANGED)
        with self.assertRaises(Refused) as caught:
            client.request(ack=pb.Ack(subscription=subscribed.subscription, topic=b"t", next_offset=0,
                                      log_id=b"0" * 16))
        self.assertEqual(caught.exception.status, wire.LOG_CHANGED)

    def test_durable_resume_start_is_refused(self):
        self.refused(wire.INVALID_ARGUMENT, subscribe=pb.Subscribe(filter=b"t", durable_id=b"d",
                                                                   start=wire.resume(1)))

    def test_acknowledgement_beyond_what_was_given(self):
        client = self.connect()
        client.publish("t", "0", "1")
        subscribed = client.subscribe("t", start=wire.BEGINNING, durable_id=b"d")
        client.messages(subscribed.subscription, 2)
        for offset in (3, (1 << 63) - 1):
            with self.assertRaises(Refused) as caught:
                client.request(ack=pb.Ack(subscription=subscribed.subscription, topic=b"t", next_offset=offset))
            self.assertEqual(caught.exception.status, wire.OUT_OF_RANGE)
        client.request(ack=pb.Ack(subscription=subscribed.subscription, topic=b"t", next_offset=2))

    def test_acknowledgement_of_a_temporary_subscription(self):
        client = self.connect()
        client.publish("t", "0")
        subscribed = client.subscribe("t", start=wire.BEGINNING)
        client.messages(subscribed.subscription, 1)
        with self.assertRaises(Refused) as caught:
            client.request(ack=pb.Ack(subscription=subscribed.subscription, topic=b"t", next_offset=1))
        self.assertEqual(caught.exception.status, wire.INVALID_ARGUMENT)

    def test_empty_and_unknown_starts_are_unsupported(self):
        self.refused(wire.UNSUPPORTED, subscribe=pb.Subscribe(filter=b"t", start=pb.Start()))
        self.refused(wire.UNSUPPORTED, subscribe=pb.Subscribe(filter=b"t", start=pb.Start.FromString(b"\xa0\x06\x01")))

    def test_subscription_numbers_that_do_not_exist(self):
        self.refused(wire.NO_SUCH_SUBSCRIPTION, detach=pb.Detach(subscription=99))
        self.refused(wire.NO_SUCH_SUBSCRIPTION, ack=pb.Ack(subscription=99, topic=b"t", next_offset=0))
        self.refused(wire.NO_SUCH_SUBSCRIPTION, unsubscribe=pb.Unsubscribe(subscription=99))
        self.refused(wire.NO_SUCH_SUBSCRIPTION, unsubscribe=pb.Unsubscribe(durable_id=b"x", filter=b"y"))
        self.refused(wire.NO_SUCH_SUBSCRIPTION, seek=pb.Seek(durable_id=b"x", filter=b"y", to=wire.BEGINNING))
        self.refused(wire.NO_SUCH_SUBSCRIPTION, subscribe=pb.Subscribe(filter=b"t", durable_id=b"x",
                                                                       existing_only=True))

    def test_credit_for_no_subscription_does_no_harm(self):
        client = self.connect()
        client.send(pb.ClientFrame(credit=pb.Credit(subscription=99, messages=1, bytes=1)))
        client.send(pb.ClientFrame(request_id=50, ping=pb.Ping(token=1)))
        frames = []
        try:
            while not (frames and frames[-1].WhichOneof("body") == "pong"):
                frames.append(client.receive())
        except Closed:
            self.assertEqual(frames[-1].error.status if frames[-1].HasField("error")
                             else frames[-1].goodbye.reason.status, wire.NO_SUCH_SUBSCRIPTION)
        self.assert_alive()

    def test_deleting_what_is_not_there(self):
        self.refused(wire.NO_SUCH_TOPIC, delete_topic=pb.DeleteTopic(topic=b"nothing"))
        self.refused(wire.BAD_TOPIC, delete_topic=pb.DeleteTopic(topic=b"a/#"))


if __name__ == "__main__":
    tap.main()
