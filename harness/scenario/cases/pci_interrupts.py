# SPDX-License-Identifier: GPL-2.0
"""Interrupts of PCI functions that run through an update.

The host rings; what the guest's driver counts lies in memory that the host reads.
At the kexec the messages of the old kernel are replaced by such that lead to a
processor that does not exist: nobody else ever sends there, so that the record of
QEMU shows beyond doubt if one of them is ever used.
"""

import struct
import threading
import time

from ...guest.control import LIVEUPDATE, split_boots
from ...guest.pci import HELPER, Device, EduDevice, IvshmemDevice, Machine, load, pattern
from ...vm import pci_trace as pt
from ...vm.ivshmem import Ivshmem
from ..api import Failed, scenario
from ..pci import WATCHED, Watch, arrive, at_jump, boot, check_frozen_msi, no_kernel_runs, request

NOBODY, OLD = 0x3F, 0x71                # a processor, and a vector there
MESSAGE = 0xFEE00000 | NOBODY << 12
# Vectors, by the moment at which each is rung; TWICE at the second and at the last.
(FROZEN, STARTED, DECOMPRESSOR, ENUMERATED, READY, SCANNED, NEVER, TWICE) = range(8)
# The last thing a kernel prints before init runs, long after its buses are scanned.
INIT = "as init process"


