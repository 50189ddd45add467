# SPDX-License-Identifier: GPL-2.0
"""luctl, built once, and the kernel it is tested with (luctl_shim.c)."""

import ctypes
import functools
import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

from ..common import paths
from ..common.run import locked, logged

SOURCES = paths.ROOT / "tools" / "liveupdate" / "luctl"
OUT = paths.BUILD / "luctl"

#: Exit statuses, as enum luctl_status has them.
(OK, FAILED, USAGE, LOSS, NO_GO, STATE, TIMEOUT, INTERRUPTED,
 UNAVAILABLE, UNREADABLE, POLICY, OUTPUT) = range(12)
JUMPED = 99                             #: of luctl_shim.c: reboot(2) succeeded

#: What an error in JSON says of its status.
KINDS = {OK: "ok", FAILED: "refused", USAGE: "usage", LOSS: "loss",
         NO_GO: "no-go", STATE: "state", TIMEOUT: "timeout",
         INTERRUPTED: "interrupted",
         UNAVAILABLE: "unavailable", UNREADABLE: "unreadable",
         POLICY: "policy", OUTPUT: "output"}

SUBSYSTEMS = ("pci 3 1 devices mandatory                 4096\n"
                "shutdown-log 1 1 workload optional                    0\n")

#: 1 GiB, and its scratch areas: lowmem, global, and of the only node.
RAM = ((0x1000, 0x9f000), (1 << 20, 1 << 30))
SCRATCH = ((0x38000000, 0x3a000000), (0x34000000, 0x34000000),
           (0x30000000, 0x34000000))

#: What luctl undoes its work for.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_PR_CAPBSET_DROP = 24
_CAP_SYS_BOOT = 22


@functools.lru_cache(maxsize=None)
def build():
    """Builds luctl and the shim, once per process; their paths."""
    OUT.mkdir(parents=True, exist_ok=True)
    shim = OUT / "shim.so"
    with locked(OUT / "lock", "luctl"):
        logged(["make", "-C", SOURCES, f"O={OUT}", "CFLAGS=-O1 -g -Werror"],
               paths.LOG / "luctl.log", "building luctl")
        logged([os.environ.get("CC", "cc"), "-Wall", "-Wextra", "-Werror",
                "-O1", "-shared", "-fPIC", "-o", f"{shim}.new",
                Path(__file__).with_name("luctl_shim.c")],
               paths.LOG / "luctl-shim.log", "building luctl_shim.c")
        # Another process may run its tests with the old one.
        os.replace(f"{shim}.new", shim)
    return OUT / "luctl", shim


