"""Faults at random until the time is over, and a table of what was injected, checked and found.

    ./dev torture 60                            an hour
    ./dev torture 1 --fault kill                one fault for a minute
    ./dev torture 1 --fault kill --seed 12345   one turn of it with this seed, as a failed one names it

Each turn draws a seed, gives it to one fault and prints a line. The fault that had the least of the time takes the
next turn, so that every row grows. A turn with violations leaves its files in place and says how to repeat it; the
others go on, and the exit code is 1 in the end.
"""
import argparse
import dataclasses
import json
import os
import random
import sys
import time

import faults_clock
import faults_disk
import faults_floods
import faults_fuzz
import faults_kill
import faults_sweep
from fault import Builds, Outcome

# One entry for each fault. Others: a module faults_NAME.py with a list FAULTS, added here.
FAULTS = [*faults_kill.FAULTS, *faults_sweep.FAULTS, *faults_floods.FAULTS, *faults_fuzz.FAULTS, *faults_clock.FAULTS,
          *faults_disk.FAULTS]

SECONDS_A_TURN = 20


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
    for violation in outcome.violations[:20]:
        print(f"    {violation}")
    if outcome.violations:
        print(f"    again: ./dev torture 1 --fault {row.fault.name} --seed {seed}", flush=True)


def behind(rows):
    """The row that had the least time for its share."""
    return min(rows, key=lambda row: (row.seconds / row.fault.share, random.random()))


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


def save(path, rows, began):
    """Whole at any moment: a run that is stopped keeps what it has."""
    report = {"seconds": round(time.monotonic() - began), "faults": [row.figures() for row in rows]}
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")
    os.replace(path + ".part", path)


def arguments():
    parser = argparse.ArgumentParser(prog="./dev torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, nargs="?", default=60, help="how long (60)")
    parser.add_argument("--fault", action="append", metavar="NAME", help="only this one; may be given several times")
    parser.add_argument("--seed", type=int, help="one turn of each chosen fault with this seed")
    parser.add_argument("--json", metavar="FILE", help="the figures, written after each turn")
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
    began = time.monotonic()
    chance = random.SystemRandom()
    while rows:
        left = given.minutes * 60 - (time.monotonic() - began)
        if given.seed is None and left <= 0:
            break
        row = behind(rows)
        if given.seed is not None and row.turns > 0:
            break
        turn(row, builds, given.seed if given.seed is not None else chance.randrange(1 << 32),
             max(1, min(SECONDS_A_TURN, left)))
        if given.json:
            save(given.json, rows, began)
    print(f"\n{table(rows)}")
    return 1 if any(row.violations for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
