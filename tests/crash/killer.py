"""Kills a broker inside a checkpoint or an index flush, seen from outside through its files.

    killer.py PID DATABASE checkpoint|flush LIMIT

The database file itself is written by checkpoints only; the first write of one wakes us (inotify). A flush is
under way when the index has runs of an epoch that is not listed yet, looked up after each write of the WAL.
Waits for a line on stdin, then watches for at most LIMIT seconds. Kills in any case.
"""
import ctypes
import os
import select
import signal
import sqlite3
import sys
import time

IN_MODIFY = 2


def watch(path):
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0 or libc.inotify_add_watch(fd, path.encode(), IN_MODIFY) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    return fd


def modified(fd, end):
    """Waits for a write; False when the time is over."""
    ready, _, _ = select.select([fd], [], [], max(0, end - time.monotonic()))
    if ready:
        os.read(fd, 1 << 16)
    return bool(ready)


def main():
    pid, database, mode, limit = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
    flush = mode == "flush"
    fd = watch(database + "-wal" if flush else database)
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=1) if flush else None
    sys.stdin.readline()
    end = time.monotonic() + limit
    try:
        while modified(fd, end):
            if not flush:
                break
            unlisted = connection.execute(
                "select 1 from topic_runs where epoch > (select coalesce(max(epoch), 0) from epochs) limit 1")
            if unlisted.fetchone() is not None:
                break
    finally:
        os.kill(pid, signal.SIGKILL)


main()
