"""The systems that are compared, as data, and the one function that runs one of them.

`{…}` in a command stands for what a run gives it: {port} and {data} (a fresh directory), and the programs of this
build: {psbroker}, {psctl}, {ceiling}, {peers} (the folder of the other generators), {here} (this folder).
"""
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field

READY_S, STOP_S, RUN_S = 20, 20, 300


class NotMeasured(Exception):
    """Why there is no figure."""


@dataclass(frozen=True)
class System:
    title: str
    durability: str  # when it acknowledges, as configured here
    server: tuple = ()  # its command; empty: the generator is all there is
    generator: tuple = ()  # the work is appended
    tail: tuple = ()  # ... and then this
    version: tuple = ()  # a command whose output has it
    inspect: tuple = ()  # a command that prints an object about the server, asked before it is stopped
    files: dict = field(default_factory=dict)  # configuration, name in {data} -> text


def _nats(generator, *options):
    return dict(server=("nats-server", "-a", "127.0.0.1", "-p", "{port}", "-l", "{data}/log", *options),
                version=("nats-server", "--version"), generator=("{peers}/" + generator,),
                tail=("--server", "127.0.0.1:{port}"))


def _redis(appendfsync):
    return dict(server=("redis-server", "--bind", "127.0.0.1", "--port", "{port}", "--dir", "{data}", "--save", "",
                        "--appendonly", "yes", "--appendfsync", appendfsync,
                        "--auto-aof-rewrite-percentage", "0", "--logfile", "{data}/log"),
                version=("redis-server", "--version"), generator=("{peers}/redis_bench",),
                tail=("--server", "127.0.0.1:{port}"))


NATS_FILES = "file store, acknowledges before its sync (every 2 min, the default)"
MOSQUITTO = """listener {port} 127.0.0.1
allow_anonymous true
persistence true
user root
persistence_location {data}/
log_dest file {data}/log
max_queued_messages 0
max_inflight_messages 1000
set_tcp_nodelay true
"""

SYSTEMS = {
    "psbroker": System(
        "psbroker", "synced before every acknowledgement",
        server=("{psbroker}", "--data", "{data}/data", "--listen", "127.0.0.1:{port}"), version=("{psbroker}", "--version"),
        generator=("{psctl}", "-h", "127.0.0.1", "-p", "{port}", "bench"), tail=("-o", "json"),
        inspect=("{psctl}", "-h", "127.0.0.1", "-p", "{port}", "info", "-o", "json")),
    "ceiling": System(
        "bare SQLite", "same layout, synced at every commit", generator=("{ceiling}",), tail=("--data", "{data}")),
    "ceiling-vfs": System(
        "bare SQLite", "on the store's VFS, same layout, synced at every commit", generator=("{ceiling}",),
        tail=("--store-vfs", "--data", "{data}")),
    "jetstream": System(
        "NATS JetStream", f"through libnats, {NATS_FILES}", **_nats("nats_lib_bench", "-js", "-sd", "{data}/js")),
    "jetstream-raw": System(
        "NATS JetStream", f"raw protocol, {NATS_FILES}", **_nats("nats_bench", "-js", "-sd", "{data}/js")),
    "nats": System("NATS core", "through libnats, stores nothing", **_nats("nats_lib_bench")),
    "nats-raw": System("NATS core", "raw protocol, stores nothing", **_nats("nats_bench")),
    "redis": System(
        "Redis Streams", "AOF everysec: acknowledges before its sync (every second)", **_redis("everysec")),
    "redis-benchmark": System(  # the peer's own tool, told the same as our generator
        "Redis Streams", "AOF everysec: acknowledges before its sync (every second)",
        **{**_redis("everysec"), "generator": ("python3", "{here}/peers/redis_benchmark.py")}),
    "redis-always": System("Redis Streams", "AOF always: synced before every acknowledgement", **_redis("always")),
    "mosquitto": System(
        "Mosquitto", "persistence on (its file every 30 min, the default)",
        server=("mosquitto", "-c", "{data}/mosquitto.conf"), version=("mosquitto", "-h"),
        generator=("{peers}/mosquitto_bench",), tail=("--server", "127.0.0.1:{port}"),
        files={"mosquitto.conf": MOSQUITTO}),
}


