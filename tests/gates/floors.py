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
# Foreign headers and the only places that may know them.
FOREIGN = {
    r"psbroker\.pb-c\.h|protobuf-c/": ("proto/codec", "proto/encode", "proto/pack"),
    r"sqlite3\.h": ("storage/",),
    r"uv\.h": ("broker/io/", "broker/server", "broker/main.c", "cli/"),
    r"histedit\.h|editline/": ("cli/",),
    r"jansson\.h": ("storage/",),
    r"xxhash\.h": ("storage/", "broker/core/map"),
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def floor_of(path):
    best = max((place for place in FLOORS if path == place or path.startswith(place + "/")), key=len)
    return FLOORS[best]


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
    return problems


def main():
    table = headers(ROOT)
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
    }
    for name, (source, text, header) in wrong.items():
        known = {pathlib.PurePath(header).name: [header]} if header else {}
        case(name, [] if check(source, text, known) else ["it was accepted"])
    done()


main()
