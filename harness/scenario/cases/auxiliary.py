# SPDX-License-Identifier: GPL-2.0
"""Auxiliary devices that run through an update with their parent, or let go of it.

The parent is QEMU's edu, and the host is the witness as in the scenarios of PCI: QEMU's
registers and its record of config accesses, and the memory of the guest as the host maps
it.
"""

from ...guest.auxiliary import BUS, CHILDREN, COPY, FACTORIAL, PARENT, PartsDevice
from ...guest.pci import Machine, load
from ...vm import pci_trace as pt
from ..api import scenario
from ..pci import WATCHED, Flight, Watch, arrive, at_jump, boot, check_frozen_msi, fly, request

RETAINED = f"devices:auxiliary:{COPY}"


def with_parts(run, machine, *names):
    """Kernel A with edu devices that have their drivers; (guest, host, device...)."""
    guest, host = boot(run, machine)
    devices = [PartsDevice(run, guest, host, name) for name in names]
    devices[0].load("a")
    for edu in devices:
        run.equal(f"drivers of {edu.name} and its parts",
                  (edu.driver(), edu.copy.driver(), edu.factorial.driver()),
                  (PARENT, f"{CHILDREN}.copy", f"{CHILDREN}.factorial"))
        run.equal(f"{edu.name}: retrieved in the first kernel", edu.shown("retrieved"), "0")
    return (guest, host, *devices)


def await_factorial(guest, edu):
    """The driver of the part that computes comes back, when a probe was deferred."""
    guest.until(f"[ -e {edu.factorial.path}/factorial/value ]", timeout=20)


@scenario("aux-follow", debug=True, smp=2, **WATCHED)
def aux_follow(run):
    """Two devices with a part each that comes along: one that follows its parent, with a
    transfer in flight that lands while no kernel runs, and one that is requested and pulls
    its parent in. In the next kernel their names are exchanged, and each gets what was its
    own. Fails without: follow of the auxiliary bus (the update is refused), an identity
    without the number (each finds the other's, or none), dma_liveupdate_retrieve_for(),
    interrupts_missed() by the bus (the transfer is never completed)."""
    guest, host, edu, other = with_parts(run, Machine().edu("edu0").edu("edu1"), "edu0", "edu1")
    run.step("give the parts numbers that they will not have in the next kernel")
    for device in (edu, other):
        run.equal(f"unbind of {device.name}", device.bind(unbind=True), "")
    for device in (other, edu):
        run.equal(f"bind of {device.name}", device.bind(), "")
    names = edu.copy.device, other.copy.device
    run.equal("names of the parts", names, (f"{COPY}.1", f"{COPY}.0"))
    edu.check_works("before")
    for number in range(3):
        other.check_works(f"before, {number}")

    request(run, edu)
    run.equal("request of the other's part", other.copy.request(), "")
    kept = other.buffer(), other.count("completed")
    run.prepare(guest)
    for device, requested in ((edu, ("1", "0")), (other, ("0", "1"))):
        run.equal(f"{device.name} and its part", (device.status(), device.copy.status()),
                  tuple((word, "1", "0") for word in requested))
        device.check_works("prepared")
    run.equal("rehearse", guest.set("rehearse", 1), "")
    run.cancel(guest)
    run.equal("preserved", (edu.copy.status()[1], other.copy.status()[1]), ("0", "0"))
    edu.check_works("cancelled")
    kept = other.buffer(), other.count("completed")

    watch = fly(run, guest, host, edu, "auxiliary", others=(other,))
    run.equal("names of the parts in the next kernel",
              (edu.copy.device, other.copy.device), names[::-1])
    for device in (edu, other):
        run.equal(f"{device.name}: its part", device.copy.status(), ("0", "1", "1"))
        run.equal(f"{device.name}: retrieved", device.shown("retrieved"), "1")
    run.equal("transfers of the other", other.count("completed"), kept[1])
    run.check("memory of the other", other.buffer() == kept[0])
    run.unsaid(guest, "quarantined")
    for device in (edu, other):
        device.check_works("in the next kernel")
    run.finish(guest)
    run.retained(guest)
    watch.check()
    run.equal("status after finish", edu.copy.status(), ("0", "0", "0"))
    edu.check_works("after finish")


