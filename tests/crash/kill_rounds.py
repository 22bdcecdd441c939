"""SIGKILL at random moments, at checkpoints and at index flushes, under load; then: is everything still true?

    SEED=number ROUNDS=20 kill_rounds.py

Four pipelining publishers write to a thousand topics, two durable subscribers read and acknowledge. A round
counts when at least 100 messages had been acknowledged and at least one was in flight when the broker died.
Where the kill fell is read from the files it left: a checkpoint that was begun and not ended stands in the
shared-memory file (attempted above done), an index flush leaves runs of an epoch that is not listed.
After each round the log is checked through the wire from where the round began; in the end all of it, through
the wire and with sqlite3.
"""
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
import time

import tap
from checker import (check_acknowledged, check_committed, check_delivery_order, check_once_and_in_order,
                     check_seen, log_over_sql, log_over_wire)
from recorder import Publisher, Subscriber
from wire import Wire, pb

from psbroker_test import Broker, Case, wait_until

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
ROUNDS = int(os.environ.get("ROUNDS", "20"))
EACH = 3               # rounds that must fall into a checkpoint, and into a flush
MOST_ROUNDS = 3 * ROUNDS
ENOUGH = 20000         # acknowledgements to check
TOPICS = [b"crash/%d/%s" % (number, (b"a", b"b", b"c", b"d")[number % 4]) for number in range(1000)]
SUBSCRIBERS = {b"everything": b"crash/#", b"quarter": b"crash/+/a"}


def in_checkpoint(database):
    """Whether a checkpoint was begun and not ended, from SQLite's shared-memory file (WalCkptInfo)."""
    try:
        with open(database + "-shm", "rb") as file:
            head = file.read(136)
    except FileNotFoundError:
        return False
    if len(head) < 136:
        return False
    (done,) = struct.unpack_from("=I", head, 96)
    (attempted,) = struct.unpack_from("=I", head, 128)
    return attempted > done


def in_flush(database, place):
    """Whether the index holds runs of an unlisted epoch; looked up in a copy, which SQLite recovers."""
    copy = os.path.join(place, "copy.db")
    for end in ("", "-wal"):
        if os.path.exists(database + end):
            shutil.copyfile(database + end, copy + end)
    connection = sqlite3.connect(copy)
    try:
        (runs,) = connection.execute("select count(*) from topic_runs where epoch > "
                                     "(select coalesce(max(epoch), 0) from epochs)").fetchone()
    finally:
        connection.close()
        for end in ("", "-wal", "-shm"):
            if os.path.exists(copy + end):
                os.remove(copy + end)
    return runs > 0


