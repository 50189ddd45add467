# SPDX-License-Identifier: GPL-2.0
"""PCI functions that the next kernel does not take over, or that it cannot."""

import json
import struct
import threading
import time

from ...guest import table as guest_table
from ...guest.control import host_path
from ...guest.devices import AT, Table
from ...guest.handover import Handover
from ...guest.pages import Kept, full
from ...guest.pci import (BUFFER, DRIVERS, HELPER, IVSHMEM, TRANSFER, Device, EduDevice,
                          IvshmemDevice, Machine, listed, load, pattern)
from ...vm import pci_trace as pt
from ...vm.ivshmem import Ivshmem
from ...vm.pci_host import EDU_DEVICE
from ..api import Failed, release_of, scenario
from ..luctl import NO_GO, luctl
from ..luctl import update as luctl_update
from ..pci import WATCHED, Flight, Watch, arrive, at_jump, request, with_edu
from ..test_bus import wait_normal

# Memory below 1 MiB that no kernel uses once it is up, for DMA that must not be.
LOW = 0x2000
DMA_RECORD = struct.Struct("<QQIIII")           # struct dma_liveupdate_ser
DMA_RESERVED = 28                               # an offset in it


def provoke(guest, host, function, address=LOW):
    """The host makes edu write to memory, as if it still had something to do; whether
    anything landed there."""
    before = b"\xa5" * 64
    guest.vm.ram.write(address, before)
    base = function.bars[0]
    for register, value in ((0x80, EDU_DEVICE), (0x88, address), (0x90, 64), (0x98, 3)):
        guest.vm.write_physical(base + register, value.to_bytes(8, "little"))
    end = time.monotonic() + 10
    while host.edu(function).running and time.monotonic() < end:
        time.sleep(0.02)
    return guest.vm.ram.read(address, 64) != before


def check_quarantined(run, guest, host, start, device, reason, boot_number=2):
    """Bus mastering went off in that kernel, it was said why, and DMA goes nowhere."""
    run.contains("console", guest.console(boot_number),
                 f"{device.identity}: liveupdate: quarantined: {reason}")
    run.check(f"{device.name}: bus mastering was switched off", pt.without_master(
        host.trace.events(start), device.function.name))


def check_quiesced(run, guest, host, device):
    """DMA of a function that is no bus master goes nowhere, even if its registers are
    opened to begin some."""
    command = host.command(device.function)
    run.equal(f"{device.name} is no bus master", command & pt.MASTER, 0)
    if not command & pt.MEMORY:
        host.write_config(device.function, pt.COMMAND, command | pt.MEMORY, 2)
    run.equal(f"{device.name}: DMA that the host provokes lands",
              provoke(guest, host, device.function), False)
    host.write_config(device.function, pt.COMMAND, command, 2)


@scenario("pci-missing-driver", debug=True, memory="512M", limit=200, **WATCHED)
def pci_missing_driver(run):
    """Nobody takes two running functions over, and a driver that is not compatible gets
    none of them. finish switches bus mastering off, resets them, frees the memory
    afterwards, and DMA goes nowhere then; the driver that comes later has them as new.
    Fails without quarantine in PCI, or if it comes after the memory is freed."""
    guest, host, edu = with_edu(run, Machine().edu("edu0").edu("edu1"))
    other = EduDevice(run, guest, host, "edu1")
    request(run, edu, other)
    other.store(pattern("other"))
    flight = Flight(run, guest, host, edu, "nobody")
    run.prepare(guest)
    run.load(guest)
    at_jump(run, guest, flight.look, flight.begin(), flight)
    arrive(run, guest)
    start = host.trace.now()
    load(run, guest, "b", IVSHMEM)
    guest.do(f"echo 1234 11e8 > {DRIVERS}/{IVSHMEM}/new_id || true")
    for device in (edu, other):
        run.check(f"bind of {device.name} to another driver",
                  device.bind(IVSHMEM) != "" and device.driver() == "")
        run.contains("console", guest.console(2), f"{device.identity}: liveupdate: driver "
                     f"{IVSHMEM} cannot take over sample,edu version 1")
    run.equal("bus mastering until finish", pt.without_master(
        host.trace.events(start), edu.function.name), [])
    Kept(guest.vm.ram).add("the buffer", flight.memory, BUFFER).check(run, guest)
    run.check("what landed is left alone",
              guest.vm.ram.read(flight.memory, BUFFER) == flight.after)
    run.equal("unreclaimed", set(listed(guest, "unreclaimed")),
              {edu.identity, other.identity})
    guest.do(f"echo 1234 11e8 > {DRIVERS}/{IVSHMEM}/remove_id")
    run.finish(guest, waits=("devices", edu.identity, other.identity))
    for device in (edu, other):
        check_quarantined(run, guest, host, start, device, "nobody took it over")
    run.equal("resets", len(pt.resets(host.trace.events(start), "edu")), 2)
    check_quiesced(run, guest, host, other)
    guest.do(f"rmmod {IVSHMEM}")
    edu.load("b")
    for device in (edu, other):
        run.equal(f"{device.name}: retrieved", device.shown("retrieved"), "0")
        device.check_works("as new")
    request(run, edu, other)
    run.prepare(guest)
    run.cancel(guest)


