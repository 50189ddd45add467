# SPDX-License-Identifier: GPL-2.0
"""Allocations that fail in a guest on a debug kernel, and memory that nobody frees.

See Documentation/fault-injection/fault-injection.rst of the kernel. What fails is told
by number for the one system call of a command, guest/fault.c; or, where another task
makes the allocations, by the function that they are made for, which then gets none.
"""

import dataclasses
import shlex
import struct

from ..build import kernel
from ..common.run import HarnessError, output
from .control import DEBUG, GuestFailure

# With these, allocations that may wait fail, too, and pages one by one. Where a fault
# happened is said in one line, not with the stack that looks like a bug.
SETTINGS = {
    "failslab/ignore-gfp-wait": "N", "failslab/verbose": "1",
    "fail_page_alloc/ignore-gfp-wait": "N", "fail_page_alloc/verbose": "1",
    "fail_page_alloc/ignore-gfp-highmem": "N", "fail_page_alloc/min-order": "0",
}

# What the debugging aids allocate for a new slab does not count: whether an object needs
# one depends on all that was allocated before, so that the numbers of those behind it
# would change from one attempt to the next, and some would never be hit.
ASIDE = {"failslab": "alloc_slab_obj_exts", "fail_page_alloc": "allocate_slab"}

# struct fault_attr: probability, interval, times, space, verbose, then a flag, the depth
# of stacks, and the two ranges of functions. What is special of failslab comes last:
# ignore-gfp-wait and cache-filter.
ATTR = struct.Struct("<QQiiQQQQQQQ")
IGNORES_WAIT = b"\1\0"

# The sources whose memory is counted, but for one function: KHO keeps the nodes of its tree.
OURS = ("kernel/liveupdate/", "kernel/dma/liveupdate", "drivers/base/liveupdate",
        "drivers/base/test/liveupdate", "drivers/pci/liveupdate", "samples/liveupdate/")
KEPT = ("kho_radix_alloc_node",)


@dataclasses.dataclass
class Attempt:
    """What came of a system call of which the nth allocation failed, if it was hit."""
    nth: int
    hit: bool
    error: str
    seen: tuple

    @property
    def ok(self):
        """True when the system call worked."""
        return not self.error