class Rounds:
    def __init__(self, case_dir):
        self.dir = case_dir
        self.data = os.path.join(case_dir, "data")
        self.chance = random.Random(SEED)
        self.problems = {}
        self.sent, self.acknowledged, self.seen = {}, [], []
        self.confirmed = {identifier: {} for identifier in SUBSCRIBERS}
        self.requested = {identifier: {} for identifier in SUBSCRIBERS}
        self.rounds = self.counted = self.checkpoints = self.flushes = self.in_flight = 0
        self.broker = None

    def complain(self, kind, problems):
        if problems:
            self.problems.setdefault(kind, []).extend(problems[:20])

    def enough(self):
        return (self.counted >= ROUNDS and self.checkpoints >= EACH and self.flushes >= EACH
                and len(self.acknowledged) >= ENOUGH)

    def mode(self):
        """Kinds that are still short first, random moments otherwise."""
        wanted = ["random"]
        if self.checkpoints < EACH:
            wanted.append("checkpoint")
        if self.flushes < EACH:
            wanted.append("flush")
        return wanted[self.rounds % len(wanted)]

    # ---------------------------------------------------------------------------------------- one round

    def round(self):
        mode = self.mode()
        base = (self.rounds + 1) << 40
        self.broker = Broker(self.data)
        with Wire(self.broker.port) as client:
            mark = client.info().mark
        publishers = [Publisher(self.broker.port, base | number << 36, TOPICS, self.chance.random())
                      for number in range(4)]
        subscribers = [Subscriber(self.broker.port, identifier, filter, self.chance.random())
                       for identifier, filter in SUBSCRIBERS.items()]
        for client in subscribers + publishers:
            client.start()
        self.kill_at(mode, lambda: sum(len(publisher.acknowledged) for publisher in publishers))
        code = self.broker.wait()
        if code != -9:
            self.complain("ends", [f"the broker ended by itself with {code}: {self.broker.err[-2000:]}"])
        for client in subscribers + publishers:
            client.join(60)
            if client.is_alive():
                self.complain("clients", ["a client does not end"])
            if client.problem:
                self.complain("clients", [client.problem])
        self.account(mode, publishers, subscribers)
        self.after(mark, publishers, subscribers)
        self.rounds += 1

    def kill_at(self, mode, acknowledged):
        killer = None
        if mode != "random":
            killer = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(__file__), "killer.py"),
                                       str(self.broker.pid), self.broker.database, mode, "60"],
                                      stdin=subprocess.PIPE)
        try:
            wait_until(lambda: acknowledged() >= 100 or not self.broker.running(), "100 acknowledgements")
            if killer is None:
                time.sleep(self.chance.random() ** 2)  # the random moment itself
                self.broker.signal(9)
            else:
                killer.communicate(b"go\n")
        finally:
            if killer is not None and killer.poll() is None:
                killer.kill()
                killer.wait()

    def account(self, mode, publishers, subscribers):
        acknowledged = sum(len(publisher.acknowledged) for publisher in publishers)
        in_flight = sum(publisher.in_flight() for publisher in publishers)
        counts = acknowledged >= 100 and in_flight >= 1
        checkpoint = in_checkpoint(self.broker.database)
        flush = in_flush(self.broker.database, self.dir)
        self.counted += counts
        self.checkpoints += counts and checkpoint
        self.flushes += counts and flush
        self.in_flight += in_flight
        print(f"# round {self.rounds}: {mode}, {acknowledged} acknowledged, {in_flight} in flight, "
              f"{sum(len(subscriber.seen) for subscriber in subscribers)} delivered"
              f"{', in a checkpoint' if checkpoint else ''}{', in an index flush' if flush else ''}")

    def after(self, mark, publishers, subscribers):
        """What this round was told, against what the broker has after the restart."""
        for publisher in publishers:
            self.acknowledged += publisher.acknowledged
            self.sent.update((number, topic) for topic, number in publisher.sent)
            self.complain("clients", [f"refused: {entry}" for entry in publisher.refused])
        for subscriber in subscribers:
            self.seen += subscriber.seen
            self.complain("delivery", check_delivery_order(subscriber.seen, subscriber.first))
            for known, new in ((self.confirmed, subscriber.confirmed), (self.requested, subscriber.requested)):
                mine = known[subscriber.identifier]
                for topic, offset in new.items():
                    mine[topic] = max(offset, mine.get(topic, 0))
        self.broker = Broker(self.data)
        log = log_over_wire(self.broker.port, "crash/#", mark)
        self.complain("gapless", log.problems)
        for publisher in publishers:
            self.complain("acknowledged", check_acknowledged(log, publisher.acknowledged))
        for subscriber in subscribers:
            recent = [entry for entry in subscriber.seen
                      if entry[0] in log.topics and entry[1] >= log.topics[entry[0]][0]]
            self.complain("seen", check_seen(log, recent))
        self.check_committed()
        self.broker.kill()

    def check_committed(self):
        with Wire(self.broker.port) as client:
            number = client.request_id()
            client.send(pb.ClientFrame(request_id=number, list_subscriptions=pb.ListSubscriptions()))
            committed = {identifier: {} for identifier in SUBSCRIBERS}
            more = True
            while more:
                part = client.answer(number).subscription_list
                for entry in part.subscriptions:
                    for position in entry.positions:
                        committed[entry.durable_id][position.topic] = position.committed
                more = part.more
        for identifier in SUBSCRIBERS:
            self.complain("committed", check_committed(committed[identifier], self.confirmed[identifier],
                                                       self.requested[identifier]))
            for topic, offset in committed[identifier].items():
                # from now on it may not fall below what the broker itself said
                self.confirmed[identifier][topic] = max(offset, self.confirmed[identifier].get(topic, 0))

    # -------------------------------------------------------------------------------------------- the end

    def everything(self):
        self.broker = Broker(self.data)
        over_wire = log_over_wire(self.broker.port, "crash/#")
        self.check_log(over_wire, "the wire")
        if self.broker.terminate() != 0:
            self.complain("ends", [f"no clean end: {self.broker.err[-2000:]}"])
        over_sql = log_over_sql(self.broker.database)
        self.check_log(over_sql, "sqlite3")
        view = log_over_sql(self.broker.database, "select topic, offset, cast(payload as blob) from history "
                                                  "order by topic, offset")
        self.check_log(view, "the view")
        for name, log in (("sqlite3", over_sql), ("the view", view)):
            if log.topics != over_wire.topics:
                self.complain("same", [f"{name} and the wire differ"])

    def check_log(self, log, where):
        def said(problems):
            return [f"through {where}: {problem}" for problem in problems]
        self.complain("gapless", said(log.problems))
        self.complain("gapless", said([f"{topic} starts at {first}" for topic, (first, _) in log.topics.items()
                                       if first != 0]))
        self.complain("acknowledged", said(check_acknowledged(log, self.acknowledged)))
        self.complain("seen", said(check_seen(log, self.seen)))
        self.complain("once", said(check_once_and_in_order(log, self.sent, lambda number: number >> 36 & 0xF)))

    def end(self):
        if self.broker is not None:
            self.broker.end()


