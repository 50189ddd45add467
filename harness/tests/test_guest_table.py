# SPDX-License-Identifier: GPL-2.0
"""Tests of what the host knows of handed-over tables."""

import struct
import unittest

from ..common.run import HarnessError
from ..guest.table import (BLOCK, CHECKSUM, ENTRY, HEAD, NR_BLOCKS, NR_RECORDS, PAGE,
                           REFERENCE, Table)
from ..guest.xxh64 import xxh64

LAYOUT = struct.Struct("<1312s")        # three to a block
AT, FIRST, SECOND = 0x1000, 0x3000, 0x2000


class Xxh64(unittest.TestCase):
    """The checksum, with values that others have published."""

    def test_short(self):
        self.assertEqual(xxh64(b""), 0xEF46DB3751D8E999)
        self.assertEqual(xxh64(b"a"), 0xD24EC4F1A98C6E5B)
        self.assertEqual(xxh64(b"abc"), 0x44BC2CF5AD770999)

    def test_seed(self):
        self.assertEqual(xxh64(b"", 1), 0xD5AFBA1336A3BE4B)
        self.assertNotEqual(xxh64(bytes(100), 1), xxh64(bytes(100)))


class Ram:
    """Memory of a guest: four pages."""

    def __init__(self):
        self.bytes = bytearray(4 * PAGE)

    def read(self, address, size):
        """As the memory of a guest does it."""
        return bytes(self.bytes[address:address + size])

    def write(self, address, data):
        """The same."""
        self.bytes[address:address + len(data)] = data


class Tables(unittest.TestCase):
    """A table of four records in two blocks."""

    def setUp(self):
        self.ram = Ram()
        self.ram.write(AT, HEAD.pack(b"name", 1, 1, LAYOUT.size, 4, 2, 0, 0))
        self.ram.write(AT + HEAD.size, REFERENCE.pack(FIRST, 0) + REFERENCE.pack(SECOND, 0))
        for block, numbers in ((FIRST, b"abc"), (SECOND, b"d")):
            self.ram.write(block, BLOCK.pack(0, len(numbers)) + b"".join(
                ENTRY.pack(0, 0) + bytes([number]) * LAYOUT.size for number in numbers))
        self.table = Table(self.ram, AT, "name", LAYOUT)

    def test_entries(self):
        self.assertEqual([(at, fields[0][:1]) for at, fields in self.table.entries()],
                         [(FIRST + 24, b"a"), (FIRST + 24 + 1320, b"b"),
                          (FIRST + 24 + 2640, b"c"), (SECOND + 24, b"d")])
        self.assertEqual(list(self.table.blocks()),
                         [(FIRST, 16 + 3 * 1320, 3), (SECOND, 16 + 1320, 1)])

    def test_seal(self):
        self.assertFalse(self.table.intact())
        self.assertTrue(self.table.intact())
        self.ram.write(SECOND + 1000, b"x")
        self.assertFalse(self.table.intact())
        self.assertTrue(self.table.intact())
        head = self.ram.read(AT, CHECKSUM)
        self.assertEqual(self.ram.read(AT + CHECKSUM, 8), struct.pack("<Q", xxh64(
            self.ram.read(AT + HEAD.size, 32), xxh64(head))))

    def test_seal_of_nonsense(self):
        """It does not go astray, whatever the table says."""
        self.ram.write(AT + NR_RECORDS, b"\xff" * 8)
        self.ram.write(AT + HEAD.size, b"\xff" * 8)
        self.table.seal()
        self.assertEqual(self.table.count, 4)

    def test_something_else(self):
        with self.assertRaises(HarnessError):
            Table(self.ram, AT, "nam", LAYOUT)
        self.ram.write(AT + NR_BLOCKS, b"\xff\xff")
        with self.assertRaises(HarnessError):
            Table(self.ram, AT, "name", LAYOUT)


if __name__ == "__main__":
    unittest.main()
