# SPDX-License-Identifier: GPL-2.0
"""What scenarios of virtio devices have in common: streams from the host that have to arrive
in order, once, whichever kernel runs or none, and what QEMU recorded meanwhile."""

import time

from ..guest.pci import pattern
from ..guest.virtio import RNG_BLOCK
from ..vm import pci_trace as pt
from ..vm import virtio_trace as vt
from .api import release_of
from .pci import no_kernel_runs

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


def check_path(run, host, device, start):
    """Nor was the function reset, or kept from memory."""
    events = pt.Trace(host.trace.path).events(start)
    run.equal("bus mastering off", pt.without_master(events, device.function.name), [])
    run.equal("resets", pt.resets(events, "virtio-rng-pci", "virtio-rng-device",
                                  "virtio-serial-pci", "virtio-serial-device",
                                  "virtio-net-pci", "virtio-net-device"), [])


def between(run, guest, send, command="guestctl reboot kexec"):
    """A command that makes the kernel jump, and `send()` when no kernel runs. QEMU drops
    entropy while the machine stands still, so it has to be going on."""
    gdb = guest.stop_at_jump(command)
    entry = gdb.run_to_image()
    no_kernel_runs(run, guest, "between the kernels")
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