@scenario("aux-detached", debug=True, smp=2, **WATCHED)
def aux_detached(run):
    """A part whose driver lets go of it is unbound at prepare and probed again when that is
    refused or cancelled, while its sibling works; in the next kernel it is an ordinary
    device, and nobody has touched what it left in the hardware. It cannot be requested,
    nor bound in prepared. Fails without: dlu_detach_children() or shutdown_needs_driver of
    the auxiliary bus (the update is refused), the probe that is deferred (it never comes
    back)."""
    guest, host, edu = with_parts(run, Machine().port("port0").edu("edu0", "port0"), "edu0")
    part, value = edu.factorial, f"{edu.factorial.path}/factorial/value"
    run.equal("5!", (edu.compute(5), edu.computed()), (120, 120))
    run.contains("why it cannot be requested", part.reason(), "lets go of it")
    run.equal("request of it", part.request(), "EOPNOTSUPP")
    request(run, edu)

    run.step("a prepare that is refused when it was unbound")
    port = host.function("port0")
    command = host.command(port)
    host.write_config(port, pt.COMMAND, command & ~pt.MASTER, 2)
    run.equal("prepare below a port that forwards nothing", guest.set("prepare", 1), "EIO")
    host.write_config(port, pt.COMMAND, command, 2)
    await_factorial(guest, edu)
    run.contains("console", guest.console(),
                 f"{part.device}: liveupdate: does not come along, its driver is unbound")

    for number in range(2):
        run.prepare(guest)
        run.equal("driver in prepared", part.driver(), "")
        run.check("files of it are gone", not guest.exists(value))
        run.check("bind in prepared", guest.write(
            f"{BUS}/drivers/{CHILDREN}.factorial/bind", part.device) != "")
        run.equal("driver after that", part.driver(), "")
        edu.check_works(f"prepared {number}")
        run.equal("what it left", edu.computed(), 120 if not number else 720)
        run.cancel(guest)
        await_factorial(guest, edu)
        run.equal("6!", (edu.compute(6), edu.computed()), (720, 720))

    run.step("an update")
    flight = Flight(run, guest, host, edu, "detached")
    watch = Watch(run, host, (edu,), ("port0",))
    run.prepare(guest)
    run.load(guest)

    def look(gdb):
        flight.look(gdb)
        check_frozen_msi(run, host, edu)
    at_jump(run, guest, look, flight.begin(), flight)
    arrive(run, guest)
    edu.load("b")
    flight.found()
    run.equal("what it left", edu.computed(), 720)
    run.equal("its driver", part.driver(), f"{CHILDREN}.factorial")
    run.equal("it was not handed over", part.status(), ("0", "0", "0"))
    run.equal("4!", (edu.compute(4), edu.computed()), (24, 24))
    run.finish(guest)
    watch.check()
    run.equal("7!", (edu.compute(7), edu.computed()), (5040, 5040))
    edu.check_works("after finish")
    run.unsaid(guest, "quarantined")


