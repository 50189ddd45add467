# SPDX-License-Identifier: GPL-2.0
"""PCI devices of a guest as QEMU knows them: the host's word, no kernel's.

Config space is read where the chipset maps it, while the guest runs. It is written
through the ports at 0xcf8, with the guest stopped, and the address register is left as
the guest had it.
"""

import contextlib
import dataclasses
import re

from ..common.run import HarnessError
from . import pci_trace as pt
from .qmp import QMPError

ECAM = 0xB0000000                       # where the firmware of a q35 puts it
_EDU_DMA = (0x80, 0x88, 0x90, 0x98)
EDU_COMMAND = _EDU_DMA[3]
EDU_DEVICE = 0x40000                    # where edu's own buffer is, for its DMA
EDU_RUN, EDU_FROM, EDU_IRQ = 1, 2, 4    # bits of its command register


@dataclasses.dataclass(frozen=True)
class Function:
    """One function, by the id it has on QEMU's command line."""
    id: str
    bus: int
    slot: int
    number: int
    ids: tuple
    # number -> address, of those that are decoded
    bars: dict = dataclasses.field(compare=False)

    @property
    def name(self):
        """BB:DD.F, as in the trace."""
        return f"{self.bus:02x}:{self.slot:02x}.{self.number}"

    @property
    def path(self):
        """Its folder in the guest's sysfs."""
        return f"/sys/bus/pci/devices/0000:{self.name}"


@dataclasses.dataclass(frozen=True)
class EduDma:
    """edu's DMA registers."""
    source: int
    destination: int
    count: int
    command: int

    @property
    def running(self):
        """True until the transfer is done."""
        return bool(self.command & EDU_RUN)

    @property
    def memory(self):
        """The address in guest memory."""
        return self.destination if self.command & EDU_FROM else self.source


