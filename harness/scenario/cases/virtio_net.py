# SPDX-License-Identifier: GPL-2.0
"""Network cards that run through an update: what the host sends at any time arrives, once
and in order, in the kernel that opens the interface next.

The host is the witness: it decides which frame comes when, sees that the card has put it
into memory of the guest, and knows what the card lets pass. QEMU records each write of its
status, and each reset.
"""

import struct
import threading
import time

from ...guest import pci as guest_pci
from ...guest.control import TEST
from ...guest.pci import Machine, pattern
from ...guest.virtio import NetDevice
from ...vm import virtio_trace as vt
from ...vm.nic import HEADER, Nic, frame
from ..api import scenario
from ..virtio import OK, arrive, between, check_path

MAC, GROUP = "52:54:00:ab:cd:ef", "33:33:00:00:12:34"
HOST = "52:54:00:00:00:01"
MTU = 4000
FIRST = 1021                            # bytes of the first frame, as of no other
HEAD = 12                               # bytes that the card adds in front of each frame
FRAMES = "/run/frames"
TRACE = (*vt.EVENTS, vt.FILLED)


def numbered(number, to, sender, size):
    """A frame that is like no other, of this size in all."""
    what = f"frame {number} from {sender}"
    return frame(to, sender, struct.pack(">I", number) + pattern(what, size - HEADER - 4))


def same(run, what, got, want):
    """These frames, once each and in this order."""
    numbers = [[struct.unpack_from(">I", one, HEADER)[0] for one in frames]
               for frames in (got, want)]
    run.equal(f"{what}: numbers of frames", *numbers)
    differ = [number for number, one, other in zip(numbers[1], got, want) if one != other]
    run.equal(f"{what}: frames that are not what was sent", differ, [])


class Wire:
    """What the host sends to a card, and what of it was received."""

    def __init__(self, run, guest, nic, mac):
        self._run, self._nic, self._mac = run, nic, mac
        self._trace = vt.trace(guest.vm)
        self._start = self._trace.now()
        self._queue = None              # as QEMU calls it
        self.sent, self._bytes, self._seen = [], 0, 0

    def _landed(self):
        """Bytes that the card has written to memory of the guest."""
        events = self._trace.events(self._start)
        if not self._queue:
            found = [event.device for event in events
                     if event.what == "filled" and event.value == FIRST + HEAD]
            self._queue = found[0] if found else None
        return sum(vt.values(events, "filled", self._queue))

    def push(self, size=300, to=None):
        """The host sends one frame."""
        one = numbered(len(self.sent), to or self._mac, HOST, size)
        self.sent.append(one)
        self._bytes += len(one) + HEAD
        self._nic.send(one)

    def landed(self, what):
        """All of them are in memory of the guest."""
        end = time.monotonic() + 20
        while (landed := self._landed()) < self._bytes and time.monotonic() < end:
            time.sleep(0.02)
        self._run.equal(f"{what}: bytes that went to the guest", landed, self._bytes)

    def send(self, what, count, size=300, to=None):
        """The host sends some, and sees all of them arrive in memory of the guest."""
        for _ in range(count):
            self.push(size, to)
        self.landed(what)

    def check(self, what, card):
        """A process has received what comes next, up to the last that was sent, and no
        more. It is the first that looks, in this kernel."""
        want = self.sent[self._seen:]
        same(self._run, what, card.wait_received(FRAMES, len(want)), want)
        self._seen = len(self.sent)

    def check_none(self, what, card, before):
        """What a process has received is what it had."""
        self._run.equal(f"{what}: frames that were received", len(card.received(FRAMES)),
                        before)


def card_of(trace):
    """The card, as QEMU calls it: it has a virtqueue for commands, behind those of data."""
    return next(event.device for event in trace.events()
                if event.what == "notify" and event.value == 2)


