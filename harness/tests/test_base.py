# SPDX-License-Identifier: GPL-2.0
"""Where the base comes from, and what is refused."""

import io
import contextlib
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from ..cli import commands
from ..common import paths
from ..common.run import HarnessError
from ..source import base
from ..source.git import environment
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
        """One line names what was tried, in order, and the ways out."""
        def absent(where):
            return lambda git, wanted, lacking: lacking.append(where)
        for name, call in self.elsewhere.items():
            call.side_effect = absent(name)
        with self.assertRaises(HarnessError) as caught:
            self.get()
        text = str(caught.exception)
        self.assertNotIn("\n", text)
        self.assertIn("7.3.y in the cache, from_distribution, from_kernel_org; "
                      "give one with LINUX=TREE, LINUX=TARBALL or "
                      "LINUX=REPOSITORY#TAG (7.3.9 ", text)

    def test_clean_leaves_the_cache(self):
        """The package may be gone: what was imported stays, whatever is cleaned."""
        first, _ = self.get(self.source)
        with mock.patch.object(paths, "BUILD", self.top), \
                mock.patch.object(paths, "STATE", self.top / "build" / "state"), \
                mock.patch.object(paths, "BUILD", self.top / "build"):
            self.get()
            self.assertTrue((self.top / "build").is_dir())
            commands.command_clean(None)
            self.assertFalse((self.top / "build").exists())
            again, _ = self.get()
        self.assertEqual(again.commit, first.commit)
        for call in self.elsewhere.values():
            call.assert_not_called()

    def git(self, folder, *args):
        """A git command in a folder; its output."""
        return subprocess.run(["git", "-C", folder, *args], check=True,
                              env=environment(), text=True,
                              stdout=subprocess.PIPE).stdout.strip()

    def test_tag_of_a_repository(self):
        """With a worktree and bare, annotated or not: the tree of that commit."""
        plain, _ = self.get(self.source)
        self.git(self.source, "init", "-q", "-b", "main")
        self.git(self.source, "add", "-f", ".")
        self.git(self.source, "commit", "-q", "-m", "one")
        self.git(self.source, "tag", "-a", "-m", "release", "v7.3.9")
        self.git(self.source, "rm", "-q", "Makefile")
        self.git(self.source, "commit", "-q", "-m", "no kernel")
        bare = self.top / "bare.git"
        subprocess.run(["git", "clone", "-q", "--bare", self.source, bare],
                       check=True, env=environment())
        for source in (self.source, bare):
            shutil.rmtree(self.top / "cache")
            found, told = self.get(f"{source}#v7.3.9")
            self.assertIn("importing", told)
            self.assertEqual(found.commit, plain.commit)
            self.assertEqual(found.git("rev-list", "--count", found.commit), "1")
            self.assertEqual(found.git("fsck", "--connectivity-only"), "")
            self.forget()
            self.assertEqual(self.get()[0].commit, plain.commit)

    def test_tag_is_read_once(self):
        self.git(self.source, "init", "-q", "-b", "main")
        self.git(self.source, "add", "-f", ".")
        self.git(self.source, "commit", "-q", "-m", "one")
        where = f"{self.source}#main"
        first, _ = self.get(where)
        with mock.patch.object(base, "import_source") as again:
            self.assertEqual(self.get(where)[0].commit, first.commit)
            again.assert_not_called()
        (self.source / "kernel/core.c").write_text("int other;\n")
        self.git(self.source, "commit", "-q", "-a", "-m", "two")
        self.assertNotEqual(self.get(where)[0].commit, first.commit)

    def test_no_such_tag(self):
        self.git(self.source, "init", "-q", "-b", "main")
        self.git(self.source, "add", "-f", ".")
        self.git(self.source, "commit", "-q", "-m", "one")
        self.git(self.source, "rm", "-q", "Kbuild")
        self.git(self.source, "commit", "-q", "-m", "no kernel")
        bare = self.top / "bare.git"
        subprocess.run(["git", "clone", "-q", "--bare", self.source, bare],
                       check=True, env=environment())
        for source, words in (
                (f"{bare}#v7.3.9", f"{bare} has no tag or commit 'v7.3.9'"),
                (f"{bare}#", "has no tag or commit ''"),
                (f"{bare}#--all", "has no tag or commit '--all'"),
                (f"{bare}#main", "is no kernel tree"),
                (f"{bare}", f"is no kernel tree; name a tag of the "
                            f"repository: {bare}#TAG"),
                (f"{self.top}/none#v7.3", f"{self.top}/none is no git repository"),
                (f"{self.top}#v7.3", f"{self.top} is no git repository")):
            with self.assertRaises(HarnessError) as caught:
                self.get(source)
            self.assertIn(words, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))

    def test_a_name_with_the_mark(self):
        """What exists under the whole name is no tag."""
        folder = self.kernel("linux#7.3")
        self.assertEqual(self.get(folder)[0].version, "7.3.9")

    def test_refusals(self):
        (self.source / ".config").write_text("")
        with self.assertRaises(HarnessError) as caught:
            self.get(self.source)
        self.assertIn("mrproper", str(caught.exception))
        with self.assertRaises(HarnessError):
            self.get(self.top / "none")
        with self.assertRaises(HarnessError):
            self.get(self.top / "series")

    def test_corrupted_tarballs(self):
        tarball = self.top / "linux.tar.xz"
        subprocess.run(["tar", "-cJf", tarball, "-C", self.top,
                        "linux-7.3.9"], check=True)
        whole = tarball.read_bytes()
        for data in (b"no tarball", whole[:len(whole) // 2], b""):
            tarball.write_bytes(data)
            with tempfile.TemporaryFile() as said, \
                    self.assertRaises(HarnessError) as caught:
                kept = os.dup(2)
                os.dup2(said.fileno(), 2)
                try:
                    self.get(tarball)
                finally:
                    os.dup2(kept, 2)
                    os.close(kept)
                    said.seek(0)
                    self.assertEqual(said.read(), b"")      # as xz would
            self.assertRegex(str(caught.exception),
                             "is no tarball, or corrupted: xz: ")
            self.assertFalse((self.top / "state" / "base.json").exists())
            refs = base.repository()("for-each-ref")
            self.assertEqual(refs, "")


class Gone(unittest.TestCase):
    """A distribution that has no such package any more, and one out of reach."""

    APT = """#!/bin/sh
for last; do :; done
case " $* " in
*" indextargets "*) echo "http://mirror.invalid/debian/ bookworm" ;;
*" policy "*) echo "$3:"; echo "  Candidate: (none)" ;;
*" update "*) ! grep -rqs " forky " "$TOP" ;;
*" download "*) grep -rhs ^deb "$TOP" >>"$TOP.asked"; exit 100 ;;
esac
"""

    def test_what_was_tried(self):
        with tempfile.TemporaryDirectory() as folder:
            top = Path(folder)
            (top / "bin").mkdir()
            for name in ("apt-get", "apt-cache"):
                (top / "bin" / name).write_text(self.APT)
                (top / "bin" / name).chmod(0o755)
            (top / "bin" / "dpkg-deb").symlink_to("/bin/true")
            wanted = mock.Mock(package="linux-source-7.3", version="7.3.9",
                               tarballs=[], line="7.3")
            lacking = []
            with mock.patch.object(paths, "CACHE", top / "cache"), \
                    mock.patch.object(paths, "LOG", top / "log"), \
                    mock.patch.object(base, "archive_keyring",
                                      return_value=top / "keyring"), \
                    mock.patch.dict(os.environ, TOP=str(top / "cache"), PATH=(
                        f"{top}/bin:{os.environ['PATH']}")):
                self.assertIsNone(base.from_distribution(None, wanted, lacking))
                self.assertIsNone(base.from_kernel_org(None, wanted, lacking))
            self.assertEqual(lacking, [
                "apt's own sources", "trixie-backports",
                f"forky (cannot be read: {top}/log/base-apt.log)", "sid",
                "kernel.org (series/base has no checksum)"])
            self.assertNotIn("mirror", "".join(lacking))
            self.assertEqual((top / "cache.asked").read_text().split()[3::5],
                             ["trixie-backports", "sid"])


class Records(unittest.TestCase):
    """series/base."""

    def test_real_file(self):
        wanted = base.Wanted()
        self.assertEqual(wanted.package, "linux-source-7.3")
        self.assertTrue(wanted.trees)

    def test_invalid(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "base"
            for text in ("", "version\n", "colour 7.3.4\n"):
                path.write_text(text)
                with self.assertRaises(HarnessError):
                    base.Wanted(path)
