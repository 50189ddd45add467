# SPDX-License-Identifier: GPL-2.0
"""A peer of the guest's ivshmem device: it rings, and reads what the guest counts.

QEMU's ivshmem-doorbell gets its memory and one eventfd per vector from a server,
over a unix socket as described in QEMU's docs/specs/ivshmem-spec.txt (version 0).
This is that server. Writing to the eventfd of a vector is an interrupt that the
host raises at an instant of its own choice, whichever kernel runs or none. The
driver in the guest counts the interrupts of each vector in the memory, where the
host reads them without asking any kernel.
"""

import array
import mmap
import os
import pathlib
import shutil
import socket
import struct
import tempfile
import threading

from ..common.run import HarnessError

VERSION = 0
GUEST = 0                               # the id that QEMU is given
MEMORY = -1                             # "the descriptor with this is the memory"
VECTORS = 8
SIZE = 1 << 20


class IvshmemError(HarnessError):
    """The device and its server do not get on."""


def _send(client, value, descriptor=None):
    """One message: a signed 64-bit number, and maybe a descriptor."""
    extra = []
    if descriptor is not None:
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
    if client.sendmsg([struct.pack("<q", value)], extra) != 8:
        raise IvshmemError("the socket took only part of a message")


class Ivshmem:
    """Server and peer of one ivshmem device. Use it as a context manager.

    The memory and the eventfds outlive a connection, so that a QEMU that is
    started anew, or a device that is plugged again, finds what there was.
    """

    def __init__(self, vectors=VECTORS, size=SIZE):
        self.vectors = vectors
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="ivshmem-"))
        self.path = self._folder / "socket"
        self._memory = os.memfd_create("ivshmem", os.MFD_CLOEXEC)
        os.ftruncate(self._memory, size)
        self._map = mmap.mmap(self._memory, size)
        self._events = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                        for _ in range(vectors)]
        self._lock = threading.Lock()
        self._connected = threading.Event()
        self._closed = False
        self._clients = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    # -- the server ---------------------------------------------------------

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
                if self._closed:
                    client.close()
                    return
                with self._lock:
                    self._clients.append(client)    # closing it would end the guest's
                self._introduce(client)
            except OSError:
                if self._closed:
                    return
                continue
            self._connected.set()

    def _introduce(self, client):
        """All that a device waits for while it is made."""
        _send(client, VERSION)
        _send(client, GUEST)
        _send(client, MEMORY, self._memory)
        for event in self._events:
            _send(client, GUEST, event)

    # -- the peer -----------------------------------------------------------

    def wait(self, timeout=20):
        """Waits until a device has all it needs."""
        if not self._connected.wait(timeout):
            raise IvshmemError("no ivshmem device came to its server")

    def ring(self, vector):
        """Raises an interrupt of the guest's device, now.

        Rings of one vector that QEMU did not look at yet are one interrupt.
        """
        with self._lock:
            if self._closed:
                raise IvshmemError("the ivshmem server is closed")
            os.eventfd_write(self._events[vector], 1)

    def taken(self, vector):
        """True when QEMU has seen every ring of a vector; takes back none."""
        with self._lock:
            text = pathlib.Path(f"/proc/self/fdinfo/{self._events[vector]}").read_text()
        return int(text.split("eventfd-count:")[1].split()[0], 16) == 0

    def counts(self):
        """Interrupts per vector as the guest's driver counts them."""
        return struct.unpack_from(f"<{self.vectors}I", self._map)

    def read(self, offset, size):
        """Bytes of the shared memory."""
        return self._map[offset:offset + size]

    def write(self, offset, data):
        """Overwrites bytes of the shared memory."""
        self._map[offset:offset + len(data)] = data

    # -- the end ------------------------------------------------------------

    def close(self):
        """Ends the server; a guest that runs keeps its memory."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:                                        # wakes up accept()
            with socket.socket(socket.AF_UNIX) as knock:
                knock.connect(str(self.path))
        except OSError:
            pass
        self._thread.join(5)
        self._listener.close()
        for client in self._clients:
            client.close()
        for event in self._events:
            os.close(event)
        self._map.close()
        os.close(self._memory)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
