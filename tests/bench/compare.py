"""psbroker beside NATS JetStream, Redis Streams, Mosquitto and bare SQLite, in one run on this machine.

Each measurement gets a fresh server on a fresh directory; rows of one kind of work run in alternating rounds (A B C,
A B C, …) and their medians count. The result is Markdown on stdout (or in --out FILE): the table of ratios, the machine,
and how much processor time each generator and server took. Progress is on stderr. What is not installed or does not
complete is named in its row. `./dev bench` builds everything and runs this; the whole table takes about 10 minutes.
"""
import argparse
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace

import machine
import report
from report import Row, Run, Samples
from systems import SYSTEMS, NotMeasured, run, version_of

QUICK = 0.02


def of(system, mode, figure="msgs_per_s", **options):
    return Run(system, mode, tuple(options.items()), figure)


def with_others(rows):
    """Against JetStream through its client library, as psbroker through its own; and below, for information, without.
    Against SQLite as it comes; and below, held to the same target, with its writes gathered as the store gathers them."""
    for row in rows:
        yield row
        if row.against.system == "ceiling":
            yield replace(row, against=replace(row.against, system="ceiling-vfs"))
        if row.against.system == "jetstream":
            yield replace(row, against=replace(row.against, system="jetstream-raw"), target=None)


# Messages are as many as take each system a few seconds: a rate does not depend on how long one looks.
ONE = of("psbroker", "pub", messages=2_000_000)
KIB = of("psbroker", "pub", messages=600_000, size=1024)
KIB16 = of("psbroker", "pub", messages=60_000, size=16384)
KIB256 = of("psbroker", "pub", messages=4_000, size=262144)
THOUSAND = of("psbroker", "pub", messages=1_500_000, topics=1000)
TEN_THOUSAND = of("psbroker", "pub", messages=1_500_000, topics=10000)
REPLAY = of("psbroker", "replay", messages=1_000_000)
REPLAY_ONE = of("psbroker", "replay", messages=4_000_000, topics=1000, one_topic=True)
FANOUT = of("psbroker", "fanout", messages=100_000, subscribers=100)
E2E = of("psbroker", "e2e", messages=2_000_000)
ALONE = of("psbroker", "pub", messages=8_000, window=1)
HUNDRED_ALONE = of("psbroker", "pub", messages=150_000, clients=100, window=1)
LATENCY = of("psbroker", "latency", "p99_ms", rate=10_000, duration=5.0)

ROWS = list(with_others([
    Row("publish, 1 topic, 1 connection, pipelined", ONE, of("jetstream", "pub", messages=1_000_000), 6.0),
    Row("publish, 1 topic, 1 connection, pipelined", ONE, of("redis", "pub", messages=1_000_000, window=1000), 4.0),
    Row("publish, 1 topic, 1 connection, pipelined", ONE, of("redis-always", "pub", messages=500_000, window=1000)),
    Row("publish, 1 topic, 1 connection, pipelined", ONE, of("mosquitto", "pub", messages=200_000, qos=1)),
    Row("publish, 1 topic, 1 connection, pipelined", ONE, of("ceiling", "batch", messages=2_000_000), 0.75),
    Row("publish, 1 topic, 1 KiB payloads", KIB, of("jetstream", "pub", messages=600_000, size=1024), 2.5),
    Row("publish, 1 topic, 1 KiB payloads", KIB, of("ceiling", "batch", messages=600_000, size=1024)),
    Row("publish, 1 topic, 16 KiB payloads", KIB16, of("jetstream", "pub", messages=60_000, size=16384), 1.0),
    Row("publish, 1 topic, 16 KiB payloads", KIB16, of("ceiling", "batch", messages=60_000, size=16384)),
    Row("publish, 1 topic, 256 KiB payloads", KIB256, of("jetstream", "pub", messages=4_000, size=262144), 1.0),
    Row("publish, 1 topic, 256 KiB payloads", KIB256, of("ceiling", "batch", messages=4_000, size=262144)),
    Row("publish, 1000 topics, random", THOUSAND, of("jetstream", "pub", messages=600_000, topics=1000), 6.0),
    Row("publish, 1000 topics, random", THOUSAND, of("ceiling", "batch", messages=1_500_000, topics=1000)),
    Row("publish, 10000 topics, random", TEN_THOUSAND, ONE, 0.4),
    Row("publish, 10000 topics, random", TEN_THOUSAND, of("ceiling", "batch", messages=1_500_000, topics=10000)),
    Row("replay 1 M messages from history, one subscriber", REPLAY, of("jetstream", "replay", messages=1_000_000), 5.0),
    Row("replay 1 M messages from history, one subscriber", REPLAY, of("redis", "replay", messages=1_000_000), 2.5),
    Row("replay of one topic out of 1000 interleaved", REPLAY_ONE, REPLAY, 0.4),
    Row("live fan-out, 1 publisher to 100 subscribers, deliveries/s", FANOUT,
        of("jetstream", "fanout", messages=20_000, subscribers=100), 3.0),
    Row("live fan-out, 1 publisher to 100 subscribers, deliveries/s", FANOUT,
        of("nats-raw", "fanout", messages=60_000, subscribers=100, core=True), 1.5),
    Row("live fan-out, 1 publisher to 100 subscribers, deliveries/s", FANOUT,
        of("nats", "fanout", messages=60_000, subscribers=100, core=True)),
    Row("live fan-out, 1 publisher to 100 subscribers, deliveries/s", FANOUT,
        of("mosquitto", "fanout", messages=10_000, subscribers=100, qos=0), 1.5),
    Row("publish to one live subscriber, end to end", E2E, of("jetstream", "e2e", messages=300_000), 6.0),
    Row("lone publisher (window 1)", ALONE, of("ceiling", "single", messages=10_000), 0.7),
    Row("lone publisher (window 1)", ALONE, of("redis-always", "pub", messages=8_000, window=1)),
    Row("lone publisher (window 1)", ALONE, of("jetstream", "pub", messages=20_000, window=1)),
    Row("100 lone publishers at once", HUNDRED_ALONE, ALONE, 20),
    Row("publish-to-delivery latency at 10,000 msg/s, p99", LATENCY,
        of("jetstream", "latency", "p99_ms", rate=10_000, duration=5.0), 1.0, lower=True),
]))

