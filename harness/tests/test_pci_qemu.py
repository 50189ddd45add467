# SPDX-License-Identifier: GPL-2.0
"""The host's witnesses of PCI, proved on a QEMU that runs only its firmware."""

import time
import unittest

from ..guest.pci import Machine
from ..vm import pci_trace as pt
from ..vm.ivshmem import Ivshmem
from ..vm.pci_host import EDU_DEVICE, EDU_FROM, EDU_RUN
from .pci_fixture import Firmware

TARGET = 0x2000000
APIC = 0xFEE00000


def until(condition, timeout=10):
    """Waits for something to become true; whether it did."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


class Witnesses(unittest.TestCase):
    """One machine for all tests: edu and its neighbours, ivshmem, ports, a switch."""

    @classmethod
    def setUpClass(cls):
        cls.server = Ivshmem()
        machine = Machine().port("port0").edu("edu0", "port0").port("port1") \
            .switch("switch0", "port1").edu("edu1", "switch0.down") \
            .ivshmem("ivshmem0", cls.server).port("port2").device(
                "pci-testdev", "other0", "port2")
        cls.vm = Firmware(machine.arguments())
        cls.host = cls.vm.host
        cls.server.wait()
        cls.known = cls.vm.enumerated("edu0", "edu1", "ivshmem0")

    @classmethod
    def tearDownClass(cls):
        cls.vm.close()
        cls.server.close()

    def _master(self, function, on):
        command = self.host.command(function)
        self.host.write_config(function, pt.COMMAND, command & ~pt.MASTER |
                               (pt.MASTER if on else 0), 2)

    def _start(self, function, count=2048):
        base = function.bars[0]
        for register, value in ((0x80, EDU_DEVICE), (0x88, TARGET), (0x90, count),
                                (0x98, EDU_RUN | EDU_FROM)):
            self.vm.write_physical(base + register, value.to_bytes(8, "little"))

    def test_who_is_there(self):
        self.assertEqual(self.known["edu0"].ids, (0x1234, 0x11E8))
        self.assertEqual(self.host.config(self.known["edu0"], 0), 0x11E81234)
        self.assertEqual(self.host.config(self.known["ivshmem0"], 2, 2), 0x1110)
        self.assertEqual(self.host.read(self.known["edu0"].bars[0], 4, 4),
                         bytes.fromhex("ed000001"))
        self.assertEqual(self.known["edu1"].bus, self.known["switch0.down"].bus + 1)
        self.assertTrue(self.host.gone("nobody"))

    def test_dma(self):
        """A transfer lands with bus mastering, and does not without."""
        for on in (True, False):
            self.vm.set_memory(TARGET, b"\xA5" * 2049)
            edu = self.known["edu1"]
            self._master(edu, on)
            self._start(edu)
            self.assertTrue(self.host.edu(edu).running)
            self.assertEqual(self.host.edu(edu).memory, TARGET)
            self.assertTrue(until(lambda: not self.host.edu(edu).running))
            self.assertEqual(self.vm.memory(TARGET, 2049) == b"\xA5" * 2049, not on)
            self.assertEqual(self.vm.memory(TARGET + 2048, 1), b"\xA5")
            self.assertEqual(self.host.read(TARGET, 9), self.vm.memory(TARGET, 9))

    def test_commands(self):
        edu, start = self.known["edu0"], self.host.trace.now()
        self._master(edu, True)
        end = self.host.trace.now()
        self._master(edu, False)
        self.assertEqual(pt.without_master(self.host.trace.events(start, end), edu.name), [])
        bad = pt.without_master(self.host.trace.events(start), edu.name)
        self.assertEqual(len(bad), 1)

    def test_sizing(self):
        """Firmware asks for the size of a BAR before it gives it an address."""
        edu = self.known["edu0"]
        events = pt.writes(self.host.trace.events(), edu.name, 0x10)
        self.assertEqual([event.value for event in events], [0xFFFFFFFF, 0, edu.bars[0]])
        complaints = pt.bar_complaints(events, edu.name, {0x10: 0}, 0)
        self.assertEqual(complaints, [f"@0x10 <- {edu.bars[0]:#x}, which was 0x0"])
        self.assertEqual(pt.bar_complaints(events[:2], edu.name, {0x10: 0}, 0), [])

    def test_bus_reset(self):
        """A port that resets what is behind it is seen, twice."""
        port, start = self.known["port1"], self.host.trace.now()
        before = self.host.config(port, pt.BRIDGE_CONTROL, 2)
        self.assertEqual(pt.resets(self.host.trace.events(start), "edu"), [])
        config = {number: self.host.config(self.known["edu1"], number)
                  for number in (pt.COMMAND, *pt.BARS)}
        bridges = [(self.known[name], {number: self.host.config(self.known[name], number)
                                       for number in (4, 0x18, 0x1C, 0x20, 0x24, 0x28, 0x2C)})
                   for name in ("switch0", "switch0.down")]
        self.host.write_config(port, pt.BRIDGE_CONTROL, before | pt.BUS_RESET, 2)
        self.host.write_config(port, pt.BRIDGE_CONTROL, before, 2)
        events = self.host.trace.events(start)
        for function, values in (*bridges, (self.known["edu1"], config)):
            for offset, value in sorted(values.items(), reverse=True):
                self.host.write_config(function, offset, value)
        self.assertEqual(len(pt.bridge_resets(events, port.name)), 1)
        self.assertEqual(len(pt.resets(events, "edu")), 1)
        self.assertEqual(pt.resets(events, "ivshmem-doorbell"), [])

    def test_latch(self):
        """An interrupt that is rung while the function is masked is latched, and goes
        to the message that is in the table when the mask goes."""
        ivshmem = self.known["ivshmem0"]
        at = self.host.capability(ivshmem, pt.MSIX)
        self._master(ivshmem, True)
        self.host.write_config(ivshmem, at + 2, pt.MSIX_ENABLE | pt.MSIX_MASK, 2)
        for dest, vector in ((0x3F, 0x77), (0, 0x66)):
            entry = ((APIC | dest << 12).to_bytes(8, "little") +
                     vector.to_bytes(4, "little") + bytes(4))
            for number in range(0, 16, 4):
                self.vm.write_physical(ivshmem.bars[1] + 16 * 3 + number,
                                       entry[number:number + 4])
            self.assertEqual(self.host.message(ivshmem, 3), (APIC | dest << 12, vector))
            start = self.host.trace.now()
            if dest:
                self.server.ring(3)
            self.assertTrue(until(lambda: self.host.pending(ivshmem) == {3}))
            self.assertTrue(self.server.taken(3))
        self.host.write_config(ivshmem, at + 2, pt.MSIX_ENABLE, 2)
        event = self.host.trace.wait(lambda event: isinstance(event, pt.Interrupt), 5, start)
        self.assertEqual((event.dest, event.vector), (0, 0x66))
        events = self.host.trace.events(0)
        self.assertEqual(pt.interrupts(events, dest=0x3F), [])
        self.assertEqual(len(pt.interrupts(events, vector=0x66)), 1)
        self.host.write_config(ivshmem, at + 2, 0, 2)
        self.assertEqual(pt.disabled(self.host.trace.events(start), ivshmem.name, at), [0])

    def test_memory_of_peer(self):
        """What the guest counts is what the host reads."""
        address = self.known["ivshmem0"].bars[2]
        self.assertEqual(self.server.counts(), (0,) * 8)
        self.vm.write_physical(address + 8, (7).to_bytes(4, "little"))
        self.assertEqual(self.server.counts(), (0, 0, 7, 0, 0, 0, 0, 0))
        self.server.write(8, bytes(4))
        self.assertEqual(self.host.read(address, 16), bytes(16))

    def test_unplug(self):
        """A device is pulled out without a kernel, and another one put in."""
        port = self.known["port2"]
        self.host.unplug(port, "other0")
        self.assertTrue(self.host.gone("other0"))
        self.assertEqual(self.host.config(self.known["edu0"], 0), 0x11E81234)
        self.host.plug(port, "edu", "twin0")
        twin = self.host.function("twin0")
        self.assertEqual(twin.bus, self.known["other0"].bus)
        self.assertEqual(self.host.config(twin, 0), 0x11E81234)
        self.assertEqual(self.host.config(twin, 0x10), 0)
        self.host.unplug(port, "twin0")
        self.assertTrue(self.host.gone("twin0"))


if __name__ == "__main__":
    unittest.main()