class Faults:
    """Lets allocations of one guest fail, whichever kernel runs there."""

    def __init__(self, run, guest):
        self._run, self._guest = run, guest
        self._known = {}                # function -> bounds, in the kernel that runs

    def enable(self):
        """To be called once in each kernel."""
        self._known.clear()
        for name, value in SETTINGS.items():
            self._set(name, value)
        self.never(None)

    def _set(self, name, value):
        """Writes to one file of the kernel's fault injection."""
        error = self._guest.write(f"{DEBUG}/{name}", value)
        if error:
            raise GuestFailure(f"{name}={value}: {error}")

    def _range(self, kind, which, start, end):
        """Tells one kind of fault about a range of addresses."""
        self._set(f"{kind}/{which}-start", f"{start:#x}")
        self._set(f"{kind}/{which}-end", f"{end:#x}")

    def _bounds(self, function):
        """First address of a function, and of what follows it."""
        if function not in self._known:
            lines = self._guest.do("grep -w -i t /proc/kallsyms | sort | "
                                   f"grep -A 1 ' {function}$'", 60).splitlines()
            if len(lines) < 2:
                raise GuestFailure(f"no function {function} in /proc/kallsyms")
            self._known[function] = tuple(int(line.split()[0], 16) for line in lines[:2])
        return self._known[function]

    def only(self, function):
        """From here on only what is allocated for this function counts; None: all does."""
        bounds = self._bounds(function) if function else (0, (1 << 64) - 1)
        for kind in ASIDE:
            self._range(kind, "require", *bounds)

    def never(self, function):
        """What is allocated for this function does not count any more, but what is for
        debugging aids does; None: the other way round, as after enable()."""
        for kind in ASIDE:
            self._range(kind, "reject", *self._bounds(function or ASIDE[kind]))

    def each(self, path, text, *look, undo=("", ""), timeout=120):
        """Writes to a file until each allocation for it failed once; an Attempt for
        each. After one that works `undo` is written, and that has to work."""
        words = (path, text, *undo, *look)
        out = self._guest.do("guestctl fail-each " + " ".join(map(shlex.quote, words)),
                             timeout)
        attempts = []
        for line in out.splitlines():
            nth, hit, error, *seen = line.split("\t")
            attempts.append(Attempt(int(nth), hit == "hit", "" if error == "ok" else error,
                                    tuple(seen)))
        if not attempts or attempts[-1].hit or [a.nth for a in attempts] != list(
                range(1, len(attempts) + 1)):
            raise GuestFailure(f"{path}: no end of allocations: {out[-300:]!r}")
        return attempts

    def fail(self, nth, verb, timeout=60):
        """A verb of guestctl of which the nth allocation fails. An Attempt that has seen
        what the verb printed."""
        result = self._guest.run(f"guestctl fail {nth} {verb}", timeout)
        lines = result.out.splitlines()
        if not lines or lines[-1].split()[0] not in ("hit", "missed"):
            raise GuestFailure(f"fail {nth} {verb}: {result.out!r}")
        return Attempt(nth, lines[-1] == "hit", result.error, tuple(lines[:-1]))

    def report(self, what, attempts):
        """Notes how many there were."""
        hits = sum(attempt.hit for attempt in attempts)
        failed = sum(attempt.hit and not attempt.ok for attempt in attempts)
        self._run.step(f"{what}: {hits} allocations, of which {failed} it cannot do without")

    # -- memory -------------------------------------------------------------

    def memory(self):
        """Line of the source -> (bytes, allocations) that are not freed."""
        table = {}
        pattern = "|".join(OURS)
        # The path of the source is as the compiler was given it.
        command = f"grep -E ' ([^ ]*/)?({pattern})' /proc/allocinfo || true"
        for line in self._guest.do(command, 60).splitlines():
            size, count, place = line.split(None, 2)
            if not any(f"func:{name}" in place for name in KEPT):
                table[place.strip()] = (int(size), int(count))
        if not table:
            raise GuestFailure("/proc/allocinfo has no line of live update")
        return table

    def check_memory(self, what, before, but=None):
        """As much is allocated as before, `but` by one function."""
        now = self.memory()
        changed = [f"{place}: {before.get(place)} -> {now.get(place)}"
                   for place in sorted(before | now)
                   if before.get(place) != now.get(place) and f"func:{but}" not in place]
        self._run.equal(f"memory that is not freed after {what}", changed, [])


# -- before there is any user space -------------------------------------------------

class Symbols:
    """Where functions and variables of a kernel are that does not move itself."""

    def __init__(self, name):
        vmlinux = kernel.KERNELS[name].objects / "vmlinux"
        self._table = {}
        for line in output(["nm", "-n", "-S", "--defined-only", str(vmlinux)]).splitlines():
            fields = line.split()
            if len(fields) == 4:
                self._table[fields[3]] = int(fields[0], 16), int(fields[1], 16)

    def bounds(self, name):
        """First address, and that behind it."""
        try:
            start, size = self._table[name]
        except KeyError:
            raise HarnessError(f"the kernel has no {name}") from None
        return start, start + size


def starve(gdb, symbols, function):
    """No object is allocated for a function from now on: what a kernel that is stopped
    before that would be told in debugfs later."""
    start, end = symbols.bounds("failslab")
    special = gdb.read(end - 8, len(IGNORES_WAIT))
    if special != IGNORES_WAIT:
        raise HarnessError(f"failslab of this kernel ends with {special.hex()}")
    head = ATTR.unpack(gdb.read(start, ATTR.size))
    if head[:4] != (0, 1, 1, 0) or head[7:] != (0, (1 << 64) - 1, 0, 0):
        raise HarnessError(f"failslab of this kernel begins with {head}")
    gdb.write(start, ATTR.pack(100, 1, -1, 0, 1, 0, head[6], *symbols.bounds(function), 0, 0))
    gdb.write(end - 8, bytes(len(IGNORES_WAIT)))
