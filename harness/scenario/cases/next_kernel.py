# SPDX-License-Identifier: GPL-2.0
"""Next kernels that cannot take everything, or anything, of what they are given."""

import re

from ...guest.control import ENABLED, LIVEUPDATE
from ...guest.handover import Handover
from ...guest.pages import Kept, full
from ..api import release_of, scenario
from ..subsystems import DATA, TEST_ORDER, check_calls, check_received, hand_over_data, size_of

# What the host looks at while the machine stands between two kernels, and after that.
WATCHED = {"ram_file": True, "gdb": True, "memory": "512M", "limit": 200}

MODULE = "liveupdate_test_workload"


def jump_with(run, guest, *names, kernel="b", state="updated"):
    """A kexec, before which the host makes a note of what these subsystems hand over."""
    run.step(f"stop at the kexec to kernel {kernel}")
    gdb = guest.stop_at_jump()
    kept = Kept(guest.vm.ram).add_records(Handover(guest.vm.ram), names)
    gdb.detach()
    run.equal("release after the kexec", guest.wait_boot().release,
              release_of(run.image(kernel)))
    run.state(guest, state)
    return kept


@scenario("next-unpatched", **WATCHED)
def next_unpatched(run):
    """The next kernel is the unpatched base: it knows nothing of the machine, keeps
    the handed-over memory reserved, and its sessions work."""
    guest = run.boot("a")
    guest.do("guestctl session create vm 8")
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest, "base")
    kept = jump_with(run, guest, *TEST_ORDER, kernel="base", state="none")
    kept.check(run, guest)
    run.equal("session", guest.do("guestctl session verify vm 8"), f"ok {8 << 20} bytes")
    guest.do("guestctl session create back 4")
    run.step("and back")
    run.load(guest, "b")
    run.jump(guest, "b", state="normal")
    run.equal("session from the base", guest.do("guestctl session verify back 4"),
              f"ok {4 << 20} bytes")


@scenario("next-liveupdate-off", **WATCHED)
def next_liveupdate_off(run):
    """A next kernel with liveupdate=off still looks at what it was handed, says so,
    and keeps what nobody reads; subsystems discard what they could read, and the rest
    of what is mandatory is retained: no kexec before the operator gives it up. The kernel
    after it is normal."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    table = guest.subsystems()
    run.load(guest, enabled="kho=on liveupdate=off",
             extra='liveupdate_test.config="test-iommu version=2,oldest=2"')
    kept = jump_with(run, guest, "test-iommu", state="none")
    log = guest.console(2)
    run.contains("console of kernel B", log,
                 f"live update is off: {len(table)} subsystems handed over state")
    for name, (version, _, _, kind, size) in table.items():
        run.contains("console of kernel B", log,
                     f"{name}: version {version}, {kind}, {size} bytes")
    discarded = re.findall(r"(test-\S+): discarded, (\d+) bytes", log)
    run.equal("who discarded its data, from provider to consumer", discarded,
              [(name, str(table[name][4])) for name in TEST_ORDER[::-1]
               if name != "test-iommu"])
    run.contains("console of kernel B", log,
                 "test-iommu: cannot discard version 1 with [2, 2]")
    run.equal("files", guest.do(f"ls {LIVEUPDATE}"), "retained")
    run.retained(guest, "test-iommu")
    kept.check(run, guest)
    run.forget(guest, "test-iommu")
    run.load(guest, "a")
    run.jump(guest, "a", state="normal")
    run.equal("data received", guest.received(), {})


@scenario("next-kho-off")
def next_kho_off(run):
    """A next kernel with kho=off starts as if nothing had been handed over."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest, enabled="kho=off liveupdate=on")
    run.jump(guest, state="none")
    run.load(guest, "a")
    run.jump(guest, "a", state="normal")


def _unreadable(run, outgoing, incoming, kind, versions):
    """test-devices hands over data that its successor cannot read."""
    guest = run.boot("a", extra=f'liveupdate_test.config="test-devices class={kind}'
                                f'{outgoing}"')
    run.equal("class in kernel A", guest.subsystems()["test-devices"][3], kind)
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest, extra=f'liveupdate_test.config="{incoming}"' if incoming else "")
    kept = jump_with(run, guest, "test-devices")
    run.last_failed(guest, "restore", "test-devices", -93)
    log = guest.console(2)
    run.contains("console of kernel B", log,
                 f"test-devices: cannot restore version {versions}")
    rest = [name for name in TEST_ORDER if name != "test-devices"]
    check_calls(run, guest, "restore", rest[::-1])
    check_received(run, guest, {name: DATA[name] for name in rest})
    run.check("nothing reached test-devices", "test-devices" not in guest.received())
    kept.check(run, guest)
    run.finish(guest)
    end = guest.console(2)
    size = size_of("test-devices")
    if kind == "mandatory":
        run.contains("console", log, f"test-devices: {size} bytes of mandatory data are "
                     "retained: nobody has restored it")
        run.retained(guest, "test-devices")
        run.equal("bytes retained", guest.retained()["test-devices"][2], size)
        kept.check(run, guest)
        run.forget(guest, "test-devices")
        with full(run, guest):
            run.equal("what is not reserved", kept.lost(), ["data of test-devices"])
    else:
        run.contains("console at finish", end, f"test-devices: nobody claimed {size} bytes "
                     "of optional data, freed")
        with full(run, guest):
            run.equal("what is not reserved", kept.lost(), ["data of test-devices"])
    run.update(guest, "a")
    run.finish(guest)


