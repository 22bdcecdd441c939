"""How fast a million lines of 100 bytes go in and come out, with psctl, durable all the way.

    MESSAGES=1000000 RUNS=3 throughput.py

Each run has a fresh broker on a fresh directory. Prints one table with the medians, and fails when they miss
the targets, when the output is not the input byte for byte, or when a program's peak memory is too large.
"""
import filecmp
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from own_broker import own_broker
from psbroker_test import PSCTL

MESSAGES = int(os.environ.get("MESSAGES", "1000000"))
RUNS = int(os.environ.get("RUNS", "3"))
TARGETS = {"pub": 5.0, "sub": 3.0}
MEMORY_BOUND = 200 * 1000 * 1000


def timed(arguments, env, stdin, stdout):
    """Runs psctl; (seconds, peak bytes)."""
    with open(stdin, "rb") as source, open(stdout, "wb") as sink:
        begin = time.monotonic()
        process = subprocess.Popen([PSCTL, *arguments], stdin=source, stdout=sink, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"psctl {' '.join(arguments)} ended with {process.returncode}")
    return seconds, usage.ru_maxrss * 1024


def run(place, lines):
    with own_broker() as broker:
        env = {**os.environ, "PSCTL_HOST": "127.0.0.1", "PSCTL_PORT": str(broker.port)}
        answers, copy = os.path.join(place, "offsets"), os.path.join(place, "copy")
        pub = timed(["pub", "B", "--lines", "-"], env, lines, answers)
        sub = timed(["sub", "B", "--from-offset", "0", "--exit-at-end"], env, "/dev/null", copy)
        peak = broker.peak_memory()
        if not filecmp.cmp(lines, copy, shallow=False):
            sys.exit("the output is not the input")
        with open(answers, "rb") as file:
            if any(int(line) != number for number, line in enumerate(file)):
                sys.exit("the offsets are not 0, 1, 2, …")
    return {"pub": pub, "sub": sub, "broker": peak}


def main():
    place = tempfile.mkdtemp(prefix="psbroker-bench.")
    try:
        lines = os.path.join(place, "lines")
        with open(lines, "wb", buffering=1 << 20) as file:
            for number in range(MESSAGES):
                file.write(b"%09d %s\n" % (number, b"x" * 90))
        results = [run(place, lines) for _ in range(RUNS)]
    finally:
        shutil.rmtree(place, ignore_errors=True)
    good = True
    print(f"{MESSAGES} messages of 100 bytes, {RUNS} runs, output equal to input byte for byte")
    print(f"{'':14}{'median':>9}{'runs':>26}{'messages/s':>13}{'target':>9}{'peak memory':>14}")
    for what in ("pub", "sub"):
        times = [result[what][0] for result in results]
        median, peak = statistics.median(times), max(result[what][1] for result in results)
        target = TARGETS[what] * MESSAGES / 1000000
        good = good and median <= target and peak < MEMORY_BOUND
        each = " ".join(f"{seconds:.2f}" for seconds in times)
        print(f"psctl {what:8}{median:7.2f} s{each:>26}{MESSAGES / median:13,.0f}{target:7.2f} s{peak / 1e6:11.1f} MB")
    peak = max(result["broker"] for result in results)
    good = good and peak < MEMORY_BOUND
    print(f"{'psbroker':14}{'':57}{peak / 1e6:11.1f} MB")
    sys.exit(0 if good else 1)


main()
