#!/usr/bin/env python3
"""Lets every fuzz target search for SECONDS in all, two at a time, and prints what came of it.

Each target begins with its corpus (tests/fuzz/corpus/TARGET) and what earlier searches found (FOUND/TARGET). An input that
crashes, hangs or leaks is kept beside, with the command that runs it again; then the exit code is 1. --merge copies inputs that
reach something new into the corpus, fewest and smallest first.
"""
import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Longest input, and more for libFuzzer.
TARGETS = {
    "frame": ["-max_len=4096"],
    "topic": ["-max_len=600"],
    "codec": ["-max_len=4096"],
    "session": ["-max_len=1200"],
    "store": ["-max_len=129", "-len_control=0"],
}
COMMON = ["-timeout=20", "-rss_limit_mb=1024", "-print_final_stats=1"]


class Search:
    def __init__(self, target, build, found, seconds):
        self.target, self.seconds = target, seconds
        self.program = build / "tests" / "fuzz" / f"fuzz_{target}"
        self.corpus = HERE / "corpus" / target
        self.found = found / target
        self.crashes = found / f"{target}-crashes"
        self.runs = self.rate = self.coverage = 0
        self.new_crashes = []

    def run(self):
        self.found.mkdir(parents=True, exist_ok=True)
        self.crashes.mkdir(exist_ok=True)
        known = set(self.crashes.iterdir())
        command = [self.program, *TARGETS[self.target], *COMMON, f"-max_total_time={self.seconds}",
                   f"-artifact_prefix={self.crashes}/", self.found, self.corpus]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        text = done.stdout.decode(errors="replace")
        self.runs = last_number(text, r"number_of_executed_units:\s*(\d+)")
        self.rate = last_number(text, r"average_exec_per_sec:\s*(\d+)")
        self.coverage = last_number(text, r"cov: (\d+)")
        self.new_crashes = sorted(set(self.crashes.iterdir()) - known)
        if done.returncode != 0:
            print(f"\n== {self.target} ended with {done.returncode}:\n" + "\n".join(text.splitlines()[-40:]), flush=True)
        return done.returncode == 0 and not self.new_crashes

    def merge(self):
        subprocess.run([self.program, *TARGETS[self.target], "-set_cover_merge=1", "-use_counters=0", self.corpus, self.found],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def last_number(text, pattern):
    numbers = re.findall(pattern, text)
    return int(numbers[-1]) if numbers else 0


def print_table(searches):
    print(f"\n{'target':10}{'seconds':>9}{'runs':>13}{'runs/s':>9}{'coverage':>10}{'crashes':>9}")
    for search in searches:
        print(f"{search.target:10}{search.seconds:>9}{search.runs:>13,}{search.rate:>9,}{search.coverage:>10,}"
              f"{len(search.new_crashes):>9}")
    for search in searches:
        for crash in search.new_crashes:
            print(f"\nrun it again: {search.program} {crash}")


def main():
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", metavar="SECONDS", type=int, help="of the clock, for all targets together")
    parser.add_argument("--build", type=Path, default=Path("build-fuzz"), help="build directory made with clang")
    parser.add_argument("--found", type=Path, metavar="FOUND", help="where findings are kept (BUILD/found)")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be given again")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time (2)")
    parser.add_argument("--merge", action="store_true", help="afterwards, copy what reaches something new into the corpus")
    options = parser.parse_args()
    targets = options.target or list(TARGETS)
    jobs = min(options.jobs, len(targets))
    share = max(1, options.seconds * jobs // len(targets))
    found = (options.found or options.build / "found").resolve()
    searches = [Search(target, options.build.resolve(), found, share) for target in targets]
    with ThreadPoolExecutor(jobs) as pool:
        sound = list(pool.map(Search.run, searches))
    print_table(searches)
    if options.merge:
        for search in searches:
            search.merge()
    return 0 if all(sound) else 1


if __name__ == "__main__":
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1")
    sys.exit(main())
