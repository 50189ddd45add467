# SPDX-License-Identifier: GPL-2.0
"""PCI functions that run through an update: the kexec, a transfer in flight over it, and what
has to hold of every function and bridge meanwhile. The host is the witness."""

import time

from ..guest import pci as guest_pci
from ..guest.control import TEST, split_boots
from ..guest.pci import BUFFER, TRANSFER, Disk, EduDevice, listed, pattern
from ..vm import pci_trace as pt
from .api import Failed, release_of

WATCHED = {"ram_file": True, "gdb": True}


def boot(run, machine, **options):
    """A machine with these devices, and a disk that is under load from here on; it is
    looked at before and after each kexec and with every Watch. (guest, host)"""
    run.neighbour = Disk(run.folder)
    guest, host = guest_pci.boot(run, machine.disk("disk0", run.neighbour.path), **options)
    run.neighbour.start(guest)
    return guest, host


def request(run, *devices):
    """Requests devices; it has to work."""
    for device in devices:
        run.equal(f"request of {device.name}", device.request(), "")


def at_jump(run, guest, look, before="", flight=None, frozen=None, ahead=""):
    """reboot(2), right behind a write that begins something, and a stop when the old
    kernel has done all it does. Commands of the shell may go `ahead`.

    `look(gdb)` is called while the machine stands still there; then it goes on. A
    transfer in flight is waited for before the first instruction of the next kernel.
    `frozen()` is called before, when freeze has got to test-memory, the last of all.
    """
    run.neighbour.check(run)
    run.step("stop at the kexec")
    command = f"{ahead}guestctl reboot kexec {before}"
    if frozen:
        guest.configure("clear;test-memory hold=freeze")
        guest.start(command)
        guest.await_call("freeze", "test-memory")
        frozen()
        command = f"echo 1 > {TEST}/release"
    gdb = guest.stop_at_jump(command)
    found = look(gdb)
    if flight:
        run.step("stop between the kernels")
        flight.land(gdb)
    gdb.detach()
    return found


def arrive(run, guest, kernel="b", state="updated"):
    """The next kernel comes up."""
    result = guest.wait_boot()
    run.equal("release after the kexec", result.release, release_of(run.image(kernel)))
    run.state(guest, state)
    run.neighbour.check(run)


def no_kernel_runs(run, guest, host, what):
    """No processor is in a kernel: each is halted, or privileged below 4 GiB, where no
    kernel is mapped, and the next kernel printed nothing yet."""
    boots = len(guest.boots)
    for number, (pointer, level, halted) in enumerate(host.processors()):
        run.check(f"{what}: processor {number} is in no kernel, at {pointer:#x}",
                  halted or (level == 0 and pointer < 1 << 32))
    run.equal(f"{what}: kernels that said anything",
              len(split_boots(guest.vm.serial())), boots)


class Watch:
    """What the record has to say of functions between two moments."""

    def __init__(self, run, host, devices=(), bridges=()):
        self._run, self._host = run, host
        self._functions = [device.function for device in devices]
        self._bridges = [host.function(name) for name in bridges]
        self.start = host.trace.now()
        self.strangers = set()      # devices that came since, as the record calls them
        self._before = {function: (host.command(function), host.bars(function))
                        for function in self._functions}
        self._windows = {bridge: self._window(bridge) for bridge in self._bridges}

    def _window(self, bridge):
        """Bus numbers and windows, without secondary status and latency."""
        config = {offset: self._host.config(bridge, offset)
                  for offset in (0x18, 0x1C, 0x20, 0x24, 0x28, 0x2C, 0x30)}
        config[0x18] &= 0xFFFFFF
        config[0x1C] &= 0xFFFF
        return config

    def check(self, stopped=False):
        """Nothing was reset, and no DMA was stopped, moved or cut off."""
        run, events = self._run, self._host.trace.events(self.start)
        if not stopped:
            run.neighbour.check(run)
        for function, (command, bars) in self._before.items():
            name = f"{function.id} at {function.name}"
            run.equal(f"{name}: bus mastering off", pt.without_master(events, function.name),
                      [])
            run.equal(f"{name}: base addresses", pt.bar_complaints(
                events, function.name, bars, command), [])
            run.equal(f"{name}: base addresses now", self._host.bars(function), bars)
            run.check(f"{name}: bus master now", self._host.command(function) & pt.MASTER)
        run.equal("devices that were reset", [
            reset for reset in pt.resets(events, "edu", "ivshmem-doorbell")
            if reset.object not in self.strangers], [])
        for bridge in self._bridges:
            name = f"{bridge.id} at {bridge.name}"
            run.equal(f"{name}: bus mastering off", pt.without_master(events, bridge.name), [])
            run.equal(f"{name}: resets of its bus", pt.bridge_resets(events, bridge.name), [])
            run.equal(f"{name}: bus numbers and windows", self._window(bridge),
                      self._windows[bridge])
            run.check(f"{name}: bus master now", self._host.command(bridge) & pt.MASTER)


