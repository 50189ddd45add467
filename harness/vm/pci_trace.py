# SPDX-License-Identifier: GPL-2.0
"""What QEMU recorded of PCI: config accesses, resets, interrupts.

The lines are those of QEMU's log backend, with or without the prefix that
`-msg timestamp=on` gives them; QEMU 11 writes it like that of its messages::

    24612@1795662957.639274:pci_cfg_write edu 01:00.0 @0x10 <- 0xffffffff
    2026-11-26T03:15:57.639274Z pci_cfg_write edu 01:00.0 @0x10 <- 0xffffffff

A line does not tell how wide the access was. Bits that are asked for here are
those of the low byte, or lie where the kernel only writes whole registers.
"""

import dataclasses
import datetime
import re
import time

from ..common.run import HarnessError

# Config space
COMMAND, BARS, ROM = 0x04, range(0x10, 0x28, 4), 0x30
IO, MEMORY, MASTER, INTX_DISABLE = 0x1, 0x2, 0x4, 0x400
ABSENT = 0xFFFF                                  # what a function that is not there reads
BRIDGE_CONTROL, BUS_RESET = 0x3E, 0x40
MSI, EXPRESS, MSIX = 0x05, 0x10, 0x11           # capabilities
MSI_ENABLE = 0x1
MSIX_ENABLE, MSIX_MASK = 0x8000, 0x4000
SLOT_CONTROL = 0x18                             # in the PCI Express capability
POWER_INDICATOR = POWER_INDICATOR_OFF = 0x0300  # in it: two bits, 3 is off

# What a machine has to record for the questions below.
# A reset of a bus or of a function goes one way in QEMU 7.2, one of the machine, and
# every reset of later versions, the other.
RESETS = ("qdev_reset", "resettable_phase_hold_exec")
EVENTS = ("pci_cfg_write", *RESETS, "apic_deliver_irq")

_LINE = re.compile(r"(?:\d+@(\d+\.\d+):|(\d{4}-\d\d-\d\dT[0-9:.]+Z) )?(\w+) (.*)")
_KNOWN = ("pci_cfg_read", *EVENTS)
_NAMED = re.compile(rf"(?:^|[^\w])({'|'.join(_KNOWN)}) ")
_ACCESS = re.compile(r"(\S+) ([0-9a-f]+:[0-9a-f]{2}\.[0-7]) @(0x[0-9a-f]+) "
                     r"(?:<-|->) (0x[0-9a-f]+)$")
_RESET = re.compile(r"obj=(0x[0-9a-f]+)\((\S+)\)")
_IRQ = re.compile(r"dest (\d+) dest_mode (\d+) delivery_mode (\d+) vector (\d+) "
                  r"trigger_mode (\d+)")


@dataclasses.dataclass(frozen=True)
class Access:
    """One read or write of config space."""
    time: float
    write: bool
    device: str
    function: str               # BB:DD.F
    offset: int
    value: int


@dataclasses.dataclass(frozen=True)
class Reset:
    """One object, of which only the type has a name, was reset."""
    time: float
    object: str
    type: str


@dataclasses.dataclass(frozen=True)
class Interrupt:
    """One message that reached the local APICs."""
    time: float
    dest: int
    dest_mode: int
    delivery: int
    vector: int
    trigger: int


def parse_line(line):
    """The event of one line, or None for what nobody asks for."""
    match = _LINE.match(line)
    if not match or match[3] not in _KNOWN:
        if _NAMED.search(line):         # else nothing that is forbidden were ever seen
            raise HarnessError(f"no line of a trace as this QEMU writes it: {line!r}")
        return None
    name, rest = match[3], match[4]
    when = datetime.datetime.fromisoformat(match[2]).timestamp() if match[2] \
        else float(match[1] or 0)
    if name in ("pci_cfg_write", "pci_cfg_read"):
        access = _ACCESS.match(rest)
        if not access:
            raise HarnessError(f"no {name} as this QEMU writes it: {line!r}")
        return Access(when, name == "pci_cfg_write", access[1], access[2],
                      int(access[3], 16), int(access[4], 16))
    if name in RESETS:
        reset = _RESET.match(rest)
        return Reset(when, reset[1], reset[2]) if reset else None
    if name == "apic_deliver_irq":
        irq = _IRQ.match(rest)
        return Interrupt(when, *map(int, irq.groups())) if irq else None
    return None