def reply(run, card, nic, what, count, first=0):
    """The guest sends frames, and the host receives them."""
    got = len(nic.frames())
    want = [numbered(first + number, HOST, MAC, 200) for number in range(count)]
    card.transmit(want)
    same(run, f"{what}: from the guest", nic.wait(got + count)[got:], want)


def until_filter(run, card, what, holds):
    """The card lets pass what it should, soon: the kernel tells it later."""
    end = time.monotonic() + 20
    while not holds(card.filter()) and time.monotonic() < end:
        time.sleep(0.05)
    run.check(what, holds(card.filter()), str(card.filter()))


def frozen_at(guest, command):
    """Runs a command that freezes, up to the last subsystem."""
    guest.configure("clear;test-memory hold=freeze")
    job = guest.start(command)
    guest.await_call("freeze", "test-memory")
    return job


@scenario("virtio-net", debug=True, smp=2, gdb=True, limit=180)
def virtio_net(run):
    """A network card goes through an update. What the host sends in prepared, frozen, while no
    kernel runs, in early boot, after the probe and after the interface was opened arrives
    once and in order; frames of several buffers and of a group are among them. MAC, MTU and
    filters are as they were, also for QEMU, and nobody writes the status. Fails without:
    virtnet_exchange() (freeze refuses), virtio_liveupdate_slot_claim() (no probe), rx_held
    (frames go to nobody), virtnet_restore_filters() (the group is lost when the interface is
    opened), virtnet_restore_saved() (another MTU)."""
    with Nic() as nic:
        machine = Machine().nic("nic0", nic, host_mtu=9000)
        guest, host = guest_pci.boot(run, machine, trace=TRACE)
        card, trace = NetDevice(run, guest, host, "nic0"), vt.trace(guest.vm)
        card.load("a")
        card.set("mtu", MTU)
        guest.do(f"ip link set {card.interface} address {MAC}")
        card.listen(FRAMES, GROUP)
        card.up()
        until_filter(run, card, "the group passes", lambda now: GROUP in now["multicast-table"])
        wire, start = Wire(run, guest, nic, MAC), host.trace.now()
        wire.send("at first", 1, FIRST)
        wire.send("from pages", 5, 5000)
        reply(run, card, nic, "at first", 5)
        filters = card.filter()
        run.equal("MAC address of the card", filters["main-mac"], MAC)

        run.equal("request", card.request(), "")
        run.prepare(guest)
        run.equal("preserved", card.both("preserved"), ("1", "1"))
        ready = trace.now()
        wire.send("prepared", 5)
        wire.send("prepared, in several slots", 5, 5000)
        run.equal("rehearse", guest.set("rehearse", 1), "")
        wire.send("rehearsed", 5)
        reply(run, card, nic, "rehearsed", 5)
        before = len(wire.sent)
        wire.check("in the first kernel", card)

        run.load(guest)
        run.step("frozen")
        frozen_at(guest, "guestctl reboot kexec")
        wire.send("frozen", 5)
        wire.send("frozen, to the group", 2, to=GROUP)
        wire.check_none("frozen", card, before)
        between(run, guest, lambda: wire.send("between the kernels", 10, 5000),
                f"echo 1 > {TEST}/release")
        arrive(run, guest)
        wire.send("early", 5)
        card.load("b")
        run.equal("reclaimed", card.both("reclaimed"), ("1", "1"))
        wire.send("probed", 5)
        wire.send("probed, to the group", 2, to=GROUP)
        run.equal("MTU", card.shown("mtu"), str(MTU))
        run.equal("MAC address", card.shown("address"), MAC)
        run.equal("what the card lets pass, when it is not open", card.filter(), filters)
        card.listen(FRAMES)
        card.up()
        wire.send("open", 5)
        wire.send("open, to the group", 2, to=GROUP)
        wire.check("in the next kernel", card)
        until_filter(run, card, "the group passes until finish",
                     lambda now: GROUP in now["multicast-table"])
        reply(run, card, nic, "in the next kernel", 5)

        run.finish(guest)
        until_filter(run, card, "the group does not pass any more",
                     lambda now: GROUP not in now["multicast-table"])
        card.listen(FRAMES)
        wire.send("after finish", 5)
        wire.check("after finish", card)
        reply(run, card, nic, "after finish", 5)
        device = card_of(trace)
        run.equal("writes of the status since", vt.written(trace.events(ready), device), [])
        run.equal("status", vt.values(trace.events(), "status", device)[-1:], [OK])
        check_path(run, host, card, start)
        run.unsaid(guest, "quarantined")


