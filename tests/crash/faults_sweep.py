"""Faults beneath the store: sweeps over its disk, its memory and its power, in programs of their own."""
from fault import Fault, criterion, run_program


def power_cuts(builds, seed, seconds):
    return run_program(criterion(builds.test("crash", "test_power_cut")), seed,
                       {"POWER_CUTS": str(int(seconds * 10))})


def disk_calls(builds, seed, seconds):
    return run_program(criterion(builds.test("crash", "test_fault_sweep")), seed)


def allocations(builds, seed, seconds):
    return run_program(criterion(builds.test("crash", "test_memory_sweep")), seed)


FAULTS = [
    Fault("power-cut", "3", "power cut: unsynced sectors dropped, torn and reordered", power_cuts),
    Fault("disk-calls", "5, 7, 8", "each call to the disk fails: error, full, short write", disk_calls),
    Fault("allocations", "10", "each allocation of the store fails", allocations),
]
