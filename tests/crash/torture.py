"""Faults at random until the time is over, and a table of what was injected, checked and found.

    ./dev torture 60                            an hour
    ./dev torture 1 --fault kill                one fault for a minute
    ./dev torture 1 --fault kill --seed 12345   one turn of it with this seed, as a failed one names it
    ./dev torture 20 --json FILE                again and again: the table grows in FILE
    ./dev torture 0 --json FILE                 only the table
    ./dev torture 600 --fault soak --turn 36000 one turn of ten hours

Each turn draws a seed, gives it to one fault and prints a line. The fault that had the least of the time takes the
next turn, so that every row grows; those that have not yet happened often enough come first. A turn with violations
leaves its files in place and says how to repeat it; the others go on, and the exit code is 1 in the end.
"""
import argparse
import dataclasses
import json
import os
import random
import subprocess
import sys
import time

import faults_clock
import faults_copies
import faults_disk
import faults_floods
import faults_fuzz
import faults_kill
import faults_network
import faults_soak
import faults_sweep
from fault import Builds, Outcome

# One entry for each fault. Others: a module faults_NAME.py with a list FAULTS, added here.
FAULTS = [*faults_kill.FAULTS, *faults_copies.FAULTS, *faults_network.FAULTS, *faults_sweep.FAULTS, *faults_floods.FAULTS,
          *faults_fuzz.FAULTS, *faults_clock.FAULTS, *faults_disk.FAULTS, *faults_soak.FAULTS]


@dataclasses.dataclass
class Row:
    """What one fault has come to."""
    fault: object
    turns: int = 0
    seconds: float = 0
    injected: int = 0
    acknowledged: int = 0
    violations: int = 0
    failed: list = dataclasses.field(default_factory=list)  # seeds

    def add(self, outcome, seconds, seed):
        self.turns += 1
        self.seconds += seconds
        self.injected += outcome.injected
        self.acknowledged += outcome.acknowledged
        self.violations += len(outcome.violations)
        if outcome.violations:
            self.failed.append(seed)

    def go_on(self, figures):
        """With what an earlier run came to."""
        for name in ("turns", "seconds", "injected", "acknowledged", "violations"):
            setattr(self, name, getattr(self, name) + figures[name])
        self.failed += figures["failed_seeds"]

    def figures(self):
        return {"fault": self.fault.name, "row": self.fault.row, "turns": self.turns, "seconds": round(self.seconds, 1),
                "injected": self.injected, "acknowledged": self.acknowledged, "violations": self.violations,
                "failed_seeds": self.failed}


def turn(row, builds, seed, seconds):
    began = time.monotonic()
    try:
        outcome = row.fault.run(builds, seed, seconds)
    except Exception as error:  # a fault that cannot be carried out is a violation of its own
        outcome = Outcome(violations=[f"the turn did not end: {type(error).__name__}: {error}"])
    took = time.monotonic() - began
    row.add(outcome, took, seed)
    print(f"{row.fault.name}: seed {seed}, {took:.1f} s, {outcome.injected} injected, "
          f"{outcome.acknowledged} acknowledged messages checked, {len(outcome.violations)} violations", flush=True)
    for line in outcome.notes + outcome.violations[:20]:
        print(f"    {line}")
    if outcome.violations:
        print(f"    again: ./dev torture 1 --fault {row.fault.name} --seed {seed}", flush=True)


def behind(rows):
    """The row that had the least time for its share, of those that need more first."""
    return min(rows, key=lambda row: (row.injected >= row.fault.least, row.seconds / row.fault.share, random.random()))


def table(rows):
    total = Row(None)
    for row in rows:
        total.turns += row.turns
        total.injected += row.injected
        total.acknowledged += row.acknowledged
        total.violations += row.violations
    lines = ["| fault | row | times injected | acknowledged messages checked | violations |", "|---|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {row.fault.text} (`{row.fault.name}`) | {row.fault.row} | {row.injected:,} | "
                     f"{row.acknowledged:,} | {row.violations} |")
    lines.append(f"| all | | {total.injected:,} | {total.acknowledged:,} | {total.violations} |")
    return "\n".join(lines)


def revision():
    done = subprocess.run(["git", "-C", os.path.dirname(os.path.abspath(__file__)), "describe", "--always", "--dirty"],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


class Runs:
    """What several runs came to, each with its revision, in a file that is whole at any moment."""

    def __init__(self, path, rows):
        self.path = path
        self.rows = rows
        self.earlier = {"runs": [], "faults": []}
        if path and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.earlier = json.load(file)
        for figures in self.earlier["faults"]:
            for row in rows:
                if row.fault.name == figures["fault"]:
                    row.go_on(figures)
        self.run = {"revision": revision(), "seconds": 0, "turns": 0}

    def runs(self):
        return self.earlier["runs"] + [self.run] * (self.run["turns"] > 0)

    def save(self, seconds):
        self.run["seconds"] = round(seconds)
        self.run["turns"] += 1
        names = [row.fault.name for row in self.rows]
        others = [figures for figures in self.earlier["faults"] if figures["fault"] not in names]
        report = {"runs": self.runs(), "faults": [row.figures() for row in self.rows] + others}
        if self.path:
            write(self.path, report)

    def describe(self):
        seconds = {}
        for run in self.runs():
            seconds[run["revision"]] = seconds.get(run["revision"], 0) + run["seconds"]
        return ", ".join(f"{taken / 60:.1f} minutes of revision {name}" for name, taken in seconds.items())


def write(path, report):
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")
    os.replace(path + ".part", path)


def arguments():
    parser = argparse.ArgumentParser(prog="./dev torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, nargs="?", default=60, help="how long (60)")
    parser.add_argument("--fault", action="append", metavar="NAME", help="only this one; may be given several times")
    parser.add_argument("--seed", type=int, help="one turn of each chosen fault with this seed")
    parser.add_argument("--turn", type=float, default=20, metavar="SECONDS", help="how long a turn is, about (20)")
    parser.add_argument("--json", metavar="FILE", help="the figures, written after each turn; if it is there, it is gone on with")
    parser.add_argument("--list", action="store_true", help="show the faults and end")
    parser.add_argument("--build", default="build", help="optimized build (build)")
    parser.add_argument("--asan", default="build-asan", help="build with sanitizers and failpoints (build-asan)")
    given = parser.parse_args()
    names = [fault.name for fault in FAULTS]
    for name in given.fault or []:
        if name not in names:
            parser.error(f"no fault {name}; there are {', '.join(names)}")
    return given


def main():
    given = arguments()
    if given.list:
        for fault in FAULTS:
            print(f"{fault.name:20} row {fault.row:<8} {fault.text}")
        return 0
    builds = Builds(os.path.abspath(given.build), os.path.abspath(given.asan))
    rows = [Row(fault) for fault in FAULTS if given.fault is None or fault.name in given.fault]
    runs = Runs(given.json, rows)
    began = time.monotonic()

    def one(row, seed, left):
        turn(row, builds, seed, max(1, min(given.turn * row.fault.turn, left)))
        runs.save(time.monotonic() - began)
    if given.seed is not None:
        for row in rows:
            one(row, given.seed, given.minutes * 60)
    else:
        chance = random.SystemRandom()
        while (left := given.minutes * 60 - (time.monotonic() - began)) > 0:
            one(behind(rows), chance.randrange(1 << 32), left)
    print(f"\n{table(rows)}\n\n{runs.describe()}")
    return 1 if any(row.violations for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
