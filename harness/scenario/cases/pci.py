# SPDX-License-Identifier: GPL-2.0
"""PCI functions that run through an update: their DMA, their bridges, their peace.

The host is the witness: QEMU's registers and its record of config accesses, the
memory of the guest as the host maps it, the instruction pointers of its processors.

In all of them a disk that has nothing to do with it is beside the functions, under a
load that is verified.
"""

import time

from ...guest import pci as guest_pci
from ...guest.control import TEST, split_boots
from ...guest.pci import (BUFFER, HELPER, TRANSFER, Device, Disk, EduDevice, Machine,
                          last_failed, listed, load, pattern)
from ...vm import pci_trace as pt
from ..api import Failed, release_of, scenario

WATCHED = {"ram_file": True, "gdb": True}


def boot(run, machine, **options):
    """A machine with these devices, and a disk that is under load from here on; it is
    looked at before and after each jump and with every Watch. (guest, host)"""
    run.neighbour = Disk(run.folder)
    guest, host = guest_pci.boot(run, machine.disk("disk0", run.neighbour.path), **options)
    run.neighbour.start(guest)
    return guest, host


# -- the jump -------------------------------------------------------------------

def request(run, *devices):
    """Requests devices; it has to work."""
    for device in devices:
        run.equal(f"request of {device.name}", device.request(), "")


def at_jump(run, guest, look, before="", flight=None, frozen=None):
    """reboot(2), right behind a write that begins something, and a stop when the old
    kernel has done all it does.

    `look(gdb)` is called while the machine stands still there; then it goes on. A
    transfer in flight is waited for before the first instruction of the next kernel.
    `frozen()` is called before, when freeze has got to test-memory, the last of all.
    """
    run.neighbour.check(run)
    run.step("stop at the jump")
    command = f"guestctl reboot kexec {before}"
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
    run.equal("release after the jump", result.release, release_of(run.image(kernel)))
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


# -- what has to hold of every function and bridge ------------------------------

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
    """At the jump: a bus master, INTx off, and MSI, which has no mask bits, too."""
    command = host.command(device.function)
    run.check(f"{device.name} at the jump is a bus master", command & pt.MASTER)
    run.check(f"{device.name} at the jump has INTx off", command & pt.INTX_DISABLE)
    run.equal(f"{device.name} at the jump has MSI off",
              host.message_control(device.function, pt.MSI) & pt.MSI_ENABLE, 0)


