"""Faults beneath the store: sweeps over its disk, its memory and its power, in programs of their own."""
import time

from fault import Fault, Outcome, criterion, run_program

MESSAGES_OF_THE_FIXTURE = 2506


def power_cuts(builds, seed, seconds):
    return run_program(criterion(builds.test("crash", "test_power_cut")), seed,
                       {"POWER_CUTS": str(int(seconds * 10))})


def disk_calls(builds, seed, seconds):
    return run_program(criterion(builds.test("crash", "test_fault_sweep")), seed)


def allocations(builds, seed, seconds):
    return run_program(criterion(builds.test("crash", "test_memory_sweep")), seed)


def upgrade(builds, seed, seconds):
    """A store that an earlier release left opens with everything in it, and goes on."""
    outcome = Outcome()
    end = time.monotonic() + seconds
    while not outcome.violations and (outcome.injected == 0 or time.monotonic() < end):
        one = run_program(criterion(builds.test("unit", "storage", "test_sqlite_fixture")), seed, silent=True)
        outcome.injected += 1
        outcome.violations += one.violations
        outcome.acknowledged += MESSAGES_OF_THE_FIXTURE * (not one.violations)
    return outcome


def core_allocations(builds, seed, seconds):
    stride = {"SWEEP_STRIDE": str(max(1, int(60 / seconds)))}
    outcome = run_program(criterion(builds.test("unit", "broker", "test_broker_memory_sweep")), seed, stride)
    outcome.add(run_program(criterion(builds.test("unit", "broker", "test_io_memory_sweep")), seed, {"SWEEP_STRIDE": "5"}))
    return outcome


FAULTS = [
    Fault("power-cut", "3, 4", "power cut: unsynced sectors dropped, torn, reordered; also after a start behind a kill", power_cuts),
    Fault("disk-calls", "5, 6, 7, 8", "each call to the disk fails, syncs too: error, full, short write", disk_calls),
    Fault("allocations", "10", "each allocation of the store fails", allocations),
    Fault("upgrade", "29", "stores of each released schema are opened", upgrade, share=0.1),
    Fault("core-allocations", "10", "each allocation of decoding, sessions, delivery and a whole server fails", core_allocations),
]
