"""Programs started with closed standard descriptors: nothing that they open takes their place; and with a stderr that
nobody reads: it holds nobody."""
import os
import pty
import select
import signal
import socket
import subprocess

import tap
from psbroker_test import PSBROKER, PSCTL, Case, wait_until


class ClosedDescriptors(Case):
    def run_closed(self, server, closed, *arguments):
        """psctl without the descriptors in `closed`: exit code and what the others got."""
        files = [open(self.path(name), "w+b") for name in ("0", "1", "2")]
        for file in files:
            self.addCleanup(file.close)

        def close():
            for fd in closed:
                os.close(fd)
        code = subprocess.run([PSCTL, *arguments], env=self.environment(server), stdin=files[0], stdout=files[1],
                              stderr=files[2], preexec_fn=close, timeout=60, check=False).returncode
        return code, [open(file.name, "rb").read() for file in files]

    def test_psctl_works_and_names_what_it_cannot_write(self):
        server = self.broker()
        self.pub(server, "t", "x")
        for closed in ((0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)):
            with self.subTest(closed=closed):
                for arguments in (("sub", "t", "--from-beginning", "--count", "1"), ("topics",), ("ping",)):
                    code, (_, out, err) = self.run_closed(server, closed, *arguments)
                    self.assertEqual(code, 1 if 1 in closed else 0, (arguments, err))
                    self.assertEqual(bool(out), 1 not in closed, arguments)
                    if 2 not in closed:
                        self.assertEqual(b"stdout" in err, 1 in closed, arguments)

    def test_a_broker_without_descriptors_keeps_its_log_lines_out_of_the_log(self):
        listener = self.path("s")
        broker = subprocess.Popen([PSBROKER, "--data", self.path("data"), "--listen", "unix:" + listener],
                                  preexec_fn=lambda: os.closerange(0, 3))
        self.addCleanup(broker.kill)
        wait_until(lambda: os.path.exists(listener), "the listener")
        environment = dict(os.environ)
        for offset in (b"0\n", b"1\n"):
            done = subprocess.run([PSCTL, "-s", "unix:" + listener, "pub", "t", "x"], env=environment,
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
            self.assertEqual((done.returncode, done.stdout), (0, offset), done.stderr)
        broker.terminate()
        self.assertEqual(broker.wait(60), 0)
        with open(self.path("data", "LOCK"), "rb") as lock:
            self.assertEqual(lock.read().strip(), str(broker.pid).encode())


class StalledOutput(Case):
    def full_pipe(self):
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            while os.write(writing, b"x" * 4096):
                pass
        except BlockingIOError:
            os.set_blocking(writing, True)
        return reading, writing

    def stopped_terminal(self):
        reading, writing = pty.openpty()
        os.write(reading, b"\x13")  # Ctrl-S
        while select.select([], [writing], [], 0)[1]:
            pass
        return reading, writing

    def refuse_one(self, path):
        """A connection that is refused with a log line."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(60)
            peer.connect(path)
            peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while peer.recv(4096):
                pass

    def test_a_broker_whose_stdout_nobody_reads_serves_and_ends(self):
        for kind in (self.full_pipe, self.stopped_terminal):
            with self.subTest(stdout=kind.__name__):
                reading, writing = kind()
                self.addCleanup(os.close, reading)
                self.addCleanup(os.close, writing)
                path = self.path(kind.__name__)
                broker = subprocess.Popen([PSBROKER, "--data", path + ".data", "--listen", "unix:" + path],
                                          stdout=writing, stderr=subprocess.DEVNULL)
                self.addCleanup(broker.kill)
                wait_until(lambda: os.path.exists(path), "the listener")
                done = subprocess.run([PSCTL, "-s", "unix:" + path, "pub", "t", "x"], stdin=subprocess.DEVNULL,
                                      capture_output=True, timeout=60, check=False)
                self.assertEqual((done.returncode, done.stdout), (0, b"0\n"), done.stderr)
                broker.terminate()
                self.assertEqual(broker.wait(60), 0)

    def ignores(self, pid, number):
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            mask = next(line for line in status if line.startswith("SigIgn:")).split()[1]
        return int(mask, 16) >> number - 1 & 1

    def test_a_signal_while_the_last_lines_wait_does_not_change_the_exit_code(self):
        """What nobody reads holds the end up for a moment; everything else is over by then."""
        reading, writing = self.full_pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        path = self.path("s")
        broker = subprocess.Popen([PSBROKER, "--data", path + ".data", "--listen", "unix:" + path],
                                  stdout=writing, stderr=subprocess.DEVNULL)
        self.addCleanup(broker.kill)
        wait_until(lambda: os.path.exists(path), "the listener")
        broker.terminate()
        wait_until(lambda: broker.poll() is not None or self.ignores(broker.pid, signal.SIGTERM), "the end of service")
        self.assertIsNone(broker.poll(), "a signal would have ended it")
        broker.terminate()
        self.assertEqual(broker.wait(60), 0)

    def test_a_broker_whose_stderr_nobody_reads_serves_and_ends(self):
        for kind in (self.full_pipe, self.stopped_terminal):
            with self.subTest(stderr=kind.__name__):
                reading, writing = kind()
                self.addCleanup(os.close, reading)
                self.addCleanup(os.close, writing)
                path = self.path(kind.__name__)
                broker = subprocess.Popen([PSBROKER, "--data", path + ".data", "--listen", "unix:" + path],
                                          stdout=subprocess.PIPE, stderr=writing)
                self.addCleanup(broker.stdout.close)
                self.addCleanup(broker.kill)
                self.assertTrue(select.select([broker.stdout], [], [], 60)[0], "no word on stdout")
                self.assertEqual(broker.stdout.readline(), b"listening unix %s\n" % path.encode())
                for offset in (b"0\n", b"1\n"):
                    self.refuse_one(path)
                    done = subprocess.run([PSCTL, "-s", "unix:" + path, "pub", "t", "x"], stdin=subprocess.DEVNULL,
                                          capture_output=True, timeout=60, check=False)
                    self.assertEqual((done.returncode, done.stdout), (0, offset), done.stderr)
                broker.terminate()
                self.assertEqual(broker.wait(60), 0)


if __name__ == "__main__":
    tap.main()
