# SPDX-License-Identifier: GPL-2.0
"""Static gate that parses the documents, and the comments that they are made from.

The kernel's own check of its documents is Sphinx, which is a hundred packages and takes
minutes. What a reviewer trips over is found by docutils, on which Sphinx is built: a table
or a list that does not parse, an underline that is too short, a reference to nothing.

What only Sphinx and the kernel know of is listed here: directives with their options,
whose content is left out; those that scripts/kernel-doc writes, whose content is parsed;
and roles, which pass their text on. Anything else that docutils does not know is a
finding.
"""

import functools
import io

from ..common import paths, stamps
from .base import tool

#: Directive -> its options. What stands below one belongs to another file or tool.
DIRECTIVES = {
    "flat-table": ("header-rows", "stub-columns", "widths", "fill-cells"),
    "kernel-doc": ("doc", "export", "internal", "identifiers", "no-identifiers", "functions"),
    "literalinclude": ("language", "lines", "start-after", "start-at", "end-before",
                       "end-at", "dedent", "caption"),
    "toctree": ("maxdepth", "numbered", "glob", "caption", "hidden", "titlesonly"),
}

#: What kernel-doc makes of the comment of a function, a type and the like.
DECLARATIONS = ("c:enum", "c:function", "c:macro", "c:struct", "c:type", "c:union")

ROLES = ("c:enum", "c:func", "c:macro", "c:member", "c:struct", "c:type", "doc", "manpage",
         "ref")

#: Not what is only told, INFO, and no end at the first severe error.
SETTINGS = {"report_level": 2, "halt_level": 5, "syntax_highlight": "none",
            "file_insertion_enabled": False}


@functools.cache
def _register():
    """Make docutils know what Sphinx and the kernel add."""
    # pylint: disable=import-outside-toplevel
    from docutils import nodes
    from docutils.parsers.rst import Directive, directives, roles

    class LeftOut(Directive):
        """A directive of which nothing is shown."""
        has_content = True
        optional_arguments = 1
        final_argument_whitespace = True

        def run(self):
            return []

    class Declaration(LeftOut):
        """A directive whose content is parsed."""
        def run(self):
            body = nodes.container()
            self.state.nested_parse(self.content, self.content_offset, body)
            return [body]

    for name in DECLARATIONS:
        directives.register_directive(name, Declaration)
    for name, options in DIRECTIVES.items():
        directives.register_directive(name, type("LeftOut", (LeftOut,), {
            "option_spec": dict.fromkeys(options, directives.unchanged)}))
    for name in ROLES:
        roles.register_generic_role(name, nodes.literal)


def complaints(name, text):
    """What docutils says of a document, ImportError without docutils."""
    from docutils.core import publish_doctree   # pylint: disable=import-outside-toplevel
    _register()
    told = io.StringIO()
    publish_doctree(text, source_path=name,
                    settings_overrides={**SETTINGS, "warning_stream": told})
    return told.getvalue().strip()


def rst(subject, results):
    """The new documents, and what kernel-doc makes of new files, parse without a warning."""
    try:
        import docutils                 # pylint: disable=import-outside-toplevel
    except ImportError:
        results.add(None, "rst", "docutils is not installed")
        return
    for name in (n for n in subject.new if n.endswith(".rst")):
        found = complaints(name, (paths.TREE / name).read_text(encoding="utf-8"))
        results.add(not found, f"rst {name}", "", found)

    def judge(name, add):
        found = complaints(name, tool(["scripts/kernel-doc", "-rst", name])[1])
        add(not found, f"rst {name}", "", found)

    for name in subject.kernel_c_and_h:
        stamps.Unit("rst", subject.ids(name, "scripts/kernel-doc", "scripts/kernel-doc.py",
                                       "tools/docs", "tools/lib/python"),
                    docutils.__version__, stamps.version("python3"),
                    stamps.code("static.rst")).run(results.add,
                                                   lambda add, n=name: judge(n, add))
