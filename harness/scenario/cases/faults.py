# SPDX-License-Identifier: GPL-2.0
"""No memory: each allocation of an update fails once, on the debug kernels.

Whatever fails is undone and said, and nothing is lost: the lines of the source that
allocate have as much as before. At the end of each scenario an update works, with the
devices that went through all of it.
"""

from ...guest.control import DEBUG, LIVEUPDATE, Rebooted
from ...guest.devices import COUNTS, Devices
from ...guest.faults import Faults, Symbols, starve
from ...guest.pci import DRIVERS, EDU, EduDevice, IvshmemDevice, Machine, boot, pattern
from ...vm.ivshmem import Ivshmem
from ...vm.pci_trace import MASTER
from ..api import scenario
from ..ktap import parse
from ..suites import suites

# What the test bus has: a device below a bridge, with a supplier, and one that is alone.
BUS = ("add bridge1 bridge=1,driver=plain;add port1 parent=bridge1;add power1;"
       "add disk1 data=;add nic1 parent=port1,class=1,driver=other;link nic1 power1")

# Who needs memory to prepare; "" is the machine itself.
NEEDY = {"", "devices", "dma", "shutdown-log", "test-workload", "test-devices",
         "test-irq", "test-iommu", "test-memory"}

PREPARE, REHEARSE = f"{LIVEUPDATE}/prepare", f"{LIVEUPDATE}/rehearse"
LOOK = tuple(f"{LIVEUPDATE}/{name}" for name in (
    "state", "transition", "last_failure/transition", "last_failure/subsystem",
    "last_failure/errno")) + (
    f"{COUNTS}/nr_requested", f"{COUNTS}/nr_preserved", f"{LIVEUPDATE}/last_failure/device")


def _check_requests(run, faults, paths):
    """requested=1 fails with a word about which device, and the next one works."""
    faults.only("requested_store")
    for name, path in paths.items():
        attempts = faults.each(f"{path}/liveupdate/requested", "1",
                               f"{path}/liveupdate/requested",
                               *(f"{LIVEUPDATE}/last_failure/{field}"
                                 for field in ("transition", "device", "errno")),
                               undo=(f"{path}/liveupdate/requested", "0"))
        faults.report(f"request of {name}", attempts)
        for attempt in attempts:
            what = f"request of {name} without allocation {attempt.nth}"
            if attempt.ok:
                run.equal(what, attempt.seen[0], "1")
                continue
            run.equal(what, (attempt.error, attempt.seen[0]), ("ENOMEM", "0"))
            step, device, errno = attempt.seen[1:]
            run.equal(f"{what}: who failed", (step, device.split(":", 1)[1], errno),
                      ("request", path.rsplit("/", 1)[-1], "-12"))


def _check_prepare(run, faults, requested):
    """A prepare that fails ends in normal, names who failed, and keeps nothing."""
    faults.only("prepare_store")
    attempts = faults.each(PREPARE, "1", *LOOK, undo=(PREPARE, "0"), timeout=300)
    faults.report("prepare", attempts)
    culprits, devices = set(), set()
    for attempt in attempts:
        what = f"prepare without allocation {attempt.nth}"
        state, transition, step, name, errno, asked, preserved, device = attempt.seen
        run.equal(f"{what}: transition", transition, "idle")
        run.equal(f"{what}: requested devices", asked, str(requested))
        if attempt.ok:
            run.equal(f"{what}: state", state, "prepared")
            continue
        run.equal(what, (attempt.error, state, step, errno, preserved),
                  ("ENOMEM", "normal", "prepare", "-12", "0"))
        culprits.add(name)
        if name == "devices" and device:
            devices.add(device.split(":", 1)[1])
    run.equal("who failed for want of memory, but should not", culprits - NEEDY, set())
    run.equal("who never failed for want of memory", NEEDY - culprits, set())
    return devices


def _check_prepared(run, faults, what, path, text, undo):
    """What begins in prepared and cannot do any harm: it works, or nothing happened.
    Returns how many allocations there were."""
    faults.only(f"{path.rsplit('/', 1)[1]}_store")
    attempts = faults.each(path, text, *LOOK, undo=undo, timeout=300)
    faults.report(what, attempts)
    for attempt in attempts:
        step = f"{what} without allocation {attempt.nth}"
        run.equal(f"{step}: transition", attempt.seen[1], "idle")
        if not attempt.ok:
            run.equal(step, (attempt.error, attempt.seen[0]), ("ENOMEM", "prepared"))
            run.equal(f"{step}: errno", attempt.seen[4], "-12")
    return sum(attempt.hit for attempt in attempts)


