# SPDX-License-Identifier: GPL-2.0
"""Static gate that compiles the examples of the documents.

An example is a block ".. code-block:: c" in a new page of Documentation/, or in a
DOC comment of a new file. What it takes for granted, types and functions of an
invented driver, stands in a comment before it that readers of the page do not see:

    .. The next example is compiled after this:

       struct frob { ... };

The next example is the next block of the page, or the first one of the DOC comment
that the page includes next. An example in a header is compiled after that header. A
literal block ("::") that looks like C is a finding, for nobody would compile it.

Each example becomes a file of a module in build/examples/ of which only the objects
are made. #line makes the compiler name the place in the document.
"""

import dataclasses
import re
import shutil

from ..build import kernel
from ..common import paths, stamps
from .compile import CHECKED, CODE, NO_ERROR, complaints, run_make

#: Where the examples lie as files.
FOLDER = paths.BUILD / "examples"

BLOCK = re.compile(r"^(\s*)\.\. code-block:: c$")
LITERAL = re.compile(r"^(\s*)(?!\.\. ).*::$")
BEFORE = re.compile(r"^(\s*)\.\. The next example is compiled after this:$")
INCLUDED = re.compile(r"^\.\. kernel-doc:: (\S+)$")
TITLE = re.compile(r"^\s+:doc: (.*)$")
DOC = re.compile(r"^/\*\*\n \* DOC: (.*)\n((?: \*.*\n)*?) \*/$", re.M)
LOOKS_LIKE_C = re.compile(r"^\s*(?:static |struct \w+ |return\b|#include |if \().*|"
                          r"^[^#$]*\);$", re.M)

#: An example shows one side only: what it defines may be used by nobody.
UNUSED = ("-Wno-unused-function", "-Wno-unused-variable",
          "-Wno-unused-const-variable", "-Wno-missing-prototypes",
          "-Wno-missing-declarations")


@dataclasses.dataclass
class Example:
    """One block of C: where it is, and what is compiled."""
    path: str
    number: int
    line: int
    text: str
    before: str = ""

    @property
    def name(self):
        """Name of the file that it becomes, without .c."""
        return re.sub(r"\W", "_", f"{self.path}_{self.number}")

    def concerns(self, told):
        """Whether a line of the compiler is about this example."""
        match = re.match(rf"{re.escape(self.path)}:(\d+):", told)
        last = self.line + self.text.count("\n")
        return self.name in told or match and self.line <= int(match[1]) <= last

    def source(self):
        """The file that is compiled."""
        header = re.sub(r"^include/", "", self.path) \
            if self.path.startswith("include/") else ""
        return "\n".join(
            ["#include <linux/module.h>"]
            + [f"#include <{header}>"] * bool(header)
            + [self.before, f'#line {self.line} "{self.path}"', self.text, ""])


def indented(lines, at, indent):
    """(number of the first line, text) of the block that is indented deeper than
    `indent` and begins after lines[at]; options of the directive are left out."""
    first, block = None, []
    for number in range(at + 1, len(lines)):
        line = lines[number]
        if line.strip() and not line.startswith((indent + " ", indent + "\t")):
            break
        if first is None and (not line.strip() or line.strip().startswith(":")):
            continue
        first = number if first is None else first
        block.append(line)
    while block and not block[-1].strip():
        block.pop()
    margin = re.match(r"\s*", block[0])[0] if block else ""
    return first or at, "\n".join(line.removeprefix(margin) for line in block)


def doc_comments(text):
    """{title: (number of its first line, lines)} of the DOC comments of a C file."""
    found = {}
    for match in DOC.finditer(text):
        at = text.count("\n", 0, match.start(2))
        found[match[1]] = at, [re.sub(r"^ \* ?", "", line)
                               for line in match[2].splitlines()]
    return found


class Reader:
    """Collects the examples of all pages, and what is wrong with them."""

    def __init__(self, texts):
        #: {path: text} of the new files.
        self.texts = texts
        self.examples = []
        self.wrong = []
        self._docs = {name: doc_comments(text) for name, text in texts.items()
                      if name.endswith((".c", ".h"))}
        self._seen = set()
        for name in sorted(texts):
            if name.endswith(".rst"):
                self._page(name, texts[name].splitlines())
        for name, docs in sorted(self._docs.items()):
            for title in docs:
                self._doc(name, title, "")

    def _page(self, name, lines):
        before = ""
        for at, line in enumerate(lines):
            if match := BEFORE.match(line):
                before = indented(lines, at, match[1])[1]
            elif match := INCLUDED.match(line):
                title = TITLE.match(lines[at + 1]) if at + 1 < len(lines) else None
                if title and self._doc(match[1], title[1], before):
                    before = ""
            elif self._block(name, lines, at, 0, before):
                before = ""
        if before:
            self.wrong.append(f"{name}: there is no example after what precedes one")

    def _doc(self, name, title, before):
        start, lines = self._docs.get(name, {}).get(title, (0, []))
        if (name, title) in self._seen:
            return 0
        self._seen.add((name, title))
        count = 0
        for at in range(len(lines)):
            count += self._block(name, lines, at, start, "" if count else before)
        return count

    def _block(self, name, lines, at, start, before):
        if match := BLOCK.match(lines[at]):
            first, text = indented(lines, at, match[1])
            number = 1 + sum(example.path == name for example in self.examples)
            self.examples.append(Example(name, number, start + first + 1, text, before))
            return 1
        if match := LITERAL.match(lines[at]):
            first, text = indented(lines, at, match[1])
            if LOOKS_LIKE_C.search(text):
                self.wrong.append(f"{name}:{start + first + 1}: looks like C, and is not "
                                  "marked with \".. code-block:: c\"")
        return 0


def examples(subject, results):
    """The examples of C in the new documents compile."""
    names = [n for n in subject.new if n.startswith("Documentation/")
             and n.endswith(".rst") or n in subject.kernel_c_and_h]
    reader = Reader({name: (paths.TREE / name).read_text(encoding="utf-8")
                     for name in names})
    results.add(not reader.wrong, "examples are marked", f"{len(reader.examples)} of them",
                "\n".join(reader.wrong))
    if reader.examples:
        stamps.Unit("examples", subject.compiled(),
                    [dataclasses.astuple(e) for e in reader.examples],
                    sorted(subject.series_symbols().items()), stamps.version("gcc"),
                    stamps.code("static.docs", *CODE)).run(
            results.add, lambda add: _compile(subject, reader.examples, add))


def _compile(subject, found, add):
    kernel.copy_objects("a", CHECKED)
    kernel.configure(paths.TREE, CHECKED, subject.series_symbols(), "examples")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for example in found:
        (FOLDER / f"{example.name}.c").write_text(example.source(), encoding="utf-8")
    objects = [f"{example.name}.o" for example in found]
    (FOLDER / "Kbuild").write_text(
        f"obj-m := {' '.join(objects)}\nccflags-y := {' '.join(UNUSED)}\n",
        encoding="utf-8")
    run_make(paths.TREE, CHECKED, ["modules_prepare"], "examples-prepare")
    _, log = run_make(paths.TREE, CHECKED, objects, "examples", "-k",
                             f"M={FOLDER}", NO_ERROR)
    told = complaints(log)
    for example in found:
        built = (FOLDER / f"{example.name}.o").is_file()
        mine = [line for line in told if example.concerns(line)]
        add(built and not mine, f"example {example.number} of {example.path}", "",
            "\n".join(mine) or log[-2000:])
