# SPDX-License-Identifier: GPL-2.0
"""The KUnit suites of the series, and the module of each."""

import re

from ..common import paths
from ..guest.control import DEBUG
from ..source import series
from .ktap import parse

# The KUnit suites that are in modules, which scenarios of their own load.
MODULES = {"device_liveupdate": "liveupdate_kunit", "dma_liveupdate": "dma_liveupdate_kunit",
           "device_liveupdate_faults": "liveupdate_kunit",
           "dma_liveupdate_faults": "dma_liveupdate_kunit",
           "device-liveupdate-mutate": "liveupdate_mutate_kunit",
           "dma-liveupdate-mutate": "dma_liveupdate_mutate_kunit"}

# The tests of the time limit make the kernel show the stack of who is late.
LATE = (r"Call Trace:",)

_SUITE = re.compile(r"^static struct kunit_suite \w+ = \{$(.*?)^\};$", re.M | re.S)
_NAME = re.compile(r'\.name\s*=\s*"([^"]+)"')


def suites():
    """Names of all KUnit suites in the files that the series adds. The configuration asks
    for each of them, and a build that leaves an option out is an error."""
    folders = [path.name for path in paths.TREE.iterdir() if path.is_dir()]
    return sorted(_NAME.search(body)[1]
                  for name in series.overlay(paths.ROOT, folders) if name.endswith(".c")
                  for body in _SUITE.findall((paths.ROOT / name).read_text()))


def reports(guest):
    """(name, report) of every suite that ran in a guest. Not from the console, which loses
    lines when much is said at once."""
    listed = guest.run(f"ls {DEBUG}/kunit")
    for name in listed.out.split() if listed.ok else ():
        yield name, parse(guest.read(f"{DEBUG}/kunit/{name}/results"))