def version_of(system, programs):
    """What its version command says first that looks like one; None without."""
    if not system.version:
        return None
    try:
        done = subprocess.run(_fill(system.version, programs), capture_output=True, text=True, timeout=READY_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return found and found.group()


def run(system, work, programs, place):
    """One measurement: a fresh directory, the server, the generator, and nothing left of either.

    Returns the generator's object, with `server_cpu_s` and `client_cpu_s` (processor seconds while it ran) and
    `elapsed_s`, and `server`, what it said about itself. Raises NotMeasured."""
    data = os.path.join(place, "run")
    names = {**programs, "data": data, "port": str(_free_port())}
    os.mkdir(data, mode=0o700)
    server = None
    try:
        for name, text in system.files.items():
            with open(os.path.join(data, name), "w", encoding="utf-8") as file:
                file.write(text.format(**names))
        if system.server:
            server = _start(system, names)
        found = _generate(_fill((*system.generator, *work, *system.tail), names), server)
        if system.inspect:
            found["server"] = _inspect(_fill(system.inspect, names))
        return found
    finally:
        if server is not None:
            _stop(server)
        shutil.rmtree(data, ignore_errors=True)
        os.sync()  # what one system left unwritten must not slow down the next


def _fill(words, names):
    return [word.format(**names) for word in words]


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_parent():
    os.setpgid(0, 0)  # Ctrl-C is for us: we stop the server when its generator is gone
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _start(system, names):
    command = _fill(system.server, names)
    if shutil.which(command[0]) is None:
        raise NotMeasured(f"{os.path.basename(command[0])} is not installed")
    with open(os.path.join(names["data"], "output"), "wb") as output:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                  preexec_fn=_die_with_parent)
    try:
        _wait_until_it_listens(server, int(names["port"]))
    except BaseException as problem:  # Ctrl-C too
        _stop(server)
        if isinstance(problem, OSError):
            raise NotMeasured(f"{system.title} does not start: {_last_line(output.name)}") from None
        raise
    return server


def _wait_until_it_listens(server, port):
    end = time.monotonic() + READY_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.02)


def _last_line(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().strip().splitlines()
    return lines[-1] if lines else "no message"


def _stop(server):
    if server.poll() is not None:
        return
    server.terminate()
    try:
        server.wait(STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _inspect(command):
    """What the server says about itself; nothing when it does not answer."""
    try:
        asked = subprocess.run(command, capture_output=True, check=False, timeout=READY_S)
        return json.loads(asked.stdout) if asked.returncode == 0 else {}
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {}


def _generate(command, server):
    if shutil.which(command[0]) is None:
        raise NotMeasured(f"{os.path.basename(command[0])} is not built")
    before = os.times()
    worked = 0 if server is None else _processor_seconds(server.pid)
    began = time.monotonic()
    generator = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, preexec_fn=_die_with_parent)
    try:
        out, err = generator.communicate(timeout=RUN_S)
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"not done after {RUN_S} s") from None
    finally:
        _stop(generator)
    elapsed = time.monotonic() - began
    name = os.path.basename(command[0])
    if generator.returncode != 0:
        raise NotMeasured(f"{name} ended with {generator.returncode}: {' '.join(err.split()) or 'no message'}")
    try:
        found = json.loads(out)
    except ValueError:
        raise NotMeasured(f"{name} printed no JSON object") from None
    if server is not None and server.poll() is not None:
        raise NotMeasured("the server ended during the run")
    after = os.times()
    found["elapsed_s"] = elapsed
    found["client_cpu_s"] = after.children_user + after.children_system - before.children_user - before.children_system
    found["server_cpu_s"] = None if server is None else _processor_seconds(server.pid) - worked
    return found
