# SPDX-License-Identifier: GPL-2.0
"""What QEMU recorded of virtio devices: writes of their status, notifications, entropy,
requests of disks.

QEMU tells devices apart by an address of its own, which stays for as long as the device
is there, whatever becomes of it. What is written to the status says what no kernel does:
0 is a reset, and FEATURES_OK comes once after each.
"""

import dataclasses
import re

from ..common.run import HarnessError
from . import pci_trace

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK = 0x1, 0x2, 0x4, 0x8

PORT_OPEN, DEVICE_READY = 6, 0          # messages on the control channel of a console

# What an event is called here, and its line: which device, if it says so, and a value.
_KINDS = {
    "virtio_set_status": ("status", r"vdev (0x[0-9a-f]+) val (\d+)"),
    "virtio_queue_notify": ("notify", r"vdev (0x[0-9a-f]+) n (\d+) vq 0x[0-9a-f]+"),
    "virtio_rng_pushed": ("pushed", r"rng (0x[0-9a-f]+): (\d+) bytes pushed"),
    "virtio_blk_handle_write": ("write", r"vdev (0x[0-9a-f]+) req 0x[0-9a-f]+ "
                                r"sector (\d+) nsectors \d+"),
    "virtio_blk_req_complete": ("complete", r"vdev (0x[0-9a-f]+) req 0x[0-9a-f]+ "
                                r"status (\d+)"),
    "virtio_console_chr_read": ("read", r"port (\d+), size (\d+)"),
    "virtio_serial_handle_control_message": ("message", r"event (\d+), value (\d+)"),
    "virtqueue_fill": ("filled", r"vq (0x[0-9a-f]+) elem 0x[0-9a-f]+ len (\d+) idx \d+"),
    "runstate_set": ("runstate", r"run_state (\d+).*new_state (\d+) \(\w+\)"),
}
# Which port a message is about comes in a line of its own, behind it. Of buffers that are
# used there are many: it is asked for by those who want to know.
FILLED = "virtqueue_fill"
EVENTS = (*(kind for kind in _KINDS if kind != FILLED),
          "virtio_serial_handle_control_message_port")

_LINE = re.compile(rf"(?:^|:| )({'|'.join(_KINDS)}) (.*)$")


@dataclasses.dataclass(frozen=True)
class Event:
    """Something happened to a device, as QEMU calls it: status with its new value, notify
    with the virtqueue, pushed with the bytes that came, write with the first sector, or
    complete with the status of a request of a disk; to a port, by number: read with
    the bytes that went to the guest; a message, by its event, with its value; of a virtqueue,
    as QEMU calls it: filled, with the bytes that a buffer holds; or of the machine: runstate,
    by the old state, with the new one."""
    what: str
    device: str
    value: int


def parse_line(line):
    """The event of one line, or None for what nobody asks for."""
    found = _LINE.search(line)
    if not found:
        return None
    what, pattern = _KINDS[found[1]]
    fields = re.search(pattern + "$", found[2])
    if not fields:
        raise HarnessError(f"no {found[1]} as this QEMU writes it: {line!r}")
    return Event(what, fields[1], int(fields[2]))


def trace(vm):
    """The trace of a machine that runs."""
    return pci_trace.Trace(vm.folder / "trace.log", parse_line)


def written(events, device):
    """Each status that a kernel has written to a device. QEMU records what it has also when
    it stops the machine, and when it lets it go on, once for each device."""
    found, repeated = [], True
    for event in events:
        if event.what == "runstate":
            repeated = False
        elif event.what == "status" and event.device == device:
            if repeated:
                found.append(event.value)
            repeated = True
    return found


def values(events, what, device):
    """The values of events of one kind, of one device."""
    return [event.value for event in events
            if event.what == what and event.device == device]
