# SPDX-License-Identifier: GPL-2.0
"""Virtio devices of a machine without PCI: their transport is virtio-mmio, a platform device.

QEMU tells the kernel where they are on its command line. Who loads the next kernel passes
that on.
"""

import dataclasses

from ..common.run import HarnessError

BASE, SIZE = 0xFEB00000, 0x200          # registers of the first one, and of each
FIRST = 1                               # the one before is the share's, see vm/qemu.py
PARAMETER = "virtio_mmio.device"


class Machine:
    """The virtio devices of a microvm, as arguments for QEMU. As guest.pci.Machine."""

    def __init__(self):
        self._arguments = []
        self._names = []

    def arguments(self):
        """The arguments."""
        return list(self._arguments)

    def number(self, name):
        """Which transport a device has."""
        return FIRST + self._names.index(name)

    def device(self, driver, name, **properties):
        """Any virtio device."""
        self._names.append(name)
        words = [driver, f"id={name}", f"bus=virtio-mmio-bus.{self.number(name)}"]
        words += [f"{key}={value}" for key, value in properties.items()]
        self._arguments += ["-device", ",".join(words)]
        return self

    def rng(self, name, feed, **properties):
        """A virtio-rng device that gets what a feed sends."""
        self._arguments += ["-chardev", f"socket,id={name}.feed,path={feed.path}",
                            "-object", f"rng-egd,id={name}.backend,chardev={name}.feed"]
        return self.device("virtio-rng-device", name, rng=f"{name}.backend", **properties)

    def console(self, name, ports):
        """A virtio-serial device with these ports, number -> character device; each is
        called NAME.NUMBER."""
        self.device("virtio-serial-device", name, max_ports=max(ports) + 1)
        for number, chardev in ports.items():
            port = f"{name}.{number}"
            self._arguments += ["-chardev", f"socket,id={port}.host,path={chardev.path}",
                                "-device", f"virtserialport,bus={name}.0,nr={number},"
                                f"chardev={port}.host,name={port},id={port}"]
        return self


@dataclasses.dataclass(frozen=True)
class Transport:
    """A platform device, by the id that the device below has on QEMU's command line."""
    id: str
    name: str

    @property
    def path(self):
        """Its folder in the guest's sysfs."""
        return f"/sys/bus/platform/devices/{self.name}"


class MmioHost:
    """Where the devices of a machine are in its guest."""

    def __init__(self, guest, machine):
        self._guest, self._machine = guest, machine

    def parameters(self):
        """What QEMU added to the command line of the first kernel: the next one needs it."""
        words = self._guest.read("/proc/cmdline").split()
        return [word for word in words if word.startswith(f"{PARAMETER}=")]

    def number(self, name):
        """Which of these parameters is about a device."""
        start = f"@{BASE + SIZE * self._machine.number(name):#x}:"
        for number, word in enumerate(self.parameters()):
            if start in word:
                return number
        raise HarnessError(f"no {name} on the kernel's command line")

    def function(self, name):
        """The transport of a device. The kernel counts them as they are on its command line."""
        return Transport(name, f"virtio-mmio.{self.number(name)}")


def boot(run, machine, kernel="a", **options):
    """A microvm with these devices; (guest, host)."""
    guest = run.boot(kernel, devices=machine.arguments(), microvm=True, **options)
    return guest, MmioHost(guest, machine)
