"""The clock of the wall jumps or stands still under a running broker: only the stamps of messages show it."""
import tap
from clock_shim import DAY, Clock
from wire import BEGINNING, Closed, Wire, pb

from psbroker_test import Case, wait_until


class ClockCase(Case):
    def setUp(self):
        super().setUp()
        self.clock = Clock(self.path("clock"))

    def shifted(self, *arguments):
        server = self.broker(*arguments, env=self.clock.environment())
        self.addCleanup(self.clock.set)
        return server

    def wire(self, server, **keywords):
        wire = Wire(server.port, **keywords)
        self.addCleanup(wire.close)
        return wire

    def follow(self, wire, topic, **options):
        return wire.subscribe(topic, start=BEGINNING, **options)

    def received(self, wire, count):
        messages = []
        while len(messages) < count:
            messages += wire.next("delivery").delivery.messages
        return messages


class Jumps(ClockCase):
    def test_stamps_never_fall_and_offsets_go_on(self):
        server = self.shifted()
        publisher, follower = self.wire(server), self.wire(server)
        self.follow(follower, "t")
        offsets = []
        for shift in (0, DAY, 0, -DAY, DAY + 1, 0):
            self.clock.set(shift)
            offsets += [run.first_offset for run in publisher.publish("t", f"at {shift}")]
        self.assertEqual(offsets, list(range(6)))
        live = self.received(follower, 6)
        later = self.wire(server)
        self.follow(later, "t")
        for messages in (live, self.received(later, 6)):
            self.assertEqual([message.offset for message in messages], list(range(6)))
            stamps = [message.published_at for message in messages]
            self.assertEqual(stamps, sorted(stamps))
            self.assertGreater(stamps[1] - stamps[0], (DAY - 3600) * 10**6, "the clock did not jump")
            self.assertEqual(stamps[1], stamps[2])
            self.assertEqual(stamps[2], stamps[3])
        self.assertIn("event=clock_behind", server.err)

    def test_a_clock_far_behind_at_the_start(self):
        server = self.shifted()
        self.wire(server).publish("t", "before")
        self.assertEqual(server.terminate(), 0, server.err)
        self.clock.set(-DAY)
        server = self.shifted()
        publisher = self.wire(server)
        self.assertEqual(publisher.publish("t", "behind")[0].first_offset, 1)
        self.follow(publisher, "t")
        stamps = [message.published_at for message in self.received(publisher, 2)]
        self.assertEqual(stamps[0], stamps[1])
        self.assertIn("event=clock_behind", server.err)


class Timers(ClockCase):
    """Each waits for an event that only a timer brings, under each kind of clock."""

    def clocks(self, server):
        yield server
        for shift in (DAY, -DAY):
            self.clock.set(shift)
            yield server
        self.clock.freeze()
        yield server

    def test_pings_go_on_and_who_answers_stays(self):
        server = self.shifted("--ping-interval", "100ms")
        lively = self.wire(server)
        for _ in self.clocks(server):
            for _ in range(5):
                ping = lively.receive()
                self.assertEqual(ping.WhichOneof("body"), "ping")
                lively.send(pb.ClientFrame(pong=pb.Pong(token=ping.ping.token)))
        self.assertEqual(lively.publish("t", "x")[0].first_offset, 0)

    def test_who_does_not_answer_is_given_up(self):
        server = self.shifted("--ping-interval", "100ms")
        for _ in self.clocks(server):
            kinds = [frame.WhichOneof("body") for frame in self.wire(server).closed()]
            self.assertEqual(kinds, ["ping", "error"])

    def test_the_deadline_for_hello_is_kept(self):
        server = self.shifted("--hello-timeout", "200ms")
        for _ in self.clocks(server):
            frames = self.wire(server, hello=False).closed()
            self.assertEqual(frames[0].error.status, 6)

    def test_acknowledgements_are_committed_in_time(self):
        server = self.shifted()
        publisher, durable, looking = self.wire(server), self.wire(server), self.wire(server)
        number = self.follow(durable, "t", durable_id=b"s").subscription
        committed = 0
        for _ in self.clocks(server):
            publisher.publish("t", "x")
            committed += len(self.received(durable, 1))
            durable.send(pb.ClientFrame(ack=pb.Ack(subscription=number, topic=b"t", next_offset=committed)))
            with self.database(server) as database:
                wait_until(lambda: database.execute("SELECT max(next_offset) FROM committed_offsets").fetchone()[0]
                           == committed, "the committed offset")

    def test_a_jump_ends_no_connection(self):
        server = self.shifted()
        idle = self.wire(server)
        for _ in self.clocks(server):
            try:
                self.assertEqual(idle.request(ping=pb.Ping(token=3)).pong.token, 3)
            except Closed:
                self.fail(f"closed by the clock: {server.err}")


if __name__ == "__main__":
    tap.main()
