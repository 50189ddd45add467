# SPDX-License-Identifier: GPL-2.0
"""What the harness makes of allocations that fail, without a guest."""

import types
import unittest

from ..guest_control import GuestFailure
from ..guest_faults import Faults

ALLOCINFO = """\
        4096        1 kernel/liveupdate/kexec_handover.c:1580 func:kho_alloc_preserve
        8192        2 ../tree/kernel/liveupdate/kexec_handover.c:185 func:kho_radix_alloc_node
          24        1 samples/liveupdate/liveupdate_edu.c:469 [liveupdate_edu] func:edu_probe
"""


class Guest:
    """Answers commands with what it was given."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.commands = []

    def do(self, command, _timeout=None):
        """The next answer."""
        self.commands.append(command)
        return self.answers.pop(0)

    def write(self, path, text):
        """A file that is there."""
        self.commands.append(f"{path}={text}")
        return ""


def run_of_nothing():
    """A run that knows no guest, and complains by an exception."""
    def equal(what, got, want):
        if got != want:
            raise AssertionError(f"{what}: {got!r}, not {want!r}")
    return types.SimpleNamespace(equal=equal, step=lambda text: None)


class Functions(unittest.TestCase):
    """The ranges of addresses that the kernel is told."""

    def test_aside(self):
        """Slabs of the allocators do not count, whichever kind of fault looks at them."""
        guest = Guest("ffffffff81000000 t f\nffffffff81000040 T g",
                      "ffffffff81000080 t h\nffffffff810000c0 T i")
        Faults(run_of_nothing(), guest).enable()
        told = [command.rsplit("/", 2)[1:] for command in guest.commands if "reject" in command]
        self.assertEqual(told, [["failslab", "reject-start=0xffffffff81000000"],
                                ["failslab", "reject-end=0xffffffff81000040"],
                                ["fail_page_alloc", "reject-start=0xffffffff81000080"],
                                ["fail_page_alloc", "reject-end=0xffffffff810000c0"]])
        asked = [command for command in guest.commands if "kallsyms" in command]
        self.assertEqual(["alloc_slab_obj_exts" in asked[0], "allocate_slab" in asked[1]],
                         [True, True])

    def test_unknown(self):
        """A function that was put into another one cannot be told."""
        with self.assertRaises(GuestFailure):
            Faults(run_of_nothing(), Guest("")).enable()


class Memory(unittest.TestCase):
    """/proc/allocinfo"""

    def test_memory(self):
        """What KHO keeps for itself does not count."""
        faults = Faults(run_of_nothing(), Guest(ALLOCINFO, ALLOCINFO, ALLOCINFO.replace(
            "4096        1", "8192        2")))
        before = faults.memory()
        self.assertEqual(sorted(before.values()), [(24, 1), (4096, 1)])
        faults.check_memory("nothing", before)
        with self.assertRaisesRegex(AssertionError, r"\(4096, 1\) -> \(8192, 2\)"):
            faults.check_memory("a leak", before)

    def test_but(self):
        """What a suite hands over to itself does not count, if it is told so."""
        faults = Faults(run_of_nothing(), Guest(ALLOCINFO, *[ALLOCINFO.replace(
            "4096        1", "8192        2")] * 2))
        before = faults.memory()
        faults.check_memory("a suite", before, but="kho_alloc_preserve")
        with self.assertRaises(AssertionError):
            faults.check_memory("a suite", before, but="edu_probe")

    def test_nothing(self):
        """A kernel that does not count is no kernel without leaks."""
        with self.assertRaises(GuestFailure):
            Faults(run_of_nothing(), Guest("")).memory()


if __name__ == "__main__":
    unittest.main()
