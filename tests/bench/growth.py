"""How cost grows: the real psbroker under load while its file, its index, its subscriptions, its connections and
its stopped subscribers grow. Measured points go to one JSON, plots are SVG.

    growth.py                      everything: about 12 minutes, 12 GB of free disk
    growth.py file topics          two parts; the others stay in the JSON as they are
    growth.py --quick --plots DIR  everything small, in seconds: does it still run?
    growth.py --draw               only the plots, from the JSON

parts:
"""
import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import connections
import growth_file
import growth_memory
import growth_plots
import machine
from psbroker_test import PSBROKER

HERE = os.path.dirname(os.path.abspath(__file__))

FULL = {
    "payloads": [100, 1024], "step_mb": 125, "restart_gb": [0.1, 0.5, 1, 2, 3, 4, 5], "before_kill": 200_000,
    "topics": 10000, "depth": 100_000_000, "depth_step": 5_000_000, "depth_payload": 8,
    "history": 1_000_000, "replays": 4, "turns": 4, "turn_s": 8,
    "subscriptions": [0, 10000, 25000, 50000, 75000, 100000],
    "connections": [1000, 2500, 5000, 10000], "warm_up": connections.WARM_UP_ROUNDS,
    "stopped": [0, 100, 250, 500, 1000], "stopped_s": 2, "stopped_history": 1_000_000,
}
QUICK = {
    "payloads": [100, 1024], "step_mb": 10, "restart_gb": [0.03, 0.08], "before_kill": 10_000,
    "topics": 100, "depth": 100_000, "depth_step": 50_000, "depth_payload": 8,
    "history": 20_000, "replays": 2, "turns": 1, "turn_s": 0.3,
    "subscriptions": [0, 1000, 3000],
    "connections": [10, 20], "warm_up": 1,
    "stopped": [0, 5], "stopped_s": 0.2, "stopped_history": 20_000,
}


class Part:
    def __init__(self, measure, charts, seconds, gigabytes, text):
        self.measure = measure
        self.charts = charts
        self.seconds = seconds      # of a full run, for the time left
        self.gigabytes = gigabytes  # on disk at a time in a full run
        self.text = text


PARTS = {
    "file": Part(growth_file.file_part, growth_plots.file_charts, 150, 6,
                 "publish rate and restart after kill -9, while the file grows to 5 GB"),
    "topics": Part(growth_file.topics_part, growth_plots.topics_charts, 300, 12,
                   "publish rate and memory, 10,000 topics up to 100 million messages deep"),
    "wal": Part(growth_file.wal_part, growth_plots.wal_charts, 60, 10,
                "the WAL beside 4 continuous replays, and what they leave of the publish rate"),
    "subscriptions": Part(growth_memory.subscriptions_part, growth_plots.subscriptions_charts, 60, 1,
                          "up to 100,000 idle durable subscriptions: file, memory, restart"),
    "connections": Part(growth_memory.connections_part, growth_plots.connections_charts, 60, 2,
                        "up to 10,000 idle connections: memory"),
    "stopped": Part(growth_memory.stopped_part, growth_plots.stopped_charts, 60, 8,
                    "up to 1000 stopped subscribers beside full-rate publishing: memory"),
}


class Progress:
    """What is done and how long it may still take, on stderr; a line that is rewritten on a terminal."""

    def __init__(self, names, pace):
        self.left = list(names)
        self.pace = pace
        self.began = time.monotonic()
        self.name = None

    def part(self, name):
        self.name = self.left.pop(0)
        self.began = time.monotonic()
        assert name == self.name

    def __call__(self, fraction, text):
        passed = time.monotonic() - self.began
        later = sum(PARTS[name].seconds for name in self.left) * self.pace
        left = passed * (1 - fraction) / max(fraction, 0.01) + later
        line = f"{self.name:14}{fraction * 100:4.0f} %  {text}; about {left:.0f} s left"
        if sys.stderr.isatty():
            print(f"\r\033[K{line}", end="\n" if fraction >= 1 else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


def facts(directory):
    version = subprocess.run([PSBROKER, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"psbroker": version, "date": datetime.date.today().isoformat(), **dict(machine.facts(directory))}


def refuse_unless_fit(directory, names, quick):
    why = machine.refusal(directory)
    if why and not quick:
        sys.exit(why)
    needed = 0.5 if quick else max(PARTS[name].gigabytes for name in names)
    free = shutil.disk_usage(directory).free / 1e9
    if free < needed:
        sys.exit(f"{directory} has {free:.1f} GB free, {' '.join(names)} may need {needed:g} GB")


def draw(results, directory):
    os.makedirs(directory, exist_ok=True)
    for name, figures in results["parts"].items():
        for file, chart in PARTS[name].charts(figures).items():
            chart.write(os.path.join(directory, file))
            print(os.path.join(directory, file))


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {"parts": {}}


def measure(names, options):
    sizes = QUICK if options.quick else FULL
    refuse_unless_fit(options.data, names, options.quick)
    connections.raise_descriptor_limit()
    results, progress = load(options.json), Progress(names, 0.02 if options.quick else 1)
    for name in names:
        progress.part(name)
        around = facts(options.data)
        place = tempfile.mkdtemp(prefix="psbroker-growth.", dir=options.data)
        try:
            figures = PARTS[name].measure(place, sizes, progress)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        results["parts"][name] = {"machine": around, **figures}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1, sort_keys=True)
            file.write("\n")
    return results


def arguments():
    listing = "".join(f"  {name:15}{part.text} ({part.gigabytes} GB, {part.seconds} s)\n"
                      for name, part in PARTS.items())
    parser = argparse.ArgumentParser(prog="growth.py", description=__doc__ + listing,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="PSBROKER and PSCTL in the environment name the programs, optimized ones "
                                            "please. Data is removed at the end.")
    parser.add_argument("parts", nargs="*", metavar="PART", help="what to measure (default: everything)")
    parser.add_argument("--quick", action="store_true", help="small sizes: a smoke test, not a measurement")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    parser.add_argument("--data", default=tempfile.gettempdir(), metavar="DIRECTORY",
                        help="where data goes, not a tmpfs (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE",
                        help="points; what it has of other parts is kept (default: growth.json in --plots)")
    parser.add_argument("--plots", metavar="DIRECTORY", help="where the SVG files go (default: tests/bench/plots)")
    options = parser.parse_args()
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"no part {name}; there are {' '.join(PARTS)}")
    if options.quick and not options.plots:
        parser.error("--quick wants --plots: what it measures is not worth keeping in tests/bench/plots")
    options.plots = options.plots or os.path.join(HERE, "plots")
    options.json = options.json or os.path.join(options.plots, "growth.json")
    return options


def main():
    options = arguments()
    os.makedirs(options.plots, exist_ok=True)
    if options.draw:
        results = load(options.json)
    else:
        results = measure([name for name in PARTS if name in options.parts or not options.parts], options)
    draw(results, options.plots)


if __name__ == "__main__":
    main()