class KillRounds(Case):
    """All rounds run before the first case; each case looks at one promise."""

    rounds = None

    def setUp(self):
        super().setUp()
        if KillRounds.rounds is None:
            print(f"# seed {SEED}")
            rounds = KillRounds.rounds = Rounds(self.dir)
            self.addCleanup(rounds.end)
            while not rounds.enough() and rounds.rounds < MOST_ROUNDS and not rounds.problems:
                rounds.round()
            if not rounds.problems:
                rounds.everything()
            print(f"# {rounds.rounds} rounds, {rounds.counted} counted, {rounds.checkpoints} in a checkpoint, "
                  f"{rounds.flushes} in an index flush, {len(rounds.acknowledged)} acknowledgements checked, "
                  f"{rounds.in_flight} messages in flight, {len(rounds.seen)} deliveries checked, seed {SEED}")

    def assert_none(self, kind):
        self.assertEqual(self.rounds.problems.get(kind, []), [], f"seed {SEED}")

    def test_every_acknowledged_message_is_at_its_offset(self):
        self.assert_none("acknowledged")

    def test_offsets_are_gapless_and_payloads_whole(self):
        self.assert_none("gapless")

    def test_only_what_was_sent_once_and_in_order(self):
        self.assert_none("once")

    def test_nothing_seen_has_changed(self):
        self.assert_none("seen")

    def test_deliveries_have_no_gap_and_no_duplicate(self):
        self.assert_none("delivery")

    def test_committed_offsets_never_go_back(self):
        self.assert_none("committed")

    def test_wire_and_sql_agree(self):
        self.assert_none("same")

    def test_brokers_end_only_when_killed(self):
        self.assert_none("ends")

    def test_clients_are_never_refused(self):
        self.assert_none("clients")

    def test_zz_enough_was_tried(self):
        rounds = self.rounds
        self.assertGreaterEqual(len(rounds.acknowledged), ENOUGH)
        self.assertGreaterEqual(rounds.counted, ROUNDS)
        self.assertGreaterEqual(rounds.checkpoints, EACH)
        self.assertGreaterEqual(rounds.flushes, EACH)


if __name__ == "__main__":
    tap.main()
