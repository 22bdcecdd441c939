"""A client of the wire for tests: frames in and out, nothing hidden, wrong bytes included.

Blocking sockets, one thread a client. The messages are python3-protobuf's, generated from psbroker.proto at
build time.
"""
import socket
import struct

import psbroker_pb2 as pb

# Numbers of the status table that tests name.
MALFORMED, FRAME_TOO_LARGE, UNSUPPORTED, VERSION_MISMATCH, PROTOCOL_VIOLATION, TIMED_OUT = 1, 2, 3, 4, 5, 6
BAD_TOPIC, BAD_FILTER, RESERVED_TOPIC, BAD_HEADER, BAD_ID, MESSAGE_TOO_LARGE, INVALID_ARGUMENT = range(10, 17)
NO_SUCH_TOPIC, NO_SUCH_SUBSCRIPTION, OUT_OF_RANGE, LOG_CHANGED, STALE_GENERATION, ALREADY_SUBSCRIBED = \
    range(20, 26)
END_REACHED, REPLACED, REMOVED, MOVED = 30, 31, 32, 33
LIMIT_EXCEEDED, DISK_FULL, STORAGE_BUSY, DRAINING, ROLE_REFUSED, NOT_ALLOWED = 40, 41, 42, 43, 44, 45
NO_MEMORY, RATE_EXCEEDED = 46, 47

PLENTY = 1 << 60


def frame(body):
    return struct.pack(">I", len(body)) + body


class Closed(Exception):
    """The broker closed the connection."""


class Refused(Exception):
    """The broker answered with an error."""

    def __init__(self, error):
        super().__init__(str(error))
        self.error = error
        self.status = error.status


class Wire:
    def __init__(self, port, hello=True, identifier=None, path=None, limit=60):
        if path is not None:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(limit)
            self.socket.connect(path)
        else:
            self.socket = socket.create_connection(("127.0.0.1", port), limit)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.adopt(self.socket)
        if hello:
            self.hello(identifier)

    def adopt(self, connected):
        """Goes on with a socket on which nothing was sent yet."""
        self.socket = connected
        self.buffer = bytearray()
        self.begin = 0
        self.next_request = 1
        self.kept = []
        self.welcome = None

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ----------------------------------------------------------------------------------------- sending

    def raw(self, data):
        self.socket.sendall(data)

    def send(self, message):
        self.raw(frame(message.SerializeToString()))

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def request_id(self):
        self.next_request += 1
        return self.next_request - 1

    # --------------------------------------------------------------------------------------- receiving

    def receive(self):
        """The next frame, whatever it is."""
        while True:
            have = len(self.buffer) - self.begin
            if have >= 4:
                (size,) = struct.unpack_from(">I", self.buffer, self.begin)
                if have >= 4 + size:
                    start = self.begin + 4
                    message = pb.ServerFrame.FromString(bytes(memoryview(self.buffer)[start:start + size]))
                    self.begin = start + size
                    if self.begin > 1 << 20:
                        del self.buffer[:self.begin]
                        self.begin = 0
                    return message
            try:
                piece = self.socket.recv(1 << 18)
            except ConnectionResetError as error:
                raise Closed() from error
            if not piece:
                raise Closed()
            self.buffer += piece

    def next(self, *kinds):
        """The next frame of one of these kinds, kept ones first; others are kept. Pings are answered."""
        for index, message in enumerate(self.kept):
            if message.WhichOneof("body") in kinds:
                return self.kept.pop(index)
        while True:
            message = self.receive()
            kind = message.WhichOneof("body")
            if kind in kinds:
                return message
            if kind == "ping":
                self.send(pb.ClientFrame(pong=pb.Pong(token=message.ping.token)))
            else:
                self.kept.append(message)

    def answer(self, request_id):
        """The answer to a request; Refused when it is an error."""
        def matches(message):
            return message.HasField("request_id") and message.request_id == request_id
        for index, message in enumerate(self.kept):
            if matches(message):
                del self.kept[index]
                return _checked(message)
        while True:
            message = self.receive()
            if matches(message):
                return _checked(message)
            if message.WhichOneof("body") == "ping":
                self.send(pb.ClientFrame(pong=pb.Pong(token=message.ping.token)))
            else:
                self.kept.append(message)

    def request(self, **body):
        number = self.request_id()
        self.send(pb.ClientFrame(request_id=number, **body))
        return self.answer(number)

    def closed(self):
        """Reads up to the end of the connection; returns the frames that came before it."""
        frames = self.kept
        self.kept = []
        try:
            while True:
                frames.append(self.receive())
        except Closed:
            return frames

    # ------------------------------------------------------------------------------------------ requests

    def hello(self, identifier=None, low=1, high=1):
        hello = pb.Hello(min_version=low, max_version=high)
        if identifier is not None:
            hello.id = _bytes(identifier)
        self.welcome = self.request(hello=hello).welcome
        return self.welcome

    def publish_frame(self, *batches):
        """A Publish of (topic, [payload | Message, …]) pairs."""
        publish = pb.Publish()
        for topic, messages in batches:
            batch = publish.batches.add(topic=_bytes(topic))
            for message in messages:
                if isinstance(message, pb.Message):
                    batch.messages.append(message)
                else:
                    batch.messages.add(payload=_bytes(message))
        return publish

    def publish(self, topic, *messages):
        """Runs of the answer, complete."""
        number = self.request_id()
        self.send(pb.ClientFrame(request_id=number, publish=self.publish_frame((topic, messages))))
        return self.published(number, len(messages))

    def published(self, number, count):
        runs = []
        while sum(run.count for run in runs) < count:
            runs.extend(self.answer(number).published.runs)
        return runs

    def subscribe(self, filter, credit=True, start=None, **options):
        """Returns the Subscribed with the starts of all its parts."""
        subscribe = pb.Subscribe(filter=_bytes(filter), start=start, **options)
        if credit:
            subscribe.credit_messages = PLENTY
            subscribe.credit_bytes = PLENTY
        number = self.request_id()
        self.send(pb.ClientFrame(request_id=number, subscribe=subscribe))
        whole = self.answer(number).subscribed
        part = whole
        while part.more:
            part = self.answer(number).subscribed
            whole.starts.extend(part.starts)
        return whole

    def messages(self, subscription, count):
        """The next `count` messages of a subscription, as (topic, Message)."""
        found = []
        while len(found) < count:
            delivery = self.next("delivery", "subscription_ended", "gap")
            kind = delivery.WhichOneof("body")
            if kind != "delivery":
                raise AssertionError(f"{kind} instead of a delivery: {delivery}")
            if delivery.delivery.subscription != subscription:
                raise AssertionError("a delivery of another subscription")
            found += [(delivery.delivery.topic, message) for message in delivery.delivery.messages]
        return found

    def info(self):
        return self.request(get_info=pb.GetInfo()).info


def _checked(message):
    if message.WhichOneof("body") == "error":
        raise Refused(message.error)
    return message


def _bytes(value):
    return value if isinstance(value, bytes) else value.encode()


BEGINNING = pb.Start(beginning=True)
NEW = pb.Start(new=True)


def at(offset):
    return pb.Start(offset=offset)


def last(count):
    return pb.Start(last=count)


def resume(mark, offsets=()):
    start = pb.Start()
    start.resume.mark = mark
    for topic, offset in offsets:
        start.resume.offsets.add(topic=_bytes(topic), offset=offset)
    return start
