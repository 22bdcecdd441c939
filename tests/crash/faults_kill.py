"""Faults that end the broker's process under load, beside a witness that remembers what it was told."""
import random
import time

import failpoints
from fault import Fault, Outcome
from witness import watching

LEAST = 1000  # acknowledged messages between two kills
LIVES = 16    # on one directory
LARGEST = (200_000, 200_000, 1_500_000)  # acknowledged messages on one directory, one of these
STORM = 2000          # durable subscribers
STORM_SECONDS = 10    # until all are attached again


def rounds(builds, seed, seconds, one, **plan):
    """one(watched) does its worst to a broker under load and tells whether that counts; all is checked after each."""
    outcome = Outcome()
    end = time.monotonic() + seconds
    while not outcome.violations and (outcome.injected == 0 or time.monotonic() < end):
        with watching(outcome, builds, seed, **plan) as watched:
            outcome.injected += directory(watched, one, end)
        seed += 1
    return outcome


def directory(watched, one, end):
    injected = 0
    largest = watched.chance.choice(LARGEST)
    for _ in range(LIVES):
        if watched.broker is None or not watched.broker.running():
            watched.start()
        injected += one(watched)
        watched.check()
        if watched.found() or time.monotonic() > end or watched.witness.totals["acknowledged"] > largest:
            break
    return injected


def ended_by(signal, code):
    """A broker that is sent a signal at a random moment."""
    def one(watched):
        def act():
            time.sleep(watched.chance.random() ** 2 / 2)  # the random moment itself
            watched.broker.signal(signal)
        counts = watched.load_until(LEAST, act)
        watched.expect_end(code)
        return counts
    return one


def kill(builds, seed, seconds):
    return rounds(builds, seed, seconds, ended_by(9, -9))


def terminate(builds, seed, seconds):
    return rounds(builds, seed, seconds, ended_by(15, 0))


def failpoint(builds, seed, seconds):
    """At random points, most of them passed several times before. `migrate` wants a new directory each time."""
    outcome = Outcome()
    chance = random.Random(seed)
    names = failpoints.names()
    end = time.monotonic() + seconds
    while not outcome.violations and (outcome.injected == 0 or time.monotonic() < end):
        with watching(outcome, builds, chance.randrange(1 << 32), asan=True) as watched:
            killed = failpoints.Killed(watched)
            outcome.injected += killed.kill_at("migrate")
            while time.monotonic() < end and not watched.found():
                name = chance.choice(names[1:])
                most = 1 if name in failpoints.STARTING else chance.choice((1, 3, 30))
                outcome.injected += killed.kill_at(name, chance.randint(1, most))
            watched.start()
    return outcome


def storm(builds, seed, seconds):
    """Durable subscribers that all come back at once after a kill, several times on one directory."""
    outcome = Outcome()
    with watching(outcome, builds, seed, publishers=2, topics=41, cursors=STORM, live=0) as watched:
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
    return outcome


FAULTS = [
    Fault("kill", "1", "SIGKILL at random moments under load", kill, share=12, least=500),
    Fault("failpoint", "2", "SIGKILL at labelled points of the source", failpoint, share=2),
    Fault("storm", "25", "2,000 durable subscribers come back after a kill", storm, share=2),
    Fault("terminate", "23", "SIGTERM under load", terminate, share=4),
]
