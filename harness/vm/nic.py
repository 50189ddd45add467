# SPDX-License-Identifier: GPL-2.0
"""The host's end of a network card of QEMU: a datagram socket, each datagram a frame.

QEMU reads the socket when the card can receive, and only then. So what a test sends is
neither lost nor reordered on the way, whichever kernel runs or none, and a host that does
not read any more keeps the card from transmitting.
"""

import pathlib
import shutil
import socket
import struct
import tempfile
import threading
import time

from ..common.run import HarnessError

TIMEOUT = 20
ETHERTYPE = 0x88B5                      # for experiments; nobody else sends it
HEADER = 14


class NicError(HarnessError):
    """Frames did not come, or were not taken."""


def mac_bytes(text):
    """The six bytes of a MAC address."""
    return bytes.fromhex(text.replace(":", ""))


def frame(to, sender, payload):
    """An Ethernet frame between two MAC addresses."""
    return mac_bytes(to) + mac_bytes(sender) + struct.pack(">H", ETHERTYPE) + payload


def pack(frames):
    """Frames as guestctl reads and writes them: each behind its length."""
    return b"".join(struct.pack(">H", len(one)) + one for one in frames)


def unpack(data):
    """The frames of such a file; one that is not complete yet is left out."""
    frames, at = [], 0
    while at + 2 <= len(data):
        size = struct.unpack_from(">H", data, at)[0]
        if at + 2 + size > len(data):
            break
        frames.append(data[at + 2:at + 2 + size])
        at += 2 + size
    return frames


class Nic:
    """One network card. Use it as a context manager."""

    def __init__(self, mac="52:54:00:12:34:56"):
        self.mac = mac
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="nic-"))
        self.card, self.path = self._folder / "card", self._folder / "host"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._changed = threading.Condition()
        self._frames = []
        self._reads = threading.Event()
        self._reads.set()
        self._closed = False
        threading.Thread(target=self._serve, daemon=True).start()

    def arguments(self, name):
        """What QEMU is told of it."""
        return ["-netdev", f"dgram,id={name},local.type=unix,local.path={self.card},"
                           f"remote.type=unix,remote.path={self.path}"]

    def _serve(self):
        while not self._closed:
            self._reads.wait()
            try:
                # Not for long: a host that does not read takes nothing.
                self._socket.settimeout(0.1)
                data = self._socket.recv(1 << 17)
            except socket.timeout:
                continue
            except OSError:
                return
            with self._changed:
                self._frames.append(data)
                self._changed.notify_all()

    def pause(self):
        """The host reads no more, and has none under way."""
        self._reads.clear()
        time.sleep(0.3)

    def resume(self):
        """It does again."""
        self._reads.set()

    def frames(self):
        """All frames of the guest that were sent by tests."""
        with self._changed:
            return [one for one in self._frames
                    if one[12:HEADER] == struct.pack(">H", ETHERTYPE)]

    def wait(self, count, timeout=TIMEOUT):
        """Waits until so many of them came in all; what came."""
        end = time.monotonic() + timeout
        while len(frames := self.frames()) < count:
            if time.monotonic() > end:
                raise NicError(f"{len(frames)} frames within {timeout} s, not {count}")
            with self._changed:
                self._changed.wait(0.1)
        return frames

    def send(self, data, timeout=TIMEOUT):
        """Sends a frame to the guest. QEMU takes it when the card does."""
        # A socket of its own: the other one waits for something else.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.settimeout(timeout)
            try:
                client.connect(str(self.card))
                client.send(data)
            except socket.timeout:
                raise NicError(f"no frame was taken for {timeout} s") from None
            except OSError as error:
                raise NicError(f"{self.card}: {error}") from error

    def close(self):
        """Ends the connection."""
        self._closed = True
        self._reads.set()
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
