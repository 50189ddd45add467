# SPDX-License-Identifier: GPL-2.0
"""Updates in a row in one machine, until something drifts.

Every round is a whole update with everything that the series preserves: subsystems, a
session, devices of the test bus with a bridge, a PCI device whose DMA goes on. From one
update to the next all that is carried on is compared with what it was, and in some of
them the pages are looked at, twice in each kernel at least: those that are handed over,
by owner, each of which has another use after finish, and those that nobody owns then.
In the first of these kernels, transitions that lead nowhere are gone through often.

How much memory is free says nothing here: a processor keeps up to 18 MiB of what was
freed in a list of its own, more or less of it each time. The processor counts
instructions, so that a time that grows is the kernel's. N= in the environment says how
many updates.
"""

import json
import os
import re
import statistics

from ...guest import pci as guest_pci
from ...guest.control import DEBUG, LIVEUPDATE
from ...guest.devices import Devices
from ...guest.pages import PAGE, unowned
from ...guest.pci import EduDevice, Machine, pattern
from ...vm.qemu import ICOUNT
from ..api import scenario
from ..handed_over import HandedOver
from ..subsystems import TEST_ORDER, check_received

UPDATES = int(os.environ.get("N") or 20)
LOOKS = 10                      # times that pages are looked at, as far as there are updates
CYCLES = 40                     # prepare, rehearse, cancel in one kernel
TREE = ("add bridge1 bridge=1,driver=plain;add port1 parent=bridge1;add nic1 parent=port1;"
        "add disk1 data=")
REQUESTED = ("nic1", "disk1")
SECONDS = 15                    # for one update, on a busy host
LOOK_SECONDS = 60

# What must not grow from one kernel to the next of the same name, and how much single
# readings may differ while it does not.
SLACK = {
    "pages without owner": 64,
    "slabs (KiB)": 128, "per-CPU memory (KiB)": 64, "stacks (KiB)": 64,
    "command line (bytes)": 0, "scratch (bytes)": 0,
}
# The same of times, as a part of what they were when the timeline was full: restore reads
# all of it, which takes twice as long then as in the first update.
SLOWER = 0.2
FULL = 6                        # updates
TIMELINE = 64 << 10             # bytes that it never has more of


