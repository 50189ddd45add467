# SPDX-License-Identifier: GPL-2.0
"""What a live update costs: python3 -m harness.bench, or make bench.

Every guest counts instructions (QEMU's icount), so the figures are the same on any
machine, however busy: 2 virtual ns an instruction, and idle time is skipped. They
compare kernels; they do not tell how long hardware takes.

The time stamp counter of such a guest is its virtual clock in ns. What is measured:

blackout    from just before reboot(2), with the image loaded, to the first thing the
            next init does. base_plain: a kexec of the unpatched base; plain: one of
            ours; update: a live update, from prepared. The same configuration but
            for the options of the series.
subsystem   prepare and finish as who writes 1 sees them, freeze and restore as the
            timeline has them, with so many test subsystems beside the usual ones;
            freeze_walk: the freeze without the callbacks
memory      the ioctls of a session for one memfd of so many MiB in pages of 4 KiB;
            blackout: what it adds to the blackout of an update
file        the ioctls of a session for so many memfds of a page, all added up;
            freeze: their part of the freeze
device      so many devices of the test bus that do nothing in their callbacks, all
            requested, of the largest number one in a hundred: the callbacks of the
            subsystem "devices"; retrieve: how much longer it takes devices to appear
            and be probed in the next kernel than in the first; bytes: handed over
            besides what drivers save
pci         for one of so many edu devices with an idle driver of samples/: save: prepare
            and freeze of the subsystems "devices" and "dma"; restore: restore of both,
            and how much longer probe() takes than in the first kernel; finish
boot        to the first thing that init does: base, and ours with all options

Each figure is the median of three runs; those of a blackout have to agree. A table
goes to the screen, the figures to build/bench.json. The status is 1 when a target is
missed or runs of the same blackout differ.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import re
import shutil
import signal
import sys

from ..build import initrd
from ..common import paths
from ..common.progress import Progress
from ..common.run import HarnessError, locked, output, save_json, say
from ..guest import timeline as tl
from ..guest.control import LIVEUPDATE, Rebooted
from ..guest.devices import BUS, CONTROL, COUNTS, LISTS, MODULE
from ..guest.pci import DRIVERS, EDU, Machine as PciMachine
from ..scenario.api import Run, Scenario, release_of
from ..scenario.checks import splats
from ..vm.qemu import ICOUNT, QEMU, VM, image
from . import bench_figures as figures_

RUNS = 3
AT_ONCE = 2
# Seconds for a guest, and for a command in it: there they are virtual, and pass
# much faster while it waits for the host.
LIMIT = 600

MEMORY = "1G"
LARGE_MEMORY = "4G"             # for what preserves much of it

SUBSYSTEMS = (10, 50, 100)
MEBIBYTES = (256, 1024)
FILES = (100, 1000)
#: Number of devices -> of how many one is requested.
DEVICES = {1000: 1, 10000: 1, 100000: 100}
FUNCTIONS = (8,)

PAGES_PER_MIB = 256
SESSION = "bench"

KERNELS = ("base", "bench", "many")

OUT = paths.BUILD / "bench.json"

#: The counter of an icount guest is in virtual ns; its kernel has to agree.
COUNTER_MHZ = 1000
COUNTER_ERROR = 0.001


@dataclasses.dataclass
class Outcome:
    """What one guest told: the counter before reboot(2) and as the next init began."""
    start: int
    end: int
    figures: dict = dataclasses.field(default_factory=dict)
    timeline: list = dataclasses.field(default_factory=list)
    boot: int = 0

    @property
    def blackout(self):
        """How long no process ran."""
        return self.end - self.start


class Machine:
    """One guest of the benchmark, from its first kernel to its second."""

    def __init__(self, folder, kernel, memory=MEMORY, extra="", devices=()):
        what = Scenario("bench", "", None, memory=memory, limit=LIMIT)
        self._run = Run(what, paths.BUILD / "bench" / folder)
        self._devices = devices
        self._kernel, self._extra = kernel, f"quiet {extra}".strip()
        self.guest = None

    def __enter__(self):
        shutil.rmtree(self._run.folder, ignore_errors=True)
        try:
            self.guest = self._run.boot(self._kernel, self._extra, icount=ICOUNT,
                                        devices=self._devices)
            self._check_counter()
        except BaseException:
            self._run.close()
            raise
        return self

    def __exit__(self, *error):
        try:
            if error[0] is None:
                self._check_consoles()
        finally:
            self._run.close()

    def _check_counter(self):
        mhz = float(re.search(r"^cpu MHz\s*: (.*)$", self.guest.read("/proc/cpuinfo"),
                              re.M)[1])
        self._run.check("the counter is in virtual ns", abs(mhz / COUNTER_MHZ - 1) <=
                        COUNTER_ERROR, f"the kernel measured {mhz} MHz")

    def _check_consoles(self):
        found = splats(self.guest.vm.serial() + self.guest.do("dmesg"))
        self._run.check("no kernel complained", not found, (found or [""])[0])

    def measure(self, *words):
        """Runs a verb of "guestctl bench"; {what: counts}."""
        text = self.guest.do(" ".join(map(str, ("guestctl", "bench", *words))), LIMIT)
        return {what: int(counts) for what, counts in map(str.split, text.splitlines())}

    def module(self, name):
        """Where the guest sees a module of its kernel."""
        return self._run.module(self._kernel, name)

    def set(self, name):
        """Writes 1 to a file of /sys/kernel/liveupdate; what that took."""
        return self.measure("write", f"{LIVEUPDATE}/{name}", 1)["write"]

    def equal(self, *what):
        """States that two values are the same."""
        self._run.equal(*what)

    def jump(self, state):
        """Loads the same kernel, then replaces this one with it."""
        self._run.load(self.guest, self._kernel, self._extra, timeout=LIMIT)
        self._run.jump(self.guest, self._kernel, state, timeout=LIMIT,
                       command="guestctl bench reboot")
        told = [event.split()[1] for event in self.guest.events
                if event.startswith("reboot ")]
        self._run.equal("counters told before the kexec", len(told), 1)
        if state != "none":
            self._run.nothing_failed(self.guest)
        return Outcome(int(told[0]), self.guest.boots[-1].counter,
                       boot=self.guest.boots[0].counter)

    def timeline(self):
        """The records of the timeline, of which none may be missing."""
        header, records = tl.read_timeline(self.guest)
        self._run.equal("records without room", header.dropped, 0)
        return records


def plain(_, folder, kernel, state):
    """The blackout of a kexec that hands nothing over."""
    with Machine(folder, kernel) as machine:
        return machine.jump(state)


def update(_, folder):
    """The blackout of an update, from prepared."""
    with Machine(folder, "bench") as machine:
        machine.set("prepare")
        outcome = machine.jump("updated")
        outcome.timeline = machine.timeline()
    return outcome


def subsystem(name, folder, size):
    """The transitions over a number of subsystems beside those that are always there."""
    with Machine(folder, "many", extra=f"liveupdate_test.bulk={size}") as machine:
        costs = {"prepare": machine.set("prepare")}
        outcome = machine.jump("updated")
        received = [one for one in machine.guest.received()
                    if one.startswith("test-bulk-")]
        machine.equal("subsystems that restored", len(received), size)
        timeline = machine.timeline()
        for step in (tl.FREEZE, tl.RESTORE):
            costs[tl.STEP_NAMES[step]] = figures_.step_cost(timeline, step)
        costs["finish"] = machine.set("finish")
        costs["freeze_walk"] = figures_.walk_cost(timeline)
    outcome.figures = {f"{name}.{step}_vns": costs[step]
                       for step in (*figures_.STEPS, "freeze_walk")}
    return outcome


def memory(name, folder, size):
    """A session with one memfd; none at all to compare with when it has no size."""
    found = {}
    what = (SESSION, 1, size * PAGES_PER_MIB)
    with Machine(folder, "bench", LARGE_MEMORY) as machine:
        if size:
            found["preserve"] = machine.measure("preserve", *what)["preserve"]
        machine.set("prepare")
        outcome = machine.jump("updated")
        if size:
            found["restore"] = machine.measure("retrieve", *what)["retrieve"]
    outcome.figures = {f"{name}.{step}_vns": cost for step, cost in found.items()}
    return outcome


def file(name, folder, size):
    """A session with many memfds of a page."""
    what = (SESSION, size, 1)
    with Machine(folder, "bench") as machine:
        found = machine.measure("preserve", *what)
        machine.set("prepare")
        outcome = machine.jump("updated")
        found["freeze"] = figures_.step_cost(machine.timeline(), tl.FREEZE, "sessions")
        found.update(machine.measure("retrieve", *what))
    outcome.figures = {f"{name}.{step}_vns": found[step]
                       for step in ("preserve", "freeze", "retrieve", "finish")}
    return outcome


def device(name, folder, size, every):
    """The transitions over so many devices, of which every so manieth is requested."""
    control = f"{CONTROL}/config"
    bulk = f'"bulk {size} driver=empty"'
    wanted = len(range(0, size, every))
    with Machine(folder, "many", LARGE_MEMORY) as machine:
        guest_ = machine.guest
        insert = f"insmod {machine.module(MODULE)}"
        guest_.do(insert)
        fresh = machine.measure("write", control, bulk)["write"]
        machine.equal("devices requested",
                      machine.measure("request", BUS, every)["devices"], wanted)
        machine.set("prepare")
        table = int(guest_.read(f"{LISTS}/table_bytes"))
        outcome = machine.jump("updated")
        timeline = machine.timeline()
        guest_.do(insert)
        retrieved = machine.measure("write", control, bulk)["write"]
        machine.equal("devices reclaimed",
                      int(guest_.do(f"cat {COUNTS}/nr_reclaimed")), wanted)
        machine.set("finish")
        machine.equal("devices left",
                      int(guest_.do(f"cat {COUNTS}/nr_unreclaimed")), 0)
        timeline += [record for record in machine.timeline()
                     if record.step == tl.FINISH]
    costs = {step: figures_.step_cost(timeline, number, "devices")
             for number, step in tl.STEP_NAMES.items() if step in figures_.STEPS}
    costs["retrieve"] = retrieved - fresh
    outcome.figures = {f"{name}.{step}_vns": costs[step]
                       for step in (*figures_.STEPS, "retrieve")}
    outcome.figures[f"{name}.bytes"] = table
    return outcome


def pci(name, folder, size):
    """The transitions over so many PCI functions, for one of them."""
    functions = PciMachine()
    for number in range(size):
        functions.edu(f"edu{number}")
    both = ("devices", "dma")
    with Machine(folder, "many", devices=functions.arguments()) as machine:
        insert = f"insmod {machine.module(EDU)}"
        machine.guest.do(insert)
        machine.guest.do(f"for one in {DRIVERS}/{EDU}/*/liveupdate/requested; "
                         "do echo 1 > $one; done")
        machine.set("prepare")
        outcome = machine.jump("updated")
        timeline = machine.timeline()
        machine.guest.do(insert)
        machine.equal("functions reclaimed",
                      int(machine.guest.do(f"cat {COUNTS}/nr_reclaimed")), size)
        machine.set("finish")
        timeline += [record for record in machine.timeline() if record.step == tl.FINISH]

    def cost(*steps):
        return sum(figures_.step_cost(timeline, step, who) for step in steps for who in both)
    outcome.figures = {f"{name}.{what}_vns": round(counts / size) for what, counts in (
        ("save", cost(tl.PREPARE, tl.FREEZE)),
        ("restore", cost(tl.RESTORE)), ("finish", cost(tl.FINISH)))}
    return outcome


BLACKOUTS = {
    "blackout.base_plain": functools.partial(plain, kernel="base", state="none"),
    "blackout.plain": functools.partial(plain, kernel="bench", state="normal"),
    "blackout.update": update,
}


def machines():
    """Name -> function of it, in the order of the output."""
    found = dict(BLACKOUTS)
    for kind, sizes, function in (("subsystem", SUBSYSTEMS, subsystem),
                                  ("memory", (*MEBIBYTES, 0), memory),
                                  ("file", FILES, file)):
        found.update({f"{kind}.{size}": functools.partial(function, size=size)
                      for size in sizes})
    found.update({f"device.{size}": functools.partial(device, size=size, every=every)
                  for size, every in DEVICES.items()})
    found.update({f"pci.{size}": functools.partial(pci, size=size) for size in FUNCTIONS})
    return found


def measure():
    """Runs all machines; name -> the outcomes of its runs."""
    # The short ones come last.
    todo = [(name, function, number) for name, function in reversed(machines().items())
            for number in range(RUNS)]
    found = {name: [] for name in machines()}
    bar = Progress("bench", len(todo))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {pool.submit(function, name, folder=f"{name}.run{number + 1}"): name
                   for name, function, number in todo}
        try:
            for future in concurrent.futures.as_completed(futures):
                name = futures[future]
                try:
                    found[name].append(future.result())
                except HarnessError as error:
                    raise HarnessError(f"{name}: {error}") from error
                except Rebooted as rebooted:
                    raise HarnessError(f"{name}: kernel {rebooted.boot.release} came up "
                                       "though nobody asked for it") from rebooted
                bar.step()
        except BaseException:
            for future in futures:
                future.cancel()
            VM.close_all()
            raise
    bar.finish(f"{len(todo)} guests")
    return found


def collect(found):
    """Figure -> what each run has for it, in the order of the output."""
    runs = {}
    for name, outcomes in found.items():
        blackouts = [outcome.blackout for outcome in outcomes]
        if name in BLACKOUTS:
            runs[f"{name}_vns"] = blackouts
        for figure in outcomes[0].figures:
            runs[figure] = [outcome.figures[figure] for outcome in outcomes]
        if name in [f"memory.{size}" for size in MEBIBYTES]:
            without = figures_.median([outcome.blackout for outcome in found["memory.0"]])
            runs[f"{name}.blackout_vns"] = [one - without for one in blackouts]
    for name, kernel in (("base", "base_plain"), ("series", "plain")):
        runs[f"boot.{name}_vns"] = [one.boot for one in found[f"blackout.{kernel}"]]
    return runs


def report(found):
    """What goes into build/bench.json."""
    runs = collect(found)
    figures = {name: figures_.median(values) for name, values in runs.items()}
    middle = next(outcome for outcome in found["blackout.update"]
                  if outcome.blackout == figures["blackout.update_vns"])
    slowest = figures_.slowest(figures_.phases(middle.timeline, middle.start, middle.end))
    return {**figures, "slowest": slowest,
            "targets": figures_.targets(
                figures, {f"{name}_vns": runs[f"{name}_vns"] for name in BLACKOUTS},
                SUBSYSTEMS) + figures_.device_targets(figures, DEVICES, FILES),
            "meta": {"unit": "virtual ns, 2 an instruction, idle time skipped",
                     "qemu": output([QEMU, "--version"]).splitlines()[0],
                     "icount": ICOUNT,
                     "kernels": {name: release_of(image(name)) for name in KERNELS},
                     "memory": MEMORY, "memory of memory.*": LARGE_MEMORY,
                     "runs": runs}}


def show(result):
    """Prints the outcome for people."""
    say(f"\n{result['meta']['qemu']}, all figures in {result['meta']['unit']}\n")
    for line in figures_.table(result):
        say(line)
    say(f"\nmedians of {RUNS} runs, and how far these are apart")
    say("\nthe ten slowest phases of the blackout of an update:")
    whole = result["blackout.update_vns"]
    for phase in result["slowest"]:
        say(f"{phase['vns']:>15,}  {phase['vns'] / whole:6.1%}  {phase['name']}")
    say("\ntargets:")
    for target in result["targets"]:
        say(f"  {'pass' if target['met'] else 'FAIL'}  {target['target']}: "
            f"{target['measured']}")


def main(argv=None):
    """Entry point; the exit status is 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="harness.bench", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        initrd.build()
        with locked(paths.STATE / "bench.lock", "the benchmark"):
            OUT.unlink(missing_ok=True)
            result = report(measure())
            save_json(OUT, result)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    show(result)
    say(f"\n{OUT.relative_to(paths.ROOT)}")
    return 0 if all(target["met"] for target in result["targets"]) else 1
