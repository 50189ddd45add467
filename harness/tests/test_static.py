# SPDX-License-Identifier: GPL-2.0
"""Tests of what the static gates make of the words of their tools."""

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from ..build import kernel
from ..common import paths
from ..common.run import HarnessError
from ..static import base as static_base
from ..static import cocci as static_cocci
from ..static import compile as static_compile
from ..static import length as static_length

LOG = """\
  CC      kernel/new.o
../tree/kernel/new.c: In function 'f':
../tree/kernel/new.c:12:3: warning: unused variable 'x' [-Wunused-variable]
Warning: ../tree/kernel/old.c:40 function parameter 'a' not described
../tree/include/linux/h.h:3:1: error: expected ';'
ld: x.o: undefined reference to `y'
make[3]: *** [../tree/scripts/Makefile.build:287: kernel/new.o] Error 1
  CC      kernel/renew.o
"""


class Complaints(unittest.TestCase):
    """What in a build log is a finding, and whose."""

    def test_lines(self):
        self.assertEqual(len(static_compile.complaints(LOG)), 5)
        self.assertEqual(static_compile.complaints("  CC  kernel/warning.o"),
                         [])

    def test_whose(self):
        subject = mock.Mock(kernel_c=["kernel/new.c"],
                            touched_c=["kernel/old.c", "new.c"])
        judged = static_compile.Judged(subject, LOG)
        self.assertEqual(len(judged.of["kernel/new.c"]), 1)
        self.assertEqual(len(judged.of["kernel/old.c"]), 1)
        self.assertEqual(judged.of["new.c"], [])
        self.assertEqual(len(judged.rest), 3)

    def test_new_ones(self):
        before = ["x.c:10:3: warning: a", "x.c:20:3: warning: b",
                  "warning: c on line 7"]
        self.assertEqual(static_base.added(before, [
            "x.c:12:9: warning: a", "warning: c on line 9"]), [])
        twice = before + ["x.c:31:1: warning: a"]
        self.assertEqual(static_base.added(before, twice), twice[-1:])
        other = ["x.c:20:3: warning: size 8"]
        self.assertEqual(static_base.added(
            ["x.c:20:3: warning: size 4"], other), other)
        self.assertEqual(static_base.added([], before), before)

    def test_of_another_tree(self):
        """What a tool says with the whole path of a file of the base is not new."""
        base = paths.BUILD / "base" / "tree"
        before = [f"{base}/drivers/x.c:574:42: warning: a", "y.c:1: warning: b"]
        after = [f"{paths.TREE}/drivers/x.c:576:41: warning: a", "y.c:2: warning: b"]
        self.assertEqual(static_base.added(
            static_compile.moved(before, base), after), [])


class Lengths(unittest.TestCase):
    """Which new files are too long."""

    def judged(self, **files):
        """What the gate says of files of so many lines."""
        with tempfile.TemporaryDirectory() as folder, \
                mock.patch.object(paths, "TREE", Path(folder)):
            for name, lines in files.items():
                (Path(folder) / f"{name}.c").write_text("x\n" * lines)
            results = mock.Mock()
            static_length.lengths(mock.Mock(kernel_c_and_h=[f"{name}.c" for name in files]),
                                results)
        return results.add.call_args.args

    def test_lengths(self):
        self.assertEqual(self.judged(a=1, b=static_length.LONGEST),
                         (True, "length", "2 files", ""))
        self.assertEqual(self.judged(a=1, b=901, c=2000),
                         (False, "length", "3 files",
                          "b.c: 901 lines, 900 at most\nc.c: 2000 lines, 900 at most"))


NM = """\
vmlinux.a:kernel/a.o:0000000000000010 T start
vmlinux.a:kernel/a.o:                 U ours
vmlinux.a:kernel/a.o:                 w perhaps
kernel/lu/b.o:0000000000000000 W ours
kernel/lu/b.o:                 U start
kernel/lu/b.o:                 U __bss_start

nm: x.o: no symbols
"""


