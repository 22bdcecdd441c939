"""The clock of the wall jumps and stands still under load: nothing but stamps may show it."""
import os
import sqlite3
import time

from clock_shim import DAY, Clock
from fault import Fault, Outcome
from witness import watching

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
    with watching(outcome, builds, seed) as watched:
        clock = Clock(os.path.join(watched.directory, "clock"), builds.test("lib", "libclock_shim.so"))
        while not watched.found() and (outcome.injected == 0 or time.monotonic() < end):
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
        watched.broker.signal(15)
        watched.expect_end(0)
        fallen = stamps_fall(watched.broker.database)
        if fallen:
            watched.complain(f"published_at falls {fallen} times")
    return outcome


FAULTS = [
    Fault("clock", "22", "the clock jumps up to a day either way, or stands still", clocks),
]
