# SPDX-License-Identifier: GPL-2.0
"""A bare system: what is in it, what comes out of it, and that nothing is left.

The system is one busybox, whose "make" is a script of the test. That a real one can
be made, and what happens there, is what make fresh itself is for.
"""

import contextlib
import io
import os
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from ..cli import fresh
from ..common import paths
from ..common.run import HarnessError
from ..source import base
from ..source.git import environment

MAKE = """#!/bin/sh
echo "make $* in $PWD from http://mirror.invalid/debian"
case $1 in
demo) env; ls /dev /dev/shm /dev/pts; ls -d /proc/[0-9]*; echo x >/dev/shm/x
      while read -r _ at _ how; do [ $at != /sys ] || echo "sys ${how%%,*}"
      done </proc/mounts; mkdir -p build/log
      echo "log of http://mirror.invalid/debian" >build/log/inner.log
      echo "12 passed, 0 failed, 3 skipped" ;;
bad) exit 3 ;;
slow) (sleep 4243 & sleep 4243) ;;
left) mount -t tmpfs tmpfs /mnt; sleep 4244 >/dev/null 2>&1 & ;;
esac
"""

MMDEBSTRAP = """#!/bin/sh
echo "$*" >>"$ASKED"
echo "Get:1 http://mirror.invalid/debian $SUITE"
[ -z "$REFUSE" ] || { mkdir -p "$ROOT/half"; exit 25; }
cp -a "$TEMPLATE" "$ROOT"
"""


def enters():
    """Whether this process may make namespaces and enter a system."""
    return not os.geteuid() and shutil.which("busybox") and not subprocess.run(
        fresh.isolated("chroot", "/", "true"), check=False,
        stderr=subprocess.DEVNULL).returncode


