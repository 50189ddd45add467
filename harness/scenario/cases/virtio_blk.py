# SPDX-License-Identifier: GPL-2.0
"""Virtio disks that run through an update: what one kernel has written, the next one reads.

The host is the witness: it reads the file that the disk is made of, and QEMU records each
write of the status of the device, each request and its answer.
"""

import dataclasses
import hashlib
import os
import time

from ...guest import devices as guest_devices
from ...guest import pci as guest_pci
from ...guest.control import host_path
from ...guest.handover import Handover
from ...guest.pci import DISK_BLOCK, DISK_BLOCKS, Disk, Machine, pattern
from ...guest.virtio import DiskDevice
from ...vm import pci_trace as pt
from ...vm import virtio_trace as vt
from ..api import release_of, scenario

OK = vt.ACKNOWLEDGE | vt.DRIVER | vt.FEATURES_OK | vt.DRIVER_OK
SIZE = 4096
QUEUES = {"num-queues": 2}


def new_image(run, name="image", size=4 << 20):
    """A file of the host that is a disk."""
    run.folder.mkdir(parents=True, exist_ok=True)
    path = run.folder / name
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def found(path, number, size=SIZE):
    """What the host finds where block `number` is."""
    with open(path, "rb") as file:
        return os.pread(file.fileno(), size, number * size)


