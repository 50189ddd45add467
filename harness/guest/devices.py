# SPDX-License-Identifier: GPL-2.0
"""Devices of the test bus in a guest, and their table as it lies in memory.

The language that the devices are told in is described in
drivers/base/test/liveupdate_test_bus_config.c.
"""

import dataclasses
import struct

from ..common.run import HarnessError
from . import table as guest_table
from .control import DEBUG, LIVEUPDATE, GuestFailure

MODULE = "liveupdate_test_bus"
BUS = "liveupdate-test"
FOREIGN = "liveupdate-test-foreign"
CONTROL = f"{DEBUG}/{MODULE}"
DEVICES = f"/sys/bus/{BUS}/devices"
DRIVERS = f"/sys/bus/{BUS}/drivers"
LISTS = f"{DEBUG}/liveupdate_devices"
COUNTS = f"{LIVEUPDATE}/devices"

# What is called for a device in each transition, in this order; and on the path.
STEPS = {
    "prepare": ("prepare", "bus-prepare"),
    "freeze": ("freeze", "bus-freeze"),
    "thaw": ("bus-thaw", "thaw"),
    "cancel": ("bus-cancel", "cancel"),
}
PATH_STEPS = {"prepare": "path-on", "freeze": "path-freeze", "thaw": "path-thaw",
              "cancel": "path-off"}


def expected(step, names, path=()):
    """The calls of a transition for these devices, all with 0."""
    calls = []
    for name in names:
        if name not in path:
            calls += [(call, name, "0") for call in STEPS[step]]
        elif step in PATH_STEPS:
            calls.append((PATH_STEPS[step], name, "0"))
    return calls


class Devices:
    """The test bus of one guest, whichever kernel that runs."""

    def __init__(self, run, guest):
        self._run = run
        self._guest = guest
        self.log = f"{CONTROL}/calls"

    def load(self, kernel, config="", **parameters):
        """Loads the module: the bus, its drivers and the devices appear."""
        words = [f"{key}={value}" for key, value in parameters.items()]
        if config:
            words.append(f"config='\"{config}\"'")
        self._guest.do(f"insmod {self._run.module(kernel, MODULE)} {' '.join(words)}",
                       timeout=60)

    def tell(self, text):
        """Tells bus and devices what to do."""
        error = self._guest.write(f"{CONTROL}/config", text)
        if error:
            raise GuestFailure(f"the test bus refuses {text!r}: {error}")

    def await_call(self, step, name):
        """Waits until a callback of a device has begun."""
        self._guest.until(f"grep -q '^{step} {name} ' {self.log}")

    def release(self):
        """Lets all callbacks go on that are held."""
        self._guest.do(f"echo 1 > {CONTROL}/release")

    def calls(self, *steps):
        """Callbacks as (callback, name, errno), all or some of them."""
        text = self._guest.read(self.log)
        calls = [tuple(line.split()) for line in text.splitlines()]
        return [call for call in calls if not steps or call[0] in steps]

    def received(self):
        """Name -> (version, text) of what probe was handed over."""
        text = self._guest.read(f"{CONTROL}/received")
        lines = (line.split(" ", 2) for line in text.splitlines())
        return {name: (int(version), rest) for name, version, rest in lines}

    # -- one device ---------------------------------------------------------

    @staticmethod
    def folder(name, bus=BUS):
        """The folder of a device in sysfs."""
        return f"/sys/bus/{bus}/devices/{name}"

    def has_files(self, name, bus=BUS):
        """Whether the device has files of live update."""
        return self._guest.exists(f"{self.folder(name, bus)}/liveupdate")

    def file(self, name, which):
        """requested, preserved, reclaimed or reason of a device."""
        return self._guest.read(f"{self.folder(name)}/liveupdate/{which}")

    def request(self, name, value=1):
        """Writes requested; "" or the errno's name."""
        return self._guest.write(f"{self.folder(name)}/liveupdate/requested", str(value))

    def driver(self, name):
        """Name of the driver that is bound, or ""."""
        link = self._guest.run(f"readlink {self.folder(name)}/driver").out
        return link.rsplit("/", 1)[-1]

    def bind(self, driver, name, unbind=False):
        """Writes bind or unbind of a driver; "" or the errno's name."""
        return self._guest.write(f"{DRIVERS}/{driver}/{'un' if unbind else ''}bind", name)

    # -- all devices --------------------------------------------------------

    def listed(self, which):
        """Identity -> device, or "-", of a list in debugfs."""
        lines = self._guest.read(f"{LISTS}/{which}").splitlines()
        table = {}
        for line in lines:
            bus, identity, device = line.split()
            table[identity if bus == BUS else f"{bus}/{identity}"] = device
        if self.count(which) != len(lines) or len(table) != len(lines):
            raise GuestFailure(f"{which} of {self.count(which)} devices lists {lines}")
        return table

    def count(self, which):
        """How many devices are in such a list."""
        return int(self._guest.read(f"{COUNTS}/nr_{which}"))

    def counts(self):
        """The same of requested, preserved, reclaimed and unreclaimed."""
        return tuple(self.count(which) for which in
                     ("requested", "preserved", "reclaimed", "unreclaimed"))

    # -- statements ---------------------------------------------------------

    def check_calls(self, what, want, *steps):
        """These calls and no others came, since the last clear, in this order."""
        self._run.equal(f"calls of {what}", self.calls(*steps), list(want))

    def failed(self, step, name, errno, reason, bus=BUS):
        """The layer says that this device failed last."""
        got = self._guest.failed_device()
        self._run.equal("the device that failed", got[:4], (step, bus, name, str(errno)))
        self._run.contains("reason", got[4], reason)

    def until_bound(self, name):
        """Waits until a device has a driver."""
        self._guest.until(f"[ -e {self.folder(name)}/driver ]", timeout=10)

    def in_turn(self):
        """No device was called at the wrong time, by any kernel."""
        self._run.unsaid(self._guest, "out of turn")

    def ordinary(self, name, driver=None):
        """A device that a driver has, and that live update does not know."""
        self.until_bound(name)
        if driver:
            self._run.equal(f"driver of {name}", self.driver(name), driver)
        self._run.equal(f"{name} is reclaimed", self.file(name, "reclaimed"), "0")