@scenario("pci-removed", memory="512M", limit=200, **WATCHED)
def pci_removed(run):
    """A running function is removed through sysfs before its driver is there. It is no bus
    master any more then; as nothing but itself could reset it, and it cannot, its memory is
    retained until the operator gives it up. After a rescan it is as new. Fails if what is
    removed is left running."""
    guest, host, edu = with_edu(run, Machine().edu("edu0"))
    request(run, edu)
    flight = Flight(run, guest, host, edu, "removed")
    run.prepare(guest)
    run.load(guest)
    at_jump(run, guest, flight.look, flight.begin(), flight)
    arrive(run, guest)
    start = host.trace.now()
    run.equal("remove", edu.write("remove", "1"), "")
    check_quarantined(run, guest, host, start, edu, "it is removed")
    run.equal("removed, it is no bus master", host.command(edu.function) & pt.MASTER, 0)
    run.finish(guest)
    causes = (f"devices:pci:{edu.identity}", "dma")
    run.retained(guest, *causes)
    kept = Kept(guest.vm.ram).add("the buffer", flight.memory, BUFFER)
    kept.check(run, guest)
    run.forget(guest, *causes)
    with full(run, guest):
        run.equal("what is not reserved", kept.lost(), ["the buffer"])
    run.equal("rescan", guest.write("/sys/bus/pci/rescan", "1"), "")
    edu.load("b")
    run.equal("retrieved", edu.shown("retrieved"), "0")
    edu.check_works("as new")


@scenario("pci-unreclaimed-kexec", **WATCHED)
def pci_unreclaimed_kexec(run):
    """A plain kexec in updated: the function that nobody took over is no bus master any
    more before the kexec, the one that was taken over is shut down as ever; the third
    kernel has both as new. Fails if only finish quarantines."""
    with Ivshmem() as server:
        machine = Machine().edu("edu0").port("port0").ivshmem("ivshmem0", server, "port0")
        guest, host, edu = with_edu(run, machine)
        other = IvshmemDevice(run, guest, host, "ivshmem0", server)
        other.load("a")
        request(run, edu, other)
        run.update(guest)
        edu.load("b")
        run.equal("retrieved", (edu.shown("retrieved"), other.driver()), ("1", ""))
        server.ring(3)
        run.load(guest, "a")
        start, counts = host.trace.now(), server.counts()

        def look(_gdb):
            for device in (edu, other):
                run.equal(f"{device.name} at the kexec is no bus master",
                          host.command(device.function) & pt.MASTER, 0)
        at_jump(run, guest, look)
        arrive(run, guest, "a", state="normal")
        check_quarantined(run, guest, host, start, other, "the system goes down")
        run.lacks("console", guest.console(2), f"{edu.identity}: liveupdate: quarantined")
        edu.load("a")
        other.load("a")
        for device in (edu, other):
            run.equal(f"{device.name}: retrieved", device.shown("retrieved"), "0")
        edu.check_works("as new")
        run.equal("interrupts of the time before", server.counts(), counts)
        other.ring(3, "as new")