def give_up_rebooting():
    """From now on, nothing this thread starts can reboot this machine."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_CAPBSET_DROP, _CAP_SYS_BOOT, 0, 0, 0) and \
            os.geteuid() == 0:
        raise OSError(ctypes.get_errno(), "cannot drop CAP_SYS_BOOT")


def put_subsystems(top, lines):
    """Those who take part in the machine at @top, as LuctlTest.subsystems()."""
    folder = top / "sys/kernel/liveupdate/subsystems"
    shutil.rmtree(folder, True)
    folder.mkdir(parents=True)
    for line in lines.splitlines():
        name, *texts = line.split()
        (folder / name).mkdir()
        for file, text in zip(("version", "oldest", "level", "class", "bytes"), texts):
            (folder / name / file).write_text(text + "\n", encoding="utf-8")


class Result:
    """What luctl did: exit status, output, and the calls it made."""

    def __init__(self, status, out, err, calls):
        self.status = status
        self.out = out
        self.err = err
        self.calls = calls

    @property
    def text(self):
        """All that it said."""
        return self.out + self.err

    def __repr__(self):
        return f"status {self.status}\n{self.out}{self.err}{self.calls}"

    def objects(self):
        """The JSON objects on standard output, a line each."""
        return [json.loads(line) for line in self.out.splitlines()]


class LuctlTest(unittest.TestCase):
    """A test with a machine of its own."""

    @classmethod
    def setUpClass(cls):
        cls.program, cls.shim = build()
        give_up_rebooting()
        # A background job may have been started with some of them ignored.
        for number in SIGNALS:
            cls.addClassCleanup(signal.signal, number, signal.signal(
                number, signal.default_int_handler))

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)
        self.reset()

    def reset(self, state="normal"):
        """A machine in this state on which nothing failed yet."""
        for name, text in {
                "state": state, "transition": "idle", "prepare": "",
                "rehearse": "", "finish": "", "prepare_timeout_ms": "0",
                "freeze_timeout_ms": "0"}.items():
            self.sysfs(name, text + "\n")
        self.failed("none", "", 0, count=0)
        self.subsystems(SUBSYSTEMS)
        self.put("sys/kernel/kexec_loaded", "0\n")
        self.put("proc/1/comm", "sh\n")
        self.put("proc/cmdline", "BOOT_IMAGE=/vmlinuz initrd=/initrd kho=on "
                                 "quiet liveupdate=on\n")
        for script in (self.top / "script").glob("*"):
            script.unlink()
        for folder in ("devices", "retained"):
            shutil.rmtree(self.top / "sys/kernel/liveupdate" / folder, True)
        for name in ("sys/kernel/liveupdate/timeline", "timeline.next"):
            (self.top / name).unlink(missing_ok=True)
        (self.top / "calls").unlink(missing_ok=True)

    def put(self, name, text):
        """Write a file of the machine."""
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def put_memory(self, given=RAM, used=RAM, scratch=SCRATCH, percpu=400,
                   taken=16 << 20):
        """The memory of the machine, as (start, end) or (start, end, type).

        given is the map of the firmware, used what the kernel uses, scratch
        its scratch areas, None where that cannot be read; percpu are the KiB
        of its per-CPU areas, and taken the bytes that it took when it booted.
        Behind a range that the kernel uses may stand the driver of it.
        """
        params = bytearray(4096)
        params[0x1e8] = min(len(given or ()), 128)
        entries = b"".join(struct.pack("<QQI", start, end - start,
                                       *(kind or (1,)))
                           for start, end, *kind in given or ())
        params[0x2d0:0x2d0 + len(entries[:2560])] = entries[:2560]
        setup = "sys/kernel/boot_params/setup_data/0/"
        self.drop("sys/kernel/boot_params")
        if given is not None:
            self.put("sys/kernel/boot_params/data", bytes(params))
        if len(entries) > 2560:
            self.put(setup + "type", "0x1\n")
            self.put(setup + "data", entries[2560:])
        self.put("proc/iomem", "00000000-00000fff : Reserved\n" + "".join(
            f"{start:08x}-{end - 1:08x} : System RAM"
            f"{''.join(f' ({name})' for name in driver)}\n"
            "  01000000-017fffff : Kernel code\n"
            for start, end, *driver in used))
        self.drop("sys/kernel/debug/kho")
        if scratch is not None:
            folder = "sys/kernel/debug/kho/out/scratch_"
            self.put(folder + "phys", "".join(
                f"{start:#x}\n" for start, _ in scratch))
            self.put(folder + "len", "".join(
                f"{end - start:#x}\n" for start, end in scratch))
        self.put("proc/meminfo", "MemTotal:  1000000 kB\n"
                                 f"Percpu:    {percpu} kB\n")
        present = sum(end - start for start, end, *_ in used) // 4096
        self.put("proc/zoneinfo", "Node 0, zone    DMA32\n"
                 f"        spanned  {present}\n        present  {present}\n"
                 f"        managed  {present - taken // 4096}\n")

    def drop(self, name):
        """Remove a folder of the machine."""
        shutil.rmtree(self.top / name, ignore_errors=True)

    def sysfs(self, name, text=None):
        """Write, or read, a file of /sys/kernel/liveupdate."""
        if text is None:
            return (self.top / "sys/kernel/liveupdate" / name
                    ).read_text().rstrip("\n")
        return self.put(f"sys/kernel/liveupdate/{name}", text)

    def subsystems(self, lines):
        """Those who take part: a line each, as the kernel's list has it."""
        put_subsystems(self.top, lines)

    def failed(self, step, name, number, device="", reason="", count=1):
        """What failed last."""
        for field, text in {"transition": step, "subsystem": name, "errno": -number,
                            "device": device, "reason": reason, "count": count}.items():
            self.sysfs(f"last_failure/{field}", f"{text}\n")

    def devices(self, **lists):
        """Live update of devices, with these lists of lines."""
        for name in ("requested", "preserved", "reclaimed", "unreclaimed"):
            lines = lists.get(name, ())
            self.sysfs(f"devices/nr_{name}", f"{len(lines)}\n")
            self.put(f"sys/kernel/debug/liveupdate_devices/{name}",
                     "".join(f"{line}\n" for line in lines))

    def retain(self, **causes):
        """What is retained: ID=(bytes, reason)."""
        for name, (size, reason) in causes.items():
            self.sysfs(f"retained/{name}/bytes", f"{size}\n")
            self.sysfs(f"retained/{name}/reason", reason + "\n")

    def session(self, pid, process, *names):
        """A process that has these sessions open."""
        self.put(f"proc/{pid}/comm", process + "\n")
        folder = self.top / f"proc/{pid}/fd"
        folder.mkdir(exist_ok=True)
        (folder / "0").symlink_to("/dev/null")
        for number, name in enumerate(names, 3):
            (folder / str(number)).symlink_to(
                f"anon_inode:[luo_session] {name}")

    def script(self, call, **what):
        """What a call does; see luctl_shim.c."""
        self.put(f"script/{call}", " ".join(
            f"{key}={value}" for key, value in what.items()))

    def calls(self):
        """The calls that were made so far."""
        path = self.top / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def start(self, *args, ignored=(), stdout=subprocess.PIPE, **env):
        """Start luctl, with some signals ignored."""
        def ignore():
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)

        return subprocess.Popen(
            [self.program, "--sysfs", self.top / "sys", *args],
            stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=subprocess.PIPE, text=True,
            preexec_fn=ignore if ignored else None,
            env={**os.environ, "LC_ALL": "C", "LD_PRELOAD": str(self.shim),
                 "LUCTL_SHIM": str(self.top), **env})

    def luctl(self, *args, **kwargs):
        """Run luctl to its end."""
        with self.start(*args, **kwargs) as process:
            out, err = process.communicate(timeout=30)
        return Result(process.returncode, out, err, self.calls())

    def both(self, status, *args, prepare=None, state="normal", **kwargs):
        """Run luctl in text mode and with --json, each on a fresh machine.

        They do the same and end with the same status, and --json prints JSON
        in every case. Returns both results; the machine is left as the second
        one left it.
        """
        results = []
        for more in ((), ("--json",)):
            self.reset(state)
            if prepare:
                prepare()
            results.append(self.luctl(*more, *args, **kwargs))
        text, machine = results
        self.assertEqual(text.status, status, text)
        self.assertEqual(machine.status, status, machine)
        self.assertEqual(machine.calls, text.calls)
        objects = machine.objects()
        self.assertTrue(objects, machine)
        errors = [o["error"] for o in objects if "error" in o]
        if status in (OK, JUMPED):
            self.assertEqual(errors, [])
        else:
            self.assertEqual(errors[-1]["status"], status, machine)
            for error in errors:
                self.assert_error(error)
                self.assertIn(f"luctl: {error['thing']}: {error['message']}",
                              text.err)
        return text, machine

    def assert_error(self, error):
        """The one shape of an error."""
        self.assertEqual(set(error), {"status", "kind", "thing", "errno",
                                      "message", "advice"})
        self.assertEqual(error["kind"], KINDS[error["status"]])
        if error["errno"] is not None:
            self.assertIn(error["errno"], error["message"])
            self.assertTrue(error["errno"].isupper())

    def assert_undone(self):
        """The machine is as it was in the beginning."""
        self.assertEqual(self.sysfs("state"), "normal")
        self.assertEqual(self.sysfs("prepare_timeout_ms"), "0")
        self.assertEqual(self.sysfs("freeze_timeout_ms"), "0")
        self.assertEqual((self.top / "sys/kernel/kexec_loaded").read_text(),
                         "0\n")
