# SPDX-License-Identifier: GPL-2.0
"""Run the unit tests of the harness; one result line per test."""

import sys
import unittest

from ..common import paths


class Lines(unittest.TestResult):
    """Prints 'ok|not ok|skip NAME' for the counting in make check."""

    @staticmethod
    def _name(test):
        return "harness " + test.id().replace("harness.tests.", "")

    def addSuccess(self, test):
        super().addSuccess(test)
        print(f"ok {self._name(test)}", flush=True, file=sys.__stdout__)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"skip {self._name(test)} - {reason}", flush=True,
              file=sys.__stdout__)

    def _bad(self, test, error):
        print(f"not ok {self._name(test)}", flush=True, file=sys.__stdout__)
        print(self._exc_info_to_string(error, test), file=sys.__stderr__)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._bad(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self._bad(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self._bad(subtest, err)


def main():
    """Run all tests below harness/tests."""
    suite = unittest.defaultTestLoader.discover(
        str(paths.ROOT / "harness" / "tests"), top_level_dir=str(paths.ROOT))
    result = Lines()
    result.buffer = True                # what the code under test prints
    suite.run(result)
    return 0 if result.wasSuccessful() and result.testsRun else 1