@scenario("pci-unplugged", smp=2, **WATCHED)
def pci_unplugged(run):
    """In the blackout one device is pulled out, another replaced by something else, a third
    by one of its own kind; the fourth stays. The first is missed, those that came are not
    taken for what was there and can do no DMA, the fourth is taken over. Fails without the
    fingerprint of PCI."""
    machine = Machine()
    for number in range(3):
        machine.port(f"port{number}").edu(f"edu{number}", f"port{number}")
    guest, host, edu = with_edu(run, machine.edu("edu3"), "edu3")
    gone = [EduDevice(run, guest, host, f"edu{number}") for number in range(3)]
    request(run, edu, *gone)
    flight = Flight(run, guest, host, edu, "stays")
    watch = Watch(run, host, (edu,))
    run.prepare(guest)
    run.load(guest)

    def look(gdb):
        flight.look(gdb)
        watch.check(stopped=True)
        for number in range(3):
            port = host.function(f"port{number}")
            host.unplug(port, f"edu{number}")
            if number:
                host.plug(port, "pci-testdev" if number == 1 else "edu", f"new{number}")
        # A device that is new is reset, too.
        watch.strangers = {reset.object for reset in
                           pt.resets(host.trace.events(watch.start), "edu")}
    at_jump(run, guest, look, flight.begin(), flight)
    arrive(run, guest)
    differs = {1: "vendor or device ID", 2: "register 0x10"}
    for number in (1, 2):
        run.contains("console", guest.console(2), f"{gone[number].identity}: liveupdate: "
                     "quarantined: it is other hardware")
        run.contains("console", guest.console(2), f"{gone[number].identity}: liveupdate: not "
                     f"what was handed over: {differs[number]}")
    edu.load("b")
    flight.found()
    run.equal("devices that are missed", {
        identity: device for identity, device in listed(guest, "unreclaimed").items()
        if device == "-"}, {gone[0].identity: "-"})
    run.equal("devices taken over", set(listed(guest, "reclaimed")), {edu.identity})
    for number in (1, 2):
        # The port may see that its card was changed, and switch the slot off and on.
        if not host.gone(f"new{number}"):
            command = host.command(host.function(f"new{number}"))
            run.check(f"new{number} is no bus master",
                      command == pt.ABSENT or not command & pt.MASTER, f"{command:#x}")
    run.finish(guest, waits=("devices", gone[0].identity))
    watch.check()
    edu.check_works("after")
    run.contains("console at finish", guest.console(2), "devices: 1 did not appear")
    run.retained(guest, f"devices:pci:{gone[0].identity}")
    run.forget(guest, f"devices:pci:{gone[0].identity}")
    request(run, edu)
    run.prepare(guest)
    run.cancel(guest)


@scenario("pci-error-shutdown", smp=2, **WATCHED)
def pci_error_shutdown(run):
    """A port reports an error when device_shutdown() has passed the frozen device below and
    has not come to the port: the device is recovered, which ends its run. At the kexec it is
    no bus master, its DMA does not land, what was handed over is there, and the next kernel
    quarantines it. Fails if it is thawed and cancelled, and if its bus does not stop it."""
    machine = Machine().port("port0").edu("edu0", "port0").physical("slow0")
    guest, host, edu = with_edu(run, machine)
    slow = Device(run, guest, host, "slow0")
    load(run, guest, "a", HELPER, "slow_shutdown=4000")
    run.equal("driver_override", slow.write("driver_override", HELPER), "")
    run.equal("bind", slow.bind(HELPER), "")
    request(run, edu)
    edu.store(pattern("lost"))
    edu.check_works("before")
    run.prepare(guest)
    run.load(guest)
    errors = []

    def fail():
        try:
            end = time.monotonic() + 60
            while "shut down slowly" not in guest.vm.serial():
                if time.monotonic() > end:
                    raise Failed("no shutdown of the slow function")
                time.sleep(0.01)
            run.step("error of the port")
            errors.append(host.monitor("pcie_aer_inject_error port0 POISON_TLP"))
        except Exception as error:      # pylint: disable=broad-except
            errors.append(error)
    thread = threading.Thread(target=fail, daemon=True)
    thread.start()
    before = pattern("what is there", TRANSFER)
    memory = host.edu(edu.function).memory

    def look(gdb):
        thread.join(70)
        run.check("the error was injected", errors and isinstance(errors[0], str) and
                  errors[0].startswith("OK"), str(errors))
        run.said(guest, f"{edu.identity}: liveupdate: lost after")
        run.equal("at the kexec it is no bus master",
                  host.command(edu.function) & pt.MASTER, 0)
        edu.again(gdb, before)
    at_jump(run, guest, look)
    arrive(run, guest)
    run.contains("console", guest.console(2),
                 f"{edu.identity}: liveupdate: quarantined: it went missing before the kexec")
    end = time.monotonic() + 20
    while host.edu(edu.function).running and time.monotonic() < end:
        time.sleep(0.02)
    run.check("its DMA did not land", guest.vm.ram.read(memory, TRANSFER) == before)
    edu.load("b")
    run.equal("driver until finish", edu.driver(), "")
    run.finish(guest)
    guest.until(f"[ -e {edu.function.path}/driver ]", timeout=20)
    run.equal("retrieved", edu.shown("retrieved"), "0")
    edu.check_works("as new")


