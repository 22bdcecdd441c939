"""Floods (floods*.py), a few rounds of each on one broker.

With sanitizers one round: memory is not judged, since they keep what was freed. The optimized build does that.

    ROUNDS=20 test_floods.py Descriptors
"""
import os
import random
import subprocess
import sys

import flood_site
import floods
import floods_readers
import floods_unread
import tap

from psbroker_test import Case


class Floods(Case):
    def flood(self, flood):
        seed = int(os.environ.get("PSBROKER_SEED") or random.SystemRandom().randrange(1 << 32))
        print(f"# seed {seed}")
        site = flood_site.Site(flood, self.dir, seed)
        self.addCleanup(site.end)
        rounds = 1 if site.sanitized else flood.rounds
        for _ in range(int(os.environ.get("ROUNDS") or rounds)):
            site.round()
        site.finish()
        memory = ", ".join(f"{resident / flood_site.MIB:.1f}" for resident, _ in site.rounds)
        print(f"# {site.faults} faults, {site.acknowledged} acknowledged messages, MiB after each round: {memory}")

    def test_descriptors(self):
        self.flood(floods.Descriptors())

    def test_stopped_and_resumed(self):
        self.flood(floods_readers.StoppedAndResumed())

    def test_long_readers(self):
        self.flood(floods_readers.LongReaders())

    def test_half_open(self):
        self.flood(floods_unread.HalfOpen())

    def test_link_down(self):
        """The same in a network of its own, where that takes no further rights."""
        alone = ["unshare", "-rn"]
        if subprocess.run([*alone, "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            self.skipTest("no network namespaces for us here")
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "link_down.py")
        done = subprocess.run([*alone, sys.executable, program], capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_slow_senders(self):
        self.flood(floods.SlowSenders())

    def test_unauthenticated(self):
        self.flood(floods.Unauthenticated())

    def test_decode_bombs(self):
        self.flood(floods.DecodeBombs())

    def test_stopped_consumers(self):
        self.flood(floods_unread.StoppedConsumers())

    def test_topics(self):
        self.flood(floods.Topics())

    def test_large_frames(self):
        self.flood(floods.LargeFrames())

    def test_unread_replies(self):
        self.flood(floods_unread.UnreadReplies())


if __name__ == "__main__":
    tap.main()
