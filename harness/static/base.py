# SPDX-License-Identifier: GPL-2.0
"""What all static gates share: the subject, the results, running a tool."""

import collections
import re
import subprocess

from ..build import kernel
from ..common import paths, stamps
from ..common.run import say

#: Folders whose C files do not become part of the kernel image or a module.
USER_SIDE = ("tools/", "Documentation/", "scripts/")


class Results:
    """Prints and counts results."""

    def __init__(self):
        self.failed = 0
        self.count = 0

    def add(self, good, name, detail="", found="", mark=""):
        """One result; good is True, False or None for skipped."""
        self.count += 1
        self.failed += good is False
        if found and good is False:
            say("\n".join("  | " + line for line in
                          found.strip().splitlines()[:40]))
        word = {True: "ok", False: "not ok", None: "skip"}[good]
        say(f"{word} {name}" + (f" - {detail}" if detail else "") + mark)


class Subject:
    """What is judged: the assembled tree and the files that are new in it."""

    def __init__(self, result, git):
        self.result = result
        self.git = git
        self.patches = self.result.patches
        self.new = sorted(a for p in self.patches for a in p.adds)
        self.kernel_c = [n for n in self.new if n.endswith(".c")
                         and not n.startswith(USER_SIDE)]
        self.c_and_h = [n for n in self.new if n.endswith((".c", ".h"))]
        self.kernel_c_and_h = [n for n in self.c_and_h
                               if not n.startswith(USER_SIDE)]
        self.touched = sorted({part.path for p in self.patches
                               for part in p.files()} - set(self.new))
        self.touched_c = [n for n in self.touched if n.endswith(".c")
                          and not n.startswith(USER_SIDE)]

    def series_symbols(self):
        """{symbol: value} of the test kernel for this tree."""
        return kernel.wanted(("common", "series"), self.git, True,
                             None if self.patches else True, True)

    def ids(self, *names):
        """What git calls the content of files and folders of the tree."""
        return stamps.entries(self.git, self.result.head, *names)

    def compiled(self):
        """All that the objects of this tree are made from."""
        return stamps.compiled(self.git, self.result.head)

    def base_text(self, name):
        """The content of an upstream file before the series."""
        return self.git.raw("show", f"{self.result.base.commit}:{name}")


def tool(args, cwd=None, **kwargs):
    """Run a tool in build/tree; (exit status, stdout, stderr)."""
    done = subprocess.run([str(a) for a in args], cwd=cwd or paths.TREE,
                          text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          errors="replace", **kwargs)
    return done.returncode, done.stdout, done.stderr


#: Where in a file something was found: "x.c:12:3-9", "on line 12", "@@ -1,2 +1,3 @@".
PLACE = re.compile(r"(?<=\.[chS]):\d+(?:[:-]\d+)*|(?<=\bline )\d+|"
                   r"(?<=\blines )\d+|^@@ .* @@")


def added(before, after):
    """Lines of findings that the unpatched file did not give, too.

    What a patch does to the numbers of lines and columns is no difference;
    how often something is said is one.
    """
    def plain(line):
        return PLACE.sub("", line.strip())

    old = collections.Counter(plain(line) for line in before)
    new = []
    for line in after:
        if old[plain(line)] > 0:
            old[plain(line)] -= 1
        else:
            new.append(line)
    return new