# Ours as a part of the peer's own tool on the same work; for the others, why ours may stand for theirs.
SAME_WORK = [Row("a million XADD of 100 bytes, 1 connection, pipeline of 1000", of("redis", "pub", messages=1_000_000, window=1000),
                 of("redis-benchmark", "pub", messages=1_000_000, window=1000), 0.9)]
REASONS = {
    "psbroker": "psctl bench is psbroker's own tool",
    "jetstream": "its own tool, `nats bench`, is no Debian package; ours is on the official C client library",
    "jetstream-raw": "as above; this one, without the library, loads it 1.1 to 2 times as much (peers/README.md)",
    "nats": "as for JetStream",
    "nats-raw": "as for JetStream, raw protocol",
    "mosquitto": "its own tools, mosquitto_pub and mosquitto_sub, handle a message at a time; ours, by the buffer, publishes twice as fast",
}


def say(text):
    print(text, file=sys.stderr, flush=True)


def works_of(rows):
    """Rows of one kind of work together, in the order of the rows."""
    works = {}
    for row in rows:
        works.setdefault(row.work, []).append(row)
    return list(works.values())


def runs_of(rows):
    """The distinct Runs that rows need."""
    return list(dict.fromkeys(each for row in rows for each in (row.ours, row.against)))


def measure(runs, rounds, run_one, tell=say):
    """The Samples of so many rounds (A B C, A B C, …). run_one(Run) returns a generator's object or raises NotMeasured;
    what failed once is not tried again."""
    samples = Samples()
    for number in range(1, rounds + 1):
        for each in runs:
            if each in samples.reasons:
                continue
            began = time.monotonic()
            try:
                samples.add(each, run_one(each))
            except NotMeasured as reason:
                samples.fail(each, str(reason))
            outcome = samples.reasons.get(each) or report.figure(samples.values(each)[-1]) + " " + each.unit()
            tell(f"{number}/{rounds} {each.system} {' '.join(each.work())}: {outcome}, {time.monotonic() - began:.1f} s")
    return samples


def chosen(rows, pattern):
    return [row for row in rows if re.search(pattern, f"{row.work} | {row.against.system}", re.IGNORECASE)]


def against_name(versions):
    """Names a Run for the column `against`: system, version, when it acknowledges."""
    def name(each):
        if each.system == "psbroker":
            return f"itself at `{' '.join(each.work())}`"
        system = SYSTEMS[each.system]
        return f"{system.title} {versions.get(each.system) or '(version unknown)'}, {system.durability}"
    return name


