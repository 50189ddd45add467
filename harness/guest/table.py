# SPDX-License-Identifier: GPL-2.0
"""A table of records as it lies in guest memory, seen from outside.

Knows the layout of include/linux/kho/abi/{block,table}.h, so that a scenario can
corrupt one field of it while the guest stands at the kexec, with the checksums as they
were, or corrected as a kernel with a bug would have computed them.
"""

import struct

from ..common.run import HarnessError
from .xxh64 import xxh64

PAGE = 4096
HEAD = struct.Struct("<32sIIIIIIQ")     # struct kho_table_ser, up to its blocks
REFERENCE = struct.Struct("<QQ")        # struct kho_table_block_ser
BLOCK = struct.Struct("<QQ")            # struct kho_block_header_ser
ENTRY = struct.Struct("<II")            # struct kho_table_entry_ser

# Offsets in the head.
COMPATIBLE, VERSION, FLAGS, RECORD_SIZE, NR_RECORDS, NR_BLOCKS, RESERVED, CHECKSUM = (
    0, 32, 36, 40, 44, 48, 52, 56)
MAX_BLOCKS = (PAGE - HEAD.size) // REFERENCE.size


def per_block(layout):
    """Records of a layout that one block holds."""
    return (PAGE - BLOCK.size) // (ENTRY.size + layout.size)


class Table:
    """One table; `layout` is that of its records."""

    def __init__(self, ram, address, compatible, layout):
        self._ram = ram
        self.address = address
        self.layout = layout
        head = HEAD.unpack(ram.read(address, HEAD.size))
        self.count, self.nr_blocks = head[4], head[5]
        if head[0].rstrip(b"\0") != compatible.encode() or self.nr_blocks > MAX_BLOCKS:
            raise HarnessError(f"no table of {compatible} at {address:#x}")
        self._pages = [self._reference(index)[0] for index in range(self.nr_blocks)]

    def _reference(self, index):
        return REFERENCE.unpack(self._ram.read(
            self.address + HEAD.size + index * REFERENCE.size, REFERENCE.size))

    @property
    def size(self):
        """Bytes of the head with the list of blocks."""
        return HEAD.size + self.nr_blocks * REFERENCE.size

    @property
    def _per_block(self):
        return per_block(self.layout)

    def _block_size(self, count):
        return BLOCK.size + count * (ENTRY.size + self.layout.size)

    def blocks(self):
        """(address, bytes in use, number of records) of each block, as it was at first."""
        left = self.count
        for page in self._pages:
            count = min(left, self._per_block)
            yield page, self._block_size(count), count
            left -= count

    def entries(self):
        """(address, fields) of each record."""
        for page, _, count in self.blocks():
            for index in range(count):
                at = page + self._block_size(index) + ENTRY.size
                yield at, self.layout.unpack(self._ram.read(at, self.layout.size))

    def seal(self):
        """Makes the checksums right for what is there now."""
        left, nr_blocks = struct.unpack("<II", self._ram.read(self.address + NR_RECORDS, 8))
        nr_blocks = min(nr_blocks, MAX_BLOCKS)
        for index in range(nr_blocks):
            count = min(left, self._per_block)
            left -= count
            page = self._reference(index)[0]
            # Where else it may lead to, there is nothing to vouch for.
            if page in self._pages:
                found = xxh64(self._ram.read(page, self._block_size(count))) if count else 0
                self._ram.write(self.address + HEAD.size + index * REFERENCE.size + 8,
                                struct.pack("<Q", found))
        seed = xxh64(self._ram.read(self.address, CHECKSUM))
        listed = self._ram.read(self.address + HEAD.size, nr_blocks * REFERENCE.size)
        self._ram.write(self.address + CHECKSUM, struct.pack("<Q", xxh64(listed, seed)))

    def intact(self):
        """Without corruption there is nothing to correct: the checksums are understood."""
        before = self._ram.read(self.address, self.size)
        self.seal()
        return before == self._ram.read(self.address, self.size)
