"""SIGKILL at each labelled point of the source, once; everything is checked after each.

    SEED=number test_failpoints.py
"""
import os
import random
import shutil
import tempfile
import unittest

import failpoints
import tap

from psbroker_test import PSBROKER
from witness import Watched

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))


class Failpoints(unittest.TestCase):
    """One directory for all points; a case for each, in the order of `failpoints.names()`."""

    @classmethod
    def setUpClass(cls):
        print(f"# seed {SEED}")
        cls.place = tempfile.mkdtemp(prefix="psbroker-test.")
        cls.killed = failpoints.Killed(Watched(cls.place, SEED, os.environ["WITNESS"], PSBROKER, publishers=3, topics=200,
                                               cursors=1, live=0))

    @classmethod
    def tearDownClass(cls):
        cls.killed.watched.close()
        shutil.rmtree(cls.place)

    def kill_at(self, name):
        """What a start passes too is passed again, until it is under load."""
        watched = self.killed.watched
        number = 1
        while True:
            self.assertTrue(self.killed.kill_at(name, number), f"it was passed less than {number} times; seed {SEED}")
            self.assertEqual(watched.violations + watched.witness.violations, [], f"seed {SEED}")
            if self.killed.served or name in failpoints.STARTING:
                break
            number *= 4

    def test_the_names_are_found(self):
        self.assertGreater(len(failpoints.names()), 10)

    def test_zz_what_is_left_is_whole(self):
        watched = self.killed.watched
        watched.start()
        watched.broker.terminate()
        watched.witness.check_file(os.path.join(watched.data, "psbroker.db"))
        self.assertEqual(watched.witness.violations, [], f"seed {SEED}")
        print(f"# {watched.witness.totals}")


for index, point in enumerate(failpoints.names()):
    def case(self, point=point):
        self.kill_at(point)
    setattr(Failpoints, f"test_{index:02}_{point}", case)


if __name__ == "__main__":
    tap.main()
