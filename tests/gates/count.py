"""Sums up single test cases over meson's JUnit logs and prints `N passed, N failed`.

    count.py FLOOR LOG...

Fails when a case failed, a log is missing or empty, or fewer cases ran than the number in the file FLOOR:
a suite that silently lost its tests must not look like one that passes."""
import pathlib
import sys
import xml.etree.ElementTree as xml


def cases(log):
    """(passed, failed, skipped, names of failed ones) of one JUnit file."""
    passed, failed, skipped, names = 0, 0, 0, []
    for suite in xml.parse(log).getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
                names.append(f"{suite.get('name')}: {case.get('name')}")
            elif case.find("skipped") is not None:
                skipped += 1
            else:
                passed += 1
    return passed, failed, skipped, names


def main(floor_file, *logs):
    floor = int(pathlib.Path(floor_file).read_text().split()[0])
    passed = failed = skipped = 0
    for log in logs:
        p, f, s, names = cases(log)
        for name in names:
            print(f"failed: {name}")
        if p + f == 0:
            print(f"{log}: no test case ran")
            failed += 1
        passed, failed, skipped = passed + p, failed + f, skipped + s
    short = passed + failed < floor
    if short:
        print(f"only {passed + failed} cases ran, {floor} are expected at least ({floor_file})")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or short else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