@scenario("pci-error-incoming", memory="512M", **WATCHED)
def pci_error_incoming(run):
    """A port reports an error while the function below runs and waits for its driver: it is no
    bus master any more, its memory is retained, and nobody takes it over. finish resets it
    before its memory is freed. Fails if finish takes it for stopped."""
    guest, host, edu = with_edu(run, Machine().port("port0").edu("edu0", "port0"))
    request(run, edu)
    flight = Flight(run, guest, host, edu, "recovered")
    run.prepare(guest)
    run.load(guest)
    at_jump(run, guest, flight.look, flight.begin(), flight)
    arrive(run, guest)
    start = host.trace.now()
    run.check("the error was injected", host.monitor(
        "pcie_aer_inject_error port0 POISON_TLP").startswith("OK"))
    guest.until(f"dmesg | grep -q '{edu.identity}: liveupdate: quarantined: it is recovered'",
                timeout=20)
    run.equal("it is no bus master", host.command(edu.function) & pt.MASTER, 0)
    run.retained(guest, f"devices:pci:{edu.identity}")
    edu.load("b")
    run.equal("driver until finish", edu.driver(), "")
    run.equal("resets until finish", pt.resets(host.trace.events(start), "edu"), [])
    Kept(guest.vm.ram).add("the buffer", flight.memory, BUFFER).check(run, guest)
    run.finish(guest)
    run.equal("resets", len(pt.resets(host.trace.events(start), "edu")), 1)
    run.retained(guest)
    guest.until(f"[ -e {edu.function.path}/driver ]", timeout=20)
    run.equal("retrieved", edu.shown("retrieved"), "0")
    edu.check_works("as new")


@scenario("pci-unplugged-prepared", smp=2, **WATCHED)
def pci_unplugged_prepared(run):
    """A device is pulled out in prepared: it is cancelled at once, then all others without
    anybody asking, no kexec meanwhile; an update of what is left works, with a transfer in
    flight. Fails if removal of a prepared function is not told to the device layer."""
    machine = Machine().port("port0").edu("edu0", "port0").edu("edu1")
    guest, host, lost = with_edu(run, machine)
    edu = EduDevice(run, guest, host, "edu1")
    request(run, edu, lost)
    run.prepare(guest)
    run.load(guest)
    run.step("pull it out")
    host.unplug(host.function("port0"), "edu0")
    guest.until(f"! [ -e {lost.function.path} ]", timeout=20)
    wait_normal(guest)
    step, bus, identity, number, _ = guest.failed_device()
    run.equal("the device that failed", (step, bus, identity, number),
              ("prepare", "pci", lost.identity, "-19"))
    run.equal("preserved", listed(guest, "preserved"), {})
    run.equal("requested", set(listed(guest, "requested")), {edu.identity})
    edu.check_works("when the other is gone")
    flight = Flight(run, guest, host, edu, "left")
    watch = Watch(run, host, (edu,))
    run.prepare(guest)
    at_jump(run, guest, flight.look, flight.begin(), flight)
    arrive(run, guest)
    edu.load("b")
    flight.found()
    run.finish(guest)
    watch.check()