@scenario("next-version-newer-mandatory", **WATCHED)
def next_version_newer_mandatory(run):
    """Data of a newer version than the next kernel reads, mandatory: not restored,
    retained, everybody else is served, normal is reached; but there is neither an update
    nor a kexec before the operator gives it up."""
    _unreadable(run, ",version=5", "", "mandatory", "5 with [1, 1]")


@scenario("next-version-newer-optional", **WATCHED)
def next_version_newer_optional(run):
    """The same, optional: the data is freed at finish."""
    _unreadable(run, ",version=5", "", "optional", "5 with [1, 1]")


@scenario("next-version-older-mandatory", **WATCHED)
def next_version_older_mandatory(run):
    """Data older than the oldest version the next kernel reads, mandatory."""
    _unreadable(run, "", "test-devices version=4,oldest=3", "mandatory", "1 with [3, 4]")


@scenario("next-version-older-optional", **WATCHED)
def next_version_older_optional(run):
    """Data older than the oldest version the next kernel reads, optional."""
    _unreadable(run, "", "test-devices version=4,oldest=3", "optional", "1 with [3, 4]")


@scenario("next-version-readable")
def next_version_readable(run):
    """Older data inside the range that the next kernel reads is restored."""
    guest = run.boot("a", extra='liveupdate_test.config="test-devices version=3"')
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest, extra='liveupdate_test.config="test-devices version=7,oldest=3"')
    run.jump(guest)
    run.nothing_failed(guest)
    run.equal("versions in kernel B", guest.subsystems()["test-devices"][:2], (7, 3))
    check_received(run, guest)
    run.finish(guest)


@scenario("next-restore-fails")
def next_restore_fails(run):
    """A subsystem whose restore fails: reported, treated as unclaimed at finish,
    the others are served."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest, extra='liveupdate_test.config="test-irq fail=restore,errno=5"')
    run.jump(guest)
    run.last_failed(guest, "restore", "test-irq", -5)
    run.equal("restore calls", [c[1:] for c in guest.calls() if c[0] == "restore"],
              [("test-memory", "0"), ("test-iommu", "0"), ("test-irq", "-5"),
               ("test-devices", "0"), ("test-workload", "0")])
    run.finish(guest)
    check_calls(run, guest, "finish", [n for n in TEST_ORDER if n != "test-irq"])
    run.contains("console at finish", guest.console(2), "test-irq: nobody claimed")


@scenario("next-startup-fails")
def next_startup_fails(run):
    """In the next kernel live update is switched off after all was restored, because what
    another update needs cannot be set up. This one is finished all the same, and there is
    no other. Fails if the files are not there then: it would stay updated for ever; or if
    the kernel after that one does not start as normal."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest, "b", "liveupdate_test.break_startup=1")
    run.jump(guest, "b")
    run.contains("console", guest.console(2), "failed to prepare LUO state")
    run.equal("prepare", guest.set("prepare", 1), "EOPNOTSUPP")
    run.finish(guest)
    run.contains("console", guest.console(2), "updated -> normal")
    run.equal("prepare after that", guest.set("prepare", 1), "EOPNOTSUPP")
    run.load(guest, "a")
    run.jump(guest, "a", "normal")
    run.update(guest)
    run.finish(guest)


