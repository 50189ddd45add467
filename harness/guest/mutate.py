# SPDX-License-Identifier: GPL-2.0
"""Corruption to handed-over tables at places that nobody chose.

An Image finds all tables of the series in the memory of a guest that stands between
two kernels: subsystems, devices, DMA buffers, the timeline and the log of the
shutdown, as include/linux/kho/abi/ describes them. It does the same kinds of corruption as
kernel/liveupdate/tests/luo_mutate.c does inside KUnit, and can correct every checksum after it.
"""

import random
import struct
import zlib

from . import devices as guest_devices
from .handover import Handover
from .table import ENTRY, HEAD, REFERENCE, Table

DMA = struct.Struct("<QQIIII")                  # struct dma_liveupdate_ser
TIMELINE = struct.Struct("<24sIIIIIIII")        # struct luo_timeline_ser
MOMENT = struct.Struct("<QQIHBBiI48s")          # struct liveupdate_timeline_record
LOG = struct.Struct("<24sIIII")                 # struct luo_shutdown_log_ser

# Offset and size of the numbers in each of them.
HEAD_FIELDS = ((4, 1), (32, 4), (36, 4), (40, 4), (44, 4), (48, 4), (52, 4))
ENTRY_FIELDS = ((0, 4), (4, 4))
BLOCK_FIELDS = ((0, 8), (8, 8))
RECORD_FIELDS = ((5, 1), (48, 4), (52, 4), (56, 8), (64, 8))
DEVICE_FIELDS = tuple((guest_devices.AT[name] + offset, size) for name, offset, size in (
    ("bus", 2, 1), ("id", 4, 1), ("fingerprint", 2, 1), ("parent", 0, 4), ("flags", 0, 4),
    ("compatible", 4, 1), ("version", 0, 4), ("nr_providers", 0, 4), ("value", 0, 8),
    ("size", 0, 8), ("more", 0, 4), ("provider_bytes", 0, 4)))
DMA_FIELDS = ((0, 8), (8, 8), (16, 4), (20, 4), (24, 4), (28, 4))
TIMELINE_FIELDS = ((24, 4), (28, 4), (32, 4), (36, 4), (40, 4), (44, 4))
MOMENT_FIELDS = ((0, 8), (8, 8), (16, 4), (20, 2), (22, 1), (23, 1), (24, 4))
LOG_FIELDS = ((24, 4), (28, 4), (32, 4))

# Memory of nobody, and no memory.
FREE, NOWHERE = 0x1000000, 0x7FFF_FFFF_F000
BITS64 = (1 << 64) - 1


