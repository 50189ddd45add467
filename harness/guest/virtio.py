# SPDX-License-Identifier: GPL-2.0
"""Virtio devices of a guest: which it is, how it stands in an update, what it delivers."""

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
