"""What must hold of a log after any fault, given what the recorder was told.

A log is {topic: (first offset, [number, …])}, read through the wire or with SQL. Each check returns a list of
complaints.
"""
import sqlite3

import wire
from recorder import number_of
from wire import Wire


class Log:
    def __init__(self):
        self.topics = {}
        self.problems = []

    def add(self, topic, offset, payload):
        first, numbers = self.topics.setdefault(topic, (offset, []))
        if offset != first + len(numbers):
            self.problems.append(f"{topic}: offset {offset} follows {first + len(numbers) - 1}")
        number = number_of(payload)
        if number is None:
            self.problems.append(f"{topic}: payload at {offset} is not what was published: {bytes(payload)[:60]!r}")
        numbers.append(number)

    def at(self, topic, offset):
        first, numbers = self.topics.get(topic, (0, []))
        return numbers[offset - first] if first <= offset < first + len(numbers) else None

    def head(self, topic):
        first, numbers = self.topics[topic]
        return first + len(numbers)

    def count(self):
        return sum(len(numbers) for _, numbers in self.topics.values())


def log_over_wire(port, filter, mark=None):
    """Everything that matches, or what came at or after a mark."""
    log = Log()
    with Wire(port) as client:
        start = wire.BEGINNING if mark is None else wire.resume(mark)
        subscribed = client.subscribe(filter, start=start, until_end=True)
        for start in subscribed.starts:
            if start.offset < start.head:
                log.topics[start.topic] = (start.offset, [])
        heads = {start.topic: start.head for start in subscribed.starts if start.offset < start.head}
        while True:
            frame = client.next("delivery", "subscription_ended", "gap")
            kind = frame.WhichOneof("body")
            if kind != "delivery":
                if kind == "gap" or frame.subscription_ended.reason.status != wire.END_REACHED:
                    log.problems.append(f"the replay stopped: {frame}")
                break
            for message in frame.delivery.messages:
                log.add(frame.delivery.topic, message.offset, message.payload)
    for topic, head in heads.items():
        if log.head(topic) != head:
            log.problems.append(f"{topic}: replayed up to {log.head(topic)}, announced {head}")
    return log


def log_over_sql(path, query="select t.name, m.offset, cast(m.payload as blob) from messages m "
                             "join topics t using (topic_id) order by m.seq"):
    log = Log()
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)
    try:
        for topic, offset, payload in connection.execute(query):
            log.add(topic.encode(), offset, bytes(payload))
        (answer,) = connection.execute("pragma integrity_check").fetchone()
        if answer != "ok":
            log.problems.append(f"integrity_check: {answer}")
    finally:
        connection.close()
    return log


def check_acknowledged(log, acknowledged):
    """Every acknowledged message stands at its offset."""
    return [f"{topic}: {number:x} was acknowledged at {offset}, there is {log.at(topic, offset)}"
            for topic, offset, number in acknowledged if log.at(topic, offset) != number]


def check_seen(log, seen):
    """Nothing that a subscriber saw has changed."""
    return [f"{topic}: {number} was delivered at {offset}, there is {log.at(topic, offset)}"
            for topic, offset, number in seen if number is None or log.at(topic, offset) != number]


def check_delivery_order(seen, first):
    """One subscriber's deliveries: per topic without gap or duplicate, from where it was told."""
    problems, following = [], dict(first)
    for topic, offset, _ in seen:
        if offset != following.get(topic, 0):
            problems.append(f"{topic}: {offset} was delivered, {following.get(topic, 0)} was due")
        following[topic] = offset + 1
    return problems


def check_once_and_in_order(log, sent, origin):
    """Only what was sent is there, at most once, and one publisher's messages to a topic keep their order.
    `sent`: {number: topic}; `origin(number)`: who published it."""
    problems, found = [], set()
    for topic, (first, numbers) in log.topics.items():
        last = {}
        for index, number in enumerate(numbers):
            if number in found:
                problems.append(f"{topic}: {number:x} is there twice, again at {first + index}")
            found.add(number)
            if sent.get(number) != topic:
                problems.append(f"{topic}: {number} at {first + index} was never published there")
            elif number < last.get(origin(number), -1):
                problems.append(f"{topic}: {number:x} at {first + index} overtook {last[origin(number)]:x}")
            last[origin(number) if number is not None else None] = number
    return problems


def check_committed(committed, confirmed, requested):
    """Committed offsets: not below what was answered, not above what was ever acknowledged."""
    problems = []
    for topic, offset in confirmed.items():
        if committed.get(topic, 0) < offset:
            problems.append(f"{topic}: {offset} was committed, now {committed.get(topic)}")
    for topic, offset in committed.items():
        if offset > requested.get(topic, 0):
            problems.append(f"{topic}: committed {offset}, acknowledged only {requested.get(topic, 0)}")
    return problems