def drift(readings):
    """How much the last readings of a number are above the first; of few, of the
    quarters at both ends, so that one odd reading does not count."""
    part = min(max(3, len(readings) // 4), len(readings) // 2)
    if not part:
        return 0
    return statistics.median(readings[-part:]) - statistics.median(readings[:part])


def looks(updates):
    """Numbers of the updates in which pages are looked at: two in a row, one for each
    kernel, again and again until the last."""
    pairs = max(2, min(LOOKS, updates // 10)) - 1
    first = [1 + round(number * (updates - 2) / pairs / 2) * 2 for number in range(pairs + 1)]
    return sorted({number for at in first for number in (at, at + 1) if number <= updates})


class Soak:
    """One machine, and what was read after each update."""

    def __init__(self, run):
        self.run = run
        self.guest, self._host = guest_pci.boot(
            run, Machine().port("port0").edu("edu0", "port0"), icount=ICOUNT)
        self.devices = Devices(run, self.guest)
        self.edu = EduDevice(run, self.guest, self._host, "edu0")
        self.handed = HandedOver(run, self.guest)
        self.kernel = "a"
        self.found = {"a": {}, "b": {}}         # readings of each kernel
        self.timeline = 0                       # bytes that it ever had
        self.prepared = 0                       # each counts as an update in the timeline
        self.memory = set()
        self.left = {}                          # pages that nobody owned at the last look
        self._drivers()
        self.edu.store(pattern("soak"))

    def _drivers(self):
        self.edu.load(self.kernel)
        self.devices.load(self.kernel, TREE)

    def _request(self):
        for name in REQUESTED:
            self.run.equal(f"request of {name}", self.devices.request(name), "")
        self.run.equal("request of edu0", self.edu.request(), "")

    def _note(self, name, value):
        self.found[self.kernel].setdefault(name, []).append(value)

    def cycles(self):
        """Transitions that lead nowhere lose nothing in this kernel."""
        run, guest = self.run, self.guest
        run.step(f"{CYCLES} cycles that lead nowhere")
        files = " ".join(f"{device}/liveupdate/requested" for device in (
            self.edu.function.path, *map(self.devices.folder, REQUESTED)))
        cycle = (f"for f in {files}; do echo 1 > $f; done; cd {LIVEUPDATE}; "
                 "echo 1 > prepare && echo 1 > rehearse && echo 0 > prepare || exit 1; "
                 f"for f in {files}; do echo 0 > $f; done")

        before = self.left
        guest.do(f"for i in $(seq {CYCLES}); do {cycle}; done", timeout=LOOK_SECONDS)
        self.prepared += CYCLES
        for kind, pages in unowned(guest).items():
            run.check(f"pages that are {kind}", len(pages) - len(before[kind]) < CYCLES // 2,
                      f"{len(before[kind])}, {CYCLES} cycles later {len(pages)}")

    def update(self, number, look):
        """One update, looked at from both sides."""
        run, guest = self.run, self.guest
        data = {name: f"{name}-{number:06d}" for name in TEST_ORDER}
        guest.configure(";".join(f"{name} data={text}" for name, text in data.items()))
        guest.do(f"guestctl session create vm{number} 4")
        self._request()
        self.kernel = "b" if self.kernel == "a" else "a"
        self.prepared += 1
        run.prepare(guest)
        run.load(guest, self.kernel)
        if look:
            self.handed.jump(self.kernel, data["test-memory"])
        else:
            run.jump(guest, self.kernel)
        self._drivers()
        check_received(run, guest, data)
        run.equal("session", guest.do(f"guestctl session verify vm{number} 4"),
                  f"ok {4 << 20} bytes")
        run.equal("retrieved by the driver of edu0", self.edu.shown("retrieved"), "1")
        run.equal("reclaimed", self.devices.count("reclaimed"), len(REQUESTED) + 1 + 1)
        memory = self._host.edu(self.edu.function).memory // PAGE
        if look:
            self.left = self.handed.finish(used={memory})
            self._note("pages without owner", sum(map(len, self.left.values())))
        else:
            run.finish(guest)
        run.equal("unreclaimed", self.devices.count("unreclaimed"), 0)
        self.edu.fill(bytes(guest_pci.BUFFER))
        for part in guest_pci.PARTS:
            self.edu.transfer("from", *part)
        run.check("what edu0 keeps", self.edu.buffer()[:guest_pci.END] ==
                  pattern("soak")[:guest_pci.END])
        self.memory.add(memory)
        self._read(number)

    def _read(self, number):
        """Notes what this kernel uses, was given, and took."""
        guest = self.guest
        guest.do("echo 3 > /proc/sys/vm/drop_caches")
        kib = dict(re.findall(r"^(\w+): +(\d+)", guest.read("/proc/meminfo"), re.M))
        for name, field in (("slabs (KiB)", "SUnreclaim"), ("per-CPU memory (KiB)", "Percpu"),
                            ("stacks (KiB)", "KernelStack")):
            self._note(name, int(kib[field]))
        self.timeline = max(self.timeline, int(guest.do(f"wc -c < {LIVEUPDATE}/timeline")))
        self._note("command line (bytes)", len(guest.read("/proc/cmdline")))
        self._note("scratch (bytes)", sum(
            int(size, 0) for size in guest.read(f"{DEBUG}/kho/out/scratch_len").split()))
        if number <= FULL:
            return
        latest = json.loads(guest.do("luctl timeline --json"))["updates"][-1]
        self._note("blackout (ns)", latest["blackout_ns"])
        for step in latest["transitions"]:
            self._note(f"{step['transition']} (ns)", step["duration_ns"])

    def check_drift(self):
        """Nothing that is carried on grows, and nothing is used up."""
        run = self.run
        for kernel, found in self.found.items():
            for name, readings in found.items():
                grown = drift(readings)
                slack = SLACK.get(name, readings[0] * SLOWER)
                run.check(f"drift of {name} in kernel {kernel}: {grown:+.0f} in "
                          f"{len(readings)} readings, from {readings[0]}", grown <= slack,
                          f"at most {slack:.0f}: {readings[-12:]}")
        run.equal("buffers of edu0", len(self.memory), 1)

    def check_timeline(self):
        """The timeline tells of the latest updates, has lost nothing, and is bounded."""
        run = self.run
        run.check(f"bytes of the timeline: {self.timeline}", self.timeline <= TIMELINE)
        told = json.loads(self.guest.do("luctl timeline --json --list"))
        run.equal("updates that the timeline ends with",
                  [one["number"] for one in told["updates"]][-1:], [self.prepared])
        run.equal("corrupted records", told["corrupted"], 0)


@scenario("soak", limit=200 + SECONDS * UPDATES + LOOK_SECONDS * len(looks(UPDATES)),
          memory="512M", ram_file=True, gdb=True)
def soak(run):
    """Twenty updates in a row, or N, with all that can be preserved: pages, slabs, times,
    timeline, command line and scratch memory do not grow, and what was handed over is
    given back. Transitions that lead nowhere lose no page either."""
    machine = Soak(run)
    at = looks(UPDATES)
    for number in range(1, UPDATES + 1):
        run.step(f"update {number} of {UPDATES}")
        machine.update(number, number in at)
        if number == at[0]:
            machine.cycles()
        if number in at:                # and not after hours only
            machine.check_drift()
    machine.check_timeline()
