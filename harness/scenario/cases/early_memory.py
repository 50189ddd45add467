# SPDX-License-Identifier: GPL-2.0
"""Memory that the next kernel gives back before all of its own is there, on the kernel
"host", which initialises struct pages late.
"""

import struct

from ...guest.control import TEST
from ...guest.handover import Handover
from ..api import release_of, scenario

PAGE = 4096
# struct page: flags, list, mapping, index, private, page_type, _refcount, memcg_data. A
# page that is free has its order in private.
PAGE_STRUCT = struct.Struct("<QQQQQQIIQ")
FREE = 0xf0 << 24                       # PGTY_buddy
ZONE_BITS = 0xffffffff << 32            # the upper half of flags has the zone and node
# Where struct pages are without KASLR, by whether there are five levels of page tables.
MEMMAP = {False: 0xffffea0000000000, True: 0xffd4000000000000}

GIB = 1 << 30
MANY, KEPT = 4000, 10                   # instances, 46 of which fit into a page
LATE = 4 * GIB + (256 << 20)            # only one section above 4 GiB is not late


class High:
    """Memory above 4 GiB follows that below 2 GiB in the file."""

    def __init__(self, ram):
        self._ram = ram

    def read(self, address, size):
        """`size` bytes at a physical address."""
        return self._ram.read(address - 2 * GIB if address >= 4 * GIB else address, size)

    def find_page(self, needle, accept):
        """Addresses of pages that hold `needle` and that `accept` likes."""
        return [at + 2 * GIB if at >= 2 * GIB else at
                for at in self._ram.find_page(needle, accept)]


@scenario("memory-freed-early", memory="6G", ram_file=True, gdb=True, limit=200)
def memory_freed_early(run):
    """The next kernel gives back two tables whose neighbours have no struct pages yet. What
    lies there looks like those of free pages. Fails if pages are freed before
    page_alloc_init_late(): the page allocator merges them with such a neighbour, takes that
    from a list in which it is not, and the kernel ends with an Oops in __free_one_page()."""
    guest = run.boot("host", f"memmap={LATE - 4 * GIB:#x}${4 * GIB:#x}")
    run.contains("console", guest.console(1), "deferred pages initialised")
    run.prepare(guest)
    for kind, first in (("optional", 1), ("mandatory", 10001)):
        last = first + MANY - 1
        for command in (f"seq {first} {last} | sed 's/.*/add test-workload & {kind} vm/'",
                        f"seq {first + KEPT} {last} | sed 's/.*/drop test-workload &/'"):
            guest.do(f"{command} | while read line; do echo $line; done > {TEST}/instances",
                     timeout=60)
    run.load(guest, "host")
    memmap = MEMMAP["la57" in guest.read("/proc/cpuinfo").split()]
    free = int(guest.do("grep ' kho_restore_free$' /proc/kallsyms").split()[0], 16)

    run.step("let the neighbours look free")
    gdb = guest.stop_at_jump()
    handover = Handover(High(guest.vm.ram))
    preserved = handover.preserved()
    late = [block // PAGE for kind in ("optional", "mandatory")
            for block, _, _ in handover.instances(kind).blocks() if block >= LATE]
    gdb.run_to_image()
    gdb.run_to(free)
    alone = [page for page in late if page ^ 1 not in preserved]
    for page in alone:
        flags = int.from_bytes(gdb.read(memmap + page * PAGE_STRUCT.size, 8), "little")
        gdb.write(memmap + (page ^ 1) * PAGE_STRUCT.size,
                  PAGE_STRUCT.pack(flags & ZONE_BITS, 0, 0, 0, 0, 0, FREE, 0, 0))
    gdb.detach()
    run.check("as many as go through the lists of a processor", len(alone) > 100,
              f"{len(alone)} of {len(late)}")

    run.equal("release after the kexec", guest.wait_boot().release,
              release_of(run.image("host")))
    run.state(guest, "updated")
    run.finish(guest)
