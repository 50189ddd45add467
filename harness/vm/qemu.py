# SPDX-License-Identifier: GPL-2.0
"""One QEMU: command line, console log, sockets, memory, and its end.

A machine is always emulated (`-accel tcg` alone), always has a time limit, and
never restarts: a reset of the guest ends QEMU with the reason told over QMP.
The first serial port is the console and goes to a file; the second one is the
control agent's.

The processors of a machine are threads of QEMU. Where the guest changes the map of its
devices all the time, with several processors on a busy host, one of these sooner or
later loses the end of an interrupt: its local APIC has the vector of the timer in
service for good, and no timer or device reaches it any more. That was seen on QEMU 7.2
and 10.0, there with the unpatched base, too, under nothing but rescans of the PCI bus.
It was not seen where the processors take turns in one thread, as with take_turns.
"""

import mmap
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from ..build import initrd as guest_image
from ..common.paths import BUILD
from ..common.run import HarnessError, write_if_changed
from .gdb import Gdb
from .qmp import QMP, QMPError

QEMU = "qemu-system-x86_64"
START_TIMEOUT = 20
# Seconds until a QEMU that has closed its connections has freed the guest's memory.
GONE_TIMEOUT = 20

# A processor that counts instructions: its time does not depend on how busy the host is.
ICOUNT = "shift=1,sleep=off"

# What every machine records; more can be asked for.
TRACE = ("runstate_set", "qemu_system_shutdown_request", "guest_cpu_reset",
         "pci_cfg_write")


class MachineError(HarnessError):
    """QEMU did not start, ended early, or ran out of time."""


