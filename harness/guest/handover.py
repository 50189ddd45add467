# SPDX-License-Identifier: GPL-2.0
"""The handed-over table as it lies in guest memory, seen from outside.

Knows the layout of include/linux/kho/abi/{kexec_handover,subsystem,instance}.h, so
that a scenario can say which pages are handed over, or corrupt the table of subsystems
(see table.py) while the guest stands at the kexec.
"""

import dataclasses
import struct

from ..common.run import HarnessError
from .table import Table

FDT_MAGIC = 0xD00DFEED
FDT_BEGIN_NODE, FDT_END_NODE, FDT_PROP, FDT_NOP, FDT_END = 1, 2, 3, 4, 9

SUBTREE = "luo-subsystems"
LUO, FLBS = "LUO", struct.Struct("<8sQQQ")  # struct luo_ser; the last is flbs_pa
COMPATIBLE = "luo-subsystems-v1"
RECORD = struct.Struct("<48sIIQQ")          # struct luo_subsystem_ser
HAS_BLOB = 2                                # a flag of that

INSTANCES = {"optional": "luo-instances-opt", "mandatory": "luo-instances-mand"}
INSTANCES_COMPATIBLE = "luo-instances-v1"
INSTANCE = struct.Struct("<48sQIIQQ")       # struct luo_instance_ser


PAGE_SHIFT = 12
RADIX_LEVELS = 6                            # the tree of preserved pages: of tables, and
RADIX_TABLE, RADIX_BITMAP = 9, 15           # of bitmaps at the end, log2 of what they hold


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
    """One subsystem's entry of the table."""
    address: int
    name: str
    version: int
    flags: int
    value: int
    size: int


class Handover:
    """What a stopped guest hands over, found through KHO's root tree."""

    def __init__(self, ram, last=None, mine=None):
        """The running kernel keeps the tree that it was given; that of the `last` jump is
        another one. What earlier kernels of the machine left may still lie in free memory:
        `mine(handover)` tells which one it is then."""
        self._ram = ram
        pages = [page for page in ram.find_page(SUBTREE.encode(), self._is_root)
                 if (not last or page != last.root) and (not mine or self._reads(page, mine))]
        if len(pages) != 1:
            raise HarnessError(f"{len(pages)} KHO root trees with {SUBTREE} in memory")
        self._enter(pages[0])

    def _enter(self, root):
        tree = parse_fdt(self._ram.read(root, 4096))
        self.root = root
        self.table = Table(self._ram, struct.unpack("<Q", tree[SUBTREE]["preserved-data"])[0],
                           COMPATIBLE, RECORD)

    def _reads(self, root, mine):
        """Whether what a root tree leads to is there, and the right one."""
        try:
            self._enter(root)
            return mine(self)
        except (HarnessError, ValueError, struct.error, IndexError):
            return False

    @staticmethod
    def _is_root(page):
        try:
            tree = parse_fdt(page)
        except (HarnessError, ValueError, struct.error, IndexError):
            return False
        return tree.get("compatible", b"").startswith(b"kho-") and SUBTREE in tree

    def _keys(self, node, level, key):
        """Keys of the tree of preserved pages below a node."""
        data = self._ram.read(node, 1 << PAGE_SHIFT)
        if not level:
            bits = int.from_bytes(data, "little")
            while bits:
                lowest = bits & -bits
                yield key | lowest.bit_length() - 1
                bits ^= lowest
            return
        for index, (below,) in enumerate(struct.iter_unpack("<Q", data)):
            if below:
                yield from self._keys(below, level - 1, key | index <<
                                      RADIX_TABLE * (level - 1) + RADIX_BITMAP)

    def _tree(self):
        return parse_fdt(self._ram.read(self.root, 1 << PAGE_SHIFT))

    def preserved(self):
        """Numbers of all pages that are preserved, whoever did it."""
        root = struct.unpack("<Q", self._tree()["preserved-memory-map"])[0]
        pages = set()
        for key in self._keys(root, RADIX_LEVELS - 1, 0):
            # A one stands before the number of the page, which counts pages of its order.
            order = 64 - PAGE_SHIFT - (key.bit_length() - 1)
            first = (key ^ 1 << key.bit_length() - 1) << order
            pages.update(range(first, first + (1 << order)))
        return pages

    def records(self):
        """The table."""
        return [Record(at, name.split(b"\0")[0].decode(), *rest)
                for at, (name, *rest) in self.table.entries()]

    def record(self, name):
        """The record of one subsystem."""
        for record in self.records():
            if record.name == name:
                return record
        raise HarnessError(f"no record of {name} in the handed-over table")

    def instances(self, kind):
        """The table of the instances of a class, optional or mandatory."""
        head = self._tree()[INSTANCES[kind]]["preserved-data"]
        return Table(self._ram, struct.unpack("<Q", head)[0], INSTANCES_COMPATIBLE, INSTANCE)

    def owners(self):
        """Number of a page -> what is there: data of a subsystem, by its name, their
        their table, and the tree itself with what else it leads to."""
        found = {self.root >> PAGE_SHIFT: "KHO"}
        for name, node in self._tree().items():
            if isinstance(node, dict):
                at = struct.unpack("<Q", node["preserved-data"])[0]
                found[at >> PAGE_SHIFT] = name
                if name == LUO:
                    flbs = FLBS.unpack(self._ram.read(at, FLBS.size))[3]
                    found[flbs >> PAGE_SHIFT] = "FLBs"
        for block, _, _ in self.table.blocks():
            found[block >> PAGE_SHIFT] = "table"
        for record in self.records():
            if record.flags & HAS_BLOB and record.size:
                first, last = record.value, record.value + record.size - 1
                found.update(dict.fromkeys(
                    range(first >> PAGE_SHIFT, (last >> PAGE_SHIFT) + 1), record.name))
        return found

    def flip(self, address, mask=0x10):
        """Flips bits of one byte."""
        self._ram.write(address, bytes([self._ram.read(address, 1)[0] ^ mask]))

    def write_u64(self, address, value):
        """Overwrites a 64-bit field."""
        self._ram.write(address, struct.pack("<Q", value))
