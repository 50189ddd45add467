# SPDX-License-Identifier: GPL-2.0
"""Everything at once, on four processors, for a bounded time.

Each worker is a shell loop in the guest that may be refused anything but must not be
hurt: transitions, drivers that come and go, devices of the test bus and of PCI that
appear and disappear, modules that register subsystems, and readers of every file. The
host plugs and unplugs a card meanwhile. When all of them have ended, everything works.

That is two scenarios, since QEMU's processors lose interrupts if they run at the same
time while the map of devices changes (see ..qemu): they take turns where it does, and
what leaves the map alone runs on all of them at once. Slow kernels were not seen to lose
any and do both.

On debug kernels no card comes: pciehp of the base takes its reset_lock with the lock of
rescans held as well as before it, and after it has said so lockdep looks at nothing else.
"""

import os
import re
import time

from ...guest import pci as guest_pci
from ...guest.control import DEBUG, LIVEUPDATE, TEST
from ...guest.devices import CONTROL, DEVICES, DRIVERS, Devices
from ...guest.faults import Faults
from ...guest.pci import EDU, IVSHMEM, EduDevice, Machine, pattern
from ...vm.qmp import QMPError
from ..api import scenario
from ..subsystems import DATA, check_received, hand_over_data

TIME = int(os.environ.get("TIME") or 20)
TREE = ("add bridge1 bridge=1,driver=plain;add port1 parent=bridge1;add nic1 parent=port1;"
        "add disk1 data=;add idle1")
PCI = "/sys/bus/pci"
WATCHED = 10000                 # accesses that KCSAN must have watched, if it is there

# What a worker does again and again, and how often it must have come round at least.
WORKERS = {
    "transitions": ("w {l}/prepare 1; w {l}/rehearse 1; w {l}/prepare 0", 5),
    "cancels": ("w {l}/prepare 0; w {l}/finish 1; usleep 3000", 5),
    "requests": ("for d in nic1 disk1 port1; do w {d}/$d/liveupdate/requested 1; done; "
                 "w {p}/devices/{edu}/liveupdate/requested 1; usleep 20000; "
                 "w {d}/disk1/liveupdate/requested 0", 5),
    "drivers": ("for d in nic1 disk1 idle1; do w {r}/liveupdate-test/unbind $d; "
                "w {r}/liveupdate-test/bind $d; done", 5),
    "devices": ("w {c}/config 'add hot1 parent=port1'; w {d}/hot1/liveupdate/requested 1; "
                "w {c}/config 'remove hot1'", 5),
    "modules": ("insmod {workload}; usleep 5000; rmmod liveupdate_test_workload", 3),
    "readers": ("for f in $(find {l} {d}/*/liveupdate {p}/devices/*/liveupdate {g} {c} {t} "
                "-type f 2>/dev/null); do cat $f; done", 1),
    "tool": ("luctl status; luctl timeline; luctl status --json", 2),
}

# These change the map of devices.
MAPPERS = {
    "rescan": ("w {p}/devices/{other}/remove 1; w {p}/rescan 1", 3),
    "functions": ("w {p}/drivers/{drv}/unbind {edu}; w {p}/drivers/{drv}/bind {edu}; "
                  "insmod {ivshmem}; rmmod {ivs}", 3),
}

# One write of a word to a file; whether it is refused does not matter here.
SCRIPT = """w() {{ guestctl write "$1" "$2"; }}
n=0
while [ ! -e /run/stress.stop ]; do
{body}
n=$((n + 1)); echo $n > /run/stress.{name}
done >/dev/null 2>&1
"""