class Image:
    """The tables of a stopped guest."""

    def __init__(self, ram, seed, sent):
        """`sent` is the text that the subsystem test-workload hands over this time."""
        self._ram = ram
        self._dice = random.Random(seed)
        self.areas = []                 # (what, address, size)
        self.fields = []                # (what, address, size)
        self.done = []                  # what was done, as text
        self._handover = Handover(ram, mine=lambda handover: self._is_of(handover, sent))
        self._tables = []
        self._table("subsystems", self._handover.table, RECORD_FIELDS)
        if self._handover.record("devices").size:
            self._table("devices", guest_devices.Table(ram, self._handover), DEVICE_FIELDS)
        if self._handover.record("dma").size:
            self._table("dma", Table(ram, self._handover.record("dma").value, "luo-dma-v1",
                                     DMA), DMA_FIELDS)
        self._moments = self._timeline()
        self._log = self._shutdown_log()

    def _is_of(self, handover, sent):
        record = handover.record("test-workload")
        return self._ram.read(record.value, record.size) == sent.encode() + b"\0"

    # -- what is there --------------------------------------------------------

    def _area(self, what, address, size, fields=()):
        self.areas.append((what, address, size))
        self._point_out(what, address, fields)

    def _point_out(self, what, address, fields):
        self.fields += [(f"{what}+{offset}", address + offset, size)
                        for offset, size in fields]

    def _table(self, what, table, fields):
        self._tables.append(table)
        self._area(f"head of {what}", table.address, table.size, HEAD_FIELDS)
        self._point_out(f"head of {what}", table.address, [
            (HEAD.size + index * REFERENCE.size, 8) for index in range(table.nr_blocks)])
        for address, size, _ in table.blocks():
            self._area(f"block of {what}", address, size, BLOCK_FIELDS)
        for index, (address, _) in enumerate(table.entries()):
            self._point_out(f"entry of {what}[{index}]", address - ENTRY.size, ENTRY_FIELDS)
            self._point_out(f"{what}[{index}]", address, fields)

    def _timeline(self):
        owner = self._handover.record("timeline")
        slots = TIMELINE.unpack(self._ram.read(owner.value, TIMELINE.size))[1]
        at = [owner.value + TIMELINE.size + index * MOMENT.size for index in range(slots)]
        written = [address for address in at if any(self._ram.read(address, MOMENT.size))]
        self._area("timeline", owner.value, TIMELINE.size + len(written) * MOMENT.size,
                   TIMELINE_FIELDS)
        for index, address in enumerate(written[:8]):
            self._point_out(f"timeline[{index}]", address, MOMENT_FIELDS)
        return owner.value, written

    def _shutdown_log(self):
        owner = self._handover.record("shutdown-log")
        length = LOG.unpack(self._ram.read(owner.value, LOG.size))[1]
        self._area("shutdown log", owner.value, LOG.size + length, LOG_FIELDS)
        return owner.value

    # -- corruption ---------------------------------------------------------------

    def _place(self):
        what, address, size = self._dice.choice(self.areas)
        offset = self._dice.randrange(size)
        return f"{what}+{offset}", address + offset

    def _value(self, now):
        dice = self._dice
        address = dice.choice(self.areas)[1]
        return dice.choice((0, BITS64, now + 1, now - 1, 1 << dice.randrange(64),
                            now ^ 1 << dice.randrange(64), address, address, address + 1,
                            address + 8, address + 4096, FREE, NOWHERE, dice.randrange(256),
                            dice.getrandbits(64))) & BITS64

    def _set_field(self):
        what, address, size = self._dice.choice(self.fields)
        now = int.from_bytes(self._ram.read(address, size), "little")
        value = self._value(now) & ((1 << 8 * size) - 1)
        self._ram.write(address, value.to_bytes(size, "little"))
        return f"{what} = {value:#x}"

    def _flip(self):
        what, address = self._place()
        mask = 1 << self._dice.randrange(8)
        self._handover.flip(address, mask)
        return f"{what} ^= {mask:#x}"

    def _copy(self):
        source, target = self._dice.choice(self.areas), self._dice.choice(self.areas)
        size = self._dice.randint(1, min(source[2], target[2]))
        start = self._dice.randint(0, source[2] - size)
        at = self._dice.randint(0, target[2] - size)
        self._ram.write(target[1] + at, self._ram.read(source[1] + start, size))
        return f"{size} bytes of {source[0]}+{start} in {target[0]}+{at}"

    def _swap(self):
        one, other = self._dice.choice(self.areas), self._dice.choice(self.areas)
        size = min(one[2], other[2])
        first, second = self._ram.read(one[1], size), self._ram.read(other[1], size)
        self._ram.write(one[1], second)
        self._ram.write(other[1], first)
        return f"{one[0]} for {other[0]}"

    def _clear(self):
        what, address, size = self._dice.choice(self.areas)
        offset = self._dice.randrange(size)
        self._ram.write(address + offset, bytes(size - offset))
        return f"{what}+{offset} cleared"

    def corruption(self):
        """Does one to three things; what was done, in words."""
        kinds = (self._flip, self._flip, self._copy, self._swap, self._clear,
                 *[self._set_field] * 8)
        for _ in range(self._dice.choice((1, 1, 1, 2, 3))):
            self.done.append(self._dice.choice(kinds)())
        return "; ".join(self.done)

    # -- checksums --------------------------------------------------------------

    def _write_u32(self, address, value):
        self._ram.write(address, struct.pack("<I", value))

    def _seal_timeline(self):
        head, written = self._moments
        for address in written:
            self._write_u32(address + 28, 0)
            self._write_u32(address + 28, zlib.crc32(self._ram.read(address, MOMENT.size)))
        self._write_u32(head + 52, zlib.crc32(self._ram.read(head, 52)))

    def _seal_log(self):
        length = min(LOG.unpack(self._ram.read(self._log, LOG.size))[1], 1 << 16)
        crc = zlib.crc32(self._ram.read(self._log, LOG.size - 4))
        text = self._ram.read(self._log + LOG.size, length)
        self._write_u32(self._log + LOG.size - 4, zlib.crc32(text, crc))

    def intact(self):
        """Without corruption there is nothing to correct: the checksums are understood."""
        before = [self._ram.read(address, size) for _, address, size in self.areas]
        self.seal()
        return before == [self._ram.read(address, size) for _, address, size in self.areas]

    def seal(self):
        """Corrects every checksum, as a kernel with a bug would have done."""
        self._seal_timeline()
        self._seal_log()
        for table in self._tables:
            table.seal()
