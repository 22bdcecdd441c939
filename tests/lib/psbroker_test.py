"""Brokers, psctl runs and terminals for tests with the real binaries.

PSBROKER and PSCTL in the environment name the programs. Every broker listens on port 0 in a temporary
directory of its own; everything a case started is ended by it. Waits are for events, with one generous limit
after which a case fails: nothing here measures time.
"""
import ctypes
import fcntl
import json
import os
import pty
import shutil
import signal
import sqlite3
import struct
import subprocess
import tempfile
import termios
import threading
import time
import unittest

PSBROKER = os.environ.get("PSBROKER", "build/broker/psbroker")
PSCTL = os.environ.get("PSCTL", "build/cli/psctl")
LIMIT = float(os.environ.get("PSBROKER_TEST_LIMIT", "60"))


def wait_until(condition, what="condition", limit=None):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + (limit or LIMIT)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.005)


class Output:
    """Collects a file descriptor in a thread; waits for what it will hold."""

    def __init__(self, fd):
        self.data = bytearray()
        self.ended = False
        self.changed = threading.Condition()
        self.fd = fd
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            try:
                piece = os.read(self.fd, 1 << 16)
            except OSError:  # a terminal whose other side is gone
                piece = b""
            with self.changed:
                self.data += piece
                self.ended = not piece
                self.changed.notify_all()
            if not piece:
                os.close(self.fd)
                return

    def wait(self, condition, what):
        """Waits until condition(bytes) is true; returns its value. Fails at the end of the output."""
        end = time.monotonic() + LIMIT
        with self.changed:
            while True:
                value = condition(bytes(self.data))
                if value:
                    return value
                left = end - time.monotonic()
                if self.ended or left <= 0:
                    raise AssertionError(f"no {what} in {bytes(self.data[-2000:])!r} (ended: {self.ended})")
                self.changed.wait(left)

    def wait_text(self, text):
        text = text.encode() if isinstance(text, str) else text
        return self.wait(lambda data: text in data, repr(text))

    def wait_lines(self, count):
        self.wait(lambda data: data.count(b"\n") >= count, f"{count} lines")
        return bytes(self.data).split(b"\n")[:count]

    def finish(self):
        self.thread.join(LIMIT)
        return bytes(self.data)


class Process:
    """A program under way with collected output."""

    def __init__(self, arguments, env=None, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec=None,
                 cwd=None):
        self.arguments = arguments
        self.popen = subprocess.Popen(arguments, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=env,
                                      preexec_fn=preexec, cwd=cwd)
        self.pid = self.popen.pid
        self.stdout = Output(_take(self.popen, "stdout")) if stdout == subprocess.PIPE else None
        self.stderr = Output(_take(self.popen, "stderr"))

    def write(self, data):
        self.popen.stdin.write(data)
        self.popen.stdin.flush()

    def close_stdin(self):
        self.popen.stdin.close()

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, limit=None):
        """The exit code, negative for a signal."""
        try:
            code = self.popen.wait(limit or LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.arguments} does not end; stderr: {bytes(self.stderr.data[-2000:])!r}")
        self.stderr.finish()
        if self.stdout is not None:
            self.stdout.finish()
        return code

    def running(self):
        return self.popen.poll() is None

    def end(self):
        if self.running():
            self.popen.kill()
            self.popen.wait()
        if self.popen.stdin is not None:
            try:
                self.popen.stdin.close()
            except OSError:
                pass

    @property
    def err(self):
        return bytes(self.stderr.data).decode(errors="backslashreplace")

    @property
    def out(self):
        return bytes(self.stdout.data)


def _take(popen, name):
    stream = getattr(popen, name)
    fd = os.dup(stream.fileno())
    stream.close()
    setattr(popen, name, None)
    return fd


class Broker(Process):
    """psbroker on a directory; ready when the constructor returns. Several --listen values are possible. `prefix`: a
    command that runs it."""

    def __init__(self, data, *arguments, listen=("127.0.0.1:0",), wait=True, program=None, prefix=(),
                 **keywords):
        self.data = data
        command = [*prefix, program or PSBROKER, "--data", data]
        for address in listen:
            command += ["--listen", address]
        super().__init__(command + list(arguments), stdin=subprocess.DEVNULL, **keywords)
        self.listeners = []
        if wait:
            try:
                lines = self.stdout.wait_lines(len(listen))
            except AssertionError as error:
                code = self.popen.wait() if self.stdout.ended else None
                raise AssertionError(f"broker did not start ({code}): {self.err}") from error
            for line in lines:
                word, kind, address = line.decode().split(" ", 2)
                assert word == "listening", line
                self.listeners.append((kind, address))

    @property
    def port(self):
        return self.port_of(0)

    def port_of(self, index):
        kind, address = self.listeners[index]
        assert kind == "tcp", self.listeners
        return int(address.rpartition(":")[2])

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait()

    def terminate(self):
        self.signal(signal.SIGTERM)
        return self.wait()

    @property
    def database(self):
        return os.path.join(self.data, "psbroker.db")

    def peak_memory(self):
        """VmHWM in bytes."""
        return peak_memory(self.pid)


