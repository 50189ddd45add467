# SPDX-License-Identifier: GPL-2.0
"""Virtio devices that run through an update: what their driver asked for in one kernel
arrives in the next one.

The host is the witness: it decides which bytes come when, and QEMU records each write of
the status of the device, what it used, and each reset.
"""

import contextlib
import dataclasses
import hashlib
import threading

from ...guest import devices as guest_devices
from ...guest import mmio as guest_mmio
from ...guest import pci as guest_pci
from ...guest.handover import Handover
from ...guest.pci import Machine, pattern
from ...guest.virtio import ConsoleDevice, RngDevice, VirtioDevice
from ...vm import virtio_trace as vt
from ...vm.chardev import Chardev, Egd
from ..api import scenario
from ..virtio import OK, Line, Stream, arrive, between, check_path


def rng_updates(run, guest, rng, egd, extra=""):
    """Two updates of a virtio-rng device; the next kernels need `extra` on their command
    line."""
    rng.load("a")
    stream = Stream(run, guest, rng, egd)
    egd.wait_requests(1)
    rng.select()
    stream.deliver("at first")
    stream.deliver("the second")
    rng.release()

    run.step("an update with a request in flight")
    run.equal("request of the function", rng.request(), "")
    run.prepare(guest)
    run.equal("preserved", rng.both("preserved"), ("1", "1"))
    rng.select()
    stream.deliver("prepared")
    rng.release()
    run.step("who waits for data waits on in a rehearsal")
    rng.select()
    job = guest.start(f"{rng.command()} > /run/block")
    guest.do("usleep 100000")
    run.equal("rehearse", guest.set("rehearse", 1), "")
    stream.send()
    guest.finish(job)
    stream.receive("rehearsed", guest.run("cat /run/block").data)
    stream.deliver("after that")
    rng.release()
    run.load(guest, extra=extra)
    between(run, guest, stream.send)
    arrive(run, guest)
    rng.load("b")
    run.equal("reclaimed", rng.both("reclaimed"), ("1", "1"))
    rng.select()
    stream.receive("sent between the kernels")
    stream.deliver("in the next kernel")
    run.finish(guest)
    stream.deliver("after finish")
    rng.release()

    run.step("an update with data that was not read")
    run.equal("request of the virtio device", rng.request_below(), "")
    run.prepare(guest)
    run.equal("preserved", rng.both("preserved"), ("1", "1"))
    stream.send()
    run.load(guest, "a", extra)
    run.jump(guest, "a")
    rng.load("a")
    run.equal("reclaimed", rng.both("reclaimed"), ("1", "1"))
    rng.select()
    stream.receive("sent before the kexec")
    stream.deliver("in the kernel after that")
    run.finish(guest)
    stream.deliver("at last")

    stream.check()
    run.unsaid(guest, "quarantined")


@scenario("virtio-rng", debug=True, smp=2, gdb=True)
def virtio_rng(run):
    """A virtio-rng device goes through two updates. What the first kernel asked for arrives
    while no kernel runs, and what arrived in the second one and was not read is read in the
    third, each block once and in order. The device is neither reset nor negotiated with again.
    Fails without: virtio_liveupdate_recognize() or virtio_dev_take_over() (the status is
    written), virtio_liveupdate_load() (a block is lost), poll_vqs() after the kexec (it is
    never read), freeze_late() of the driver (it is read twice, or not at all)."""
    with Egd() as egd:
        guest, host = guest_pci.boot(run, Machine().rng("rng0", egd), trace=vt.EVENTS)
        rng = RngDevice(run, guest, host, "rng0")
        start = host.trace.now()
        rng_updates(run, guest, rng, egd)
        check_path(run, host, rng, start)


@scenario("mmio-rng", debug=True, gdb=True)
def mmio_rng(run):
    """The same of a virtio-rng device whose transport is a platform device, virtio-mmio, on a
    machine without PCI and ACPI. What is signalled is an edge that does not come again. Fails
    without: platform_liveupdate_match() (nothing is taken over), the condition in
    vm_setup_vq(), vm_interrupt() in vm_poll() (no interrupt arrives any more)."""
    with Egd() as egd:
        guest, host = guest_mmio.boot(run, guest_mmio.Machine().rng("rng0", egd),
                                      trace=vt.EVENTS)
        rng = RngDevice(run, guest, host, "rng0")
        rng_updates(run, guest, rng, egd, " ".join(host.parameters()))


