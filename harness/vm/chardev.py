# SPDX-License-Identifier: GPL-2.0
"""The host's end of a character device of QEMU: a socket that QEMU connects to.

What a test sends goes to the guest at an instant of the test's choice, as far as the
device takes it, whichever kernel runs or none; what comes from the guest is kept.
"""

import pathlib
import shutil
import socket
import tempfile
import threading
import time

from ..common.run import HarnessError

TIMEOUT = 20


class ChardevError(HarnessError):
    """Nothing came, or nobody is there."""


class Chardev:
    """One character device. Use it as a context manager."""

    def __init__(self):
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="chardev-"))
        self.path = self._folder / "socket"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(1)
        self._changed = threading.Condition()
        self._received = b""
        self._client = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        try:
            client, _ = self._listener.accept()
            with self._changed:
                self._client = client
            while data := client.recv(1 << 16):
                with self._changed:
                    self._received += data
                    self._changed.notify_all()
        except OSError:
            return

    def received(self):
        """All that came from the guest."""
        with self._changed:
            return self._received

    def wait(self, size, timeout=TIMEOUT):
        """Waits until so many bytes came in all; what came."""
        end = time.monotonic() + timeout
        with self._changed:
            while len(self._received) < size:
                if not self._changed.wait(max(0, end - time.monotonic())):
                    raise ChardevError(f"{len(self._received)} bytes within {timeout} s, "
                                       f"not {size}")
            return self._received

    def send(self, data):
        """Sends to the guest. QEMU takes it when the device does."""
        if not self._client:
            raise ChardevError("QEMU has not connected")
        self._client.sendall(data)

    def close(self):
        """Ends the connection."""
        self._listener.close()
        if self._client:
            self._client.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Egd(Chardev):
    """The entropy gathering daemon that QEMU's backend rng-egd asks for random bytes. What
    is sent goes to the guest when a request is complete."""

    REQUEST = 2                         # "read so many bytes, wait if there are fewer"

    def requests(self):
        """The requests so far: how many bytes each wants."""
        data = self.received()
        kinds = set(data[:len(data) & ~1:2])
        if kinds - {self.REQUEST}:
            raise ChardevError(f"no requests of entropy: {data.hex()}")
        return list(data[1::2])

    def wait_requests(self, count):
        """Waits until there were so many requests."""
        self.wait(2 * count)
