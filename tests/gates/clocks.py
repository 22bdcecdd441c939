"""The clock of the wall is looked at where messages and log lines are stamped, and nowhere else: timers are monotonic."""
import pathlib
import re
import sys

from tap import case, done

ROOT = pathlib.Path(sys.argv[1])
WALL = re.compile(r"CLOCK_REALTIME|CLOCK_TAI|\btime\s*\(|\bgettimeofday\s*\(|\buv_gettimeofday\b|\bftime\s*\(|\bsem_timedwait\b|"
                  r"\bpthread_mutex_timedlock\b|\bUV_CLOCK_REALTIME\b|'now'|CURRENT_TIME|\bunixepoch\s*\(\s*\)|TIMER_ABSTIME")
STAMPS = {"storage/sqlite/transaction.c", "storage/memory/store_memory.c", "broker/core/logger.c"}
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


def looks(text):
    return WALL.findall(COMMENT.sub("", text))


def main():
    files = [path for folder in ("proto", "storage", "broker", "cli", "migrations")
             for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".c", ".h", ".sql")]
    found = {str(path.relative_to(ROOT)): looks(path.read_text()) for path in files}
    case(f"{len(files)} files look at the wall's clock to stamp only",
         [f"{name}: {', '.join(words)}" for name, words in found.items() if words and name not in STAMPS])
    case("each of those that stamp looks once",
         [f"{name}: {found.get(name)}" for name in sorted(STAMPS) if len(found.get(name) or []) != 1])
    case("a look is seen", [] if looks("int x = time(NULL);") and looks("clock_gettime(CLOCK_REALTIME, &now);") else ["no"])
    done()


main()
