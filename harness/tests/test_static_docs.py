# SPDX-License-Identifier: GPL-2.0
"""Tests of what counts as an example of the documents, and where it is."""

import unittest

from ..static import docs as static_docs

HEADER = """\
/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Frobs
 *
 * One::
 *
 *\tnormal -> prepared
 *
 * Two:
 *
 * .. code-block:: c
 *
 *\tstatic int a(void)
 *\t{
 *\t\treturn b;
 *\t}
 *
 * And on.
 */
"""

PAGE = """\
Title
=====

.. The next example is compiled after this:

   extern int b;

.. kernel-doc:: include/linux/frob.h
   :doc: Frobs

Shell::

\techo 1 > frob

.. The next example is compiled after this:

   struct c {
   \tint d;
   };

   #define E 1

Text.

.. code-block:: c
   :linenos:

\tint f = E;

\tint g;
More text.

.. code-block:: c

   int h;
"""


class Examples(unittest.TestCase):
    """Blocks of C in pages and DOC comments."""

    def read(self, **changes):
        texts = {"include/linux/frob.h": HEADER, "Documentation/frob.rst": PAGE}
        for name, text in changes.items():
            texts[{"page": "Documentation/frob.rst",
                   "header": "include/linux/frob.h"}[name]] = text
        return static_docs.Reader(texts)

    def test_found(self):
        reader = self.read()
        self.assertEqual(reader.wrong, [])
        self.assertEqual(
            [(e.path, e.number, e.line, e.before) for e in reader.examples],
            [("include/linux/frob.h", 1, 14, "extern int b;"),
             ("Documentation/frob.rst", 1, 28, "struct c {\n\tint d;\n};\n\n#define E 1"),
             ("Documentation/frob.rst", 2, 35, "")])
        self.assertEqual(reader.examples[0].text,
                         "static int a(void)\n{\n\treturn b;\n}")
        self.assertEqual(reader.examples[1].text, "int f = E;\n\nint g;")
        for example in reader.examples:
            with self.subTest(example=example.name):
                text = HEADER if example.path.endswith(".h") else PAGE
                self.assertIn(example.text.splitlines()[0],
                              text.splitlines()[example.line - 1])

    def test_source(self):
        first, second, third = (e.source().splitlines() for e in self.read().examples)
        self.assertEqual(first[:5], [
            "#include <linux/module.h>", "#include <linux/frob.h>", "extern int b;",
            '#line 14 "include/linux/frob.h"', "static int a(void)"])
        self.assertNotIn("#include <linux/frob.h>", second)
        self.assertEqual(third[-1], "int h;")

    def test_concerns(self):
        _, second, third = self.read().examples
        self.assertTrue(second.concerns("Documentation/frob.rst:29:1: error: g"))
        self.assertFalse(second.concerns("Documentation/frob.rst:35:1: error: h"))
        self.assertTrue(third.concerns("Documentation/frob.rst:35:1: error: h"))
        self.assertTrue(third.concerns("Documentation_frob_rst_2.c:2: warning: x"))

    def test_in_no_page(self):
        """A comment that no page includes is compiled, too."""
        self.assertEqual([e.path for e in self.read(page="").examples],
                         ["include/linux/frob.h"])

    def test_unmarked(self):
        for code in ("static int a;", "foo(1);", "#include <x.h>", "\treturn 0;"):
            with self.subTest(code=code):
                reader = self.read(page=f"An example::\n\n\t{code}\n")
                self.assertEqual(len(reader.wrong), 1)
                self.assertIn("Documentation/frob.rst:3: looks like C", reader.wrong[0])
        self.assertEqual(self.read(page="A list::\n\n\tadd NAME;set NAME\n").wrong, [])

    def test_idle_beginning(self):
        reader = self.read(page=PAGE.replace(".. code-block:: c", ".. code-block:: rust"))
        self.assertIn("there is no example after", reader.wrong[0])


if __name__ == "__main__":
    unittest.main()
