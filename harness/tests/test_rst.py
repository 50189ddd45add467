# SPDX-License-Identifier: GPL-2.0
"""Tests of the gate that parses the documents."""

import importlib.util
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from ..common import paths
from ..static import rst

GOOD = """\
.. SPDX-License-Identifier: GPL-2.0

====
Page
====

.. toctree::
   :maxdepth: 1
   :glob:

   *

.. kernel-doc:: kernel/x.c
   :doc: What it is

The function :c:func:`f` is in :doc:`another <page>`, and ``g()`` here.

.. flat-table:: Values
   :header-rows: 1

   * - name
     - value

.. code-block:: c

   return 0;

===== =====
name  value
===== =====
first 1
===== =====

1. One
2. Two
"""

#: What breaks the page -> what is said of it.
BROKEN = {
    # A cell that reaches over the end of its column.
    ("first 1", "firsts 1"): "Malformed table",
    ("===== =====\n\n1.", "===== ===\n\n1."): "Malformed table",
    ("2. Two", "2. Two\nand\n   more"): "Unexpected indentation",
    ("2. Two", "2. Two\n\n* Item\nmore"): "ends without a blank line",
    ("Page\n====\n", "Page\n===\n"): "Title overline & underline mismatch",
    ("``g()`` here", "`g()`_ here"): "Unknown target name",
    (":c:func:", ":c:funk:"): "Unknown interpreted text role",
    (".. kernel-doc::", ".. kernel-docs::"): "Unknown directive type",
    (":maxdepth:", ":depth:"): "unknown option",
}


#: What kernel-doc makes of a comment.
COMMENT = """\
.. c:function:: int f (int x)

   do it

**Parameters**

``int x``
  one of

  * One
  * Two
"""


def judged(text, comment=None):
    """The calls of results.add() for one document that the series adds, and for a C file
    of which kernel-doc makes this."""
    with tempfile.TemporaryDirectory() as folder, \
            mock.patch.object(paths, "TREE", Path(folder)), \
            mock.patch.object(paths, "CACHE", Path(folder)), \
            mock.patch.object(rst, "tool", return_value=(0, comment, "")):
        (Path(folder) / "page.rst").write_text(text, encoding="utf-8")
        results = mock.Mock()
        rst.rst(mock.Mock(new=["page.rst", "x.c"], ids=lambda *_: [],
                          kernel_c_and_h=["x.c"] if comment else []), results)
    return [call.args for call in results.add.call_args_list]


class Documents(unittest.TestCase):
    """What in a document is a finding."""

    @unittest.skipUnless(importlib.util.find_spec("docutils"), "docutils is not installed")
    def test_broken(self):
        self.assertEqual(judged(GOOD), [(True, "rst page.rst", "", "")])
        for (old, new), told in BROKEN.items():
            self.assertEqual(GOOD.count(old), 1, old)
            with self.subTest(new):
                (good, name, _, found), = judged(GOOD.replace(old, new))
                self.assertIs(good, False)
                self.assertEqual(name, "rst page.rst")
                self.assertIn(told, found)
                self.assertRegex(found, r"^page\.rst:\d+: \(\w+/[234]\) ")

    @unittest.skipUnless(importlib.util.find_spec("docutils"), "docutils is not installed")
    def test_comments(self):
        self.assertEqual(judged(GOOD, COMMENT)[1:], [(True, "rst x.c", "", "")])
        for old, new in (("   do it", "   * do\n   it"), ("  * Two", "   Two")):
            with self.subTest(new):
                (good, name, _, found), = judged(GOOD, COMMENT.replace(old, new))[1:]
                self.assertEqual((good, name), (False, "rst x.c"))
                self.assertRegex(found, r"^x\.c:\d+: \(\w+/[234]\) ")

    def test_skipped(self):
        with mock.patch.dict(sys.modules, {"docutils": None, "docutils.core": None}):
            self.assertEqual(judged(GOOD), [(None, "rst", "docutils is not installed")])
