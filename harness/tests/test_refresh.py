# SPDX-License-Identifier: GPL-2.0
"""Refresh: edits go home, and a second run changes nothing."""

from ..common.run import HarnessError
from ..source import refresh
from .fixture import SECOND, Checkout


class Refresh(Checkout):
    """Edits of build/tree end up in the overlay and in series/."""

    def setUp(self):
        super().setUp()
        self.assemble()

    def refresh(self, target=None):
        return refresh.run(self.layout, self.base, target)

    def completed(self):
        """Nothing is left to do, and the tree is as the series says."""
        before = self.stamps()
        self.assertEqual(self.refresh(), [])
        _, git = self.assemble()
        self.assertEqual(git("status", "--porcelain", "-uno"), "")
        self.assertEqual(self.stamps(), before)

    def test_canonical_form_is_stable(self):
        self.assertEqual(self.refresh(), [])
        self.write("series/0002-second.patch", SECOND.replace(
            "-32,6 +32,7", "-28,6 +27,7").replace(
                "\n--- a", "\nindex 1234567..89abcde 100644\n--- a"))
        self.assertEqual(self.refresh(), ["series/0002-second.patch"])
        self.assertEqual(self.read("series/0002-second.patch"), SECOND)
        self.completed()

    def test_what_is_not_canonical_is_named(self):
        """As the gate of make series asks, without a change."""
        def stale():
            return refresh.stale(*self.assemble(), self.layout.series)
        self.assertEqual(stale(), [])
        first = self.read("series/0001-first.patch")
        for name, text in (
                ("0001-first", first.replace("\n---\n", "\n\n---\n", 1)),
                ("0002-second", SECOND.replace("-32,6 +32,7", "-28,6 +27,7"))):
            good = self.read(f"series/{name}.patch")
            self.write(f"series/{name}.patch", text)
            self.assertEqual(stale(), [f"{name}.patch"])
            self.assertEqual(self.read(f"series/{name}.patch"), text)
            self.write(f"series/{name}.patch", good)
        self.assertEqual(self.refresh(), [])

    def test_overlay_edit(self):
        self.edit("kernel/new.c", "new_file", "edited")
        self.assertEqual(self.refresh(), ["kernel/new.c"])
        self.assertEqual(self.read("kernel/new.c"), "int edited;\n")
        self.completed()

    def test_upstream_edit_goes_to_the_last_patch(self):
        self.edit("kernel/core.c", "int line_20;\n",
                  "int line_20;\nint more;\n")
        self.assertEqual(self.refresh(), ["series/0002-second.patch"])
        self.assertIn("+int more;", self.read("series/0002-second.patch"))
        self.assertNotIn("more", self.read("series/0001-first.patch"))
        self.assertNotIn("\nindex ", self.read("series/0002-second.patch"))
        self.completed()

    def test_untouched_file_needs_a_patch(self):
        self.edit("kernel/other.c", "other_5", "edited")
        with self.assertRaises(HarnessError) as caught:
            self.refresh()
        self.assertIn("PATCH=", str(caught.exception))
        self.assertIn("0001-first", str(caught.exception))
        self.assertEqual(self.refresh("0001"), ["series/0001-first.patch"])
        self.assertIn("+int edited;", self.read("series/0001-first.patch"))
        self.completed()

    def test_nothing_is_written_when_one_edit_has_no_place(self):
        self.edit("kernel/new.c", "new_file", "edited")
        self.edit("kernel/other.c", "other_5", "edited")
        with self.assertRaises(HarnessError):
            self.refresh()
        self.assertEqual(self.read("kernel/new.c"), "int new_file;\n")

    def test_new_file(self):
        (self.layout.tree / "kernel/fresh.c").write_text("int fresh;\n")
        (self.layout.tree / "kernel/fresh.o").write_text("object")
        (self.layout.tree / "kernel/x.generated").write_text("made")
        self.assertEqual(self.refresh(), [])
        self.assertFalse((self.layout.root / "kernel/fresh.c").exists())
        self.assertEqual(sorted(self.refresh("0002-second.patch")),
                         ["kernel/fresh.c", "series/0002-second.patch"])
        self.assertIn("Adds: include/linux/new.h\nAdds: kernel/fresh.c\n",
                      self.read("series/0002-second.patch"))
        self.assertFalse((self.layout.root / "kernel/fresh.o").exists())
        self.assertFalse((self.layout.root / "kernel/x.generated").exists())
        self.completed()

    def test_deleted_overlay_file(self):
        (self.layout.tree / "include/linux/new.h").unlink()
        self.assertEqual(sorted(self.refresh()),
                         ["include/linux/new.h", "series/0002-second.patch"])
        self.assertNotIn("Adds:", self.read("series/0002-second.patch"))
        self.completed()

    def test_edit_on_both_sides(self):
        self.edit("kernel/new.c", "new_file", "here")
        self.write("kernel/new.c", "int there;\n")
        with self.assertRaises(HarnessError) as caught:
            self.refresh()
        self.assertIn("kernel/new.c was edited in build/tree and in the "
                      "checkout", str(caught.exception))
        self.assertEqual(self.read("kernel/new.c"), "int there;\n")

    def test_maintainers_is_edited_at_home(self):
        self.edit("MAINTAINERS", "kernel/new.c", "kernel/new2.c")
        with self.assertRaises(HarnessError):
            self.refresh()

    def test_committed_edit_is_carried(self):
        self.edit("kernel/core.c", "int line_20;", "int committed;")
        from ..source.git import Git
        Git(self.layout.tree)("commit", "-q", "-a", "-m", "mine")
        self.assertEqual(self.refresh(), ["series/0002-second.patch"])
        self.completed()
