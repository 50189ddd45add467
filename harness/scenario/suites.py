# SPDX-License-Identifier: GPL-2.0
"""The KUnit suites of the series, and the module of each."""

import re

from ..common import paths
from ..guest.control import DEBUG
from ..source import series
from .ktap import parse

# The modules with KUnit suites, which scenarios of their own load, by what the names of
# their files begin with.
MODULES = {"drivers/base/test/liveupdate_kunit": "liveupdate_kunit",
           "drivers/base/test/liveupdate_mutate_kunit": "liveupdate_mutate_kunit",
           "kernel/dma/liveupdate_kunit": "dma_liveupdate_kunit",
           "kernel/dma/liveupdate_mutate_kunit": "dma_liveupdate_mutate_kunit"}

# The tests of the time limit make the kernel show the stack of who is late.
LATE = (r"Call Trace:",)

_SUITE = re.compile(r"^static struct kunit_suite \w+ = \{$(.*?)^\};$", re.M | re.S)
_NAME = re.compile(r'\.name\s*=\s*"([^"]+)"')


def _module(name):
    """The module that a file is part of; None if it is built in."""
    return next((module for start, module in MODULES.items() if name.startswith(start)), None)


def suites():
    """The KUnit suites in the files that the series adds, in order of name, and the module
    of each or None. The configuration asks for each of them, and a build that leaves an
    option out is an error."""
    folders = [path.name for path in paths.TREE.iterdir() if path.is_dir()]
    return dict(sorted((_NAME.search(body)[1], _module(name))
                       for name in series.overlay(paths.ROOT, folders) if name.endswith(".c")
                       for body in _SUITE.findall((paths.ROOT / name).read_text())))


def suites_of(module):
    """The suites of a module, without those in which allocations fail."""
    return [name for name, of in suites().items()
            if of == module and not name.endswith("faults")]


def reports(guest):
    """(name, report) of every suite that ran in a guest. Not from the console, which loses
    lines when much is said at once."""
    listed = guest.run(f"ls {DEBUG}/kunit")
    for name in listed.out.split() if listed.ok else ():
        yield name, parse(guest.read(f"{DEBUG}/kunit/{name}/results"))
