# SPDX-License-Identifier: GPL-2.0
"""Virtio devices that run through an update: what their driver asked for in one kernel
arrives in the next one.

The host is the witness: it decides which bytes come when, and QEMU records each write of
the status of the device, what it used, and each reset.
"""

import contextlib
import dataclasses
import time

from ...guest import devices as guest_devices
from ...guest import pci as guest_pci
from ...guest.handover import Handover
from ...guest.pci import Machine, pattern
from ...guest.virtio import RNG_BLOCK, ConsoleDevice, RngDevice, VirtioDevice
from ...vm import pci_trace as pt
from ...vm import virtio_trace as vt
from ...vm.chardev import Chardev, Egd
from ..api import release_of, scenario
from ..pci import no_kernel_runs

OK = vt.ACKNOWLEDGE | vt.DRIVER | vt.FEATURES_OK | vt.DRIVER_OK


class Stream:
    """Blocks that the host sends one by one, and the guest has to read in their order. The
    driver has one request at a time: a block is sent when it has asked for it."""

    def __init__(self, run, guest, rng, egd):
        self._run, self._guest, self._rng, self._egd = run, guest, rng, egd
        self.trace = vt.trace(guest.vm)
        self.sent = 0
        self.device = None              # as QEMU calls it
        self._ready = None              # since when nothing must have been written

    @staticmethod
    def block(number):
        """What nothing else is."""
        return pattern(f"rng {number}", RNG_BLOCK)

    def send(self):
        """The host sends the next block, and sees it arrive in memory of the guest."""
        start = self.trace.now()
        self._egd.send(self.block(self.sent))
        self.sent += 1
        pushed = self.trace.wait(lambda event: event.what == "pushed", 20, start)
        self._run.equal(f"bytes of block {self.sent - 1} that arrived", pushed.value,
                        RNG_BLOCK)
        if not self.device:
            self.device, self._ready = pushed.device, start

    def receive(self, what, data=None):
        """The guest reads the block that was sent last."""
        data = self._rng.read() if data is None else data
        self._run.equal(f"{what}: block {self.sent - 1}", data.hex(),
                        self.block(self.sent - 1).hex())

    def deliver(self, what):
        """Both."""
        self.send()
        self.receive(what)

    def check(self):
        """Since the device was set up in the first kernel nobody has written its status, and
        it has used one buffer for each block."""
        run, events = self._run, self.trace.events()
        status = vt.values(events, "status", self.device)
        run.equal("status as it was left by the first kernel", status[-1:], [OK])
        run.equal("writes of the status since", vt.written(
            self.trace.events(self._ready), self.device), [])
        run.equal("buffers that were used", vt.values(events, "pushed", self.device),
                  [RNG_BLOCK] * self.sent)


def check_path(run, host, rng, start):
    """Nor was the function reset, or kept from memory."""
    events = pt.Trace(host.trace.path).events(start)
    run.equal("bus mastering off", pt.without_master(events, rng.function.name), [])
    run.equal("resets", pt.resets(events, "virtio-rng-pci", "virtio-rng-device",
                                  "virtio-serial-pci", "virtio-serial-device"), [])


def between(run, guest, host, send):
    """reboot(2), and `send()` when no kernel runs. QEMU drops entropy while the machine
    stands still, so it has to be going on."""
    gdb = guest.stop_at_jump()
    entry = gdb.run_to_image()
    no_kernel_runs(run, guest, host, "between the kernels")
    with gdb.spinning(entry):
        end = time.monotonic() + 10
        while not guest.vm.qmp.execute("query-status")["running"]:
            run.check("the machine goes on", time.monotonic() < end)
        send()
    gdb.detach()


def arrive(run, guest, kernel="b"):
    """The next kernel comes up."""
    result = guest.wait_boot()
    run.equal("release after the kexec", result.release, release_of(run.image(kernel)))
    run.state(guest, "updated")


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
        rng.load("a")
        stream = Stream(run, guest, rng, egd)
        egd.wait_requests(1)
        start = host.trace.now()
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
        run.step("who waits for data waits on in a rehearsal")
        job = guest.start(f"{rng.command()} > /run/block")
        guest.do("usleep 100000")
        run.equal("rehearse", guest.set("rehearse", 1), "")
        stream.send()
        guest.finish(job)
        stream.receive("rehearsed", guest.run("cat /run/block").data)
        stream.deliver("after that")
        rng.release()
        run.load(guest)
        between(run, guest, host, stream.send)
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
        run.load(guest, "a")
        run.jump(guest, "a")
        rng.load("a")
        run.equal("reclaimed", rng.both("reclaimed"), ("1", "1"))
        rng.select()
        stream.receive("sent before the kexec")
        stream.deliver("in the kernel after that")
        run.finish(guest)
        stream.deliver("at last")

        stream.check()
        check_path(run, host, rng, start)
        run.unsaid(guest, "quarantined")


