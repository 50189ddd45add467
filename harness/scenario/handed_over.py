# SPDX-License-Identifier: GPL-2.0
"""Pages that are handed over, from one update to the next: who has them, and that they are
given back."""

import collections

from ..guest.handover import Handover
from ..guest.pages import after_finish, runs
from .api import release_of

# What is kept when all is finished: two subsystems show it until the next update, and
# the tree of KHO, with what it says of the last kernel and of FLBs, is upstream's.
KEPT = ("timeline", "shutdown-log", "KHO", "kexec-metadata", "FLBs")
SOMEBODY = "somebody"       # a session, or memory of a device


class HandedOver:
    """Looks for handed-over pages that are not given back, from one update to the next."""

    def __init__(self, run, guest):
        self._run, self._guest = run, guest
        self._handover = self._pages = self._owners = None

    def jump(self, kernel, sent):
        """A kexec, before which the host notes what is handed over, and by whom: as much as
        ever. `sent` is what test-memory hands over, which tells the tree from older ones."""
        run, guest = self._run, self._guest

        def mine(handover):
            record = handover.record("test-memory")
            return guest.vm.ram.read(record.value, len(sent)) == sent.encode()
        run.step(f"jump to kernel {kernel}")
        gdb = guest.stop_at_jump()
        before = self._owners and self._shares()
        self._handover = Handover(guest.vm.ram, self._handover, mine)
        self._pages = self._handover.preserved()
        self._owners = self._handover.owners()
        gdb.detach()
        run.equal("release after the kexec", guest.wait_boot().release,
                  release_of(run.image(kernel)))
        run.state(guest, "updated")
        run.equal("pages that are handed over", self._shares(), before or self._shares())

    def _shares(self):
        """How many pages are whose."""
        return dict(sorted(collections.Counter(
            self._owners.get(page, SOMEBODY) for page in self._pages).items()))

    def finish(self, used=()):
        """Finishes; none of them is left without an owner but what is known to be `used`.
        Returns what nobody owns, as unowned()."""
        run, owners = self._run, self._owners
        run.step(f"finish, and look for the {len(self._pages)} pages")
        found = after_finish(self._guest)
        for kind, pages in found.items():
            lost = {page for page in pages & self._pages
                    if owners.get(page) not in KEPT and page not in used}
            run.equal(f"handed-over pages that are still {kind}",
                      [f"{part} ({owners.get(int(part.split('-')[0], 16), SOMEBODY)})"
                       for part in runs(lost)], [])
        run.state(self._guest, "normal")
        return found
