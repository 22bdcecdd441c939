"""The broker of a measurement: a fresh one in a temporary directory, ended cleanly, nothing left of it."""
import contextlib
import os
import shutil
import sys
import tempfile

from psbroker_test import Broker


@contextlib.contextmanager
def own_broker(directory=None, unix=False):
    """A running Broker whose data is below `directory` (that of temporary files); with `unix` it listens on the socket
    `broker.socket` instead of TCP. When it does not end cleanly, the program does with its last words."""
    place = tempfile.mkdtemp(prefix="psbroker-bench.", dir=directory)
    path = os.path.join(place, "socket")
    broker = None
    try:
        broker = Broker(os.path.join(place, "data"), "--max-connections", "100000",
                        listen=("unix:" + path if unix else "127.0.0.1:0",))
        broker.socket = path if unix else None
        yield broker
        if broker.terminate() != 0:
            sys.exit(f"the broker did not end cleanly: {broker.err[-2000:]}")
    finally:
        if broker is not None:
            broker.end()
        shutil.rmtree(place, ignore_errors=True)
