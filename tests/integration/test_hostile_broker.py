"""psctl against something that is not quite a broker: three outcomes, and never a wrong one."""
import socket
import struct
import threading

import tap
import wire
from wire import frame, pb

from psbroker_test import Case


class Fake:
    """Accepts connections, one after another, and answers Hello; then `play` (a list, one a connection) goes on.
    Connections beyond the list are counted and closed."""

    def __init__(self, case, *play, log_id=b"fake log id 0001"):
        self.play = list(play)
        self.log_id = log_id
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.problem = None
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        case.addCleanup(self.listener.close)

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(60)
                step = self.play[self.connections] if self.connections < len(self.play) else None
                self.connections += 1
                try:
                    if step is not None:
                        step(Peer(connection, self.log_id))
                except (OSError, EOFError):
                    pass
                except Exception as error:
                    self.problem = error


class Peer:
    def __init__(self, connection, log_id):
        self.connection = connection
        self.log_id = log_id

    def raw(self, data):
        self.connection.sendall(data)

    def send(self, **body):
        self.raw(frame(pb.ServerFrame(**body).SerializeToString()))

    def exactly(self, size):
        data = b""
        while len(data) < size:
            piece = self.connection.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def receive(self):
        (size,) = struct.unpack(">I", self.exactly(4))
        return pb.ClientFrame.FromString(self.exactly(size))

    def expect(self, kind):
        """The next frame of a kind; pings on the way are answered."""
        while True:
            message = self.receive()
            if message.WhichOneof("body") == kind:
                return message
            if message.WhichOneof("body") == "ping":
                self.send(request_id=message.request_id if message.HasField("request_id") else None,
                          pong=pb.Pong(token=message.ping.token))

    def welcome(self):
        hello = self.expect("hello")
        limits = pb.Limits(max_frame=(1 << 20) + 65536, max_message=1 << 20, max_headers=64, max_header_bytes=16384,
                           max_messages_per_frame=16384, max_subscriptions=1000, hard_frame_cap=16 << 20)
        self.send(request_id=hello.request_id if hello.HasField("request_id") else None, welcome=pb.Welcome(
            version=1, log_id=self.log_id, limits=limits, publish_window=16 << 20, ping_interval_ms=30000))

    def until_closed(self):
        try:
            while True:
                self.receive()
        except (EOFError, OSError):
            pass


