"""Links between our documents lead somewhere: the file is there, and so is the heading behind #."""
import pathlib
import re
import subprocess
import sys

from tap import case, done

ROOT = pathlib.Path(sys.argv[1])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
HEADING = re.compile(r"^#+ +(.+)$", re.M)


def anchors(text):
    """As Markdown viewers make them: lower case, without punctuation, hyphens for blanks; -1, -2 for repetitions."""
    found = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        name = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(anchor)
    return found


def broken(path, text):
    problems = []
    for link in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists():
            problems.append(f"{path.relative_to(ROOT)}: {link}: no such file")
        elif anchor and anchor not in anchors(target.read_text()):
            problems.append(f"{path.relative_to(ROOT)}: {link}: no such heading")
    return problems


def main():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "*.md"], check=True, capture_output=True, text=True)
    documents = [ROOT / name for name in filter(None, listed.stdout.split("\0"))]
    problems = [problem for path in documents for problem in broken(path, path.read_text())]
    case(f"links of {len(documents)} documents lead somewhere", problems if documents else ["no document was read"])
    readme = ROOT / "README.md"
    for wrong in ("nowhere.md", "#no-such-heading", "tests/README.md#no-such-heading"):
        case(f"a broken link is seen: {wrong}", [] if broken(readme, f"[x]({wrong})") else ["it passed"])
    case("a heading is found", broken(readme, "[x](#what-is-promised)"))
    done()


main()
