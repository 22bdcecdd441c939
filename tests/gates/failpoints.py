"""Failpoints are in a build that asks for them, and nothing of them in any other.

    failpoints.py ROOT PSBROKER on|off
"""
import pathlib
import sys

from failpoint_names import names
from tap import case, done

ROOT, PROGRAM, STATE = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]


def held(program, texts):
    content = program.read_bytes()
    return [text for text in texts if text.encode() in content]


def main():
    labels = [f"failpoint:{name}" for name in names(ROOT)]
    texts = labels + ["PSBROKER_FAILPOINT", "failpoint_pass"]
    found = held(PROGRAM, texts)
    case("the sources have failpoints", [] if len(labels) > 10 else [f"only {labels}"])
    if STATE == "on":
        case(f"{len(texts)} names are in the program", [f"{text} is not" for text in texts if text not in found])
    else:
        case(f"none of {len(texts)} names is in the program", [f"{text} is" for text in found])
    done()


main()
