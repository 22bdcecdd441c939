"""What an entry in the table of faults is made of: see torture.py, which runs them."""
import dataclasses
import os
import re
import shutil
import subprocess
import tempfile


@dataclasses.dataclass
class Outcome:
    """What one turn injected, how many acknowledged messages it found again, and what was wrong, one sentence each."""
    injected: int = 0
    acknowledged: int = 0
    violations: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)  # figures to be read, judged by nobody

    def add(self, other):
        self.injected += other.injected
        self.acknowledged += other.acknowledged
        self.violations += other.violations
        self.notes += other.notes


@dataclasses.dataclass
class Fault:
    """`run(builds, seed, seconds)` gives an Outcome. The seed decides all that chance decides; after about `seconds`
    it ends, it may take longer to finish what it has begun. `row`: numbers of the list in README.md. `share`: of the
    time; a fault that was injected less often than `least` comes before others. `turn`: how many times as long its turns are."""
    name: str
    row: str
    text: str
    run: object
    share: float = 1
    least: int = 50
    turn: float = 1


@dataclasses.dataclass
class Builds:
    """Where the programs are: optimized, and with sanitizers and failpoints."""
    optimized: str
    asan: str

    def broker(self, asan=False):
        return os.path.join(self.asan if asan else self.optimized, "broker", "psbroker")

    def psctl(self):
        return os.path.join(self.optimized, "cli", "psctl")

    def test(self, *names, asan=False):
        return os.path.join(self.asan if asan else self.optimized, "tests", *names)


class Place:
    """A directory for one turn, removed unless the turn found something."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="psbroker-torture.")
        self.keep = False
        return self

    def __exit__(self, *_):
        if not self.keep:
            shutil.rmtree(self.path, ignore_errors=True)


INJECTED = re.compile(r"^injected (\d+) faults?(?:, checked (\d+) acknowledged messages)?$", re.M)


def run_program(command, seed, environment=None, limit=600, silent=False):
    """A test program that says `injected N faults[, checked M acknowledged messages]`, maybe several times, on stderr
    or in the file PSBROKER_TALLY, and ends with 0 unless something was wrong. It is given the seed as PSBROKER_SEED.
    A `silent` one says nothing."""
    with tempfile.NamedTemporaryFile("r") as tally:
        env = {**os.environ, "PSBROKER_SEED": str(seed), "PSBROKER_TALLY": tally.name, **(environment or {})}
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="backslashreplace", timeout=limit)
        said = done.stderr + tally.read()
    outcome = Outcome()
    for injected, acknowledged in INJECTED.findall(said):
        outcome.injected += int(injected)
        outcome.acknowledged += int(acknowledged or 0)
    name = os.path.basename(command[0])
    if done.returncode != 0:
        quoted = [line for line in (done.stdout + done.stderr).splitlines()
                  if not line.startswith(("ok", "# ", "injected", "1..", "TAP"))]
        outcome.violations.append(f"{name} ended with {done.returncode}: {' / '.join(quoted[-12:])}")
    elif outcome.injected == 0 and not silent:
        outcome.violations.append(f"{name} injected nothing")
    return outcome


def criterion(path, *arguments):
    """The command line of a Criterion binary."""
    return [path, "--tap=-", "-j1", *arguments]
