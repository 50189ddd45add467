# SPDX-License-Identifier: GPL-2.0
"""Imports between the packages of the harness go one way."""

import ast
import re
import unittest

from ..common import paths

HERE = paths.ROOT / "harness"

#: Each package imports from those before it.
ORDER = ("common", "source", "build", "vm", "guest", "static", "scenario", "cli", "tests")

#: python3 -m harness and harness.NAME: each starts a module of a package.
ENTRIES = ("__main__", "demo.__main__", "shell.__main__", "bench.__main__")

CASES = "scenario.cases"


def imported(module, text, known):
    """Modules of the harness that a module imports, wherever in its text."""
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[:len(package) + 1 - node.level]
            whole = ".".join(base + (node.module.split(".") if node.module else []))
            for alias in node.names:
                part = f"{whole}.{alias.name}".lstrip(".")
                yield part if part in known else whole


def known_modules():
    """{name: path} of all modules, the name as below the folder of the harness."""
    found = {}
    for path in sorted(HERE.rglob("*.py")):
        parts = path.relative_to(HERE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def wrong(module, other):
    """Why a module must not import another; "" if it may."""
    package, to = module.split(".")[0], other.split(".")[0]
    if module in ENTRIES:
        return "" if to in ORDER and to != "tests" else "it only starts modules of packages"
    if to not in ORDER:
        return f"{to} is not a package that is imported"
    if ORDER.index(to) > ORDER.index(package):
        return f"{package} is before {to}"
    if package == to == "scenario" and other.startswith(CASES):
        if module.startswith(CASES):
            return "a case never imports a case: put what they share beside api.py"
        if other != CASES:
            return "no case is known by name"
    return ""


class Packages(unittest.TestCase):
    """The imports of all modules."""

    @classmethod
    def setUpClass(cls):
        known = known_modules()
        cls.edges = {name: sorted(set(imported(name, path.read_text(), known)))
                     for name, path in known.items()}

    def test_one_way(self):
        self.assertEqual([f"{name} imports {other}: {wrong(name, other)}"
                          for name, others in self.edges.items() for other in others
                          if wrong(name, other)], [])

    def test_no_circle(self):
        left = dict(self.edges)
        while True:                     # who imports nobody of the rest, or is not imported
            targets = {other for others in left.values() for other in others}
            ends = [name for name, others in left.items()
                    if name not in targets or not any(other in left for other in others)]
            if not ends:
                break
            for name in ends:
                del left[name]
        self.assertEqual(sorted(left), [], "these import each other")

    def test_every_module_is_in_a_package(self):
        self.assertEqual([name for name in self.edges if name and name not in ENTRIES and
                          name.split(".")[0] not in ORDER], [])

    def test_readme_has_the_order(self):
        text = (HERE / "README.md").read_text()
        self.assertEqual(tuple(re.findall(r"^\| `(\w+)` \|", text, re.M)), ORDER)

    def test_what_is_wrong(self):
        for module, other in (("common.run", "source.git"), ("vm.qemu", "guest.control"),
                              ("scenario.cases.pci", "scenario.cases.devices"),
                              ("scenario.api", "scenario.cases.pci"),
                              ("cli.check", "tests.fixture"), ("build.kernel", "check"),
                              ("demo.__main__", "tests.fixture")):
            self.assertTrue(wrong(module, other), (module, other))
        for module, other in (("scenario.cases.pci", "scenario.pci"), ("tests.x", "cli.check"),
                              ("scenario.runner", CASES), ("demo.__main__", "cli.demo")):
            self.assertFalse(wrong(module, other), (module, other))

    def test_imports_are_seen(self):
        known = ("a.b", "c", "c.d")
        for text, found in (("from .b import x", ["a.b"]), ("from . import b", ["a.b"]),
                            ("from ..c import d, e", ["c.d", "c"]), ("import os", []),
                            ("def f():\n    from ..c.d import e", ["c.d"])):
            self.assertEqual(list(imported("a.z", text, known)), found, text)
