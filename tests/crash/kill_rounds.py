"""SIGKILL at random moments under load; then: is everything still true?

    SEED=number ROUNDS=20 kill_rounds.py

A witness publishes to a thousand topics and deletes one now and then; two durable subscribers read and acknowledge. A
round counts when at least LEAST messages had been acknowledged since the last kill. After each round all of the log is
checked through the broker, in the end with sqlite3 too. The worst moments, which chance seldom hits, are those of
test_failpoints.py.
"""
import os
import random
import shutil
import tempfile
import time
import unittest

import tap
from witness import Watched

from psbroker_test import PSBROKER

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
ROUNDS = int(os.environ.get("ROUNDS", "20"))
LEAST = 1000    # acknowledged messages in a round that counts
LONGEST = 0.3   # seconds behind those, until the kill


class KillRounds(unittest.TestCase):
    """All rounds run before the first case; each case looks at what became of them."""

    @classmethod
    def setUpClass(cls):
        print(f"# seed {SEED}")
        place = tempfile.mkdtemp(prefix="psbroker-test.")
        cls.addClassCleanup(shutil.rmtree, place)
        cls.watched = Watched(place, SEED, os.environ["WITNESS"], PSBROKER, publishers=5, topics=1000, cursors=2, live=1)
        cls.addClassCleanup(cls.watched.close)
        cls.counted = 0
        cls.watched.start()
        for _ in range(ROUNDS):
            if not cls.problems():
                cls.counted += cls.round()
        cls.totals = cls.watched.witness.totals
        print(f"# {cls.counted} rounds, {cls.totals}, seed {SEED}")

    @classmethod
    def round(cls):
        def kill():
            time.sleep(LONGEST * cls.watched.chance.random())  # the random moment itself
            cls.watched.broker.signal(9)
        counts = cls.watched.load_until(LEAST, kill)
        cls.watched.expect_end(-9)
        cls.watched.check()
        return counts

    @classmethod
    def problems(cls):
        return cls.watched.violations + cls.watched.witness.violations

    def test_1_what_the_broker_said_holds(self):
        self.assertEqual(self.problems(), [], f"seed {SEED}")

    def test_2_enough_was_tried(self):
        self.assertEqual(self.counted, ROUNDS)
        self.assertGreaterEqual(self.totals["acknowledged"], ROUNDS * LEAST)

    def test_3_unknown_outcomes_were_among_them(self):
        self.assertGreater(self.totals["unknown"], 0)

    def test_4_a_clean_end_and_sqlite_alone(self):
        self.assertEqual(self.watched.broker.terminate(), 0, self.watched.broker.err[-2000:])
        self.watched.witness.check_file(self.watched.broker.database)
        self.assertEqual(self.problems(), [], f"seed {SEED}")


if __name__ == "__main__":
    tap.main()
