# SPDX-License-Identifier: GPL-2.0
"""The handed-over table as it lies in guest memory, seen from outside.

Knows the layout of include/linux/kho/abi/{kexec_handover,block,subsystem}.h, so
that a scenario can damage one field of it while the guest stands at the jump.
"""

import dataclasses
import struct
import zlib

from .run import HarnessError

FDT_MAGIC = 0xD00DFEED
FDT_BEGIN_NODE, FDT_END_NODE, FDT_PROP, FDT_NOP, FDT_END = 1, 2, 3, 4, 9

SUBTREE = "luo-subsystems"
HEADER = struct.Struct("<24sIIQII")         # struct luo_subsystems_ser
BLOCK = struct.Struct("<QQ")                # struct kho_block_header_ser
RECORD = struct.Struct("<48sIIQQ")          # struct luo_subsystem_ser


def parse_fdt(data):
    """A flattened device tree as nested dictionaries; properties are bytes."""
    if len(data) < 40:
        raise HarnessError("not a device tree: too short")
    magic, total, struct_at, strings_at = struct.unpack_from(">IIII", data)
    if magic != FDT_MAGIC or total > len(data):
        raise HarnessError(f"not a device tree: magic {magic:#x}, size {total}")

    def text(at):
        return data[at:data.index(b"\0", at)].decode("ascii", "replace")

    root, stack, at = {}, [], struct_at
    while at + 4 <= total:
        token = struct.unpack_from(">I", data, at)[0]
        at += 4
        if token == FDT_BEGIN_NODE:
            name = text(at)
            at += (len(name) + 4) & ~3
            node = {} if stack else root
            if stack:
                stack[-1][name] = node
            stack.append(node)
        elif token == FDT_PROP:
            size, name_at = struct.unpack_from(">II", data, at)
            at += 8
            stack[-1][text(strings_at + name_at)] = data[at:at + size]
            at += (size + 3) & ~3
        elif token == FDT_END_NODE:
            stack.pop()
        elif token == FDT_END:
            return root
        elif token != FDT_NOP:
            break
    raise HarnessError("not a device tree: bad token")


@dataclasses.dataclass
class Record:
    """One participant's entry of the table."""
    address: int
    name: str
    version: int
    flags: int
    value: int
    size: int


def walk_blocks(ram, address):
    """(address, number of records) of each block of a chain."""
    while address:
        following, count = BLOCK.unpack(ram.read(address, BLOCK.size))
        yield address, count
        address = following


def walk_records(ram, address, layout):
    """(address, fields) of each record of a chain of blocks."""
    for block, count in walk_blocks(ram, address):
        for i in range(count):
            at = block + BLOCK.size + i * layout.size
            yield at, layout.unpack(ram.read(at, layout.size))


class Handover:
    """Header and table of a stopped guest, found through KHO's root tree."""

    def __init__(self, ram):
        self._ram = ram
        pages = ram.find_page(SUBTREE.encode(), self._is_root)
        if len(pages) != 1:
            raise HarnessError(f"{len(pages)} KHO root trees with {SUBTREE} in memory")
        tree = parse_fdt(ram.read(pages[0], 4096))
        self.root = pages[0]
        self.header = struct.unpack("<Q", tree[SUBTREE]["preserved-data"])[0]
        if not self.read_header()[0].startswith(SUBTREE.encode()):
            raise HarnessError(f"no header at {self.header:#x}")

    @staticmethod
    def _is_root(page):
        try:
            tree = parse_fdt(page)
        except (HarnessError, ValueError, struct.error, IndexError):
            return False
        return tree.get("compatible", b"").startswith(b"kho-") and SUBTREE in tree

    def read_header(self):
        """compatible, state, count, records, table_crc, header_crc."""
        return HEADER.unpack(self._ram.read(self.header, HEADER.size))

    def records(self):
        """The table."""
        return [Record(at, name.split(b"\0")[0].decode(), *rest) for at, (name, *rest) in
                walk_records(self._ram, self.read_header()[3], RECORD)]

    def record(self, name):
        """The record of one participant."""
        for record in self.records():
            if record.name == name:
                return record
        raise HarnessError(f"no record of {name} in the handed-over table")

    def table_crc(self):
        """CRC-32 of the table as it is now."""
        crc = 0
        for block, count in walk_blocks(self._ram, self.read_header()[3]):
            crc = zlib.crc32(self._ram.read(block, BLOCK.size + count * RECORD.size), crc)
        return crc

    def header_crc(self):
        """CRC-32 of the header as it is now."""
        return zlib.crc32(self._ram.read(self.header, HEADER.size - 4))

    def flip(self, address, mask=0x10):
        """Flips bits of one byte."""
        self._ram.write(address, bytes([self._ram.read(address, 1)[0] ^ mask]))

    def write_u64(self, address, value):
        """Overwrites a 64-bit field."""
        self._ram.write(address, struct.pack("<Q", value))

    def repair_header_crc(self):
        """Makes the header's checksum right for what it holds now."""
        self._ram.write(self.header + HEADER.size - 4, struct.pack("<I", self.header_crc()))

    def repair_table_crc(self):
        """The same for the table, and then the header."""
        self._ram.write(self.header + HEADER.size - 8, struct.pack("<I", self.table_crc()))
        self.repair_header_crc()
