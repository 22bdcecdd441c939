"""The clock of the wall jumps and stands still under load: nothing but stamps may show it."""
import os
import sqlite3
import time

from clock_shim import DAY, Clock
from fault import Fault, Outcome, Place
from witness import Watched

LEAST = 3000  # acknowledged messages between jumps, about


def stamps_fall(path):
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return database.execute("SELECT count(*) FROM (SELECT published_at AS at, lag(published_at) OVER (ORDER BY seq) AS "
                                "before FROM messages) WHERE at < before").fetchone()[0]
    finally:
        database.close()


def jump(clock, chance):
    kind = chance.randrange(4)
    if kind == 0:
        clock.freeze()
    else:
        clock.set(chance.choice((0, DAY, -DAY, chance.uniform(-DAY, DAY), 30, -30)))


def clocks(builds, seed, seconds):
    outcome = Outcome()
    end = time.monotonic() + seconds
    with Place() as place:
        clock = Clock(os.path.join(place.path, "clock"), builds.test("lib", "libclock_shim.so"))
        watched = Watched(place.path, seed, builds.test("crash", "witness"), builds.broker())
        try:
            while not watched.violations and (outcome.injected == 0 or time.monotonic() < end):
                watched.start(env=clock.environment())

                def act():
                    for _ in range(10):
                        jump(clock, watched.chance)
                        outcome.injected += 1
                        time.sleep(watched.chance.random() / 10)
                    watched.broker.signal(15)
                watched.load_until(LEAST, act)
                watched.expect_end(0)
            watched.check()
            outcome.violations += watched.finish()
            fallen = stamps_fall(os.path.join(watched.data, "psbroker.db"))
            if fallen:
                outcome.violations.append(f"published_at falls {fallen} times")
        except AssertionError as error:
            outcome.violations += [str(error), *watched.close()]
        outcome.acknowledged += watched.witness.totals["acknowledged"]
        place.keep = bool(outcome.violations)
        if place.keep:
            outcome.violations.append(f"the files are in {place.path}")
    return outcome


FAULTS = [
    Fault("clock", "22", "the clock jumps up to a day either way, or stands still", clocks),
]
