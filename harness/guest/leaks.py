# SPDX-License-Identifier: GPL-2.0
"""Memory of a guest's kernel that nothing points to any more, as kmemleak finds it.

A debug kernel keeps no thread that scans; the scan is asked for here. kmemleak holds an
object for a suspect only when two scans find it unreferenced with the same contents, and
reports it only when it is older than five seconds. So there are two scans with a pause
between them, and the report after the second is complete. A kmemleak that switched
itself off, for want of memory, refuses the scan and is a failure.
"""

import dataclasses
import re

from .control import DEBUG

FILE = f"{DEBUG}/kmemleak"
PAUSE = 6               # seconds; more than the age below which nothing is reported
TIMEOUT = 60

_OBJECT = re.compile(r"unreferenced object(?: \(\w+\))? 0x[0-9a-f]+ \(size (\d+)\):")
_COMMAND = re.compile(r'  comm "(.*)", pid \d+,')
_FRAME = re.compile(r"    ([\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+")
# What every backtrace begins with, and no leak is told by.
_ALLOCATOR = re.compile(r"_*(?:kmalloc|kzalloc|kvmalloc|kmem_cache|kmemleak|kmemdup|vmalloc|"
                        r"vzalloc|kstrdup|kvasprintf|kasprintf|pcpu_alloc|slab_)")
_SHOWN = 4


@dataclasses.dataclass(frozen=True)
class Leak:
    """One object: its size, the process that made it, and through which functions."""
    size: int
    command: str
    functions: tuple

    def __str__(self):
        path = [name for name in self.functions if not _ALLOCATOR.match(name)]
        return (f"{self.size} bytes of {self.command}: " +
                " < ".join(path[:_SHOWN] or self.functions[:_SHOWN] or ("no backtrace",)))


def parse(report):
    """The objects of kmemleak's report."""
    found = []
    for line in report.splitlines():
        if match := _OBJECT.match(line):
            found.append((int(match[1]), [], []))
        elif found and (match := _COMMAND.match(line)):
            found[-1][1].append(match[1])
        elif found and (match := _FRAME.match(line)):
            found[-1][2].append(match[1])
    return [Leak(size, "".join(command[:1]), tuple(functions))
            for size, command, functions in found]


def scan(guest):
    """All that leaked in the kernel that runs; as (leaks, report)."""
    for number in range(2):
        if number:
            guest.do(f"sleep {PAUSE}", timeout=PAUSE + TIMEOUT)
        guest.do(f"echo scan > {FILE}", timeout=TIMEOUT)
    report = guest.read(FILE)
    return parse(report), report
