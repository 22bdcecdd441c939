"""A few lines of TAP for gates: `case(name, problems)` with a list of complaints, then `done()`."""

_count = 0


def case(name, problems):
    global _count
    _count += 1
    print(f"{'not ok' if problems else 'ok'} {_count} - {name}")
    for problem in problems:
        print(f"# {problem}")


def done():
    print(f"1..{_count}")
