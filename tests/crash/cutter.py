"""Connections that end at any byte: a proxy in front of a broker, between two Unix sockets.

Of each connection so many bytes are passed on in one direction, the answers' or now and then the requests', and no more:
then both sides are cut. What was stored may never be acknowledged, and a request may end in its middle.
"""
import os
import random
import socket
import threading

LEAST, MOST = 64, 16 << 20  # bytes until a cut; each magnitude is as likely
PIECE = 1 << 18
REQUESTS = 0.2  # of the cuts


class Cutter:
    """Cuts while `active`; `cuts` were made."""

    def __init__(self, path, target, seed):
        self.target = target
        self.chance = random.Random(seed)
        self.active = False
        self.cuts = 0
        self.lock = threading.Lock()
        self.open = set()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(128)
        self.path = path
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:  # the end
                return
            broker = socket.socket(socket.AF_UNIX)
            try:
                broker.connect(self.target)
            except OSError:
                client.close()
                continue
            self.begin(client, broker)

    def begin(self, client, broker):
        most = int(LEAST * (MOST / LEAST) ** self.chance.random())
        requests = self.chance.random() < REQUESTS
        pair = (client, broker)
        with self.lock:
            self.open.add(pair)
        for source, sink, limit in ((client, broker, most if requests else None), (broker, client, None if requests else most)):
            threading.Thread(target=self.pump, args=(pair, source, sink, limit), daemon=True).start()

    def pump(self, pair, source, sink, limit):
        """Until either side ends, or the bytes up to the limit have gone by."""
        passed = 0
        try:
            while piece := source.recv(PIECE):
                if limit is not None and passed + len(piece) >= limit and self.active:
                    sink.sendall(piece[:max(0, limit - passed)])
                    self.cut(pair)
                    return
                sink.sendall(piece)
                passed += len(piece)
        except OSError:
            pass
        self.close(pair)

    def cut(self, pair):
        if self.close(pair):
            with self.lock:
                self.cuts += 1

    def cut_one(self):
        """Any that is open, wherever it stands."""
        with self.lock:
            pairs = list(self.open)
        if pairs:
            self.cut(self.chance.choice(pairs))

    def close(self, pair):
        """Whether it was still open."""
        with self.lock:
            known = pair in self.open
            self.open.discard(pair)
        if known:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:  # gone already
                    pass
                end.close()
        return known

    def end(self):
        """The socket closes with its name, connections with it."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        os.unlink(self.path)
        with self.lock:
            pairs = list(self.open)
        for pair in pairs:
            self.close(pair)
