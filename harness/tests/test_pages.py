# SPDX-License-Identifier: GPL-2.0
"""Pages: which are handed over, and which nobody owns."""

import struct
import types
import unittest

from ..guest import handover as guest_handover
from ..guest import pages as guest_pages
from ..guest.control import GuestFailure, Result


class Memory(dict):
    """Guest memory in which only some pages are written."""

    def read(self, address, size):
        """Bytes of one page."""
        page = self.get(address >> 12, bytes(4096))
        return page[address & 0xFFF:(address & 0xFFF) + size]

    def pages_with(self, word):
        """Pages that begin so."""
        return sum(page.startswith(word) for page in self.values())


class Preserved(unittest.TestCase):
    """The tree of preserved pages, as kho_encode_radix_key() makes its keys."""

    ROOT, FDT = 0x50, 0x40

    def setUp(self):
        self.memory = Memory()
        self.next = self.ROOT
        self.root = self.node()

    def node(self):
        """A page of the tree."""
        self.next += 1
        self.memory[self.next] = bytes(4096)
        return self.next

    def preserve(self, address, order):
        """Puts a page into the tree."""
        shift = 12 + order
        key = 1 << 64 - shift | address >> shift
        at = self.root
        for level in range(5, 0, -1):
            index = key >> 9 * (level - 1) + 15 & 511
            page = bytearray(self.memory[at])
            below = struct.unpack_from("<Q", page, index * 8)[0]
            if not below:
                below = self.node() << 12
                struct.pack_into("<Q", page, index * 8, below)
                self.memory[at] = bytes(page)
            at = below >> 12
        page = bytearray(self.memory[at])
        bit = key % (1 << 15)
        page[bit // 8] |= 1 << bit % 8
        self.memory[at] = bytes(page)

    def pages(self):
        """What the host finds."""
        fdt = tree_with_map(self.root << 12)
        self.memory[self.FDT] = fdt + bytes(4096 - len(fdt))
        handover = guest_handover.Handover.__new__(guest_handover.Handover)
        handover._ram, handover.root = self.memory, self.FDT << 12
        return handover.preserved()

    def test_nothing(self):
        self.assertEqual(self.pages(), set())

    def test_orders(self):
        self.preserve(0x12345000, 0)
        self.preserve(0x12346000, 0)
        self.preserve(0x40000000, 9)
        self.preserve(0x1000000000, 3)
        self.assertEqual(self.pages(), {0x12345, 0x12346, *range(0x40000, 0x40200),
                                        *range(0x1000000, 0x1000008)})


def tree_with_map(address):
    """KHO's root tree, without nodes."""
    name = b"preserved-memory-map\0"
    body = (struct.pack(">I", 1) + bytes(4) + struct.pack(">III", 3, 8, 0) +
            struct.pack("<Q", address) + struct.pack(">II", 2, 9))
    return struct.pack(">10I", guest_handover.FDT_MAGIC, 40 + len(body) + len(name), 40,
                       40 + len(body), 40, 17, 16, 0, len(name), len(body)) + body + name


class Unowned(unittest.TestCase):
    """What guestctl says of pages."""

    @staticmethod
    def guest(status, text):
        """A guest that says this."""
        return types.SimpleNamespace(run=lambda command, _: Result(command, status,
                                                                   text.encode()))

    def test_pages(self):
        found = guest_pages.unowned(self.guest(0, "reserved 0 2\nallocated 1f 20\n"))
        self.assertEqual(found, {"reserved": {0, 1}, "allocated": {0x1F}})

    def test_refused(self):
        with self.assertRaises(GuestFailure):
            guest_pages.unowned(self.guest(1, "EBUSY 16 busy"))

    def test_runs(self):
        self.assertEqual(guest_pages.runs({1, 2, 3, 0x20}), ["0x1-0x3", "0x20"])
        self.assertEqual(guest_pages.runs(()), [])


class Kept(unittest.TestCase):
    """A byte that changed is named."""

    def test_lost(self):
        memory = Memory({5: b"secret" + bytes(4090), 6: bytes(4096)})
        kept = guest_pages.Kept(memory).add("a", 0x5000, 6).add("b", 0x6000, 16)
        self.assertEqual(kept.lost(), [])
        memory[6] = guest_pages.PATTERN * 512
        self.assertEqual(kept.lost(), ["b"])


if __name__ == "__main__":
    unittest.main()