def parse(text):
    """All events of a text, in their order."""
    return [event for event in map(parse_line, text.splitlines()) if event]


class Trace:
    """The trace of a machine that runs; a moment is a position in the file."""

    def __init__(self, path):
        self.path = path

    def now(self):
        """This moment."""
        return self.path.stat().st_size if self.path.exists() else 0

    def events(self, start=0, end=None):
        """Events between two moments; a line that is not complete yet is left out."""
        with open(self.path, "rb") as file:
            file.seek(start)
            data = file.read() if end is None else file.read(max(0, end - start))
        return parse(data[:data.rfind(b"\n") + 1].decode("utf-8", "replace"))

    def wait(self, wanted, timeout, start=0):
        """Waits for an event that `wanted(event)` likes, behind a moment."""
        deadline = time.monotonic() + timeout
        rest = b""
        with open(self.path, "rb") as file:
            file.seek(start)
            while True:
                *lines, rest = (rest + file.read()).split(b"\n")
                for line in lines:
                    event = parse_line(line.decode("utf-8", "replace"))
                    if event and wanted(event):
                        return event
                if time.monotonic() > deadline:
                    raise HarnessError(f"{self.path.name} never showed what was pending, "
                                       f"within {timeout} s")
                time.sleep(0.001)


# -- config space -------------------------------------------------------------

def writes(events, function, *offsets):
    """Writes to a function, all or those at some offsets."""
    return [event for event in events if isinstance(event, Access) and event.write and
            event.function == function and (not offsets or event.offset in offsets)]


def commands(events, function):
    """Values that were written to the command register."""
    return [event.value & 0xFFFF for event in writes(events, function, COMMAND)]


def without_master(events, function):
    """Writes to the command register that switched bus mastering off."""
    return [value for value in commands(events, function) if not value & MASTER]


def bridge_resets(events, function):
    """Writes with which a bridge reset what is behind it."""
    at = ((BRIDGE_CONTROL, BUS_RESET), (0x3C, BUS_RESET << 16))
    return [event for event in writes(events, function)
            if any(event.offset == offset and event.value & bit for offset, bit in at)]


def control(events, function, capability):
    """Values written to the message control of MSI or MSI-X at this offset."""
    found = []
    for event in writes(events, function, capability, capability + 2):
        found.append(event.value >> 16 if event.offset == capability
                     else event.value & 0xFFFF)
    return found


def disabled(events, function, capability, enable=MSIX_ENABLE):
    """Writes to message control that switched MSI-X, or MSI, off."""
    return [value for value in control(events, function, capability) if not value & enable]


def bar_complaints(events, function, config, command, offsets=(*BARS, ROM)):
    """What was wrong with how base addresses were written; nothing is good.

    `config` is offset -> value of the registers before, `command` the command
    register. Allowed is only the pair that asks for the size, ones and the old
    value, each while the function decodes nothing.
    """
    complaints, sizing = [], None
    for event in writes(events, function, COMMAND, *offsets):
        if event.offset == COMMAND:
            if sizing is not None and event.value & (IO | MEMORY):
                complaints.append(f"decodes while {sizing:#x} is not restored")
            command = event.value
            continue
        if command & (IO | MEMORY):
            complaints.append(f"@{event.offset:#x} <- {event.value:#x} while it decodes")
        if sizing is None and event.value in (0xFFFFFFFF, 0xFFFFF800):
            sizing = event.offset
        elif sizing == event.offset and event.value == config[event.offset]:
            sizing = None
        else:
            complaints.append(f"@{event.offset:#x} <- {event.value:#x}, "
                              f"which was {config[event.offset]:#x}")
            sizing = None
    if sizing is not None:
        complaints.append(f"@{sizing:#x} is not restored")
    return complaints


# -- resets and interrupts ----------------------------------------------------

def resets(events, *types):
    """Objects of these types that were reset."""
    return [event for event in events if isinstance(event, Reset) and event.type in types]


def interrupts(events, **want):
    """Interrupts with these fields: dest=, vector=, ..."""
    return [event for event in events if isinstance(event, Interrupt) and
            all(getattr(event, key) == value for key, value in want.items())]
