# SPDX-License-Identifier: GPL-2.0
"""Virtio devices of a guest: which it is, how it stands in an update, what it delivers."""

import time

from ..common.run import HarnessError
from ..vm import nic as vm_nic
from .control import GuestFailure
from .pci import Device, load

RNG_BLOCK = 64                          # bytes of one request of the driver
RNG_HELPER = "liveupdate_test_hwrng"


class VirtioDevice(Device):
    """The virtio device of a PCI function; both take part in an update."""

    @property
    def below(self):
        """Its folder on the virtio bus, whose name has a number that says nothing."""
        return self._guest.do(f"echo {self.function.path}/virtio*").strip()

    def below_file(self, name):
        """A file of that folder."""
        return self._guest.read(f"{self.below}/{name}")

    def request_below(self, value=1):
        """Writes requested of the device on the virtio bus; "" or the errno's name."""
        return self._guest.write(f"{self.below}/liveupdate/requested", str(value))

    def both(self, name):
        """A file of the folder liveupdate, of the function and of the virtio device."""
        return self.file(f"liveupdate/{name}"), self.below_file(f"liveupdate/{name}")


class RngDevice(VirtioDevice):
    """A virtio-rng device. The file gives whole requests only, to one reader at a time, and
    the kernel has a thread that reads, too: another generator keeps that away, so that what
    the host sends is read by who wants it."""

    module = "virtio-rng"

    def load(self, kernel, *parameters):
        """Loads the driver, for all such devices, and before it what keeps others away."""
        load(self._run, self._guest, kernel, RNG_HELPER)
        self._select("liveupdate_test")
        super().load(kernel, *parameters)

    def _select(self, name):
        """Which generator is read from; without a name that of this device."""
        if not name:
            names = self._guest.read("/sys/class/misc/hw_random/rng_available").split()
            name = next(one for one in names if one.startswith("virtio_rng"))
        error = self._guest.write("/sys/class/misc/hw_random/rng_current", name)
        if error:
            raise GuestFailure(f"rng_current: {error}")

    def select(self):
        """From here on the device can be read from, for some seconds without others."""
        asked = f"/sys/module/{RNG_HELPER}/parameters/asked"
        before = int(self._guest.read(asked))
        self._guest.until(f"[ $(cat {asked}) -gt {before} ]", timeout=30)
        self._select("")

    def release(self):
        """Nobody reads from it any more."""
        self._select("liveupdate_test")

    @staticmethod
    def command(blocks=1):
        """What the shell reads so many blocks with."""
        return f"dd if=/dev/hwrng bs={RNG_BLOCK} count={blocks} 2>/dev/null"

    def read(self, blocks=1, timeout=10):
        """So many blocks from the device, in their order."""
        result = self._guest.run(self.command(blocks), timeout)
        if not result.ok:
            raise GuestFailure(f"/dev/hwrng: {result.out}")
        return result.data


class ConsoleDevice(VirtioDevice):
    """A virtio-serial device. A port is a file that one process at a time may open."""

    def port(self, number):
        """The file of a port, in the kernel that runs."""
        name = f"{self.name}.{number}"
        found = self._guest.do(f"grep -lx '{name}' /sys/class/virtio-ports/*/name").split()
        return f"/dev/{found[0].split('/')[-2]}"

    def hold(self, number, size, path):
        """A process opens the port, reads `size` bytes into `path`, and keeps it open."""
        job = self._guest.start(f"exec 3<>{self.port(number)}; "
                                f"dd bs={size} count=1 <&3 >{path} 2>/dev/null; "
                                f"touch {path}.done; sleep 1000")
        return job

    def receive(self, number, size, timeout=20):
        """A process opens the port, reads `size` bytes, and closes it."""
        return self._guest.run(f"head -c {size} {self.port(number)}", timeout).data

    def send_line(self, number, text):
        """A process opens the port, writes a line, and closes it."""
        self._guest.do(f"echo {text} > {self.port(number)}")


