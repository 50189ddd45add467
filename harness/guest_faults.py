# SPDX-License-Identifier: GPL-2.0
"""Allocations that fail in a guest on a debug kernel, and memory that nobody frees.

See Documentation/fault-injection/fault-injection.rst of the kernel. Which allocation
fails is what the KUnit suites say, see liveupdate/fault.h of the series.
"""

from .guest_control import DEBUG, GuestFailure

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

# The sources whose memory is counted, but for one function: KHO keeps the nodes of its tree.
OURS = ("kernel/liveupdate/", "kernel/dma/liveupdate", "drivers/base/liveupdate",
        "drivers/base/test/liveupdate", "drivers/pci/liveupdate", "samples/liveupdate/")
KEPT = ("kho_radix_alloc_node",)


class Faults:
    """Lets allocations of one guest fail, whichever kernel runs there."""

    def __init__(self, run, guest):
        self._run, self._guest = run, guest

    def enable(self):
        """To be called once in each kernel."""
        for name, value in SETTINGS.items():
            error = self._guest.write(f"{DEBUG}/{name}", value)
            if error:
                raise GuestFailure(f"{name}={value}: {error}")
        for kind, function in ASIDE.items():
            self._never(kind, function)

    def _never(self, kind, function):
        """What is allocated for this function does not fail, and does not count."""
        lines = self._guest.do("grep -w -i t /proc/kallsyms | sort | "
                               f"grep -A 1 ' {function}$'", 60).splitlines()
        if len(lines) < 2:
            raise GuestFailure(f"no function {function} in /proc/kallsyms")
        # From its first address to that of what follows it.
        for name, line in zip(("reject-start", "reject-end"), lines):
            value = f"0x{line.split()[0]}"
            error = self._guest.write(f"{DEBUG}/{kind}/{name}", value)
            if error:
                raise GuestFailure(f"{kind}/{name}={value}: {error}")

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