class Crowd:
    """The devices of a guest that take part: of the test bus, an edu, an ivshmem."""

    def __init__(self, run, guest, host, server):
        self._run = run
        self.bus = Devices(run, guest)
        self.edu = EduDevice(run, guest, host, "edu0")
        self.ivshmem = IvshmemDevice(run, guest, host, "ivshmem0", server)

    def load(self, kernel):
        """Loads all drivers."""
        self.bus.load(kernel, BUS)
        self.edu.load(kernel)
        self.ivshmem.load(kernel)

    def paths(self):
        """Their folders in sysfs."""
        return {"nic1": self.bus.folder("nic1"), "disk1": self.bus.folder("disk1"),
                "edu0": self.edu.function.path, "ivshmem0": self.ivshmem.function.path}

    def request(self):
        """Requests them; it has to work."""
        for name in ("nic1", "disk1"):
            self._run.equal(f"request of {name}", self.bus.request(name), "")
        for device in (self.edu, self.ivshmem):
            self._run.equal(f"request of {device.name}", device.request(), "")

    def check_work(self, what):
        """The devices do what they are for."""
        self.edu.check_works(what)
        self.ivshmem.ring(0, what)
        self.bus.in_turn()


def _check_load(run, guest, faults):
    """kexec_file_load(2) has no memory for what it tells an image of Kexec HandOver: it
    loads nothing, and all is as it was. The last attempt, without a fault, loads it."""
    faults.only("kho_setup_e820")
    verb = guest.load_verb(run.image("b"), run.append())
    loaded = False
    for nth in range(1, 50):
        attempt = faults.fail(nth, verb, timeout=60)
        what = f"kexec_file_load(2) without allocation {nth} of the map"
        if attempt.hit and not attempt.ok:
            run.equal(what, attempt.error, "ENOMEM")
        # An image that was loaded stays.
        loaded |= attempt.ok
        run.equal(f"{what}: loaded", guest.read("/sys/kernel/kexec_loaded"), str(int(loaded)))
        run.state(guest, "prepared")
        if not attempt.hit:
            run.step(f"kexec_file_load(2): {nth - 1} allocations of the map")
            run.check("the map takes memory", nth > 1)
            return


def _check_reboot(run, guest, faults, crowd):
    """reboot(2) that fails comes back prepared, everything usable. Returns the number of
    the first allocation that it can do without, which is where it jumps."""
    faults.only(None)
    faults.never("kobject_uevent_env")
    for nth in range(1, 200):
        try:
            attempt = faults.fail(nth, "reboot kexec", timeout=120)
        except Rebooted:
            run.step(f"reboot(2): jumps without allocation {nth}")
            return nth
        what = f"reboot(2) without allocation {nth}"
        run.equal(what, (attempt.hit, attempt.error), (True, "ENOMEM"))
        run.state(guest, "prepared")
        run.equal(f"{what}: transition, errno", guest.last_failed()[::2], ("freeze", "-12"))
        crowd.check_work(f"after {what}")
    return None


@scenario("faults-update", debug_only=True, limit=240)
def faults_update(run):
    """Each allocation of requested, prepare, rehearse, cancel and of reboot(2) fails once:
    everything is undone, the culprit named, no page kept, and then the update works. So it
    is with the map of memory that kexec_file_load(2) makes."""
    with Ivshmem() as server:
        machine = Machine().port("port0").edu("edu0", "port0").ivshmem("ivshmem0", server)
        guest, host = boot(run, machine)
        faults, crowd = Faults(run, guest), Crowd(run, guest, host, server)
        crowd.load("a")
        faults.enable()
        _check_requests(run, faults, crowd.paths())
        crowd.request()
        edu0, ivshmem0 = crowd.edu.identity, crowd.ivshmem.identity
        devices = _check_prepare(run, faults, 4)
        run.check("devices were blamed", {"nic1", edu0, ivshmem0} <= devices, str(devices))
        # What is known of one is kept, also if it was kmemleak that got no memory next:
        # which of them fails depends on that.
        run.check("bridges were blamed", {"port1", "bridge1", "0000:00:10.0"} & devices,
                  str(devices))
        run.prepare(guest)
        run.cancel(guest)
        before = faults.memory()
        _check_prepare(run, faults, 4)
        faults.check_memory("prepare", before)
        run.prepare(guest)
        prepared = faults.memory()
        # Nothing may need memory between freeze and thaw, when there is no way to get any.
        run.equal("allocations of rehearse", _check_prepared(
            run, faults, "rehearse", REHEARSE, "1", ("", "")), 0)
        faults.check_memory("rehearse", prepared)
        _check_prepared(run, faults, "cancel", PREPARE, "0", (PREPARE, "1"))
        faults.check_memory("cancel", prepared)
        crowd.check_work("after all of it")
        _check_load(run, guest, faults)
        run.equal("reboot(2) that jumped", _check_reboot(run, guest, faults, crowd) > 0, True)
        run.state(guest, "updated")
        crowd.load("b")
        run.equal("reclaimed", crowd.bus.count("unreclaimed"), 0)
        crowd.check_work("in the next kernel")
        run.finish(guest)


