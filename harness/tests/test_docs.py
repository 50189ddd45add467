# SPDX-License-Identifier: GPL-2.0
"""Documentation pulls text from the code: what it names has to be there."""

import re
import unittest

from ..common import paths

INCLUDE = re.compile(r"^\.\. literalinclude:: (\S+)\n((?:   :.*\n)*)", re.MULTILINE)
OPTION = re.compile(r"^   :(start-at|start-after|end-before|end-at): (.*)$", re.MULTILINE)
DIRECTIVE = re.compile(r"^\.\. kernel-doc:: (\S+)\n((?:   :.*\n)*)", re.MULTILINE)
DOC = re.compile(r"^   :doc: (.*)$", re.MULTILINE)
LINK = re.compile(r"\bDocumentation/[\w/.-]*liveupdate[\w/.-]*\.rst\b")

#: Pages of upstream.
UPSTREAM = ("Documentation/core-api/liveupdate.rst", "Documentation/userspace-api/liveupdate.rst")


class Documentation(unittest.TestCase):
    """Sphinx only warns of a marker that is not found, and leaves the text out."""

    def setUp(self):
        self.pages = sorted((paths.ROOT / "Documentation").rglob("*.rst"))

    def _blocks(self, directive, base=None):
        for page in self.pages:
            for file, options in directive.findall(page.read_text(encoding="utf-8")):
                path = ((base or page.parent) / file).resolve()
                if path.is_relative_to(paths.ROOT) and path.is_file():
                    yield page.name, path.read_text(encoding="utf-8"), options

    def test_excerpts(self):
        count = 0
        for page, text, options in self._blocks(INCLUDE):
            at = 0
            for name, marker in OPTION.findall(options):
                with self.subTest(page=page, option=name, marker=marker):
                    found = text.find(marker, at)
                    self.assertGreater(found, 0)
                    at, count = found + len(marker), count + 1
        self.assertGreater(count, 10)

    def test_doc_comments(self):
        count = 0
        for page, text, options in self._blocks(DIRECTIVE, paths.ROOT):
            for title in DOC.findall(options):
                with self.subTest(page=page, title=title):
                    self.assertIn(f" * DOC: {title}\n", text)
                    count += 1
        self.assertGreater(count, 5)

    def test_links(self):
        """A page that a file of the checkout names by its path is there, and each page is
        named or in the toctree of an index."""
        named = {}
        for path in (*paths.ROOT.glob("*.md"), *(
                path for folder in ("Documentation", "drivers", "harness", "include", "kernel",
                                    "samples", "series", "tools")
                for path in (paths.ROOT / folder).rglob("*")
                if path.suffix in (".c", ".h", ".rst", ".py", ".patch", "") and path.is_file())):
            for name in LINK.findall(path.read_text(encoding="utf-8", errors="replace")):
                named.setdefault(name, path.relative_to(paths.ROOT))
        self.assertEqual({name: str(path) for name, path in named.items()
                          if name not in UPSTREAM and not (paths.ROOT / name).is_file()}, {})
        self.assertEqual([str(page) for page in self.pages
                          if str(page.relative_to(paths.ROOT)) not in named and
                          page.name != "index.rst"], [])

    def test_cover_letter(self):
        """The table of what was asked of such a series has forty rows, and each names files
        that are there, or says what is not there yet."""
        text = (paths.ROOT / "series/cover-letter.txt").read_text(encoding="utf-8")
        rows = re.split(r"^ ?(\d+)\. ", text, flags=re.MULTILINE)[1:]
        self.assertEqual([int(number) for number in rows[::2]], list(range(1, 41)))
        for number, row in zip(rows[::2], rows[1::2]):
            files = re.findall(r"\b[\w-]+(?:/[\w.-]+)+\b", re.sub(r"/(?:sys|dev)/\S+", "", row))
            self.assertTrue(files or "Not yet:" in row or "Namespace" in row, number)
            self.assertEqual([name for name in files if not (paths.ROOT / name).exists()], [],
                             f"row {number}")


if __name__ == "__main__":
    unittest.main()
