"""Floods (floods*.py) in the table of faults: each turn rounds on one broker until its time is over."""
import importlib
import os
import sys
import time

from fault import Fault, Outcome, Place, run_program


def flood(module, name):
    def run(builds, seed, seconds):
        import flood_site  # the wire's Python module is there only with a build
        kind = getattr(importlib.import_module(module), name)
        outcome = Outcome()
        end = time.monotonic() + seconds
        with Place() as place:
            site = flood_site.Site(kind(), place.path, seed, builds.broker(), timed=True)
            try:
                while site.faults == 0 or time.monotonic() < end:
                    site.round()
                site.finish()
            except AssertionError as error:
                outcome.violations.append(f"{error}; the files are in {place.path}")
                place.keep = True
            finally:
                site.end()
            outcome.injected = site.faults
            outcome.acknowledged = site.acknowledged + site.checked
        return outcome
    return run


def link_down(builds, seed, seconds):
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "link_down.py")
    outcome = Outcome()
    end = time.monotonic() + seconds
    while outcome.injected == 0 or time.monotonic() < end:
        outcome.add(run_program(["unshare", "-rn", sys.executable, program, "--timed", builds.broker()], seed))
        if outcome.violations:
            break
    return outcome


FAULTS = [
    Fault("descriptors", "11", "64 file descriptors, 200 clients", flood("floods", "Descriptors")),
    Fault("stopped-consumers", "12, 13", "1,000 consumers that stop beside a producer at full rate",
          flood("floods_unread", "StoppedConsumers")),
    Fault("stopped-resumes", "13", "subscribers that stop and go on while messages come",
          flood("floods_readers", "StoppedAndResumed")),
    Fault("long-readers", "27", "a long history replayed slowly; an outside reader's snapshot",
          flood("floods_readers", "LongReaders")),
    Fault("half-open", "14", "peers that answer nothing any more", flood("floods_unread", "HalfOpen")),
    Fault("link-down", "14", "a link that goes down", link_down),
    Fault("slow-senders", "15", "frames byte by byte over 500 connections", flood("floods", "SlowSenders")),
    Fault("large-frames", "15, 19", "large frames that begin all at once", flood("floods", "LargeFrames")),
    Fault("decode-bombs", "18", "frames that a careless decoder turns into many times as much", flood("floods", "DecodeBombs")),
    Fault("unauthenticated", "19", "5,000 connections without Hello", flood("floods", "Unauthenticated")),
    Fault("unread-replies", "19", "requests of clients that read no answer", flood("floods_unread", "UnreadReplies")),
    Fault("topics", "21", "topics made without end", flood("floods", "Topics")),
]
