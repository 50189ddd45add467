# SPDX-License-Identifier: GPL-2.0
"""PCI devices of a guest: how QEMU is told of them, and the two sample drivers.

What the drivers show in sysfs is described in
Documentation/driver-api/liveupdate/edu.rst.
"""

import hashlib
import os
import time

from ..common.run import HarnessError
from ..vm.pci_host import EDU_COMMAND, EDU_FROM, EDU_IRQ, EDU_RUN, PciHost
from ..vm.pci_trace import EVENTS
from .control import DEBUG, GuestFailure

EDU, IVSHMEM = "liveupdate_edu", "liveupdate_ivshmem"
HELPER = "liveupdate_test_pci"
DRIVERS = "/sys/bus/pci/drivers"
BUFFER = 4096
# edu takes the machine down with more than 2048 bytes, or with the last of its own.
TRANSFER = 2048
PARTS = ((0, 2048), (2048, 2032))
END = 4080
DISK_BLOCK = 64 << 10
DISK_BLOCKS = 256
PATIENCE = 20                   # seconds that the disk may take for two blocks


class Machine:
    """The PCI devices of a machine, as arguments for QEMU.

    Without the ACPI kind of hotplug, slots are the kernel's own business.
    """

    def __init__(self):
        self._arguments = ["-global", "edu.dma_mask=0xffffffff", "-global",
                           "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
        self._slot = 0x10               # others have the first ones
        self._chassis = 0

    def arguments(self):
        """The arguments."""
        return list(self._arguments)

    def device(self, driver, name, bus="pcie.0", **properties):
        """Any device; directly on the root bus each has a slot of its own."""
        words = [driver, f"id={name}", f"bus={bus}"]
        if bus == "pcie.0":
            words.append(f"addr={self._slot:#x}")
            self._slot += 1
        words += [f"{key}={value}" for key, value in properties.items()]
        self._arguments += ["-device", ",".join(words)]
        return self

    def _own_port(self, name):
        """A port for this device alone, so that it can be reset: NAME.port."""
        self.port(f"{name}.port")
        return f"{name}.port"

    def edu(self, name, bus=None):
        """An edu device; without BUS in a port of its own. Elsewhere than in a port it
        cannot be reset."""
        return self.device("edu", name, bus or self._own_port(name))

    def ivshmem(self, name, server, bus=None):
        """The device of an ivshmem server, where an edu would be."""
        bus = bus or self._own_port(name)
        self._arguments += ["-chardev", f"socket,id={name}.server,path={server.path}"]
        return self.device("ivshmem-doorbell", name, bus, chardev=f"{name}.server",
                           vectors=server.vectors)

    def _numbers(self):
        self._chassis += 1
        return {"chassis": self._chassis, "slot": self._chassis}

    def port(self, name, bus="pcie.0"):
        """A root port, which is a slot."""
        return self.device("pcie-root-port", name, bus, **self._numbers())

    def switch(self, name, bus):
        """A switch with one port, NAME.down."""
        self.device("x3130-upstream", name, bus)
        return self.device("xio3130-downstream", f"{name}.down", name, **self._numbers())

    def physical(self, name, bus="pcie.0"):
        """A function that can have one virtual function."""
        self._arguments += ["-device", f"nvme-subsys,id={name}.subsystem"]
        return self.device("nvme", name, bus, serial=name, subsys=f"{name}.subsystem",
                           sriov_max_vfs=1, sriov_vq_flexible=2, sriov_vi_flexible=1)

    def disk(self, name, path, bus="pcie.0"):
        """A virtio disk in a file of the host."""
        self._arguments += ["-drive", f"id={name}.file,if=none,format=raw,file={path},"
                            "cache=writeback"]
        return self.device("virtio-blk-pci", name, bus, drive=f"{name}.file")


def pattern(name, size=BUFFER):
    """Bytes that nothing else holds, the same for the same name."""
    parts = (hashlib.sha256(f"{name} {number}".encode()).digest()
             for number in range((size + 31) // 32))
    return b"".join(parts)[:size]


def boot(run, machine, kernel="a", **options):
    """A machine with these devices; (guest, host)."""
    guest = run.boot(kernel, devices=machine.arguments(), trace=EVENTS, **options)
    return guest, PciHost(guest.vm)


class Device:
    """A device with a sample driver, seen from the guest; QEMU says where it is."""

    module = None

    def __init__(self, run, guest, host, name):
        self._run, self._guest, self._host = run, guest, host
        self.name = name
        self.function = host.function(name)

    @property
    def identity(self):
        """Its name on the bus, by which it is handed over."""
        return f"0000:{self.function.name}"

    def load(self, kernel, *parameters):
        """Loads its driver."""
        load(self._run, self._guest, kernel, self.module, *parameters)

    def file(self, name):
        """A file of its folder in sysfs."""
        return self._guest.read(f"{self.function.path}/{name}")

    def shown(self, name):
        """What the sample driver shows."""
        return self.file(f"{self.module}/{name}")

    def has(self, name):
        """Whether it has such a file."""
        return self._guest.exists(f"{self.function.path}/{name}")

    def write(self, name, text):
        """One write to such a file; "" or the errno's name."""
        return self._guest.write(f"{self.function.path}/{name}", text)

    def driver(self):
        """Name of the driver that is bound, or ""."""
        link = self._guest.run(f"readlink {self.function.path}/driver").out
        return link.rsplit("/", 1)[-1]

    def bind(self, driver=None, unbind=False):
        """Writes bind or unbind of a driver; "" or the errno's name."""
        verb = "unbind" if unbind else "bind"
        return self._guest.write(f"{DRIVERS}/{driver or self.module}/{verb}", self.identity)

    def request(self, value=1):
        """Writes requested; "" or the errno's name."""
        return self.write("liveupdate/requested", str(value))

    def status(self):
        """requested, preserved and reclaimed."""
        return tuple(self.file(f"liveupdate/{name}")
                     for name in ("requested", "preserved", "reclaimed"))

    def registers(self):
        """Command register and base addresses, as they are now."""
        return self._host.command(self.function), self._host.bars(self.function)


class EduDevice(Device):
    """An edu device."""

    module = EDU

    def fill(self, data):
        """Overwrites the buffer."""
        self._guest.put("/run/pattern", data)
        self._guest.do(f"cat /run/pattern > {self.function.path}/{EDU}/buffer")

    def buffer(self):
        """What the driver says the buffer holds."""
        result = self._guest.run(f"cat {self.function.path}/{EDU}/buffer")
        if not result.ok:
            raise GuestFailure(f"buffer of {self.name}: {result.out}")
        return result.data

    def command(self, direction, offset=0, length=TRANSFER):
        """The file and the text that start a transfer, for "guestctl reboot"."""
        return f"{self.function.path}/{EDU}/transfer '{direction} {offset} {length}'"

    def start(self, direction, offset=0, length=TRANSFER):
        """Starts a transfer; "" or the errno's name."""
        return self.write(f"{EDU}/transfer", f"{direction} {offset} {length}")

    def hold(self, gdb, before):
        """The machine stands still with a transfer from the device in flight. If its
        100 ms were over already, on a busy host, it begins again(). The registers."""
        dma = self._host.edu(self.function)
        if not dma.running:
            self.again(gdb, before)
            dma = self._host.edu(self.function)
        return dma

    def again(self, gdb, before):
        """The host puts `before` where the last transfer went, and begins it anew."""
        self._guest.vm.ram.write(self._host.edu(self.function).memory, before)
        command = EDU_RUN | EDU_FROM | EDU_IRQ
        gdb.write_physical(self.function.bars[0] + EDU_COMMAND,
                           command.to_bytes(4, "little"))

    def land(self, gdb, entry):
        """Lets a transfer end while the processor that is at `entry`, where no kernel runs,
        does nothing."""
        with gdb.spinning(entry):
            end = time.monotonic() + 20
            while self._host.edu(self.function).running:
                if time.monotonic() > end:
                    raise HarnessError(f"{self.name}: the transfer never ended")
                time.sleep(0.01)

    def idle(self):
        """Waits until no transfer is in flight."""
        self._guest.until(f"[ \"$(cat {self.function.path}/{EDU}/in_flight)\" = none ]",
                          timeout=10)

    def transfer(self, direction, offset=0, length=TRANSFER):
        """A whole transfer."""
        error = self.start(direction, offset, length)
        if error:
            raise GuestFailure(f"{direction} {offset} {length} of {self.name}: {error}")
        self.idle()

    def count(self, name):
        """completed, interrupts or retrieved."""
        return int(self.shown(name))

    def store(self, data):
        """Puts all but the last bytes into the device's own memory."""
        self.fill(data)
        for part in PARTS:
            self.transfer("to", *part)

    def check_works(self, name):
        """Bytes go to the device and come back, the device interrupts, the memory in
        between is that of the driver: its file and the host read the same."""
        run, what = self._run, f"{self.name} {name}"
        there, here = pattern(f"{what} there"), pattern(f"{what} here")
        before = self.count("completed"), self.count("interrupts")
        self.store(there)
        self.fill(here)
        self.transfer("from", *PARTS[0])
        run.check(f"{what}: half comes back",
                  self.buffer() == there[:TRANSFER] + here[TRANSFER:])
        self.transfer("from", *PARTS[1])
        run.check(f"{what}: all comes back", self.buffer() == there[:END] + here[END:])
        memory = self._host.edu(self.function).memory
        run.equal(f"{what}: what the host reads there",
                  self._host.read(memory, 64), there[TRANSFER:TRANSFER + 64])
        run.equal(f"{what}: transfers", self.count("completed") - before[0], 4)
        run.check(f"{what}: interrupts", self.count("interrupts") - before[1] >= 4)


class IvshmemDevice(Device):
    """An ivshmem-doorbell device."""

    module = IVSHMEM

    def __init__(self, run, guest, host, name, server):
        super().__init__(run, guest, host, name)
        self.server = server

    def interrupts(self):
        """Interrupts per vector as the driver says."""
        lines = self.shown("interrupts").splitlines()
        return tuple(int(line.split()[1]) for line in lines)

    def ring(self, vector, what):
        """Rings once; exactly one interrupt has to come."""
        before = self.server.counts()
        self.server.ring(vector)
        self.check_interrupts(what, (count + (number == vector)
                                     for number, count in enumerate(before)))

    def check_interrupts(self, what, want):
        """So many interrupts came, per vector. On a busy host the processor that one of
        them is for may get its turn only after the guest has answered: it is waited for."""
        want, end = tuple(want), time.monotonic() + PATIENCE
        while self.server.counts() != want and time.monotonic() < end:
            time.sleep(0.02)
        self.settle()
        self._run.equal(f"interrupts of {self.name} {what}", self.server.counts(), want)

    def settle(self):
        """Lets interrupts that are on their way arrive: the guest answers twice."""
        self._guest.do("usleep 20000")
        self._guest.do("true")


def load(run, guest, kernel, module, *parameters):
    """Loads a sample driver."""
    guest.do(f"insmod {run.module(kernel, module)} {' '.join(parameters)}", timeout=60)


# -- the neighbour --------------------------------------------------------------

class Disk:
    """A disk under load that is verified: block N holds nothing but its number.

    The guest writes block after block past its cache, reads each back, and tells how
    far it is. The host looks into the file: what was told must be there. A wrong
    byte, wherever it comes from, ends the load, and a disk that does nothing any more
    shows, too: at each look, whatever phase of an update that is in, it must write and
    read blocks that were not begun before. It leaves the processor time for what is
    tested.
    """

    def __init__(self, folder):
        self.path = folder / "disk"
        with open(self.path, "wb") as file:
            file.truncate(DISK_BLOCKS * DISK_BLOCK)
        self._next = 0
        self._guest = self._job = self._boots = None

    @staticmethod
    def _block(number):
        line = f"block {number:09d}\n".encode()         # 16 bytes
        return line * (DISK_BLOCK // len(line))

    @staticmethod
    def script(first, disk="/dev/vda", folder="/run"):
        """The load, as a shell has it."""
        return (
            f"i={first}\nwhile :; do\n"
            f"n=$((i % {DISK_BLOCKS})); s=$(printf 'block %09d' $i)\n"
            f"yes \"$s\" | head -c {DISK_BLOCK} > {folder}/want\n"
            f"dd if={folder}/want of={disk} bs={DISK_BLOCK} seek=$n oflag=direct "
            "conv=notrunc status=none || { echo write $i failed; exit 1; }\n"
            f"dd if={disk} of={folder}/got bs={DISK_BLOCK} skip=$n count=1 iflag=direct "
            "status=none || { echo read $i failed; exit 1; }\n"
            f"cmp {folder}/want {folder}/got || {{ echo block $i differs; exit 1; }}\n"
            f"i=$((i + 1)); echo $i > {folder}/load.new\n"
            f"mv {folder}/load.new {folder}/load.done\n"
            "usleep 50000\ndone\n")

    def start(self, guest):
        """Starts the load in this kernel, behind what is there."""
        guest.put("/run/load", self.script(self._next), 0o755)
        self._guest, self._boots = guest, len(guest.boots)
        self._job = guest.start("sh /run/load")
        guest.until("[ -s /run/load.done ]", timeout=20)
        self._next = int(guest.read("/run/load.done"))

    def _goes_on(self, run):
        """The load gets further from here on. One block may have been begun before."""
        guest, begun = self._guest, int(self._guest.read("/run/load.done"))
        moves = guest.run(f"until [ $(cat /run/load.done) -ge {begun + 2} ] || "
                          f"[ -e {self._job}.status ]; do usleep 20000; done", PATIENCE)
        run.equal("load of the disk ended", guest.exists(f"{self._job}.status"), False)
        run.equal("complaints of the load", guest.output(self._job), "")
        run.check(f"the disk goes on behind block {begun}", moves.ok,
                  f"nothing within {PATIENCE} s")
        self._next = int(guest.read("/run/load.done"))

    def check(self, run):
        """The load goes on, and all it told is in the file. If another kernel runs since,
        it goes on there."""
        running = self._boots == len(self._guest.boots)
        if running:
            self._goes_on(run)
        first = max(0, self._next - DISK_BLOCKS // 2)    # it goes on meanwhile
        with open(self.path, "rb") as file:
            bad = [number for number in range(first, self._next)
                   if os.pread(file.fileno(), DISK_BLOCK, number % DISK_BLOCKS * DISK_BLOCK)
                   != self._block(number)]
        run.equal("wrong blocks on the disk", bad, [])
        run.check("the disk was under load", self._next > 0)
        if not running:
            self.start(self._guest)
            self._goes_on(run)


# -- the lists ------------------------------------------------------------------

def listed(guest, which):
    """Identity -> device of the PCI devices in a list of the device layer."""
    lines = guest.read(f"{DEBUG}/liveupdate_devices/{which}").splitlines()
    table = {}
    for line in lines:
        bus, identity, device = line.split()
        table[identity if bus == "pci" else f"{bus}/{identity}"] = device
    return table
