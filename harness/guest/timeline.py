# SPDX-License-Identifier: GPL-2.0
"""The timeline as /sys/kernel/liveupdate/timeline has it.

Knows the layout of include/uapi/linux/liveupdate_timeline.h: scenarios read
it, tests of luctl write it.
"""

import dataclasses
import struct
import zlib

from ..common.run import HarnessError
from .control import LIVEUPDATE

MAGIC = b"LUOTIME\0"
VERSION = 1
INVARIANT = 1

HEADER = struct.Struct("=8sIIIIQIIII")
RECORD = struct.Struct("=QQIHBBiI48s")

KERNEL, STEP, CALLBACK, MARK, INITCALLS, PARTS, PART = range(1, 8)
NONE, PREPARE, CANCEL, FREEZE, THAW, RESTORE, FINISH = range(7)

STEP_NAMES = {PREPARE: "prepare", CANCEL: "cancel", FREEZE: "freeze", THAW: "thaw",
              RESTORE: "restore", FINISH: "finish"}


@dataclasses.dataclass
class Header:
    """struct liveupdate_timeline_header."""
    magic: bytes = MAGIC
    version: int = VERSION
    header_size: int = HEADER.size
    record_size: int = RECORD.size
    count: int = 0
    frequency: int = 1_000_000_000
    flags: int = INVARIANT
    generation: int = 1
    corrupted: int = 0
    dropped: int = 0

    def pack(self):
        """The bytes of it."""
        return HEADER.pack(*dataclasses.astuple(self)).ljust(
            self.header_size, b"\0")


@dataclasses.dataclass
class Record:
    """struct liveupdate_timeline_record, without its checksum. The error of PARTS
    is their number."""
    start: int
    end: int
    update: int
    kernel: int
    kind: int
    step: int = NONE
    error: int = 0
    name: str = ""

    def pack(self, size=RECORD.size):
        """The bytes of it; what is behind the known fields is not zero."""
        def bytes_with(crc):
            data = RECORD.pack(self.start, self.end, self.update, self.kernel,
                               self.kind, self.step, signed(self.error), crc,
                               self.name.encode("latin-1"))
            return data.ljust(size, b"\xa5")
        return bytes_with(checksum(bytes_with(0)))


def signed(number):
    """A number of 32 bits as that of an error."""
    return number - (1 << 32) if number >> 31 == 1 else number


def checksum(data):
    """The checksum of a record whose checksum is 0."""
    return zlib.crc32(data) or 1


def build(records, header_size=HEADER.size, record_size=RECORD.size, **header):
    """A timeline of these records."""
    head = Header(header_size=header_size, record_size=record_size,
                  **{"count": len(records), **header})
    return head.pack() + b"".join(r.pack(record_size) for r in records)


def parse(data):
    """The header and the records of a timeline, all of which must be right."""
    if len(data) < HEADER.size:
        raise HarnessError(f"timeline: {len(data)} bytes are no header")
    header = Header(*HEADER.unpack_from(data))
    if (header.magic, header.version) != (MAGIC, VERSION):
        raise HarnessError(f"timeline: {header}")
    if header.header_size < HEADER.size or header.record_size < RECORD.size:
        raise HarnessError(f"timeline: {header}")
    if len(data) < header.header_size + header.count * header.record_size:
        raise HarnessError(f"timeline: only {len(data)} bytes: {header}")

    records = []
    crc_at = RECORD.size - 52
    for number in range(header.count):
        at = header.header_size + number * header.record_size
        raw = data[at:at + header.record_size]
        *fields, crc, name = RECORD.unpack_from(raw)
        if crc != checksum(raw[:crc_at] + bytes(4) + raw[crc_at + 4:]):
            raise HarnessError(f"timeline: record {number} is corrupted")
        records.append(Record(*fields, name.split(b"\0")[0].decode("latin-1")))
    return header, records


def read_timeline(guest):
    """Header and records of the guest's timeline."""
    return parse(guest.run(f"cat {LIVEUPDATE}/timeline").data)
