# SPDX-License-Identifier: GPL-2.0
"""The KUnit suites of the series, and the module of each."""

import re

from ..common import paths
from ..source import series

# The KUnit suites that are in modules, which scenarios of their own load.
MODULES = {"device_liveupdate": "liveupdate_kunit", "dma_liveupdate": "dma_liveupdate_kunit",
           "device_liveupdate_faults": "liveupdate_kunit",
           "dma_liveupdate_faults": "dma_liveupdate_kunit",
           "device-liveupdate-mutate": "liveupdate_mutate_kunit",
           "dma-liveupdate-mutate": "dma_liveupdate_mutate_kunit"}

_SUITE = re.compile(r"^static struct kunit_suite \w+ = \{$(.*?)^\};$", re.M | re.S)
_NAME = re.compile(r'\.name\s*=\s*"([^"]+)"')


def suites():
    """Names of all KUnit suites in the files that the series adds. The configuration asks
    for each of them, and a build that leaves an option out is an error."""
    folders = [path.name for path in paths.TREE.iterdir() if path.is_dir()]
    return sorted(_NAME.search(body)[1]
                  for name in series.overlay(paths.ROOT, folders) if name.endswith(".c")
                  for body in _SUITE.findall((paths.ROOT / name).read_text()))
