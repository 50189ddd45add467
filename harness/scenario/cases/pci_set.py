# SPDX-License-Identifier: GPL-2.0
"""Sets of PCI functions: links between them, three updates in a row, unrequested mappings."""

import re

from ...guest.pci import HELPER, EduDevice, IvshmemDevice, Machine, listed, load, pattern
from ...vm import pci_trace as pt
from ...vm.ivshmem import Ivshmem
from ..api import scenario
from ..pci import WATCHED, Flight, Watch, arrive, at_jump, boot, fly, request, with_edu
from ..suites import LATE

COMPLAINT = re.compile(r"DMA-API: (?!debugging|preallocated)\S*")


@scenario("pci-dma-unpreserved")
def pci_dma_unpreserved(run):
    """A device that may reach a page which is not preserved: dma-debug knows, and freeze
    is refused with the device and the reason, nothing was frozen, the device works; when
    the page is unmapped it can be frozen. Fails without dma_liveupdate_check() in freeze."""
    guest, host = boot(run, Machine().edu("edu0"), dma_debug=True)
    edu = EduDevice(run, guest, host, "edu0")
    run.said(guest, "DMA-API: debugging enabled")
    edu.load("a")
    request(run, edu)
    run.prepare(guest)
    run.equal("rehearse", guest.set("rehearse", 1), "")
    load(run, guest, "a", HELPER, f"unrequested={edu.identity}")
    run.load(guest, "a")
    watch = Watch(run, host, (edu,))
    for error in (guest.refused_jump(), guest.set("rehearse", 1)):
        run.check("freeze is refused", error != "")
        run.state(guest, "prepared")
        step, bus, identity, number, reason = guest.failed_device()
        run.equal("who failed", (step, bus, identity), ("freeze", "pci", edu.identity))
        run.check("why", int(number) < 0 and reason, f"{number} {reason}")
    run.said(guest, f"{edu.identity}: liveupdate: ")
    run.equal("MSI was left alone", pt.disabled(
        host.trace.events(watch.start), edu.function.name,
        host.capability(edu.function, pt.MSI), pt.MSI_ENABLE), [])
    edu.check_works("after the refusal")
    guest.do(f"rmmod {HELPER}")
    run.equal("rehearse without the page", guest.set("rehearse", 1), "")
    edu.check_works("without the page")
    watch.check()
    run.cancel(guest)
    guest.do("rmmod liveupdate_edu")
    run.equal("complaints of dma-debug", COMPLAINT.findall(guest.console()), [])


@scenario("pci-link", smp=2, **WATCHED)
def pci_link(run):
    """Two functions, one of which cannot do without the other, which is preserved with
    it, or nothing is. Both are running when the first of them is taken over, and the
    consumer is frozen before its supplier. Fails if a supplier is only kept alive."""
    with Ivshmem() as server:
        machine = Machine().port("port0").ivshmem("ivshmem0", server, "port0").edu("edu0")
        guest, host, edu = with_edu(run, machine)
        bell = IvshmemDevice(run, guest, host, "ivshmem0", server)
        bell.load("a")
        load(run, guest, "a", HELPER, f"consumer={edu.identity}", f"supplier={bell.identity}")
        request(run, edu)
        flight = Flight(run, guest, host, edu, "consumer")
        watch = Watch(run, host, (edu, bell), ("port0",))
        run.prepare(guest)
        run.equal("preserved", set(listed(guest, "preserved")), {edu.identity, bell.identity})
        run.equal("unbind of the supplier", bell.bind(unbind=True), "EBUSY")
        run.load(guest)

        def look(gdb):
            flight.look(gdb)
            server.ring(5)
        counts = server.counts()
        at_jump(run, guest, look, flight.begin(), flight)
        arrive(run, guest)
        controls = {(edu.function.name, host.capability(edu.function, pt.MSI) + 2),
                    (bell.function.name, host.capability(bell.function, pt.MSIX) + 2)}
        frozen = [event.function for event in host.trace.events(watch.start)
                  if isinstance(event, pt.Access) and event.write and
                  (event.function, event.offset) in controls]
        run.equal("the order in which they were frozen", frozen[:2],
                  [edu.function.name, bell.function.name])
        bell.load("b")
        edu.load("b")
        flight.found()
        bell.check_interrupts("of the supplier", (
            count + (vector == 5) for vector, count in enumerate(counts)))
        run.equal("reclaimed", set(listed(guest, "reclaimed")), {edu.identity, bell.identity})
        run.finish(guest)
        watch.check()


@scenario("pci-three-updates", smp=2, debug=True, limit=200, **WATCHED)
def pci_three_updates(run):
    """Three updates in a row of a device with a transfer in flight each time, behind a root
    port, and one with MSI-X that is rung each time. From the first prepare to the last
    finish nothing was reset, no bus master was off, MSI-X was never disabled, base
    addresses saw only the pair that asks for their size with decoding off, and counters go
    on. Fails without any of the conditions in enumeration, and if what is retrieved is not
    preserved again."""
    with Ivshmem() as server:
        machine = Machine().port("port0").edu("edu0", "port0").ivshmem("ivshmem0", server)
        guest, host, edu = with_edu(run, machine)
        bell = IvshmemDevice(run, guest, host, "ivshmem0", server)
        bell.load("a")
        bell.ring(0, "before")
        whole = Watch(run, host, (edu, bell), ("port0",))
        memory = set()
        for number, kernel in enumerate("bab", 1):
            run.step(f"update {number}")
            request(run, edu, bell)
            counts = server.counts()
            bell.ring(number, "in the old kernel")
            watch = fly(run, guest, host, edu, f"update {number}", ("port0",), kernel,
                        (bell,))
            server.ring(number + 3)
            bell.load(kernel)
            run.equal("retrieved", bell.shown("retrieved"), "1")
            bell.check_interrupts("of both kernels", (
                count + (vector in (number, number + 3))
                for vector, count in enumerate(counts)))
            run.equal("as the driver says", bell.interrupts(), server.counts())
            run.finish(guest)
            watch.check()
            edu.check_works(f"after update {number}")
            memory.add(host.edu(edu.function).memory & ~0xFFF)
        run.equal("buffers of the device", len(memory), 1)
        whole.check()
        run.equal("MSI-X disabled", pt.disabled(
            host.trace.events(whole.start), bell.function.name,
            host.capability(bell.function, pt.MSIX)), [])
        edu.store(pattern("the end"))
        run.unsaid(guest, "liveupdate: quarantined")


