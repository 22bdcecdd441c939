"""Runs unittest cases and speaks TAP, so that every single case is counted.

A test file ends with `tap.main()`. Arguments are parts of case names; without any, all cases run. A filter
that matches nothing is an error: a typing mistake must not look like success.
"""
import io
import os
import sys
import traceback
import unittest


def _flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _flatten(item)
        else:
            yield item


def _name(case):
    method = getattr(case, "_testMethodName", None)  # None: what failed is the set-up of a whole class
    return f"{type(case).__name__}.{method}" if method else str(case)


class _Result(unittest.TestResult):
    """Prints each outcome at once; what a case printed to stdout is shown as diagnostics."""

    def __init__(self, out):
        super().__init__()
        self.out = out
        self.number = 0
        self.bad = 0
        self.failed_subtest = None

    def line(self, ok, case, directive="", detail=""):
        self.number += 1
        self.bad += not ok
        text = f"{'ok' if ok else 'not ok'} {self.number} - {_name(case)}{directive}\n"
        text += "".join(f"# {part}\n" for part in detail.splitlines())
        self.out.write(text)
        self.out.flush()

    def startTest(self, case):
        super().startTest(case)
        self.failed_subtest = None

    def addSubTest(self, case, subtest, error):
        super().addSubTest(case, subtest, error)
        if error is not None and self.failed_subtest is None:
            self.failed_subtest = f"{subtest._subDescription()}\n{_text(error)}"
            self.line(False, case, detail=self.failed_subtest)

    def addSuccess(self, case):
        if self.failed_subtest is None:
            self.line(True, case)

    def addFailure(self, case, error):
        self.line(False, case, detail=_text(error))

    def addError(self, case, error):
        self.line(False, case, detail=_text(error))

    def addSkip(self, case, reason):
        self.line(True, case, directive=f" # SKIP {reason}")


def _text(error):
    return "".join(traceback.format_exception(*error))


def main():
    """Runs the cases of the calling program; exits 0 only if none failed."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    sys.stdout = io.TextIOWrapper(os.fdopen(os.dup(2), "wb", buffering=0), encoding="utf-8",
                                  errors="backslashreplace", write_through=True)
    cases = list(_flatten(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])))
    wanted = sys.argv[1:]
    if wanted:
        cases = [case for case in cases if any(part in _name(case) for part in wanted)]
    out.write(f"1..{len(cases)}\n")
    out.flush()
    if not cases:
        out.write("Bail out! no case matches\n")
        out.flush()
        sys.exit(2)
    result = _Result(out)
    unittest.TestSuite(cases).run(result)
    out.flush()
    sys.exit(1 if result.bad else 0)
