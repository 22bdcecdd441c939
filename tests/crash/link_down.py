"""Peers behind a link that goes down: the broker gives them up within two ping intervals, and goes on afterwards.

To be run in a network namespace of its own, which an ordinary user may make:

    unshare -rn python3 link_down.py [--timed] [PSBROKER]
"""
import argparse
import fcntl
import socket
import struct
import sys
import tempfile
import time

from psbroker_test import Broker, wait_until
from wire import Wire

PEERS = 10  # fewer than the lines of one kind that the broker writes before it holds some back
INTERVAL = 2.0
GIVEN_UP = "status=timed_out limit=ping_interval_ms"
GET_FLAGS, SET_FLAGS, IS_UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP


def loopback(up):
    with socket.socket() as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, GET_FLAGS, request), 16)
        flags = flags | IS_UP if up else flags & ~IS_UP
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", flags))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timed", action="store_true", help="judge how long it took; for a machine that does little else")
    parser.add_argument("psbroker", nargs="?", help="the broker's program (PSBROKER in the environment)")
    return parser.parse_args()


def main():
    given = arguments()
    loopback(True)
    with tempfile.TemporaryDirectory(prefix="psbroker-test.") as place:
        broker = Broker(place + "/data", "--ping-interval", f"{INTERVAL:.0f}s",
                        program=given.psbroker)
        try:
            peers = [Wire(broker.port) for _ in range(PEERS)]
            for peer in peers:
                peer.subscribe("t")
            began = time.monotonic()
            loopback(False)
            wait_until(lambda: broker.err.count(GIVEN_UP) == PEERS, f"{PEERS} to be given up")
            took = time.monotonic() - began
            loopback(True)
            with Wire(broker.port) as client:
                assert client.publish("t", "x")[0].first_offset == 0
                assert client.info().subscriptions == 0
            if given.timed:
                assert took < 2.75 * INTERVAL, f"given up after {took:.1f} s, two intervals are {2 * INTERVAL} s"
            assert broker.terminate() == 0, broker.err
        finally:
            broker.end()
    print(f"injected {PEERS} faults, checked 1 acknowledged messages", file=sys.stderr)


if __name__ == "__main__":
    main()