class Load:
    """The host sends a frame each few milliseconds, beside the test. Use it as a context
    manager."""

    def __init__(self, wire):
        self._wire, self._stop, self._error = wire, threading.Event(), None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while not self._stop.wait(0.005):
                self._wire.push()
        except Exception as error:      # pylint: disable=broad-except
            self._error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        if self._error:
            raise self._error


REHEARSALS = 20


@scenario("virtio-net-cancel", debug=True, smp=2, limit=180)
def virtio_net_cancel(run):
    """The way back of network cards: prepare, rehearse again and again, a freeze that another
    subsystem fails, and cancel, under load in both directions, lose no frame and change no
    order, in either mode of receiving. An interface that is opened or closed in prepared
    works. Fails without: drain in virtqueue_drain_and_reset() (frames are lost in prepare and
    cancel), virtnet_schedule_all() in thaw (a frame is not received before the next one),
    NETDEV_TX_BUSY in start_xmit() (freeze refuses)."""
    for merge in ("on", "off"):
        with Nic() as nic:
            guest, host = guest_pci.boot(run, Machine().nic("nic0", nic, mrg_rxbuf=merge),
                                         trace=TRACE)
            card = NetDevice(run, guest, host, "nic0")
            card.load("a")
            guest.do(f"ip link set {card.interface} address {MAC}")
            card.listen(FRAMES)
            card.up()
            wire = Wire(run, guest, nic, MAC)
            wire.send("at first", 1, FIRST)
            run.equal("request", card.request(), "")
            want = [numbered(number, HOST, MAC, 200) for number in range(2000)]
            with Load(wire):
                job = card.transmit(want, 2)
                for _ in range(2):
                    run.prepare(guest)
                    for _ in range(REHEARSALS // 2):
                        run.equal("rehearse", guest.set("rehearse", 1), "")
                    guest.configure("clear;test-memory fail=freeze,errno=5")
                    run.equal("a freeze that fails", guest.set("rehearse", 1), "EIO")
                    guest.configure("clear")
                    run.cancel(guest)
                run.check("all is sent", guest.finish(job, timeout=60).ok)
            wire.landed("under load")
            wire.check("under load", card)
            same(run, "from the guest", nic.wait(len(want)), want)

            run.step("closed, and opened in prepared")
            card.down()
            run.prepare(guest)
            card.up()
            card.listen(FRAMES)
            wire.send("opened in prepared", 5)
            run.equal("rehearse", guest.set("rehearse", 1), "")
            wire.check("opened in prepared", card)
            card.down()
            run.equal("rehearse", guest.set("rehearse", 1), "")
            run.cancel(guest)
            card.listen(FRAMES)
            card.up()
            wire.send("cancelled", 5)
            wire.check("cancelled", card)
            guest.vm.close()


@scenario("virtio-net-busy", smp=2)
def virtio_net_busy(run):
    """A host that takes no frames: neither prepare nor freeze goes on with frames in flight
    to it, the device is named, and when the host reads again all of them arrive. Fails
    without virtnet_drain_tx()."""
    with Nic() as nic:
        guest, host = guest_pci.boot(run, Machine().nic("nic0", nic), trace=TRACE)
        card = NetDevice(run, guest, host, "nic0")
        card.load("a")
        guest.do(f"ip link set {card.interface} address {MAC}")
        card.up()
        run.equal("request", card.request(), "")
        for what, state in (("prepare", "normal"), ("rehearse", "prepared")):
            if state == "prepared":
                run.prepare(guest)
            got = len(nic.frames())
            nic.pause()
            want = [numbered(number, HOST, MAC, 1000) for number in range(800)]
            job = card.transmit(want)
            guest.do("usleep 500000")
            run.equal(f"{what} with frames in flight", guest.set(what, 1), "EBUSY")
            run.state(guest, state)
            run.contains("who refused", guest.last_failure()["device"], "virtio:")
            nic.resume()
            run.check("all is sent", guest.finish(job, timeout=60).ok)
            same(run, what, nic.wait(got + len(want))[got:], want)
            run.said(guest, "did not send all that was transmitted")
        run.equal("rehearse", guest.set("rehearse", 1), "")
        reply(run, card, nic, "at last", 5)
        run.cancel(guest)


@scenario("virtio-net-refused")
def virtio_net_refused(run):
    """Network cards that cannot be handed over: whose queues cannot be reset, and that
    receive big packets in one piece. The reason is told, and they work on. Fails without the
    tests in virtnet_objection()."""
    reasons = {"nic0": ({"queue_reset": "off"}, "its receive queues cannot be reset"),
               "nic1": ({"mrg_rxbuf": "off", "host_mtu": 9000},
                        "it receives big packets in one piece")}
    for name, (properties, reason) in reasons.items():
        with Nic() as nic:
            guest, host = guest_pci.boot(run, Machine().nic(name, nic, **properties),
                                         trace=TRACE)
            card = NetDevice(run, guest, host, name)
            card.load("a")
            guest.do(f"ip link set {card.interface} address {MAC}")
            card.listen(FRAMES)
            card.up()
            run.equal("request", card.request(), "")
            run.equal("prepare", guest.set("prepare", 1), "EOPNOTSUPP")
            run.said(guest, reason)
            run.state(guest, "normal")
            for number in range(5):
                nic.send(numbered(number, MAC, HOST, 300))
            same(run, name, card.wait_received(FRAMES, 5),
                 [numbered(number, MAC, HOST, 300) for number in range(5)])
            guest.vm.close()


@scenario("virtio-net-lost", smp=2)
def virtio_net_lost(run):
    """Network cards that do not come through: one is unplugged in prepared, which cancels the
    update, and one finds no driver in the next kernel, is quarantined at finish, and works as
    ever with a driver after that. Fails if cancel waits for a device that is gone, or without
    quarantine of the virtio bus."""
    with Nic() as nic, Nic("52:54:00:00:00:77") as other:
        guest, host = guest_pci.boot(run, Machine().nic("nic0", nic).nic("nic1", other),
                                     trace=TRACE)
        card, gone = (NetDevice(run, guest, host, name) for name in ("nic0", "nic1"))
        card.load("a")
        for device in (card, gone):
            device.up()
            run.equal(f"request of {device.name}", device.request(), "")
        run.prepare(guest)
        since = len(guest.vm.qmp.events)
        guest.vm.qmp.execute("device_del", id="nic1")
        run.check("it is unplugged", guest.vm.qmp.wait_event("DEVICE_DELETED", 30, since))
        guest.until('[ "$(cat /sys/kernel/liveupdate/state)" = normal ]', timeout=20)

        run.prepare(guest)
        run.load(guest)
        run.jump(guest)
        run.finish(guest, waits=("devices", "virtio:1", "1"))
        run.retained(guest)
        card.load("b")
        card.listen(FRAMES)
        card.up()
        for number in range(5):
            nic.send(numbered(number, nic.mac, HOST, 300))
        same(run, "an ordinary device", card.wait_received(FRAMES, 5),
             [numbered(number, nic.mac, HOST, 300) for number in range(5)])
