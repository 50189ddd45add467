# SPDX-License-Identifier: GPL-2.0
"""Tests of stamps: what is taken from them, and what must never be."""

import os
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from ..common import stamps
from .fixture import Checkout


class Stamped(unittest.TestCase):
    """A cache of its own."""

    def setUp(self):
        here = tempfile.TemporaryDirectory()
        self.addCleanup(here.cleanup)
        self.folder = Path(here.name) / "stamps"
        patch = mock.patch.object(stamps, "folder", lambda: self.folder)
        patch.start()
        self.addCleanup(patch.stop)
        env = mock.patch.dict(os.environ)
        env.start()
        self.addCleanup(env.stop)
        os.environ.pop("ANEW", None)
        self.done = 0
        self.lines = []

    def add(self, good, name, detail="", found="", mark=""):
        """What prints a result."""
        self.lines.append((good, name, detail + mark))

    def unit(self, *parts, results=((True, "one", "1 file"),),
             error=None):
        """Run a unit that gives these results; the lines printed."""
        self.lines = []

        def work(add):
            self.done += 1
            for result in results:
                add(*result)
            if error:
                raise error
        stamps.Unit("test", *parts).run(self.add, work)
        return self.lines


class Units(Stamped):
    """One unit of work, run again and again."""

    def test_second_time_is_stamped(self):
        self.assertEqual(self.unit("x"), [(True, "one", "1 file")])
        again = self.unit("x")
        self.assertEqual(self.done, 1)
        self.assertEqual(len(again), 1)
        self.assertEqual(again[0][:2], (True, "one"))
        self.assertRegex(again[0][2], stamps.MARK)
        self.assertTrue(again[0][2].startswith("1 file "))

    def test_every_part_counts(self):
        for parts in (("x",), ("y",), ("x", "y"), ("xy",), (["x"],), ("x", 1)):
            self.unit(*parts)
        self.assertEqual(self.done, 6)

    def test_skip_is_stamped_and_one_line_tells_the_time(self):
        both = ((None, "one", "no tool"), (True, "two", ""))
        self.unit("x", results=both)
        again = self.unit("x")
        self.assertEqual(self.done, 1)
        self.assertEqual([line[0] for line in again], [None, True])
        self.assertIsNotNone(stamps.MARK.search(again[0][2])[1])
        self.assertIsNone(stamps.MARK.search(again[1][2])[1])

    def test_failure_is_never_stamped(self):
        mixed = ((True, "one", ""), (False, "two", "", "found this"))
        self.unit("x", results=mixed)
        self.assertEqual(list(self.folder.glob("*")), [])
        self.assertEqual(self.unit("x", results=mixed), [
            (True, "one", ""), (False, "two", "")])
        self.assertEqual(self.done, 2)

    def test_failure_takes_an_older_stamp_away(self):
        self.unit("x")
        os.environ["ANEW"] = "1"
        self.unit("x", results=((False, "one", ""),))
        del os.environ["ANEW"]
        self.unit("x")
        self.assertEqual(self.done, 3)

    def test_forged_failure_is_not_used(self):
        self.unit("x")
        path = next(self.folder.iterdir())
        path.write_text(path.read_text().replace("true", "false"))
        self.unit("x")
        self.assertEqual(self.done, 2)

    def test_corrupted_stamp_is_no_stamp(self):
        for corruption in ("", "{", "[]", "{}", '{"results": [[true]]}',
                       '{"results": []}'):
            self.unit("x")
            next(self.folder.iterdir()).write_text(corruption)
        self.unit("x")
        self.assertEqual(self.done, 7)

    def test_nothing_found_is_not_stamped(self):
        self.unit("x", results=())
        self.unit("x", results=())
        self.assertEqual(self.done, 2)

    def test_transient_is_not_stamped(self):
        self.unit("x", error=stamps.Transient())
        self.unit("x")
        self.assertEqual(self.done, 2)

    def test_error_is_passed_on_and_not_stamped(self):
        with self.assertRaises(ValueError):
            self.unit("x", error=ValueError())
        self.unit("x")
        self.assertEqual(self.done, 2)

    def test_anew(self):
        self.unit("x")
        os.environ["ANEW"] = "1"
        self.assertEqual(self.unit("x"), [(True, "one", "1 file")])
        self.assertEqual(self.done, 2)

    def test_prune_keeps_what_is_used(self):
        self.unit("x")
        self.unit("y")
        old = time.time() - stamps.UNUSED - 60
        for path in self.folder.iterdir():
            os.utime(path, (old, old))
        self.unit("x")                  # used: it is young again
        self.assertEqual(stamps.prune(), 1)
        self.unit("x")
        self.assertEqual(self.done, 2)
        self.unit("y")
        self.assertEqual(self.done, 3)

    def test_prune_without_a_folder(self):
        self.assertEqual(stamps.prune(), 0)


class Content(Checkout):
    """What counts as the content that a kernel is built from."""

    def compiled(self):
        """stamps.compiled() of the checkout as it is now."""
        result, git = self.assemble()
        return stamps.compiled(git, result.head)

    def test_a_new_file_counts(self):
        before = self.compiled()
        self.assertEqual(before, self.compiled())
        self.write("kernel/new.c", "int another;\n")
        self.assertNotEqual(before, self.compiled())

    def test_maintainers_do_not_count(self):
        before = self.compiled()
        self.write("MAINTAINERS", "F:\tkernel/new.c\nF:\tkernel/aaa.c\n")
        result, git = self.assemble()
        self.assertEqual(before, stamps.compiled(git, result.head))

    def test_version_of_what_is_not_there(self):
        self.assertEqual(stamps.version("/nonexistent/tool"), "")
        self.assertIn("git version", stamps.version("git"))

    def test_code(self):
        self.assertEqual(stamps.code("source.git"), stamps.code("source.git", "common.stamps"))
        self.assertNotEqual(stamps.code("source.git"), stamps.code("source.git", "common.run"))