class SwitchedOff(unittest.TestCase):
    """Symbols that nobody defines when an option is off."""

    def setUp(self):
        self.subject = mock.Mock(
            kernel_c=["kernel/lu/b.c", "kernel/lu/sub/c.c",
                      "arch/arm64/kernel/x.c"],
            touched_c=["kernel/lu/t.c", "kernel/k.c"])

    def test_places(self):
        places = static_compile.Places(self.subject)
        self.assertEqual(places.targets, ["kernel/lu/", "kernel/k.o"])
        self.assertTrue(places.has("kernel/lu/sub/c.o"))
        self.assertTrue(places.has("kernel/k.o"))
        self.assertFalse(places.has("kernel/lua.o"))

    def test_nm(self):
        self.assertEqual(static_compile.nm_symbols(NM), {
            "kernel/a.o": ({"start"}, {"ours"}),
            "kernel/lu/b.o": ({"ours"}, {"start", "__bss_start"})})

    def linked(self):
        """The rest of a kernel in which b.o alone is a place."""
        whole = {"vmlinux.o": ({"start", "ours", "memcpy"}, {"__bss_start"})}
        members = static_compile.nm_symbols(NM)
        with mock.patch.object(
                static_compile, "_symbols", lambda _, names:
                whole if names == ["vmlinux.o"] else members), \
                mock.patch.object(static_compile, "_undefined",
                                  lambda _: {"__bss_start"}):
            return static_compile.Linked(
                static_compile.Places(self.subject), None)

    def test_lacking(self):
        linked = self.linked()
        same = {"b.o": ({"ours"}, {"start", "memcpy", "__bss_start"})}
        self.assertEqual(linked.lacking(same, {}), set())
        self.assertEqual(linked.lacking({}, {}), {"ours"})
        self.assertEqual(linked.lacking({}, {}, rest=False), set())
        self.assertEqual(linked.lacking(
            same, {"m.o": ({"mine"}, {"mine", "ours", "lost",
                                      "__this_module"})}), {"lost"})
        self.assertEqual(linked.lacking(
            same, {"m.o": ({"mine"}, {"helper"}), "n.o": ({"helper"}, set())}), set())
        self.assertEqual(linked.lacking(
            {"b.o": ({"ours"}, {"stub"})}, {}), {"stub"})


class Coccinelle(unittest.TestCase):
    """Semantic patches: their modes, their findings, and those that cannot run."""

    def test_modes(self):
        self.assertEqual(static_cocci.modes_of(
            "virtual patch\nvirtual context\nvirtual org\nvirtual report\n"),
            ["report", "patch", "context"])
        self.assertEqual(static_cocci.modes_of("virtual org,report\n"),
                         ["report"])
        self.assertEqual(static_cocci.modes_of("@@\n@@\n"), ["patch"])

    def test_report(self):
        found = static_cocci.findings(
            "report", "kernel/new.c:3:1-5: WARNING\nwords\n", ["kernel/new.c"])
        self.assertEqual(dict(found),
                         {"kernel/new.c": ["kernel/new.c:3:1-5: WARNING"]})

    def test_diff(self):
        out = ("diff -u -p kernel/new.c /tmp/x\n--- kernel/new.c\n+++ /tmp/x\n"
               "@@ -1,2 +1,2 @@\n context\n-old\n+new\n"
               "--- kernel/old.c\n+++ /tmp/y\n-gone\n")
        found = static_cocci.findings("patch", out,
                                      ["kernel/new.c", "kernel/old.c"])
        self.assertEqual(dict(found), {"kernel/new.c": ["-old", "+new"],
                                       "kernel/old.c": ["-gone"]})

    def test_reason_is_short(self):
        self.assertLess(len(static_cocci.reason_of("first\n" + "x" * 900)),
                        100)
        self.assertEqual(static_cocci.reason_of("a\n b  c \n\n"), "b c")
        self.assertIn("without a word", static_cocci.reason_of(""))

    def test_one_line_of_what_cannot_run(self):
        text = static_cocci.summary_of_idle({
            "no OCaml": ["b", "a"], "no Python": list("vwxyz")})
        self.assertEqual(text, "v, w, x and 2 more: no Python; a, b: no OCaml")

    def spatch(self, *answers, text="virtual patch\nvirtual report\n"):
        """Run a script with these answers of the tool; (outcome, modes)."""
        modes = []

        def tool(args, **_):
            modes.append(args[2])
            return answers[len(modes) - 1]
        with tempfile.TemporaryDirectory() as folder, \
                mock.patch.object(static_cocci, "tool", tool):
            script = Path(folder) / "x.cocci"
            script.write_text(text)
            try:
                return dict(static_cocci.spatch(script, ["a.c"])), modes
            except static_cocci.CannotRun as error:
                return str(error), modes

    def test_without_python(self):
        lacking = (2, "", "noise\nPy.find_library: unable to find it\n")
        diff = (0, "--- a.c\n+++ b\n-x\n", "")
        self.assertEqual(self.spatch(lacking, diff),
                         ({"a.c": ["-x"]}, ["report", "patch"]))
        self.assertEqual(self.spatch(lacking, lacking),
                         ("Py.find_library: unable to find it",
                          ["report", "patch"]))

    def test_other_errors_are_not_hidden(self):
        self.assertEqual(self.spatch((1, "", "syntax error\n")),
                         ("syntax error", ["report"]))

    def test_touched_files_are_compared(self):
        answers = {None: {"new.c": ["new.c:1: x"], "old.c": ["old.c:5: y",
                                                             "old.c:9: z"]},
                   "before": {"old.c": ["old.c:4: y"]}}
        with mock.patch.object(static_cocci, "spatch",
                               lambda script, files, cwd=None, kept=None: answers[cwd]):
            self.assertEqual(
                static_cocci.judge(None, ["new.c"], ["old.c"], "before"),
                ["new.c:1: x", "old.c:9: z"])


