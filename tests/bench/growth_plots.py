"""The plots of what growth.py measured: one function a part, figures -> {file name: Chart}."""
from chart import Chart
from growth_load import MEBIBYTE

KIBIBYTE = 1024


def file_charts(figures):
    rates = Chart("Publish rate while the file grows",
                  "One publisher, one topic, acknowledged after the sync. A point is the mean since the one before it.")
    panel = rates.panel("size of the file, GB", "messages/s")
    for size, points in figures["rates"].items():
        panel.line(f"{size}-byte payloads", points)
    restarts = Chart("Restart after kill -9",
                     "Killed while it publishes at full rate. From the start of the program to its first answer.")
    panel = restarts.panel("size of the file, GB", "seconds (log)", log=True)
    for cold, name in ((False, "page cache warm"), (True, "page cache empty")):
        panel.line(name, [(each["file_gb"], each["seconds"]) for each in figures["restarts"] if each["cold"] == cold])
    panel.line("recovery alone, as the broker logs it",
               [(each["file_gb"], max(each["recovered_ms"], 1) / 1000) for each in figures["restarts"] if not each["cold"]])
    panel.target("at most 1 s", 1)
    return {"rate-file.svg": rates, "restart.svg": restarts}


def topics_charts(figures):
    points = figures["points"]
    chart = Chart(f"A log with {figures['topics']:,} topics grows deep",
                  f"{figures['payload']}-byte payloads to topics at random; every message is an entry of the index.")
    panel = chart.panel("million messages in the log", "messages/s")
    panel.line("publish rate", [(each["messages"] / 1e6, each["msgs_per_s"]) for each in points])
    panel = chart.panel("million messages in the log", "MB")
    panel.line("resident memory of psbroker", [(each["messages"] / 1e6, each["memory_mb"]) for each in points])
    return {"deep-index.svg": chart}


def wal_charts(figures):
    samples = figures["samples"]
    chart = Chart(f"The WAL beside {figures['replays']} continuous replays",
                  f"Publishing at full rate, 100-byte payloads; beside replays it keeps {figures['ratio']:.2f} of its rate.")
    panel = chart.panel("seconds", "MB")
    panel.line("file psbroker.db-wal", [(each["s"], each["wal_mb"]) for each in samples], marks=False)
    panel.shade("beside replays", figures["spans"])
    panel = chart.panel("seconds", "messages/s")
    panel.line("published", [(each["s"], each["published_per_s"]) for each in samples], marks=False)
    panel.line("replayed, all together", [(each["s"], each["replayed_per_s"]) for each in samples], marks=False)
    panel.target("0.6 of the median without", 0.6 * figures["alone"])
    panel.shade("beside replays", figures["spans"])
    return {"wal.svg": chart}


def subscriptions_charts(figures):
    points = figures["points"]
    counts = [each["subscriptions"] for each in points]
    empty = points[0]
    chart = Chart("Idle durable subscriptions",
                  "Each under an id of its own, one committed offset; nobody attached. No thread, no timer each.")
    panel = chart.panel("subscriptions", "MiB in the file")
    panel.line("growth of the file", [(each["subscriptions"], (each["file_bytes"] - empty["file_bytes"]) / MEBIBYTE)
                                      for each in points])
    panel.target("1 KiB each", [(count, count * KIBIBYTE / MEBIBYTE) for count in (0, counts[-1])])
    panel = chart.panel("subscriptions", "MB of memory")
    panel.line("resident memory of psbroker after a restart", [(each["subscriptions"], each["memory_mb"])
                                                               for each in points])
    panel = chart.panel("subscriptions", "seconds (log)", log=True)
    panel.line("restart after kill -9, to the first answer", [(each["subscriptions"], each["restart_s"])
                                                              for each in points])
    panel.target("at most 1 s", 1)
    return {"subscriptions.svg": chart}


def connections_charts(figures):
    points = figures["points"]
    worst = max(each["worked_bytes_each"] for each in points) / KIBIBYTE
    chart = Chart("Idle connections", "Growth of psbroker's resident memory, all connections idle when it is measured; "
                  f"at most {worst:.1f} KiB each.")
    panel = chart.panel("connections", "MiB")
    for name, text in (("connected", "connected"), ("subscribed", "half of them subscribed"),
                       ("worked", "each has published, half received")):
        panel.line(text, [(0, 0)] + [(each["connections"], each["connections"] * each[name + "_bytes_each"] / MEBIBYTE)
                                     for each in points])
    panel.target("16 KiB each", [(count, count * 16 * KIBIBYTE / MEBIBYTE)
                                 for count in (0, points[-1]["connections"])])
    return {"connections.svg": chart}


# The budgets that broker/README.md lists. Decoding and the program itself are in the remainder.
COMMITS, TAIL, CURSORS, CACHES, REMAINDER = 64, 32, 128, 16 + 2 * 2, 16
SOCKET, SLICE, SLICES, SEND = 256 / 1024, 128 / 1024, 4, 256


def bound_mb(stopped):
    """The most that all budgets allow together."""
    sockets = min(stopped * (SOCKET + SLICES * SLICE), SEND + stopped * (SOCKET + SLICE))
    return (COMMITS + TAIL + CURSORS + CACHES + REMAINDER + sockets) * MEBIBYTE / 1e6


def stopped_charts(figures):
    chart = Chart("Stopped subscribers", "They give endless credit and never read, while a publisher goes at full rate.")
    kinds = (("live", "stopped at the end of the log"), ("history", "each stopped somewhere in history"))
    panel = chart.panel("stopped subscribers", "MB of memory, peak")
    for kind, text in kinds:
        panel.line(text, [(each["stopped"], each["peak_mb"]) for each in figures[kind]])
    panel.target("all budgets together", [(each["stopped"], bound_mb(each["stopped"])) for each in figures["live"]])
    panel = chart.panel("stopped subscribers", "published messages/s")
    for kind, text in kinds:
        panel.line(text, [(each["stopped"], each["msgs_per_s"]) for each in figures[kind]])
    return {"stopped.svg": chart}
