"""A log that ends early is refused by name, whatever became of the WAL of a killed broker, and can be accepted."""
import os

import tap

from psbroker_test import Case

FRAME = 24 + 16384


class EndsEarly(Case):
    def killed(self, *arguments):
        """The directory of a broker that was killed; everything it acknowledged is in the WAL."""
        server = self.broker(*arguments)
        for number in range(5):
            self.pub(server, "A", *range(20 * number, 20 * number + 20))
        server.kill()
        return server

    def refused(self, *words):
        process = self.broker_fails()
        self.assertEqual(process.wait(), 5, process.err)
        self.assertEqual(process.out, b"")
        for word in (*words, "acknowledged", "--accept-loss"):
            self.assertIn(word, process.err)

    def test_a_removed_wal(self):
        server = self.killed()
        os.unlink(server.database + "-wal")
        self.refused("messages with seq 1 to 100 (100 messages)")

    def test_a_wal_cut_short(self):
        server = self.killed()
        os.truncate(server.database + "-wal", os.path.getsize(server.database + "-wal") - FRAME)
        self.refused("to 100 (")

    def test_one_bit_flipped_in_the_wal(self):
        server = self.killed()
        with open(server.database + "-wal", "r+b") as wal:
            wal.seek(-FRAME, os.SEEK_END)
            byte = wal.read(1)[0]
            wal.seek(-FRAME, os.SEEK_END)
            wal.write(bytes([byte ^ 1]))
        self.refused("to 100 (")

    def test_a_loss_is_accepted_once_and_clients_are_told(self):
        server = self.killed()
        log_id = self.info(server := self.broker())["log_id"]
        self.pub(server, "A", *range(100, 110))
        subscriber = self.start(server, "sub", "A", "--from-beginning")
        subscriber.stdout.wait_lines(110)
        port = server.port
        server.kill()
        os.truncate(server.database + "-wal", 0)
        self.refused("messages with seq 101 to 110 (10 messages)")
        server = self.broker("--accept-loss", listen=(f"127.0.0.1:{port}",))
        self.assertIn("event=loss_accepted", server.err)
        # The subscriber saw offsets 100 to 109, which others get now: it is not led on.
        self.assertEqual(subscriber.wait(), 5, subscriber.err)
        self.assertIn("log", subscriber.err)
        info = self.info(server)
        self.assertNotEqual(info["log_id"], log_id)
        self.assertEqual(info["mark"], 111)
        self.assertEqual(self.pub(server, "A", "after"), [100])
        self.assertEqual(server.terminate(), 0)
        server = self.broker()
        self.assertNotIn("head_", server.err)
        self.assertEqual(self.history(server, "A"), [b"%d" % n for n in range(100)] + [b"after"])

    def test_it_is_0600_and_a_missing_one_is_only_a_warning(self):
        server = self.killed()
        head = os.path.join(server.data, "psbroker.head")
        self.assertEqual(os.stat(head).st_mode & 0o777, 0o600)
        os.unlink(head)
        server = self.broker()
        self.assertIn("event=head_missing", server.err)
        self.assertEqual(len(self.history(server, "A")), 100)


if __name__ == "__main__":
    tap.main()
