"""Inputs made at random of the corpora of the fuzz targets: bytes, sessions, damaged files. See fuzz/README.md."""
import os

from fault import Fault, Outcome, Place, run_program

CORPUS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fuzz", "corpus")
# Inputs a second, about, under the sanitizers.
RATES = {"frame": 500, "codec": 1500, "topic": 1500, "session": 300, "store": 10}


def made_inputs(builds, target, seed, seconds):
    with Place() as place:
        keep = os.path.join(place.path, f"{target}-{seed}")
        runs = max(1, int(seconds * RATES[target]))
        outcome = run_program([builds.test("fuzz", f"replay_{target}", asan=True), os.path.join(CORPUS, target), str(runs),
                               str(seed), keep], seed)
        if outcome.violations:
            place.keep = True
            outcome.violations.append(f"the input is in {keep}")
        return outcome


def garbage(builds, seed, seconds):
    outcome = Outcome()
    for target in ("frame", "codec", "topic"):
        outcome.add(made_inputs(builds, target, seed, seconds / 3))
    return outcome


def sessions(builds, seed, seconds):
    return made_inputs(builds, "session", seed, seconds)


def damaged_stores(builds, seed, seconds):
    return made_inputs(builds, "store", seed, seconds)


FAULTS = [
    Fault("garbage", "16", "garbage and truncated frames", garbage),
    Fault("sessions", "17", "sessions of valid and invalid frames in any order", sessions),
    Fault("damaged-store", "9", "files of a small store flipped, cut, misplaced, aged", damaged_stores),
]
