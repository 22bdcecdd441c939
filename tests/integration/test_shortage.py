"""Shortages: descriptors, a disk that fails in the middle, clients that take without reading."""
import resource
import socket

import tap
from wire import Closed, Refused, Wire, pb

from psbroker_test import Case, wait_until


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def small_files():
    """Writes beyond 3 MiB fail with EFBIG, as on a disk that gives up."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))


def sanitized(server):
    with open(f"/proc/{server.pid}/maps", encoding="ascii") as maps:
        return "libasan" in maps.read()


class Descriptors(Case):
    def test_more_connections_than_descriptors(self):
        server = self.broker(preexec=few_descriptors)
        working = Wire(server.port)
        self.addCleanup(working.close)
        crowd = []
        for _ in range(200):
            crowd.append(socket.create_connection(("127.0.0.1", server.port), 30))
        self.assertEqual(working.publish("t", "x")[0].first_offset, 0)
        for connection in crowd:
            connection.close()
        self.assertEqual(self.pub(server, "t", "y"), [1])
        self.assertEqual(server.terminate(), 0, server.err)

    def test_a_limit_of_connections(self):
        server = self.broker("--max-connections", "3")
        holders = [Wire(server.port) for _ in range(3)]
        extra = Wire(server.port, hello=False)
        self.addCleanup(extra.close)
        for holder in holders:
            self.addCleanup(holder.close)
            holder.request(ping=pb.Ping())
        holders[0].close()
        # either told to go away, or served once there is room: never left hanging
        try:
            extra.hello()
        except (Closed, Refused, OSError):
            self.run_psctl(server, "ping")


class FailingDisk(Case):
    def test_a_failed_commit_is_unknown_or_refused_and_nothing_acknowledged_is_lost(self):
        server = self.broker(preexec=small_files)
        lines = [b"%d %s" % (number, b"x" * 1000) for number in range(20000)]
        done = self.run_psctl(server, "pub", "t", "--lines", "-", stdin=b"\n".join(lines), code=None)
        self.assertIn(done.code, (1, 6, 8), done.err)
        acknowledged = done.out.count(b"\n")
        self.assertLess(acknowledged, len(lines))
        if done.code == 6:
            self.assertEqual(server.terminate(), 0, server.err)
        else:
            self.assertEqual(server.wait(), 6, server.err)
        stored = self.history(self.broker(), "t")
        self.assertGreaterEqual(len(stored), acknowledged)
        self.assertEqual(stored, lines[:len(stored)])


class Greedy(Case):
    """Clients that ask and do not read cost a bounded amount, and nobody else anything."""

    def flood(self, server, make, count):
        client = Wire(server.port)
        self.addCleanup(client.close)
        client.socket.settimeout(0.5)
        try:
            for index in range(count):
                client.send(make(client.request_id(), index))
        except OSError:
            pass  # the broker stopped reading: that is the point
        return client

    def test_answers_that_nobody_reads(self):
        server = self.broker()
        with Wire(server.port) as client:
            number = client.request_id()
            client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(
                *[("many/%d/%s" % (index, "x" * 200), ["p"]) for index in range(2500)])))
            client.published(number, 2500)
        before = self.info(server)["memory_bytes"]
        for make in (lambda number, _: pb.ClientFrame(request_id=number, list_topics=pb.ListTopics()),
                     lambda number, _: pb.ClientFrame(request_id=number, list_subscriptions=pb.ListSubscriptions()),
                     lambda number, _: pb.ClientFrame(request_id=number, get_info=pb.GetInfo()),
                     lambda number, _: pb.ClientFrame(request_id=number, ping=pb.Ping(token=number)),
                     lambda number, _: pb.ClientFrame(request_id=number),
                     lambda number, _: pb.ClientFrame(request_id=number, publish=pb.Publish(batches=[
                         pb.PublishBatch(topic=b"+", messages=[pb.Message()])] * 100)),
                     lambda number, _: pb.ClientFrame(request_id=number, publish=pb.Publish(batches=[
                         pb.PublishBatch(topic=b"t", messages=[pb.Message(payload=b"x" * 100)])]))):
            client = self.flood(server, make, 20000)
            self.run_psctl(server, "ping")
            client.close()
        wait_until(lambda: self.info(server)["connections"] == 1, "the greedy to be gone")
        if not sanitized(server):  # which keeps freed memory for a while
            self.assertLess(self.info(server)["memory_bytes"] - before, 150 << 20)
        self.assertEqual(server.terminate(), 0, server.err)

    def test_publishing_without_reading_answers(self):
        server = self.broker()
        client = self.flood(server, lambda number, _: pb.ClientFrame(request_id=number, publish=pb.Publish(batches=[
            pb.PublishBatch(topic=b"t", messages=[pb.Message(payload=b"x" * 1000)] * 100)])), 2000)
        self.assertEqual(self.pub(server, "u", "others are served"), [0])
        client.close()
        self.assertEqual(server.terminate(), 0, server.err)


if __name__ == "__main__":
    tap.main()
