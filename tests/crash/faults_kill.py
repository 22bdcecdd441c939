"""Faults that end the broker's process under load, beside a witness that remembers what it was told."""
import random
import time

import failpoints
from fault import Fault, Outcome, Place
from witness import Watched

LEAST = 1000  # acknowledged messages between two kills
LIVES = 8     # on one directory
STORM = 2000          # durable subscribers
STORM_SECONDS = 10    # until all are attached again
LARGEST = 1_500_000  # acknowledged messages on one directory


def rounds(builds, seed, seconds, one):
    """one(watched) ends a broker under load and tells whether that counts; everything is checked after each."""
    outcome = Outcome()
    end = time.monotonic() + seconds
    number = 0
    while not outcome.violations and (number == 0 or time.monotonic() < end):
        with Place() as place:
            watched = Watched(place.path, seed + number, builds.test("crash", "witness"), builds.broker())
            try:
                outcome.injected += directory(watched, one, end)
                outcome.violations += watched.finish()
            except AssertionError as error:
                outcome.violations += [str(error), *watched.close()]
            outcome.acknowledged += watched.witness.totals["acknowledged"]
            place.keep = bool(outcome.violations)
            if place.keep:
                outcome.violations.append(f"the files are in {place.path}; seed {seed + number}")
        number += 1
    return outcome


def directory(watched, one, end):
    injected = 0
    watched.start()
    for _ in range(LIVES):
        injected += one(watched)
        watched.check()
        if (watched.violations or watched.witness.violations or time.monotonic() > end or
                watched.witness.totals["acknowledged"] > LARGEST):
            break
    return injected


def kill(builds, seed, seconds):
    def one(watched):
        def act():
            time.sleep(watched.chance.random() ** 2)  # the random moment itself
            watched.broker.signal(9)
        counts = watched.load_until(LEAST, act)
        watched.expect_end(-9)
        return counts
    return rounds(builds, seed, seconds, one)


def terminate(builds, seed, seconds):
    def one(watched):
        def act():
            time.sleep(watched.chance.random() ** 2)
            watched.broker.signal(15)
        counts = watched.load_until(LEAST, act)
        watched.expect_end(0)
        return counts
    return rounds(builds, seed, seconds, one)


def failpoint(builds, seed, seconds):
    """At random points, most of them passed several times before. `migrate` wants a new directory each time."""
    outcome = Outcome()
    chance = random.Random(seed)
    names = failpoints.names()
    end = time.monotonic() + seconds
    while not outcome.violations and (outcome.injected == 0 or time.monotonic() < end):
        with Place() as place:
            killed = failpoints.Killed(place.path, chance.randrange(1 << 32), builds.test("crash", "witness"),
                                       builds.broker(asan=True))
            try:
                outcome.injected += killed.kill_at("migrate")
                while time.monotonic() < end and not killed.watched.witness.violations:
                    name = chance.choice(names[1:])
                    most = 1 if name in failpoints.STARTING else chance.choice((1, 3, 30))
                    outcome.injected += killed.kill_at(name, chance.randint(1, most))
                killed.watched.start()
                outcome.violations += killed.watched.finish()
            except AssertionError as error:
                outcome.violations += [str(error), *killed.watched.close()]
            outcome.acknowledged += killed.watched.witness.totals["acknowledged"]
            place.keep = bool(outcome.violations)
            if place.keep:
                outcome.violations.append(f"the files are in {place.path}")
    return outcome


def storm(builds, seed, seconds):
    """Durable subscribers that all come back at once after a kill, several times on one directory."""
    outcome = Outcome()
    with Place() as place:
        watched = Watched(place.path, seed, builds.test("crash", "witness"), builds.broker(), publishers=2, topics=41,
                          cursors=STORM, live=0)
        try:
            watched.start()
            count = max(1, round(seconds / 2))
            watched.witness.ask(f"storm {count}")
            watched.witness.answer("attached")
            for _ in range(count):
                time.sleep(watched.chance.random() / 4)
                watched.broker.kill()
                watched.start()
                began = time.monotonic()
                watched.witness.answer("attached")
                if time.monotonic() - began > STORM_SECONDS:
                    watched.complain(f"{STORM} subscribers were back after {time.monotonic() - began:.1f} s only")
                outcome.injected += 1
            watched.witness.answer("ended")
            if not watched.witness.check():
                watched.complain("the broker was lost while all was read")
            outcome.violations += watched.finish()
        except AssertionError as error:
            outcome.violations += [str(error), *watched.close()]
        outcome.acknowledged += watched.witness.totals["acknowledged"]
        place.keep = bool(outcome.violations)
        if place.keep:
            outcome.violations.append(f"the files are in {place.path}")
    return outcome


FAULTS = [
    Fault("kill", "1", "SIGKILL at random moments under load", kill, share=12),
    Fault("failpoint", "2", "SIGKILL at labelled points of the source", failpoint, share=2),
    Fault("storm", "25", "2,000 durable subscribers come back after a kill", storm, share=2),
    Fault("terminate", "23", "SIGTERM under load", terminate, share=4),
]
