"""The failpoints that stand in the sources."""
import re


def names(root):
    found = set()
    for folder in ("proto", "storage", "broker"):
        for path in (root / folder).rglob("*.c"):
            found |= set(re.findall(r"\bFAILPOINT\((\w+)\)", path.read_text()))
    return sorted(found)