class DiskDevice(VirtioDevice):
    """A virtio-blk device, whose driver is built in. All goes past the guest's cache."""

    @property
    def disk(self):
        """What the kernel that runs calls it, vda say."""
        return self._guest.do(f"ls {self.below}/block").strip()

    def queue_file(self, name):
        """A file of the disk in sysfs."""
        return self._guest.read(f"/sys/block/{self.disk}/{name}")

    def write_command(self, number, size, path, processor=None, flush=True):
        """What the shell writes block `number` with, from a file, on a processor."""
        where = "" if processor is None else f"taskset {1 << processor:x} "
        return (f"{where}dd if={path} of=/dev/{self.disk} bs={size} seek={number} count=1 "
                f"oflag=direct conv=notrunc{',fsync' if flush else ''} status=none")

    def write_block(self, number, data, processor=None):
        """Writes one block, and flushes the disk."""
        self._guest.put("/run/block", data)
        self._guest.do(self.write_command(number, len(data), "/run/block", processor))

    def read_block(self, number, size):
        """Reads one block."""
        result = self._guest.run(f"dd if=/dev/{self.disk} bs={size} skip={number} count=1 "
                                 "iflag=direct status=none")
        if not result.ok:
            raise GuestFailure(f"/dev/{self.disk}: {result.out}")
        return result.data

    def throttle(self, rate):
        """The host lets writes go on at so many bytes a second, or 0 as fast as it can. What
        it has taken before and held is answered then."""
        answer = self._host.monitor(f"block_set_io_throttle {self.name}.file "
                                    f"0 0 {rate} 0 0 0")
        if answer.strip():
            raise HarnessError(f"throttle of {self.name}: {answer.strip()}")


class NetDevice(VirtioDevice):
    """A virtio network card. What a reader gets is in a file, and lost with its kernel."""

    modules = ("dimlib", "failover", "net_failover", "virtio_net")
    UP, DOWN = "0x1003", "0x1002"       # flags of an interface, with broadcast and multicast

    def load(self, kernel, *parameters):
        """Loads the driver, and what it uses, for all such devices."""
        for module in self.modules:
            load(self._run, self._guest, kernel, module)

    @property
    def interface(self):
        """Name of the interface."""
        return self._guest.do(f"ls {self.below}/net").strip()

    def shown(self, name):
        """A file of the interface in sysfs."""
        return self._guest.read(f"/sys/class/net/{self.interface}/{name}")

    def set(self, name, value):
        """Writes such a file."""
        error = self._guest.write(f"/sys/class/net/{self.interface}/{name}", str(value))
        if error:
            raise GuestFailure(f"{name} of {self.interface}: {error}")

    def up(self, carrier=True):
        """Opens the interface, and waits for the link."""
        self.set("flags", self.UP)
        if carrier:
            self._guest.until(f"[ \"$(cat /sys/class/net/{self.interface}/carrier)\" = 1 ]")

    def down(self):
        """Closes it."""
        self.set("flags", self.DOWN)

    def listen(self, path, group=""):
        """A process receives into a file, and misses nothing from here on. The interface
        need not be up. Another one that does so already keeps a file without a name."""
        self._guest.do(f"rm -f {path}")
        self._guest.start(f"exec guestctl frames {self.interface} {path} {group}")
        self._guest.until(f"[ -e {path} ]")

    def received(self, path):
        """What it has received so far."""
        return vm_nic.unpack(self._guest.run(f"cat {path}").data)

    def wait_received(self, path, count, timeout=30):
        """Waits until it has received so many frames in all; what came."""
        end = time.monotonic() + timeout
        while len(frames := self.received(path)) < count and time.monotonic() < end:
            time.sleep(0.05)
        return frames

    def transmit(self, frames, pause=None):
        """A process sends these frames, with so many ms after each; the job."""
        path = "/run/transmit"
        self._guest.put(path, vm_nic.pack(frames))
        return self._guest.start(f"guestctl transmit {self.interface} {path} "
                                 f"{'' if pause is None else pause}")

    def filter(self):
        """What QEMU lets pass, and by which MAC address it knows the card; tables are sorted."""
        found = self._guest.vm.qmp.execute("query-rx-filter", name=self.name)[0]
        return {key: sorted(value) if isinstance(value, list) else value
                for key, value in found.items()}