def messages(trace, event, start=0):
    """Values of messages of the guest on the control channel."""
    return vt.values(trace.events(start), "message", str(event))


def console_of(trace):
    """The console, as QEMU calls it: it has more virtqueues than the others."""
    return next(event.device for event in trace.events()
                if event.what == "notify" and event.value == 3)


def console_updates(run, guest, con, ports, extra=""):
    """An update of a virtio console with three ports; the next kernel needs `extra` on its
    command line."""
    first, third = ports[1], ports[3]
    trace = vt.trace(guest.vm)
    line = Line(run, guest, first, 1)
    con.hold(1, 1000, "/run/first")
    con.hold(2, 1, "/run/second")
    guest.until("grep -q 'guest_connected: 1' /sys/kernel/debug/virtio-ports/*p1")
    guest.until("grep -q 'guest_connected: 1' /sys/kernel/debug/virtio-ports/*p2")
    line.send("at first", 3000)
    guest.until("[ -e /run/first.done ]")
    line.check("at first", guest.run("cat /run/first").data, 1000)

    run.equal("request", con.request(), "")
    run.prepare(guest)
    run.equal("preserved", con.both("preserved"), ("1", "1"))
    line.send("prepared", 5000)
    run.equal("rehearse", guest.set("rehearse", 1), "")
    line.send("rehearsed", 3000)
    run.load(guest, extra=extra)
    ready = trace.now()
    between(run, guest, lambda: line.send("between the kernels", 20000))
    arrive(run, guest)
    run.equal("reclaimed", con.both("reclaimed"), ("1", "1"))
    line.send("not opened yet", 6000)

    left = line.left()
    line.check("in the next kernel", con.receive(1, left), left)
    run.equal("messages that the device is ready", messages(
        trace, vt.DEVICE_READY, ready), [])
    run.equal("ports opened and closed since", messages(trace, vt.PORT_OPEN, ready), [1, 0])
    con.send_line(1, "hello")
    run.equal("what the host reads", first.wait(6), b"hello\n")
    before = trace.now()
    run.finish(guest)
    run.equal("ports closed by finish", messages(trace, vt.PORT_OPEN, before), [0])
    con.hold(3, 500, "/run/third")
    ordinary = Line(run, guest, third, 3)
    guest.until("grep -q 'guest_connected: 1' /sys/kernel/debug/virtio-ports/*p3")
    ordinary.send("after finish", 500)
    guest.until("[ -e /run/third.done ]")
    ordinary.check("after finish", guest.run("cat /run/third").data, 500)

    device = console_of(trace)
    run.equal("writes of the status since", vt.written(trace.events(ready), device), [])
    run.equal("status", vt.values(trace.events(), "status", device)[-1:], [OK])
    run.unsaid(guest, "quarantined")


@contextlib.contextmanager
def three_ports():
    """What the host has of three ports, by number."""
    with Chardev() as first, Chardev() as second, Chardev() as third:
        yield {1: first, 2: second, 3: third}


@scenario("virtio-console", debug=True, smp=2, gdb=True)
def virtio_console(run):
    """Ports of a virtio console stay open for the host through an update. What it sends before
    prepare, in prepared, while no kernel runs and before a process of the next kernel opens the
    port is read there, in order, once; the rest of a buffer that the old kernel has begun to
    read, too. A port that nobody opens again is closed at finish, one that nobody had open
    works as ever. Fails without: virtio_liveupdate_load(), restore_port(), or the test of
    handed_over in in_intr() (bytes are lost), the order of what is read first in
    fill_readbuf() and freeze (bytes come twice)."""
    with three_ports() as ports:
        guest, host = guest_pci.boot(run, Machine().console("con0", ports), trace=vt.EVENTS)
        con = ConsoleDevice(run, guest, host, "con0")
        start = host.trace.now()
        console_updates(run, guest, con, ports)
        check_path(run, host, con, start)


@scenario("mmio-console", gdb=True)
def mmio_console(run):
    """The same of a virtio console whose transport is virtio-mmio. Fails without the mends of
    mmio-rng."""
    with three_ports() as ports:
        guest, host = guest_mmio.boot(run, guest_mmio.Machine().console("con0", ports),
                                      trace=vt.EVENTS)
        con = ConsoleDevice(run, guest, host, "con0")
        console_updates(run, guest, con, ports, " ".join(host.parameters()))