def compare(rows, rounds, run_one, tell=say):
    """Yields (rows of one work, Samples): each work has Samples of its own, as only what ran side by side is compared."""
    for work in works_of(rows):
        yield work, measure(runs_of(work), rounds, run_one, tell)


def programs_of(build):
    return {"psbroker": os.path.join(build, "broker/psbroker"), "psctl": os.path.join(build, "cli/psctl"),
            "ceiling": os.path.join(build, "tests/bench/ceiling"), "peers": os.path.join(build, "tests/bench/peers"),
            "here": os.path.dirname(os.path.abspath(__file__))}


def write(out, rounds, facts, measured, same_work, versions):
    out.write(f"Medians of {rounds} alternating rounds, range in brackets; ratio = psbroker / theirs.\n\n"
              if rounds >= report.LEAST_ROUNDS else
              f"{rounds} of at least {report.LEAST_ROUNDS} rounds: shows that the instrument works, no figures to quote.\n\n")
    out.write(report.comparison(measured, against_name(versions)))
    out.write(f"\n{report.summary(measured)}\n\n")
    out.write(report.table(("machine", ""), facts))
    out.write("\nGenerators against the peer's own tool:\n\n")
    out.write(report.fairness(same_work, REASONS))
    out.write("\nProcessor time, as a part of one core, of the generator and of the server while it ran; for psbroker and bare SQLite the\nmessages in a commit:\n\n")
    out.write(report.effort(measured))


def arguments():
    parser = argparse.ArgumentParser(
        prog="./dev bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  ./dev bench --quick                    every row, seconds instead of minutes: to see that all works\n"
               "  ./dev bench --rows 'lone|10000 topics' only rows of that work\n"
               "  ./dev bench --rows ceiling             only what is compared with bare SQLite\n"
               "  ./dev bench --list                     the rows, and what each runs")
    parser.add_argument("--rows", metavar="PATTERN", default="", help="only rows whose work or system matches (a regular expression)")
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="how often each is measured (3); fewer give no verdicts")
    parser.add_argument("--quick", action="store_true", help="short runs, one round: a test of the instrument, no figures to quote")
    parser.add_argument("--out", metavar="FILE", help="write the result there instead of to stdout")
    parser.add_argument("--data", metavar="DIRECTORY", help="where the servers keep their data, on a disk (the build directory)")
    parser.add_argument("--build", metavar="DIRECTORY", default="build", help="the build to measure (build)")
    parser.add_argument("--list", action="store_true", help="print the rows and end")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds takes a number from 1 on")
    if not chosen(ROWS, options.rows):
        parser.error(f"no row matches {options.rows!r}; --list shows them")
    return options


def main():
    options = arguments()
    rows, same_work, rounds = chosen(ROWS, options.rows), SAME_WORK, options.rounds
    if options.quick:
        rows, same_work, rounds = [row.scaled(QUICK) for row in rows], [row.scaled(QUICK) for row in SAME_WORK], 1
    if options.list:
        for row in rows:
            print(f"{row.work}\n    {row.ours.system} {' '.join(row.ours.work())}\n"
                  f"    {row.against.system} {' '.join(row.against.work())}")
        return 0
    home = os.path.abspath(options.data or options.build)
    reason = machine.refusal(home)
    if reason is not None:
        say(f"compare: {reason}")
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what runs is ended, what is complete is shown
    os.environ["PATH"] += ":/usr/sbin"  # where Debian keeps servers
    programs = programs_of(options.build)
    if not any(each.system.startswith("redis") for each in runs_of(rows)):
        same_work = []
    place = tempfile.mkdtemp(prefix="bench.", dir=home)
    facts, versions, measured, own_tool, code = [], {}, [], [], 0
    try:
        facts = machine.facts(place)
        versions = {name: version_of(system, programs) for name, system in SYSTEMS.items()}
        versions["ceiling"] = versions["ceiling-vfs"] = dict(facts)["SQLite"]

        def run_one(each):
            return run(SYSTEMS[each.system], each.work(), programs, place)
        for work in compare(rows, rounds, run_one):
            measured.append(work)
        for work in compare(same_work, rounds, run_one):
            own_tool.append(work)
    except KeyboardInterrupt:
        say("compare: interrupted; what is complete follows")
        code = 130
    finally:
        shutil.rmtree(place, ignore_errors=True)
    with open(options.out, "w", encoding="utf-8") if options.out else contextlib.nullcontext(sys.stdout) as out:
        write(out, rounds, facts, measured, own_tool, versions)
    return code


if __name__ == "__main__":
    sys.exit(main())
