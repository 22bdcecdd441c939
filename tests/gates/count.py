"""Sums up single test cases over meson's logs and prints `N passed, N failed`.

    count.py FLOOR BUILD_DIRECTORY...

The cases stand in testlog.junit.xml; testlog.json adds the tests that ended badly without a failed case (a
crash, a time-out, fewer cases than planned), each of which counts as one failed case. Fails when a case
failed, a log is missing or empty, or fewer cases ran than the number in the file FLOOR: a suite that silently
lost its tests must not look like one that passes."""
import json
import pathlib
import sys
import xml.etree.ElementTree as xml


def cases(log):
    """(passed, failed, skipped, names of failed ones, binaries with a failed case) of one JUnit file."""
    passed, failed, skipped, names, suites = 0, 0, 0, [], set()
    for suite in xml.parse(log).getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
                names.append(f"{suite.get('name')}: {case.get('name')}")
                suites |= {suite.get("name").split(".")[-1], case.get("name")}
            elif case.find("skipped") is not None:
                skipped += 1
            else:
                passed += 1
    return passed, failed, skipped, names, suites


def broken(log, known):
    """Names of tests that ended badly without any failed case of their own."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [f"{test['name']}: {test['result'].lower()}" for test in lines
            if test["result"] not in ("OK", "SKIP", "EXPECTEDFAIL") and test["name"].split(" / ")[-1] not in known]


def main(floor_file, *directories):
    floor = int(pathlib.Path(floor_file).read_text().split()[0])
    passed = failed = skipped = 0
    for directory in directories:
        logs = pathlib.Path(directory) / "meson-logs"
        p, f, s, names, known = cases(logs / "testlog.junit.xml")
        bad = broken(logs / "testlog.json", known)
        for name in names + bad:
            print(f"failed: {name}")
        if p + f == 0:
            bad.append(directory)
            print(f"failed: {directory}: no test case ran")
        passed, failed, skipped = passed + p, failed + f + len(bad), skipped + s
    short = passed + failed < floor
    if short:
        print(f"only {passed + failed} cases ran, {floor} are expected at least ({floor_file})")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or short else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
