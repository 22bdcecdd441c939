"""What one idle connection costs the broker: resident memory, and the time to connect.

    connections.py --connections 10000

A fresh broker, warmed up until its shared buffers are full, then these stages, each measured when the broker is
idle again:

    connected    each connection has said Hello
    subscribed   half of them have one durable subscription each, at its end
    worked       each has published, those with a subscription have received and acknowledged it, all rest

Prints one line a stage, or one JSON object with --json. Needs a descriptor for each connection on both sides.
"""
import argparse
import json
import resource
import sys
import time

import wire
from wire import Wire, pb

from own_broker import own_broker
from psbroker_test import current_memory

CHUNK = 250          # connections that are worked with at a time
SIZE = 1024          # payload bytes
BURST = 24           # messages that each connection publishes at once: more than a small read
WARM_UP_ROUNDS = 12  # of CHUNK connections: the tail is full
SETTLED = 0.5        # seconds in which memory has not fallen any more


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def settled_memory(pid):
    """Resident bytes of an idle process once they do not fall any more."""
    least, since = current_memory(pid), time.monotonic()
    while time.monotonic() - since < SETTLED:
        time.sleep(0.05)
        now = current_memory(pid)
        if now < least:
            least, since = now, time.monotonic()
    return least


def chunks(items):
    for begin in range(0, len(items), CHUNK):
        yield items[begin:begin + CHUNK]


class Crowd:
    """Many connections to one broker; every second one may hold a durable subscription."""

    def __init__(self, connect):
        self.connect = connect
        self.clients = []

    def close(self):
        for client in self.clients:
            client.close()
        self.clients = []

    def join(self, count):
        while len(self.clients) < count:
            fresh = [self.connect() for _ in range(min(CHUNK, count - len(self.clients)))]
            self.clients += fresh
            requests = [_send(client, hello=pb.Hello(min_version=1, max_version=1)) for client in fresh]
            for client, request in zip(fresh, requests):
                client.answer(request)

    def subscribe(self):
        """Every second connection, to a topic of its own."""
        numbered = list(enumerate(self.clients))[::2]
        for part in chunks(numbered):
            requests = [_send(client, subscribe=pb.Subscribe(
                filter=b"connection/%d" % number, durable_id=b"client %d" % number,
                credit_messages=wire.PLENTY, credit_bytes=wire.PLENTY)) for number, client in part]
            for (_, client), request in zip(part, requests):
                client.subscription = client.answer(request).subscribed.subscription

    def work(self, rounds=2):
        """Every connection publishes a burst to its topic; who has subscribed receives and acknowledges."""
        payloads = [b"x" * SIZE] * BURST
        for _ in range(rounds):
            for part in chunks(list(enumerate(self.clients))):
                requests = [_send(client, publish=client.publish_frame((b"connection/%d" % number, payloads)))
                            for number, client in part]
                for (number, client), request in zip(part, requests):
                    client.published(request, BURST)
                    if number % 2 == 0:
                        self._receive(client, b"connection/%d" % number, BURST)

    @staticmethod
    def _receive(client, topic, count):
        got = client.messages(client.subscription, count)
        client.request(ack=pb.Ack(subscription=client.subscription, topic=topic,
                                  next_offset=got[-1][1].offset + 1))


def _send(client, **body):
    number = client.request_id()
    client.send(pb.ClientFrame(request_id=number, **body))
    return number


def warm_up(connect, rounds=WARM_UP_ROUNDS):
    """Fills what all connections share, as many at a time as later: the tail, caches, what malloc keeps."""
    crowd = Crowd(connect)
    try:
        crowd.join(CHUNK)
        crowd.subscribe()
        crowd.work(rounds)
    finally:
        crowd.close()


def measure(broker, count, connect=None, progress=lambda text: None, rounds=WARM_UP_ROUNDS):
    """Figures of a running Broker: seconds to connect, and bytes of its memory an idle connection by stage.
    The connections are closed again."""
    connect = connect or (lambda: Wire(broker.port, hello=False))
    warm_up(connect, rounds)
    before = settled_memory(broker.pid)
    crowd = Crowd(connect)
    figures = {"connections": count, "warmed_up_bytes": before}

    def note(stage):
        figures[stage + "_bytes_each"] = round((settled_memory(broker.pid) - before) / count)
        progress(f"{stage:<12}{figures[stage + '_bytes_each']:8} bytes a connection")
    try:
        begin = time.monotonic()
        crowd.join(count)
        figures["connect_s"] = round(time.monotonic() - begin, 3)
        note("connected")
        crowd.subscribe()
        note("subscribed")
        crowd.work()
        note("worked")
    finally:
        crowd.close()
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0],
                                     epilog="PSBROKER in the environment names the broker's program.")
    parser.add_argument("--connections", type=int, default=10000, metavar="N", help="default: %(default)s")
    parser.add_argument("--unix", action="store_true", help="over a Unix socket instead of TCP")
    parser.add_argument("--directory", help="where the broker's data goes for the time being")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    raise_descriptor_limit()
    with own_broker(options.directory, options.unix) as broker:
        connect = (lambda: Wire(None, hello=False, path=broker.socket)) if options.unix else None
        figures = measure(broker, options.connections, connect, lambda text: print(text, file=sys.stderr))
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"{figures['connections']} connections in {figures['connect_s']:.2f} s; a connection costs "
              f"{figures['connected_bytes_each']}, {figures['subscribed_bytes_each']} and "
              f"{figures['worked_bytes_each']} bytes: connected, half subscribed, worked and idle")


if __name__ == "__main__":
    main()
