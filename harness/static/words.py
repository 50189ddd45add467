# SPDX-License-Identifier: GPL-2.0
"""One word for one thing: old words that no text of the series uses.

An operator who reads "awaited" in one file and "pending" in another looks for a
difference. The table has each word that was given up, the one that is used instead,
and where the old one stays because it is another thing there. It is looked for in
what people read: messages and names in strings, tracepoints, comments (the documents
are made from them), documents, headers of patches, and all that luctl says. Names in
the code itself are the compiler's business.
"""

import dataclasses
import re

from ..common import paths
from ..source import series

MESSAGE, COMMENT, TRACE, DOCUMENT, TOOL = "message", "comment", "trace", "document", "tool"
SAID = (MESSAGE, TRACE, TOOL)
ALL = (MESSAGE, COMMENT, TRACE, DOCUMENT, TOOL)


@dataclasses.dataclass(frozen=True)
class Word:
    """A word that is not used any more: a regular expression of its forms, what is
    said instead, what is cut out of a line before it is looked for, and where it is
    looked for."""
    old: str
    new: str
    keep: str = ""
    where: tuple = ALL

    def found(self, text):
        """What of it is in a line."""
        if self.keep:
            text = re.sub(self.keep, " ", text)
        return re.findall(rf"(?<![\w/.-])(?:{self.old})(?![\w])", text, re.I)


WORDS = (
    Word(r"participants?", "subsystem"),
    Word(r"harmless", "quiesced"),
    # A flag says that a device is LOST, when it could not be stopped; interrupts, pages and
    # data may be lost as ever.
    Word(r"(?:it|device|function|record)s? (?:was|were|is|are|has been) lost", "missing",
         where=SAID),
    Word(r"awaited|awaiting", "pending"),
    Word(r"inherited", "incoming"),
    Word(r"adopt(?:s|ed|ing|ion)?", "retrieve"),
    Word(r"fates?", "state"),
    # Hardware may be broken, and functions of C return nothing.
    Word(r"broken", "invalid", keep=r"broken_\w+|BROKEN\w*|[Bb]roken hardware"),
    Word(r"(?:is|was|are|were|be|been|become|becomes|became) void", "invalid"),
    Word(r"damage[ds]?", "corrupted"),
    Word(r"strays?", "unrequested child"),
    Word(r"going_down", "shutdown"),
    Word(r"keep_path", "preserve_path"),
    Word(r"settle[sd]?", "complete", where=SAID),
    Word(r"announce[sd]?", "notify"),
    Word(r"abandon(?:s|ed|ing)?", "discard"),
    # The file of the operator is called so, and the operation behind it.
    Word(r"forgets?|forgot|forgotten", "free or dispose",
         keep=r"[\w/%:-]+/forget|'forget'|\"forget\"", where=SAID),
    Word(r"examine[sd]?", "validate"),
    Word(r"(?:the|a|no|each|this|one|that) jump", "the kexec"),
    Word(r"believe[sd]?|believing", "validate or use"),
    Word(r"its word", "what it declared"),
    Word(r"dearest", "slowest"),
    Word(r"youngest", "newest"),
)

_SPLIT = re.compile(r'(/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')', re.S)
_INCLUDE = re.compile(r"^#include .*$", re.M)


def _of_code(text):
    """(kind, line, text) of strings and comments of C."""
    line = 1
    for number, part in enumerate(_SPLIT.split(_INCLUDE.sub("", text))):
        if number % 2 and not part.startswith("'"):
            kind = MESSAGE if part.startswith('"') else COMMENT
            for more, one in enumerate(part.split("\n")):
                yield kind, line + more, one
        line += part.count("\n")


def _of_patch(text):
    """(line, text) of the header of a patch, and what it adds to options and documents."""
    head, path = True, ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("diff --git "):
            head, path = False, line.split(" b/")[-1]
        elif head or line.startswith("+") and not line.startswith("+++") and \
                ("Kconfig" in path or path.startswith("Documentation/")):
            if not line.startswith("Adds: "):
                yield number, line


def texts(root):
    """(kind, file, line, text) of all that people read."""
    new = sorted(file for patch in series.load(root / "series") for file in patch.adds)
    for name in new:
        path = root / name
        if "kunit" in name or name.startswith("tools/testing/") or "/fuzz/" in name:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if name.startswith("include/trace/"):
            yield from ((TRACE, name, number, line)
                        for number, line in enumerate(text.splitlines(), 1))
        elif name.endswith((".c", ".h")):
            for kind, number, line in _of_code(text):
                if name.startswith("tools/"):
                    if kind == MESSAGE:
                        yield TOOL, name, number, line
                else:
                    yield kind, name, number, line
        elif name.startswith("Documentation/") or name.endswith((".rst", "Kconfig")):
            yield from ((DOCUMENT, name, number, line)
                        for number, line in enumerate(text.splitlines(), 1))
    for name in ("README.md", "harness/README.md", "series/cover-letter.txt"):
        if (root / name).is_file():
            yield from ((DOCUMENT, name, number, line) for number, line in
                        enumerate((root / name).read_text(encoding="utf-8").splitlines(), 1))
    for path in sorted((root / "series").glob("*.patch")):
        yield from ((DOCUMENT, f"series/{path.name}", number, line)
                    for number, line in _of_patch(path.read_text(encoding="utf-8")))


def search(root, table=WORDS):
    """{word: ["file:line: what it says"]} of all words of the table that are found."""
    found = {}
    for kind, name, number, text in texts(root):
        for word in table:
            if kind in word.where and word.found(text):
                found.setdefault(word, []).append(f"{name}:{number}: {' '.join(text.split())}")
    return found


def words(_, results):
    """Each thing is called by one word."""
    found = search(paths.ROOT)
    for word in WORDS:
        lines, name = found.get(word, ()), f"word {word.new}, not {word.old}"
        results.add(not lines, name, "", "\n".join([*lines[:30], f"{len(lines)} lines"]))