def wait_console(guest, text, boots, timeout=60):
    """Waits until the kernel after so many boots prints a text."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        parts = split_boots(guest.vm.serial())
        if len(parts) > boots and text in parts[boots]:
            return
        time.sleep(0.002)
    raise Failed(f"the next kernel never printed {text!r}")


class Bell:
    """Rings at moments of an update, and remembers what was rung."""

    def __init__(self, run, guest, host, device):
        self._run, self._guest, self._host, self._device = run, guest, host, device
        self._capability = host.capability(device.function, pt.MSIX)
        self.rung = {}
        self.before = device.server.counts()
        self._thread = None
        self._error = None

    def ring(self, vector, moment):
        """Rings now; QEMU has taken note on return."""
        server = self._device.server
        server.ring(vector)
        end = time.monotonic() + 10
        while not server.taken(vector):
            if time.monotonic() > end:
                raise Failed(f"QEMU never took note of vector {vector}")
            time.sleep(0.001)
        self.rung[vector] = moment
        self._run.step(f"vector {vector} rung {moment}")

    def ring_frozen(self, vector):
        """Rings in freeze: the function is masked, and the old kernel runs."""
        mask = pt.MSIX_ENABLE | pt.MSIX_MASK
        self._run.equal("message control in freeze", self._host.message_control(
            self._device.function, pt.MSIX) & mask, mask)
        self._run.unsaid(self._guest, "Starting new kernel")
        self.ring(vector, "in freeze")

    def land(self, gdb):
        """Rings between the kernels, while the processor that is to begin the next one does
        nothing."""
        entry = gdb.run_to_image()
        with gdb.spinning(entry):
            no_kernel_runs(self._run, self._guest, self._host, "when it is rung")
            self.ring(DECOMPRESSOR, f"between the kernels, at {entry:#x}")

    def ring_when_scanned(self, vector, start):
        """Rings, in a thread, when the next kernel first writes to the function."""
        def wait():
            try:
                self._host.trace.wait(
                    lambda event: isinstance(event, pt.Access) and event.write and
                    event.function == self._device.function.name, 60, start)
                self.ring(vector, "in the enumeration of the next kernel")
            except Exception as error:      # pylint: disable=broad-except
                self._error = error
        self._thread = threading.Thread(target=wait, daemon=True)
        self._thread.start()

    def join(self):
        """Waits for the thread; what went wrong in it goes wrong here."""
        self._thread.join(70)
        if self._error:
            raise self._error

    def check_latched(self, when):
        """What was rung is pending in the function, and nobody counted it."""
        self._run.equal(f"vectors latched {when}",
                        self._host.pending(self._device.function), set(self.rung))
        self._run.equal(f"interrupts counted {when}", self._device.server.counts(),
                        self.before)

    def check_delivered(self):
        """Each that was rung was counted exactly once."""
        want = tuple(count + (vector in self.rung)
                     for vector, count in enumerate(self.before))
        self._device.check_interrupts("counted by the next kernel", want)
        self._run.equal("as the driver says", self._device.interrupts(), want)
        self._run.equal("vectors latched after that",
                        self._host.pending(self._device.function), set())


def replace_messages(gdb, function):
    """Makes all messages in the MSI-X table of an ivshmem device unmistakable."""
    for vector in range(8):
        entry = struct.pack("<QI", MESSAGE, OLD)
        for at in range(0, 12, 4):
            gdb.write_physical(function.bars[1] + 16 * vector + at, entry[at:at + 4])


def replace_message(host, function):
    """The same for MSI, which has 64-bit addresses here."""
    at = host.capability(function, pt.MSI)
    host.write_config(function, at + 4, MESSAGE)
    host.write_config(function, at + 8, 0)
    host.write_config(function, at + 12, OLD, 2)


def check_new_messages(run, host, device, rung, start):
    """Each came by the message that is in the table now, once, and none by the old."""
    events = host.trace.events(start)
    run.equal("uses of the old messages", pt.interrupts(events, dest=NOBODY), [])
    for vector in sorted(rung):
        address, data = host.message(device.function, vector)
        run.check(f"vector {vector} has a new message", address != MESSAGE and data & 0xFF,
                  f"{address:#x} {data:#x}")
        sent = pt.interrupts(events, dest=address >> 12 & 0xFF, vector=data & 0xFF)
        run.equal(f"how often vector {vector} was sent to its new place", len(sent), 1)


def _blackout(run, cpus):
    """Rings at every moment of an update, each on a vector of its own."""
    with Ivshmem() as server:
        guest, host = boot(run, Machine().ivshmem("ivshmem0", server))
        run.equal("processors", int(guest.do("nproc")), cpus)
        device = IvshmemDevice(run, guest, host, "ivshmem0", server)
        device.load("a")
        for vector in range(8):
            device.ring(vector, f"before, vector {vector}")
        run.equal("as the driver says", device.interrupts(), (1,) * 8)
        request(run, device)
        run.prepare(guest)
        device.ring(NEVER, "in prepared")
        run.load(guest)
        watch = Watch(run, host, (device,))
        bell = Bell(run, guest, host, device)

        def look(gdb):
            run.equal("message control at the kexec",
                      host.message_control(device.function, pt.MSIX) &
                      (pt.MSIX_ENABLE | pt.MSIX_MASK), pt.MSIX_ENABLE | pt.MSIX_MASK)
            replace_messages(gdb, device.function)
            run.said(guest, "Starting new kernel")
            bell.ring(STARTED, "at the kexec, after Starting new kernel")
            bell.ring(TWICE, "the first time")
            bell.check_latched("at the kexec")
            bell.ring_when_scanned(SCANNED, host.trace.now())
        at_jump(run, guest, look, flight=bell, frozen=lambda: bell.ring_frozen(FROZEN))
        wait_console(guest, INIT, 1)
        bell.join()
        bell.ring(ENUMERATED, "after the enumeration of the next kernel")
        arrive(run, guest)
        bell.ring(READY, "before the driver is loaded")
        bell.ring(TWICE, "the second time")
        bell.check_latched("before the driver is loaded")
        start = host.trace.now()
        device.load("b")
        run.equal("retrieved", device.shown("retrieved"), "1")
        bell.check_delivered()
        check_new_messages(run, host, device, bell.rung, start)
        run.equal("uses of the old messages", pt.interrupts(
            host.trace.events(watch.start), dest=NOBODY), [])
        run.equal("MSI-X disabled", pt.disabled(
            host.trace.events(watch.start), device.function.name,
            host.capability(device.function, pt.MSIX)), [])
        run.finish(guest)
        watch.check()
        for vector in range(8):
            device.ring(vector, f"after, vector {vector}")


@scenario("pci-msix-blackout", smp=2, debug=True, **WATCHED)
def pci_msix_blackout(run):
    """Doorbells rung in freeze, after "Starting new kernel", in the decompressor, in and
    after the next kernel's enumeration and just before its driver is loaded are each
    delivered exactly once, after retrieval, to the new vector; two on one vector are one;
    no message of the old kernel is ever sent. Fails without: Function Mask in freeze (old
    messages are sent), the conditions in pci_msix_init() (MSI-X disabled, rings lost), the
    skip of shutdown (bus mastering off, nothing arrives)."""
    _blackout(run, 2)


@scenario("pci-msix-one-cpu", smp=1, **WATCHED)
def pci_msix_one_cpu(run):
    """The same with one processor."""
    _blackout(run, 1)


@scenario("pci-msix-thaw", smp=2)
def pci_msix_thaw(run):
    """Doorbells rung while a device is frozen are delivered once when it is thawed, by
    rehearse and by a freeze that fails; then all work as before. Fails without thaw."""
    with Ivshmem() as server:
        guest, host = boot(run, Machine().port("port0").ivshmem("ivshmem0", server, "port0"))
        device = IvshmemDevice(run, guest, host, "ivshmem0", server)
        device.load("a")
        request(run, device)
        run.prepare(guest)
        watch = Watch(run, host, (device,), ("port0",))
        for vector, config, result in (
                (1, "", "ok"), (2, ";test-memory fail=freeze,errno=5", "EIO")):
            guest.configure(f"clear;test-irq hold=freeze{config}")
            bell = Bell(run, guest, host, device)
            job = guest.start(f"guestctl write {LIVEUPDATE}/rehearse 1")
            guest.await_call("freeze", "test-irq")
            bell.ring_frozen(vector)
            guest.release()
            run.equal("rehearse", guest.finish(job).out.split()[0], result)
            run.state(guest, "prepared")
            bell.check_delivered()
        run.equal("MSI-X disabled", pt.disabled(
            host.trace.events(watch.start), device.function.name,
            host.capability(device.function, pt.MSIX)), [])
        watch.check()
        run.cancel(guest)
        for vector in range(8):
            device.ring(vector, f"after cancel, vector {vector}")


@scenario("pci-msi-contract", smp=2, **WATCHED)
def pci_msi_contract(run):
    """MSI is off over the kexec, with INTx: a transfer that ends there interrupts nobody,
    also later. The driver is told that it may have missed something after it took over,
    and looks; a device with MSI-X gets no interrupt that was not rung. Fails if the driver
    is not told."""
    with Ivshmem() as server:
        machine = Machine().edu("edu0").edu("edu1").ivshmem("ivshmem0", server)
        guest, host = boot(run, machine)
        busy, idle = (EduDevice(run, guest, host, name) for name in ("edu0", "edu1"))
        bell = IvshmemDevice(run, guest, host, "ivshmem0", server)
        busy.load("a")
        bell.load("a")
        idle.check_works("before")
        busy.store(pattern("busy"))
        counts = server.counts()
        request(run, busy, idle, bell)
        run.prepare(guest)
        run.load(guest)
        watch = Watch(run, host, (busy, idle, bell))
        completed = busy.count("completed"), idle.count("completed")

        def look(_gdb):
            for device in (busy, idle):
                check_frozen_msi(run, host, device)
                replace_message(host, device.function)
            status = int.from_bytes(host.read(busy.function.bars[0] + 0x24, 4, 4), "little")
            run.check("the transfer is in flight, or over and nobody heard of it",
                      host.edu(busy.function).running or status)
        at_jump(run, guest, look, busy.command("from"))
        arrive(run, guest)
        run.check("the transfer is over", not host.edu(busy.function).running)
        events = host.trace.events(watch.start)
        run.equal("uses of the old message", pt.interrupts(events, dest=NOBODY), [])
        capability = host.capability(busy.function, pt.MSI)
        run.check("MSI stays off until the driver is loaded", all(
            not value & pt.MSI_ENABLE
            for value in pt.control(events, busy.function.name, capability)))
        busy.load("b")
        bell.load("b")
        busy.idle()
        bell.settle()
        run.equal("interrupts of the busy and of the idle device",
                  (busy.count("interrupts"), idle.count("interrupts")), (0, 0))
        run.equal("transfers", (busy.count("completed"), idle.count("completed")),
                  (completed[0] + 1, completed[1]))
        run.equal("interrupts of the device with MSI-X", server.counts(), counts)
        run.finish(guest)
        for device in (busy, idle):
            device.check_works("after")
        bell.ring(4, "after")
        watch.check()
        run.equal("uses of the old message", pt.interrupts(
            host.trace.events(watch.start), dest=NOBODY), [])


@scenario("pci-other-interrupts", **WATCHED)
def pci_other_interrupts(run):
    """Functions that were handed over with MSI-X on have drivers that use something else:
    INTx, with pci=nomsi, or nothing at all. MSI-X is on until then, and off from then on;
    INTx is what the driver said. Fails if MSI-X is left on for a driver that sets up none."""
    kinds = ("intx", "none", "default")
    machine = Machine()
    for kind in kinds:
        machine.port(f"port.{kind}").physical(kind, f"port.{kind}")
    guest, host = boot(run, machine)
    load(run, guest, "a", HELPER)
    devices = [Device(run, guest, host, kind) for kind in kinds]

    def state(device):
        return (host.message_control(device.function, pt.MSIX) & pt.MSIX_ENABLE,
                host.command(device.function) & pt.INTX_DISABLE)

    def give(device):
        run.equal("driver_override", device.write("driver_override", HELPER), "")
        run.equal("bind", device.bind(HELPER), "")

    for device in devices:
        give(device)
        run.equal(f"{device.name} before", state(device), (pt.MSIX_ENABLE, pt.INTX_DISABLE))
    request(run, *devices)
    run.prepare(guest)
    run.load(guest, "b", "pci=nomsi")
    run.jump(guest, "b")
    for device, kind, after in zip(devices, kinds, (0, pt.INTX_DISABLE, None)):
        run.equal(f"{kind}: before its driver", state(device),
                  (pt.MSIX_ENABLE, pt.INTX_DISABLE))
        load(run, guest, "b", HELPER, f"interrupts={kind}")
        if after is None:
            run.equal("driver_override", device.write("driver_override", HELPER), "")
            run.check("no driver without MSI", device.bind(HELPER) != "")
            run.equal("reclaimed", device.status()[2], "0")
            after = pt.INTX_DISABLE
        else:
            give(device)
            run.equal("reclaimed", device.status()[2], "1")
        run.equal(f"{kind}: with its driver", state(device), (0, after))
        guest.do(f"rmmod {HELPER}")
    run.finish(guest)