class Ram:
    """The guest's memory by physical address, as the file QEMU maps."""

    def __init__(self, file):
        self._file = os.fdopen(os.dup(file), "r+b")
        self._map = mmap.mmap(file, 0)

    def read(self, address, size):
        """`size` bytes at a physical address."""
        if address + size > len(self._map):
            raise HarnessError(f"{address:#x} is outside the guest's memory")
        return self._map[address:address + size]

    def pages_with(self, word):
        """How many pages begin with these bytes."""
        return sum(self._map[at:at + len(word)] == word
                   for at in range(0, len(self._map), mmap.PAGESIZE))

    def size(self):
        """Bytes of memory."""
        return len(self._map)

    def write(self, address, data):
        """Overwrites memory; the guest should be stopped."""
        if address + len(data) > len(self._map):
            raise HarnessError(f"{address:#x} is outside the guest's memory")
        self._map[address:address + len(data)] = data

    def _written(self):
        """(start, end) of what the guest ever wrote; the rest of the file is holes."""
        at, size = 0, len(self._map)
        while at < size:
            try:
                start = os.lseek(self._file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            at = os.lseek(self._file.fileno(), start, os.SEEK_HOLE)
            yield start, at

    def find_page(self, needle, accept, step=mmap.PAGESIZE):
        """Addresses of pages that hold `needle` and that `accept` likes."""
        found = set()
        for start, end in self._written():
            at = self._map.find(needle, start, end)
            while at >= 0:
                page = at - at % step
                if page not in found and accept(self._map[page:page + step]):
                    found.add(page)
                at = self._map.find(needle, at + 1, end)
        return sorted(found)

    def close(self):
        """Unmaps the memory."""
        self._map.close()
        self._file.close()


class VM:
    """A running QEMU. Use it as a context manager: leaving ends it."""

    _running = set()

    def __init__(self, folder, kernel, append, *, memory="1G", smp=1, limit=120,
                 ram_file=False, trace=(), icount=None, gdb=False, initrd=None,
                 devices=(), take_turns=False):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.kernel = pathlib.Path(kernel)
        self.append = append
        self.memory, self.smp, self.limit = memory, smp, limit
        self.icount = icount
        self.accel = "tcg,thread=single" if take_turns else "tcg"
        self.trace = (*TRACE, *trace)
        self.devices = tuple(devices)
        self.initrd = initrd or guest_image.build()
        self.serial_log = self.folder / "serial.log"
        # Memory of this process, too; in a file of a disk it would be written there.
        self._ram_file = os.memfd_create("guest") if ram_file else None
        self.ram = None
        # Unix socket names are short; the scenario's folder may not be.
        self._sockets = pathlib.Path(tempfile.mkdtemp(prefix="liveupdate-"))
        self._gdb = gdb
        self._process = None
        self._timer = None
        self.expired = False
        self.qmp = None
        self.agent = None

    # -- start and end ------------------------------------------------------

    def _command(self):
        agent, qmp = self._sockets / "agent", self._sockets / "qmp"
        # The limit holds even if this process dies.
        command = ["timeout", "--kill-after=5", str(self.limit + 10), QEMU,
                   "-accel", self.accel, "-M", "q35", "-cpu", "max", "-m", self.memory,
                   "-smp", str(self.smp), "-nodefaults", "-no-user-config",
                   "-display", "none", "-no-reboot",
                   "-serial", f"file:{self.serial_log}",
                   "-chardev", f"socket,id=agent,path={agent},server=on,wait=off",
                   "-serial", "chardev:agent",
                   "-chardev", f"socket,id=qmp,path={qmp},server=on,wait=off",
                   "-mon", "chardev=qmp,mode=control",
                   "-fsdev", "local,id=host,security_model=none,readonly=on,"
                   f"multidevs=remap,path={guest_image.SHARE}",
                   "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
                   "-kernel", str(self.kernel), "-initrd", str(self.initrd),
                   "-append", self.append, *self.devices,
                   "-msg", "timestamp=on", "-D", str(self.folder / "trace.log")]
        for event in self.trace:
            command += ["-trace", f"enable={event}"]
        if self._ram_file is not None:
            command += ["-object", "memory-backend-file,id=ram,share=on,"
                        f"size={self.memory},mem-path=/proc/self/fd/{self._ram_file}",
                        "-machine", "memory-backend=ram"]
        if self._gdb:
            command += ["-gdb", f"unix:{self._sockets / 'gdb'},server=on,wait=off"]
        if self.icount:
            command += ["-icount", self.icount, "-rtc", "clock=vm,base=2025-01-01"]
        return command

    def start(self):
        """Starts QEMU and connects to it; once."""
        if self._process is not None:
            raise MachineError("this machine was started before")
        if not shutil.which(QEMU):
            raise MachineError(f"{QEMU} is not installed (package qemu-system-x86)")
        self.serial_log.write_bytes(b"")
        command = self._command()
        write_if_changed(self.folder / "qemu.cmdline",
                         " \\\n  ".join(_quoted(word) for word in command) + "\n")
        self._errors = open(self.folder / "qemu.stderr", "w+b")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                         stdout=self._errors, stderr=self._errors,
                                         start_new_session=True,
                                         pass_fds=[self._ram_file] if self._ram_file else [])
        VM._running.add(self)
        self._timer = threading.Timer(self.limit, self._expire)
        self._timer.daemon = True
        self._timer.start()
        try:
            self.qmp = self._connect(lambda: QMP(self._sockets / "qmp"))
            self.agent = self._connect(lambda: _connected(self._sockets / "agent"))
            if self._ram_file is not None:
                self.ram = Ram(self._ram_file)
        except BaseException:
            self.close()
            raise
        return self

    def _connect(self, attempt):
        end = time.monotonic() + START_TIMEOUT
        while True:
            try:
                return attempt()
            except OSError as error:
                if self._process.poll() is not None:
                    raise MachineError(f"QEMU ended: {self.errors()}") from error
                if time.monotonic() > end:
                    raise MachineError("QEMU opens no socket") from error
            time.sleep(0.02)

    def _expire(self):
        self.expired = True
        self._kill()

    def _kill(self):
        """Ends the process group that start() made, and nothing else."""
        if self._process and self._process.poll() is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def close(self):
        """Ends the machine and frees what it held; the logs stay."""
        if self._timer:
            self._timer.cancel()
        if self.qmp and self.alive():
            try:
                self.qmp.execute("quit", timeout=5)
                self._process.wait(5)
            except (QMPError, subprocess.TimeoutExpired):
                pass
        self._kill()
        if self._process:
            self._process.wait()
            self._errors.close()
        for part in (self.qmp, self.agent, self.ram):
            if part:
                part.close()
        self.ram = None
        if self._ram_file is not None:
            os.close(self._ram_file)
            self._ram_file = None
        shutil.rmtree(self._sockets, ignore_errors=True)
        VM._running.discard(self)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    @classmethod
    def close_all(cls):
        """Ends every machine of this process."""
        for machine in list(cls._running):
            machine._kill()

    # -- what it does -------------------------------------------------------

    def alive(self):
        """True while QEMU runs."""
        return self._process is not None and self._process.poll() is None

    def errors(self):
        """What QEMU itself printed."""
        self._errors.flush()
        return (self.folder / "qemu.stderr").read_text(errors="replace").strip()

    def why_gone(self):
        """One line on how the machine ended."""
        if self.expired:
            return f"time limit of {self.limit} s reached"
        reason = self.shutdown_reason(1)
        if reason:
            return f"the guest ended ({reason})"
        try:
            # A QEMU that ends closes its connections before it can be waited for.
            status = self._process.wait(GONE_TIMEOUT)
        except subprocess.TimeoutExpired:
            return "QEMU runs, but its connection is gone"
        return f"QEMU ended with status {status}: {self.errors()}"

    def serial(self):
        """The console log so far, control characters of firmware dropped."""
        text = self.serial_log.read_bytes().decode("utf-8", "replace")
        return text.replace("\r", "")

    def wait_serial(self, text, timeout, start=0):
        """Waits until the console log holds `text` behind offset `start`."""
        end = time.monotonic() + timeout
        while True:
            log = self.serial()
            at = log.find(text, start)
            if at >= 0:
                return at
            if not self.alive() or time.monotonic() > end:
                reason = self.why_gone() if not self.alive() else f"within {timeout} s"
                raise MachineError(f"console never showed {text!r}: {reason}")
            time.sleep(0.05)

    def shutdown_reason(self, timeout):
        """Reason of the SHUTDOWN event: guest-shutdown, guest-reset, guest-panic."""
        if not self.qmp:
            return None
        event = self.qmp.wait_event("SHUTDOWN", timeout)
        return event["data"]["reason"] if event else None

    def record_registers(self):
        """Leaves the registers of all processors for whoever looks into a hang."""
        looks = ["info registers -a"] * 3 + [f"info lapic {cpu}" for cpu in range(self.smp)]
        try:
            text = "".join(self.qmp.execute("human-monitor-command", command_line=look)
                           for look in looks)
        except QMPError as error:
            text = str(error)
        (self.folder / "registers").write_text(text)

    def write_physical(self, address, data):
        """Writes to a physical address, a device's registers among them, while the
        machine is stopped for it."""
        gdb = self._connect(lambda: Gdb(self._sockets / "gdb"))
        try:
            gdb.write_physical(address, data)
            gdb.detach()
        finally:
            gdb.close()

    def stop_at(self, address, trigger, timeout=60, meanwhile=None):
        """Runs `trigger()`, then stops the machine when a CPU gets to `address`.

        Returns the Gdb connection of the stopped machine; detach() lets it go on.
        The breakpoint is set while the guest is stopped and idle, so nothing is
        missed; `trigger` must not wait for what comes after the breakpoint.
        `meanwhile()` is called again and again until then, and must not wait long.
        """
        gdb = self._connect(lambda: Gdb(self._sockets / "gdb"))
        try:
            gdb.run_to(address, timeout, trigger, meanwhile)
        except BaseException:
            gdb.close()
            raise
        return gdb


def _connected(path):
    """A client of a stream socket in the file system."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


def _quoted(word):
    return word if all(c.isalnum() or c in "-_=,./:+@" for c in word) else f"'{word}'"


def image(name):
    """Path of a kernel image the harness built, by its short name."""
    path = BUILD / f"bzImage-{name}"
    if not path.exists():
        raise HarnessError(f"{path.name} is not built: run make kernel")
    return path
