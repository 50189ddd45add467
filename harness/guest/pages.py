# SPDX-License-Identifier: GPL-2.0
"""What the pages of a guest are used for: who owns them, and whether they are reserved.

guest/pages.c finds pages without an owner: the guest fills all free memory, so that what
has none then is allocated for the kernel's own use, or reserved. Only what was handed over
is looked for there; the rest of the kernel's own memory changes all the time.

That memory is reserved shows the other way round: the guest fills all that its kernel
considers free with a pattern, and the host sees that the pattern is in most of the memory
and not in there.
"""

import contextlib

from .control import LIVEUPDATE, GuestFailure

PAGE = 4096
TIMEOUT = 120
SPARE = 24 << 10                        # KiB that are left to commands of the guest
PATTERN = b"\x5a" * 8                   # what guestctl fills memory with


def unowned(guest, path="", text=""):
    """kind -> numbers of the pages that nobody owns, allocated or reserved; after a write
    to a file, whose end is the first moment that is looked at."""
    result = guest.run(f"guestctl pages {path} {text}", TIMEOUT)
    if not result.ok:
        raise GuestFailure(f"guestctl pages {path} {text}: {result.out}")
    found = {"allocated": set(), "reserved": set()}
    for line in result.out.splitlines():
        kind, start, end = line.split()
        found[kind].update(range(int(start, 16), int(end, 16)))
    return found


def after_finish(guest):
    """unowned(), from the moment on that finish has done its work."""
    return unowned(guest, f"{LIVEUPDATE}/finish", "1")


def runs(pages):
    """Numbers of pages as text, those in a row together."""
    parts = []
    for page in sorted(pages):
        if parts and parts[-1][1] == page:
            parts[-1][1] = page + 1
        else:
            parts.append([page, page + 1])
    return [f"{start:#x}" + (f"-{end - 1:#x}" if end - start > 1 else "")
            for start, end in parts]


@contextlib.contextmanager
def full(run, guest):
    """Meanwhile all free memory of the guest is in use, and holds the pattern."""
    run.step("fill the memory")
    job = guest.start(f"sh -c 'echo $$; exec guestctl fill {SPARE}'")
    guest.until(f"grep -q full {job} || [ -e {job}.status ]", TIMEOUT)
    process, said = guest.output(job).split("\n", 1)
    run.equal("filling the memory", said, "full")
    ram = guest.vm.ram
    filled = ram.pages_with(PATTERN) * PAGE
    run.check("most of the memory is filled", filled > ram.size() // 2,
              f"{filled >> 20} MiB of {ram.size() >> 20}")
    try:
        yield
    finally:
        guest.do(f"kill {process}")
        guest.finish(job)


class Kept:
    """Bytes in the memory of a guest that nobody may write to."""

    def __init__(self, ram):
        self._ram = ram
        self._bytes = {}

    def add(self, name, address, size):
        """Makes a note of what is there now."""
        self._bytes[name] = (address, self._ram.read(address, size))
        return self

    def add_records(self, handover, names):
        """The same for what subsystems hand over."""
        for name in names:
            record = handover.record(name)
            self.add(f"data of {name}", record.value, record.size)
        return self

    def lost(self):
        """Names of what does not hold any more what it held."""
        return [name for name, (address, data) in self._bytes.items()
                if self._ram.read(address, len(data)) != data]

    def check(self, run, guest):
        """All of it is as it was, though the guest has filled its memory."""
        run.check("something is kept", self._bytes)
        with full(run, guest):
            run.equal("what is not reserved", self.lost(), [])