class Blocks:
    """Blocks that the guest writes one after the other. As soon as it has been told that one
    is written, the host finds it in its file."""

    def __init__(self, run, guest, disk, path):
        self._run, self._disk, self._path = run, disk, path
        self.trace = vt.trace(guest.vm)
        self._count = 0
        self.device = None              # as QEMU calls it
        self._ready = None              # since when nothing must have been written

    @staticmethod
    def block(number):
        """What nothing else is."""
        return pattern(f"disk {number}", SIZE)

    def write(self, what, processor=None):
        """The guest writes the next block, on a processor, and the host finds it."""
        number, self._count = self._count, self._count + 1
        start = self.trace.now()
        self._disk.write_block(number, self.block(number), processor)
        self._run.check(f"{what}: block {number} is in the host's file",
                        found(self._path, number) == self.block(number))
        if not self.device:
            written = self.trace.wait(lambda event: event.what == "write", 20, start)
            self.device, self._ready = written.device, start

    def read(self, what):
        """The guest reads all that was written."""
        for number in range(self._count):
            self._run.check(f"{what}: block {number} is what was written",
                            self._disk.read_block(number, SIZE) == self.block(number))

    def queues(self, start):
        """The virtqueues that were notified since a moment."""
        return {event.value for event in self.trace.events(start)
                if event.what == "notify" and event.device == self.device}

    def check(self):
        """Since the first block nobody has written the status. The host was asked for each
        block once, in their order, and failed in nothing."""
        run, events = self._run, self.trace.events(self._ready)
        run.equal("status as it was left by the first kernel",
                  vt.values(self.trace.events(), "status", self.device)[-1:], [OK])
        run.equal("writes of the status since", vt.written(events, self.device), [])
        run.equal("sectors that were written", vt.values(events, "write", self.device),
                  [number * SIZE // 512 for number in range(self._count)])
        run.equal("answers of the host", set(vt.values(events, "complete", self.device)), {0})


def check_path(run, host, disk, start):
    """The function was not reset, nor kept from memory."""
    events = pt.Trace(host.trace.path).events(start)
    run.equal("bus mastering off", pt.without_master(events, disk.function.name), [])
    run.equal("resets", pt.resets(events, "virtio-blk-pci", "virtio-blk-device"), [])


def boot(run, path, **options):
    """A machine with this disk, in a port of its own and with two virtqueues; guest, host and
    the disk."""
    machine = Machine().port("blk0.port").disk("blk0", path, "blk0.port", **QUEUES)
    guest, host = guest_pci.boot(run, machine, trace=vt.EVENTS, **options)
    return guest, host, DiskDevice(run, guest, host, "blk0")


def taken_over(run, disk, what):
    """The disk was taken over, and is what it was."""
    run.equal(f"{what}: reclaimed", disk.both("reclaimed"), ("1", "1"))
    run.equal(f"{what}: name", disk.disk, "vda")


@scenario("virtio-blk", debug=True, smp=2, limit=240)
def virtio_blk(run):
    """A virtio disk with two virtqueues goes through a rehearsal, a cancel, a freeze that fails
    behind it, and three updates in a row. Blocks that are written in between, on both processors,
    are in the host's file when the guest is told so, and each kernel reads all of them. The
    device is neither reset nor negotiated with again; its name and its cache mode stay. Fails
    without: virtio_liveupdate_recognize() or virtio_dev_take_over() (the status is written),
    virtblk_resume() in thaw (a write never ends), virtblk_take_vqs() (one virtqueue is lost)."""
    image = new_image(run)
    guest, host, disk = boot(run, image)
    blocks = Blocks(run, guest, disk, image)
    start = host.trace.now()
    run.equal("name", disk.disk, "vda")
    run.equal("cache_type", guest.write("/sys/block/vda/cache_type", "write through"), "")
    blocks.write("at first")

    run.equal("request of the function", disk.request(), "")
    run.prepare(guest)
    run.equal("preserved", disk.both("preserved"), ("1", "1"))
    blocks.write("prepared")
    run.equal("rehearse", guest.set("rehearse", 1), "")
    blocks.write("rehearsed", 0)
    blocks.write("rehearsed", 1)
    run.cancel(guest)
    run.equal("preserved", disk.both("preserved"), ("0", "0"))
    blocks.write("cancelled")

    run.step("a freeze that fails behind that of the disk")
    guest.configure("clear;test-memory fail=freeze,errno=5")
    run.prepare(guest)
    run.load(guest)
    run.equal("reboot(2)", guest.refused_jump(), "EIO")
    run.state(guest, "prepared")
    blocks.write("thawed")
    guest.configure("clear")

    for number, kernel in enumerate(("b", "a", "b"), 1):
        what = f"update {number}"
        if number > 1:
            run.equal(f"{what}: request of the virtio device", disk.request_below(), "")
            run.prepare(guest)
        run.load(guest, kernel)
        run.jump(guest, kernel)
        taken_over(run, disk, what)
        run.equal(f"{what}: cache_type", disk.queue_file("cache_type"), "write through")
        run.equal(f"{what}: queues", sorted(guest.do("ls /sys/block/vda/mq").split()),
                  ["0", "1"])
        blocks.read(what)
        before = blocks.trace.now()
        blocks.write(what, 0)
        blocks.write(what, 1)
        run.equal(f"{what}: virtqueues that were used", blocks.queues(before), {0, 1})
        run.finish(guest)
        blocks.write(f"{what}: after finish")

    blocks.check()
    check_path(run, host, disk, start)
    run.unsaid(guest, "quarantined")


# -- load --------------------------------------------------------------------------------

STORM_BLOCKS = 64
# Behind what Disk writes: the same bytes again and again.
STORM = f"""n=0
while :; do
dd if=/run/storm.data of=/dev/vda bs={DISK_BLOCK} seek={DISK_BLOCKS} count={STORM_BLOCKS} \\
oflag=direct conv=notrunc status=none || {{ echo pass $n failed; exit 1; }}
n=$((n + 1)); echo $n > /run/storm.new; mv /run/storm.new /run/storm.done
done
"""


class Storm:
    """Writes without a pause, beside the load that is verified block by block."""

    def __init__(self, path):
        self.path = path
        self._data = pattern("storm", STORM_BLOCKS * DISK_BLOCK)
        self._source = path.with_name("storm.data")
        self._source.write_bytes(self._data)
        self._guest = self._job = None

    def start(self, guest):
        """Starts it in this kernel, and waits until all has been written once."""
        guest.do(f"cp {host_path(self._source)} /run/storm.data")
        guest.put("/run/storm", STORM, 0o755)
        self._guest, self._job = guest, guest.start("sh /run/storm")
        self.passes(1)

    def passes(self, count):
        """Waits for so many passes in all."""
        self._guest.until(f"[ \"$(cat /run/storm.done 2>/dev/null || echo 0)\" -ge {count} ] || "
                          f"[ -e {self._job}.status ]", timeout=60)

    def check(self, run, what):
        """It goes on, and the host finds what it writes."""
        done = int(self._guest.read("/run/storm.done"))
        self.passes(done + 2)
        run.equal(f"{what}: the storm ended", self._guest.exists(f"{self._job}.status"), False)
        self.check_file(run, what)

    def check_file(self, run, what):
        """The host finds what was written."""
        with open(self.path, "rb") as file:
            data = os.pread(file.fileno(), len(self._data), DISK_BLOCKS * DISK_BLOCK)
        run.equal(f"{what}: checksum of what the storm writes",
                  hashlib.sha256(data).hexdigest(), hashlib.sha256(self._data).hexdigest())


@scenario("virtio-blk-load", debug=True, smp=2, limit=300)
def virtio_blk_load(run):
    """A virtio disk under load is frozen and thawed a hundred times, and handed over while two
    processes write to it without a pause. No request fails, and all that the guest was told to
    be written is in the host's file. Fails without blk_mq_quiesce_queue_nowait() or
    synchronize_rcu_expedited() in freeze (requests fail, or freeze is refused) and without
    virtblk_wait_idle() (freeze is refused)."""
    run.folder.mkdir(parents=True, exist_ok=True)
    load = Disk(run.folder)
    os.truncate(load.path, (DISK_BLOCKS + STORM_BLOCKS) * DISK_BLOCK)
    storm = Storm(load.path)
    guest, host, disk = boot(run, load.path)
    start, trace = host.trace.now(), vt.trace(guest.vm)
    load.start(guest)
    storm.start(guest)
    device = next(event.device for event in trace.events(start) if event.what == "write")
    ready = trace.now()
    run.equal("request of the function", disk.request(), "")
    run.prepare(guest)
    for number in range(4):
        errors = [guest.set("rehearse", 1) for _ in range(5 if run.slow else 25)]
        run.equal(f"round {number}: rehearsals that failed", set(errors), {""})
        load.check(run)
        storm.check(run, f"round {number}")

    run.load(guest)
    run.jump(guest)
    storm.check_file(run, "in the next kernel")
    taken_over(run, disk, "under load")
    load.check(run)
    storm.start(guest)
    storm.check(run, "in the next kernel")
    run.finish(guest)
    load.check(run)

    events = trace.events(ready)
    run.equal("answers of the host", set(vt.values(events, "complete", device)), {0})
    run.equal("writes of the status since", vt.written(events, device), [])
    check_path(run, host, disk, start)
    for part in ("I/O error", "quarantined", "not frozen"):
        run.unsaid(guest, part)


# -- requests that the host holds ------------------------------------------------------------

HELD = 64 << 10                         # bytes of a block that may be held
LONG, SHORT = 1 << 10, 64 << 10         # bytes a second: a minute, a second


class Held:
    """Two blocks that are written at once while the host lets writes go on slowly: it answers
    the first, and holds the second for a while."""

    def __init__(self, run, guest, disk, path):
        self._run, self._guest, self._disk, self._path = run, guest, disk, path
        self._trace = vt.trace(guest.vm)
        self._next, self._start, self._jobs = 0, 0, ()

    def _count(self, what):
        return sum(event.what == what for event in self._trace.events(self._start))

    def pending(self):
        """How many the host has not answered."""
        return self._count("write") - self._count("complete")

    def begin(self, rate):
        """The host has both."""
        guest, disk, numbers = self._guest, self._disk, (self._next, self._next + 1)
        self._next += 2
        for number in numbers:
            guest.put(f"/run/block.{number}", pattern(f"held {number}", HELD))
        disk.throttle(rate)
        self._start = self._trace.now()
        self._jobs = [guest.start(disk.write_command(number, HELD, f"/run/block.{number}",
                                                     flush=False)) for number in numbers]
        end = time.monotonic() + 20
        while self._count("write") < 2 and time.monotonic() < end:
            time.sleep(0.01)
        self._run.equal("requests that the host has", self._count("write"), 2)

    def check(self, what):
        """Both are in the file of the host."""
        for number in (self._next - 2, self._next - 1):
            self._run.check(f"{what}: block {number} is in the host's file",
                            found(self._path, number, HELD) == pattern(f"held {number}", HELD))

    def end(self, what):
        """The host answers, and both have been written."""
        self._disk.throttle(0)
        for job in self._jobs:
            self._run.equal(f"{what}: end of a write", self._guest.finish(job).status, 0)
        self.check(what)


@scenario("virtio-blk-busy", debug=True, smp=2, limit=180)
def virtio_blk_busy(run):
    """A request that the host holds for a minute refuses the rehearsal and reboot(2): the device
    is named, the disk goes on, and the request ends when the host lets it. One that it holds for
    a second is waited for: it is in the host's file when freeze is over, and in the next kernel.
    Fails without virtblk_wait_idle() (the short one is refused, too), its limit (the long one
    is waited for in the blackout), virtblk_resume() if it fails (no read ends)."""
    image = new_image(run)
    guest, _, disk = boot(run, image)
    held = Held(run, guest, disk, image)
    run.equal("request of the function", disk.request(), "")
    run.prepare(guest)
    run.load(guest)

    run.step("a request that is held for long")
    held.begin(LONG)
    run.equal("rehearse", guest.set("rehearse", 1), "EBUSY")
    transition, bus, identity, errno, _ = guest.failed_device()
    run.equal("what failed", (transition, bus, identity, errno),
              ("freeze", "virtio", "2", "-16"))
    run.said(guest, "liveupdate: not frozen: the host has not answered requests of req.")
    run.equal("requests that are held", held.pending(), 1)
    run.equal("bytes that are read meanwhile", len(disk.read_block(1, SIZE)), SIZE)
    run.equal("reboot(2)", guest.refused_jump(), "EBUSY")
    run.state(guest, "prepared")
    held.end("thawed")

    run.step("one that is held for a moment")
    held.begin(SHORT)
    run.equal("rehearse", guest.set("rehearse", 1), "")
    held.check("rehearsed")
    held.end("rehearsed")

    run.step("and in an update")
    held.begin(SHORT)
    run.jump(guest)
    held.check("in the next kernel")
    disk.throttle(0)
    taken_over(run, disk, "in the next kernel")
    run.equal("what is read", disk.read_block(5, HELD), pattern("held 5", HELD))
    run.finish(guest)
    held.begin(SHORT)
    held.end("after finish")
    run.unsaid(guest, "I/O error")


# -- corruption --------------------------------------------------------------------------

# Offset of what the driver saved in the blob, behind struct virtio_liveupdate_ser.
DRIVER = 32


@dataclasses.dataclass(frozen=True)
class Harm:
    """One field that is wrong: where, how wide, and what is there instead."""
    what: str
    at: int
    size: int
    value: int


HARMS = (
    Harm("index", DRIVER, 4, 1 << 16),
    Harm("no virtqueue", DRIVER + 4, 2, 0),
    Harm("more virtqueues than there are", DRIVER + 4, 2, 3),
    Harm("only polled ones", DRIVER + 6, 2, 2),
)


def _corrupt(run, guest, disks):
    """Each disk has one field that is wrong."""
    table = guest_devices.Table(guest.vm.ram, Handover(guest.vm.ram))
    records = table.records()
    for disk, harm in zip(disks, HARMS):
        position = next(i for i, record in enumerate(records)
                        if record.id == disk.identity)
        below = next(record for record in records if record.parent == position + 1)
        run.equal(f"{disk.name} on the virtio bus", (below.bus, below.id), ("virtio", "2"))
        guest.vm.ram.write(below.value + harm.at, harm.value.to_bytes(harm.size, "little"))


@scenario("virtio-blk-corrupted", ram_file=True, gdb=True, smp=2, limit=180)
def virtio_blk_corrupted(run):
    """Each field of what is handed over of a virtio disk is wrong once, a disk for each: that
    disk is quarantined, without a splat, and after finish it is an ordinary one; another is
    taken over. Fails without one of the tests in virtblk_take_vqs() and virtblk_alloc_index()."""
    machine = Machine()
    names = [f"blk{number}" for number in range(len(HARMS) + 1)]
    images = [new_image(run, name) for name in names]
    for name, image in zip(names, images):
        machine.port(f"{name}.port").disk(name, image, f"{name}.port", **QUEUES)
    guest, host = guest_pci.boot(run, machine, trace=vt.EVENTS)
    disks = [DiskDevice(run, guest, host, name) for name in names]
    for disk in disks:
        run.equal(f"request of {disk.name}", disk.request(), "")
    last = disks[-1].disk
    run.prepare(guest)
    run.load(guest)
    gdb = guest.stop_at_jump()
    _corrupt(run, guest, disks)
    gdb.detach()
    run.equal("release after the kexec", guest.wait_boot().release, release_of(run.image("b")))
    run.state(guest, "updated")

    console = guest.console(2)
    for disk, harm in zip(disks, HARMS):
        run.equal(f"{harm.what}: reclaimed", disk.both("reclaimed"), ("1", "0"))
        name = disk.below.rsplit("/", 1)[-1]
        run.contains(f"{harm.what}: console", console,
                     f"{name}: liveupdate: quarantined: its probe failed")
    run.equal("the one that is left alone", disks[-1].both("reclaimed"), ("1", "1"))
    run.equal("its name", disks[-1].disk, last)
    run.finish(guest)
    for disk, image in zip(disks, images):
        guest.until(f"[ -e {disk.below}/block ]")
        block = pattern(disk.name, SIZE)
        disk.write_block(1, block)
        run.check(f"{disk.name}: a block is in the host's file", found(image, 1) == block)
    # Nobody has retrieved their rings, and the transport was taken over, but they were
    # stopped.
    run.retained(guest)
