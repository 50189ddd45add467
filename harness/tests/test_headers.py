# SPDX-License-Identifier: GPL-2.0
"""What the headers for drivers pull in."""

import re
import unittest

from ..common import paths

INCLUDE = re.compile(r"^#include <(linux/\S+)>$", re.MULTILINE)


def pulled(name, found=None):
    """All headers that one of the checkout includes, through others of the checkout."""
    found = set() if found is None else found
    path = paths.ROOT / "include" / name
    if name not in found:
        found.add(name)
        if path.is_file():
            for other in INCLUDE.findall(path.read_text(encoding="utf-8")):
                pulled(other, found)
    return found


class Headers(unittest.TestCase):
    """A driver that takes part is no subsystem."""

    def test_driver(self):
        headers = pulled("linux/liveupdate/device.h")
        self.assertIn("linux/liveupdate/data.h", headers)
        for unwanted in ("linux/elf.h", "linux/liveupdate/subsystem.h",
                         "linux/liveupdate/device_record.h"):
            self.assertNotIn(unwanted, headers)
            self.assertIn(unwanted, pulled("linux/liveupdate/device_record.h") |
                          pulled("linux/liveupdate/subsystem.h"))


if __name__ == "__main__":
    unittest.main()