# A stream that the host sends as fast as it is taken, in blocks of a process that reads.
STREAM_BLOCK = 64 << 10
OLD_BLOCKS, PREPARED_BLOCKS, NEW_BLOCKS = 48, 16, 96
REHEARSALS = 100


def _digest(data, first, count):
    """Checksum of some blocks."""
    part = data[first * STREAM_BLOCK:(first + count) * STREAM_BLOCK]
    return hashlib.sha256(part).hexdigest()


def _reads(count, path):
    """What the shell takes so many blocks from file 3 with, and keeps the checksum of."""
    return (f"dd bs={STREAM_BLOCK} count={count} iflag=fullblock <&3 2>/dev/null | sha256sum "
            f">{path}.new; mv {path}.new {path}")


@scenario("virtio-console-stream", smp=2, limit=240)
def virtio_console_stream(run):
    """The host streams ten megabytes into a port, through a whole update, as fast as they are
    taken: what is not read stays with the host. A hundred rehearsals meanwhile lose nothing
    either. Fails without restore_port() or the order of what is read first in fill_readbuf()."""
    data = pattern("stream", (OLD_BLOCKS + PREPARED_BLOCKS + NEW_BLOCKS) * STREAM_BLOCK)
    with Chardev() as port:
        guest, host = guest_pci.boot(run, Machine().console("con0", {1: port}),
                                     trace=vt.EVENTS)
        con = ConsoleDevice(run, guest, host, "con0")
        guest.start(f"exec 3<>{con.port(1)}; {_reads(OLD_BLOCKS, '/run/old')}; "
                    "until [ -e /run/go ]; do usleep 20000; done; "
                    f"{_reads(PREPARED_BLOCKS, '/run/prepared')}; sleep 1000")
        guest.until("grep -q 'guest_connected: 1' /sys/kernel/debug/virtio-ports/*p1")
        sender = threading.Thread(target=port.send, args=(data,), daemon=True)
        sender.start()
        run.equal("request", con.request(), "")
        guest.until("[ -e /run/old ]", timeout=60)
        run.equal("blocks of the old kernel", guest.read("/run/old").split()[0],
                  _digest(data, 0, OLD_BLOCKS))
        run.prepare(guest)
        guest.do("touch /run/go")
        count = REHEARSALS // 5 if run.slow else REHEARSALS
        errors = [guest.set("rehearse", 1) for _ in range(count)]
        run.equal("rehearsals that failed", set(errors), {""})
        guest.until("[ -e /run/prepared ]", timeout=60)
        run.equal("blocks while it was prepared", guest.read("/run/prepared").split()[0],
                  _digest(data, OLD_BLOCKS, PREPARED_BLOCKS))
        run.load(guest)
        run.jump(guest)
        run.check("the host has more to send", sender.is_alive())
        result = guest.run(f"exec 3<>{con.port(1)}; {_reads(NEW_BLOCKS, '/run/new')}",
                           timeout=90)
        run.check("the port can be read", result.ok, result.out)
        run.equal("blocks of the new kernel", guest.read("/run/new").split()[0],
                  _digest(data, OLD_BLOCKS + PREPARED_BLOCKS, NEW_BLOCKS))
        sender.join(10)
        run.check("the host has sent all", not sender.is_alive())
        run.finish(guest)


def _unplug(run, guest, name):
    """Takes a card out as somebody does who asks first."""
    since = len(guest.vm.qmp.events)
    guest.vm.qmp.execute("device_del", id=name)
    run.check(f"{name} is unplugged", guest.vm.qmp.wait_event("DEVICE_DELETED", 30, since))


