"""Connections that end before the answer: what was stored is unknown to who published it, and there at most once."""
import os
import time

from cutter import Cutter
from fault import Fault, Outcome
from witness import watching

MOST = 60_000  # acknowledged messages between two checks


def lost_answers(builds, seed, seconds):
    outcome = Outcome()
    end = time.monotonic() + seconds
    with watching(outcome, builds, seed, live=1) as watched:
        watched.listen = os.path.join(watched.directory, "broker")
        watched.start()
        cutter = Cutter(watched.socket, watched.listen, seed)
        try:
            while not watched.found() and (cutter.cuts == 0 or time.monotonic() < end):
                cutter.active = True
                watched.witness.insist(MOST)
                watched.witness.answer("ended", "lost")  # lost: the first connection did not come about
                cutter.active = False
                if not watched.witness.check():
                    watched.complain(f"the broker was lost while all was read: {watched.broker.err[-1500:]}")
        finally:
            cutter.end()
        outcome.injected += cutter.cuts
        unknown = watched.witness.totals["unknown"]
        outcome.notes.append(f"{unknown} publications with an unknown outcome")
        if unknown == 0:
            watched.complain("no outcome was unknown: the cuts come too late")
    return outcome


FAULTS = [
    Fault("lost-answers", "26", "connections cut at any byte: acknowledgements that are stored are never heard of", lost_answers,
          share=2),
]
