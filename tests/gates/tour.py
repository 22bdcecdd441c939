"""The tour in README.md, executed: every `console` block is typed into one shell, in order, and what comes
back must be what the README shows (`…` matches anything within a line, a line of `…` any lines). Then every query of its
`sql` blocks is put to the log that the tour made.

    tour.py README PSBROKER PSCTL

The broker is given a Unix socket besides its default listener's place, so that nothing on this machine is in
the way: `psbroker` and `psctl` on the PATH are two-line wrappers that name it."""
import pathlib
import re
import subprocess
import sys
import tempfile

from tap import case, done

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)
QUERIES = re.compile(r"^```sql\n(.*?)^```$", re.M | re.S)


def steps(text):
    """(command, expected lines) of every console block."""
    for block in BLOCK.findall(text):
        command, expected = None, []
        for line in block.splitlines():
            if line.startswith("$ "):
                if command is not None:
                    yield command, expected
                command, expected = line[2:], []
            else:
                expected.append(line)
        if command is not None:
            yield command, expected


def matches(expected, got):
    pattern = "\n".join(".*(?:\n.*)*" if line == "…" else ".*".join(map(re.escape, line.split("…")))
                        for line in expected)
    return re.fullmatch(pattern, "\n".join(got)) is not None


class Shell:
    """A bash that takes one command at a time and returns the lines it printed."""

    def __init__(self, place, environment):
        self.process = subprocess.Popen(["bash", "--norc"], cwd=place, env=environment, text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, command, wait_for_line):
        self.process.stdin.write(f"{command}\n")
        got = []
        if wait_for_line:
            got.append(self.process.stdout.readline().rstrip("\n"))
        self.process.stdin.write("printf '\\n--done--\\n'\n")
        for line in self.process.stdout:
            if line == "--done--\n":
                break
            got.append(line.rstrip("\n"))
        return got[:-1] if got and got[-1] == "" else got


def refused(queries, database):
    """What sqlite3 says about those of the queries that it does not carry out."""
    problems = []
    for query in filter(str.strip, queries.split(";")):
        done = subprocess.run(["sqlite3", "-readonly", "-bail", database], input=f"{query};", capture_output=True, text=True)
        if done.returncode != 0 or done.stderr:
            problems += [query.strip(), done.stderr.strip()]
    return problems


def wrapper(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def main(readme, psbroker, psctl):
    text = pathlib.Path(readme).read_text()
    psbroker, psctl = pathlib.Path(psbroker).resolve(), pathlib.Path(psctl).resolve()
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        (place / "bin").mkdir()
        wrapper(place / "bin" / "psbroker", f'exec "{psbroker}" "$@" --listen 127.0.0.1:0 --listen "unix:{place}/s"')
        wrapper(place / "bin" / "psctl", f'exec "{psctl}" "$@"')
        (place / "work").mkdir()
        shell = Shell(place / "work", {"PATH": f"{place}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": str(place),
                                       "PSCTL_SERVER": f"unix:{place}/s", "LC_ALL": "C.UTF-8"})
        count = 0
        try:
            for command, expected in steps(text):
                count += 1
                got = shell.run(command, command.endswith("&"))
                got = [line for line in got if not line.startswith("listening unix ")]
                case(f"$ {command}", [] if matches(expected, got) else
                     ["expected:", *expected, "got:", *got])
        finally:
            shell.process.stdin.close()
            shell.process.wait(timeout=30)
        database = place / "work/data/psbroker.db"
        queries = "".join(QUERIES.findall(text))
        case("the queries of the README run", refused(queries, database) if queries else ["no query found"])
        case("a wrong query is seen", [] if refused("select nothing from nowhere", database) else ["it was accepted"])
    case("the README has a tour", [] if count >= 10 else [f"only {count} commands found"])
    case("a wrong output is seen", ["it was accepted"] if matches(["0"], ["1"]) else [])
    done()


main(*sys.argv[1:])