class Line:
    """What the host sends to a port, and what the guest has not read of it yet."""

    def __init__(self, run, guest, chardev, number):
        self._run, self._chardev, self._number = run, chardev, number
        self._trace = vt.trace(guest.vm)
        self._data, self.read = b"", 0

    def _taken(self):
        return sum(vt.values(self._trace.events(), "read", str(self._number)))

    def send(self, what, size):
        """The host sends, and sees that the device has put all of it into buffers."""
        self._data += pattern(f"port {self._number} {what}", size)
        self._chardev.send(self._data[-size:])
        end = time.monotonic() + 20
        while self._taken() < len(self._data) and time.monotonic() < end:
            time.sleep(0.02)
        self._run.equal(f"{what}: bytes that went to port {self._number}", self._taken(),
                        len(self._data))

    def left(self):
        """How much has not been read."""
        return len(self._data) - self.read

    def check(self, what, data, size):
        """This is what comes next, and so much of it."""
        run, want = self._run, self._data[self.read:self.read + size]
        run.equal(f"{what}: bytes of port {self._number} that were read", len(data), size)
        self.read += size
        same = next((i for i, (a, b) in enumerate(zip(data, want)) if a != b), len(want))
        run.check(f"{what}: {size} bytes of port {self._number}", data == want,
                  f"the first {same} are right")


def messages(trace, event, start=0):
    """Values of messages of the guest on the control channel."""
    return vt.values(trace.events(start), "message", str(event))


def console_of(trace):
    """The console, as QEMU calls it: it has more virtqueues than the others."""
    return next(event.device for event in trace.events()
                if event.what == "notify" and event.value == 3)


@scenario("virtio-console", debug=True, smp=2, gdb=True)
def virtio_console(run):
    """Ports of a virtio console stay open for the host through an update. What it sends before
    prepare, in prepared, while no kernel runs and before a process of the next kernel opens the
    port is read there, in order, once; the rest of a buffer that the old kernel has begun to
    read, too. A port that nobody opens again is closed at finish, one that nobody had open
    works as ever. Fails without: virtio_liveupdate_load(), restore_port(), or the test of
    handed_over in in_intr() (bytes are lost), the order of what is read first in
    fill_readbuf() and freeze (bytes come twice)."""
    with Chardev() as first, Chardev() as second, Chardev() as third:
        guest, host = guest_pci.boot(run, Machine().console(
            "con0", {1: first, 2: second, 3: third}), trace=vt.EVENTS)
        con = ConsoleDevice(run, guest, host, "con0")
        trace, start = vt.trace(guest.vm), host.trace.now()
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
        run.load(guest)
        ready = trace.now()
        between(run, guest, host, lambda: line.send("between the kernels", 20000))
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
        check_path(run, host, con, start)
        run.unsaid(guest, "quarantined")


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
    disk = run.folder / "refused"
    disk.parent.mkdir(parents=True, exist_ok=True)
    disk.write_bytes(bytes(1 << 20))
    with Egd() as good, Egd() as packed, Egd() as legacy, Chardev() as tty:
        machine = Machine().rng("rng0", good).rng("rng1", packed, packed="on") \
            .rng("rng2", legacy, **{"disable-modern": "on", "disable-legacy": "off"}) \
            .console("con0", {1: tty}, driver="virtconsole") \
            .port("blk0.port").disk("blk0", disk, "blk0.port")
        guest, host = guest_pci.boot(run, machine, trace=vt.EVENTS)
        rng = RngDevice(run, guest, host, "rng0")
        rng.load("a")
        for name, reason in (("rng1", "packed"), ("rng2", "transport")):
            _refuses(run, guest, RngDevice(run, guest, host, name), reason)
        _refuses(run, guest, VirtioDevice(run, guest, host, "blk0"), "no live update", False)
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
        # Nobody has retrieved their rings, and the transport was taken over.
        run.retained(guest, "dma")
        run.forget(guest, "dma")
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