@scenario("aux-lost", debug=True, **WATCHED)
def aux_lost(run):
    """The next kernel has no driver for a part that was handed over. Its parent goes on, so
    the part cannot be stopped: finish is refused, and when it is told to give up, what the
    device may access is retained, as it was. Then the part gets its driver, as an ordinary
    one. Fails if a device without quarantine counts as stopped, or gets no driver."""
    guest, host, edu = with_parts(run, Machine().edu("edu0"), "edu0")
    request(run, edu)
    flight = Flight(run, guest, host, edu, "lost")
    watch = Watch(run, host, (edu,))
    run.prepare(guest)
    run.load(guest)
    at_jump(run, guest, flight.look, flight.begin(), flight)
    arrive(run, guest)
    load(run, guest, "b", PARENT)
    run.equal("the parent", edu.status(), ("0", "1", "1"))
    run.equal("the part", (edu.copy.driver(), edu.copy.status()), ("", ("0", "1", "0")))
    run.finish(guest, waits=("devices", COPY))
    run.said(guest, f"{edu.copy.device}: liveupdate: quarantined: nobody took it over")
    run.said(guest, f"{edu.copy.device}: liveupdate: cannot be stopped without its parent")
    watch.check()
    run.retained(guest, RETAINED, "dma")
    run.check("memory that the device may access",
              guest.vm.ram.read(flight.memory, len(flight.after)) == flight.after)

    run.step("its driver comes late")
    edu.load_parts("b")
    run.equal("drivers", (edu.copy.driver(), edu.factorial.driver()),
              (f"{CHILDREN}.copy", f"{CHILDREN}.factorial"))
    run.equal("retrieved", edu.shown("retrieved"), "0")
    edu.check_works("as an ordinary one")
    run.check("what is retained is not used again",
              guest.vm.ram.read(flight.memory, len(flight.after)) == flight.after)
    run.forget(guest, RETAINED, "dma")
    request(run, edu)
    run.prepare(guest)
    edu.check_works("prepared anew")
    run.cancel(guest)


@scenario("aux-lost-parent", **WATCHED)
def aux_lost_parent(run):
    """The next kernel has no driver for the parent, so the part does not appear. Finish
    resets the parent. The part is retained, as nobody has seen it, until it appears below
    the parent that was stopped: then it is an ordinary one at once. Fails if it is not known
    that a device was stopped with its parent, or if a record is dropped with it."""
    guest, host, edu = with_parts(run, Machine().edu("edu0"), "edu0")
    request(run, edu)
    run.prepare(guest)
    run.load(guest)
    run.jump(guest)
    start = host.trace.now()
    run.finish(guest, waits=("devices", COPY, edu.identity))
    run.check("the parent was reset", pt.resets(host.trace.events(start), "edu"))
    run.retained(guest, RETAINED)
    edu.load("b")
    run.said(guest, f"{edu.copy.device}: liveupdate: quarantined: nobody is to take it over")
    run.retained(guest)
    run.equal("drivers", (edu.copy.driver(), edu.factorial.driver()),
              (f"{CHILDREN}.copy", f"{CHILDREN}.factorial"))
    run.equal("retrieved", edu.shown("retrieved"), "0")
    edu.check_works("as new")
    request(run, edu)
    run.prepare(guest)
    run.cancel(guest)


@scenario("aux-refused")
def aux_refused(run):
    """A part that is requested and has lost its driver makes prepare fail. One that is not
    does not hold up its parent, and is probed as ever in the next kernel. Fails without
    shutdown_needs_driver of the auxiliary bus (the update is refused)."""
    guest, host, edu = with_parts(run, Machine().edu("edu0"), "edu0")
    driver = f"{BUS}/drivers/{CHILDREN}.copy"
    run.equal("request of the part", edu.copy.request(), "")
    run.equal("unbind of it", guest.write(f"{driver}/unbind", edu.copy.device), "")
    run.equal("prepare", guest.set("prepare", 1), "EOPNOTSUPP")
    failure = guest.last_failure()
    run.equal("which", failure["device"], f"auxiliary:{COPY}")
    run.contains("why", failure["reason"], "no driver is bound")
    run.equal("no request of it", edu.copy.request(0), "")
    await_factorial(guest, edu)

    request(run, edu)
    run.prepare(guest)
    run.equal("preserved", edu.status()[1], "1")
    run.load(guest)
    run.jump(guest)
    edu.load("b")
    run.equal("the parent", edu.status(), ("0", "1", "1"))
    run.equal("retrieved by the part", edu.shown("retrieved"), "0")
    edu.check_works("in the next kernel")
    run.finish(guest)
    run.retained(guest)
    run.equal("names", (edu.copy.device, edu.factorial.device),
              (f"{COPY}.0", f"{FACTORIAL}.0"))
