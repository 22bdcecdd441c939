"""beside.py still runs: every crowd at a small size, figures of both sides. Nothing is timed."""
import json
import os
import subprocess
import sys

import tap

from psbroker_test import Case

BESIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "beside.py")


class Beside(Case):
    def beside(self, *arguments):
        done = subprocess.run([sys.executable, BESIDE, "--rounds", "1", "--seconds", "1", "--settle", "0", "--rate", "100", "--history",
                               "1000", "--directory", self.dir, *arguments], check=False, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(os.listdir(self.dir), [])
        return done.stdout

    def test_stopped(self):
        figures = json.loads(self.beside("--crowd", "stopped", "--count", "5", "--publisher", "--json"))
        self.assertEqual([len(side) for side in figures["p99_windows_ms"]], [1, 1])
        self.assertGreater(figures["largest_wal_mib"], 0)

    def test_slow_senders(self):
        figures = json.loads(self.beside("--crowd", "slow-senders", "--count", "6", "--json"))
        self.assertEqual(figures["count"], 6)

    def test_slow_readers(self):
        self.assertTrue(self.beside("--crowd", "slow-readers").startswith("| 1 that replays"))


if __name__ == "__main__":
    tap.main()
