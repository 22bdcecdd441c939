#!/usr/bin/env python3
"""Line coverage of a build made with -Db_coverage=true, by folder, after its tests ran.

The decoder is what stands between the network and the rest: framing, the arena, decoding, names. It must be covered to
95 %, the whole to 85 %; else the exit code is 1. --lines lists the lines that no test reached.
"""
import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ["proto", "storage", "broker", "cli"]
DECODER = ("proto/frame.c", "proto/arena.c", "proto/wire.c", "proto/wire.h", "proto/topic.c", "proto/codec_decode")
DECODER_LEAST, WHOLE_LEAST = 95.0, 85.0


class Lines:
    def __init__(self):
        self.all = self.reached = 0

    def add(self, reached):
        self.all += 1
        self.reached += reached

    def percent(self):
        return 100.0 * self.reached / self.all if self.all else 0.0


def read(build):
    command = ["gcovr", "--root", str(ROOT), "--json", "-", "--object-directory", str(build), "--gcov-ignore-parse-errors"]
    for folder in FOLDERS:
        command += ["--filter", f"{ROOT}/{folder}/"]
    done = subprocess.run([*command, str(build)], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["files"]


def is_code(line):
    return not line.get("gcovr/noncode", False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--lines", metavar="PREFIX", nargs="?", const="",
                        help="list the lines not reached, of files that begin so or of all")
    options = parser.parse_args()
    folders, decoder, whole = defaultdict(Lines), Lines(), Lines()
    for file in read(options.build.resolve()):
        name = file["file"]
        missed = []
        for line in filter(is_code, file["lines"]):
            reached = line["count"] > 0
            folders[str(Path(name).parent)].add(reached)
            whole.add(reached)
            if name.startswith(DECODER):
                decoder.add(reached)
            if not reached:
                missed.append(str(line["line_number"]))
        if options.lines is not None and missed and name.startswith(options.lines):
            print(f"{name}: {' '.join(missed)}")
    for name, lines in [*sorted(folders.items()), ("the decoder", decoder), ("the whole", whole)]:
        print(f"{name:20}{lines.reached:7} of {lines.all:6} lines{lines.percent():8.1f} %")
    if decoder.percent() < DECODER_LEAST or whole.percent() < WHOLE_LEAST:
        print(f"coverage: the decoder must reach {DECODER_LEAST} %, the whole {WHOLE_LEAST} %", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