def check_frozen_msi(run, host, device):
    """At the kexec: a bus master, INTx off, and MSI, which has no mask bits, too."""
    command = host.command(device.function)
    run.check(f"{device.name} at the kexec is a bus master", command & pt.MASTER)
    run.check(f"{device.name} at the kexec has INTx off", command & pt.INTX_DISABLE)
    run.equal(f"{device.name} at the kexec has MSI off",
              host.message_control(device.function, pt.MSI) & pt.MSI_ENABLE, 0)


class Flight:
    """A transfer of one edu device that begins in one kernel and is found by the next.

    What is in memory before, what comes out of the device, and what the buffer holds
    of neither, are all different, so that no transfer at all shows.
    """

    def __init__(self, run, guest, host, edu, name):
        self._run, self._guest, self._host, self.edu = run, guest, host, edu
        self.there, self.here = pattern(f"{name} there"), pattern(f"{name} here")
        self.after = self.there[:TRANSFER] + self.here[TRANSFER:]
        edu.store(self.there)
        edu.fill(self.here)
        self.completed = edu.count("completed")
        self.memory = None

    def begin(self):
        """The write that begins it."""
        return self.edu.command("from")

    def wait(self):
        """Waits until it is over, as the host sees it; the guest runs."""
        end = time.monotonic() + 20
        while self._host.edu(self.edu.function).running:
            if time.monotonic() > end:
                raise Failed(f"{self.edu.name}: the transfer never ended")
            time.sleep(0.01)

    def look(self, gdb):
        """The old kernel is through: the transfer is in flight, its target as before."""
        run, name = self._run, self.edu.name
        dma = self.edu.hold(gdb, self.here[:TRANSFER])
        self.memory = dma.memory
        run.check(f"{name}: the transfer is in flight at the kexec", dma.running)
        run.equal(f"{name}: bytes of the transfer", dma.count, TRANSFER)
        run.check(f"{name}: the memory is as it was at the kexec",
                  self._guest.vm.ram.read(self.memory, BUFFER) == self.here)

    def land(self, gdb):
        """It lands between the kernels, where the machine is kept until then."""
        run, name, guest = self._run, self.edu.name, self._guest
        entry = gdb.run_to_image()
        no_kernel_runs(run, guest, self._host, "before it lands")
        self.edu.land(gdb, entry)
        no_kernel_runs(run, guest, self._host, "when it landed")
        run.check(f"{name}: what landed while no kernel ran",
                  guest.vm.ram.read(self.memory, BUFFER) == self.after)

    def again(self, gdb):
        """The same transfer begins once more, between the kernels."""
        self.edu.again(gdb, self.here[:TRANSFER])
        self._run.check(f"{self.edu.name}: a transfer is in flight between the kernels",
                        self._host.edu(self.edu.function).running)

    def found(self):
        """The next kernel's driver finds it, in the same memory, without a transfer of
        its own, and without an interrupt, which the device could not send."""
        run, edu = self._run, self.edu
        edu.idle()
        run.equal(f"{edu.name}: retrieved", edu.shown("retrieved"), "1")
        run.equal(f"{edu.name}: reclaimed", edu.status(), ("0", "1", "1"))
        run.equal(f"{edu.name}: interrupts of the next kernel", edu.count("interrupts"), 0)
        run.equal(f"{edu.name}: transfers completed", edu.count("completed"),
                  self.completed + 1)
        run.check(f"{edu.name}: what the driver finds", edu.buffer() == self.after)
        run.equal(f"{edu.name}: what is there",
                  self._guest.vm.ram.read(self.memory, BUFFER) == self.after, True)


def fly(run, guest, host, edu, name, bridges=(), kernel="b", others=(), extra=""):
    """An update with a transfer in flight; up to the state updated, all retrieved."""
    flight = Flight(run, guest, host, edu, name)
    watch = Watch(run, host, (edu, *others), bridges)
    run.prepare(guest)
    run.load(guest, kernel, extra)

    def look(gdb):
        flight.look(gdb)
        check_frozen_msi(run, host, edu)
        for bridge in bridges:
            run.check(f"{bridge} at the kexec is a bus master",
                      host.command(host.function(bridge)) & pt.MASTER)
    at_jump(run, guest, look, flight.begin(), flight)
    arrive(run, guest, kernel)
    for device in (edu, *others):
        run.equal(f"{device.name}: bus master and decoding until its driver is there",
                  host.command(device.function) & (pt.MASTER | pt.MEMORY),
                  pt.MASTER | pt.MEMORY)
    run.check("the device is in the list of those that are pending",
              edu.identity in listed(guest, "unreclaimed"))
    edu.load(kernel)
    flight.found()
    return watch


def with_edu(run, machine, name="edu0", **options):
    """Kernel A with a machine whose edu device has its driver."""
    guest, host = boot(run, machine, **options)
    edu = EduDevice(run, guest, host, name)
    edu.load("a")
    run.equal("driver", edu.driver(), "liveupdate_edu")
    run.equal(f"{edu.name}: retrieved in the first kernel", edu.shown("retrieved"), "0")
    return guest, host, edu
