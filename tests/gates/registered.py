"""No test file is forgotten: every source under tests/ stands in the meson.build beside it (or above), and
the top level holds nothing that the project does not name."""
import fnmatch
import pathlib
import re
import sys

from tap import case, done

ROOT = pathlib.Path(sys.argv[1])
TOP = {"meson.build", "meson_options.txt", "README.md", "LICENSE", "dev",
       "proto", "broker", "cli", "storage", "tests", "migrations"}
TESTS = re.compile(r"(test_|fuzz_|bench_).*\.(c|py|sh)$")


def registered(path):
    folder = path.parent
    while folder != ROOT:
        build = folder / "meson.build"
        if build.is_file():
            text = build.read_text()
            relative = str(path.relative_to(folder))
            if relative in text or path.name in text or f"'{path.stem}'" in text or \
                    re.search(rf"'{re.escape(re.sub(r'^(test|fuzz|bench)_', '', path.stem))}'", text):
                return True
        folder = folder.parent
    return False


def strangers(names):
    """Those of the names at the top level that are neither ours nor left behind by a build or a tour."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line.startswith("/")]
    return [name for name in names if name not in TOP and not name.startswith(".")
            and not any(fnmatch.fnmatch(name, pattern) for pattern in ignored)]


def main():
    files = [path for path in sorted((ROOT / "tests").rglob("*")) if TESTS.match(path.name)]
    problems = [f"{path.relative_to(ROOT)} is in no meson.build" for path in files if not registered(path)]
    case(f"{len(files)} test files are registered", problems if files else ["no test file found"])
    case("a forgotten file is seen",
         ["it passed"] if registered(ROOT / "tests" / "gates" / "test_nobody_knows.c") else [])
    strange = strangers(path.name for path in ROOT.iterdir())
    case("the top level holds what it should", [f"{name} does not belong there" for name in strange])
    case("a stranger there is seen", [] if strangers(["notes.txt", "data"]) == ["notes.txt"] else ["it passed"])
    done()


main()
