"""Disks that are full and files that are damaged."""
import os
import sys

from fault import Fault, run_program

HERE = os.path.dirname(os.path.abspath(__file__))


def disk_full(builds, seed, seconds):
    return run_program([sys.executable, os.path.join(HERE, "test_disk_full.py"), "AtAnyMoment"], seed,
                       {"PSBROKER": builds.broker(), "PSCTL": builds.psctl(), "DISK_FULL_ROUNDS": str(int(seconds) + 1),
                        "PYTHONPATH": os.pathsep.join((os.path.join(HERE, "..", "lib"), builds.test("lib")))})


def bit_flips(builds, seed, seconds):
    return run_program([builds.test("crash", "test_bit_flip"), str(int(seconds * 5) + 1)], seed)


FAULTS = [
    Fault("disk-full", "7, 8", "a disk that is full: in commits, checkpoints and flushes of the index", disk_full),
    Fault("bit-flips", "9", "a bit flipped, or the end cut off, in database and WAL", bit_flips),
]