@scenario("pci-corrupted", **WATCHED)
def pci_corrupted(run):
    """At the kexec the record of one function and that of another's buffer are made wrong,
    with right checksums: both are quarantined, one when it appears and one when its driver
    fails, and the third, with a transfer in flight, is taken over."""
    machine = Machine().edu("edu0").edu("edu1").port("port0").edu("edu2", "port0")
    guest, host, edu = with_edu(run, machine)
    record, buffer = (EduDevice(run, guest, host, name) for name in ("edu1", "edu2"))
    request(run, edu, record, buffer)
    for device in (record, buffer):
        device.store(pattern(device.name))
    flight = Flight(run, guest, host, edu, "intact")
    memory = host.edu(buffer.function).memory & ~0xFFF
    run.prepare(guest)
    run.load(guest)
    ram = guest.vm.ram

    def harm(gdb):
        flight.look(gdb)
        handover = Handover(ram)
        devices = Table(ram, handover)
        handover.flip(devices.record(record.identity).address + AT["more"])
        devices.seal()
        buffers = guest_table.Table(ram, handover.record("dma").value, "luo-dma-v1",
                                    DMA_RECORD)
        found = [at for at, fields in buffers.entries() if fields[0] == memory]
        run.equal("records of the buffer", len(found), 1)
        handover.flip(found[0] + DMA_RESERVED)
        buffers.seal()
    at_jump(run, guest, harm, flight.begin(), flight)
    start = host.trace.now()
    arrive(run, guest)
    check_quarantined(run, guest, host, start, record, "its record is corrupted")
    edu.load("b")
    flight.found()
    check_quarantined(run, guest, host, start, buffer, "its probe failed")
    for device in (record, buffer):
        check_quiesced(run, guest, host, device)
    run.equal("devices taken over", set(listed(guest, "reclaimed")), {edu.identity})
    run.finish(guest)
    edu.check_works("after")
    record.check_works("as new")


class _Again:
    """A flight that, once it landed between the kernels, begins anew there and lands in the
    next kernel: the host has the device do it."""

    def __init__(self, flight):
        self._flight = flight

    def land(self, gdb):
        """Lands, and begins again."""
        self._flight.land(gdb)
        self._flight.again(gdb)


@scenario("pci-off", memory="512M", limit=200, **WATCHED)
def pci_off(run):
    """A next kernel with liveupdate=off: DMA lands where it was to between the kernels and
    in the next one, until the function appears and is no bus master any more; from then on
    none does. That memory is reserved, the driver has the function as new. Fails without
    discard (a bus master, and restored by nobody)."""
    guest, host, edu = with_edu(run, Machine().port("port0").edu("edu0", "port0"))
    request(run, edu)
    flight = Flight(run, guest, host, edu, "off")
    run.prepare(guest)
    run.load(guest, enabled="kho=on liveupdate=off")
    at_jump(run, guest, flight.look, flight.begin(), _Again(flight))
    start = host.trace.now()
    arrive(run, guest, state="none")
    check_quarantined(run, guest, host, start, edu, "nobody is to take it over any more")
    run.equal("the transfer goes on", host.edu(edu.function).running, False)
    run.check("what landed in the next kernel",
              guest.vm.ram.read(flight.memory, BUFFER) == flight.after)
    kept = Kept(guest.vm.ram).add("the buffer", flight.memory, BUFFER)
    check_quiesced(run, guest, host, edu)
    kept.check(run, guest)
    edu.load("b")
    run.equal("retrieved", edu.shown("retrieved"), "0")
    edu.check_works("as new")


@scenario("pci-plain-kexec", **WATCHED)
def pci_plain_kexec(run):
    """From prepared: an image of kexec_load(2) is refused, and nothing was frozen; what the
    function does goes on. Fails if the bus is frozen before the image is looked at."""
    guest, host, edu = with_edu(run, Machine().edu("edu0"))
    request(run, edu)
    run.prepare(guest)
    watch = Watch(run, host, (edu,))
    guest.do(f"kexec -c -l {host_path(run.image('b'))} --initrd=/host/guest/initrd "
             f"--command-line='{run.append()}'", timeout=60)
    run.equal("start", edu.start("from"), "")
    run.equal("reboot(2)", guest.refused_jump(), "EINVAL")
    run.state(guest, "prepared")
    edu.idle()
    edu.check_works("after the refusal")
    run.equal("MSI was left alone", pt.disabled(
        host.trace.events(watch.start), edu.function.name,
        host.capability(edu.function, pt.MSI), pt.MSI_ENABLE), [])
    watch.check()
    guest.do("guestctl kexec-unload")
    run.load(guest)
    run.jump(guest)
    edu.load("b")
    run.equal("retrieved", edu.shown("retrieved"), "1")
    run.finish(guest)