# -- a transfer that is in flight over the jump ---------------------------------

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
        run.check(f"{name}: the transfer is in flight at the jump", dma.running)
        run.equal(f"{name}: bytes of the transfer", dma.count, TRANSFER)
        run.check(f"{name}: the memory is as it was at the jump",
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
        its own; it had one interrupt, which the device could not send."""
        run, edu = self._run, self.edu
        edu.idle()
        run.equal(f"{edu.name}: adopted", edu.shown("adopted"), "1")
        run.equal(f"{edu.name}: reclaimed", edu.status(), ("0", "1", "1"))
        run.equal(f"{edu.name}: interrupts of the next kernel", edu.count("interrupts"), 1)
        run.equal(f"{edu.name}: transfers completed", edu.count("completed"),
                  self.completed + 1)
        run.check(f"{edu.name}: what the driver finds", edu.buffer() == self.after)
        run.equal(f"{edu.name}: what is there",
                  self._guest.vm.ram.read(self.memory, BUFFER) == self.after, True)


def fly(run, guest, host, edu, name, bridges=(), kernel="b", others=(), extra=""):
    """An update with a transfer in flight; up to the state updated, all adopted."""
    flight = Flight(run, guest, host, edu, name)
    watch = Watch(run, host, (edu, *others), bridges)
    run.prepare(guest)
    run.load(guest, kernel, extra)

    def look(gdb):
        flight.look(gdb)
        check_frozen_msi(run, host, edu)
        for bridge in bridges:
            run.check(f"{bridge} at the jump is a bus master",
                      host.command(host.function(bridge)) & pt.MASTER)
    at_jump(run, guest, look, flight.begin(), flight)
    arrive(run, guest, kernel)
    for device in (edu, *others):
        run.equal(f"{device.name}: bus master and decoding until its driver is there",
                  host.command(device.function) & (pt.MASTER | pt.MEMORY),
                  pt.MASTER | pt.MEMORY)
    run.check("the device is in the list of those that are awaited",
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
    run.equal(f"{edu.name}: adopted in the first kernel", edu.shown("adopted"), "0")
    return guest, host, edu


@scenario("pci-dma-blackout", debug_always=True, **WATCHED)
def pci_dma_blackout(run):
    """DMA that began before the jump lands while no kernel runs, where it was to, and the
    next kernel's driver finds it. Fails without: the skip in device_shutdown() and with
    pci_clear_master() in it (no DMA lands), preserved buffers (adoption fails, wrong
    bytes), pci_liveupdate_recognize() (not adopted), the replay of MSI (the transfer is
    never completed)."""
    guest, host, edu = with_edu(run, Machine().edu("edu0"))
    edu.check_works("before")
    run.equal("files of a device whose driver has no live update",
              guest.exists(f"{host.function('disk0').path}/liveupdate"), False)
    request(run, edu)
    watch = fly(run, guest, host, edu, "blackout")
    edu.check_works("after")
    run.finish(guest)
    watch.check()
    run.equal("status after finish", edu.status(), ("0", "0", "0"))
    edu.check_works("after finish")
    run.lacks("console", guest.console(2), "quarantined")


@scenario("pci-root-port", smp=2, **WATCHED)
def pci_root_port(run):
    """The same behind a root port, which stays a bus master with its numbers and windows
    from prepare on, with a next kernel that is told to move the device. QEMU lets DMA pass
    a port that is no bus master, so its command register is what is looked at. Fails
    without: the condition at pci_clear_master() in pci_device_shutdown(), keep_path, the
    condition at pci_reassigndev_resource_alignment()."""
    guest, host, edu = with_edu(run, Machine().port("port0").edu("edu0", "port0"))
    request(run, edu)
    port = host.function("port0")
    command = host.command(port)
    host.write_config(port, pt.COMMAND, command & ~pt.MASTER, 2)
    run.equal("prepare below a port that forwards nothing", guest.set("prepare", 1), "EIO")
    host.write_config(port, pt.COMMAND, command, 2)
    watch = fly(run, guest, host, edu, "root port", ("port0",),
                extra="pci=realloc,resource_alignment=24@pci:1234:11e8")
    run.finish(guest)
    edu.check_works("after")
    watch.check()


@scenario("pci-switch", **WATCHED)
def pci_switch(run):
    """The same behind a switch: three bridges in a row. A device that nobody asked for, and
    the root port above it, are shut down as ever. Fails without the condition at
    pci_clear_master() in pci_device_shutdown(), and if it covers a port on no path."""
    machine = Machine().port("port0").switch("switch0", "port0") \
        .edu("edu0", "switch0.down").port("port1").edu("other0", "port1")
    guest, host, edu = with_edu(run, machine)
    request(run, edu)
    other, start = host.function("other0"), host.trace.now()
    watch = fly(run, guest, host, edu, "switch", ("port0", "switch0", "switch0.down"))
    watch.check()
    events = host.trace.events(start)
    run.check("the other device stopped to be a bus master",
              pt.without_master(events, other.name))
    run.check("so did the port that only it needs",
              pt.without_master(events, host.function("port1").name))
    run.finish(guest)
    edu.check_works("after")
    watch.check()


@scenario("pci-unrequested", **WATCHED)
def pci_unrequested(run):
    """Of two equal devices one is requested. The other is shut down as ever: no bus master
    any more, its transfer does not land, and the next kernel has it as new. Fails if the
    skip in device_shutdown() covers more than it must."""
    guest, host, edu = with_edu(run, Machine().edu("edu0").edu("plain0"))
    plain = EduDevice(run, guest, host, "plain0")
    request(run, edu)
    flight = Flight(run, guest, host, edu, "requested")
    plain.store(pattern("plain there"))
    plain.fill(pattern("plain here"))
    watch = Watch(run, host, (edu,))
    run.prepare(guest)
    run.equal("preserved", (edu.status()[1], plain.status()[1]), ("1", "0"))
    run.load(guest)

    def look(gdb):
        flight.look(gdb)
        run.equal("the other at the jump is no bus master",
                  host.command(plain.function) & pt.MASTER, 0)
    at_jump(run, guest, look, flight.begin(), flight)
    arrive(run, guest)
    edu.load("b")
    flight.found()
    run.equal("the other: adopted", plain.shown("adopted"), "0")
    run.equal("the other: transfers", plain.count("completed"), 0)
    run.finish(guest)
    watch.check()
    plain.check_works("in the next kernel")


# -- what is refused, and the way back ------------------------------------------

@scenario("pci-cancel", **WATCHED)
def pci_cancel(run):
    """prepare and cancel, twice, leave devices as they were, and a kexec after it is a
    plain one: they are shut down, the next kernel has them as new. Fails without cancel in
    PCI or DMA (buffers stay preserved, removal stays refused)."""
    guest, host, edu = with_edu(run, Machine().port("port0").edu("edu0", "port0"))
    request(run, edu)
    for number in range(2):
        watch = Watch(run, host, (edu,), ("port0",))
        run.prepare(guest)
        edu.check_works(f"prepared {number}")
        run.equal("start in prepared", edu.start("from"), "")
        run.cancel(guest)
        edu.idle()
        edu.check_works(f"cancelled {number}")
        watch.check()
    run.equal("unbind", edu.bind(unbind=True), "")
    run.equal("bind", edu.bind(), "")
    run.load(guest)
    start = host.trace.now()
    edu.store(pattern("gone"))
    run.jump(guest, state="normal")
    run.check("it was shut down", pt.without_master(host.trace.events(start),
                                                    edu.function.name))
    edu.load("b")
    run.equal("adopted", edu.shown("adopted"), "0")
    edu.check_works("as new")


@scenario("pci-locked", **WATCHED)
def pci_locked(run):
    """In prepared nobody unbinds, removes or resets a preserved function or a bridge
    above it, and a rescan leaves both alone. Fails without the tests in pci-sysfs.c,
    pci_reset_function(), pci_bus_resettable() and the notifier of the device layer."""
    guest, host, edu = with_edu(run, Machine().port("port0").edu("edu0", "port0"))
    port = host.function("port0")
    request(run, edu)
    run.check("it could be reset", edu.has("reset"))
    run.prepare(guest)
    watch = Watch(run, host, (edu,), ("port0",))
    for name, value in (("remove", "1"), ("reset", "1"), ("driver_override", "vfio-pci")):
        run.equal(f"{name} of the function", edu.write(name, value), "EBUSY")
    run.equal("unbind of the function", edu.bind(unbind=True), "EBUSY")
    run.equal("rmmod", guest.run("rmmod liveupdate_edu").ok, False)
    for name in ("remove", "reset_subordinate"):
        if guest.exists(f"{port.path}/{name}"):
            run.equal(f"{name} of the port", guest.write(f"{port.path}/{name}", "1"), "EBUSY")
    run.equal("unbind of the port", guest.write("/sys/bus/pci/drivers/pcieport/unbind",
                                                f"0000:{port.name}"), "EBUSY")
    for path in ("/sys/bus/pci", port.path):
        run.equal(f"rescan of {path}", guest.write(f"{path}/rescan", "1"), "")
    run.check("it is there", edu.has("liveupdate"))
    edu.check_works("in prepared")
    watch.check()
    run.cancel(guest)
    run.step("and all of it can be done again")
    start = host.trace.now()
    run.equal("reset", edu.write("reset", "1"), "")
    run.check("it was reset", pt.resets(host.trace.events(start), "edu"))
    run.equal("remove", edu.write("remove", "1"), "")
    run.equal("rescan", guest.write("/sys/bus/pci/rescan", "1"), "")
    run.equal("driver", edu.driver(), "liveupdate_edu")


@scenario("pci-no-reset")
def pci_no_reset(run):
    """A bus master that nothing could reset is not preserved. Fails without that test in
    PCI."""
    guest, host, edu = with_edu(run, Machine().edu("edu0", "pcie.0"))
    run.equal("reset_method", edu.file("reset_method") if edu.has("reset_method") else "", "")
    run.equal("request", edu.request(), "EOPNOTSUPP")
    run.contains("why", last_failed(guest)[4], "cannot be reset on its own")
    edu.check_works("all the same")
    run.state(guest, "normal")


@scenario("pci-virtual-functions")
def pci_virtual_functions(run):
    """Neither a virtual function nor one that has some is preserved, and one that is
    preserved is given none. Fails without the test in sriov_numvfs_store() and without
    those in PCI."""
    guest, host = boot(run, Machine().physical("nvme0"))
    load(run, guest, "a", HELPER)
    physical = Device(run, guest, host, "nvme0")
    run.equal("driver_override", physical.write("driver_override", HELPER), "")
    run.equal("bind", physical.bind(HELPER), "")
    run.equal("a virtual function", physical.write("sriov_numvfs", "1"), "")
    run.equal("request of one that has some", physical.request(), "EOPNOTSUPP")
    run.contains("why", last_failed(guest)[4], "has virtual functions")
    virtual = f"{physical.function.path}/virtfn0"
    run.equal("driver_override of it", guest.write(f"{virtual}/driver_override", HELPER), "")
    run.equal("bind of it", guest.write("/sys/bus/pci/drivers_probe", guest.run(
        f"basename $(readlink {virtual})").out.strip()), "")
    run.equal("request of it", guest.write(f"{virtual}/liveupdate/requested", "1"),
              "EOPNOTSUPP")
    run.contains("why", last_failed(guest)[4], "a virtual function")
    run.equal("none", physical.write("sriov_numvfs", "0"), "")
    request(run, physical)
    run.prepare(guest)
    run.equal("one, in prepared", physical.write("sriov_numvfs", "1"), "EBUSY")
    run.check("there is none", not guest.exists(virtual))
    run.cancel(guest)
    run.equal("one, after cancel", physical.write("sriov_numvfs", "1"), "")
    run.check("there is one", guest.exists(virtual))
    run.equal("prepare", guest.set("prepare", 1), "EOPNOTSUPP")
    run.state(guest, "normal")


@scenario("pci-freeze-failure", debug=True, smp=2, **WATCHED)
def pci_freeze_failure(run):
    """Someone else's freeze fails after the device was frozen, with a transfer in flight
    that ends in between: thaw gives MSI back, the driver hears of it, all works, and the
    next attempt succeeds. Fails without thaw in PCI or its replay of MSI."""
    guest, host, edu = with_edu(run, Machine().port("port0").edu("edu0", "port0"))
    request(run, edu)
    flight = Flight(run, guest, host, edu, "thawed")
    interrupts = edu.count("interrupts")
    watch = Watch(run, host, (edu,), ("port0",))
    run.prepare(guest)
    run.load(guest)
    guest.configure("test-irq hold=freeze;test-memory fail=freeze,errno=16")
    job = guest.start(f"guestctl reboot kexec {flight.begin()}")
    guest.await_call("freeze", "test-irq")
    flight.wait()
    guest.release()
    run.contains("reboot(2)", guest.finish(job).out, "EBUSY")
    run.state(guest, "prepared")
    run.last_failed(guest, "freeze", "test-memory", -16)
    edu.idle()
    run.check("what landed", edu.buffer() == flight.after)
    run.equal("transfers", edu.count("completed"), flight.completed + 1)
    run.check("its interrupt", edu.count("interrupts") > interrupts)
    control = pt.control(host.trace.events(watch.start), edu.function.name,
                         host.capability(edu.function, pt.MSI))
    run.equal("MSI off and on", [value & pt.MSI_ENABLE for value in control], [0, 1])
    edu.check_works("thawed")
    guest.configure("test-irq hold=none;test-memory fail=none")
    run.equal("rehearse", guest.set("rehearse", 1), "")
    edu.check_works("rehearsed")
    watch.check()
    run.jump(guest)
    edu.load("b")
    run.equal("adopted", edu.shown("adopted"), "1")
    run.finish(guest)
    edu.check_works("in the next kernel")
    watch.check()
