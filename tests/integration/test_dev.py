"""./dev teaches before it works: asking for help installs, builds and starts nothing. DEV is the script."""
import os
import subprocess

import tap
from psbroker_test import Case

COMMANDS = ("run", "build", "test", "torture", "bench", "growth", "fuzz", "coverage", "format")
WORKERS = ("dpkg-query", "apt-get", "sudo", "meson", "ninja", "clang-format", "gcovr")


class Dev(Case):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("bin"))
        for name in WORKERS:
            with open(self.path("bin", name), "w", encoding="ascii") as script:
                script.write(f'#!/bin/sh\necho {name} "$@" >>{self.path("worked")}\nexit 1\n')
            os.chmod(self.path("bin", name), 0o755)

    def dev(self, *arguments, code=0):
        """What it said on stdout and on stderr; fails if it did any work."""
        env = {**os.environ, "PATH": self.path("bin") + ":" + os.environ["PATH"]}
        done = subprocess.run([os.environ["DEV"], *arguments], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertFalse(os.path.exists(self.path("worked")), f"{arguments} worked")
        return done.stdout, done.stderr

    def test_help_of_each_command(self):
        for command in COMMANDS:
            for words in ((command, "--help"), (command, "-h"), ("help", command)):
                with self.subTest(words=words):
                    out, err = self.dev(*words)
                    self.assertIn(f"./dev {command}", out)
                    self.assertEqual(err, "")

    def test_help_names_all_commands(self):
        for words in (("help",), ("--help",)):
            out, _ = self.dev(*words)
            for command in COMMANDS:
                self.assertIn(f"./dev {command}", out)
        out, err = self.dev(code=2)
        self.assertEqual(out, "")
        self.assertIn("./dev build", err)

    def test_an_unknown_command(self):
        for word, near in (("bulid", "build"), ("tst", "test"), ("cov", "coverage"), ("benhc", "bench"), ("fromat", "format")):
            _, err = self.dev(word, code=2)
            self.assertIn(f'unknown command "{word}"; did you mean {near}?', err)
            self.assertIn("./dev torture", err)
        for word in ("xyzzy", "deploy", "b", "*"):
            _, err = self.dev(word, code=2)
            self.assertNotIn("did you mean", err)
        self.dev("help", "bulid", code=2)

    def test_words_that_a_command_does_not_take(self):
        for command in ("run", "build", "test", "coverage", "format"):
            _, err = self.dev(command, "--verbose", code=2)
            self.assertIn(f'{command} takes nothing, and was given "--verbose"', err)
        self.assertIn("SECONDS", self.dev("fuzz", code=2)[1])


if __name__ == "__main__":
    tap.main()