@scenario("virtio-unplugged", smp=2, limit=200)
def virtio_unplugged(run):
    """Virtio cards are unplugged in each state: one that is prepared, which cancels the update;
    in the next kernel one that waits for its driver, and one that was taken over. The others
    go on. Fails if a removal waits for a device that was handed over, or leaves it running."""
    names = [f"rng{number}" for number in range(4)]
    with contextlib.ExitStack() as stack:
        egds = [stack.enter_context(Egd()) for _ in names]
        machine = Machine()
        for name, egd in zip(names, egds):
            machine.rng(name, egd)
        guest, host = guest_pci.boot(run, machine, trace=vt.EVENTS)
        devices = [RngDevice(run, guest, host, name) for name in names]
        devices[0].load("a")
        for device, egd in zip(devices, egds):
            egd.wait_requests(1)
            run.equal(f"request of {device.name}", device.request(), "")
        run.prepare(guest)
        _unplug(run, guest, "rng0")
        guest.until('[ "$(cat /sys/kernel/liveupdate/state)" = normal ]', timeout=20)
        run.prepare(guest)
        run.load(guest)
        run.jump(guest)
        _unplug(run, guest, "rng1")
        devices[2].load("b")
        for device in devices[2:]:
            run.equal(f"{device.name}: reclaimed", device.both("reclaimed"), ("1", "1"))
        _unplug(run, guest, "rng2")
        run.finish(guest)
        run.retained(guest)
        stream = Stream(run, guest, devices[3], egds[3])
        devices[3].select()
        stream.deliver("after that")
        devices[3].release()


def _unclaimed(run, guest, rng, other, egds, extra=""):
    """The next kernel has no driver for a device that was handed over, until finish."""
    rng.load("a")
    egd, second = egds
    egd.wait_requests(1)
    second.wait_requests(1)
    trace = vt.trace(guest.vm)
    run.equal("request", rng.request(), "")
    run.prepare(guest)
    run.equal("preserved", (rng.both("preserved"), other.both("preserved")),
              (("1", "1"), ("0", "0")))
    run.load(guest, extra=extra)
    start = trace.now()
    run.jump(guest)
    run.equal("reclaimed transports", [device.file("liveupdate/reclaimed")
                                       for device in (rng, other)], ["1", "0"])
    resets = [event.device for event in trace.events(start)
              if event.what == "status" and event.value == 0]
    run.finish(guest, waits=("devices", "virtio:4", "4"))
    after = [event.device for event in trace.events(start)
             if event.what == "status" and event.value == 0]
    new = [device for device in after if device not in resets]
    run.equal("devices that were not reset before finish, but by it", len(set(new)), 1)
    run.retained(guest)
    counts = [len(one.requests()) for one in egds]
    rng.load("b")
    for one, count in zip(egds, counts):
        one.wait_requests(count + 1)
    run.prepare(guest)
    run.cancel(guest)


@scenario("virtio-unclaimed", smp=2)
def virtio_unclaimed(run):
    """Nobody takes a virtio device over: it runs until finish, which resets it through its
    transport, and works as ever with a driver that comes then. One beside it, which was not
    requested, is an ordinary device all along. Fails without virtio_liveupdate_recognize() (it
    is reset when it is registered) or virtio_liveupdate_quarantine() (it is never reset)."""
    with Egd() as egd, Egd() as second:
        guest, host = guest_pci.boot(run, Machine().rng("rng0", egd).rng("rng1", second),
                                     trace=vt.EVENTS)
        _unclaimed(run, guest, RngDevice(run, guest, host, "rng0"),
                   RngDevice(run, guest, host, "rng1"), (egd, second))


@scenario("mmio-unclaimed")
def mmio_unclaimed(run):
    """The same on virtio-mmio."""
    with Egd() as egd, Egd() as second:
        machine = guest_mmio.Machine().rng("rng0", egd).rng("rng1", second)
        guest, host = guest_mmio.boot(run, machine, trace=vt.EVENTS)
        _unclaimed(run, guest, RngDevice(run, guest, host, "rng0"),
                   RngDevice(run, guest, host, "rng1"), (egd, second),
                   " ".join(host.parameters()))


@scenario("mmio-renumbered")
def mmio_renumbered(run):
    """The command line of the next kernel lists the devices the other way round, so that
    each has the name that another one had: what was handed over is found by its place, and
    the other one is an ordinary device. Fails if the number is part of the identity."""
    with Egd() as egd, Egd() as second:
        machine = guest_mmio.Machine().rng("rng0", egd).rng("rng1", second)
        guest, host = guest_mmio.boot(run, machine, trace=vt.EVENTS)
        rng = RngDevice(run, guest, host, "rng0")
        rng.load("a")
        egd.wait_requests(1)
        second.wait_requests(1)
        run.equal("request", rng.request(), "")
        run.prepare(guest)
        share, *others = host.parameters()
        run.load(guest, extra=" ".join((share, *others[::-1])))
        trace = vt.trace(guest.vm)
        start = trace.now()
        run.jump(guest)
        found, other = (RngDevice(run, guest, host, name) for name in ("rng0", "rng1"))
        run.check("names are others", found.function.name != rng.function.name)
        found.load("b")
        run.equal("reclaimed", (found.both("reclaimed"), other.both("reclaimed")),
                  (("1", "1"), ("0", "0")))
        second.wait_requests(2)
        run.equal("devices that were reset", len({
            event.device for event in trace.events(start)
            if event.what == "status" and event.value == 0}), 2)   # the share and the other
        run.finish(guest)