def _await_driver(guest, device):
    """Waits for the driver that a device gets after finish, files included."""
    guest.until(f"[ -e {device.function.path}/{device.module}/completed ]", timeout=20)


# How many functions the next kernel takes over, each without another allocation.
RETRIEVED = 8

# What bind says when there was no memory: the base has no region of an address space
# then, as if it was in use, or no interrupt or device, as if there was none.
NO_MEMORY = {"ENOMEM", "EBUSY", "EINVAL", "ENOSPC", "ENODEV"}
# free_irq() of the base removes a folder in /proc that could not be made.
NO_FOLDER = (r"WARNING: at remove_proc_entry\+", "Call Trace:")


@scenario("faults-retrieve", debug_only=True, limit=400, expect=NO_FOLDER)
def faults_retrieve(run):
    """The next kernel has no memory while a driver takes its device over: it is taken
    over all the same, or quiesced, as the host sees, and works as new after finish."""
    machine = Machine()
    for number in range(RETRIEVED):
        machine.edu(f"edu{number}")
    guest, host = boot(run, machine)
    faults = Faults(run, guest)
    edus = [EduDevice(run, guest, host, f"edu{number}") for number in range(RETRIEVED)]
    bind, unbind = (f"{DRIVERS}/{EDU}/{name}" for name in ("bind", "unbind"))
    edus[0].load("a")
    faults.enable()
    run.equal("unbind", edus[0].bind(unbind=True), "")
    # The interpreter of ACPI does not live through all of them.
    faults.only("bind_store")
    faults.never("acpi_pci_irq_enable")
    before = faults.memory()
    attempts = faults.each(bind, edus[0].identity, undo=(unbind, edus[0].identity), timeout=300)
    faults.report("bind", attempts)
    faults.check_memory("bind", before)
    run.equal("other errors of bind", {attempt.error for attempt in attempts if not attempt.ok}
              - NO_MEMORY, set())
    needed = [attempt.nth for attempt in attempts if not attempt.ok]
    run.equal("bind", edus[0].bind(), "")
    for edu in edus:
        run.equal(f"request of {edu.name}", edu.request(), "")
        edu.store(pattern(edu.name))
    run.update(guest)

    guest.do("echo 0 > /sys/bus/pci/drivers_autoprobe")
    edus[0].load("b")
    faults.enable()
    faults.only("bind_store")
    faults.never("acpi_pci_irq_enable")
    stopped = []
    for number, edu in enumerate(edus):
        run.check(f"{edu.name} is a bus master", host.command(edu.function) & MASTER)
        nth = needed[number * (len(needed) - 1) // (RETRIEVED - 1)]
        attempt = faults.fail(nth, f"write {bind} {edu.identity}")
        run.step(f"{edu.name} without allocation {nth}: {attempt.error or 'taken over'}")
        if attempt.ok:
            run.equal(f"{edu.name}: retrieved", edu.shown("retrieved"), "1")
            continue
        stopped.append(edu)
        run.check(f"bind of {edu.name} without allocation {nth}", attempt.error in NO_MEMORY,
                  attempt.error)
        run.equal(f"driver of {edu.name}", edu.driver(), "")
        run.equal(f"{edu.name} is no bus master", host.command(edu.function) & MASTER, 0)
        run.contains("console", guest.console(2), f"{edu.identity}: liveupdate: "
                     "quarantined: its probe failed")
        run.equal(f"bind of {edu.name} before finish", edu.bind(), "ENODEV")
    run.check("some could not be taken over", stopped)
    guest.do("echo 1 > /sys/bus/pci/drivers_autoprobe")
    run.finish(guest)
    for edu in edus:
        _await_driver(guest, edu)
        edu.check_works("after finish")
        run.equal(f"request of {edu.name}", edu.request(), "")
    run.prepare(guest)
    run.cancel(guest)


# For whom a kernel has no memory when it looks for what it was handed, and what it says.
RESTORES = (("dlu_read_table", ("restore", "devices", "-12")),
            ("dma_liveupdate_read_table", ("restore", "dma", "-12")),
            ("luo_ctx_accept", ("restore", "", "-12")),
            (None, ("none", "", "0")))


DISK = {"disk1": (1, "value=0x64657669")}


@scenario("faults-restore", debug_only=True, gdb=True, limit=300)
def faults_restore(run):
    """Updates in a row, in each of which a kernel has no memory to restore one part of
    what it was handed: it comes up, says so, and retains it; when the operator has given
    that up the next update works again, with all devices. What the host sees of a device
    whose buffer is not known is no bus master."""
    guest, host = boot(run, Machine().edu("edu0"))
    devices, edu = Devices(run, guest), EduDevice(run, guest, host, "edu0")
    devices.load("a", BUS)
    edu.load("a")
    for number, (function, failed) in enumerate(RESTORES):
        kernel = "ba"[number % 2]
        run.step(f"no memory for {function}")
        run.equal("request of disk1", devices.request("disk1"), "")
        run.equal("request of edu0", edu.request(), "")
        run.prepare(guest)
        run.load(guest, kernel)
        gdb = guest.stop_at_jump()
        if function:
            symbols = Symbols(run.kernel(kernel))
            gdb.run_to(symbols.bounds("luo_state_early_init")[0])
            starve(gdb, symbols, function)
        gdb.detach()
        guest.wait_boot()
        run.equal("what failed", guest.last_failed(), failed)
        run.state(guest, "normal" if failed[1:] == ("", "-12") else "updated")
        devices.load(kernel, BUS)
        edu.load(kernel)
        run.equal("what disk1 was handed", devices.received(),
                  {} if failed[1] in ("devices", "") and function else DISK)
        quiesced = failed[1] == "dma"
        run.equal("driver of edu0", edu.driver(), "" if quiesced else EDU)
        run.equal("edu0 is a bus master", bool(host.command(edu.function) & MASTER),
                  not quiesced)
        if guest.state() == "updated":
            run.finish(guest)
        _await_driver(guest, edu)
        edu.check_works(f"after {function}")
        causes = guest.retained()
        run.equal("something is retained", bool(causes), bool(function))
        run.forget(guest, *causes)


@scenario("faults-kunit", smp=2, debug_only=True, debug_always=True, limit=200)
def faults_kunit(run):
    """The KUnit suites in which each allocation fails once, of the machine, devices and
    DMA buffers: prepare, freeze, restore and finish."""
    guest = run.boot("a", extra="kunit.enable=1 kunit.autorun=0 kunit.filter_glob=*faults*")
    faults = Faults(run, guest)
    faults.enable()
    before = faults.memory()
    problems = []
    for suite, module in suites().items():
        if not suite.endswith("faults"):
            continue
        folder = f"{DEBUG}/kunit/{suite}"
        if module:
            guest.do(f"insmod {run.module('a', module)}", timeout=60)
        run.equal(f"run of {suite}", guest.write(f"{folder}/run", "1", timeout=240), "")
        report = parse(guest.read(f"{folder}/results"))
        problems += report.problems + report.failures()
        problems += [f"{case.name} skipped" for case in report.cases if case.skipped]
        run.equal("suites", [case.name for case in report.top()], [suite])
        run.step(f"{suite}: {len(report.cases)} results")
        run.checks += len(report.cases)
        if module:
            guest.do(f"rmmod {module}")
    run.equal("problems of the suites", problems, [])
    run.state(guest, "normal")
    # A suite restores in this kernel what it handed over, and what is restored counts
    # for nobody from there on, so that it is not missing when it is freed.
    faults.check_memory("the suites", before, but="kho_alloc_preserve")
