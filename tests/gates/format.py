"""Every C source of ours is laid out as .clang-format says; and the check can see one that is not."""
import pathlib
import subprocess
import sys
import tempfile

from tap import case, done

ROOT = pathlib.Path(sys.argv[1])
MOST_COLUMNS = 120
FOLDERS = ("proto", "storage", "broker", "cli", "tests")


def complaints(files):
    if not files:
        return ["no source found"]
    run = subprocess.run(["clang-format", "--dry-run", "-Werror", f"--style=file:{ROOT / '.clang-format'}",
                          *map(str, files)], capture_output=True, text=True)
    found = {line.split(":")[0] for line in run.stderr.splitlines() if ": error:" in line}
    if run.returncode != 0 and not found:
        return [run.stderr.strip() or f"clang-format ended with {run.returncode}"]
    return [f"{name}: run ./dev format" for name in sorted(found)]


def long_lines(files):
    """clang-format does not lay comments out."""
    return [f"{name}:{number}: {len(line)} columns, {MOST_COLUMNS} at most" for name in files
            for number, line in enumerate(name.read_text(encoding="utf-8").splitlines(), 1)
            if len(line) > MOST_COLUMNS]


def main():
    sources = [path for folder in FOLDERS for suffix in ("*.c", "*.h")
               for path in sorted((ROOT / folder).rglob(suffix))]
    case(f"{len(sources)} sources are formatted", complaints(sources))
    case("no line is too long", long_lines(sources))
    with tempfile.TemporaryDirectory() as place:
        wrong = pathlib.Path(place) / "wrong.c"
        wrong.write_text("int  main( void ){return 0 ;}\n")
        case("a wrong file is seen", [] if complaints([wrong]) else ["clang-format accepted it"])
        wrong.write_text("/* " + "x" * MOST_COLUMNS + " */\n")
        case("a long line is seen", [] if long_lines([wrong]) else ["it was accepted"])
    done()


main()