def peak_memory(pid):
    """The largest resident size of a running process so far, in bytes."""
    return _memory(pid, "VmHWM:")


def current_memory(pid):
    """The resident size of a running process, in bytes."""
    return _memory(pid, "VmRSS:")


def _memory(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    raise AssertionError(f"no {name}")


class Done:
    """What a finished psctl left."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err

    def lines(self):
        return self.out.decode().splitlines()

    def json(self):
        return [json.loads(line) for line in self.out.decode().splitlines()]


class Terminal:
    """The other side of a pseudo-terminal on which a program runs with its stdin and stdout."""

    def __init__(self, arguments, env, stderr_too=False):
        pid, fd = pty.fork()
        if pid == 0:
            try:
                if not stderr_too:
                    os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
                os.execve(arguments[0], arguments, env)
            finally:
                os._exit(127)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
        self.pid = pid
        self.fd = os.dup(fd)
        self.output = Output(fd)
        self.code = None

    def write(self, data):
        os.write(self.fd, data)

    def wait(self):
        def ended():
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            return pid
        if self.code is None:
            wait_until(ended, "the program on the terminal to end")
        return self.code

    def end(self):
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


class Case(unittest.TestCase):
    """A case with a temporary directory; ends what it started."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="psbroker-test.")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.brokers = 0

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def file(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return self.path(name)

    # ------------------------------------------------------------------------------------------- brokers

    def broker(self, *arguments, data=None, **keywords):
        """A broker on `data`, by default the one directory of this case."""
        broker = Broker(data or self.path("data"), *arguments, **keywords)
        self.addCleanup(broker.end)
        return broker

    def broker_fails(self, *arguments, data=None, limit=None, **keywords):
        """The finished process of a broker that refuses to start."""
        process = self.broker(*arguments, data=data, wait=False, **keywords)
        process.wait(limit)
        return process

    def database(self, broker_or_path, write=False):
        """A connection from outside; read-only unless asked otherwise."""
        path = getattr(broker_or_path, "database", broker_or_path)
        connection = sqlite3.connect(f"file:{path}?mode={'rw' if write else 'ro'}", uri=True, timeout=30,
                                     isolation_level=None)
        self.addCleanup(connection.close)
        return connection

    # --------------------------------------------------------------------------------------------- psctl

    def environment(self, broker):
        env = {key: value for key, value in os.environ.items() if not key.startswith("PSCTL_")}
        env["TZ"] = "UTC"
        if broker is not None:
            port = broker if isinstance(broker, int) else broker.port
            env["PSCTL_HOST"] = "127.0.0.1"
            env["PSCTL_PORT"] = str(port)
        return env

    def start(self, broker, *arguments, env=None, **keywords):
        """psctl in the background. `broker`: a Broker, a port, or None (nothing said about where)."""
        process = Process([PSCTL, *arguments], env={**self.environment(broker), **(env or {})}, **keywords)
        self.addCleanup(process.end)
        return process

    def run_psctl(self, broker, *arguments, stdin=None, code=0, limit=None, env=None):
        """psctl to its end; fails unless it exits with `code` (None: any)."""
        process = subprocess.Popen([PSCTL, *arguments], env={**self.environment(broker), **(env or {})},
                                   stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(stdin, limit or LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            self.fail(f"psctl {arguments} does not end; stdout {out[-500:]!r} stderr {err[-500:]!r}")
        done = Done(process.returncode, out, err.decode(errors="backslashreplace"))
        if code is not None:
            self.assertEqual(done.code, code, f"psctl {arguments}: {done.out[-500:]!r} {done.err}")
        return done

    def pub(self, broker, topic, *messages):
        """Publishes each message with its own run of --lines; returns the offsets."""
        lines = b"".join(_bytes(message) + b"\n" for message in messages)
        done = self.run_psctl(broker, "pub", topic, "--lines", "-", stdin=lines)
        return [int(line) for line in done.lines()]

    def history(self, broker, *arguments):
        """Lines of `sub … --from-beginning --exit-at-end`."""
        done = self.run_psctl(broker, "sub", *arguments, "--from-beginning", "--exit-at-end")
        return done.out.split(b"\n")[:-1]

    def terminal(self, broker, *arguments, **keywords):
        env = self.environment(broker)
        env["TERM"] = "xterm"
        terminal = Terminal([PSCTL, *arguments], env, **keywords)
        self.addCleanup(terminal.end)
        return terminal

    def wait_attached(self, broker, count):
        """Waits until the broker holds `count` attached subscriptions."""
        def attached():
            return self.info(broker)["subscriptions"] == count
        wait_until(attached, f"{count} attached subscriptions")

    def info(self, broker):
        return self.run_psctl(broker, "info", "-o", "json").json()[0]

    def durable(self, broker, identifier):
        """What `subs` says about one id: {filter: {topic: (committed, lag)}}."""
        found = {}
        for entry in self.run_psctl(broker, "subs", "-o", "json").json():
            if entry["id"] == identifier:
                found[entry["filter"]] = entry
        return found


def _bytes(value):
    return value if isinstance(value, bytes) else str(value).encode()


def without_override():
    """For preexec: the process obeys permission bits even as root."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: the next exec does not get it
