"""Growth of memory: idle durable subscriptions, idle connections, subscribers that have stopped.

Each part is a function (place, sizes, progress) -> figures, as in growth_file.py.
"""
import time

import connections
import wire
from wire import Wire, pb

from growth_load import Meter, Publisher, Server, Stopped, published, topic_names

PER_CONNECTION = 500  # subscriptions that are made over one


def make_subscriptions(server, first, count):
    """Durable ones, each under an id of its own, with a committed offset; detached when this returns."""
    for begin in range(first, first + count, PER_CONNECTION):
        numbers = range(begin, min(begin + PER_CONNECTION, first + count))
        with Wire(server.broker.port) as client:
            asked = [ask(client, subscribe=pb.Subscribe(filter=b"news/today", durable_id=b"reader-%07d" % number,
                                                        start=wire.BEGINNING, credit_messages=1, credit_bytes=1024))
                     for number in numbers]
            held = [client.answer(request).subscribed.subscription for request in asked]
            for _ in held:
                client.next("delivery")
            asked = [ask(client, ack=pb.Ack(subscription=number, topic=b"news/today", next_offset=1))
                     for number in held]
            for request in asked:
                client.answer(request)


def ask(client, **body):
    number = client.request_id()
    client.send(pb.ClientFrame(request_id=number, **body))
    return number


def subscriptions_part(place, sizes, progress):
    """What an idle durable subscription costs in the file, in memory, and at a restart."""
    points, made, counts = [], 0, sizes["subscriptions"]
    with Server(place) as server:
        server.client.publish("news/today", b"x" * 100)
        for count in counts:
            make_subscriptions(server, made, count - made)
            made = count
            server.kill()
            seconds = server.start()
            point = {"subscriptions": count, "restart_s": seconds, "recovered_ms": server.recovered_ms(),
                     "threads": server.threads(), "memory_mb": connections.settled_memory(server.broker.pid) / 1e6}
            server.terminate()  # empties the WAL
            point["file_bytes"] = server.file_bytes()
            server.start()
            points.append(point)
            progress(count / counts[-1], f"{count} subscriptions")
    return {"points": points}


def connections_part(place, sizes, progress):
    """Resident memory of idle connections, by what they have done before."""
    points, counts = [], sizes["connections"]
    for number, count in enumerate(counts):
        with Server(place) as server:
            points.append(connections.measure(server.broker, count, rounds=sizes["warm_up"]))
        progress((number + 1) / len(counts), f"{count} connections")
    return {"points": points}


def stopped_part(place, sizes, progress):
    """Memory and publish rate beside subscribers that take nothing, at full rate: stopped at the end of the log, where
    they share what they hold, or each somewhere in history, where each holds something else."""
    figures, counts = {"live": [], "history": []}, sizes["stopped"]
    for number, count in enumerate(counts):
        for kind, points in figures.items():
            with Server(place) as server:
                published(server, sizes["stopped_history"])
                (topic,) = topic_names(server)
                step = server.info().messages // max(count, 1)
                starts = [wire.at(index * step) for index in range(count)] if kind == "history" else [wire.NEW] * count
                with Stopped(server, topic if kind == "history" else "#", starts):
                    points.append({"stopped": count, **beside_stopped(server, sizes["stopped_s"])})
        progress((number + 1) / len(counts), f"{count} stopped subscribers")
    return figures


def beside_stopped(server, seconds):
    with Publisher(server) as publisher:
        all_stand_still(server, publisher)
        meter, end = Meter(server), time.monotonic() + seconds
        while time.monotonic() < end:
            publisher.check()
            time.sleep(0.05)
        rate, info = meter.look()
    return {"msgs_per_s": rate, "peak_mb": server.peak_bytes() / 1e6, "queued_mb": info.queued_bytes / 1e6}


def all_stand_still(server, publisher, still=0.5):
    """Waits until something was published and nothing has been delivered for a while."""
    info, since = server.info(), time.monotonic()
    begin = info.messages
    while info.messages == begin or time.monotonic() - since < still:
        publisher.check()
        time.sleep(0.05)
        now = server.info()
        if now.delivered != info.delivered or now.messages == begin:
            since = time.monotonic()
        info = now
