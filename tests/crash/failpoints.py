"""A broker is killed at a labelled point of its source, on a directory that a witness watches."""
import os
import pathlib
import sys

from psbroker_test import wait_until

ROOT = pathlib.Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "gates"))
import failpoint_names  # where the gate looks for them, too
# Passed once while a broker starts (`migrate` in a new directory only), the others under load or at a clean end.
STARTING = {"migrate", "migrated", "start", "started", "loaded", "recovered"}
MOST = 400_000  # acknowledged messages by which the point must have been reached
LEAST = 1000


def names():
    """`migrate` first, as it wants a new directory."""
    return sorted(failpoint_names.names(ROOT), key=lambda name: (name != "migrate", name))


class Killed:
    """Brokers that are killed on a directory under watch."""

    def __init__(self, watched):
        self.watched = watched
        self.served = False  # the last one, before it was killed

    def leave_a_log(self):
        """What a killed broker leaves, for a start to recover."""
        self.watched.start()
        self.watched.load_until(LEAST, self.watched.broker.kill)

    def starts(self, env):
        broker = self.watched.start(env=env, wait=False)
        wait_until(lambda: not broker.running() or b"listening" in broker.out, "the start or its end")
        return broker.running()

    def ends_under_load(self):
        self.watched.witness.load(0, MOST)
        if self.watched.witness.answer("lost", "ended") == "ended":
            self.watched.broker.signal(15)  # a clean end passes some

    def kill_at(self, name, number=1):
        """True if the broker came that far. Everything is checked afterwards, by a broker that is killed too."""
        env = {**os.environ, "PSBROKER_FAILPOINT": f"{name}:{number}"}
        if name in STARTING and name != "migrate":
            self.leave_a_log()
        self.served = self.starts(env)
        if self.served:
            self.ends_under_load()
        reached = self.watched.broker.wait() == -9
        self.watched.check()
        self.watched.broker.kill()
        return reached
