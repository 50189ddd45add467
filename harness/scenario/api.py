# SPDX-License-Identifier: GPL-2.0
"""What a scenario is written with: the decorator, the run, the checks.

A scenario is a function of one Run. It boots guests through it and states
what it expects; the first thing that is not as expected ends it. Checks that
hold for every scenario (no splat on any console) are made after it.
"""

import dataclasses
import struct
import time

from ..common import paths
from ..common.run import HarnessError
from ..guest import leaks as guest_leaks
from ..guest.control import APPEND, ENABLED, Guest, host_path
from ..vm.qemu import VM, image

SCENARIOS = {}

# How much longer everything takes on the debug kernels, and what they need: KHO
# makes its scratch area twice as large as what is reserved, which with KASAN's
# shadow is more than there is, so it is told a size that such a kernel boots in.
# With five page table levels KASAN of the base calls every address wild while
# identify_cpu() has cleared the features, and reports an interrupt that comes then.
DEBUG_SLOWNESS = 5
DEBUG_MEMORY = "2G"
DEBUG_APPEND = "kho_scratch=32M,512M,256M no5lvl"
# KCSAN holds up a processor and watches for another one to touch the same memory. An
# emulated one gets its turn in milliseconds, so it waits for longer than by default.
KCSAN_APPEND = ("kcsan.early_enable=1 kcsan.udelay_task=3000 kcsan.udelay_interrupt=500 "
                "kcsan.skip_watch=3000")


# Seconds until what the kernel has printed is on its console.
SAID_TIMEOUT = 30


class Failed(HarnessError):
    """Something was not as the scenario expects."""


class Skipped(Exception):
    """The scenario cannot run here; the text says why."""


@dataclasses.dataclass
class Scenario:
    """A registered scenario."""
    name: str
    about: str
    function: object
    smp: int = 1
    memory: str = "1G"
    limit: int = 120
    ram_file: bool = False
    gdb: bool = False
    debug: bool = False
    debug_only: bool = False
    debug_always: bool = False
    expect: tuple = ()
    trace: tuple = ()


def scenario(name, **options):
    """Registers a function as a scenario; its docstring is the description.

    smp, memory, limit (seconds), ram_file, gdb and trace describe the machine;
    debug puts it among those that run on the debug kernels, debug_always among the
    few of these that every "make check" has the time for, debug_only says that it
    makes no sense elsewhere; expect lists regular expressions of console lines that
    would be a splat elsewhere.
    """
    options["debug"] = any(options.get(mark, False) for mark in
                           ("debug", "debug_always", "debug_only"))

    def register(function):
        if name in SCENARIOS:
            raise HarnessError(f"two scenarios are called {name}")
        about = " ".join((function.__doc__ or "").split())
        SCENARIOS[name] = Scenario(name, about, function, **options)
        return function
    return register


def release_of(path):
    """The release string in the header of a bzImage."""
    with open(path, "rb") as kernel:
        kernel.seek(0x20E)
        offset = struct.unpack("<H", kernel.read(2))[0] + 0x200
        kernel.seek(offset)
        return kernel.read(256).split(b"\0", 1)[0].split(b" ", 1)[0].decode()


