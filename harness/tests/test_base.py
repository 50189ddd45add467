# SPDX-License-Identifier: GPL-2.0
"""Where the base comes from, and what is refused."""

import io
import contextlib
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from .. import base, paths
from ..git import environment
from ..run import HarnessError
from .fixture import BASE


class Import(unittest.TestCase):
    """Trees and tarballs become commits of the cache, once."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)
        for name, value in (("CACHE", self.top / "cache"),
                            ("STATE", self.top / "state"),
                            ("SERIES", self.top / "series"),
                            ("LOG", self.top / "log")):
            patch = mock.patch.object(paths, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        (self.top / "series").mkdir()
        (self.top / "series" / "base").write_text("version 7.3.9\n")
        self.elsewhere = {}
        for name in ("from_distribution", "from_kernel_org"):
            patch = mock.patch.object(base, name, return_value=None)
            self.elsewhere[name] = patch.start()
            self.addCleanup(patch.stop)
        self.source = self.kernel("linux-7.3.9")

    def kernel(self, name, sublevel=9):
        """A source folder."""
        folder = self.top / name
        for path, text in BASE.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text.replace("SUBLEVEL = 9",
                                                    f"SUBLEVEL = {sublevel}"))
        os.chmod(folder / "Kbuild", 0o755)
        os.symlink("core.h", folder / "include/linux/link.h")
        return folder

    def get(self, linux=None):
        """base.get() without its messages: (Base, messages)."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            found = base.get(linux)
        return found, out.getvalue()

    def forget(self):
        """What a new checkout knows: nothing."""
        (self.top / "state" / "base.json").unlink()

    def test_folder_and_tarball_are_the_same_tree(self):
        from_folder, _ = self.get(self.source)
        self.assertEqual(from_folder.version, "7.3.9")
        tarball = self.top / "linux.tar.xz"
        subprocess.run(["tar", "-cJf", tarball, "-C", self.top,
                        "linux-7.3.9"], check=True)
        from_tarball, _ = self.get(tarball)
        self.assertEqual(from_tarball.commit, from_folder.commit)
        listed = from_tarball.git("ls-tree", "-r", from_tarball.commit)
        self.assertIn("120000 blob", listed)
        self.assertRegex(listed, r"100755 blob \w+\tKbuild")
        self.assertIn("\t.gitignore", listed)
        self.assertEqual(len(listed.splitlines()), len(BASE) + 1)

    def test_git_checkout_gives_tracked_files_only(self):
        subprocess.run(["git", "init", "-q", self.source], check=True,
                       env=environment())
        subprocess.run(["git", "-C", self.source, "add", "-f", "."],
                       check=True, env=environment())
        (self.source / "kernel/junk.c").write_text("junk\n")
        found, _ = self.get(self.source)
        self.assertNotIn("junk", found.git("ls-tree", "-r", found.commit))

    def test_cache_is_used_by_the_next_checkout(self):
        first, _ = self.get(self.source)
        self.forget()
        again, _ = self.get()
        self.assertEqual(again.commit, first.commit)
        for call in self.elsewhere.values():
            call.assert_not_called()

    def test_cache_prefers_the_recorded_tree_to_a_newer_one(self):
        wanted, _ = self.get(self.source)
        newer, _ = self.get(self.kernel("linux-7.3.11", 11))
        self.forget()
        self.assertEqual(self.get()[0].commit, newer.commit)
        self.forget()
        (self.top / "series" / "base").write_text(
            f"version 7.3.9\ntree {wanted.tree}\n")
        found, told = self.get()
        self.assertEqual(found.commit, wanted.commit)
        self.assertNotIn("notice", told)

    def test_another_tree_is_a_notice(self):
        (self.top / "series" / "base").write_text(
            "version 7.3.9\ntree 1234\n")
        _, told = self.get(self.source)
        self.assertIn("notice: the base is Linux 7.3.9 with tree", told)

    def test_choice_stays(self):
        self.get(self.source)
        other, _ = self.get(self.kernel("linux-7.3.2", 2))
        self.assertEqual(self.get()[0].commit, other.commit)

    def test_nowhere(self):
        with self.assertRaises(HarnessError) as caught:
            self.get()
        self.assertIn("make tree LINUX=PATH", str(caught.exception))
        self.assertIn("7.3.9", str(caught.exception))
        for call in self.elsewhere.values():
            call.assert_called_once()

    def test_refusals(self):
        (self.source / ".config").write_text("")
        with self.assertRaises(HarnessError) as caught:
            self.get(self.source)
        self.assertIn("mrproper", str(caught.exception))
        with self.assertRaises(HarnessError):
            self.get(self.top / "none")
        with self.assertRaises(HarnessError):
            self.get(self.top / "series")

    def test_damaged_tarballs(self):
        tarball = self.top / "linux.tar.xz"
        subprocess.run(["tar", "-cJf", tarball, "-C", self.top,
                        "linux-7.3.9"], check=True)
        whole = tarball.read_bytes()
        for data in (b"no tarball", whole[:len(whole) // 2], b""):
            tarball.write_bytes(data)
            with self.assertRaises(HarnessError):
                self.get(tarball)
            self.assertFalse((self.top / "state" / "base.json").exists())
            refs = base.repository()("for-each-ref")
            self.assertEqual(refs, "")


class Records(unittest.TestCase):
    """series/base."""

    def test_real_file(self):
        wanted = base.Wanted()
        self.assertEqual(wanted.package, "linux-source-7.3")
        self.assertTrue(wanted.trees)

    def test_broken(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "base"
            for text in ("", "version\n", "colour 7.3.4\n"):
                path.write_text(text)
                with self.assertRaises(HarnessError):
                    base.Wanted(path)
