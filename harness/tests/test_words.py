# SPDX-License-Identifier: GPL-2.0
"""The gate that looks for old words."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from ..common import paths
from ..static import words
from ..static.base import Results

TABLE = (words.Word(r"strays?", "unrequested child", keep=r"``stray``"),
         words.Word(r"told", "notified", where=(words.MESSAGE,)))

CODE = '''/* SPDX */
#include <linux/stray.h>
/*
 * A stray device,
 * and a ``stray`` file.
 */
static int stray(void)
{
	pr_info("%s: it was told\\n", name);	/* told */
	return 'x';
}
'''

PATCH = """Subject: a stray subject

Adds: kernel/stray.c
---
diff --git a/kernel/Kconfig b/kernel/Kconfig
--- a/kernel/Kconfig
+++ b/kernel/Kconfig
@@ -1,2 +1,3 @@
 stray as ever
+	  a stray option
diff --git a/kernel/x.c b/kernel/x.c
--- a/kernel/x.c
+++ b/kernel/x.c
@@ -1,2 +1,3 @@
+int stray;
"""


class Words(unittest.TestCase):
    """What is looked at, and what is let through."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        for name, text in (("kernel/stray.c", CODE), ("series/0001-x.patch", PATCH),
                           ("README.md", "Strays, and ``stray``.\n")):
            (self.root / name).parent.mkdir(exist_ok=True)
            (self.root / name).write_text(text)

    def test_places(self):
        places = {":".join(line.split(":")[:2])
                  for lines in words.search(self.root, TABLE).values() for line in lines}
        self.assertEqual(places, {"kernel/stray.c:4", "kernel/stray.c:9", "README.md:1",
                                  "series/0001-x.patch:1", "series/0001-x.patch:10"})

    def gate(self):
        """(failed, what the gate prints), for this table."""
        results, out = Results(), io.StringIO()
        with mock.patch.object(paths, "ROOT", self.root), \
                mock.patch.object(words, "WORDS", TABLE), \
                mock.patch.object(words, "search", lambda root, _=0, real=words.search:
                                  real(root, TABLE)), contextlib.redirect_stdout(out):
            words.words(None, results)
        return results.failed, out.getvalue()

    def test_gate(self):
        failed, text = self.gate()
        self.assertEqual(failed, 2)
        self.assertIn("kernel/stray.c:4", text)
        (self.root / "kernel/stray.c").write_text("/* fine */\n")
        (self.root / "README.md").write_text("fine, and ``stray``\n")
        (self.root / "series/0001-x.patch").write_text("Subject: x\n\nAdds: kernel/stray.c\n---\n")
        self.assertEqual(self.gate()[0], 0)

    def test_table(self):
        """No word is in the table twice, and none is said instead of another."""
        olds = [word.old for word in words.WORDS]
        self.assertEqual(len(olds), len(set(olds)))
        for word in words.WORDS:
            for other in words.WORDS:
                self.assertFalse(other.found(word.new) and words.MESSAGE in other.where and
                                 other.where == words.ALL, (word.new, other.old))


if __name__ == "__main__":
    unittest.main()