class Outcomes(Case):
    def psctl(self, fake, *arguments, **keywords):
        return self.run_psctl(fake.port, *arguments, **keywords)

    def test_not_our_protocol(self):
        fake = Fake(self, lambda peer: (peer.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), peer.until_closed()))
        done = self.psctl(fake, "pub", "t", "hello", code=7)
        self.assertEqual(done.out, b"")

    def test_garbage_frames(self):
        fake = Fake(self, *[lambda peer: (peer.raw(frame(b"\xff" * 20)), peer.until_closed())] * 20)
        for arguments in (["ping"], ["info"], ["topics"], ["subs"], ["get", "t", "0"], ["unsub", "t", "-i", "s"],
                          ["sub", "t"], ["sub", "-i", "s"], ["pub", "t", "x"], ["shell"]):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.psctl(fake, *arguments, code=7).out, b"")

    def test_frame_beyond_the_hard_cap(self):
        fake = Fake(self, lambda peer: (peer.welcome(), peer.expect("get_info"), peer.raw(struct.pack(">I", (16 << 20) + 1)), peer.until_closed()))
        self.psctl(fake, "info", code=7)

    def test_version_mismatch(self):
        def play(peer):
            hello = peer.expect("hello")
            peer.send(request_id=hello.request_id, error=pb.Error(status=wire.VERSION_MISMATCH, text="too old"))
            peer.until_closed()
        self.psctl(Fake(self, play), "pub", "t", "hello", code=7)

    def test_credentials_refused(self):
        def play(peer):
            hello = peer.expect("hello")
            peer.send(request_id=hello.request_id, error=pb.Error(status=wire.NOT_ALLOWED))
            peer.until_closed()
        self.psctl(Fake(self, play), "pub", "t", "hello", code=4)

    def test_closed_before_welcome_is_a_lost_connection(self):
        fake = Fake(self, *[lambda peer: peer.expect("hello")] * 1000)
        done = self.psctl(fake, "pub", "t", "hello", code=3)
        self.assertEqual(done.out, b"")

    def test_lost_after_publishing_is_unknown_and_not_sent_again(self):
        fake = Fake(self, lambda peer: (peer.welcome(), peer.expect("publish")))
        done = self.psctl(fake, "pub", "t", "hello", code=8)
        self.assertEqual(done.out, b"")
        self.assertRegex(done.err, "unknown|not known")
        self.assertEqual(fake.connections, 1)

    def test_an_outcome_said_to_be_unknown(self):
        def play(peer):
            peer.welcome()
            number = peer.expect("publish").request_id
            error = pb.Error(status=60, outcome=pb.Error.UNKNOWN)
            peer.send(request_id=number, published=pb.Published(runs=[pb.PublishedRun(first_index=0, count=1, error=error)]))
            peer.until_closed()
        done = self.psctl(Fake(self, play), "pub", "t", "hello", code=8)
        self.assertEqual(done.out, b"")

    def test_refusals_have_their_codes(self):
        for status, code in ((wire.DISK_FULL, 6), (wire.STORAGE_BUSY, 6), (wire.LIMIT_EXCEEDED, 6), (wire.NOT_ALLOWED, 4),
                             (wire.ROLE_REFUSED, 4), (wire.BAD_TOPIC, 2), (wire.DRAINING, 3), (wire.UNSUPPORTED, 7)):
            with self.subTest(status=status):
                def play(peer, status=status):
                    peer.welcome()
                    number = peer.expect("publish").request_id
                    peer.send(request_id=number, published=pb.Published(runs=[pb.PublishedRun(
                        first_index=0, count=1, error=pb.Error(status=status, text="because of a test"))]))
                    peer.until_closed()
                done = self.psctl(Fake(self, play), "pub", "t", "hello", code=code)
                self.assertEqual(done.out, b"")
                self.assertTrue(done.err)

    def test_a_status_from_the_future(self):
        for retryable, code in ((True, 6), (False, 1)):
            with self.subTest(retryable=retryable):
                def play(peer, retryable=retryable):
                    peer.welcome()
                    number = peer.expect("publish").request_id
                    peer.send(request_id=number, error=pb.Error(status=150, text="tomorrow", retryable=retryable))
                    peer.until_closed()
                done = self.psctl(Fake(self, play), "pub", "t", "hello", code=code)
                self.assertIn("tomorrow", done.err)

    def test_refused_in_part(self):
        """Lines 0 and 1 accepted, 2 refused, 3 never answered: the worst outcome counts, and all are named."""
        def play(peer):
            peer.welcome()
            got, numbers = 0, []
            while got < 4:
                request = peer.expect("publish")
                count = sum(len(batch.messages) for batch in request.publish.batches)
                numbers += [(request.request_id, index) for index in range(count)]
                got += count
            for line in (0, 1, 2):
                number, index = numbers[line]
                run = pb.PublishedRun(first_index=index, count=1)
                if line < 2:
                    run.first_offset = 40 + line
                else:
                    run.error.status = wire.DISK_FULL
                    run.error.text = "no room"
                peer.send(request_id=number, published=pb.Published(runs=[run]))
        fake = Fake(self, play)
        done = self.psctl(fake, "pub", "t", "--lines", "-", stdin=b"a\nb\nc\nd\n", code=8)
        self.assertEqual(done.out, b"40\n41\n")
        self.assertIn("line 3", done.err)
        self.assertIn("unknown", done.err)

    def test_answers_that_make_no_sense(self):
        for run in (pb.PublishedRun(first_index=0, count=2, first_offset=0), pb.PublishedRun(first_index=7, count=1, first_offset=0),
                    pb.PublishedRun(first_index=0, count=0, first_offset=0)):
            with self.subTest(run=str(run)):
                def play(peer, run=run):
                    peer.welcome()
                    number = peer.expect("publish").request_id
                    peer.send(request_id=number, published=pb.Published(runs=[run]))
                    peer.send(goodbye=pb.Goodbye(reason=pb.Error(status=wire.DRAINING)))
                done = self.psctl(Fake(self, play), "pub", "t", "hello", code=None)
                self.assertIn(done.code, (7, 8))
                self.assertEqual(done.out, b"")

    def test_unknown_frames_are_skipped(self):
        def play(peer):
            peer.welcome()
            peer.raw(frame(b"\xa2\x1f\x03abc"))
            number = peer.expect("publish").request_id
            peer.send(request_id=number, published=pb.Published(runs=[pb.PublishedRun(first_index=0, count=1, first_offset=5)]))
            peer.until_closed()
        self.assertEqual(self.psctl(Fake(self, play), "pub", "t", "hello").out, b"5\n")

    def test_answers_in_single_bytes(self):
        def play(peer):
            peer.welcome()
            number = peer.expect("publish").request_id
            answer = pb.ServerFrame(request_id=number, published=pb.Published(runs=[
                pb.PublishedRun(first_index=0, count=1, first_offset=5)]))
            for byte in frame(answer.SerializeToString()):
                peer.raw(bytes([byte]))
            peer.until_closed()
        self.assertEqual(self.psctl(Fake(self, play), "pub", "t", "hello").out, b"5\n")

    def test_another_log_after_a_reconnect(self):
        """Offsets of another log are not those that were seen: the subscriber says so and ends."""
        def first(peer):
            peer.welcome()
            number = peer.expect("subscribe").request_id
            peer.send(request_id=number, subscribed=pb.Subscribed(subscription=1, mark=1, starts=[
                pb.TopicStart(topic=b"t", offset=0, head=1)]))
            peer.send(delivery=pb.Delivery(subscription=1, topic=b"t", messages=[
                pb.Message(offset=0, published_at=1, payload=b"seen")]))
            peer.send(goodbye=pb.Goodbye(reason=pb.Error(status=wire.DRAINING)))

        def second(peer):
            peer.log_id = b"another log 0002"
            peer.welcome()
            peer.until_closed()
        done = self.psctl(Fake(self, first, second), "sub", "t", "--from-beginning", code=None)
        self.assertNotEqual(done.code, 0)
        self.assertEqual(done.out, b"seen\n")
        self.assertIn("log", done.err)

    def test_a_durable_acknowledgement_that_nobody_answers(self):
        """Printed and not known to be acknowledged: exit 8 after a bounded wait."""
        def play(peer):
            peer.welcome()
            number = peer.expect("subscribe").request_id
            peer.send(request_id=number, subscribed=pb.Subscribed(subscription=1, mark=1, created=True, generation=1))
            peer.send(delivery=pb.Delivery(subscription=1, topic=b"t", messages=[
                pb.Message(offset=0, published_at=1, payload=b"x")]))
            peer.until_closed()
        done = self.psctl(Fake(self, play), "sub", "t", "-i", "s1", "--count", "1", code=8)
        self.assertEqual(done.out, b"x\n")

    def test_duplicates_are_not_printed(self):
        def play(peer):
            peer.welcome()
            number = peer.expect("subscribe").request_id
            peer.send(request_id=number, subscribed=pb.Subscribed(subscription=1, mark=1, starts=[
                pb.TopicStart(topic=b"t", offset=0, head=2)]))
            for offset in (0, 0, 1):
                peer.send(delivery=pb.Delivery(subscription=1, topic=b"t", messages=[
                    pb.Message(offset=offset, published_at=1, payload=b"%d" % offset)]))
            peer.send(subscription_ended=pb.SubscriptionEnded(subscription=1, reason=pb.Error(status=wire.END_REACHED)))
            peer.until_closed()
        done = self.psctl(Fake(self, play), "sub", "t", "--from-beginning", "--exit-at-end",
                          "--no-reconnect", code=None)
        self.assertIn(done.out, (b"0\n1\n", b"0\n"))


if __name__ == "__main__":
    tap.main()
