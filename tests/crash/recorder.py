"""Load that remembers what it was told: publishers and durable subscribers against a broker that may die.

A message is a number; its payload follows from it, so a record is an int and any changed byte shows. Each
client runs in a thread of its own until its connection ends, and records
  publishers    what was sent, what was acknowledged at which offset, what was refused
  subscribers   what was delivered, which acknowledgements were sent and which were answered
"""
import random
import threading

import wire
from wire import Closed, Refused, Wire, pb

FILLER = b"abcdefghijklmnopqrstuvwxyz0123456789" * 16


def payload_of(number):
    size = (number * 0x9E3779B1 >> 9) % 240
    return b"%x:" % number + FILLER[number % 36:number % 36 + size]


def number_of(payload):
    """The number of a payload, or None if any byte of it is wrong."""
    head, colon, _ = bytes(payload).partition(b":")
    try:
        number = int(head, 16)
    except ValueError:
        return None
    return number if colon and payload_of(number) == payload else None


class Client(threading.Thread):
    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.problem = None

    def run(self):
        try:
            self.work()
        except (Closed, OSError):
            pass
        except Refused as refused:
            self.problem = f"{type(self).__name__} was refused: {refused.error}"
        except Exception as error:  # a thread must not lose it
            self.problem = f"{type(self).__name__}: {error!r}"


class Publisher(Client):
    """Keeps `window` publications under way, each of messages to many topics."""

    def __init__(self, port, first_number, topics, seed, window=6, batches=100):
        super().__init__(port)
        self.next_number = first_number
        self.topics = topics
        self.chance = random.Random(seed)
        self.window = window
        self.batches = batches
        self.sent = []          # (topic, number) in the order of sending
        self.acknowledged = []  # (topic, offset, number)
        self.refused = []
        self.answered = 0
        self.under_way = {}     # request id -> [(topic, number)], and how many are still unanswered
        self.left = {}

    def publish(self, client):
        frame = pb.ClientFrame(request_id=client.request_id())
        sent = []
        for topic in self.chance.sample(self.topics, min(self.batches, len(self.topics))):
            batch = frame.publish.batches.add(topic=topic)
            for _ in range(1 if self.chance.random() < 0.9 else 3):
                batch.messages.add(payload=payload_of(self.next_number))
                sent.append((topic, self.next_number))
                self.next_number += 1
        self.under_way[frame.request_id] = sent
        self.left[frame.request_id] = len(sent)
        self.sent += sent
        client.send(frame)

    def take(self, answer):
        sent = self.under_way[answer.request_id]
        for run in answer.published.runs:
            for index in range(run.count):
                topic, number = sent[run.first_index + index]
                if run.HasField("error"):
                    self.refused.append((topic, number, run.error.status))
                else:
                    self.acknowledged.append((topic, run.first_offset + index, number))
            self.left[answer.request_id] -= run.count
            self.answered += run.count
        if self.left[answer.request_id] == 0:
            del self.under_way[answer.request_id], self.left[answer.request_id]

    def work(self):
        with Wire(self.port, identifier=b"publisher") as client:
            while True:
                while len(self.under_way) < self.window:
                    self.publish(client)
                self.take(client.next("published"))

    def in_flight(self):
        return len(self.sent) - self.answered


class Subscriber(Client):
    """A durable subscription that acknowledges now and then, each time with a request that is answered."""

    def __init__(self, port, identifier, filter, seed):
        super().__init__(port)
        self.identifier = identifier
        self.filter = filter
        self.chance = random.Random(seed)
        self.seen = []          # (topic, offset, number or None)
        self.first = {}         # topic -> where the broker said that it starts
        self.requested = {}     # topic -> highest acknowledgement sent
        self.confirmed = {}     # topic -> highest acknowledgement answered
        self.waiting = {}

    def work(self):
        with Wire(self.port) as client:
            subscribed = client.subscribe(self.filter, durable_id=self.identifier, start=wire.BEGINNING)
            self.first = {start.topic: start.offset for start in subscribed.starts}
            while True:
                answer = client.next("delivery", "done")
                if answer.WhichOneof("body") == "done":
                    topic, offset = self.waiting.pop(answer.request_id)
                    self.confirmed[topic] = max(offset, self.confirmed.get(topic, 0))
                else:
                    self.take(client, subscribed.subscription, answer.delivery)

    def take(self, client, subscription, delivery):
        topic = delivery.topic
        for message in delivery.messages:
            self.seen.append((topic, message.offset, number_of(message.payload)))
        if self.chance.random() < 0.1:
            offset = delivery.messages[-1].offset + 1
            number = client.request_id()
            self.waiting[number] = (topic, offset)
            self.requested[topic] = max(offset, self.requested.get(topic, 0))
            client.send(pb.ClientFrame(request_id=number, ack=pb.Ack(subscription=subscription, topic=topic,
                                                                     next_offset=offset)))
