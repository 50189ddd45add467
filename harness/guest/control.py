# SPDX-License-Identifier: GPL-2.0
"""A guest from the host's side: commands through the agent, updates, sysfs.

Frames are described in guest/agent.c. The agent says READY when a kernel is
up; a READY where an answer was due means that the guest went through a kexec.
"""

import dataclasses
import os
import pathlib
import re
import shlex
import socket
import time

from ..build import initrd
from ..common.run import HarnessError
from ..vm.qemu import MachineError

LIVEUPDATE = "/sys/kernel/liveupdate"
DEBUG = "/sys/kernel/debug"
TEST = f"{DEBUG}/liveupdate_test"

# What every kernel of a guest is booted with. The watchdog of the TSC is off: at boot,
# while jiffies are the clock, it waits for ever for a processor that stop_machine() holds,
# if that is the one which counts jiffies. All of that is upstream code.
APPEND = ("earlycon=uart8250,io,0x3f8,115200 console=ttyS0,115200 panic=-1 "
          "oops=panic printk.time=1 tsc=nowatchdog")
ENABLED = "kho=on liveupdate=on"

# Virtual time flies while a guest waits for the host, hours if that is busy.
VIRTUAL_LIMIT = 10 * 24 * 3600
BOOT_TIMEOUT = 60
COMMAND_TIMEOUT = 30


class GuestFailure(HarnessError):
    """The guest did not do what was asked of it."""


@dataclasses.dataclass
class Boot:
    """One kernel that came up."""
    number: int
    release: str
    seconds: float
    counter: int            # time stamp counter as its init began


@dataclasses.dataclass
class Result:
    """Exit status and output (stdout and stderr together) of a command."""
    command: str
    status: int
    data: bytes

    @property
    def out(self):
        """The output as text, without the last newline."""
        return self.data.decode("utf-8", "replace").rstrip("\n")

    @property
    def ok(self):
        """True when the command succeeded."""
        return self.status == 0

    @property
    def error(self):
        """Empty if it succeeded, else the errno's name, which guestctl prints first, or the
        status of a command that could not print it."""
        return "" if self.ok else self.out.split(" ")[0] or f"status {self.status}"


class Rebooted(Exception):
    """A new kernel came up where the answer of a command was due."""

    def __init__(self, boot):
        super().__init__(boot.release)
        self.boot = boot


