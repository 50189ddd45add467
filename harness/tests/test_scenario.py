# SPDX-License-Identifier: GPL-2.0
"""When a scenario is tried again, and what is said of it."""

import contextlib
import io
import os
import pathlib
import tempfile
import time
import types
import unittest
from unittest import mock

from ..common import paths
from ..common.run import LATE, UNTIL, HarnessError
from ..scenario import runner
from ..scenario.api import Scenario
from ..vm.qemu import MachineError

UP = types.SimpleNamespace(release="7.3.4-a", seconds=1.0)


class FakeGuest:
    """A guest that came up so often, and its machine."""

    answers = True

    def __init__(self, folder, boots, console=""):
        self.boots = [UP] * boots
        self.vm = types.SimpleNamespace(folder=folder, close=lambda: None,
                                        serial=lambda: console)


class Again(unittest.TestCase):
    """Only a machine that did not start is tried again."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name in ("BUILD", "STATE"):
            patch = mock.patch.object(paths, name, pathlib.Path(folder.name) / name)
            patch.start()
            self.addCleanup(patch.stop)
        self.kept = paths.BUILD / "scenario" / "some.first"

    def attempts(self, *attempts):
        """Runs a scenario whose attempts do this, one after the other; how many there
        were, how many failed at the end, and what was printed."""
        left = list(attempts)

        def function(run):
            boots, error, *console = left.pop(0)
            if boots is not None:
                run.guests.append(FakeGuest(run.folder, boots, *console))
            if error:
                raise error
            run.check("it works", True)

        out = io.StringIO()
        with mock.patch.dict(runner.SCENARIOS, some=Scenario("some", "", function)), \
                contextlib.redirect_stdout(out):
            bad = runner.run_many(["some"], 1, False)
        return len(attempts) - len(left), bad, out.getvalue()

    def test_passes(self):
        count, bad, line = self.attempts((1, None), (1, None))
        self.assertEqual((count, bad), (1, 0))
        self.assertRegex(line, r"^ok some - \d+\.\d s\n$")

    def test_time_is_up(self):
        with mock.patch.dict(os.environ, {UNTIL: str(time.time() - 1)}):
            count, bad, line = self.attempts((1, None))
        self.assertEqual((count, bad, line), (0, 0, f"skip some - {LATE}\n"))

    def test_no_machine(self):
        for error in (MachineError("QEMU opens no socket"),
                      HarnessError("no kernel came up within 60 s")):
            count, bad, line = self.attempts((0, error), (1, None))
            self.assertEqual((count, bad), (2, 0))
            self.assertRegex(line, rf"^ok some - \d+\.\d s, SECOND ATTEMPT: {error}\n$")
            self.assertTrue((self.kept / "traceback").exists())

    def test_no_machine_twice(self):
        gone = MachineError("QEMU ended")
        count, bad, line = self.attempts((0, gone), (0, gone), (1, None))
        self.assertEqual((count, bad), (2, 1))
        self.assertEqual(line, "not ok some - QEMU ended, SECOND ATTEMPT: QEMU ended\n")

    def test_kernel_came_up(self):
        for boots in (1, 2):
            for error in (HarnessError("no answer"), MachineError("time limit"),
                          ValueError("odd")):
                count, bad, line = self.attempts((boots, error), (1, None))
                self.assertEqual((count, bad), (1, 1))
                self.assertIn(str(error), line)
                self.assertNotIn("ATTEMPT", line)

    def test_kernel_complained(self):
        count, bad, line = self.attempts(
            (0, HarnessError("no kernel came up"), "[ 0.1] BUG: unable to handle it\n"),
            (1, None))
        self.assertEqual((count, bad), (1, 1))
        self.assertIn("console: [ 0.1] BUG", line)

    def test_no_machine_at_all(self):
        count, bad, line = self.attempts((None, HarnessError("bzImage-a is not built")),
                                         (1, None))
        self.assertEqual((count, bad), (1, 1))
        self.assertEqual(line, "not ok some - bzImage-a is not built\n")


class Chosen(unittest.TestCase):
    """Which scenarios --all means."""

    known = {what.name: what for what in (
        Scenario("normal", "", None), Scenario("long", "", None, limit=200),
        Scenario("debug", "", None, debug=True),
        Scenario("always", "", None, debug=True, debug_always=True),
        Scenario("only", "", None, debug=True, debug_only=True))}

    def test_all(self):
        """What makes no sense elsewhere runs on the debug kernels alone."""
        self.assertEqual(runner.chosen(self.known, False, skip=["normal"]),
                         ["long", "debug", "always"])
        self.assertEqual(runner.chosen(self.known, True), ["debug", "always", "only"])

    def test_few(self):
        """make check has time for some, and there are some."""
        self.assertEqual(runner.chosen(self.known, True, few=True), ["always"])
        known = runner.load_scenarios()
        few = runner.chosen(known, True, few=True)
        self.assertTrue(few)
        self.assertLess(set(few), set(runner.chosen(known, True)))

    def test_few_of_what(self):
        """--few alone is a mistake of the caller."""
        for argv in (["--few"], ["--all", "--few"], ["--debug", "--few", "x"]):
            with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
                runner.main(argv)


if __name__ == "__main__":
    unittest.main()
