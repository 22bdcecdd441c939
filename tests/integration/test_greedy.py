"""Clients that ask for much and take little: what they cost is bounded, and the others are served meanwhile."""
import os
import signal

import tap
import wire
from wire import Wire, frame, pb

from psbroker_test import Case, wait_until

DELIVERY = 256 << 10  # handed to one socket at a time
UNSENT = 256 << 10    # left with the kernel for one socket


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

    def kernel_queue(self, client):
        """Bytes that the kernel holds for the broker's side of a connection: neither sent nor taken."""
        port = client.socket.getsockname()[1]
        with open("/proc/net/tcp", encoding="ascii") as connections:
            for line in connections:
                _, local, remote, _, queues, *_ = line.split()
                if local.endswith(f":{self.server.port:04X}") and remote.endswith(f":{port:04X}"):
                    return int(queues.partition(":")[0], 16)
        self.fail("the connection is not listed")

    def test_the_kernel_holds_little_for_a_reader_that_does_not_read(self):
        client = self.connect()
        client.subscribe("t")
        for _ in range(16):
            self.other.publish("t", *["x" * 1024] * 1000)
        self.assertGreater(self.kernel_queue(client), 0)
        self.assertLess(self.kernel_queue(client), 2 * UNSENT)

    def test_readers_of_history_come_behind_publishing(self):
        def niceness():
            threads = f"/proc/{self.server.pid}/task"
            return sorted(int(open(f"{threads}/{thread}/stat", encoding="ascii").read().rpartition(")")[2].split()[16])
                          for thread in os.listdir(threads))
        wait_until(lambda: niceness() == [0, 0, 0, 0, 5, 5], "loop, writer, log and stdout in front of two readers")

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
