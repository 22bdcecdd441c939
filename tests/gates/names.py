"""The table of seen failures in tests/README.md keeps up with the code: every identifier and every case that it
names in backticks stands somewhere in the sources, and every numbered fault has a row. A name that ends in `_…` or `…` is
the beginning of one."""
import pathlib
import re
import subprocess
import sys

from tap import case, done

ROOT = pathlib.Path(sys.argv[1])
FOLDERS = ("proto", "broker", "cli", "storage", "migrations", "tests", "dev", "meson.build")
ENDINGS = {".c", ".h", ".py", ".sql", ".proto", ".sh", ".build", ""}
NAME = re.compile(r"`([A-Za-z_][A-Za-z0-9_]*)(…|\(\))?`")
OF_OTHERS = {"NORMAL"}  # SQLite's
FAULTS = set(range(1, 32)) - {20, 24}  # access rules and reloading a configuration are not built
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def sources():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", *FOLDERS], check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in ENDINGS and path.is_file() and path != pathlib.Path(__file__).resolve():
            yield path


def words():
    found = set()
    for path in sources():
        text = path.read_text(errors="replace")
        found.update(WORD.findall(text))
        found.add(path.stem)
        if path.stem.startswith("test_"):
            # meson's name of a unit test: the folder and what follows `test_`.
            found.add(f"{path.parent.name}_{path.stem.removeprefix('test_')}")
    return found


def unknown(text, known):
    """The names in `text` that stand nowhere."""
    return sorted({name + end for name, end in NAME.findall(text)
                   if name not in known | OF_OTHERS and not (end == "…" and any(word.startswith(name) for word in known))})


def without_row(text):
    """The faults that no row of the table names."""
    named = {int(number) for numbers in re.findall(r"\bfaults? ([0-9, ]+)\)", text) for number in numbers.split(",")}
    return sorted(FAULTS - named)


def main():
    known = words()
    text = (ROOT / "tests" / "README.md").read_text()
    case(f"{len(set(NAME.findall(text)))} names in tests/README.md stand in the sources",
         [f"`{name}` stands nowhere" for name in unknown(text, known)] if known else ["no source was read"])
    case("a name that is gone is seen", [] if unknown("`no_such_" + "guard()`", known) else ["it passed"])
    case("a beginning counts", [] if not unknown("`frame_reader_…`", known) else ["it failed"])
    case("every fault of tests/crash/README.md has been seen", [f"fault {number} has no row" for number in without_row(text)])
    case("a fault without a row is seen", [] if without_row("| (fault 1) | (P1; faults 2, 3) |")[0] == 4 else ["it passed"])
    done()


main()
