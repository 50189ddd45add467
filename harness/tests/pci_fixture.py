# SPDX-License-Identifier: GPL-2.0
"""A machine that runs nothing but its firmware, with PCI devices in it.

Firmware enumerates as a kernel does, so what is read and traced is real.
"""

import pathlib
import shutil
import subprocess
import tempfile
import time

from ..vm.gdb import Gdb
from ..vm.pci_host import PciHost
from ..vm.pci_trace import EVENTS
from ..vm.qemu import QEMU
from ..vm.qmp import QMP


class Firmware:
    """The machine; has of harness.vm.qemu.VM what PciHost needs."""

    def __init__(self, devices, limit=60):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="liveupdate-pci-"))
        command = ["timeout", "--kill-after=2", str(limit), QEMU, "-accel", "tcg",
                   "-M", "q35", "-cpu", "max", "-m", "64M", "-nodefaults",
                   "-no-user-config", "-display", "none", "-no-reboot",
                   "-object", "memory-backend-file,id=ram,share=on,size=64M,"
                   f"mem-path={self.folder / 'ram'}", "-machine", "memory-backend=ram",
                   "-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off",
                   "-gdb", f"unix:{self.folder / 'gdb'},server=on,wait=off",
                   "-msg", "timestamp=on", "-D", str(self.folder / "trace.log"), *devices]
        for event in EVENTS:
            command += ["-trace", f"enable={event}"]
        self._errors = open(self.folder / "stderr", "w+b")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                         stdout=self._errors, stderr=self._errors)
        self.qmp = self._connect("qmp", QMP)
        self.host = PciHost(self)
        self.ram = open(self.folder / "ram", "r+b", buffering=0)

    def _connect(self, name, kind):
        end = time.monotonic() + 20
        while True:
            try:
                return kind(self.folder / name)
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((self.folder / "stderr").read_text()) from error
            time.sleep(0.02)

    def enumerated(self, *names):
        """Waits until firmware has given all functions their addresses."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            known = self.host.functions()
            if all(name in known and known[name].bars for name in names) and \
                    self.host.processors()[0][2]:           # it has nothing left to do
                return known
            time.sleep(0.05)
        raise RuntimeError("firmware never gave addresses to all devices")

    def memory(self, address, size):
        """Bytes of the machine's memory."""
        self.ram.seek(address)
        return self.ram.read(size)

    def set_memory(self, address, data):
        """Overwrites them."""
        self.ram.seek(address)
        self.ram.write(data)

    def write_physical(self, address, data):
        """As VM.write_physical()."""
        gdb = self._connect("gdb", Gdb)
        gdb.write_physical(address, data)
        gdb.detach()

    def close(self):
        """Ends it."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()
        self.qmp.close()
        self.ram.close()
        self._errors.close()
        shutil.rmtree(self.folder, ignore_errors=True)
