# SPDX-License-Identifier: GPL-2.0
"""Small parts: configuration, progress, counting of results, MAINTAINERS."""

import contextlib
import io
import os
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from ..build import kconfig, kernel
from ..cli import check
from ..common import paths, run
from ..common.progress import Progress
from ..common.run import HarnessError
from ..source import series, tree
from ..static import text as static_text


class Kconfig(unittest.TestCase):
    """Fragments and what became of them."""

    CONFIG = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_D=\"x\"\n"

    def test_lost(self):
        self.assertEqual(kconfig.lost({"A": "y", "B": "n", "C": "m",
                                       "D": '"x"', "GONE": "n"},
                                      self.CONFIG), [])
        self.assertEqual(kconfig.lost({"A": "n", "B": "y", "C": "y",
                                       "GONE": "y"}, self.CONFIG),
                         ["CONFIG_A: wanted n, is y",
                          "CONFIG_B: wanted y, is n",
                          "CONFIG_C: wanted y, is m",
                          "CONFIG_GONE: wanted y, is n"])

    def test_later_fragments_win(self):
        common = kconfig.read(["common"])
        self.assertNotEqual(kconfig.read(["common", "b"]), common)
        self.assertEqual(kconfig.read(["b", "common"])["LOG_BUF_SHIFT"],
                         common["LOG_BUF_SHIFT"])

    def test_invalid_fragments(self):
        for text in ("CONFIG_A=y\n# CONFIG_A is not set\n",
                     "CONFIG_A=y\nCONFIG_A=y\n", "A=y\n", "CONFIG_A\n"):
            with tempfile.TemporaryDirectory() as folder, \
                    mock.patch.object(paths, "CONFIG", Path(folder)):
                (Path(folder) / "x.config").write_text(text)
                with self.assertRaises(HarnessError):
                    kconfig.read(["x"])

    def test_every_fragment_is_readable(self):
        for path in paths.CONFIG.glob("*.config"):
            self.assertTrue(kconfig.read([path.stem]), path)


class Build(unittest.TestCase):
    """What the harness reads out of kbuild's output."""

    def test_steps(self):
        for line in ("  CC      init/main.o", "  CC [M]  lib/x.o",
                     "  LD      vmlinux", "  OBJCOPY arch/x86/boot/setup.bin"):
            self.assertTrue(kernel.STEP.match(line), line)
        for line in ("make[1]: Entering directory", "init/main.c:1: error",
                     "    note", "  cc x", "#"):
            self.assertFalse(kernel.STEP.match(line), line)

    def test_environment_is_clean(self):
        with mock.patch.dict("os.environ", {
                "MAKEFLAGS": "S=x", "S": "name", "W": "1", "ARCH": "arm64",
                "LOCALVERSION": "-mine", "KBUILD_OUTPUT": "/x",
                "GIT_DIR": "/x", "HOME": "/home"}):
            env = kernel.environment()
        self.assertEqual(env["HOME"], "/home")
        for name in ("MAKEFLAGS", "S", "W", "ARCH", "LOCALVERSION",
                     "KBUILD_OUTPUT", "GIT_DIR"):
            self.assertNotIn(name, env)

    def test_progress_never_reaches_the_end_early(self):
        out = io.StringIO()
        bar = Progress("x", 2, out)
        bar.terminal = True
        bar.shown = -1000
        bar.update(5)
        self.assertLess(bar.done, bar.total)
        self.assertRegex(out.getvalue(), r"x +\d\d%.* left")
        bar.finish()
        self.assertIn("x: done", out.getvalue())


