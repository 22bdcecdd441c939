"""What publishing to a live subscriber costs beside those who misbehave: latencies without and beside them, in turns.

    beside.py --crowd stopped --publisher

`psctl bench latency` publishes at a fixed rate to one live subscriber of its own: a window without the crowd and one
beside it alternate on one broker, so that what else the machine does meets both. Figures are medians of the windows;
the ratio is that of the medians. Prints a line of a table, or JSON with --json.
"""
import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import wire
from wire import Wire, frame, pb

from growth_load import MEBIBYTE, Publisher, Server, Stopped, published, topic_names
from psbroker_test import PSCTL, wait_until

HISTORY = "psctl-bench/#"


class Watch(threading.Thread):
    """The largest WAL that was seen."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.wal, self.over = server, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.02):
            self.wal = max(self.wal, self.server.wal_bytes())


class Crowd:
    """Peers that a thread keeps busy in `_run()` until `over`."""

    def __init__(self, peers):
        self.peers = peers
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        for peer in self.peers:
            peer.close()


class SlowSenders(Crowd):
    """Half of them before Hello, half with a frame that never ends; each sends a byte a second."""

    def __init__(self, server, count):
        peers = []
        for index in range(count):
            if index % 2:
                peers.append(Wire(server.broker.port).socket)
            else:
                peers.append(socket.create_connection(("127.0.0.1", server.broker.port)))
        super().__init__(peers)

    def _run(self):
        data, at = frame(b"\x08" * 4000), 0
        while True:
            for peer in self.peers:
                try:
                    peer.send(data[at:at + 1])
                except OSError:
                    pass  # its time was over
            at += 1
            if self.over.wait(1):
                return


class SlowReaders(Crowd):
    """Each replays all there is at a megabyte a second."""

    PIECE, PAUSE = 16 * 1024, 1 / 64

    def __init__(self, server, count):
        clients = [Wire(server.broker.port) for _ in range(count)]
        for client in clients:
            client.subscribe(HISTORY, start=wire.BEGINNING)
        super().__init__(clients)

    def _run(self):
        while not self.over.wait(self.PAUSE):
            for client in self.peers:
                client.socket.recv(self.PIECE)


def stopped(server, count):
    """They get what the other client publishes; without one, what was there before."""
    if server.busy is None:
        return Stopped(server, HISTORY, [wire.BEGINNING] * count)
    return Stopped(server, server.busy, [wire.NEW] * count)


def new_topic(server, known):
    return next((name for name in topic_names(server) if name not in known), None)


CROWDS = {
    "stopped": (stopped, 1000, "{} subscribers that stopped"),
    "slow-senders": (SlowSenders, 500, "{} that send a byte a second"),
    "slow-readers": (SlowReaders, 1, "{} that replays at 1 MB/s"),
}


def latency(server, options):
    """(p50, p99) in milliseconds of one window."""
    done = subprocess.run([PSCTL, "-p", str(server.broker.port), "bench", "latency", "--rate", str(options.rate), "--duration",
                           f"{options.seconds}s", "-o", "json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    figures = json.loads(done.stdout)
    if not figures["complete"]:
        sys.exit("messages are missing")
    return figures["p50_ms"], figures["p99_ms"]


def measure(place, options):
    """{figure: value}"""
    crowd, count, _ = CROWDS[options.crowd]
    with Server(place, "--max-topics", "1000") as server:
        published(server, options.history)
        watch = Watch(server)
        watch.start()
        known, server.busy = topic_names(server), None
        publisher = Publisher(server, options.size) if options.publisher else None
        without, beside = [], []
        try:
            if publisher is not None:
                server.busy = wait_until(lambda: new_topic(server, known), "the publisher's topic")
            latency(server, options)  # what is slow once
            for _ in range(options.rounds):
                wait_until(lambda: server.info().connections <= (3 if publisher else 1), "the crowd to be gone")
                without.append(latency(server, options))
                with crowd(server, options.count or count):
                    time.sleep(options.settle)  # until sockets are full
                    beside.append(latency(server, options))
        finally:
            if publisher is not None:
                publisher.stop()
            watch.over.set()
            watch.join()
        figures = {"crowd": options.crowd, "count": options.count or count, "publisher": options.publisher,
                   "history": options.history, "rounds": options.rounds}
        for index, name in enumerate(("p50_ms", "p99_ms")):
            figures[name] = [round(statistics.median(window[index] for window in side), 2) for side in (without, beside)]
        figures["p99_windows_ms"] = [[round(window[1], 2) for window in side] for side in (without, beside)]
        figures["ratio"] = round(figures["p99_ms"][1] / figures["p99_ms"][0], 2)
        figures["largest_wal_mib"] = round(watch.wal / MEBIBYTE, 1)
        figures["peak_mib"] = round(server.peak_bytes() / MEBIBYTE, 1)
        server.terminate()
        return figures


def row(figures):
    """A line of a table."""
    def spread(values):
        return f"{min(values):.2f}–{max(values):.2f}"
    text = CROWDS[figures["crowd"]][2].format(figures["count"])
    (p50, p50_beside), (p99, p99_beside) = figures["p50_ms"], figures["p99_ms"]
    return (f"| {text} | {'yes' if figures['publisher'] else 'no'} | {p50:.2f}, {p50_beside:.2f} | "
            f"{p99:.2f} ({spread(figures['p99_windows_ms'][0])}) | {p99_beside:.2f} ({spread(figures['p99_windows_ms'][1])}) | "
            f"{figures['ratio']:.2f} | {figures['largest_wal_mib']} | {figures['peak_mib']} |")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="PSBROKER and PSCTL in the environment name the programs.")
    parser.add_argument("--crowd", choices=CROWDS, default="stopped", help="who misbehaves (default: %(default)s)")
    parser.add_argument("--count", type=int, metavar="N", help="how many of them (stopped 1000, slow-senders 500, slow-readers 1)")
    parser.add_argument("--publisher", action="store_true", help="another client publishes at full rate all the while")
    parser.add_argument("--size", type=int, default=1000, metavar="BYTES", help="of that one's payloads (default: %(default)s)")
    parser.add_argument("--history", type=int, default=100000, metavar="N",
                        help="messages of 100 bytes that are there before (default: %(default)s)")
    parser.add_argument("--rate", type=int, default=1000, metavar="N", help="messages a second (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=3, metavar="N", help="of a window (default: %(default)s)")
    parser.add_argument("--settle", type=float, default=1, metavar="S",
                        help="seconds that the crowd has before its window (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="windows of either kind (default: %(default)s)")
    parser.add_argument("--directory", help="where the broker's data goes for the time being")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser.parse_args()


def main():
    options = arguments()
    place = tempfile.mkdtemp(prefix="psbroker-bench.", dir=options.directory)
    try:
        figures = measure(place, options)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(json.dumps(figures) if options.json else row(figures))


if __name__ == "__main__":
    main()
