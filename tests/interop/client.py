"""A small psbroker client, written from proto/README.md and the generated messages and from nothing else.

Blocking, one thread. It publishes in batches under the broker's window, subscribes with credit that it raises as
messages are consumed, and resumes: a temporary subscription from its mark and offsets, a durable one from what
was acknowledged. Nothing here is shared with the other tests, so that this file proves the text.
"""
import collections
import socket
import struct

import psbroker_pb2 as schema

HARD_CAP = 16 << 20
CREDIT_MESSAGES = 1000
CREDIT_BYTES = 1 << 20

DRAINING, MOVED, END_REACHED, LOG_CHANGED = 43, 33, 30, 23


class BrokerError(Exception):
    def __init__(self, error):
        super().__init__(f"{error.status}: {error.text}")
        self.status = error.status
        self.error = error


class ConnectionLost(Exception):
    pass


class LogChanged(Exception):
    """Another log than before: what is remembered of offsets and marks is void."""


def size_of(message):
    return len(message.payload) + len(message.key) + sum(len(h.name) + len(h.value) for h in message.headers)


class Connection:
    """Frames in and out, Hello done, pings answered, requests matched with their answers."""

    def __init__(self, host, port, publisher=None):
        self.stream = socket.create_connection((host, port), 60)
        self.received = b""
        self.last_request = 0
        self.events = collections.deque()
        hello = schema.Hello(min_version=1, max_version=1)
        if publisher is not None:
            hello.id = publisher
        (welcome,) = self.call(hello=hello)
        self.welcome = welcome.welcome
        self.draining = False

    def close(self):
        self.stream.close()

    def write(self, frame):
        body = frame.SerializeToString()
        try:
            self.stream.sendall(struct.pack(">I", len(body)) + body)
        except OSError as error:
            raise ConnectionLost from error

    def fill(self, size):
        while len(self.received) < size:
            try:
                piece = self.stream.recv(1 << 16)
            except OSError as error:
                raise ConnectionLost from error
            if not piece:
                raise ConnectionLost
            self.received += piece

    def read(self):
        """The next frame that means something to us."""
        while True:
            self.fill(4)
            (size,) = struct.unpack(">I", self.received[:4])
            if not 1 <= size <= HARD_CAP:
                raise ConnectionLost
            self.fill(4 + size)
            frame = schema.ServerFrame.FromString(self.received[4:4 + size])
            self.received = self.received[4 + size:]
            kind = frame.WhichOneof("body")
            if kind == "ping":
                self.write(schema.ClientFrame(pong=schema.Pong(token=frame.ping.token)))
            elif kind == "goodbye":
                self.draining = True
            elif kind == "error" and not frame.HasField("request_id"):
                raise BrokerError(frame.error)
            elif kind is not None:
                return frame

    def call(self, **body):
        """Sends a request and returns its answers: more than one where `more` says so."""
        self.last_request += 1
        number = self.last_request
        self.write(schema.ClientFrame(request_id=number, **body))
        answers = []
        while True:
            frame = self.read()
            if not frame.HasField("request_id"):
                self.events.append(frame)
                continue
            if frame.request_id != number:
                raise AssertionError("an answer to nothing")
            if frame.WhichOneof("body") == "error":
                raise BrokerError(frame.error)
            answers.append(frame)
            kind = frame.WhichOneof("body")
            if kind == "published":
                runs = sum(run.count for answer in answers for run in answer.published.runs)
                if runs == sum(len(batch.messages) for batch in body["publish"].batches):
                    return answers
            elif not getattr(getattr(frame, kind), "more", False) or kind == "topic_list":
                return answers

    def event(self):
        return self.events.popleft() if self.events else self.read()

    def publish(self, topic, payloads):
        """Publishes in order; returns the offsets. Never more unanswered than the window allows."""
        offsets, limits = [], self.welcome.limits
        messages = [payload if isinstance(payload, schema.Message) else schema.Message(payload=payload)
                    for payload in payloads]
        while messages:
            batch, used = schema.PublishBatch(topic=topic), 0
            room = min(self.welcome.publish_window, limits.max_message)
            while messages and len(batch.messages) < limits.max_messages_per_frame:
                used += size_of(messages[0]) + 16
                if batch.messages and used > room:
                    break
                batch.messages.append(messages.pop(0))
            for answer in self.call(publish=schema.Publish(batches=[batch])):
                for run in answer.published.runs:
                    if run.HasField("error"):
                        raise BrokerError(run.error)
                    offsets += range(run.first_offset, run.first_offset + run.count)
        return offsets