class Guest:
    """The control connection of one VM, and what tests do most with it."""

    def __init__(self, vm, on_event=None, slow=1):
        self.vm = vm
        self._slow = slow
        self.boots = []
        self.events = []
        self._on_event = on_event
        self._input = b""
        self._sequence = 0
        self._jobs = 0
        self._since = time.monotonic()
        self.answers = False        # not before it is up, nor when it was sent its end

    # -- frames -------------------------------------------------------------

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout()
        self.vm.agent.settimeout(left)
        data = self.vm.agent.recv(1 << 16)
        if not data:
            raise MachineError(self.vm.why_gone())
        self._input += data

    def _line(self, deadline):
        while b"\n" not in self._input:
            self._fill(deadline)
        line, self._input = self._input.split(b"\n", 1)
        return line.decode("ascii", "replace").strip("\r")

    def _body(self, size, deadline):
        while len(self._input) < size:
            self._fill(deadline)
        body, self._input = self._input[:size], self._input[size:]
        return body

    def _next(self, deadline):
        """The next READY or RESULT as (kind, fields, body)."""
        while True:
            words = self._line(deadline).split(" ")
            if words[0] == "READY" and len(words) == 3:
                return "READY", words[1:], b""
            if words[0] == "RESULT" and len(words) == 4:
                return "RESULT", words[1:], self._body(int(words[3]), deadline)
            if words[0] == "EVENT" and len(words) == 2:
                text = self._body(int(words[1]), deadline).decode("utf-8", "replace")
                self.events.append(text)
                if self._on_event:
                    self._on_event(text)

    def _came_up(self, fields):
        boot = Boot(len(self.boots) + 1, fields[0], time.monotonic() - self._since,
                    int(fields[1]))
        self.boots.append(boot)
        self.answers = True
        return boot

    def wait_boot(self, timeout=BOOT_TIMEOUT):
        """Waits for the next kernel to come up."""
        timeout *= self._slow
        deadline = time.monotonic() + timeout
        try:
            while True:
                kind, fields, _ = self._next(deadline)
                if kind == "READY":
                    return self._came_up(fields)
        except socket.timeout:
            self.vm.record_registers()
            raise GuestFailure(f"no kernel came up within {timeout} s; console ends "
                               f"with: {self.last_lines()}") from None
        except OSError as error:
            raise MachineError(self.vm.why_gone()) from error

    def pump(self, seconds):
        """Takes in events for some time; raises Rebooted when a kernel came up."""
        try:
            kind, fields, _ = self._next(time.monotonic() + seconds)
            if kind == "READY":
                raise Rebooted(self._came_up(fields))
        except socket.timeout:
            pass

    def last_lines(self, count=3):
        """The end of the console log in one line."""
        return " | ".join(self.vm.serial().splitlines()[-count:])

    def _request(self, header, body, what, timeout):
        deadline = time.monotonic() + timeout
        try:
            self.vm.agent.settimeout(timeout)
            self.vm.agent.sendall(header.encode() + body)
            while True:
                kind, fields, data = self._next(deadline)
                if kind == "READY":
                    raise Rebooted(self._came_up(fields))
                if int(fields[0]) == self._sequence:
                    self.answers = True
                    return Result(what, int(fields[1]), data)
        except socket.timeout:
            self.vm.record_registers()
            raise GuestFailure(f"no answer to {what!r} within {timeout:.0f} s; console "
                               f"ends with: {self.last_lines()}") from None
        except OSError as error:
            raise MachineError(f"{what!r}: {self.vm.why_gone()}") from error

    # -- commands -----------------------------------------------------------

    def run(self, command, timeout=COMMAND_TIMEOUT):
        """Runs a shell command in the guest; the guest ends it after `timeout`, unless its
        time is virtual."""
        self._sequence += 1
        timeout *= self._slow
        body = command.encode()
        limit = VIRTUAL_LIMIT if self.vm.icount else timeout
        header = f"RUN {self._sequence} {int(limit * 1000)} {len(body)}\n"
        return self._request(header, body, command, timeout + 15)

    def do(self, command, timeout=COMMAND_TIMEOUT):
        """Runs a command that has to succeed; its output."""
        result = self.run(command, timeout)
        if not result.ok:
            raise GuestFailure(f"{command!r} ended with status {result.status}: "
                               f"{result.out or 'no output'}")
        return result.out

    def put(self, path, data, mode=0o644):
        """Writes a file of the guest."""
        self._sequence += 1
        if isinstance(data, str):
            data = data.encode()
        name = path.encode()
        header = f"PUT {self._sequence} {mode:o} {len(name)} {len(data)}\n"
        result = self._request(header, name + data, f"put {path}", COMMAND_TIMEOUT)
        if not result.ok:
            raise GuestFailure(f"{path}: {result.out}")

    def start(self, command):
        """Runs a command beside the others; finish() or output() asks for it."""
        self._jobs += 1
        job = f"/run/job.{self._jobs}"
        self.do(f"( ( {command} ) >{job} 2>&1 </dev/null; echo $? >{job}.new; "
                f"mv {job}.new {job}.status ) >/dev/null 2>&1 &")
        return job

    def output(self, job):
        """What a job printed so far."""
        return self.do(f"cat {job}")

    def finish(self, job, timeout=COMMAND_TIMEOUT):
        """Waits for a job to end."""
        self.until(f"[ -e {job}.status ]", timeout)
        return self.run(f"cat {job}; exit $(cat {job}.status)")

    def until(self, condition, timeout=COMMAND_TIMEOUT):
        """Waits until a condition of the shell holds. If it does not, the failure names
        the processes that run, and the console's log tells where each task sleeps."""
        if not self.run(f"until {condition}; do usleep 20000; done", timeout).ok:
            running = self.run("echo w >/proc/sysrq-trigger; echo t >/proc/sysrq-trigger; "
                               "ps -o pid,ppid,stat,args | grep -v '\\]$'").out
            self.vm.record_registers()
            raise GuestFailure(f"not within {timeout} s: {condition}\n{running}")

    def read(self, path):
        """A file's text, without the last newline."""
        return self.do(f"cat {shlex.quote(path)}")

    def exists(self, path):
        """True when the guest has the file or folder."""
        return self.run(f"test -e {shlex.quote(path)}").ok

    def write(self, path, text, timeout=COMMAND_TIMEOUT):
        """One write(2): "" when it succeeded, else the name of the errno."""
        result = self.run(f"guestctl write {shlex.quote(path)} {shlex.quote(text)}",
                          timeout)
        return result.error

    # -- the orchestrator ---------------------------------------------------

    def state(self):
        """The state of the machine, "none" when the kernel has no such thing."""
        result = self.run(f"cat {LIVEUPDATE}/state")
        return result.out if result.ok else "none"

    def attribute(self, name):
        """A file of /sys/kernel/liveupdate."""
        return self.read(f"{LIVEUPDATE}/{name}")

    def set(self, name, value, timeout=COMMAND_TIMEOUT):
        """Writes a file of /sys/kernel/liveupdate; "" or the errno's name."""
        return self.write(f"{LIVEUPDATE}/{name}", str(value), timeout)

    def until_in(self, transition):
        """Waits until the transition that runs, with subsystem and part, is this."""
        self.until(f"[ \"$(cat {LIVEUPDATE}/transition)\" = '{transition}' ]", timeout=10)

    def last_failure(self):
        """What failed last: transition, subsystem, device, errno, reason and count."""
        return {name: self.attribute(f"last_failure/{name}")
                for name in ("transition", "subsystem", "device", "errno", "reason", "count")}

    def last_failed(self):
        """Transition, subsystem and errno of what failed last."""
        failure = self.last_failure()
        return tuple(failure[name] for name in ("transition", "subsystem", "errno"))

    def failed_device(self):
        """Transition, bus, identity, errno and reason of the device that failed last."""
        failure = self.last_failure()
        bus, _, identity = failure["device"].partition(":")
        return failure["transition"], bus, identity, failure["errno"], failure["reason"]

    def retained(self):
        """ID -> (owner, reason, bytes) of what must outlive this kernel."""
        folder = f"{LIVEUPDATE}/retained"
        names = self.do(f"[ ! -d {folder} ] || ls {folder}").split()
        return {name: (self.attribute(f"retained/{name}/owner"),
                       self.attribute(f"retained/{name}/reason"),
                       int(self.attribute(f"retained/{name}/bytes"))) for name in names}

    def subsystems(self):
        """Name -> (version, oldest, level, class, bytes)."""
        table = {}
        for line in self.read("/sys/kernel/debug/liveupdate/subsystems").splitlines():
            name, version, oldest, level, kind, size = line.split()
            table[name] = (int(version), int(oldest), level, kind, int(size))
        return table

    def configure(self, text):
        """Tells the test subsystems what to do."""
        error = self.write(f"{TEST}/config", text)
        if error:
            raise GuestFailure(f"test subsystems refuse {text!r}: {error}")

    def calls(self):
        """Callbacks of the test subsystems as (transition, name, errno)."""
        text = self.read(f"{TEST}/calls")
        return [tuple(line.split()) for line in text.splitlines()]

    def await_call(self, step, name):
        """Waits until a callback of a test subsystem has begun."""
        self.until(f"grep -q '^{step} {name} ' {TEST}/calls")

    def await_late(self, text):
        """Waits until the kernel complains that a transition is late, with subsystem,
        part and transition before it; nothing that is held goes on before."""
        step = text.split()[-1]
        self.vm.wait_serial(f"{text} exceeds {step}_timeout_ms", BOOT_TIMEOUT * self._slow)

    def release(self):
        """Lets all callbacks of test subsystems go on that are held."""
        self.do(f"echo 1 > {TEST}/release")

    def received(self):
        """Name -> text that the test subsystems got from the last kernel."""
        text = self.read(f"{TEST}/received")
        return dict(line.split(" ", 1) if " " in line else (line, "")
                    for line in text.splitlines())

    # -- kexec --------------------------------------------------------------

    def load(self, kernel, append, timeout=60):
        """kexec_file_load(2) of an image of the build folder; "" or the errno."""
        return self.run(f"guestctl {self.load_verb(kernel, append)}", timeout).error

    @staticmethod
    def load_verb(kernel, append):
        """What guestctl is to do for that."""
        return f"kexec-load {host_path(kernel)} {initrd.GUEST_INITRD} {shlex.quote(append)}"

    def jump(self, timeout=BOOT_TIMEOUT, command="guestctl reboot kexec"):
        """reboot(2) into the loaded image; the kernel that came up.

        When the call comes back, the errno's name is in the GuestFailure.
        """
        self._since = time.monotonic()
        try:
            result = self.run(command, timeout)
        except Rebooted as rebooted:
            return rebooted.boot
        raise GuestFailure(f"no kexec: {result.out}")

    def refused_jump(self, timeout=COMMAND_TIMEOUT):
        """reboot(2) that must come back; the errno's name."""
        try:
            result = self.run("guestctl reboot kexec", timeout)
        except Rebooted as rebooted:
            raise GuestFailure(f"jumped to {rebooted.boot.release}, though "
                               "reboot(2) should have failed") from None
        return result.error

    def send(self, command):
        """Sends a command whose answer nobody waits for."""
        self._sequence += 1
        body = command.encode()
        self._since = time.monotonic()
        self.answers = False
        self.vm.agent.sendall(f"RUN {self._sequence} 60000 {len(body)}\n".encode() + body)

    def stop_at_jump(self, command="guestctl reboot kexec", meanwhile=None):
        """Sends a command that makes a kernel jump, and stops the machine where the old
        one is through, at the entry of machine_kexec(); see VM.stop_at()."""
        address = int(self.do("grep ' machine_kexec$' /proc/kallsyms").split()[0], 16)
        return self.vm.stop_at(address, lambda: self.send(command), meanwhile=meanwhile)

    def flush_console(self):
        """Waits until all that the kernel has printed so far is on the console."""
        mark = f"harness: console at {self._sequence}"
        self.do(f"echo '{mark}' >/dev/kmsg")
        self.vm.wait_serial(f"{mark}\n", COMMAND_TIMEOUT)

    def console(self, boot=None):
        """Console text of one boot (1 is the first), or of all. It has all that a kernel
        which answers has printed so far."""
        if self.answers and boot in (None, len(self.boots)):
            self.flush_console()
        log = self.vm.serial()
        if boot is None:
            return log
        parts = split_boots(log)
        return parts[boot - 1] if 0 < boot <= len(parts) else ""


def split_boots(log):
    """The console log cut where each kernel printed its first line."""
    starts = [match.start() for match in
              re.finditer(r"^\[ *0\.000000\](?:\[[^]]*\])? Linux version ", log, re.M)]
    ends = starts[1:] + [len(log)]
    return [log[start:end] for start, end in zip(starts, ends)]


def host_path(path):
    """Where the guest sees a file of the build folder."""
    relative = os.path.relpath(pathlib.Path(path), initrd.SHARE)
    if relative.startswith(".."):
        raise HarnessError(f"{path} is outside the folder that guests see")
    return f"/host/{relative}"
