# SPDX-License-Identifier: GPL-2.0
"""Stamps: results that need not be found again, as nothing they come from changed.

A stamp is a file of the cache that holds the results of one unit of work (a
gate on one file, the build with one option off, a step of the series). Its
name is a hash of all that decides about them: the content judged (ids of git
blobs and trees), the code of the gate, the versions of the tools, the
configuration. So it holds in every checkout of this user, whatever became of
the build folder, and what changed simply has another name.

Lifecycle: Unit.run() prints what the stamp holds, each line marked
"[stamped]", or has the work done and keeps its results. A unit with a failure
is never kept, nor one whose work was cut short (Transient). ANEW=1 in the
environment passes all stamps by, and makes them again. A stamp that was not
used for a month is removed.

Stamps are written atomically and never changed, so processes share them
without a lock.
"""

import contextlib
import functools
import hashlib
import os
import re
import subprocess
import time

from . import paths
from .run import load_json, save_json

#: Seconds after which a stamp that nobody used is removed.
UNUSED = 30 * 24 * 3600

#: Ends the line of a result that was taken from a stamp. The first line of a
#: unit tells how long the work took when it was done.
MARK = re.compile(r" \[stamped(?:, ([\d.]+) s)?\]$")

#: What no object of the kernel is made from; Kconfig reads one file of it.
NOT_COMPILED = {"Documentation", "MAINTAINERS", "CREDITS", "LICENSES",
                "COPYING", "README", "tools"}
#: Folders of tools/ that the build of a kernel uses.
COMPILED_TOOLS = ("arch", "bpf", "build", "include", "lib", "objtool",
                  "scripts", "Makefile")


class Transient(Exception):
    """A result that says something about this moment only."""


def folder():
    """Where stamps are kept."""
    return paths.CACHE / "stamps"


def anew():
    """True when nothing is to be taken from a stamp."""
    return bool(os.environ.get("ANEW"))


def mark(seconds=None):
    """The end of a line whose result comes from a stamp."""
    return " [stamped]" if seconds is None else f" [stamped, {seconds:.1f} s]"


# --- what a result depends on ------------------------------------------------

def digest(*parts):
    """A hash of texts, numbers and plain containers of them."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@functools.lru_cache(None)
def code(*names):
    """A hash of modules of the harness, "package.module", and of this one."""
    return digest([(paths.ROOT / "harness" / f"{name.replace('.', '/')}.py").read_bytes()
                   for name in sorted({*names, "common.stamps"})])


@functools.lru_cache(None)
def version(*command):
    """What a tool calls itself; "" when it is not there."""
    with contextlib.suppress(OSError):
        done = subprocess.run([*command, "--version"], text=True,
                              stdin=subprocess.DEVNULL, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout.strip() or "unnamed"
    return ""


def entries(git, commit, *names):
    """[mode, kind and id, name] of files and folders of a commit, as git lists them."""
    return git.lines("ls-tree", "-z", commit, "--", *names) if names else []


def compiled(git, commit):
    """What the objects of a kernel are made from, as a list for digest()."""
    top = [line for line in git.lines("ls-tree", "-z", commit)
           if line.partition("\t")[2] not in NOT_COMPILED]
    return top + entries(git, commit, "Documentation/Kconfig",
                         *(f"tools/{name}" for name in COMPILED_TOOLS))


# --- stamps ------------------------------------------------------------------

class Unit:
    """Work whose results share one stamp."""

    def __init__(self, kind, *parts):
        self.kind = kind
        self.path = folder() / digest(kind, *parts)

    def recall(self):
        """(results, seconds) of the stamp, None without one.

        A result is a tuple as Results.add() takes it: good, name, detail.
        """
        if anew():
            return None
        known = load_json(self.path)
        results = [tuple(r) for r in known.get("results", ())
                   if isinstance(r, list) and len(r) == 3]
        if not results or any(good is False for good, _, _ in results):
            return None
        with contextlib.suppress(OSError):
            os.utime(self.path)         # it is in use
        return results, float(known.get("seconds", 0))

    def keep(self, results, seconds):
        """Make the stamp, unless a result is a failure or there is none."""
        plain = [(good, name, detail) for good, name, detail, *_ in results]
        if not plain or any(good is False for good, _, _ in plain):
            self.path.unlink(missing_ok=True)
            return
        save_json(self.path, {"kind": self.kind, "results": plain,
                              "seconds": round(seconds, 2)})

    def replay(self, add):
        """Hand stamped results to add(good, name, detail), marked; False
        without a stamp."""
        found = self.recall()
        if not found:
            return False
        results, seconds = found
        for number, (good, name, detail) in enumerate(results):
            add(good, name, detail, "", mark(None if number else seconds))
        return True

    def run(self, add, work):
        """Replay the stamp, or let work(add) find the results and keep them.

        work calls add(good, name, detail, found) for each; a Transient that
        it raises afterwards keeps them from being stamped.
        """
        if self.replay(add):
            return
        made = []

        def remember(good, name, detail="", found=""):
            made.append((good, name, detail))
            add(good, name, detail, found)
        start = time.monotonic()
        try:
            work(remember)
        except Transient:
            return
        self.keep(made, time.monotonic() - start)


def prune(now=None):
    """Remove the stamps that nobody used for long; how many those were."""
    limit = (now or time.time()) - UNUSED
    gone = 0
    with contextlib.suppress(FileNotFoundError):
        for path in folder().iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < limit:
                    path.unlink()
                    gone += 1
    return gone
