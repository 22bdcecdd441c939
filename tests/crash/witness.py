"""The witness (witness.c) as a process, and one broker after the other on a directory that it watches."""
import contextlib
import os
import random
import selectors
import subprocess

from fault import Place
from psbroker_test import Broker

LIMIT = 120


class Witness:
    """Answers are waited for; violations gather in `violations`."""

    def __init__(self, program, socket, seed, publishers=4, topics=50, cursors=2, live=1):
        self.socket = socket
        self.violations = []
        self.totals = {"acknowledged": 0, "sent": 0, "refused": 0, "unknown": 0, "violations": 0}
        self.popen = subprocess.Popen([program, socket, *map(str, (seed, publishers, topics, cursors, live))],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.popen.stdout, selectors.EVENT_READ)
        self.buffer = b""

    def ask(self, line):
        self.popen.stdin.write(line.encode() + b"\n")

    def line(self, limit=LIMIT):
        while b"\n" not in self.buffer:
            piece = os.read(self.popen.stdout.fileno(), 65536) if self.selector.select(limit) else None
            if piece is None:
                raise AssertionError(f"the witness says nothing for {limit} s")
            if not piece:
                raise AssertionError(f"the witness ended: {self.popen.stderr.read().decode(errors='replace')[-2000:]}")
            self.buffer += piece
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode(errors="replace")

    def answer(self, *words):
        """The first line that begins with one of the words; that word."""
        while True:
            word, _, rest = self.line().partition(" ")
            if word == "violation":
                self.violations.append(rest)
            elif "=" in rest:
                self.totals = {name: int(value) for name, value in (pair.split("=") for pair in rest.split())}
            if word in words:
                return word

    def load(self, report=1000, most=0):
        """Begins to publish; answer() then gives `acknowledged`, `lost` or `ended`."""
        self.ask(f"load {report} {most}")

    def insist(self, most):
        """The same, but whoever loses the connection comes back; answer() gives `ended` or `lost`."""
        self.ask(f"insist 0 {most}")

    def check(self):
        """Reads all through the broker; False when the connection was lost meanwhile."""
        self.ask("check")
        return self.answer("checked", "lost") == "checked"

    def remember(self):
        """What is true now must be in copies made from now on."""
        self.ask("remember")
        self.answer("remembered")

    def check_copy(self, socket, whole=True):
        """Reads all through a broker on a copy of the log; unless `whole` an end may be missing."""
        self.ask(f"{'copy' if whole else 'rest'} {socket}")
        return self.answer("checked", "lost") == "checked"

    def check_file(self, path):
        self.ask(f"file {path}")
        self.answer("checked")

    def end(self):
        self.popen.stdin.close()
        try:
            code = self.popen.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            code = self.popen.wait()
        if code != 0:
            self.violations.append(f"the witness ended with {code}: "
                                   f"{self.popen.stderr.read().decode(errors='replace')[-2000:]}")
        self.selector.close()
        self.popen.stdout.close()
        self.popen.stderr.close()


class Watched:
    """A directory with a witness; brokers come and go. Figures and violations of all that happens to it.

    `chance` decides how many clients and topics there are."""

    def __init__(self, directory, seed, program, broker=None, **plan):
        self.chance = random.Random(seed)
        self.directory = directory
        self.data = os.path.join(directory, "data")
        self.socket = os.path.join(directory, "socket")
        self.listen = self.socket  # another one when something stands in between
        self.program = broker
        self.violations = []
        self.broker = None
        given = {"publishers": self.chance.choice((2, 3, 5, 9)), "topics": self.chance.choice((2, 5, 50, 1000)),
                 "cursors": self.chance.choice((0, 1, 2)), "live": self.chance.choice((0, 0, 1)), **plan}
        self.witness = Witness(program, self.socket, seed, **given)

    def start(self, *arguments, **keywords):
        """The next broker; ready when this returns."""
        self.broker = Broker(self.data, *arguments, listen=(f"unix:{self.listen}",), program=self.program, **keywords)
        return self.broker

    def check_copy(self, data, *arguments, whole=True):
        """A broker is started on a copy of the log in `data`, all is read through it, and it ends."""
        socket = os.path.join(self.directory, "copy-socket")
        broker = Broker(data, *arguments, listen=(f"unix:{socket}",), program=self.program)
        try:
            if not self.witness.check_copy(socket, whole):
                self.complain(f"the broker was lost while a copy was read: {broker.err[-1500:]}")
            if broker.terminate() != 0:
                self.complain(f"a broker on a copy did not end well: {broker.err[-1500:]}")
        finally:
            broker.end()

    def complain(self, text):
        self.violations.append(text)

    def found(self):
        """Whether anything was wrong so far."""
        return bool(self.violations or self.witness.violations)

    def load_until(self, acknowledged, act):
        """Publishes, and once that many were acknowledged lets `act()` happen to the broker. True unless the broker
        was gone before that."""
        self.witness.load(acknowledged)
        reached = self.witness.answer("acknowledged", "lost") == "acknowledged"
        act()
        if reached:
            self.witness.answer("lost")
        return reached

    def expect_end(self, *codes):
        code = self.broker.wait()
        if code not in codes:
            self.complain(f"the broker ended with {code}: {self.broker.err[-1500:]}")
        return code

    def check(self):
        """A broker is started, all is read through it; it goes on running."""
        self.start()
        if not self.witness.check():
            self.complain(f"the broker was lost while all was read: {self.broker.err[-1500:]}")

    def finish(self, with_file=True):
        """A clean end, a look with SQLite alone, and all violations."""
        if self.broker is not None and self.broker.running():
            self.broker.signal(15)
            self.expect_end(0)
        if with_file:
            self.witness.check_file(os.path.join(self.data, "psbroker.db"))
        return self.close()

    def close(self):
        if self.broker is not None:
            self.broker.end()
        self.witness.end()
        self.violations += self.witness.violations
        more = self.witness.totals["violations"] - len(self.witness.violations)
        if more > 0:
            self.violations.append(f"and {more} more")
        return self.violations


@contextlib.contextmanager
def watching(outcome, builds, seed, asan=False, **plan):
    """A new directory under watch. Behind it all is read once more with SQLite alone, `outcome` has what was found, and
    the files stay where they are if that is anything wrong."""
    with Place() as place:
        watched = Watched(place.path, seed, builds.test("crash", "witness"), builds.broker(asan), **plan)
        try:
            yield watched
            outcome.violations += watched.finish()
        except Exception as error:  # whatever it is, brokers and witness end
            outcome.violations += [f"{type(error).__name__}: {error}", *watched.close()]
        outcome.acknowledged += watched.witness.totals["acknowledged"]
        place.keep = bool(outcome.violations)
        if place.keep:
            outcome.violations.append(f"the files are in {place.path}; seed {seed}")
