# SPDX-License-Identifier: GPL-2.0
"""What the harness makes of allocations that fail, without a guest."""

import types
import unittest

from ..common.run import HarnessError
from ..guest.control import GuestFailure
from ..guest.faults import ATTR, Faults, starve

LINES = ("1\thit\tENOMEM\tnormal\tidle", "2\thit\tok\tprepared\tidle",
         "3\tmissed\tok\tprepared\tidle")
ALLOCINFO = """\
        4096        1 kernel/liveupdate/kexec_handover.c:1580 func:kho_alloc_preserve
        8192        2 ../tree/kernel/liveupdate/kexec_handover.c:185 func:kho_radix_alloc_node
          24        1 samples/liveupdate/liveupdate_edu.c:469 [liveupdate_edu] func:edu_probe
"""
MAX = (1 << 64) - 1


class Guest:
    """Answers commands with what it was given."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.commands = []

    def do(self, command, _timeout=None):
        """The next answer."""
        self.commands.append(command)
        return self.answers.pop(0)

    def run(self, command, _timeout=None):
        """The same as a result that failed."""
        return types.SimpleNamespace(out=self.do(command), error="ENOMEM")

    def write(self, path, text):
        """A file that is there."""
        self.commands.append(f"{path}={text}")
        return ""


class Gdb:
    """Memory of a kernel that nobody runs."""

    def __init__(self, start, memory):
        self._start, self.memory = start, bytearray(memory)

    def read(self, address, size):
        """Reads."""
        return bytes(self.memory[address - self._start:][:size])

    def write(self, address, data):
        """Writes."""
        at = address - self._start
        self.memory[at:at + len(data)] = data


def run_of_nothing():
    """A run that knows no guest, and complains by an exception."""
    def equal(what, got, want):
        if got != want:
            raise AssertionError(f"{what}: {got!r}, not {want!r}")
    return types.SimpleNamespace(equal=equal, step=lambda text: None)


class Attempts(unittest.TestCase):
    """What guestctl prints."""

    def test_each(self):
        """Every line is an attempt, the last one is that without a fault."""
        guest = Guest("\n".join(LINES))
        attempts = Faults(run_of_nothing(), guest).each("/f", "1", "/a b", undo=("/f", "0"))
        self.assertEqual([(a.nth, a.hit, a.error) for a in attempts],
                         [(1, True, "ENOMEM"), (2, True, ""), (3, False, "")])
        self.assertEqual(attempts[0].seen, ("normal", "idle"))
        self.assertEqual(guest.commands, ["guestctl fail-each /f 1 /f 0 '/a b'"])

    def test_no_end(self):
        """A list that stops too early, or has a hole, is no result."""
        for lines in (LINES[:2], LINES[1:], (LINES[0], LINES[2])):
            with self.assertRaises(GuestFailure):
                Faults(run_of_nothing(), Guest("\n".join(lines))).each("/f", "1")

    def test_fail(self):
        """The last line says whether there was such an allocation."""
        attempt = Faults(run_of_nothing(), Guest("ENOMEM 12 x\nhit")).fail(7, "reboot kexec")
        self.assertEqual((attempt.nth, attempt.hit, attempt.error), (7, True, "ENOMEM"))
        self.assertEqual(attempt.seen, ("ENOMEM 12 x",))
        for text in ("", "ENOMEM 12 x", "fail-nth: Permission denied"):
            with self.assertRaises(GuestFailure):
                Faults(run_of_nothing(), Guest(text)).fail(7, "reboot kexec")


class Functions(unittest.TestCase):
    """The ranges of addresses that the kernel is told."""

    def test_only(self):
        """From the function to what follows it; later to everything again."""
        guest = Guest("ffffffff81000000 t f\nffffffff81000040 T g")
        faults = Faults(run_of_nothing(), guest)
        faults.only("f")
        faults.only(None)
        told = [command for command in guest.commands if "failslab" in command]
        self.assertEqual([command.rsplit("/", 1)[1] for command in told],
                         ["require-start=0xffffffff81000000",
                          "require-end=0xffffffff81000040",
                          "require-start=0x0", f"require-end={MAX:#x}"])

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
            Faults(run_of_nothing(), Guest("")).never("f")


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


class Starve(unittest.TestCase):
    """A kernel that is told before it has debugfs."""

    head = ATTR.pack(0, 1, 1, 0, 2, 0, 32, 0, MAX, 0, 0)
    bounds = {"failslab": (0x1000, 0x1000 + ATTR.size + 24), "f": (0x5000, 0x5040)}

    def _starve(self, memory):
        gdb = Gdb(0x1000, memory)
        starve(gdb, types.SimpleNamespace(bounds=self.bounds.__getitem__), "f")
        return gdb.memory

    def test_starve(self):
        """All allocations for f fail, also those that may wait."""
        memory = self._starve(self.head + bytes(16) + b"\1" + bytes(7))
        self.assertEqual(ATTR.unpack_from(memory),
                         (100, 1, -1, 0, 1, 0, 32, 0x5000, 0x5040, 0, 0))
        self.assertEqual(memory[-8:], bytes(8))

    def test_other_layout(self):
        """Whatever is not as it is known is left alone."""
        for memory in (self.head + bytes(24), bytes(ATTR.size) + bytes(16) + b"\1" + bytes(7)):
            with self.assertRaises(HarnessError):
                self._starve(memory)


if __name__ == "__main__":
    unittest.main()