@scenario("pci-crash", memory="2G", ram_file=True, expect=(
    r"Kernel panic - not syncing: sysrq triggered crash", r"Call Trace:"))
def pci_crash(run):
    """A crash from prepared, with a transfer in flight: the crash kernel starts as ever,
    takes nothing over, is not written to, and its driver has the device as new. No hook is
    behind it: nothing of live update may be in the way of a crash."""
    guest, host, edu = with_edu(run, Machine().port("port0").edu("edu0", "port0"),
                                extra="crashkernel=256M kho_scratch=16M,64M,256M")
    request(run, edu)
    edu.store(pattern("there"))
    edu.fill(pattern("here"))
    memory = host.edu(edu.function).memory & ~0xFFF
    run.prepare(guest)
    guest.do(f"kexec -s -p {host_path(run.image('b'))} --initrd=/host/guest/initrd "
             f"--command-line='{run.append('maxcpus=1 reset_devices')}'", timeout=60)
    result = guest.jump(command=f"guestctl write {edu.command('from')}; echo c > /proc/sysrq-trigger")
    run.equal("crash kernel", (result.number, result.release),
              (2, release_of(run.image("b"))))
    run.check("the crash kernel is not updated", guest.state() in ("none", "normal"),
              guest.state())
    run.check("it sees the old memory", guest.exists("/proc/vmcore"))
    run.check("the transfer went where it was to", guest.vm.ram.read(memory, TRANSFER) ==
              pattern("there")[:TRANSFER])
    run.neighbour.check(run)
    edu.load("b")
    run.equal("retrieved", edu.shown("retrieved"), "0")
    edu.check_works("in the crash kernel")


@scenario("pci-next-unpatched", memory="512M", limit=200, **WATCHED)
def pci_next_unpatched(run):
    """The unpatched base as next kernel. luctl refuses it. Jumped into all the same, it
    leaves bus mastering on; what protects its memory is that KHO keeps what the function
    may reach reserved: DMA of the function lands there even when all else is filled, and
    spoils nothing. Fails if a buffer is not preserved."""
    guest, host, edu = with_edu(run, Machine().edu("edu0"))
    request(run, edu)
    report = json.loads(luctl(run, guest, f"check --json {host_path(run.image('base'))}",
                              NO_GO))
    run.equal("verdict of luctl", report["verdict"], "no-go")
    luctl(run, guest, luctl_update(run, image=host_path(run.image("base"))), NO_GO)
    run.state(guest, "normal")
    flight = Flight(run, guest, host, edu, "unpatched")
    run.prepare(guest)
    run.load(guest, "base")
    at_jump(run, guest, flight.look, flight.begin(), flight)
    arrive(run, guest, "base", state="none")
    run.check("the function is still a bus master, which nobody can help",
              host.command(edu.function) & pt.MASTER)
    with full(run, guest):
        run.check("what landed is left alone",
                  guest.vm.ram.read(flight.memory, BUFFER) == flight.after)
        run.check("DMA of the function lands",
                  provoke(guest, host, edu.function, flight.memory))
        run.check("where it was to", guest.vm.ram.read(flight.memory, 64) == flight.there[:64])


@scenario("pci-next-kho-off", **WATCHED)
def pci_next_kho_off(run):
    """A next kernel with kho=off would be given nothing and reserve nothing, with bus
    mastering on. luctl refuses to make such an update, and nothing was touched. Fails
    without the look of luctl at the command line, and if a function that is requested but
    not prepared is skipped in device_shutdown()."""
    guest, host, edu = with_edu(run, Machine().edu("edu0"))
    request(run, edu)
    watch = Watch(run, host, (edu,))
    command = luctl_update(run).replace("kho=on", "kho=off")
    run.check("kho=off is on the command line", "kho=off" in command, command)
    luctl(run, guest, command, NO_GO)
    luctl(run, guest, f"{command} --allow-loss", NO_GO)
    run.state(guest, "normal")
    run.equal("requested", set(listed(guest, "requested")), {edu.identity})
    watch.check()
    run.step("and a plain kexec into it, which nobody prepared")
    run.load(guest, enabled="kho=off liveupdate=on")
    at_jump(run, guest, lambda gdb: run.equal(
        "bus mastering", host.command(edu.function) & pt.MASTER, 0))
    arrive(run, guest, state="none")
    edu.load("b")
    edu.check_works("as new")