# -- what is refused, and the way back ------------------------------------------------

def _refuses(run, guest, device, reason, below=True):
    """Neither the virtio device nor the function is preserved, and it is said why."""
    if below:
        run.equal(f"{device.name}: request of the virtio device", device.request_below(),
                  "EOPNOTSUPP")
        run.contains(f"{device.name}: why", guest.last_failure()["reason"], reason)
    run.equal(f"{device.name}: request of the function", device.request(), "")
    run.equal(f"{device.name}: prepare", guest.set("prepare", 1), "EOPNOTSUPP")
    run.contains(f"{device.name}: why", guest.last_failure()["reason"], reason)
    run.contains(f"{device.name}: which", guest.last_failure()["device"], "virtio:")
    run.state(guest, "normal")
    run.equal(f"{device.name}: no request", device.request(0), "")


@scenario("virtio-refused")
def virtio_refused(run):
    """Virtio devices that cannot be handed over: with packed virtqueues, legacy, with a
    driver that has no live update, a console. The reason is told for the virtio device, and
    the others are not disturbed. Fails without the tests in virtio_liveupdate_check()."""
    with Egd() as good, Egd() as packed, Egd() as legacy, Chardev() as tty:
        machine = Machine().rng("rng0", good).rng("rng1", packed, packed="on") \
            .rng("rng2", legacy, **{"disable-modern": "on", "disable-legacy": "off"}) \
            .console("con0", {1: tty}, driver="virtconsole") \
            .share("share0", run.folder)
        guest, host = guest_pci.boot(run, machine, trace=vt.EVENTS)
        rng = RngDevice(run, guest, host, "rng0")
        rng.load("a")
        for name, reason in (("rng1", "packed"), ("rng2", "transport")):
            _refuses(run, guest, RngDevice(run, guest, host, name), reason)
        _refuses(run, guest, VirtioDevice(run, guest, host, "share0"), "no live update", False)
        console = ConsoleDevice(run, guest, host, "con0")
        run.equal("request of a console", console.request(), "")
        run.equal("prepare with a console", guest.set("prepare", 1), "EOPNOTSUPP")
        run.said(guest, "a port is a console")
        run.equal("no request", console.request(0), "")
        stream = Stream(run, guest, rng, good)
        run.equal("request", rng.request(), "")
        for number in range(2):
            run.prepare(guest)
            run.equal("rehearse", guest.set("rehearse", 1), "")
            run.cancel(guest)
            run.equal("preserved", rng.both("preserved"), ("0", "0"))
        rng.select()
        stream.deliver("cancelled")
        rng.release()
        run.equal("unbind", guest.write("/sys/bus/virtio/drivers/virtio_rng/unbind",
                                        rng.below.rsplit("/", 1)[-1]), "")
        run.equal("bind", guest.write("/sys/bus/virtio/drivers/virtio_rng/bind",
                                      rng.below.rsplit("/", 1)[-1]), "")


# -- corruption ----------------------------------------------------------------------

# Offsets in the blob of a virtio-rng: struct virtio_liveupdate_ser, what the driver saved,
# one virtqueue, one buffer.
DRIVER = 32
QUEUE = DRIVER + 8
BUFFER = QUEUE + 24


@dataclasses.dataclass(frozen=True)
class Harm:
    """One field that is wrong: where, how wide, and what is there instead."""
    what: str
    at: int
    size: int
    value: int
    ring: bool = False              # in the ring, not in the blob