class Counting(unittest.TestCase):
    """A checker that says nothing, or dies silently, is a failure."""

    def sums(self, program):
        total = check.Sum()
        with contextlib.redirect_stdout(io.StringIO()), \
                mock.patch.object(check.sys, "executable", "sh"), \
                mock.patch.object(check.subprocess, "Popen",
                                  self._popen(program)):
            good = check.run(total, "name", "ignored")
        return total.passed, total.failed, total.skipped, bool(good)

    @staticmethod
    def _popen(program):
        real = check.subprocess.Popen

        def start(_, **kwargs):
            return real(["sh", "-c", program], **kwargs)
        return start

    def test_counts(self):
        self.assertEqual(self.sums(
            "echo ok a; echo 'not ok b - why'; echo skip c; echo '  ok d'; "
            "echo okay; exit 1"), (1, 1, 1, False))
        self.assertEqual(self.sums("echo ok a"), (1, 0, 0, True))

    def test_silent_failures(self):
        self.assertEqual(self.sums("true"), (0, 1, 0, False))
        self.assertEqual(self.sums("echo ok a; exit 3"), (1, 1, 0, False))
        self.assertEqual(self.sums("echo noise"), (0, 1, 0, False))

    def sum_of(self, *lines, strict=False):
        """A Sum that saw these lines."""
        total = check.Sum(strict)
        with contextlib.redirect_stdout(io.StringIO()):
            for line in lines:
                total.line(line)
        return total

    def test_flaky(self):
        line = "ok x - 7.1 s, SECOND ATTEMPT: the machine did not start"
        total = self.sum_of(line, "ok y - 3.0 s")
        self.assertEqual((total.passed, total.failed), (2, 0))
        self.assertIn("flaky: 1", total.summary(1))
        self.assertIn("  " + line, total.summary(1))
        total = self.sum_of(line, "ok y - 3.0 s", strict=True)
        self.assertEqual((total.passed, total.failed), (1, 1))
        text = "\n".join(total.summary(1))
        self.assertIn("flaky: 1, counted as failed", text)
        self.assertIn(f"failed:\n  not {line}", text)

    def test_failed_twice_is_not_flaky(self):
        total = self.sum_of("not ok x - hangs, SECOND ATTEMPT: hangs",
                            strict=True)
        self.assertEqual((total.passed, total.failed), (0, 1))
        self.assertIn("flaky: 0", total.summary(1))

    def test_ci_is_strict(self):
        for value, strict in (("true", True), ("", False)):
            with mock.patch.dict(check.os.environ, CI=value):
                self.assertIs(check.Sum().strict, strict)

    def test_stamps_are_told(self):
        total = self.sum_of("ok a - 3 objects [stamped, 61.5 s]",
                            "ok b [stamped]", "skip c - no tool [stamped]",
                            "ok d [stamped, 60 s] - it is only called so")
        total.part("static", 2.0, 1.0, 3)
        self.assertEqual((total.passed, total.skipped), (3, 1))
        self.assertEqual(total.saved, 61.5)
        text = "\n".join(total.summary(1))
        self.assertIn("from stamps: 3 results, which took 1:02", text)
        self.assertEqual(total.summary(1)[-1],
                         "3 passed, 0 failed, 1 skipped")

    def test_stamps_are_counted(self):
        total = check.Sum()
        with contextlib.redirect_stdout(io.StringIO()), \
                mock.patch.object(check.subprocess, "Popen", self._popen(
                    "echo 'ok a [stamped, 1 s]'; echo ok b")):
            check.run(total, "name", "ignored")
        self.assertEqual([p.stamped for p in total.parts], [1])

    def test_time_on_the_processors(self):
        total = check.Sum()
        with contextlib.redirect_stdout(io.StringIO()), \
                mock.patch.object(check.subprocess, "Popen", self._popen(
                    "echo ok a; i=0; while [ $i -lt 200000 ]; do "
                    "i=$((i+1)); done; sleep 0.3")):
            check.run(total, "name", "ignored")
        self.assertGreater(total.parts[0].cpu, 0.05)
        self.assertGreater(total.parts[0].wall, total.parts[0].cpu)

    def test_thread_that_dies_is_a_failure(self):
        total = check.Sum()
        with contextlib.redirect_stdout(io.StringIO()), \
                mock.patch.object(check, "run", side_effect=OSError("gone")):
            check._guarded(total, "static")    # pylint: disable=protected-access
        self.assertEqual(total.bad, ["not ok static - OSError: gone"])

    def test_debug_kernels(self):
        """Some scenarios always run on them, with DEBUG=1 more, and none
        when they could not be built."""
        def started(debug, good=True):
            total, runs = check.Sum(), []
            with mock.patch.object(check, "run", side_effect=lambda _, *args,
                                   **__: runs.append(args)), \
                    mock.patch.object(check, "step", side_effect=lambda _, name,
                                      *__, **___: good or "debug" not in name):
                check._all(total, debug, [])    # pylint: disable=protected-access
            return [args for args in runs if "--debug" in args]

        self.assertEqual(started(False), [
            ("debug scenarios", "harness.scenario", "--all", "--debug", "--few",
             "--jobs", "2")])
        self.assertEqual(started(True), [
            ("debug scenarios", "harness.scenario", "--all", "--debug",
             "--jobs", "2")])
        self.assertEqual(started(False, good=False), [])

    def test_time_is_up(self):
        """With a limit the debug kernels are left out, and said to be, when they could not
        be done within it; so are gates and scenarios."""
        for left, begun in ((check.DEBUG_NEEDS + 1, True), (check.DEBUG_NEEDS - 1, False)):
            total, out = check.Sum(), io.StringIO()
            until = str(time.time() + left * 60)
            with contextlib.redirect_stdout(out), \
                    mock.patch.dict(os.environ, {run.UNTIL: until}), \
                    mock.patch.object(check, "run"), \
                    mock.patch.object(check, "step", return_value=True) as step:
                check._all(total, False, [])    # pylint: disable=protected-access
            names = [call.args[1] for call in step.call_args_list]
            self.assertEqual("debug kernels" in names, begun)
            self.assertEqual(total.skipped, not begun)
            self.assertEqual(run.LATE in out.getvalue(), not begun)
        with mock.patch.dict(os.environ):
            os.environ.pop(run.UNTIL, None)
            self.assertFalse(run.time_is_up(10 ** 9))

    def test_what_only_compiles_makes_way(self):
        show = ("import os; print('ok', os.sched_getscheduler(0) == "
                "os.SCHED_IDLE or os.nice(0) == 19)")
        for beside in (False, True):
            child = check._start(       # pylint: disable=protected-access
                ["timeit", "-n1", "-r1", "-s", show], beside,
                stdout=check.subprocess.PIPE, text=True)
            with child.stdout:
                text = child.stdout.read()
            check._end(child)           # pylint: disable=protected-access
            self.assertIn(f"ok {beside}", text)

    def test_empty_run_is_no_success(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), \
                mock.patch.object(check.deps, "ensure"), \
                mock.patch.object(check, "_all"):
            self.assertEqual(check.main(), 1)
        self.assertEqual(out.getvalue().splitlines()[-1],
                         "0 passed, 0 failed, 0 skipped")