class Run:
    """One run of a scenario."""

    def __init__(self, what, folder=None, debug=False, kernel=None, on_event=None,
                 on_step=None):
        self.what = what
        suffix = kernel or ("debug" if debug else "")
        self.name = f"{what.name}-{suffix}" if suffix else what.name
        self.folder = folder or paths.BUILD / "scenario" / self.name
        self.debug = debug
        self.instead = kernel           # of both a and b
        self.guests = []
        self.neighbour = None           # a disk under load, in scenarios of PCI
        self.steps = []
        self.checks = 0
        self._on_event = on_event
        self._on_step = on_step
        self._start = time.monotonic()

    # -- guests -------------------------------------------------------------

    @property
    def kcsan(self):
        """Whether the kernels look for data races."""
        return self.instead == "kcsan"

    @property
    def slow(self):
        """Whether the kernels are slowed down by what they check."""
        return self.debug or self.kcsan

    def kernel(self, name):
        """Name of the build of a kernel: a and b have debug builds, too, or another
        kernel stands in for both."""
        if self.instead and name in ("a", "b"):
            return self.instead
        return {"a": "debug", "b": "debug-b"}.get(name, name) if self.debug else name

    def image(self, name):
        """Path of kernel a, b or another."""
        return image(self.kernel(name))

    def module(self, kernel, name):
        """Where a guest sees a module of kernel a, b or another."""
        build = f"modules-{self.kernel(kernel)}"
        found = sorted((paths.BUILD / build).rglob(f"{name}.ko"))
        if len(found) != 1:
            raise HarnessError(f"build/{build} has {len(found)} {name}: run make kernel")
        return host_path(found[0])

    def append(self, extra="", enabled=ENABLED, kaslr=False, dma_debug=False):
        """A kernel command line; what dma_debug costs, all but one do without."""
        words = (APPEND, "" if kaslr else "nokaslr", enabled,
                 "" if dma_debug else "dma_debug=off",
                 DEBUG_APPEND if self.debug else "",
                 KCSAN_APPEND if self.kcsan else "", extra)
        return " ".join(word for word in words if word)

    def boot(self, kernel="a", extra="", enabled=ENABLED, kaslr=False, dma_debug=False,
             **options):
        """Starts a machine with this kernel and waits until it is up."""
        number = len(self.guests) + 1
        folder = self.folder if number == 1 else self.folder / f"vm{number}"
        slow = DEBUG_SLOWNESS if self.slow else 1
        settings = {"smp": self.what.smp, "memory": self.what.memory,
                    "limit": self.what.limit * slow, "trace": self.what.trace,
                    "ram_file": self.what.ram_file, "gdb": self.what.gdb, **options}
        if self.debug:
            settings["memory"] = DEBUG_MEMORY
        vm = VM(folder, self.image(kernel), self.append(extra, enabled, kaslr, dma_debug),
                **settings)
        guest = Guest(vm, self._on_event, slow)
        self.guests.append(guest)
        vm.start()
        boot = guest.wait_boot()
        self.equal(f"release of kernel {kernel}", boot.release,
                   release_of(self.image(kernel)))
        return guest

    def check_leaks(self):
        """No debug kernel that runs at the end has lost memory."""
        kernels = [release_of(self.image(name)) for name in "ab"]
        for guest in self.guests:
            if guest.vm.alive() and guest.answers and guest.boots[-1].release in kernels:
                self.step(f"scan {guest.boots[-1].release} for leaks")
                leaks, report = guest_leaks.scan(guest)
                (guest.vm.folder / "kmemleak").write_text(report)
                self.equal("leaked memory", [str(leak) for leak in leaks], [])

    def close(self):
        """Ends every machine."""
        for guest in self.guests:
            guest.vm.close()

    # -- statements ---------------------------------------------------------

    def step(self, text):
        """Notes what is about to happen."""
        self.steps.append(f"{time.monotonic() - self._start:7.2f} {text}")
        if self._on_step:
            self._on_step(text)

    def check(self, what, holds, detail=""):
        """States that something holds."""
        self.checks += 1
        if not holds:
            raise Failed(f"{what}{': ' + detail if detail else ''}")
        self.steps.append(f"{time.monotonic() - self._start:7.2f}   ok: {what}")

    def equal(self, what, got, want):
        """States that two values are the same."""
        self.check(what, got == want, f"expected {want!r}, got {got!r}")

    def contains(self, what, text, part):
        """States that a text holds a part."""
        shown = text if len(text) < 400 else "..." + text[-400:]
        self.check(what, part in text, f"no {part!r} in {shown!r}")

    def lacks(self, what, text, part):
        """States that a text does not hold a part."""
        lines = [line for line in text.splitlines() if part in line][:3]
        self.check(what, part not in text, f"found {lines!r}")

    def said(self, guest, part, what="console"):
        """States that the console tells this, now or soon: printing may lag behind."""
        guest.vm.wait_serial(part, SAID_TIMEOUT)
        self.check(what, True)

    def unsaid(self, guest, part, what="console"):
        """States that the console has told nothing of this up to now."""
        self.lacks(what, guest.console(), part)

    # -- the moves of an update ---------------------------------------------

    def state(self, guest, want):
        """The machine is in this state, and nothing is running."""
        self.equal("state", guest.state(), want)
        if want != "none":
            self.equal("transition", guest.attribute("transition"), "idle")

    def prepare(self, guest):
        """Prepares; it has to work."""
        self.step("prepare")
        self.equal("prepare", guest.set("prepare", 1), "")
        self.state(guest, "prepared")

    def cancel(self, guest):
        """Cancels; it has to work."""
        self.step("cancel")
        self.equal("cancel", guest.set("prepare", 0), "")
        self.state(guest, "normal")

    def finish(self, guest, waits=None):
        """Finishes; it has to work. If something waits, (subsystem, names...), that is
        refused and one is named first, and then they are given up."""
        self.step("finish")
        if waits:
            self.equal("finish while something waits", guest.set("finish", 1), "EBUSY")
            failure = guest.last_failure()
            self.equal("who waits", (failure["transition"], failure["subsystem"]),
                       ("finish", waits[0]))
            self.check("what waits", failure["device"].split(":", 1)[-1] in waits[1:],
                       failure["device"])
            self.check("it is said why", failure["reason"])
            self.state(guest, "updated")
        self.equal("finish", guest.set("finish", 2 if waits else 1), "")
        self.state(guest, "normal")

    def load(self, guest, kernel="b", extra="", enabled=ENABLED, kaslr=False, **options):
        """Loads the next kernel with kexec_file_load(2)."""
        self.step(f"load kernel {kernel}")
        self.equal(f"kexec_file_load of kernel {kernel}",
                   guest.load(self.image(kernel), self.append(extra, enabled, kaslr),
                              **options), "")

    def jump(self, guest, kernel="b", state="updated", **options):
        """Jumps into the loaded kernel and checks which one came up, and how."""
        self.step(f"jump to kernel {kernel}")
        boot = guest.jump(**options)
        self.equal("release after the kexec", boot.release,
                   release_of(self.image(kernel)))
        self.state(guest, state)
        return boot

    def update(self, guest, kernel="b", extra=""):
        """A whole update up to the state updated."""
        self.prepare(guest)
        self.load(guest, kernel, extra)
        return self.jump(guest, kernel)

    def last_failed(self, guest, step, name, errno):
        """What the kernel says failed last."""
        self.equal("last failure", guest.last_failed(),
                   (step, name, str(errno)))

    def retained(self, guest, *ids):
        """What must outlive this kernel is this, and neither a prepare nor a kexec passes
        while there is any of it."""
        causes = guest.retained()
        self.equal("what is retained", sorted(causes), sorted(ids))
        if not ids:
            return
        for name, (owner, reason, _) in causes.items():
            self.equal(f"owner of {name}", owner, name.split(":")[0])
            self.check(f"reason of {name}", reason)
        state = guest.state()
        if state == "normal":
            self.equal("prepare while something is retained", guest.set("prepare", 1), "EBUSY")
            failure = guest.last_failure()
            self.equal("errno of that failure", failure["errno"], "-16")
            self.check("it says what is retained", failure["subsystem"] + (
                failure["device"] and ":" + failure["device"]) in causes, str(failure))
        self.load(guest)
        self.equal("kexec while something is retained", guest.refused_jump(), "EBUSY")
        guest.vm.wait_serial("would be lost, see retained", 10)
        self.equal("state after that", guest.state(), state)
        guest.do("guestctl kexec-unload")

    def forget(self, guest, *ids):
        """The operator gives up what is retained."""
        for name in ids:
            self.step(f"give up {name}")
            for wrong in ("0", "2", "11", "yes"):
                self.equal(f"forget={wrong}", guest.set(f"retained/{name}/forget", wrong),
                           "EINVAL")
            self.equal("forget", guest.set(f"retained/{name}/forget", 1), "")
            self.check(f"{name} is gone", name not in guest.retained())

    def nothing_failed(self, guest):
        """The kernel says that nothing failed."""
        self.last_failed(guest, "none", "", 0)