HARMS = (
    Harm("version", 0, 4, 2),
    Harm("number of virtqueues", 4, 4, 1 << 30),
    Harm("no virtqueue", 4, 4, 0),
    Harm("number of buffers", 8, 4, 0xFFFFFFFF),
    Harm("size of what the driver saved", 12, 4, 0xFFFFFFF8),
    Harm("features", 20, 4, 0),
    Harm("bytes that were not read", DRIVER, 4, 65),
    Harm("where they are", DRIVER + 4, 4, 65),
    Harm("tag", QUEUE, 4, 0x20000),
    Harm("alignment", QUEUE + 4, 4, 0x80000000),
    Harm("index", QUEUE + 8, 2, 7),
    Harm("descriptors", QUEUE + 10, 2, 0x8000),
    Harm("available", QUEUE + 14, 2, 0x1234),
    Harm("used", QUEUE + 16, 2, 0x1234),
    Harm("flags", QUEUE + 18, 2, 2),
    Harm("buffers of the virtqueue", QUEUE + 20, 4, 9),
    Harm("name", BUFFER, 4, 1),
    Harm("head", BUFFER + 4, 2, 0xFFFF),
    Harm("another head", BUFFER + 4, 2, 5),
    Harm("address of a descriptor", 1, 1, 0xEE, ring=True),
    Harm("length of a descriptor", 8, 4, 65, ring=True),
    Harm("a chain that does not end", 12, 4, 0x00000003, ring=True),
    Harm("an indirect descriptor", 12, 2, 4, ring=True),
)


def _corrupt(run, guest, devices, harms):
    """Each device has one field that is wrong."""
    handover = Handover(guest.vm.ram)
    table = guest_devices.Table(guest.vm.ram, handover)
    records = table.records()
    buffers = guest_devices.Buffers(guest.vm.ram, handover)
    for device, harm in zip(devices, harms):
        position = next(i for i, record in enumerate(records)
                        if record.id == device.identity)
        below = next(record for record in records if record.parent == position + 1)
        run.equal(f"{device.name} on the virtio bus", (below.bus, below.id), ("virtio", "4"))
        base = buffers.find(position, 0) if harm.ring else below.value
        guest.vm.ram.write(base + harm.at, harm.value.to_bytes(harm.size, "little"))


def _corrupted(run, harms):
    """As many virtio-rng devices as there are harms, and one that is left alone."""
    machine, names = Machine(), [f"rng{number}" for number in range(len(harms) + 1)]
    with contextlib.ExitStack() as stack:
        egds = [stack.enter_context(Egd()) for _ in names]
        for name, egd in zip(names, egds):
            machine.rng(name, egd)
        guest, host = guest_pci.boot(run, machine, trace=vt.EVENTS)
        devices = [RngDevice(run, guest, host, name) for name in names]
        devices[0].load("a")
        for device, egd in zip(devices, egds):
            egd.wait_requests(1)
            run.equal(f"request of {device.name}", device.request(), "")
        run.prepare(guest)
        run.load(guest)
        gdb = guest.stop_at_jump()
        _corrupt(run, guest, devices, harms)
        before = [len(egd.requests()) for egd in egds]
        gdb.detach()
        arrive(run, guest)
        devices[0].load("b")
        console = guest.console(2)
        for device, harm in zip(devices, harms):
            run.equal(f"{harm.what}: reclaimed", device.both("reclaimed"), ("1", "0"))
            name = device.below.rsplit("/", 1)[-1]
            run.contains(f"{harm.what}: console", console,
                         f"{name}: liveupdate: quarantined: its probe failed")
        run.equal("the one that is left alone", devices[-1].both("reclaimed"), ("1", "1"))
        run.finish(guest)
        for harm, egd, count in zip(harms, egds, before):
            run.step(f"{harm.what}: an ordinary device again")
            egd.wait_requests(count + 1)
        # Nobody has retrieved their rings, and the transport was taken over, but they were
        # stopped.
        run.retained(guest)
        run.prepare(guest)
        run.cancel(guest)


CORRUPTED = {"ram_file": True, "gdb": True, "limit": 240}


@scenario("virtio-corrupted", **CORRUPTED)
def virtio_corrupted(run):
    """Each field of what is handed over of a virtio device is wrong once, a device for each:
    that device is quarantined, without a splat, and works after finish as ever. Fails without
    one of the tests in virtio_liveupdate_valid() and virtio_liveupdate_negotiated()."""
    _corrupted(run, HARMS[:12])


@scenario("virtio-corrupted-queue", **CORRUPTED)
def virtio_corrupted_queue(run):
    """The same of a virtqueue, the buffer in flight and its descriptors. Fails without one of
    the tests in virtio_liveupdate_load() and what it calls."""
    _corrupted(run, HARMS[12:])
