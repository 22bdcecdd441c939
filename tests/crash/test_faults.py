"""A turn of a second of each fault that has no test of its own in each run: backup, cut WAL, lost answers, a soak.

    SEED=number test_faults.py
"""
import os
import random
import unittest

import tap

import faults_copies
import faults_network
import faults_soak
from fault import Builds

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
BUILD = os.environ["BUILD"]


class Faults(unittest.TestCase):
    def turn(self, run):
        outcome = run(Builds(BUILD, BUILD), SEED, 1)
        self.assertEqual(outcome.violations, [], f"seed {SEED}")
        self.assertGreater(outcome.injected, 0)
        self.assertGreater(outcome.acknowledged, 0)

    def test_backup(self):
        self.turn(faults_copies.backup)

    def test_cut_wal(self):
        self.turn(faults_copies.cut_wals)

    def test_lost_answers(self):
        self.turn(faults_network.lost_answers)

    def test_soak(self):
        self.turn(faults_soak.soak)


if __name__ == "__main__":
    tap.main()