class Toolchains(unittest.TestCase):
    """Which compiler other architectures and clang are tried with."""

    def test_oldest(self):
        text = ('case "$1" in\ngcc)\n\techo 8.1.0\n\t;;\nllvm)\n'
                '\tif x; then\n\t\techo 18.0.0\n\telse\n\t\techo 17.0.1\n'
                '\tfi\n\t;;\nrustc)\n\techo 1.85.0\n\t;;\n')
        self.assertEqual(static_compile.oldest_clang(text), (17, 0, 1))
        with self.assertRaises(HarnessError):
            static_compile.oldest_clang("nothing")

    def test_newest(self):
        choose = static_compile.newest_clang
        known = {"clang": (14, 0, 6), "clang-19": (19, 1, 7), "clang-9": ()}
        self.assertEqual(choose((17, 0, 1), known), ("clang-19", ""))
        self.assertEqual(choose((20, 0), known), (
            None, "the newest clang here is 19.1.7, the kernel wants 20.0"))
        self.assertEqual(choose((1,), {}), (None, "clang is not installed"))

    def test_command(self):
        with mock.patch.object(kernel.shutil, "which", lambda _: None):
            arm = kernel.Toolchain("gcc", "arm64", "aarch64-linux-gnu-")
            line = kernel.command("s", "o", "x.o", toolchain=arm)
            self.assertIn("CC=aarch64-linux-gnu-gcc", line)
            self.assertIn("CROSS_COMPILE=aarch64-linux-gnu-", line)
            self.assertIn("ARCH=arm64", line)
            self.assertIn("HOSTCC=gcc", line)
            line = kernel.command("s", "o", "x.o")
            self.assertIn("CC=gcc", line)
            self.assertIn("ARCH=x86_64", line)
            self.assertFalse([w for w in line if "CROSS" in w])

    def test_what_is_for_x86_only(self):
        text = ("config A\n\tbool\n\n\tdepends on X86\n\nconfig B\n\tbool\n"
                "\tdepends on X86 || ARM64\nconfig C\n\thelp\n"
                "\t  It depends on X86\n"
                "config E\n\tdepends on P && X86_64\n"
                "config F\n\tdepends on X86 && !P || ARM64\n"
                "config G\n\tdepends on A && P=y\n")
        self.assertEqual([static_compile.depends_on(s, ["X86", "X86_64"], text)
                          for s in "ABCDEFG"],
                         [True, False, False, False, True, False, False])
        self.assertTrue(static_compile.depends_on("G", ["X86", "A"], text))
        self.assertEqual(static_compile.made_for(
            "A", "obj-$(CONFIG_AB) += x.o\nobj-$(CONFIG_A)\t+= y.o z/ w.o\n"),
            ["y.c", "w.c"])

    def test_absent_tools_are_named(self):
        with mock.patch.dict(os.environ, PATH="/nonexistent"):
            toolchain, why = static_compile.toolchain_of(
                "gcc", "arm64", "aarch64-linux-gnu-")
        self.assertIsNone(toolchain)
        self.assertIn("aarch64-linux-gnu-", why)
