"""The installed client library: what a program outside of this tree compiles and runs against.

BUILD_ROOT is the build directory, MESON the installer, CC the compiler with the flags of the build's sanitizers.
"""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import tap
from psbroker_test import Broker

SOURCE_ROOT = os.environ["SOURCE_ROOT"]


class ClientInstall(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp()
        subprocess.run([os.environ["MESON"], "install", "-C", os.environ["BUILD_ROOT"], "--no-rebuild",
                        "--destdir", cls.dir], check=True, capture_output=True, timeout=120)
        cls.pc = cls.find("psclient.pc")
        cls.library = cls.find("libpsclient.so")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    @classmethod
    def find(cls, name):
        for folder, _, files in os.walk(cls.dir):
            if name in files:
                return os.path.join(folder, name)
        raise AssertionError(f"{name} is not installed")

    def pkg_config(self, *arguments):
        """Flags for the copy under our directory: only the prefix is another."""
        with open(self.pc, encoding="utf-8") as text:
            prefix = next(line for line in text if line.startswith("prefix=")).strip().partition("=")[2]
        env = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(self.pc))
        done = subprocess.run(["pkg-config", f"--define-variable=prefix={self.dir}{prefix}", *arguments, "psclient"],
                              env=env, check=True, capture_output=True, timeout=60)
        return done.stdout.decode().split()

    def compile(self, source, program):
        command = [*os.environ["CC"].split(), "-Wall", "-Wextra", "-Werror", source, "-o", program,
                   *self.pkg_config("--cflags", "--libs")]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr.decode())

    def test_the_example_publishes_and_prints_its_offset(self):
        program = os.path.join(self.dir, "example")
        self.compile(os.path.join(SOURCE_ROOT, "cli", "client", "example.c"), program)
        env = dict(os.environ, LD_LIBRARY_PATH=os.path.dirname(self.library))
        broker = Broker(os.path.join(self.dir, "data"))
        try:
            for offset in (b"0\n", b"1\n"):
                done = subprocess.run([program, str(broker.port)], env=env, capture_output=True, timeout=60,
                                      check=False)
                self.assertEqual((done.stdout, done.returncode), (offset, 0), done.stderr.decode())
        finally:
            broker.terminate()

    def test_the_example_says_why_it_cannot_publish(self):
        program = os.path.join(self.dir, "example_alone")
        self.compile(os.path.join(SOURCE_ROOT, "cli", "client", "example.c"), program)
        env = dict(os.environ, LD_LIBRARY_PATH=os.path.dirname(self.library))
        done = subprocess.run([program, "1"], env=env, capture_output=True, timeout=60, check=False)
        self.assertEqual((done.stdout, done.returncode), (b"", 0), done.stderr.decode())
        self.assertIn(b"cannot connect", done.stderr)

    def test_the_library_exports_its_own_names_only(self):
        out = subprocess.run(["nm", "-D", "--defined-only", self.library], check=True, capture_output=True,
                             timeout=60).stdout.decode()
        names = {line.split()[-1] for line in out.splitlines()}
        self.assertIn("psc_publish", names)
        self.assertIn("ps_status_text", names)
        self.assertEqual(sorted(name for name in names if not name.startswith(("psc_", "ps_status_"))), [])

    def test_every_function_of_the_header_is_exported(self):
        out = subprocess.run(["nm", "-D", "--defined-only", self.library], check=True, capture_output=True,
                             timeout=60).stdout.decode()
        source = os.path.join(self.dir, "header.c")
        with open(source, "w", encoding="utf-8") as text:
            text.write("#include <psclient.h>\n")
        command = [*os.environ["CC"].split(), "-E", source, *self.pkg_config("--cflags")]
        header = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout.decode()
        declared = set(re.findall(r"\b(psc_[a-z_]+)\(", header)) - set(re.findall(r"\b(psc_[a-z_]+_fn)\(", header))
        self.assertGreater(len(declared), 15)
        self.assertEqual(sorted(name for name in declared if name not in out), [])

    def test_the_library_has_a_versioned_name(self):
        out = subprocess.run(["readelf", "-d", self.library], check=True, capture_output=True,
                             timeout=60).stdout.decode()
        self.assertIn("[libpsclient.so.0]", out)


if __name__ == "__main__":
    tap.main()