class Stress:
    """A machine under all of it."""

    def __init__(self, run, mappers):
        self.run = run
        self.workers = {**WORKERS, **(MAPPERS if mappers else {})}
        self.plugs = mappers and not run.debug
        machine = Machine().edu("edu0").edu("edu1").port("slot0")
        self.guest, self.host = guest_pci.boot(run, machine,
                                               take_turns=mappers and not run.slow)
        self.devices = Devices(run, self.guest)
        self.edu = EduDevice(run, self.guest, self.host, "edu0")
        self.other = EduDevice(run, self.guest, self.host, "edu1")
        self.plugged = self.unplugged = 0
        self.edu.load("a")
        self.devices.load("a", TREE)

    def _names(self):
        run = self.run
        return {"l": LIVEUPDATE, "d": DEVICES, "r": DRIVERS, "p": PCI, "c": CONTROL,
                "g": f"{DEBUG}/liveupdate*", "t": TEST, "drv": EDU, "ivs": IVSHMEM,
                "edu": self.edu.identity, "other": self.other.identity,
                "workload": run.module("a", "liveupdate_test_workload"),
                "ivshmem": run.module("a", IVSHMEM)}

    def _plug(self):
        """A card comes or goes at the slot, as fast as the guest can follow."""
        qmp = self.guest.vm.qmp
        try:
            if "card0" in self.host.functions():
                qmp.execute("device_del", id="card0")
                self.unplugged += 1
            else:
                qmp.execute("device_add", driver="edu", id="card0", bus="slot0")
                self.plugged += 1
        except QMPError:
            pass                # the last unplug is still under way

    def run_all(self, seconds):
        """All workers at once."""
        run, guest = self.run, self.guest
        names = self._names()
        jobs = {}
        guest.do("rm -f /run/stress.*")
        for name, (body, _) in self.workers.items():
            guest.put(f"/run/{name}.sh", SCRIPT.format(body=body.format(**names), name=name))
            jobs[name] = guest.start(f"sh /run/{name}.sh")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.plugs:
                self._plug()
            time.sleep(0.7)
            run.check("the machine answers", guest.run("true", timeout=60).ok)
        guest.do("touch /run/stress.stop")
        for name, job in jobs.items():
            run.equal(f"how worker {name} ended", guest.finish(job, timeout=90).status, 0)
        for name, (_, least) in self.workers.items():
            rounds = int(guest.run(f"cat /run/stress.{name}").out or 0)
            run.check(f"worker {name} came round {rounds} times",
                      rounds >= (1 if run.debug else least))
        run.check(f"cards came {self.plugged} and went {self.unplugged} times",
                  not self.plugs or self.plugged and self.unplugged)

    def check_watched(self):
        """KCSAN was at work, and accesses were watched by the thousand."""
        seen = dict(re.findall(r"^(\w+): (-?\d+)$", self.guest.read(f"{DEBUG}/kcsan"), re.M))
        self.run.check(f"what KCSAN saw: {seen}", seen.get("enabled") == "1" and
                       int(seen.get("setup_watchpoints", 0)) > WATCHED)

    def settle(self):
        """Back to a machine at rest, with all its devices and drivers."""
        run, guest = self.run, self.guest
        guest.set("prepare", 0)
        run.state(guest, "normal")
        guest.run(f"rmmod liveupdate_test_workload; rmmod {IVSHMEM}")
        for name in ("nic1", "disk1", "port1", "idle1"):
            if not self.devices.driver(name):
                run.equal(f"bind of {name}", self.devices.bind("liveupdate-test", name), "")
        guest.run(f"guestctl write {CONTROL}/config 'remove hot1'")
        guest.write(f"{PCI}/rescan", "1")
        for device in (self.edu, self.other):
            if device.driver() != EDU:
                run.equal(f"bind of {device.name}", device.bind(), "")
        run.unsaid(guest, "out of turn")

    def works(self):
        """An update with devices succeeds, and what is written is read."""
        run, guest = self.run, self.guest
        hand_over_data(guest)
        for name in ("nic1", "disk1"):
            run.equal(f"request of {name}", self.devices.request(name), "")
        run.equal("request of edu0", self.edu.request(), "")
        self.edu.store(pattern("stress"))
        run.update(guest)
        self.edu.load("b")
        self.devices.load("b", TREE)
        check_received(run, guest, DATA)
        run.equal("retrieved by the driver of edu0", self.edu.shown("retrieved"), "1")
        run.equal("unreclaimed", self.devices.count("unreclaimed"), 0)
        run.finish(guest)
        self.edu.check_works("after the update")


def _stress(run, mappers):
    machine = Stress(run, mappers)
    seconds = TIME * (3 if run.slow else 1)
    machine.run_all(seconds)
    if run.kcsan:
        machine.check_watched()
    machine.settle()
    if run.debug:
        faults = Faults(run, machine.guest)
        before = faults.memory()
        machine.run_all(seconds)
        machine.settle()
        faults.check_memory("the stress", before)
    machine.works()


@scenario("stress", smp=4, debug=True, limit=180 + 6 * TIME)
def stress(run):
    """Transitions, hot-plug, drivers, modules, rescans and readers of every file at once on
    four processors, for twenty seconds or TIME; then an update with devices works. On a
    debug kernel all of it happens twice, and the second time leaves no memory behind that
    the first did not."""
    _stress(run, mappers=True)


@scenario("stress-threads", smp=4, limit=180 + 6 * TIME)
def stress_threads(run):
    """The same without rescans, hot-plug and drivers of PCI, on processors that run at the
    same time."""
    _stress(run, mappers=False)
