# SPDX-License-Identifier: GPL-2.0
"""Pages: what is handed over comes back, and a transition that is undone loses none."""

from ...guest.control import LIVEUPDATE
from ...guest.devices import DEVICES
from ...guest.pages import unowned
from ..api import scenario
from ..subsystems import hand_over_data
from ..test_bus import boot_with

CYCLES = 100


@scenario("cycles-keep-pages", memory="512M", limit=200)
def cycles_keep_pages(run):
    """A hundred times prepare, rehearse and cancel, with a failure of each: a page that any
    of them lost would be a hundred. Devices of the test bus are in the set."""
    guest, devices = boot_with(run, "add bridge1 bridge=1;add nic1 parent=bridge1;add disk1",
                               "nic1", "disk1")
    hand_over_data(guest)
    once = (f"cd {LIVEUPDATE}; echo 1 > prepare && echo 1 > rehearse; echo 0 > prepare")
    fails = ("for at in 'test-memory fail=prepare' 'test-memory fail=freeze'; do "
             "echo \"$at\" > /sys/kernel/debug/liveupdate_test/config; "
             f"{once}; done 2> /dev/null; "
             "echo test-memory fail=none > /sys/kernel/debug/liveupdate_test/config")
    requests = "; ".join(f"echo {{}} > {DEVICES}/{name}/liveupdate/requested"
                         for name in ("nic1", "disk1"))
    cycle = f"{once}; {fails}; {requests.format(0, 0)}; {requests.format(1, 1)}"

    def pages(count):
        run.step(f"{count} cycles")
        guest.do(f"for i in $(seq {count}); do {cycle}; done", timeout=150)
        run.state(guest, "normal")
        return {kind: len(found) for kind, found in unowned(guest).items()}
    before, after = pages(CYCLES // 10), pages(CYCLES)
    run.step(f"pages without owner: {before}, {after}")
    for kind, count in after.items():
        run.check(f"pages that are {kind}", count - before[kind] < CYCLES // 2,
                  f"{before[kind]}, {CYCLES} cycles later {count}")
    devices.in_turn()
