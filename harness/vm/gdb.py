# SPDX-License-Identifier: GPL-2.0
"""A client of QEMU's gdb server, as far as stopping at an address needs it.

Connecting stops the guest; detaching lets it run. While it is stopped its
virtual time stands still.
"""

import contextlib
import select
import socket
import struct
import time

from ..common.run import HarnessError

# Where "g" answers registers of 8 bytes: the sixth is the first argument of a function,
# the instruction pointer is behind 16 of them.
RDI_AT = 5 * 8
RIP_AT = 16 * 8
KIMAGE_START = 3 * 8            # offset of its field "start", which no option moves
LOOP = b"\xeb\xfe"              # jmp to itself


class GdbError(HarnessError):
    """The gdb server answered what it should not, or nothing."""


class Gdb:
    """The remote serial protocol over a unix socket."""

    def __init__(self, path, timeout=10):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._input = b""
        self._timeout = timeout
        # It is stopped when this is answered.
        self.command("?", stopped=True)

    def _byte(self, deadline):
        if not self._input:
            left = deadline - time.monotonic()
            if left <= 0:
                raise GdbError("no answer in time")
            self._socket.settimeout(left)
            try:
                self._input = self._socket.recv(4096)
            except socket.timeout as error:
                raise GdbError("no answer in time") from error
            if not self._input:
                raise GdbError("QEMU closed the connection")
        first, self._input = self._input[:1], self._input[1:]
        return first

    def _send(self, text):
        data = text.encode()
        self._socket.sendall(b"$" + data + b"#%02x" % (sum(data) & 0xFF))

    def _receive(self, timeout=None):
        deadline = time.monotonic() + (timeout or self._timeout)
        while self._byte(deadline) != b"$":
            pass
        data = b""
        while True:
            byte = self._byte(deadline)
            if byte == b"#":
                break
            data += byte
        checksum = self._byte(deadline) + self._byte(deadline)
        if int(checksum, 16) != sum(data) & 0xFF:
            raise GdbError("bad checksum")
        self._socket.sendall(b"+")
        return data.decode()

    def command(self, text, stopped=False):
        """Sends one packet and returns the answer.

        QEMU also tells by itself that the guest stopped for the connection, at a
        moment of its own; such a packet is an answer only where one is expected.
        """
        self._send(text)
        while True:
            answer = self._receive()
            if stopped or answer[:1] not in ("S", "T"):
                return answer

    def _accepted(self, text):
        answer = self.command(text)
        if answer != "OK":
            raise GdbError(f"{text}: {answer or 'not supported'}")

    def set_breakpoint(self, address):
        """A hardware breakpoint: nothing in guest memory changes."""
        self._accepted(f"Z1,{address:x},1")

    def clear_breakpoint(self, address):
        """Takes the breakpoint back."""
        self._accepted(f"z1,{address:x},1")

    def _stopped(self, timeout):
        """Waits so long for the guest to stop; False if it still runs."""
        if not self._input and not select.select([self._socket], [], [], timeout)[0]:
            return False
        answer = self._receive()
        if answer[:1] not in ("S", "T"):
            raise GdbError(f"stopped with {answer}, not by a breakpoint")
        return True

    def run_to(self, address, timeout=60, trigger=None, meanwhile=None):
        """Runs until a CPU gets to `address`, in whatever kernel.

        `trigger()` is called once when the breakpoint is set, `meanwhile()` again and
        again while the guest runs; it must not wait long.
        """
        self.set_breakpoint(address)
        if trigger:
            trigger()
        self._send("c")
        end = time.monotonic() + timeout
        while not self._stopped(0 if meanwhile else timeout):
            if time.monotonic() > end:
                raise GdbError(f"{address:#x} was not reached within {timeout} s")
            if meanwhile:
                meanwhile()
        if self.pc() != address:
            raise GdbError(f"stopped at {self.pc():#x}, expected {address:#x}")
        self.clear_breakpoint(address)

    def run_to_image(self):
        """From the entry of machine_kexec() to the first instruction of what was loaded,
        which is no kernel yet; its address. Memory is mapped one to one there."""
        start = self._register(RDI_AT) + KIMAGE_START
        entry = int.from_bytes(self.read(start, 8), "little")
        self.run_to(entry)
        return entry

    @contextlib.contextmanager
    def spinning(self, address):
        """The guest runs, but the CPU that stopped, at this physical address, runs in a
        loop there. Afterwards it is stopped at the same address, all as it was."""
        code = self.read(address, len(LOOP))
        self.write_physical(address, LOOP)
        self._send("c")
        try:
            yield
        finally:
            self._socket.sendall(b"\x03")
            if not self._stopped(self._timeout):
                raise GdbError("the guest cannot be stopped")
            self.write_physical(address, code)
        if self.pc() != address:
            raise GdbError(f"stopped at {self.pc():#x}, expected {address:#x}")

    def _register(self, at):
        return struct.unpack_from("<Q", bytes.fromhex(self.command("g")), at)[0]

    def pc(self):
        """The instruction pointer of the CPU that stopped."""
        return self._register(RIP_AT)

    def read(self, address, size):
        """Memory as the CPU that stopped has it mapped."""
        answer = self.command(f"m{address:x},{size:x}")
        if len(answer) != 2 * size:
            raise GdbError(f"{size} bytes at {address:#x}: {answer or 'not supported'}")
        return bytes.fromhex(answer)

    def write(self, address, data):
        """Writes memory as the CPU that stopped has it mapped."""
        self._accepted(f"M{address:x},{len(data):x}:{data.hex()}")

    def write_physical(self, address, data):
        """Writes to a physical address in one access, be it memory or a device."""
        self._accepted("Qqemu.PhyMemMode:1")
        self._accepted(f"M{address:x},{len(data):x}:{data.hex()}")
        self._accepted("Qqemu.PhyMemMode:0")

    def detach(self):
        """Lets the guest run and ends the connection."""
        self.command("D")
        self._socket.close()

    def close(self):
        """Ends the connection whatever state it is in."""
        self._socket.close()
