# SPDX-License-Identifier: GPL-2.0
"""PCI functions that run through an update: their DMA, their bridges, their peace.

The host is the witness: QEMU's registers and its record of config accesses, the
memory of the guest as the host maps it, the instruction pointers of its processors.

In all of them a disk that has nothing to do with it is beside the functions, under a
load that is verified.
"""

from ...guest.pci import HELPER, Device, EduDevice, Machine, load, pattern
from ...vm import pci_trace as pt
from ..api import scenario
from ..pci import WATCHED, Flight, Watch, arrive, at_jump, boot, fly, request, with_edu


# -- the kexec -------------------------------------------------------------------


# -- what has to hold of every function and bridge ------------------------------


# -- a transfer that is in flight over the kexec ---------------------------------


@scenario("pci-dma-blackout", debug_always=True, **WATCHED)
def pci_dma_blackout(run):
    """DMA that began before the kexec lands while no kernel runs, where it was to, and the
    next kernel's driver finds it. Fails without: the skip in device_shutdown() and with
    pci_clear_master() in it (no DMA lands), preserved buffers (retrieval fails, wrong
    bytes), pci_liveupdate_setup_device() (not retrieved), interrupts_missed() (the transfer is
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
    without: the condition at pci_clear_master() in pci_device_shutdown(), preserve_path, the
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
        run.equal("the other at the kexec is no bus master",
                  host.command(plain.function) & pt.MASTER, 0)
    at_jump(run, guest, look, flight.begin(), flight)
    arrive(run, guest)
    edu.load("b")
    flight.found()
    run.equal("the other: retrieved", plain.shown("retrieved"), "0")
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
    run.equal("retrieved", edu.shown("retrieved"), "0")
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
    run.contains("why", guest.failed_device()[4], "cannot be reset on its own")
    edu.check_works("all the same")
    run.state(guest, "normal")


@scenario("pci-foreign-dma")
def pci_foreign_dma(run):
    """A function whose driver does not say that all its DMA goes through the DMA API is not
    preserved. Fails without that test in PCI."""
    guest, host = boot(run, Machine().physical("nvme0"))
    device = Device(run, guest, host, "nvme0")
    for foreign, error in ((1, "EOPNOTSUPP"), (0, "")):
        load(run, guest, "a", HELPER, f"foreign_dma={foreign}")
        if error:
            run.equal("driver_override", device.write("driver_override", HELPER), "")
            run.equal("bind", device.bind(HELPER), "")
        run.equal("driver", device.driver(), HELPER)
        run.equal("request", device.request(), error)
        if error:
            run.contains("why", guest.failed_device()[4], "through the DMA API")
            guest.do(f"rmmod {HELPER}")
    run.prepare(guest)
    run.cancel(guest)


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
    run.contains("why", guest.failed_device()[4], "has virtual functions")
    virtual = f"{physical.function.path}/virtfn0"
    run.equal("driver_override of it", guest.write(f"{virtual}/driver_override", HELPER), "")
    run.equal("bind of it", guest.write("/sys/bus/pci/drivers_probe", guest.run(
        f"basename $(readlink {virtual})").out.strip()), "")
    run.equal("request of it", guest.write(f"{virtual}/liveupdate/requested", "1"),
              "EOPNOTSUPP")
    run.contains("why", guest.failed_device()[4], "a virtual function")
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
    that ends in between: thaw gives MSI back, the driver looks, all works, and the next
    attempt succeeds. Fails without thaw in PCI or in the driver."""
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
    run.equal("interrupts, which could not be sent", edu.count("interrupts"), interrupts)
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
    run.equal("retrieved", edu.shown("retrieved"), "1")
    run.finish(guest)
    edu.check_works("in the next kernel")
    watch.check()
