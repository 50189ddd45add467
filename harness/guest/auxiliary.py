# SPDX-License-Identifier: GPL-2.0
"""An edu device of a guest that is split into two auxiliary devices, by the sample drivers of
Documentation/driver-api/liveupdate/auxiliary.rst."""

from .control import GuestFailure
from .pci import TRANSFER, EduDevice, load, pattern

PARENT, CHILDREN = "liveupdate_aux_parent", "liveupdate_aux_children"
COPY, FACTORIAL = f"{PARENT}.copy", f"{PARENT}.factorial"
BUS = "/sys/bus/auxiliary"
_FACTORIAL = 0x08                       # register


class Part:
    """One of the auxiliary devices, whose name ends in a number that says nothing."""

    def __init__(self, guest, function, name):
        self._guest, self._function, self.name = guest, function, name

    @property
    def path(self):
        """Its folder in sysfs, in the kernel that runs."""
        return self._guest.do(f"echo {self._function.path}/{self.name}.*").strip()

    @property
    def device(self):
        """What this kernel calls it."""
        return self.path.rsplit("/", 1)[-1]

    def driver(self):
        """Name of the driver that is bound, or ""."""
        link = self._guest.run(f"readlink {self.path}/driver").out.strip()
        return link.rsplit("/", 1)[-1]

    def status(self):
        """requested, preserved and reclaimed."""
        return tuple(self._guest.read(f"{self.path}/liveupdate/{name}")
                     for name in ("requested", "preserved", "reclaimed"))

    def request(self, value=1):
        """Writes requested; "" or the errno's name."""
        return self._guest.write(f"{self.path}/liveupdate/requested", str(value))

    def reason(self):
        """What a request would be answered."""
        return self._guest.read(f"{self.path}/liveupdate/reason")


class PartsDevice(EduDevice):
    """An edu device of which one part copies, as the driver of a whole one does, half of the
    memory at a time, and another part computes."""

    module = PARENT

    def __init__(self, run, guest, host, name):
        super().__init__(run, guest, host, name)
        self.copy = Part(guest, self.function, COPY)
        self.factorial = Part(guest, self.function, FACTORIAL)

    def load(self, kernel, *parameters):
        """Loads the drivers of the device and of its parts."""
        super().load(kernel, *parameters)
        self.load_parts(kernel)

    def load_parts(self, kernel):
        """Loads the drivers of the parts."""
        load(self._run, self._guest, kernel, CHILDREN)

    @property
    def folder(self):
        """The folder with the files of the part that copies."""
        return f"{self.copy.path}/copy"

    def command(self, direction, offset=0, length=TRANSFER):
        """The file and the text that start a transfer."""
        return f"{self.folder}/transfer {direction}"

    def start(self, direction, offset=0, length=TRANSFER):
        """Starts a transfer; "" or the errno's name."""
        return self._guest.write(f"{self.folder}/transfer", direction)

    def store(self, data):
        """Puts the first half into the device's own memory."""
        self.fill(data)
        self.transfer("to")

    def check_works(self, name):
        """Bytes go to the device and come back, the device interrupts, the memory in
        between is that of the driver: its file and the host read the same."""
        run, what = self._run, f"{self.name} {name}"
        there, here = pattern(f"{what} there"), pattern(f"{what} here")
        before = self.count("completed"), self.count("interrupts")
        self.store(there)
        self.fill(here)
        self.transfer("from")
        run.check(f"{what}: half comes back",
                  self.buffer() == there[:TRANSFER] + here[TRANSFER:])
        run.equal(f"{what}: what the host reads there",
                  self._host.read(self._host.edu(self.function).memory, 64), there[:64])
        run.equal(f"{what}: transfers", self.count("completed") - before[0], 2)
        run.check(f"{what}: interrupts", self.count("interrupts") - before[1] >= 2)

    def compute(self, value):
        """The factorial, as the driver says."""
        path = f"{self.factorial.path}/factorial/value"
        error = self._guest.write(path, str(value))
        if error:
            raise GuestFailure(f"factorial of {self.name}: {error}")
        return int(self._guest.read(path))

    def computed(self):
        """What the host reads in that register."""
        data = self._host.read(self.function.bars[0] + _FACTORIAL, 4, 4)
        return int.from_bytes(data, "little")
