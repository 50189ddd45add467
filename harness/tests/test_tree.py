# SPDX-License-Identifier: GPL-2.0
"""Assembly: what goes in, what is refused, which files are touched."""

import os
import time

from ..common.run import HarnessError
from ..source import tree
from .fixture import FIRST, SECOND, Checkout


class Assembly(Checkout):
    """build/tree is base + series + overlay."""

    def test_content_and_commits(self):
        result, git = self.assemble()
        self.assertEqual(self.tree_text("kernel/new.c"), "int new_file;\n")
        text = self.tree_text("kernel/core.c")
        self.assertIn("int line_10;\nint first;\nint line_11;", text)
        self.assertIn("int line_32;\nint second;\nint line_33;", text)
        subjects = git("log", "--format=%s",
                       f"{self.base.commit}..HEAD").splitlines()
        self.assertEqual(subjects, [tree.MAINTAINERS_SUBJECT, "core: second",
                                    "core: first"])
        body = git("log", "-1", "--format=%B", result.commits[0])
        self.assertEqual(body, "core: first\n\nWhy the first.")
        first = git("diff-tree", "-r", "--name-only", result.commits[0] + "^",
                    result.commits[0]).splitlines()
        self.assertEqual(first, ["kernel/core.c", "kernel/new.c"])
        self.assertIn("F:\tinclude/linux/core.h\nF:\tkernel/new.c\n"
                      "F:\tkernel/zone.c\n", self.tree_text("MAINTAINERS"))

    def test_hashes_repeat(self):
        first, _ = self.assemble()
        (self.layout.state / "tree.json").unlink()
        again = tree.assemble(self.layout, self.base)
        self.assertEqual(first.commits, again.commits)

    def test_no_patches(self):
        for path in self.layout.series.glob("*.patch"):
            path.unlink()
        for name in ("kernel/new.c", "include/linux/new.h", "MAINTAINERS"):
            (self.layout.root / name).unlink()
        result, git = self.assemble()
        self.assertEqual(git("rev-parse", "HEAD"), self.base.commit)
        self.assertEqual(result.commits, [])

    def test_touches_only_what_changed(self):
        self.assemble()
        before = self.stamps()
        time.sleep(0.02)
        self.assemble()
        self.assertEqual(self.stamps(), before)
        self.write("kernel/new.c", "int new_file = 1;\n")
        self.assemble()
        after = self.stamps()
        self.assertEqual([n for n in after if after[n] != before.get(n)],
                         ["kernel/new.c"])
        self.write("series/0001-first.patch", FIRST.replace("int first;",
                                                            "int 1st;"))
        before = after
        time.sleep(0.02)
        self.assemble()
        after = self.stamps()
        self.assertEqual([n for n in after if after[n] != before.get(n)],
                         ["kernel/core.c"])

    def test_older_overlay_file_is_newer_than_objects(self):
        self.assemble()
        self.write("kernel/new.c", "int older;\n")
        os.utime(self.layout.root / "kernel/new.c", (1000, 1000))
        before = time.time() - 5
        self.assemble()
        self.assertGreater(
            (self.layout.tree / "kernel/new.c").stat().st_mtime, before)

    def test_removed_patch_leaves_no_trace(self):
        self.assemble()
        (self.layout.series / "0002-second.patch").unlink()
        (self.layout.root / "include/linux/new.h").unlink()
        self.assemble()
        self.assertFalse((self.layout.tree / "include/linux/new.h").exists())
        self.assertNotIn("second", self.tree_text("kernel/core.c"))

    def test_executable_bit_and_symlink(self):
        os.chmod(self.layout.root / "kernel/new.c", 0o755)
        (self.layout.root / "include/linux/new.h").unlink()
        os.symlink("core.h", self.layout.root / "include/linux/new.h")
        _, git = self.assemble()
        listed = git("ls-tree", "-r", "HEAD", "kernel/new.c",
                     "include/linux/new.h")
        self.assertIn("100755 blob", listed)
        self.assertIn("120000 blob", listed)
        self.assertTrue((self.layout.tree / "include/linux/new.h").is_symlink())


