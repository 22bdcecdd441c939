"""What the figures depend on: the machine, its disk, and the libraries."""
import ctypes
import os
import platform
import sqlite3
import statistics
import struct
import subprocess
import time

IN_MEMORY = {0x01021994: "tmpfs", 0x858458F6: "ramfs"}  # statfs(2), f_type
HERE = os.path.dirname(os.path.abspath(__file__))
SYNCS = 200


def magic_of(place):
    """f_type of the file system that a path is on."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = ctypes.create_string_buffer(512)
    if libc.statfs(os.fsencode(place), answer) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), place)
    return struct.unpack_from("l", answer.raw)[0] & 0xFFFFFFFF


def refusal(place, magic=None):
    """Why nothing durable can be measured there; None if it can."""
    kind = IN_MEMORY.get(magic_of(place) if magic is None else magic)
    if kind is None:
        return None
    return (f"{place} is on {kind}, which is memory: a sync there costs nothing and says nothing. "
            "Name a directory on a disk: --data DIRECTORY")


def filesystem_of(place):
    """Such as `ext4 on /dev/sda1`, from the mount that the path is under."""
    best, text = "", "unknown"
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            left, right = line.split(" - ")
            mount = left.split()[4].encode().decode("unicode_escape")
            below = os.path.realpath(place) == mount or os.path.realpath(place).startswith(mount.rstrip("/") + "/")
            if below and len(mount) >= len(best):
                kind, device = right.split()[:2]
                best, text = mount, f"{kind} on {device}"
    return text


def sync_latency(place, count=SYNCS):
    """(median, 99th percentile) in ms of a small append and its fdatasync."""
    path, times = os.path.join(place, "sync"), []
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(count):
            began = time.perf_counter()
            os.write(handle, b"x" * 128)
            os.fdatasync(handle)
            times.append((time.perf_counter() - began) * 1e3)
    finally:
        os.close(handle)
        os.unlink(path)
    return statistics.median(times), sorted(times)[(len(times) * 99 - 1) // 100]


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def memory():
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"


def libuv_version():
    try:
        library = ctypes.CDLL("libuv.so.1")
    except OSError:
        return "unknown"
    library.uv_version_string.restype = ctypes.c_char_p
    return library.uv_version_string().decode()


def revision(tree=HERE):
    """The commit of the checkout that a path is in, with -dirty when files differ from it; "unknown" without git."""
    try:
        done = subprocess.run(("git", "-C", tree, "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty"),
                              capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def facts(place):
    """(what, text) of everything a reader must know."""
    median, slow = sync_latency(place)
    return [
        ("revision", revision()),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("processor", processor()),
        ("memory", memory()),
        ("file system", filesystem_of(place)),
        ("append of 128 bytes and fdatasync", f"median {median:.3f} ms, p99 {slow:.3f} ms ({SYNCS} times)"),
        ("SQLite", sqlite3.sqlite_version),
        ("libuv", libuv_version()),
    ]
