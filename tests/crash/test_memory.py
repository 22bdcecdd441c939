"""Memory and WAL stay bounded whatever subscribers do. For the optimized build: sanitizers cost memory.

    MESSAGES=1000000 test_memory.py
"""
import os
import subprocess
import threading

import tap
import wire
from wire import Wire

from psbroker_test import PSCTL, Case, wait_until

MESSAGES = int(os.environ.get("MESSAGES", "1000000"))
SIZE = 1024
MEGABYTE = 1 << 20
MEMORY_BOUND = 200 * 1000 * 1000
WAL_BOUND = 64 * MEGABYTE
READERS = 4


class Memory(Case):
    def lines(self, count):
        """A file of `count` different lines of SIZE bytes each (and a newline)."""
        path = self.path("input")
        filler = b"x" * (SIZE - 10)
        with open(path, "wb", buffering=1 << 20) as file:
            for number in range(count):
                file.write(b"%09d %s\n" % (number, filler))
        return path

    def compared_subscriber(self, server, path, *arguments):
        """psctl sub whose output is compared with a file as it comes; (psctl, cmp)."""
        subscriber = subprocess.Popen([PSCTL, "sub", "t", "--from-beginning", *arguments], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, env=self.environment(server))
        compare = subprocess.Popen(["cmp", "-", path], stdin=subscriber.stdout)
        subscriber.stdout.close()
        for process in (subscriber, compare):
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
        return subscriber, compare

    def publish(self, server, path):
        self.run_psctl(server, "pub", "t", "--lines", "-q", "--file", path, limit=600)

    def test_a_stopped_subscriber_costs_nobody_anything(self):
        path = self.lines(MESSAGES)
        server = self.broker()
        stopped, stopped_compare = self.compared_subscriber(server, path, "--count", str(MESSAGES))
        self.wait_attached(server, 1)
        stopped.send_signal(19)  # SIGSTOP
        second, second_compare = self.compared_subscriber(server, path, "--count", str(MESSAGES))
        self.wait_attached(server, 2)
        self.publish(server, path)
        self.assertEqual(second.wait(600), 0)
        self.assertEqual(second_compare.wait(600), 0)
        peak = server.peak_memory()
        print(f"# broker's peak memory beside a stopped subscriber: {peak / 1e6:.1f} MB")
        self.assertLess(peak, MEMORY_BOUND)
        stopped.send_signal(18)  # SIGCONT
        self.assertEqual(stopped.wait(600), 0)
        self.assertEqual(stopped_compare.wait(600), 0)
        peak = server.peak_memory()
        print(f"# and after it caught up: {peak / 1e6:.1f} MB")
        self.assertLess(peak, MEMORY_BOUND)
        self.assertEqual(server.terminate(), 0)

    def test_a_reader_with_endless_credit_that_does_not_read(self):
        """psctl limits itself by credit; this one leaves all limits to the broker."""
        path = self.lines(MESSAGES)
        server = self.broker()
        client = Wire(server.port, limit=600)
        self.addCleanup(client.close)
        subscribed = client.subscribe("t", start=wire.BEGINNING)
        self.publish(server, path)
        peak = server.peak_memory()
        print(f"# broker's peak memory beside a reader that does not read: {peak / 1e6:.1f} MB")
        self.assertLess(peak, MEMORY_BOUND)
        offset = 0
        while offset < MESSAGES:
            delivery = client.next("delivery").delivery
            self.assertEqual(delivery.subscription, subscribed.subscription)
            for message in delivery.messages:
                self.assertEqual(message.offset, offset)
                self.assertEqual(message.payload[:9], b"%09d" % offset)
                offset += 1
        self.assertLess(server.peak_memory(), MEMORY_BOUND)
        client.close()
        self.assertEqual(server.terminate(), 0)

    def test_the_wal_stays_bounded_under_continuous_readers(self):
        path = self.lines(MESSAGES // 2)
        server = self.broker()
        self.run_psctl(server, "pub", "t", "first")
        over, reads, failures = threading.Event(), [0] * READERS, []

        def read(index):
            while not over.is_set():
                done = subprocess.run([PSCTL, "sub", "t", "--from-beginning", "--exit-at-end"], check=False,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      env=self.environment(server))
                if done.returncode != 0:
                    failures.append(done.returncode)
                    return
                reads[index] += 1

        readers = [threading.Thread(target=read, args=(index,)) for index in range(READERS)]
        for reader in readers:
            reader.start()
        wal, biggest = server.database + "-wal", 0
        publisher = self.start(server, "pub", "t", "--lines", "-q", "--file", path)
        while publisher.running():
            biggest = max(biggest, os.path.getsize(wal))
            over.wait(0.05)
        self.assertEqual(publisher.wait(), 0, publisher.err)
        biggest = max(biggest, os.path.getsize(wal))
        over.set()
        for reader in readers:
            reader.join()
        print(f"# largest WAL beside {READERS} readers ({sum(reads)} whole reads): {biggest / MEGABYTE:.1f} MiB")
        self.assertEqual(failures, [])
        self.assertLess(biggest, WAL_BOUND)
        self.assertLess(server.peak_memory(), MEMORY_BOUND)
        self.assertEqual(server.terminate(), 0)

    def test_many_stopped_subscribers(self):
        """Each holds what its socket and its share of the broker's memory hold, not what it misses."""
        count = MESSAGES // 20
        path = self.lines(count)
        server = self.broker()
        stopped = []
        for _ in range(30):
            subscriber, compare = self.compared_subscriber(server, path, "--count", str(count))
            stopped.append((subscriber, compare))
        wait_until(lambda: self.info(server)["subscriptions"] == len(stopped), "all subscribers")
        for subscriber, _ in stopped:
            subscriber.send_signal(19)
        self.publish(server, path)
        for subscriber, _ in stopped:
            subscriber.send_signal(18)
        for subscriber, compare in stopped:
            self.assertEqual(subscriber.wait(600), 0)
            self.assertEqual(compare.wait(600), 0)
        peak = server.peak_memory()
        print(f"# broker's peak memory beside {len(stopped)} stopped subscribers: {peak / 1e6:.1f} MB")
        self.assertLess(peak, MEMORY_BOUND)
        self.assertEqual(server.terminate(), 0)


if __name__ == "__main__":
    tap.main()