class Refusals(Checkout):
    """A series that does not fit is refused by name."""

    def refused(self, *words):
        with self.assertRaises(HarnessError) as caught:
            tree.assemble(self.layout, self.base)
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_unnamed_overlay_file(self):
        self.write("kernel/unrequested.c", "int unrequested;\n")
        self.refused("kernel/unrequested.c is named by no 'Adds:'")
        tree.assemble(self.layout, self.base, partial=True)

    def test_missing_overlay_file(self):
        (self.layout.root / "kernel/new.c").unlink()
        self.refused("0001-first.patch adds kernel/new.c", "not exist")

    def test_named_twice(self):
        self.write("series/0002-second.patch", SECOND.replace(
            "Adds:", "Adds: kernel/new.c\nAdds:"))
        self.refused("kernel/new.c is added by", "0001-first",
                     "0002-second")

    def test_overlay_over_base(self):
        self.write("kernel/other.c", "int mine;\n")
        self.write("series/0002-second.patch", SECOND.replace(
            "Adds:", "Adds: kernel/other.c\nAdds:"))
        self.refused("kernel/other.c is a file of the base")

    def test_hunk_for_overlay_file(self):
        self.write("series/0002-second.patch", SECOND.replace(
            "kernel/core.c", "kernel/new.c"))
        self.refused("0002-second.patch has a hunk for the overlay file "
                     "kernel/new.c")

    def test_failing_hunk_is_named(self):
        self.write("series/0002-second.patch", SECOND.replace(
            " int line_31;\n", " int line_thirtyone;\n"))
        self.refused("series/0002-second.patch does not apply to Linux 7.3.9",
                     "kernel/core.c: hunk 1 of 1: @@ -32,6 +32,7 @@")

    def test_only_the_failing_hunk_is_named(self):
        good = FIRST.partition("@@")[2]
        bad = "@@" + good.replace("line_", "lime_").replace("-9,6 +9,7",
                                                            "-29,6 +30,7")
        self.write("series/0001-first.patch", FIRST + bad)
        with self.assertRaises(HarnessError) as caught:
            tree.assemble(self.layout, self.base)
        self.assertIn("hunk 2 of 2: @@ -29,6 +30,7", str(caught.exception))
        self.assertNotIn("hunk 1", str(caught.exception))

    def test_hunk_for_a_file_the_base_lacks(self):
        self.write("series/0002-second.patch", SECOND.replace(
            "kernel/core.c", "kernel/gone.c"))
        self.refused("kernel/gone.c: the base has no such file")

    def test_bad_maintainers(self):
        self.write("MAINTAINERS", "M:\tSomebody\n")
        self.refused("MAINTAINERS: only")

    def test_invalid_series_file(self):
        self.write("series/0002-second.patch", SECOND.replace("---\n", "", 1)
                   .replace("--- a", "-- a"))
        self.refused("0002-second.patch: has no line '---'")


class Edits(Checkout):
    """Edits in build/tree are never overwritten unasked."""

    def test_stops_and_force(self):
        self.assemble()
        self.edit("kernel/other.c", "other_3", "edited")
        with self.assertRaises(HarnessError) as caught:
            self.assemble()
        self.assertIn("kernel/other.c", str(caught.exception))
        self.assertIn("make refresh", str(caught.exception))
        self.assertIn("edited", self.tree_text("kernel/other.c"))
        self.assemble(keep=True)
        self.assertIn("edited", self.tree_text("kernel/other.c"))
        self.assemble(force=True)
        self.assertNotIn("edited", self.tree_text("kernel/other.c"))

    def test_keep_does_not_mix_series(self):
        self.assemble()
        self.edit("kernel/other.c", "other_3", "edited")
        self.write("kernel/new.c", "int changed;\n")
        with self.assertRaises(HarnessError):
            self.assemble(keep=True)

    def test_same_edit_on_both_sides_is_none(self):
        self.assemble()
        self.edit("kernel/new.c", "new_file", "both")
        stamp = (self.layout.tree / "kernel/new.c").stat().st_mtime_ns
        self.write("kernel/new.c", "int both;\n")
        _, git = self.assemble()
        self.assertEqual(
            (self.layout.tree / "kernel/new.c").stat().st_mtime_ns, stamp)
        self.assertEqual(git("status", "--porcelain", "-uno"), "")

    def test_committed_edit_counts_as_edit(self):
        _, git = self.assemble()
        self.edit("kernel/other.c", "other_3", "edited")
        git("commit", "-q", "-a", "-m", "mine")
        with self.assertRaises(HarnessError):
            self.assemble()
        self.assertIn("edited", self.tree_text("kernel/other.c"))