class Text(unittest.TestCase):
    """Parsing and merging of text files."""

    def test_merge_maintainers(self):
        text = "LIVE UPDATE\nM:\tx\nF:\tb\nF:\td\n\nNEXT\nF:\ta\n"
        self.assertEqual(
            tree.merge_maintainers(text, ["e", "a", "c", "b"]),
            "LIVE UPDATE\nM:\tx\nF:\ta\nF:\tb\nF:\tc\nF:\td\nF:\te\n\n"
            "NEXT\nF:\ta\n")
        with self.assertRaises(HarnessError):
            tree.merge_maintainers("NEXT\n", ["a"])

    def test_abi(self):
        good = ("What:\t\t/sys/x\nWhat:\t\t/sys/z\nDate:\t\tMay 2026\n"
                "KernelVersion:\t7.4\nContact:\tl@localhost\n"
                "Description:\n\t\tx: y\n")
        self.assertEqual(static_text.abi_complaints(good + "\n" + good), [])
        for old, new in (("What:\t\t/sys/x", "Whot:\t\t/sys/x"),
                         ("Date:", "Dato:"), ("Contact:\tl@localhost\n", ""),
                         ("Description:\n", ""), ("\t\tx: y", "plain text"),
                         ("What:\t\t/sys/x\nWhat:\t\t/sys/z\n", "")):
            self.assertIn(old, good)
            self.assertTrue(static_text.abi_complaints(good.replace(old, new)),
                            old)
        self.assertTrue(static_text.abi_complaints(""))

    def test_split_diff(self):
        text = ("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n"
                " a\n--- gone\n+++ come\n@@ -9 +9,2 @@ f\n b\n+c\n"
                "diff --git a/y b/y\ndeleted file mode 100644\n--- a/y\n"
                "+++ /dev/null\n@@ -1 +0,0 @@\n-y\n"
                "\\ No newline at end of file\n")
        parts = series.split_diff(text, "here")
        self.assertEqual(series.split_diff("", "here"), [])
        self.assertEqual([p.path for p in parts], ["x", "y"])
        self.assertEqual(len(parts[0].hunks), 2)
        self.assertEqual("".join(p.text() for p in parts), text)
