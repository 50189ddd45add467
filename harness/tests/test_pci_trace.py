# SPDX-License-Identifier: GPL-2.0
"""Questions to what QEMU recorded, asked of recorded text."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from ..common import paths
from ..common.run import HarnessError
from ..guest.control import Result
from ..guest.pci import DISK_BLOCK, Disk, Machine, pattern
from ..scenario.api import Run, Scenario
from ..vm import pci_trace as pt

# Recorded with QEMU 7.2: an enumeration that asks for the size of a base address
# with decoding off and bus mastering kept, MSI-X masked and unmasked, a bus reset.
GOOD = """\
24612@1795662957.639100:pci_cfg_write edu 01:00.0 @0x4 <- 0x106
24612@1795662957.639200:pci_cfg_write edu 01:00.0 @0x4 <- 0x104
24612@1795662957.639274:pci_cfg_write edu 01:00.0 @0x10 <- 0xffffffff
24612@1795662957.639282:pci_cfg_write edu 01:00.0 @0x10 <- 0xfe400000
24612@1795662957.639294:pci_cfg_write edu 01:00.0 @0x14 <- 0xffffffff
24612@1795662957.639301:pci_cfg_write edu 01:00.0 @0x14 <- 0x0
24612@1795662957.639350:pci_cfg_write edu 01:00.0 @0x30 <- 0xfffff800
24612@1795662957.639360:pci_cfg_write edu 01:00.0 @0x30 <- 0x0
24612@1795662957.639400:pci_cfg_write edu 01:00.0 @0x4 <- 0x106
"""
OTHER = """\
pci_cfg_write ivshmem-doorbell 00:06.0 @0x42 <- 0xc007
pci_cfg_read ivshmem-doorbell 00:06.0 @0x42 -> 0xc007
pci_cfg_write ivshmem-doorbell 00:06.0 @0x42 <- 0x8007
pci_cfg_write ivshmem-doorbell 00:06.0 @0x40 <- 0x70011
apic_deliver_irq dest 63 dest_mode 0 delivery_mode 0 vector 119 trigger_mode 0
apic_deliver_irq dest 0 dest_mode 0 delivery_mode 0 vector 102 trigger_mode 0
runstate_set current_run_state 9 (running) new_state 4 (paused)
msix_write_config dev ivshmem-doorbell enabled 1 masked 1
pci_cfg_write pcie-root-port 00:10.0 @0x3e <- 0x40
qdev_reset obj=0x55b4a3fd82c0(edu)
qbus_reset obj=0x55b4a3f62850(PCIE)
resettable_phase_hold_exec obj=0x559a10213ad0(edu) method=0
resettable_phase_hold_exec obj=0x559a0f5da850(max-x86_64-cpu) method=0
pci_cfg_write pcie-root-port 00:10.0 @0x3e <- 0x0
"""
EDU, CONFIG = "01:00.0", {0x10: 0xFE400000, 0x14: 0, 0x18: 0, 0x1C: 0, 0x20: 0, 0x24: 0,
                          0x30: 0}


class Parse(unittest.TestCase):
    """Lines become events, with or without a time; what is odd is an error."""

    def test_access(self):
        event = pt.parse(GOOD)[2]
        self.assertEqual(event, pt.Access(1795662957.639274, True, "edu", EDU, 0x10,
                                          0xFFFFFFFF))
        later = GOOD.replace("24612@1795662957.639274:", "2026-11-26T03:15:57.639274Z ")
        self.assertNotEqual(later, GOOD)
        self.assertEqual(pt.parse(later)[2], event)
        read = pt.parse(OTHER)[1]
        self.assertFalse(read.write)
        self.assertEqual((read.time, read.value), (0, 0xC007))

    def test_others(self):
        kinds = [type(event).__name__ for event in pt.parse(OTHER)]
        self.assertEqual(kinds, ["Access"] * 4 + ["Interrupt"] * 2 + ["Access"] +
                         ["Reset"] * 3 + ["Access"])
        self.assertIsNone(pt.parse_line("some other text"))
        self.assertIsNone(pt.parse_line(""))
        for odd in ("pci_cfg_write edu at 4 is 6\n",
                    "[17:03:01] pci_cfg_write edu 01:00.0 @0x4 <- 0x106\n",
                    "[17:03:01] resettable_phase_hold_exec obj=0x559a10213ad0(edu)\n"):
            with self.assertRaises(HarnessError):
                pt.parse(odd)


class Questions(unittest.TestCase):
    """Each has an example of yes and one of no."""

    def test_bus_master(self):
        self.assertEqual(pt.commands(pt.parse(GOOD), EDU), [0x106, 0x104, 0x106])
        self.assertEqual(pt.without_master(pt.parse(GOOD), EDU), [])
        bad = GOOD.replace("@0x4 <- 0x104", "@0x4 <- 0x102")
        self.assertEqual(pt.without_master(pt.parse(bad), EDU), [0x102])
        self.assertEqual(pt.without_master(pt.parse(bad), "02:00.0"), [])
        self.assertEqual(pt.without_master(pt.parse("pci_cfg_write edu 01:00.0 @0x4 <- "
                                                    "0x100002\n"), EDU), [2])

    def test_message_control(self):
        events = pt.parse(OTHER)
        self.assertEqual(pt.control(events, "00:06.0", 0x40), [0xC007, 0x8007, 7])
        self.assertEqual(pt.disabled(events, "00:06.0", 0x40), [7])
        self.assertEqual(pt.disabled(events[:3], "00:06.0", 0x40), [])
        self.assertEqual(pt.disabled(events, "00:06.0", 0x40, pt.MSI_ENABLE), [])

    def test_bars(self):
        def complaints(text):
            return pt.bar_complaints(pt.parse(text), EDU, CONFIG, 0x106)
        self.assertEqual(complaints(GOOD), [])
        for old, new, text in (
                ("0x10 <- 0xfe400000", "0x10 <- 0xfe500000", "which was 0xfe400000"),
                ("0x4 <- 0x104\n", "0x6 <- 0xffff\n", "while it decodes"),
                ("@0x14 <- 0xffffffff", "@0x14 <- 0x1000", "which was 0x0"),
                ("@0x30 <- 0x0\n", "@0x3c <- 0x0\n", "not restored"),
                ("@0x10 <- 0xfe400000", "@0x18 <- 0xffffffff", "which was 0x0")):
            self.assertIn(text, " ".join(complaints(GOOD.replace(old, new))), new)

    def test_resets(self):
        events = pt.parse(OTHER)
        self.assertEqual(len(pt.resets(events, "edu")), 2)
        self.assertEqual(pt.resets(events, "ivshmem-doorbell"), [])
        self.assertEqual(len(pt.bridge_resets(events, "00:10.0")), 1)
        wide = pt.parse("pci_cfg_write pcie-root-port 00:10.0 @0x3c <- 0x420100\n")
        self.assertEqual(len(pt.bridge_resets(wide, "00:10.0")), 1)

    def test_interrupts(self):
        events = pt.parse(OTHER)
        self.assertEqual(len(pt.interrupts(events, dest=63, vector=119)), 1)
        self.assertEqual(pt.interrupts(events, dest=62), [])


class Following(unittest.TestCase):
    """The file is read while QEMU writes it."""

    def test_moments(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "trace"
            trace = pt.Trace(path)
            self.assertEqual(trace.now(), 0)
            path.write_text(GOOD)
            middle = trace.now()
            with open(path, "a", encoding="ascii") as file:
                file.write(OTHER + "pci_cfg_write edu 01:0")
            self.assertEqual(len(trace.events(0, middle)), 9)
            self.assertEqual(len(trace.events(middle)), 11)

    def test_wait(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "trace"
            path.write_text("")

            def write():
                with open(path, "a", buffering=1, encoding="ascii") as file:
                    for part in (GOOD[:70], GOOD[70:90], GOOD[90:]):
                        file.write(part)
                        time.sleep(0.02)
            writer = threading.Thread(target=write)
            writer.start()
            event = pt.Trace(path).wait(lambda event: event.value == 0x104, 5)
            self.assertEqual(event.offset, 4)
            writer.join()
            with self.assertRaises(HarnessError):
                pt.Trace(path).wait(lambda event: event.value == 0x777, 0.05)


class Description(unittest.TestCase):
    """Machines are told to QEMU as meant."""

    def test_machine(self):
        text = " ".join(Machine().port("port0").edu("edu0", "port0").switch("sw", "port0")
                        .edu("edu1").disk("disk0", "/tmp/x").arguments())
        for part in ("edu.dma_mask=0xffffffff", "acpi-pci-hotplug-with-bridge-support=off",
                     "pcie-root-port,id=port0,bus=pcie.0,addr=0x10,chassis=1,slot=1",
                     "edu,id=edu0,bus=port0", "xio3130-downstream,id=sw.down,bus=sw,"
                     "chassis=2,slot=2", "pcie-root-port,id=edu1.port,bus=pcie.0,addr=0x11,"
                     "chassis=3,slot=3", "edu,id=edu1,bus=edu1.port",
                     "virtio-blk-pci,id=disk0,bus=pcie.0,addr=0x12,drive=disk0.file"):
            self.assertIn(part, text)

    def test_patterns(self):
        self.assertEqual(len(pattern("a", 100)), 100)
        self.assertEqual(pattern("a"), pattern("a"))
        self.assertNotIn(pattern("b")[:32], pattern("a"))


class Load(unittest.TestCase):
    """What runs on a disk beside the devices tells the truth, and finds a wrong byte."""

    class Guest:
        """What Disk needs of a guest; the load runs on the host."""

        def __init__(self, folder):
            self.folder, self.boots, self.child, self.first = folder, [1], None, None

        def put(self, _path, text, _mode):
            """The load says where it begins."""
            self.first = int(re.match(r"i=(\d+)$", text, re.MULTILINE)[1])

        def start(self, _command):
            """Starts it."""
            self.child = subprocess.Popen(
                ["busybox", "sh", "-c", Disk.script(self.first, self.folder / "disk",
                                                    self.folder)],
                start_new_session=True, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)

        def stop(self):
            """Ends it, as a kexec does."""
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()

        def until(self, _condition, timeout):
            """Waits for some blocks."""
            end = time.monotonic() + timeout
            done = self.folder / "load.done"
            while time.monotonic() < end and not (
                    done.exists() and int(done.read_text() or 0) > self.first + 3):
                time.sleep(0.02)

        def run(self, command, _timeout):
            """Waits until it is that far, or for ever if it was stopped."""
            wanted = int(re.search(r"-ge (\d+)", command)[1])
            while self.child.poll() is None and int(self.read("") or 0) < wanted:
                time.sleep(0.02)
            return Result(command, 0 if self.child.poll() is None else 124, b"")

        def exists(self, _path):
            """The job has no status."""
            return False

        def output(self, _job):
            """It complained of nothing."""
            return ""

        def read(self, _path):
            """How far it is."""
            return (self.folder / "load.done").read_text()

    def test_load(self):
        paths.BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=paths.BUILD) as name:
            guest = self.Guest(pathlib.Path(name))
            disk = Disk(guest.folder)
            run = Run(Scenario("none", "", None), folder=guest.folder)
            disk.start(guest)
            disk.check(run)
            guest.stop()
            guest.boots.append(2)
            disk.check(run)
            self.assertGreater(guest.first, 3)
            disk.check(run)
            guest.stop()
            self.assertGreater(run.checks, 9)
            with self.assertRaisesRegex(HarnessError, "goes on behind block"):
                disk.check(run)
            guest.boots.append(3)
            with open(disk.path, "r+b") as file:
                file.seek((guest.first + 1) * DISK_BLOCK + 5)
                file.write(b"!")
            with self.assertRaises(HarnessError):
                disk.check(run)


if __name__ == "__main__":
    unittest.main()
