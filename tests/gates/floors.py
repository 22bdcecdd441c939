"""Includes go down only: each source may include the headers of its own floor and of the floors beneath it,
and only the named files know a foreign library. The include paths of the static libraries enforce most of
this at compile time; this gate also covers floors that share a folder, and says which line is wrong."""
import pathlib
import re
import sys

from tap import case, done

ROOT = pathlib.Path(sys.argv[1])

# place (file or folder, the longest match counts) -> (floor, side)
FLOORS = {
    "proto": (1, "proto"),
    "proto/span.h": (0, "proto"),
    "proto/nearest.h": (0, "proto"), "proto/nearest.c": (0, "proto"),
    "proto/status.h": (0, "proto"), "proto/status.c": (0, "proto"),
    "proto/topic.h": (0, "proto"), "proto/topic.c": (0, "proto"),
    "storage/store.h": (1, "storage"),
    "storage": (2, "storage"),
    "broker/core": (3, "broker"),
    "broker/io": (4, "broker"),
    "broker": (5, "broker"),
    "broker/main.c": (6, "broker"),
    "cli/client": (4, "cli"),
    "cli": (5, "cli"),
    "cli/main.c": (6, "cli"),
}
# Who may include what of another folder.
SEES = {
    "proto": {"proto"},
    "storage": {"proto", "storage"},
    "broker": {"proto", "storage", "broker"},
    "cli": {"proto", "cli"},
}
# Headers that only some may include, beside what the floors say: psctl knows the library by its public header
# and of the wire nothing but the words; what a part keeps to itself stays there.
PRIVATE = {
    "cli/client/": ("cli/client/", {"cli/client/psclient.h"}),
    "proto/codec_": ("proto/", set()),
    "broker/core/": ("broker/core/", {f"broker/core/{name}.h" for name in (
        "broker", "clock", "defaults", "list", "log_io", "logger", "map", "quota", "rate",
        "session")}),
    "broker/io/connection_state.h": ("broker/io/connection", set()),
    "storage/sqlite/": ("storage/sqlite/", {"storage/sqlite/store_sqlite.h", "storage/sqlite/check.h"}),
    "storage/memory/": ("storage/memory/", {"storage/memory/store_memory.h"}),
    "storage/migrate.h": (("storage/migrate.c", "storage/sqlite/"), set()),
}
WORDS = {"proto/nearest.h", "proto/span.h", "proto/status.h", "proto/topic.h"}
# Foreign headers and the only places that may know them.
FOREIGN = {
    r"psbroker\.pb-c\.h|protobuf-c/": ("proto/codec",),
    r"sqlite3\.h": ("storage/",),
    r"uv\.h": ("broker/io/", "broker/server", "broker/main.c", "cli/"),
    r"histedit\.h|editline/": ("cli/",),
    r"jansson\.h": ("storage/", "cli/load_line"),
    r"xxhash\.h": ("storage/", "broker/core/map"),
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def floor_of(path):
    best = max((place for place in FLOORS if path == place or path.startswith(place + "/")), key=len)
    return FLOORS[best]


def hidden(name, header):
    """Whether the header is not for this file, though its floor is low enough."""
    if name.startswith("cli/") and not name.startswith("cli/client/") and header.startswith("proto/"):
        return header not in WORDS
    return any(header.startswith(place) and header not in public and not name.startswith(home)
               for place, (home, public) in PRIVATE.items())


def headers(root):
    table = {}
    for folder in SEES:
        for path in (root / folder).rglob("*.h"):
            table.setdefault(path.name, []).append(str(path.relative_to(root)))
    return table


def check(name, text, table):
    """Complaints about one source, given its name relative to the root and its text."""
    floor, side = floor_of(name)
    problems = []
    for quote, header in INCLUDE.findall(text):
        for pattern, places in FOREIGN.items():
            if re.match(pattern, header) and not name.startswith(places):
                problems.append(f"{name}: {header} is not for this file")
        if quote != '"':
            continue
        found = table.get(pathlib.PurePath(header).name, [])
        near = [path for path in found if pathlib.PurePath(path).parent == pathlib.PurePath(name).parent]
        for path in near or found:
            other_floor, other_side = floor_of(path)
            if other_side not in SEES[side] or other_floor > floor:
                problems.append(f"{name} (floor {floor}) includes {path} (floor {other_floor})")
            elif hidden(name, path):
                problems.append(f"{name} includes {path}, which is not for it")
    return problems


def shared_guards(texts):
    """Include guards that more than one header has: whoever includes both sees only the first."""
    guards = [re.search(r"^#ifndef (\w+)", text, re.M) for text in texts]
    names = [guard.group(1) for guard in guards if guard]
    return sorted({f"{name} guards several headers" for name in names if names.count(name) > 1})


def main():
    table = headers(ROOT)
    case("every header has a guard of its own",
         shared_guards(path.read_text() for folder in (*SEES, "tests") for path in (ROOT / folder).rglob("*.h")))
    case("a guard used twice is seen", [] if shared_guards(["#ifndef A_H\n"] * 2) else ["it was accepted"])
    for folder in SEES:
        sources = [path for suffix in ("*.c", "*.h") for path in sorted((ROOT / folder).rglob(suffix))]
        problems = [] if sources else ["no source found"]
        for path in sources:
            problems += check(str(path.relative_to(ROOT)), path.read_text(), table)
        case(f"{folder}: {len(sources)} sources include downward only", problems)
    wrong = {
        "an upward include is seen": ("broker/core/session.c", '#include "server.h"\n', "broker/server.h"),
        "the broker cannot see the client": ("broker/io/x.c", '#include "psclient.h"\n', "cli/client/psclient.h"),
        "generated code stays in the codec": ("broker/core/x.c", '#include "psbroker.pb-c.h"\n', None),
        "the core knows no socket": ("broker/core/x.c", "#include <uv.h>\n", None),
        "psctl knows the public header alone": ("cli/x.c", '#include "transport.h"\n', "cli/client/transport.h"),
        "psctl knows no frames": ("cli/x.c", '#include "codec.h"\n', "proto/codec.h"),
        "the core's own state is its own": ("broker/io/x.c", '#include "broker_state.h"\n',
                                            "broker/core/broker_state.h"),
    }
    for name, (source, text, header) in wrong.items():
        known = {pathlib.PurePath(header).name: [header]} if header else {}
        case(name, [] if check(source, text, known) else ["it was accepted"])
    done()


main()
