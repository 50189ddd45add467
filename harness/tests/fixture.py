# SPDX-License-Identifier: GPL-2.0
"""A tiny base and a checkout with a series of two patches."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from ..source import base, tree
from ..source.git import Git, environment

BASE = {
    "Kbuild": "obj-y += kernel/\n",
    "Makefile": "# SPDX-License-Identifier: GPL-2.0\nVERSION = 7\n"
                "PATCHLEVEL = 3\nSUBLEVEL = 9\nEXTRAVERSION =\n",
    ".gitignore": "*.o\n/*\n!/debian/\n",
    "kernel/.gitignore": "*.generated\n",
    "kernel/core.c": "".join(f"int line_{i};\n" for i in range(40)),
    "kernel/other.c": "".join(f"int other_{i};\n" for i in range(10)),
    "include/linux/core.h": "int core(void);\n",
    "MAINTAINERS": "LIST\n====\n\nLIVE UPDATE\nM:\tNobody <n@localhost>\n"
                   "F:\tinclude/linux/core.h\nF:\tkernel/zone.c\n\nNEXT\n"
                   "F:\tnext/\n",
}

FIRST = """\
Subject: core: first

Why the first.

Adds: kernel/new.c
---
diff --git a/kernel/core.c b/kernel/core.c
--- a/kernel/core.c
+++ b/kernel/core.c
@@ -9,6 +9,7 @@ int line_7;
 int line_8;
 int line_9;
 int line_10;
+int first;
 int line_11;
 int line_12;
 int line_13;
"""

SECOND = """\
Subject: core: second

Why the second.

Adds: include/linux/new.h
---
diff --git a/kernel/core.c b/kernel/core.c
--- a/kernel/core.c
+++ b/kernel/core.c
@@ -32,6 +32,7 @@ int line_29;
 int line_30;
 int line_31;
 int line_32;
+int second;
 int line_33;
 int line_34;
 int line_35;
"""


class Checkout(unittest.TestCase):
    """A test with a base repository and a checkout of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        top = Path(folder.name)
        repository = Git(top / "base.git")
        (top / "base.git").mkdir()
        repository("init", "--bare", "--quiet")
        commit = base.import_entries(
            repository, ((name, "100644", text.encode())
                         for name, text in sorted(BASE.items())), "base\n")
        self.base = base.Base(repository, commit)
        self.layout = tree.Layout(top / "checkout")
        self.layout.series.mkdir(parents=True)
        subprocess.run(["git", "init", "-q", str(self.layout.root)],
                       check=True, env=environment())
        self.write(".gitignore", "/build/\n")
        self.write("series/0001-first.patch", FIRST)
        self.write("series/0002-second.patch", SECOND)
        self.write("kernel/new.c", "int new_file;\n")
        self.write("include/linux/new.h", "int new_header;\n")
        self.write("MAINTAINERS", "F:\tkernel/new.c\n")

    def write(self, name, text):
        """Write a file of the checkout."""
        path = self.layout.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def read(self, name):
        """Read a file of the checkout."""
        return (self.layout.root / name).read_text(encoding="utf-8")

    def edit(self, name, old, new):
        """Edit a file of build/tree."""
        path = self.layout.tree / name
        text = path.read_text(encoding="utf-8")
        self.assertIn(old, text)
        path.write_text(text.replace(old, new), encoding="utf-8")

    def tree_text(self, name):
        """Read a file of build/tree."""
        return (self.layout.tree / name).read_text(encoding="utf-8")

    def assemble(self, **options):
        """make tree."""
        result = tree.assemble(self.layout, self.base)
        git = tree.write(self.layout, result, **options)
        return result, git

    def stamps(self):
        """{name: time stamp} of every file in build/tree."""
        found = {}
        for where, _, files in os.walk(self.layout.tree):
            for name in files:
                path = Path(where) / name
                found[str(path.relative_to(self.layout.tree))] = \
                    path.stat().st_mtime_ns
        found.pop(".git")
        return found
