"""Copies of a log under load: backups with somebody killed half-way, and what a kill left with an end of its WAL missing."""
import os
import re
import shutil
import subprocess
import time

from fault import Fault
from faults_kill import LEAST, rounds
from psbroker_test import Process, wait_until

REFUSED = 5  # exit code of a broker that misses what was acknowledged


# ------------------------------------------------------------------------------------------------- backup

def verify(watched, path):
    done = subprocess.run([watched.program, "verify", path], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        watched.complain(f"psbroker verify {path}: {done.returncode} {done.stdout[-500:]} {done.stderr[-500:]}")


def restore(watched, path):
    """A broker on the backup has what was acknowledged before the backup began."""
    data = os.path.join(watched.directory, "restored")
    os.mkdir(data, 0o700)
    shutil.copy(path, os.path.join(data, "psbroker.db"))
    watched.check_copy(data)
    shutil.rmtree(data)


def look_at(watched, path, code):
    """Nothing, or a whole backup; the unfinished one stays only where psctl had no time to remove it."""
    if os.path.exists(path):
        verify(watched, path)
        restore(watched, path)
    elif code == 0:
        watched.complain("psctl backup ended with 0 and there is none")
    if os.path.exists(path + ".partial") and code != -9:
        watched.complain(f"psctl backup ended with {code} and left {path}.partial")
    for name in os.listdir(os.path.dirname(path)):
        os.unlink(os.path.join(os.path.dirname(path), name))


class Backups:
    """Each with psctl, the broker, or nobody killed at a random moment of it."""

    def __init__(self, psctl):
        self.psctl = psctl
        self.usual = 0.1  # seconds that one takes

    def __call__(self, watched):
        place = os.path.join(watched.directory, "backups")
        os.makedirs(place, exist_ok=True)
        path = os.path.join(place, "copy.db")
        codes = []

        def act():
            codes.append(self.back_up(watched, path))
            watched.broker.signal(9)
        counts = watched.load_until(LEAST, act)
        watched.expect_end(-9)
        look_at(watched, path, codes[0])
        return counts

    def back_up(self, watched, path):
        """The exit code of psctl."""
        victim = watched.chance.choice(("broker", "psctl", None))
        began = time.monotonic()
        process = Process([self.psctl, "--server", f"unix:{watched.listen}", "backup", path])
        try:
            if victim is not None:
                time.sleep(watched.chance.random() * 1.2 * self.usual)  # the random moment itself
                (watched.broker if victim == "broker" else process).signal(9)
            code = process.wait()
        finally:
            process.end()
        if victim is None:
            self.usual = time.monotonic() - began
            if code != 0:
                watched.complain(f"psctl backup ended with {code}: {process.err[-500:]}")
        if victim == "psctl" and watched.broker.running():
            copy = os.path.join(watched.data, "psbroker.backup")
            wait_until(lambda: not os.path.exists(copy), "the broker to remove its copy")
        return code


def backup(builds, seed, seconds):
    return rounds(builds, seed, seconds, Backups(builds.psctl()))


# ---------------------------------------------------------------------------------------------- cut WALs

def cut(data, chance):
    """Shortens or removes the WAL of a copy; what was done."""
    wal = os.path.join(data, "psbroker.db-wal")
    size = os.path.getsize(wal)
    left = chance.choice((None, 0, chance.randrange(size + 1), max(0, size - chance.randrange(1 << 16)), size - 1))
    if left is None:
        os.unlink(wal)
        return "the WAL removed"
    os.truncate(wal, left)
    return f"the WAL cut from {size} to {left} bytes"


def try_start(watched, data, what, *arguments):
    """Whether a broker takes what is left: `all`; or why not: a `loss`, or `damaged` where a checkpoint was under way,
    which has put pages of later commits into the file."""
    socket = f"unix:{os.path.join(watched.directory, 'copy-socket')}"
    process = Process([watched.program, "--data", data, "--listen", socket, *arguments])
    try:
        wait_until(lambda: not process.running() or b"listening" in process.stdout.data, "a start or its refusal")
        if process.running():
            process.signal(15)
        code = process.wait()
    finally:
        process.end()
    if code not in (0, REFUSED):
        watched.complain(f"{what}: a start ended with {code}: {process.err[-1500:]}")
    if code == 0:
        return "all"
    if "is damaged" in process.err:
        return "damaged"
    if not re.search(r"messages with seq \d+ to \d+|changes of subscriptions", process.err):
        watched.complain(f"{what}: the refusal names nothing: {process.err[-1500:]}")
    return "loss"


def cut_wal(watched):
    """A kill, and a copy of what it left without an end of its WAL; then the log itself goes on, whole."""
    def act():
        time.sleep(watched.chance.random() ** 2 / 2)
        watched.broker.signal(9)
    counts = watched.load_until(LEAST, act)
    watched.expect_end(-9)
    watched.witness.remember()
    data = os.path.join(watched.directory, "cut")
    shutil.copytree(watched.data, data)
    what = cut(data, watched.chance)
    found = try_start(watched, data, what)
    if found == "all":
        watched.check_copy(data)
    elif found == "loss" and try_start(watched, data, what, "--accept-loss") == "all":
        watched.check_copy(data, whole=False)
    shutil.rmtree(data)
    return counts


def cut_wals(builds, seed, seconds):
    return rounds(builds, seed, seconds, cut_wal)


FAULTS = [
    Fault("backup", "28", "backups under load; broker or psctl are killed meanwhile, or nobody", backup, share=2),
    Fault("cut-wal", "9", "the WAL of a killed broker cut short or removed", cut_wals, share=2),
]
