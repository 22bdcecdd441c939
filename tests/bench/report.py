"""From runs to the tables: medians, ratios, Markdown."""
import statistics
from dataclasses import dataclass, replace

LEAST_ROUNDS = 3  # for a verdict
UNITS = {"msgs_per_s": "msg/s", "p50_ms": "ms", "p99_ms": "ms"}


@dataclass(frozen=True)
class Run:
    """One kind of measurement: a system at some work. `figure` names the field that counts."""
    system: str
    mode: str
    options: tuple = ()
    figure: str = "msgs_per_s"

    def work(self):
        """Its words on the command line."""
        words = [self.mode]
        for name, value in self.options:
            words.append("--" + name.replace("_", "-"))
            if value is not True:
                words.append(f"{value:g}s" if name == "duration" else str(value))
        return words

    def scaled(self, scale):
        """The same with fewer messages or less time."""
        least = {"messages": 10, "duration": 0.2}
        return replace(self, options=tuple((name, max(least[name], type(value)(value * scale)) if name in least else value)
                                           for name, value in self.options))

    def unit(self):
        return UNITS.get(self.figure, self.figure)


@dataclass(frozen=True)
class Row:
    work: str
    ours: Run
    against: Run
    target: float | None = None  # None: for information
    lower: bool = False  # the ratio must not exceed the target, instead of reaching it

    def scaled(self, scale):
        return replace(self, ours=self.ours.scaled(scale), against=self.against.scaled(scale))


class Samples:
    """What was measured of each Run, or why it was not."""

    def __init__(self):
        self.found = {}
        self.reasons = {}

    def add(self, run, result):
        value = result.get(run.figure)
        if not isinstance(value, (int, float)) or value <= 0:
            self.fail(run, f"no {run.figure} in its result")
        elif result.get("complete") is False or result.get("refused") or result.get("unknown"):
            self.fail(run, "it lost messages or ended early")
        else:
            self.found.setdefault(run, []).append(result)

    def fail(self, run, reason):
        self.reasons.setdefault(run, reason)

    def values(self, run, name=None):
        found = [result.get(name or run.figure) for result in self.found.get(run, [])]
        return [value for value in found if value is not None]

    def median(self, run):
        """None when any round of it failed: what is left would not be the same measurement."""
        return statistics.median(self.values(run)) if run in self.found and run not in self.reasons else None


def figure(value):
    """Three significant digits at least, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}" if value >= 0.001 else f"{value:.1e}"


def shown(samples, run):
    """`median unit (least–most)`, or why there is none."""
    median = samples.median(run)
    if median is None:
        return f"not measured: {samples.reasons.get(run, 'never ran')}"
    values = samples.values(run)
    spread = "" if len(values) == 1 else f" ({figure(min(values))}–{figure(max(values))})"
    return f"{figure(median)} {run.unit()}{spread}"


def ratio(samples, row):
    ours, theirs = samples.median(row.ours), samples.median(row.against)
    return None if ours is None or theirs is None else ours / theirs


def verdict(row, value):
    """yes, NO, or nothing to say. A ratio is never rounded up to its target."""
    if row.target is None:
        return ""
    if value is None:
        return "not measured"
    return "yes" if (value <= row.target if row.lower else value >= row.target) else "NO"


def reached(samples, row):
    """The verdict of a row, once its median is one of enough rounds."""
    value = ratio(samples, row)
    few = value is not None and min(len(samples.values(run)) for run in (row.ours, row.against)) < LEAST_ROUNDS
    return "" if few else verdict(row, value)


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows:
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines) + "\n"


def comparison(measured, name_of):
    """The table of ratios, from [(rows of one work, Samples)]. name_of(Run) says against what."""
    lines = []
    for rows, samples in measured:
        for number, row in enumerate(rows):
            value = ratio(samples, row)
            first = (row.work, shown(samples, row.ours)) if number == 0 else ('"', '"')
            lines.append((*first, name_of(row.against), shown(samples, row.against), "" if value is None else f"{value:.2f}",
                          "" if row.target is None else f"{'≤' if row.lower else '≥'} {row.target:g}", reached(samples, row)))
    return table(("work", "psbroker", "against", "theirs", "ratio", "target", "reached"), lines)


def summary(measured):
    """How many of the targets are reached, or that nothing can be said about it."""
    found = [reached(samples, row) for rows, samples in measured for row in rows if row.target is not None]
    return (f"{found.count('yes')} of {len(found)} targets reached, {found.count('NO')} missed, "
            f"{found.count('not measured')} not measured"
            + (f", {found.count('')} not judged: a verdict takes {LEAST_ROUNDS} rounds." if "" in found else "."))


def fairness(measured, reasons):
    """Each generator against the peer's own tool, or the reason why not."""
    lines = []
    for rows, samples in measured:
        for row in rows:
            value = ratio(samples, row)
            lines.append((row.ours.system, f"{row.work}: {shown(samples, row.ours)}, {row.against.system} {shown(samples, row.against)}",
                          "" if value is None else f"{value:.0%}", f"≥ {row.target:.0%}", reached(samples, row)))
    lines += [(system, reason, "", "", "") for system, reason in reasons.items()]
    return table(("generator for", "work, or why there is no such comparison", "ratio", "target", "reached"), lines)


def share(samples, run, name):
    """Processor time as a part of one core, median over the rounds."""
    found = [result for result in samples.found.get(run, []) if result.get(name) is not None and result.get("elapsed_s")]
    return f"{statistics.median(result[name] / result['elapsed_s'] for result in found):.0%}" if found else ""


def batch(samples, run):
    """Messages in a commit, median over the rounds; nothing where that is not known."""
    found = [result["messages"] / result["commits"] if result.get("commits") else
             result.get("server", {}).get("messages_per_commit") for result in samples.found.get(run, [])]
    found = [value for value in found if value]
    return figure(statistics.median(found)) if found else ""


def effort(measured):
    """What each run took of the processor, and in which batches it was written."""
    lines = []
    for rows, samples in measured:
        for run in dict.fromkeys(run for row in rows for run in (row.ours, row.against)):
            lines.append((run.system, f"`{' '.join(run.work())}`", share(samples, run, "client_cpu_s"),
                          share(samples, run, "server_cpu_s"), batch(samples, run)))
    return table(("system", "work", "generator", "server", "messages a commit"), lines)
