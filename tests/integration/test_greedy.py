"""Clients that ask for much and take little: what they cost is bounded, and the others are served meanwhile."""
import signal

import tap
import wire
from wire import Wire, frame, pb

from psbroker_test import Case, wait_until

DELIVERY = 256 << 10  # handed to one socket at a time


class Greedy(Case):
    def setUp(self):
        super().setUp()
        self.server = self.broker()
        self.other = self.connect()

    def connect(self):
        client = Wire(self.server.port)
        self.addCleanup(client.close)
        return client

    def make_topics(self, count, name):
        publish = self.other.publish_frame(*[(name % i, ["x"]) for i in range(count)])
        number = self.other.request_id()
        self.other.send(pb.ClientFrame(request_id=number, publish=publish))
        self.other.published(number, count)

    def stopped(self):
        """The broker stands still, as the kernel knows it."""
        self.server.signal(signal.SIGSTOP)
        stat = f"/proc/{self.server.pid}/stat"
        wait_until(lambda: open(stat, encoding="ascii").read().rpartition(")")[2].split()[0] == "T", "the stop")

    def test_small_requests_with_large_answers_wait_for_their_reader(self):
        self.make_topics(200, "t/%0200d")
        client = self.connect()
        request = frame(pb.ClientFrame(request_id=1, list_topics=pb.ListTopics()).SerializeToString())
        client.raw(request * (64 * 1024 // len(request)))
        # Whatever was read of them by the second answer of the other one, was read in one go.
        for _ in range(2):
            queued = self.other.info().queued_bytes
            self.assertLess(queued, client.welcome.limits.max_frame + 3 * DELIVERY)
        for _ in range(100):
            self.assertEqual(len(client.receive().topic_list.topics), 200)

    def test_a_buffer_full_of_work_does_not_hold_the_others(self):
        self.make_topics(4000, "t/%d/x")
        work = frame(pb.ClientFrame(request_id=1, list_topics=pb.ListTopics(filter=b"+/+/y")).SerializeToString())
        end = frame(pb.ClientFrame(request_id=2, subscribe=pb.Subscribe(filter=b"end")).SerializeToString())
        client = self.connect()
        self.stopped()
        client.raw(work * 4000 + end)
        number = self.other.request_id()
        self.other.send(pb.ClientFrame(request_id=number, get_info=pb.GetInfo()))
        self.server.signal(signal.SIGCONT)
        # Asked before the work was done, answered before it was done.
        self.assertEqual(self.other.answer(number).info.subscriptions, 0)
        client.answer(2)
        self.assertEqual(self.other.info().subscriptions, 1)


if __name__ == "__main__":
    tap.main()
