"""One broker for long, beside everything that comes and goes: in the end it holds no more than in the beginning.

In each round a witness publishes and reads over connections that are cut at any byte. Meanwhile, at random, consumers stop
and go on, connections end without a word, durable subscriptions are made and forgotten, topics are made and deleted. Then
all of them are gone: descriptors are as many as after the second round, resident memory is within 5 % and what malloc
keeps, once the tail and caches are full. What one publication takes is noted by rounds.
"""
import os
import subprocess
import threading
import time

from cutter import Cutter
from fault import Fault, Outcome
from psbroker_test import current_memory, wait_until
from witness import watching

MOST = 100_000    # acknowledged messages a round
WARM = 5          # rounds of which no measure is taken: the tail fills up, caches do
KEPT = 8 << 20    # bytes by which malloc may decide differently
CONSUMERS = 4
TOPICS = 20


class Neighbours:
    """They act on a broker in a thread until `stop()`, one after the other, and leave nothing behind."""

    def __init__(self, watched, psctl, cutter):
        from wire import Wire  # made by a build
        self.wire = Wire
        self.watched = watched
        self.chance = watched.chance
        self.psctl = psctl
        self.cutter = cutter
        self.acts = 0
        self.seconds = []  # of each publication
        self.over = threading.Event()
        self.wrong = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.consumers = [self.consume() for _ in range(CONSUMERS)]
        self.stopped = set()
        self.thread.start()

    def connect(self):
        return self.wire(0, path=self.watched.listen)

    def consume(self):
        return subprocess.Popen([self.psctl, "--server", f"unix:{self.watched.listen}", "sub", self.chance.choice(("#", "w/+"))],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self):
        try:
            with self.connect() as self.client:
                while not self.over.is_set():
                    self.chance.choice((self.stop_or_go_on, self.kill_a_consumer, self.cut, self.subscribe, self.publish,
                                        self.delete, self.leave_without_a_word))()
                    self.acts += 1
                    self.probe()
                    time.sleep(self.chance.random() / 50)
                self.delete_all()
        except Exception as error:
            self.wrong.append(f"beside the witness: {type(error).__name__}: {error}")

    def stop(self):
        self.over.set()
        self.thread.join()
        for consumer in self.consumers:
            consumer.kill()
            consumer.wait()
        return self.wrong

    # ------------------------------------------------------------------------------------------------ acts

    def probe(self):
        began = time.monotonic()
        self.client.publish("soak/probe", "x")
        self.seconds.append(time.monotonic() - began)

    def stop_or_go_on(self):
        consumer = self.chance.choice(self.consumers)
        consumer.send_signal(18 if consumer in self.stopped else 19)  # SIGCONT, SIGSTOP
        self.stopped ^= {consumer}

    def kill_a_consumer(self):
        index = self.chance.randrange(CONSUMERS)
        self.stopped.discard(self.consumers[index])
        self.consumers[index].kill()
        self.consumers[index].wait()
        self.consumers[index] = self.consume()

    def cut(self):
        self.cutter.cut_one()

    def leave_without_a_word(self):
        client = self.connect()
        client.subscribe("#", credit=self.chance.random() < 0.5)
        client.close()

    def subscribe(self):
        from wire import BEGINNING, pb
        name = b"soak-%d" % self.chance.randrange(10)
        with self.connect() as client:
            subscribed = client.subscribe("#", durable_id=name, start=BEGINNING)
            client.request(unsubscribe=pb.Unsubscribe(subscription=subscribed.subscription))

    def topic(self):
        return b"soak/%d" % self.chance.randrange(TOPICS)

    def publish(self):
        self.client.publish(self.topic(), *[b"x" * self.chance.randrange(2000)] * self.chance.randint(1, 50))

    def delete(self, topic=None):
        from wire import NO_SUCH_TOPIC, Refused, pb
        try:
            self.client.request(delete_topic=pb.DeleteTopic(topic=topic or self.topic()))
        except Refused as refused:
            if refused.status != NO_SUCH_TOPIC:
                raise

    def delete_all(self):
        self.delete(b"soak/probe")
        for number in range(TOPICS):
            self.delete(b"soak/%d" % number)


class Soak:
    """Rounds on one broker, and what it held after each."""

    def __init__(self, watched, psctl, cutter):
        self.watched = watched
        self.psctl = psctl
        self.cutter = cutter
        self.acts = 0
        self.held = []     # (resident bytes, descriptors)
        self.seconds = []  # sorted lists

    def round(self):
        watched = self.watched
        neighbours = Neighbours(watched, self.psctl, self.cutter)
        try:
            self.cutter.active = True
            watched.witness.insist(MOST)
            watched.witness.answer("ended", "lost")
        finally:
            self.cutter.active = False
            watched.violations += neighbours.stop()
        self.acts += neighbours.acts
        self.seconds.append(sorted(neighbours.seconds))
        if not watched.witness.check():
            watched.complain(f"the broker was lost while all was read: {watched.broker.err[-1500:]}")
        with neighbours.connect() as client:
            wait_until(lambda: client.info().connections == 1, "everybody to be gone")
            pid = watched.broker.pid
            self.held.append((current_memory(pid), len(os.listdir(f"/proc/{pid}/fd"))))

    def judge(self):
        warm = self.held[WARM:]
        descriptors = {count for _, count in self.held[1:]}
        if len(descriptors) > 1:
            self.watched.complain(f"descriptors after each round: {[count for _, count in self.held]}")
        if len(warm) < 4:
            return
        half = len(warm) // 2
        first, last = (min(bytes for bytes, _ in part) for part in (warm[:half], warm[half:]))
        if last > first * 1.05 + KEPT:
            self.watched.complain(f"resident MiB after each round: {[bytes >> 20 for bytes, _ in self.held]}")

    def note(self):
        if not self.seconds:
            return
        first, last = self.seconds[min(WARM, len(self.seconds) - 1)], self.seconds[-1]
        figures = ", ".join(f"{name} {at(first) * 1e3:.1f} to {at(last) * 1e3:.1f} ms"
                            for name, at in (("p50", lambda found: found[len(found) // 2]),
                                             ("p99", lambda found: found[-1 - len(found) // 100])))
        memory = [round(bytes / (1 << 20), 1) for bytes, _ in self.held]
        return f"{len(self.held)} rounds; a publication from first to last: {figures}; MiB after each: {memory[:3]} … {memory[-3:]}"


def soak(builds, seed, seconds):
    outcome = Outcome()
    end = time.monotonic() + seconds
    with watching(outcome, builds, seed, live=0) as watched:
        watched.listen = os.path.join(watched.directory, "broker")
        watched.start()
        cutter = Cutter(watched.socket, watched.listen, seed)
        course = Soak(watched, builds.psctl(), cutter)
        try:
            while not watched.found() and (not course.held or time.monotonic() < end):
                course.round()
        finally:
            cutter.end()
        outcome.injected += course.acts + cutter.cuts
        course.judge()
        outcome.notes.append(course.note())
    return outcome


FAULTS = [
    Fault("soak", "31", "one broker beside clients, topics and subscriptions that come and go", soak, share=4, turn=3),
]