# -- the table in memory ------------------------------------------------------

COMPATIBLE = "luo-devices-v3"
# struct device_liveupdate_ser: the format of each field, and where it begins.
FORMATS = {"bus": "24s", "id": "64s", "fingerprint": "64s", "parent": "I", "flags": "I",
           "compatible": "32s", "version": "I", "nr_providers": "I", "value": "Q",
           "size": "Q", "more": "I", "provider_bytes": "12s"}
RECORD = struct.Struct("<" + "".join(FORMATS.values()))
AT = {name: struct.calcsize("<" + "".join(list(FORMATS.values())[:number]))
      for number, name in enumerate(FORMATS)}
STRINGS = ("bus", "id", "compatible")
PATH, BLOB = 1, 2


@dataclasses.dataclass
class Record:
    """One device in the table that is handed over."""
    address: int
    bus: str
    id: str
    fingerprint: bytes
    parent: int
    flags: int
    compatible: str
    version: int
    nr_providers: int
    value: int
    size: int
    more: int
    provider_bytes: bytes

    @property
    def providers(self):
        """Positions of what the device needs beside its parent, if they are in its record."""
        return struct.unpack("<3I", self.provider_bytes)[:self.nr_providers]


class Table(guest_table.Table):
    """The table of devices of a stopped guest, through that of the subsystems."""

    def __init__(self, ram, handover):
        super().__init__(ram, handover.record("devices").value, COMPATIBLE, RECORD)

    def records(self):
        """The records in their order."""
        return [Record(at, *(field.split(b"\0")[0].decode() if name in STRINGS else field
                             for name, field in zip(FORMATS, fields)))
                for at, fields in self.entries()]

    def record(self, identity):
        """The record of one device."""
        for record in self.records():
            if record.id == identity:
                return record
        raise HarnessError(f"no record of {identity} in the table of devices")