@scenario("next-subsystem-absent")
def next_subsystem_absent(run):
    """A built-in subsystem the next kernel does not have: its data is unclaimed."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest, extra='liveupdate_test.config="test-iommu active=0"')
    run.jump(guest)
    run.check("test-iommu is not there", "test-iommu" not in guest.subsystems())
    run.retained(guest, "test-iommu")
    check_received(run, guest, {n: DATA[n] for n in TEST_ORDER if n != "test-iommu"})
    run.finish(guest)
    run.retained(guest, "test-iommu")


def _unclaimed(run, kind):
    guest = run.boot("a")
    guest.do(f"insmod {run.module('a', MODULE)} "
             f"config='\"test-module class={kind},data=left_behind\"'")
    run.equal("class of test-module", guest.subsystems()["test-module"][2:4],
              ("workload", kind))
    run.prepare(guest)
    run.equal("unloading a prepared subsystem",
              guest.run("rmmod liveupdate_test_workload").ok, False)
    run.load(guest)
    kept = jump_with(run, guest, "test-module")
    run.check("test-module is not there", "test-module" not in guest.subsystems())
    run.nothing_failed(guest)
    kept.check(run, guest)
    run.finish(guest)
    with full(run, guest):
        run.equal("what is not reserved", kept.lost(),
                  [] if kind == "mandatory" else ["data of test-module"])
    return guest.console(2)


@scenario("unclaimed-optional", **WATCHED)
def unclaimed_optional(run):
    """The data of a module nobody loads again, optional: freed at finish."""
    run.contains("console at finish", _unclaimed(run, "optional"),
                 "test-module: nobody claimed 12 bytes of optional data, freed")


@scenario("unclaimed-mandatory", **WATCHED)
def unclaimed_mandatory(run):
    """The same, mandatory: retained."""
    log = _unclaimed(run, "mandatory")
    run.contains("console of kernel B", log, "test-module: 12 bytes of mandatory data are "
                 "retained: nobody has restored it")
    run.contains("console at finish", log, "12 bytes of 1 mandatory subsystems stay "
                 "retained")


@scenario("late-mandatory")
def late_mandatory(run):
    """Mandatory data of a module is retained until the module is loaded; a kexec in
    updated is refused until then."""
    guest = run.boot("a")
    guest.do(f"insmod {run.module('a', MODULE)} "
             "config='\"test-module class=mandatory,data=here_you_are\"'")
    run.prepare(guest)
    run.load(guest)
    run.jump(guest)
    run.retained(guest, "test-module")
    guest.do(f"insmod {run.module('b', MODULE)}")
    run.equal("what test-module received", guest.received().get("test-module"),
              "here_you_are")
    run.retained(guest)
    run.load(guest, "a")
    run.jump(guest, "a", state="normal")


@scenario("late-module")
def late_module(run):
    """A subsystem in a module gets its data when the module is loaded in the next
    kernel, and is finished with the others."""
    guest = run.boot("a")
    guest.do(f"insmod {run.module('a', MODULE)} config='\"test-module data=here_you_are\"'")
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest)
    run.jump(guest)
    run.check("nothing was received yet", "test-module" not in guest.received())
    guest.do(f"insmod {run.module('b', MODULE)}")
    run.equal("what test-module received", guest.received().get("test-module"),
              "here_you_are")
    run.equal("calls of test-module", [c for c in guest.calls() if c[1] == "test-module"],
              [("restore", "test-module", "0")])
    run.equal("unloading before finish",
              guest.run("rmmod liveupdate_test_workload").ok, False)
    run.finish(guest)
    run.equal("calls of test-module", [c for c in guest.calls() if c[1] == "test-module"],
              [("restore", "test-module", "0"), ("finish", "test-module", "0")])
    run.lacks("console", guest.console(2), "nobody claimed")
    guest.do("rmmod liveupdate_test_workload")
    run.check("test-module is gone", "test-module" not in guest.subsystems())


@scenario("module-joins-later")
def module_joins_later(run):
    """A subsystem that registers while the machine is prepared would miss the update, so
    all is cancelled, and the next prepare includes it. Fails if it is left out silently."""
    guest = run.boot("a")
    run.prepare(guest)
    guest.do(f"insmod {run.module('a', MODULE)}")
    guest.until("[ $(cat /sys/kernel/liveupdate/state) = normal ]")
    run.last_failed(guest, "prepare", "test-module", -11)
    run.equal("calls of it", [c for c in guest.calls() if c[1] == "test-module"], [])
    run.prepare(guest)
    run.equal("calls after the next prepare",
              [c for c in guest.calls() if c[1] == "test-module"],
              [("prepare", "test-module", "0")])
    run.cancel(guest)
    guest.do("rmmod liveupdate_test_workload")


@scenario("base-memfd")
def base_memfd(run):
    """Control: the unpatched base carries a session over kexec by itself, so that
    what the other scenarios see comes from the series."""
    guest = run.boot("base")
    run.equal("folder of the machine", guest.exists(LIVEUPDATE), False)
    guest.do("guestctl session create vm 8")
    run.equal("session", guest.do("guestctl session check vm"), f"ok {8 << 20} bytes")
    run.load(guest, "base", enabled=ENABLED)
    run.jump(guest, "base", state="none")
    run.equal("session", guest.do("guestctl session verify vm 8"), f"ok {8 << 20} bytes")
