"""How long one connection's request makes the others wait: round trips of pings beside costly requests.

    turns.py --topics 100000

A fresh broker holds many topics and stored subscriptions whose filters match none of them. For each request of the
list one connection makes it and takes the answers, while another process pings the broker without a pause; the
longest round trip is what the request cost the others. Medians of --rounds; prints a table, or JSON with --json.
"""
import argparse
import json
import multiprocessing
import statistics
import sys
import time

import wire
from wire import Wire, pb

from own_broker import own_broker

SUBSCRIPTIONS = 300
TOPICS_PER_FRAME = 1000
PIPELINED = 100


def ping(port, commands, results):
    """Pings from one "go" to the next "stop"; puts the longest round trip in milliseconds."""
    client = Wire(port)
    request = wire.frame(pb.ClientFrame(ping=pb.Ping(token=1)).SerializeToString())
    while commands.get() == "go":
        longest = 0.0
        results.put("going")
        while commands.empty():
            begin = time.perf_counter()
            client.raw(request)
            client.next("pong")
            longest = max(longest, time.perf_counter() - begin)
        commands.get()
        results.put(longest * 1000)
    client.close()


def fill(client, topics):
    for first in range(0, topics, TOPICS_PER_FRAME):
        names = [b"topic/%06d" % number for number in range(first, min(first + TOPICS_PER_FRAME, topics))]
        number = client.request_id()
        client.send(pb.ClientFrame(request_id=number, publish=client.publish_frame(*[(name, [b"x"]) for name in names])))
        client.published(number, len(names))
    requests = []
    for number in range(SUBSCRIPTIONS):
        requests.append(client.request_id())
        client.send(pb.ClientFrame(request_id=requests[-1], subscribe=pb.Subscribe(
            filter=b"+/none", durable_id=b"reader-%d" % number)))
    for request in requests:
        client.answer(request)


def subscribe(port):
    with Wire(port) as client:
        client.subscribe("#", credit=False, start=wire.BEGINNING)


def subscribe_new(port):
    with Wire(port) as client:
        client.subscribe("#", credit=False)


def list_topics(port):
    with Wire(port) as client:
        requests = [client.request_id() for _ in range(PIPELINED)]
        client.raw(b"".join(wire.frame(pb.ClientFrame(request_id=number, list_topics=pb.ListTopics(
            filter=b"+/none")).SerializeToString()) for number in requests))
        for number in requests:
            client.answer(number)


def list_subscriptions(port):
    with Wire(port) as client:
        number = client.request_id()
        client.send(pb.ClientFrame(request_id=number, list_subscriptions=pb.ListSubscriptions()))
        while client.answer(number).subscription_list.more:
            pass


REQUESTS = {
    "nothing": lambda port: time.sleep(0.3),
    "Subscribe # from the beginning, then close": subscribe,
    "Subscribe #, then close": subscribe_new,
    f"{PIPELINED} ListTopics that match nothing": list_topics,
    f"ListSubscriptions, {SUBSCRIPTIONS} that match nothing": list_subscriptions,
}


def measure(broker, topics, rounds, progress=lambda text: None):
    """{request: longest wait of the others in milliseconds} on a running Broker without topics."""
    with Wire(broker.port) as client:
        fill(client, topics)
    commands, results = multiprocessing.Queue(), multiprocessing.Queue()
    pinger = multiprocessing.Process(target=ping, args=(broker.port, commands, results), daemon=True)
    pinger.start()
    figures = {}
    for name, request in REQUESTS.items():
        waits = []
        for _ in range(rounds):
            commands.put("go")
            results.get()
            request(broker.port)
            time.sleep(0.05)  # what closing costs counts too
            commands.put("stop")
            waits.append(results.get())
        figures[name] = round(statistics.median(waits), 2)
        progress(f"{name:<50}{figures[name]:8.2f} ms")
    commands.put("end")
    pinger.join()
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0],
                                     epilog="PSBROKER in the environment names the broker's program.")
    parser.add_argument("--topics", type=int, default=100000, metavar="N", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--directory", help="where the broker's data goes for the time being")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    with own_broker(options.directory) as broker:
        figures = measure(broker, options.topics, options.rounds, lambda text: print(text, file=sys.stderr))
    if options.json:
        print(json.dumps(figures))
        return
    print(f"| beside {options.topics} topics | the others wait |\n|---|---|")
    for name, wait in figures.items():
        print(f"| {name} | {wait:.1f} ms |")


if __name__ == "__main__":
    main()