class PciHost:
    """The PCI side of one machine."""

    def __init__(self, vm):
        self._vm = vm
        self.trace = pt.Trace(vm.folder / "trace.log")

    def monitor(self, command):
        """A command of the human monitor; what it printed."""
        return self._vm.qmp.execute("human-monitor-command", command_line=command)

    # -- who is there -------------------------------------------------------

    def functions(self):
        """id -> Function of all that have one, bridges first."""
        found = {}

        def walk(devices):
            for one in devices:
                bars = {region["bar"]: region["address"] for region in one["regions"]}
                ids = (one["id"]["vendor"], one["id"]["device"])
                found[one["qdev_id"]] = Function(one["qdev_id"], one["bus"], one["slot"],
                                                 one["function"], ids, bars)
                walk(one.get("pci_bridge", {}).get("devices", ()))
        for bus in self._vm.qmp.execute("query-pci"):
            walk(bus["devices"])
        found.pop("", None)
        return found

    def function(self, name):
        """One function; where it is depends on the numbers of the buses."""
        try:
            return self.functions()[name]
        except KeyError:
            raise HarnessError(f"QEMU has no PCI device {name}") from None

    # -- config space -------------------------------------------------------

    @contextlib.contextmanager
    def stopped(self):
        """The guest does not run meanwhile; one that is stopped stays so."""
        runs = self._vm.qmp.execute("query-status")["running"]
        if runs:
            self._vm.qmp.execute("stop")
        try:
            yield
        finally:
            if runs:
                self._vm.qmp.execute("cont")

    def _in(self, port, size=4):
        text = self.monitor(f"i /{ {1: 'b', 2: 'h', 4: 'w'}[size] } {port:#x}")
        return int(text.split("=")[1], 16)

    def _out(self, port, value, size=4):
        self.monitor(f"o /{ {1: 'b', 2: 'h', 4: 'w'}[size] } {port:#x} {value:#x}")

    @contextlib.contextmanager
    def _selected(self, function, offset):
        with self.stopped():
            before = self._in(0xCF8)
            self._out(0xCF8, 1 << 31 | function.bus << 16 | function.slot << 11 |
                      function.number << 8 | offset & 0xFC)
            try:
                yield 0xCFC + offset % 4
            finally:
                self._out(0xCF8, before)

    def config(self, function, offset, size=4):
        """Reads a register of config space."""
        at = (ECAM + (function.bus << 20 | function.slot << 15 | function.number << 12) +
              (offset & ~3))
        value = int.from_bytes(self.read(at, 4, 4), "little")
        return value >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def write_config(self, function, offset, value, size=4):
        """Writes one."""
        with self._selected(function, offset) as port:
            self._out(port, value, size)

    def command(self, function):
        """The command register."""
        return self.config(function, pt.COMMAND, 2)

    def bars(self, function, offsets=(*pt.BARS, pt.ROM)):
        """offset -> value of the base address registers."""
        return {offset: self.config(function, offset) for offset in offsets}

    def capability(self, function, wanted):
        """Where a capability is."""
        at = self.config(function, 0x34, 1)
        while at:
            kind, at_next = divmod(self.config(function, at, 2), 256)[::-1]
            if kind == wanted:
                return at
            at = at_next
        raise HarnessError(f"{function.id} has no capability {wanted:#x}")

    def message_control(self, function, capability):
        """Message control of MSI or MSI-X."""
        return self.config(function, self.capability(function, capability) + 2, 2)

    # -- memory and registers -----------------------------------------------

    def read(self, address, size, width=8):
        """Bytes at a physical address, of memory or, in accesses of a width that
        suits it, of a device."""
        kind = {4: "w", 8: "g"}[width]
        text = self.monitor(f"xp /{-(-size // width)}{kind}x {address:#x}")
        words = re.findall(rf"0x([0-9a-f]{{{2 * width}}})\b", text)
        data = b"".join(int(word, 16).to_bytes(width, "little") for word in words)
        if len(data) < size:
            raise HarnessError(f"xp at {address:#x}: {text.strip()}")
        return data[:size]

    def edu(self, function):
        """The DMA registers of an edu device."""
        data = self.read(function.bars[0] + _EDU_DMA[0], 32)
        return EduDma(*(int.from_bytes(data[at:at + 8], "little") for at in range(0, 32, 8)))

    def message(self, function, vector):
        """(address, data) of an entry of the table of MSI-X of an ivshmem device."""
        data = self.read(function.bars[1] + 16 * vector, 16)
        return (int.from_bytes(data[:8], "little"), int.from_bytes(data[8:12], "little"))

    def pending(self, function):
        """Vectors of an ivshmem device of which an interrupt is latched."""
        at = self.config(function, self.capability(function, pt.MSIX) + 8)
        data = self.read(function.bars[at & 7] + (at & ~7), 8)
        bits = int.from_bytes(data, "little")
        return {vector for vector in range(64) if bits >> vector & 1}

    def processors(self):
        """(instruction pointer, privilege, halted) of each processor."""
        text = self.monitor("info registers -a")
        found = re.findall(r"[ER]IP=([0-9a-f]+).*?CPL=(\d).*?HLT=(\d)", text)
        if not found:
            raise HarnessError(f"no instruction pointer in {text[:200]!r}")
        return [(int(ip, 16), int(level), halted == "1") for ip, level, halted in found]

    # -- hotplug without a kernel -------------------------------------------

    def unplug(self, port, name):
        """Takes a device out from behind a port as if somebody pulled it.

        QEMU asks the guest first, which nobody answers; what makes it let go is
        that the slot is switched off, indicator and power.
        """
        slot = self.capability(port, pt.EXPRESS) + pt.SLOT_CONTROL
        since = len(self._vm.qmp.events)
        with self.stopped():
            before = self.config(port, slot, 2)
            self._vm.qmp.execute("device_del", id=name)
            self.write_config(port, slot, before & ~0x0700 | 0x0100, 2)
            self.write_config(port, slot, before | 0x0700, 2)
            if not self._vm.qmp.wait_event("DEVICE_DELETED", 10, since):
                raise HarnessError(f"QEMU does not let {name} go")
            self.write_config(port, slot, before, 2)

    def plug(self, port, driver, name, **properties):
        """Puts another device behind a port."""
        with self.stopped():
            self._vm.qmp.execute("device_add", driver=driver, id=name, bus=port.id,
                                 **properties)

    def gone(self, name):
        """True when QEMU has no such device any more."""
        try:
            self.function(name)
        except (HarnessError, QMPError):
            return True
        return False