def running(text):
    """Whether a process has this in its command line."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text in entry.read_bytes().decode(errors="replace"):
                return True
    return False


@unittest.skipUnless(enters(), "only root can enter a system")
class Fresh(unittest.TestCase):
    """make fresh from its start to its last line."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)
        template = self.top / "template"
        for name in ("bin", "dev", "etc", "mnt", "proc", "sys", "root", "usr/bin"):
            (template / name).mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), template / "bin" / "busybox")
        for name in ("sh", "env", "ls", "sleep", "mount", "mkdir", "head"):
            os.symlink("busybox", template / "bin" / name)
        os.symlink("/bin/env", template / "usr/bin/env")
        (self.top / "bin").mkdir()
        for path, text in ((template / "bin" / "make", MAKE),
                           (self.top / "bin" / "mmdebstrap", MMDEBSTRAP)):
            path.write_text(text)
            path.chmod(0o755)
        subprocess.run(["git", "init", "-q", "-b", "main", self.top / "project"],
                       check=True, env=environment())
        self.commit("one")
        root = self.top / "cache" / "fresh" / "trixie" / "root"
        self.root, self.log = root, self.top / "log"
        for patch in (
                mock.patch.multiple(paths, CACHE=self.top / "cache", LOG=self.log,
                                    ROOT=self.top / "project"),
                mock.patch.object(fresh.deps, "ensure"),
                mock.patch.object(base, "archive_mirrors",
                                  return_value=["http://mirror.invalid/debian/"]),
                mock.patch.dict(os.environ, TEMPLATE=str(template), ROOT=str(root),
                                ASKED=str(self.top / "asked"), LINUX="/some/tree",
                                XDG_CACHE_HOME="/some/cache", REFUSE="",
                                PATH=f"{self.top}/bin:{os.environ['PATH']}")):
            patch.start()
            self.addCleanup(patch.stop)

    def commit(self, text):
        """Commit another state of the project."""
        project = self.top / "project"
        (project / "file").write_text(text)
        for args in (("add", "."), ("commit", "-q", "-m", text)):
            subprocess.run(["git", "-C", project, *args], check=True, env=environment())

    def make(self, targets, **options):
        """make fresh SUITE=trixie: (status, lines)."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            status = fresh.main("trixie", targets, **options)
        self.assertNotIn("mirror.invalid", out.getvalue())
        for log in self.log.rglob("*.log"):
            self.assertNotIn("mirror.invalid", log.read_text(), log)
        self.assertNotIn(str(self.top / "cache"),
                         Path("/proc/self/mountinfo").read_text())
        return status, out.getvalue().splitlines()

    def test_passed(self):
        status, lines = self.make("demo V=1")
        self.assertEqual(status, 0)
        self.assertRegex(lines[-1], r"^fresh trixie: demo passed in 0:0\d "
                                    r"\(12 passed, 0 failed, 3 skipped\); $")
        self.assertIn("make demo V=1 in /root/liveupdate-orchestrator from "
                      "http://ARCHIVE/debian", lines)
        self.assertFalse(self.root.parent.exists())
        asked = (self.top / "asked").read_text()
        self.assertIn("--include=git,make,python3 ", asked)
        self.assertTrue(asked.endswith(f"trixie {self.root} http://mirror.invalid/debian/\n"))
        self.assertEqual((self.log / "fresh-trixie" / "inner.log").read_text(),
                         "log of http://ARCHIVE/debian\n")

    def test_what_is_there(self):
        """Nothing of this machine's environment, processes, devices or /sys."""
        _, lines = self.make("demo")
        for name in ("null", "full", "shm", "ptmx", "stdin", "HOME=/root",
                     "sys ro"):
            self.assertIn(name, lines)
        self.assertLess(sum(line.startswith("/proc/") for line in lines), 6)
        for line in lines:
            self.assertNotRegex(line, "^(LINUX|XDG_CACHE_HOME|ASKED|MAKEFLAGS)=")
            self.assertNotRegex(line, "^(vda|sda|mem|kmsg)$")
        self.assertFalse(Path("/dev/shm/x").exists())

    def test_failed(self):
        """What fails is named, what follows still runs, the system is kept."""
        status, lines = self.make("bad demo")
        self.assertEqual(status, 1)
        self.assertRegex(lines[-1], r"bad FAILED after 0:0\d \(exit status 3: \S+"
                                    r"fresh-trixie-bad.log\), demo passed in ")
        self.assertTrue(self.root.is_dir())
        self.assertIn("AGAIN=1", lines[-2])
        fresh.clean()
        self.assertFalse(self.root.parent.exists())

    def test_too_slow(self):
        """What takes too long ends, with all that it started."""
        start = time.monotonic()
        status, lines = self.make("slow", minutes=0.02)
        self.assertEqual(status, 1)
        self.assertIn("not done after 0.02 minutes", lines[-1])
        self.assertLess(time.monotonic() - start, 30)
        self.assertFalse(running("4243"))

    def test_left_behind(self):
        """A process and a mount that a command leaves are gone with it."""
        status, _ = self.make("left")
        self.assertEqual(status, 0)
        self.assertFalse(running("4244"))
        self.assertFalse(self.root.exists())

    def test_killed(self):
        """Nothing goes on when make fresh itself is killed."""
        number = 10000 + os.getpid()
        system = fresh.System("trixie")
        system.make()
        system.update()
        command = system._enter("/bin/sh", "-c", f"sleep {number} & sleep {number}")
        child = subprocess.Popen(["python3", "-c", "import subprocess, sys\n"
                                  "subprocess.run(sys.argv[1:])", *command])
        self.addCleanup(child.wait)
        end = time.monotonic() + 20
        while not running(f"sleep\0{number}") and time.monotonic() < end:
            time.sleep(0.05)
        self.assertTrue(running(f"sleep\0{number}"))
        child.kill()
        while running(f"sleep\0{number}") and time.monotonic() < end:
            time.sleep(0.05)
        self.assertFalse(running(f"sleep\0{number}"))

    def test_again(self):
        """The kept system has what was made there, and the checkout as it is now."""
        with self.assertRaisesRegex(HarnessError, "no system of trixie to run again"):
            fresh.main("trixie", "demo", again=True)
        self.make("demo", keep=True)
        checkout = self.root / "root" / "liveupdate-orchestrator"
        self.assertEqual((checkout / "file").read_text(), "one")
        self.commit("two")
        (self.top / "project" / "file").write_text("not committed")
        status, lines = self.make("demo", again=True)
        self.assertEqual((status, (checkout / "file").read_text()), (0, "two"))
        self.assertTrue((checkout / "build/log/inner.log").exists())
        self.assertTrue(any("not committed do not take part" in l for l in lines), lines)
        self.assertEqual((self.top / "asked").read_text().count("\n"), 1)
        (self.root / "old").touch()
        self.make("demo", keep=True)
        self.assertFalse((self.root / "old").exists())

    def test_base(self):
        """The base of the cache is there when it is asked for, and only then."""
        store = self.top / "cache" / "base.git"
        inside = self.root / "root/.cache" / paths.CACHE.name / "base.git"
        with self.assertRaisesRegex(HarnessError, "no base in the cache"):
            self.make("demo", base_too=True)
        (store / "worktrees" / "tree").mkdir(parents=True)
        (store / "HEAD").write_text("ref: refs/heads/main\n")
        self.make("demo", keep=True)
        self.assertFalse(inside.exists())
        self.make("demo", base_too=True, keep=True)
        self.assertTrue((inside / "HEAD").is_file())
        self.assertFalse((inside / "worktrees").exists())

    def test_no_system(self):
        """When none can be made, nothing is left, and the log says why."""
        with mock.patch.dict(os.environ, REFUSE="1"):
            with self.assertRaises(HarnessError) as caught:
                self.make("demo")
        self.assertIn("no system of trixie can be made: exit status 25",
                      str(caught.exception))
        self.assertIn("http://ARCHIVE/debian", str(caught.exception))
        self.assertNotIn("mirror.invalid", str(caught.exception))
        self.assertFalse(self.root.exists())

    def test_mounted(self):
        """A system in which something is mounted is not removed."""
        self.make("demo", keep=True)
        line = f"1 2 3:4 / {self.root}/mnt rw\n"
        with mock.patch.object(fresh, "open", lambda *_, **__: io.StringIO(line),
                               create=True):
            with self.assertRaisesRegex(HarnessError, "something is mounted there"):
                fresh.clean()
        self.assertTrue(self.root.is_dir())


class Refused(unittest.TestCase):
    """What cannot be asked for."""

    def test_arguments(self):
        for suite in ("", "sid", "../x"):
            with self.assertRaisesRegex(HarnessError, "name a suite"):
                fresh.main(suite)
        with self.assertRaisesRegex(HarnessError, "names no target"):
            fresh.parse_targets("S=x")
        self.assertEqual(fresh.parse_targets("scenario S='a b' unit"),
                         (["scenario", "unit"], ["S=a b"]))
        with mock.patch.object(os, "geteuid", return_value=1000):
            with self.assertRaisesRegex(HarnessError, "only root"):
                fresh.main("trixie")

    def test_reach(self):
        """Only how the archive is reached is taken over from apt."""
        for line in ('Acquire::Check-Date "false";', 'Acquire::http::Proxy "http://x:1";'):
            self.assertTrue(fresh.REACH.fullmatch(line), line)
        for line in ('Acquire::Languages "none";', 'APT::Sandbox::User "root";',
                     'Acquire::http "";'):
            self.assertFalse(fresh.REACH.fullmatch(line), line)


if __name__ == "__main__":
    unittest.main()