class Subscription:
    """A filter that is followed over any number of connections. Messages come from next()."""

    def __init__(self, filter, start, durable_id=None, until_end=False):
        self.filter = filter
        self.start = start
        self.durable_id = durable_id
        self.until_end = until_end
        self.mark = None
        self.log_id = None
        self.next_offsets = {}
        self.ready = collections.deque()
        self.gaps = []
        self.ended = None

    def attach(self, connection):
        if self.log_id not in (None, connection.welcome.log_id):
            raise LogChanged
        self.connection = connection
        self.ready.clear()
        self.given_messages = self.given_bytes = self.credited_messages = self.credited_bytes = 0
        request = schema.Subscribe(filter=self.filter, until_end=self.until_end, credit_messages=CREDIT_MESSAGES,
                                   credit_bytes=CREDIT_BYTES, log_id=connection.welcome.log_id)
        if self.durable_id is not None:
            request.durable_id = self.durable_id
        if self.mark is not None and self.durable_id is None:
            request.start.resume.mark = self.mark
            for topic, offset in self.next_offsets.items():
                request.start.resume.offsets.add(topic=topic, offset=offset)
        else:
            request.start.CopyFrom(self.start)
        answers = [answer.subscribed for answer in connection.call(subscribe=request)]
        self.number = answers[0].subscription
        self.created = answers[0].created
        self.mark = answers[0].mark
        self.log_id = connection.welcome.log_id
        self.next_offsets = {}
        for answer in answers:
            for start in answer.starts:
                self.next_offsets[start.topic] = start.offset
        return self

    def next(self):
        """The next (topic, message), or None when it ended."""
        while not self.ready and self.ended is None:
            self.take(self.connection.event())
        if not self.ready:
            return None
        topic, message = self.ready.popleft()
        self.next_offsets[topic] = message.offset + 1
        self.given_messages += 1
        self.given_bytes += size_of(message)
        if (self.given_messages - self.credited_messages >= CREDIT_MESSAGES // 2
                or self.given_bytes - self.credited_bytes >= CREDIT_BYTES // 2):
            self.credited_messages, self.credited_bytes = self.given_messages, self.given_bytes
            self.connection.write(schema.ClientFrame(credit=schema.Credit(
                subscription=self.number, messages=self.given_messages + CREDIT_MESSAGES,
                bytes=self.given_bytes + CREDIT_BYTES)))
        return topic, message

    def take(self, frame):
        kind = frame.WhichOneof("body")
        if kind == "delivery" and frame.delivery.subscription == self.number:
            expected = None
            for message in frame.delivery.messages:
                if expected is not None and message.offset != expected:
                    raise AssertionError("a hole inside a delivery")
                expected = message.offset + 1
                self.ready.append((frame.delivery.topic, message))
        elif kind == "gap":
            self.gaps.append((frame.gap.topic, getattr(frame.gap, "from"), frame.gap.to))
            self.next_offsets[frame.gap.topic] = frame.gap.to
        elif kind == "progress" and not self.ready:
            self.mark = frame.progress.mark
        elif kind == "subscription_ended":
            self.ended = frame.subscription_ended.reason

    def acknowledge(self, topic):
        """Answered after its commit: from here it goes on the next time."""
        self.connection.call(ack=schema.Ack(subscription=self.number, topic=topic,
                                            next_offset=self.next_offsets[topic], log_id=self.log_id))
