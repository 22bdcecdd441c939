"""Growth of the file: publish rate, restart, a deep index, and the WAL beside replays.

Each part is a function (place, sizes, progress) -> figures. `place` is a directory for data, `sizes` one of the
rows of SIZES in growth.py, progress(fraction, text) tells how far it is.
"""
import statistics
import time

from growth_load import Meter, Publisher, Replays, Server, published, topic_names

GIGABYTE = 10 ** 9
POLL = 0.02


def restart(server, cold):
    """Kills the broker; how long it takes to answer again."""
    before = server.file_bytes()
    wal = server.wal_bytes()
    server.kill()
    if cold:
        server.drop_cache()
    seconds = server.start()
    return {"file_gb": before / GIGABYTE, "wal_mb": wal / 1e6, "cold": cold, "seconds": seconds,
            "recovered_ms": server.recovered_ms()}


def grow(server, size, until, step, progress):
    """Publishes until the file has `until` bytes; a point (GB, messages/s) every `step` bytes."""
    points, began = [], server.file_bytes()
    with Publisher(server, size) as publisher:
        wait_for(server, publisher, began + step / 10)  # it runs at its pace
        meter, mark = Meter(server), server.file_bytes()
        while mark + step / 2 < until:
            wait_for(server, publisher, mark + step)
            rate, _ = meter.look()
            mark = server.file_bytes()  # it grows by checkpoints
            points.append((mark / GIGABYTE, rate))
            progress(mark)
    return points


def wait_for(server, publisher, size):
    while server.file_bytes() < size:
        publisher.check()
        time.sleep(POLL)


def file_part(place, sizes, progress):
    """Publish rate and restart time while the file grows."""
    figures = {"rates": {}, "restarts": []}
    targets = [gb * GIGABYTE for gb in sizes["restart_gb"]]
    whole = targets[-1] * len(sizes["payloads"])
    for number, size in enumerate(sizes["payloads"]):
        points = []

        def told(done, number=number, size=size):
            progress((number * targets[-1] + done) / whole, f"{size} bytes, {done / GIGABYTE:.2f} GB")
        with Server(place) as server:
            stops = targets if number == 0 else targets[-1:]
            for target in stops:
                points += grow(server, size, target, sizes["step_mb"] * 1e6, told)
                if number == 0:
                    figures["restarts"] += restarts_under_load(server, size, sizes["before_kill"])
        figures["rates"][str(size)] = points
    return figures


def restarts_under_load(server, size, messages):
    """Killed twice while it publishes: the file in the page cache, and not."""
    found = []
    for cold in (False, True):
        with Publisher(server, size) as publisher:
            before = server.info().messages
            while server.info().messages < before + messages:
                publisher.check()
                time.sleep(POLL)
            found.append(restart(server, cold))
    return found


def topics_part(place, sizes, progress):
    """Publish rate and memory while the index of many topics grows."""
    topics, until, step = sizes["topics"], sizes["depth"], sizes["depth_step"]
    points = []
    with Server(place) as server:
        with Publisher(server, sizes["depth_payload"], topics) as publisher:
            while server.info().messages < step / 20:  # all topics are made
                publisher.check()
                time.sleep(POLL)
            meter, mark = Meter(server), 0
            while mark < until:
                mark += step
                while server.info().messages < mark:
                    publisher.check()
                    time.sleep(POLL)
                rate, info = meter.look()
                points.append({"messages": info.messages, "msgs_per_s": rate, "memory_mb": server.memory_bytes() / 1e6,
                               "file_gb": server.file_bytes() / GIGABYTE})
                progress(mark / until, f"{mark / 1e6:.1f} M messages, {points[-1]['file_gb']:.1f} GB")
            last = restart(server, cold=False)
        restarts = [last, restart(server, cold=True)]
    return {"topics": topics, "payload": sizes["depth_payload"], "points": points, "restarts": restarts}


def wal_part(place, sizes, progress):
    """The WAL beside continuous replays, and what replays leave of the publish rate; in turns."""
    turns, alone, beside = sizes["turns"], [], []
    figures = {"replays": sizes["replays"], "samples": [], "spans": [], "whole_replays": 0}
    with Server(place) as server:
        published(server, sizes["history"])
        (topic,) = topic_names(server)
        with Publisher(server) as publisher:
            watch = Watch(server, publisher)
            for turn in range(turns):
                alone.append(watch.observe(sizes["turn_s"], figures["samples"]))
                begin = watch.now()
                with Replays(server, topic, sizes["replays"]) as reading:
                    beside.append(watch.observe(sizes["turn_s"], figures["samples"]))
                    figures["whole_replays"] += reading.rounds
                figures["spans"].append((begin, watch.now()))
                largest = max(sample["wal_mb"] for sample in figures["samples"])
                progress((turn + 1) / turns, f"turn {turn + 1}: largest WAL {largest:.1f} MB")
    figures["alone"], figures["beside"] = statistics.median(alone), statistics.median(beside)
    figures["ratio"] = statistics.median(with_ / without for with_, without in zip(beside, alone))
    return figures


class Watch:
    """Samples a broker beside a publisher; times are seconds since it was made."""

    INTERVAL = 0.25

    def __init__(self, server, publisher):
        self.server = server
        self.publisher = publisher
        self.began = time.monotonic()

    def now(self):
        return time.monotonic() - self.began

    def observe(self, seconds, samples):
        """Adds samples for a while; returns the publish rate of the later nine tenths, when a change has settled."""
        start, settled = self.now(), None
        last, last_time = self.server.info(), start
        while self.now() - start < seconds:
            wal, until = 0, last_time + self.INTERVAL
            while self.now() < until:
                wal = max(wal, self.server.wal_bytes())
                time.sleep(POLL)
            self.publisher.check()
            info, now = self.server.info(), self.now()
            samples.append({"s": now, "wal_mb": wal / 1e6,
                            "published_per_s": (info.messages - last.messages) / (now - last_time),
                            "replayed_per_s": (info.delivered - last.delivered) / (now - last_time)})
            last, last_time = info, now
            if settled is None and now - start >= seconds / 10:
                settled = (info.messages, now)
        return (last.messages - settled[0]) / max(last_time - settled[1], 1e-9)