@scenario("pci-card-added", smp=2, limit=200, **WATCHED)
def pci_card_added(run):
    """Cards are added beside a preserved function, on a bus with several slots, more than its
    bridge has room for: while the function is prepared, and in the next kernel before its
    driver is there. It stays where it is, and so do the windows of the bridge; a card that
    does not fit gets no addresses. Fails if resources are assigned anew for it, in either
    kernel."""
    machine = Machine().device("pcie-pci-bridge", "bridge0")
    machine.device("edu", "edu0", "bridge0", addr="0x1")
    # The map of devices changes all the time, see vm/qemu.py.
    guest, host, edu = with_edu(run, machine, take_turns=True)
    bridge = host.function("bridge0")

    def add(cards):
        """Adds cards until one does not fit."""
        for number in cards:
            name = f"card{number}"
            host.plug(bridge, "edu", name, addr=hex(number))
            card = host.function(name)
            guest.until(f"dmesg | grep -q '0000:{card.name}: BAR 0 .*assign'", timeout=40)
            if guest.run(f"dmesg | grep -q '0000:{card.name}: BAR 0 .*failed'").ok:
                break
        else:
            run.check("a card does not fit any more", False)
        guest.until("dmesg | grep -q 'liveupdate: its windows are kept'", timeout=10)
        run.equal(f"address of {name}", host.config(card, 0x10) & ~0xF, 0)
        # A device that is new is reset, too.
        watch.strangers = {reset.object for reset in
                           pt.resets(host.trace.events(watch.start), "edu")}

    request(run, edu)
    watch = Watch(run, host, (edu,), ("bridge0",))
    run.prepare(guest)
    add(range(2, 8))
    edu.check_works("beside cards")
    watch.check()
    run.equal("rehearse", guest.set("rehearse", 1), "")
    run.load(guest)
    flight = Flight(run, guest, host, edu, "beside cards")
    at_jump(run, guest, flight.look, flight.begin(), flight)
    arrive(run, guest)
    add(range(8, 16))
    watch.check()
    edu.load("b")
    flight.found()
    run.finish(guest)
    watch.check()
    edu.check_works("in the next kernel")


@scenario("pci-slot-at-work", smp=2, limit=200, expect=LATE, **WATCHED)
def pci_slot_at_work(run):
    """reboot(2) while cards that are not preserved are being removed, when a slot waits for a
    second until its power is off, and the shutdown of its port for that. If freeze_timeout_ms
    is over before, reboot(2) fails and names the port, and nothing was frozen; without that
    it waits, and nothing is frozen before the slot is at rest. Fails if PCI does not say that
    a slot is at work, and if reboot(2) does not wait for it."""
    machine = Machine().port("port0").edu("edu0", "port0")
    for number in (1, 2):
        machine.port(f"port{number}").edu(f"card{number}", f"port{number}")
    guest, host, edu = with_edu(run, machine)
    ports, cards = ([host.function(f"{kind}{number}") for number in (1, 2)]
                    for kind in ("port", "card"))

    def at_rest(port):
        control = host.config(port, host.capability(port, pt.EXPRESS) + pt.SLOT_CONTROL, 2)
        return control & pt.POWER_INDICATOR == pt.POWER_INDICATOR_OFF

    def remove(card):
        """What a shell does until a card is gone, and its slot still at work."""
        slot = guest.do(f"grep -l '^0000:{card.name[:-2]}$' /sys/bus/pci/slots/*/address")
        return (f"(echo 0 > {slot.removesuffix('address')}power) & "
                f"until ! [ -e {card.path} ]; do usleep 1000; done; ")

    request(run, edu)
    run.prepare(guest)
    run.load(guest)
    run.equal("freeze_timeout_ms", guest.set("freeze_timeout_ms", 100), "")
    told = guest.run(remove(cards[0]) + "guestctl reboot kexec", timeout=60).out
    run.contains("reboot(2)", told, "ETIMEDOUT")
    run.check("it did not wait until the slot is at rest", not at_rest(ports[0]))
    failure = guest.last_failure()
    run.equal("last failure", [failure[name] for name in ("transition", "subsystem", "device",
                                                          "reason")],
              ["freeze", "devices", f"pci:0000:{ports[0].name}",
               "a card is being added or removed"])
    run.state(guest, "prepared")
    edu.check_works("refused")

    guest.do("usleep 2000000")
    run.check("the slot came to rest", at_rest(ports[0]))
    run.equal("freeze_timeout_ms", guest.set("freeze_timeout_ms", 0), "")
    at_jump(run, guest, lambda gdb: None, ahead=remove(cards[1]),
            frozen=lambda: run.check("frozen when the slot is at rest", at_rest(ports[1])))
    run.contains("log", guest.console(1), "devices: waiting before freeze: "
                 f"pci:0000:{ports[1].name}: a card is being added or removed")
    arrive(run, guest)
    edu.load("b")
    run.equal("retrieved", edu.shown("retrieved"), "1")
    run.finish(guest)
    edu.check_works("in the next kernel")
