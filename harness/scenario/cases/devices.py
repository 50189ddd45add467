# SPDX-License-Identifier: GPL-2.0
"""Devices of the test bus that run through an update, and what keeps them from it."""

import re

from ...guest.control import LIVEUPDATE
from ...guest.devices import BUS, CONTROL, DEVICES, FOREIGN, PATH, expected
from ..api import scenario
from ..test_bus import boot_with, check_counts, request, stopped_jump, update, wait_normal

# A small machine. nic1 and disk1 are requested; the rest of the set, consumers first
# as in prepare, is what they need. lone1 and clock1 are none of it.
SECRET = "the_queues_of_nic1_as_they_were_when_it_was_prepared"
FROZEN = "the_queues_of_nic1_as_they_were_when_they_were_froze"
TREE = ("add bridge1 bridge=1,driver=plain;add port1 parent=bridge1;add power1 bridge=1;"
        "add relay1;add clock1;add help1;add lone1;add disk1 data=,fingerprint=model-7;"
        f"add nic1 parent=port1,class=1,driver=other,data={SECRET},frozen={FROZEN};"
        "link disk1 relay1;link nic1 power1;link nic1 clock1 stateless=1;depend nic1 help1")
ORDER = ("nic1", "disk1", "help1", "relay1", "power1", "port1", "bridge1")
ON_PATH = ("power1", "bridge1")
PRESERVED = tuple(name for name in ORDER if name not in ON_PATH)

# The same for failures at each device, without what is not in the set.
SMALL = ("add bridge1 bridge=1,driver=plain;add port1 parent=bridge1;add power1 bridge=1;"
         "add disk1;add nic1 parent=port1,class=1,driver=other;link nic1 power1")
SMALL_ORDER = ("nic1", "disk1", "power1", "port1", "bridge1")


def _check_strict_request(run, devices):
    """requested takes 0 and 1 and nothing else."""
    for value in ("2", "-1", "on", "01", "1 ", "0x1", "1\n\n"):
        run.equal(f"requested={value!r}", devices.request("nic1", value), "EINVAL")
    for value in ("1", "1", "0", "0", "1\n"):
        run.equal(f"requested={value!r}", devices.request("nic1", value), "")
        run.equal("reads back", devices.file("nic1", "requested"), value.strip())


def _look(run, ram, table):
    """What lies in memory at the kexec; where the blob of nic1 is."""
    records = table.records()
    run.equal("records", [record.id for record in records], list(ORDER[::-1]))
    run.equal("records on the path", [record.id for record in records if record.flags & PATH],
              list(ON_PATH[::-1]))
    at = {record.id: record for record in records}
    place = {record.id: number for number, record in enumerate(records, 1)}
    run.equal("parent of nic1", at["nic1"].parent, place["port1"])
    run.equal("parent of port1", at["port1"].parent, place["bridge1"])
    run.equal("parent of disk1", at["disk1"].parent, 0)
    run.equal("driver of nic1", (at["nic1"].compatible, at["nic1"].version), ("liveupdate-test-two", 1))
    run.equal("bytes of nic1", ram.read(at["nic1"].value, at["nic1"].size),
              FROZEN.encode() + b"\0")
    return at["nic1"].value


def _check_consoles(run, log):
    """Who was shut down on the way out of kernel A."""
    for name in PRESERVED:
        run.lacks("console of kernel A", log, f"liveupdate_test_bus: {name} shutdown")
    for name in ON_PATH:
        run.contains("console of kernel A", log, f"liveupdate_test_bus: {name} shutdown-path")
    for name in ("lone1", "clock1"):
        run.contains("console of kernel A", log, f"liveupdate_test_bus: {name} shutdown\n")


@scenario("dev-preserved", ram_file=True, gdb=True)
def dev_preserved(run):
    """Devices run through an update with all they need: parent, bridge, supplier and
    dependency. Every file, call and byte is checked on the way; the next kernel knows
    one device by another name and has another version of a driver."""
    guest, devices = boot_with(run, TREE)
    for name in (*PRESERVED, "power1", "lone1"):
        run.check(f"{name} has files", devices.has_files(name))
    run.equal("files of bridge1", devices.has_files("bridge1"), False)
    check_counts(run, devices)
    _check_strict_request(run, devices)
    request(run, devices, "disk1")
    run.equal("list of the requested", devices.listed("requested"),
              {"nic1": "nic1", "disk1": "disk1"})

    devices.tell("clear")
    run.prepare(guest)
    devices.check_calls("prepare", expected("prepare", ORDER, ON_PATH))
    check_counts(run, devices, requested=2, preserved=len(PRESERVED))
    run.equal("list of the preserved", set(devices.listed("preserved")), set(PRESERVED))
    for name in (*PRESERVED, "lone1", "power1"):
        run.equal(f"preserved of {name}", devices.file(name, "preserved"),
                  str(int(name in PRESERVED)))
    for value in ("0", "1"):
        run.equal(f"requested={value} in prepared", devices.request("lone1", value), "EBUSY")
    run.load(guest)
    ram = guest.vm.ram
    address = stopped_jump(run, guest, lambda table: _look(run, ram, table))
    _check_consoles(run, guest.console(1))

    run.state(guest, "updated")
    check_counts(run, devices, preserved=0, unreclaimed=len(PRESERVED))
    run.equal("devices that did not appear", devices.listed("unreclaimed"),
              dict.fromkeys(PRESERVED, "-"))
    run.equal("bytes of nic1, which nobody took over yet",
              ram.read(address, len(FROZEN)), FROZEN.encode())
    devices.load("b", "driver other version=4,oldest=1;" + TREE.replace(
        "add disk1 ", "add disk9 id=disk1,").replace("link disk1", "link disk9"))
    run.equal("what was received", devices.received(), {
        "nic1": (1, FROZEN), "port1": (1, "port1"), "help1": (1, "help1"),
        "relay1": (1, "relay1"), "disk9": (1, "value=0x64657669")})
    retrieved = [call[1] for call in devices.calls("retrieve")]
    run.equal("devices retrieved", retrieved, ["port1", "relay1", "help1", "disk9", "nic1"])
    check_counts(run, devices, preserved=len(PRESERVED), reclaimed=len(PRESERVED))
    run.equal("list of the reclaimed", devices.listed("reclaimed"),
              {"nic1": "nic1", "port1": "port1", "help1": "help1", "relay1": "relay1",
               "disk1": "disk9"})
    for name, reclaimed in (("nic1", "1"), ("disk9", "1"), ("port1", "1"), ("lone1", "0")):
        run.equal(f"reclaimed of {name}", devices.file(name, "reclaimed"), reclaimed)
    run.equal("requested=1 in updated", devices.request("lone1"), "EBUSY")
    run.equal("bytes of nic1 until finish", ram.read(address, len(FROZEN)), FROZEN.encode())

    devices.tell("clear")
    run.finish(guest)
    devices.check_calls("finish", [("finish", name, "0") for name in
                                   ("nic1", "disk9", "help1", "relay1", "port1")])
    check_counts(run, devices)
    for which in ("requested", "preserved", "reclaimed"):
        run.equal(f"{which} of nic1", devices.file("nic1", which), "0")
    request(run, devices, "nic1", "lone1")
    check_counts(run, devices, requested=2)
    run.prepare(guest)
    run.cancel(guest)
    devices.in_turn()


@scenario("dev-three-updates", debug=True, smp=2)
def dev_three_updates(run):
    """Three updates in a row, each requested again, with other data each time."""
    guest, devices = boot_with(run, SMALL)
    for number, kernel in enumerate("bab", 1):
        devices.tell(f"set nic1 data=update-{number};set disk1 data=")
        request(run, devices, "nic1", "disk1")
        run.update(guest, kernel)
        devices.load(kernel, SMALL)
        run.equal("what was received", devices.received(), {
            "nic1": (1, f"update-{number}"), "port1": (1, "port1"),
            "disk1": (1, "value=0x64657669")})
        run.finish(guest)
        check_counts(run, devices)
        run.equal("requested after finish", devices.file("nic1", "requested"), "0")
    devices.in_turn()


@scenario("dev-rehearse")
def dev_rehearse(run):
    """rehearse freezes and thaws every device, cancel undoes prepare, each in its
    order; the devices can be bound anew, and an update works after all of it."""
    guest, devices = boot_with(run, TREE, "nic1", "disk1")
    for _ in range(2):
        run.prepare(guest)
        devices.tell("clear")
        run.equal("rehearse", guest.set("rehearse", 1), "")
        run.state(guest, "prepared")
        devices.check_calls("rehearse", expected("freeze", ORDER, ON_PATH) +
                            expected("thaw", ORDER[::-1], ON_PATH))
        devices.tell("clear")
        run.cancel(guest)
        devices.check_calls("cancel", expected("cancel", ORDER[::-1], ON_PATH))
        check_counts(run, devices, requested=2)
    run.equal("unbind in normal", devices.bind("liveupdate-test", "disk1", unbind=True), "")
    check_counts(run, devices, requested=2)
    run.equal("bind in normal", devices.bind("liveupdate-test", "disk1"), "")
    run.equal("requested of a device bound anew", devices.file("disk1", "requested"), "1")
    update(run, guest, devices, TREE)
    check_counts(run, devices, preserved=len(PRESERVED), reclaimed=len(PRESERVED))
    run.finish(guest)
    devices.in_turn()


def _refused(run, guest, devices, errno, *failed):
    """Prepare is refused for the reason of one device, and none was called."""
    before = len(devices.calls())
    run.equal("prepare", guest.set("prepare", 1), errno)
    run.state(guest, "normal")
    run.last_failed(guest, "prepare", "devices", failed[1])
    devices.failed("prepare", failed[0], *failed[1:])
    run.equal("calls of a set that cannot be", devices.calls()[before:], [])


@scenario("dev-refused")
def dev_refused(run):
    """What cannot be preserved is refused with the reason, when it is requested or, if
    it depends on others, by prepare; what is requested stays so."""
    guest, devices = boot_with(run, (
        "add plain1 driver=plain;add far1 bus=foreign;add bare1 driver=none;"
        "add old1 unsupported=translated by nobody;add odd1 id=a b;add mute1 fail=identify;"
        "add up1 driver=plain;add down1 parent=up1;add top1;add mid1 parent=top1,class=1;"
        "add far2 bus=foreign;add use1;link use1 far2;add old2;add under2 parent=old2;"
        "add twin1 id=same;add twin2 id=same"))
    for name, bus in (("plain1", BUS), ("bare1", BUS), ("far1", FOREIGN)):
        run.equal(f"files of {name}", devices.has_files(name, bus), False)

    run.step("refused when requested")
    run.equal("reason of top1", devices.file("top1", "reason"), "none")
    for name, error, errno, reason in (
            ("old1", "EOPNOTSUPP", -95, "translated by nobody"),
            ("odd1", "EINVAL", -22, "cannot identify"), ("mute1", "EIO", -5, "cannot identify")):
        run.contains(f"reason of {name}", devices.file(name, "reason"), reason)
        run.unsaid(guest, f"{name}: liveupdate:")
        run.equal(f"request of {name}", devices.request(name), error)
        devices.failed("request", name, errno, reason)
        run.equal(f"requested of {name}", devices.file(name, "requested"), "0")
        run.said(guest, f"{name}: liveupdate: request failed")
    run.said(guest, "translated by nobody")

    run.step("a parent whose driver has no live update")
    request(run, devices, "down1")
    _refused(run, guest, devices, "EOPNOTSUPP", "up1", -95, "its driver has no live update")
    run.equal("requested of down1", devices.file("down1", "requested"), "1")
    run.equal("not any more", devices.request("down1", 0), "")

    run.step("a parent that its bus does not support")
    request(run, devices, "under2")
    devices.tell("set old2 unsupported=too old")
    _refused(run, guest, devices, "EOPNOTSUPP", "old2", -95, "too old")
    run.equal("not any more", devices.request("under2", 0), "")

    run.step("a child that is not requested")
    request(run, devices, "top1")
    _refused(run, guest, devices, "EBUSY", "mid1", -16, "not requested")
    request(run, devices, "mid1")
    run.prepare(guest)
    run.cancel(guest)
    run.equal("mid1 is not requested", devices.request("mid1", 0), "")
    run.equal("mid1 has no driver", devices.bind("liveupdate-test", "mid1", unbind=True), "")
    _refused(run, guest, devices, "EBUSY", "mid1", -16, "its shutdown would reach")
    devices.tell("remove mid1")
    run.prepare(guest)
    run.cancel(guest)

    run.step("a consumer that is not requested")
    devices.tell("add user1;link user1 top1")
    _refused(run, guest, devices, "EBUSY", "user1", -16, "its shutdown would reach")
    request(run, devices, "user1")
    run.prepare(guest)
    run.cancel(guest)

    run.step("a supplier on a bus without live update")
    request(run, devices, "use1")
    _refused(run, guest, devices, "EOPNOTSUPP", "far2", -95, "no live update", FOREIGN)
    run.equal("not any more", devices.request("use1", 0), "")

    run.step("a supplier whose driver has no live update, and that forwards nothing")
    devices.tell("add plain2 driver=plain;add use2;link use2 plain2")
    request(run, devices, "use2")
    _refused(run, guest, devices, "EOPNOTSUPP", "plain2", -95, "its driver has no live update")
    run.equal("not any more", devices.request("use2", 0), "")

    run.step("two devices of one identity")
    request(run, devices, "twin1", "twin2")
    _refused(run, guest, devices, "EEXIST", "same", -17, "identity")
    run.equal("not any more", devices.request("twin2", 0), "")
    run.prepare(guest)
    run.cancel(guest)
    devices.in_turn()


def _failures(order, path, steps):
    """(device, callback, calls that happened before it) for every one of a transition."""
    for number, name in enumerate(order):
        if name in path:
            yield name, "path-on" if "prepare" in steps else "path-freeze", order[:number], []
            continue
        first, second = steps["prepare" if "prepare" in steps else "freeze"]
        yield name, first, order[:number], []
        yield name, second, order[:number], [(first, name, "0")]


@scenario("dev-prepare-failure")
def dev_prepare_failure(run):
    """prepare of every device fails in turn, in its driver, in its bus and on the path:
    all before it are cancelled in reverse, the machine is normal, and the devices can
    be used as if nothing had been."""
    guest, devices = boot_with(run, SMALL, "nic1", "disk1")
    steps = {"prepare": ("prepare", "bus-prepare")}
    for number, (name, step, before, own) in enumerate(
            _failures(SMALL_ORDER, ON_PATH, steps), 5):
        run.step(f"{step} fails at {name}")
        devices.tell(f"clear;set {name} fail={step},errno={number}")
        run.check("prepare fails", guest.set("prepare", 1) != "")
        run.state(guest, "normal")
        run.last_failed(guest, "prepare", "devices", -number)
        devices.failed("prepare", name, -number, "")
        undo = [("cancel", name, "0")] if own else []
        devices.check_calls(f"{step} that fails at {name}",
                            expected("prepare", before, ON_PATH) + own +
                            [(step, name, str(-number))] + undo +
                            expected("cancel", before[::-1], ON_PATH))
        check_counts(run, devices, requested=2)
    devices.tell("clear")
    run.equal("disk1 can lose its driver",
              devices.bind("liveupdate-test", "disk1", unbind=True), "")
    run.equal("and get it back", devices.bind("liveupdate-test", "disk1"), "")
    run.prepare(guest)
    run.cancel(guest)
    devices.in_turn()


@scenario("dev-freeze-failure", debug_always=True)
def dev_freeze_failure(run):
    """freeze of every device fails in turn, in its driver, in its bus and on the path: all
    before it are thawed in reverse and the machine is prepared; the kexec works afterwards."""
    guest, devices = boot_with(run, SMALL, "nic1", "disk1")
    run.prepare(guest)
    run.load(guest)
    steps = {"freeze": ("freeze", "bus-freeze")}
    for number, (name, step, before, own) in enumerate(
            _failures(SMALL_ORDER, ON_PATH, steps), 5):
        run.step(f"{step} fails at {name}")
        devices.tell(f"clear;set {name} fail={step},errno={number}")
        error = guest.refused_jump() if number % 2 else guest.set("rehearse", 1)
        run.check("freeze fails", error != "")
        run.state(guest, "prepared")
        run.last_failed(guest, "freeze", "devices", -number)
        devices.failed("freeze", name, -number, "")
        undo = [("thaw", name, "0")] if own else []
        devices.check_calls(f"{step} that fails at {name}",
                            expected("freeze", before, ON_PATH) + own +
                            [(step, name, str(-number))] + undo +
                            expected("thaw", before[::-1], ON_PATH))
        check_counts(run, devices, requested=2, preserved=3)
    devices.tell("clear")
    run.jump(guest)
    devices.load("b", SMALL)
    check_counts(run, devices, preserved=3, reclaimed=3)
    run.finish(guest)
    devices.in_turn()


@scenario("dev-locked")
def dev_locked(run):
    """While devices are prepared nobody can change what drives them or unload it, and
    no driver is probed, wherever the device is; cancel makes up for it."""
    guest, devices = boot_with(run, SMALL + ";add lone1", "nic1")
    run.prepare(guest)
    for driver, name in (("liveupdate-test-other", "nic1"), ("liveupdate-test", "port1"),
                         ("liveupdate-test", "power1"), ("liveupdate-test-plain", "bridge1")):
        run.equal(f"unbind of {name}", devices.bind(driver, name, unbind=True), "EBUSY")
        run.equal(f"driver_override of {name}", guest.write(
            f"{DEVICES}/{name}/driver_override", "liveupdate-test-plain"), "EBUSY")
    run.equal("rmmod", guest.run("rmmod liveupdate_test_bus").ok, False)
    for name in ("nic1", "port1", "lone1"):
        run.equal(f"requested of {name}", devices.request(name, 0), "EBUSY")
    run.equal("unbind of lone1", devices.bind("liveupdate-test", "lone1", unbind=True), "")
    run.equal("bind of lone1", devices.bind("liveupdate-test", "lone1"), "EAGAIN")

    run.step("children that appear")
    devices.tell("clear;add new1 parent=port1;add new2 parent=nic1,class=1;"
                 "add new3 parent=bridge1;add new4 parent=lone1")
    for name in ("new1", "new2", "new3", "new4", "lone1"):
        run.equal(f"driver of {name} in prepared", devices.driver(name), "")
    run.check("bind below a prepared device",
              devices.bind("liveupdate-test", "new1") != "" and not devices.driver("new1"))
    run.equal("rehearse", guest.set("rehearse", 1), "")
    run.cancel(guest)
    for name in ("new1", "new2", "new3", "new4"):
        devices.until_bound(name)
    run.equal("bind of lone1 after cancel", devices.bind("liveupdate-test", "lone1"), "")
    run.equal("unbind after cancel", devices.bind("liveupdate-test", "port1", unbind=True), "")
    run.equal("bind after cancel", devices.bind("liveupdate-test", "port1"), "")
    devices.in_turn()
    guest.do("rmmod liveupdate_test_bus")
    check_counts(run, devices)


def _check_invalid(run, guest, devices, lost, first=None):
    """A device that is gone was cancelled before; then all others were. Another may have
    gone first; whether this one was still prepared then is a matter of time."""
    wait_normal(guest)
    run.last_failed(guest, "prepare", "devices", -19)
    failed = guest.failed_device()[2]
    devices.failed("prepare", failed if failed == first else lost, -19, "removed")
    calls = devices.calls()
    run.check("cancelled before it goes", calls.index(("cancel", lost, "0")) <
              calls.index(("remove", lost, "0")), str(calls))
    run.equal("preserved", devices.count("preserved"), 0)
    devices.in_turn()


@scenario("dev-removed", smp=2, debug_always=True)
def dev_removed(run):
    """A device of the set is torn out: it is cancelled at once, the kexec is refused
    meanwhile, and everything else is cancelled without anybody asking."""
    guest, devices = boot_with(run, SMALL, "nic1", "disk1")
    run.load(guest)
    run.step("in prepared")
    run.prepare(guest)
    devices.tell("clear;set port1 hold=cancel")
    devices.tell("remove disk1")
    devices.await_call("cancel", "port1")
    run.equal("first calls", devices.calls()[:2], expected("cancel", ("disk1",)))
    error = guest.refused_jump()
    run.check("reboot(2) meanwhile", error in ("EBUSY", "ENODEV"), error)
    devices.release()
    _check_invalid(run, guest, devices, "disk1")
    run.equal("calls of the others", [call for call in devices.calls() if call[1] != "disk1"],
              expected("cancel", ("bridge1", "port1", "power1", "nic1"), ON_PATH))
    check_counts(run, devices, requested=1)

    run.step("in a prepare that takes its time")
    devices.tell("clear;add disk1;set port1 hold=prepare")
    request(run, devices, "disk1")
    job = guest.start(f"guestctl write {LIVEUPDATE}/prepare 1")
    devices.await_call("prepare", "port1")
    devices.tell("remove disk1")
    devices.release()
    run.contains("prepare", guest.finish(job).out, "ENODEV")
    _check_invalid(run, guest, devices, "disk1")

    run.step("the very device that prepares")
    devices.tell("clear;add disk1 hold=prepare")
    request(run, devices, "disk1")
    job = guest.start(f"guestctl write {LIVEUPDATE}/prepare 1")
    devices.await_call("prepare", "disk1")
    removal = guest.start(f"guestctl write {CONTROL}/config 'remove disk1'")
    devices.release()
    run.contains("removal", guest.finish(removal).out, "ok")
    # Removal waits for the device; it may be through only when all are prepared.
    out = guest.finish(job).out
    run.check("prepare", "ENODEV" in out or out == "ok 1", out)
    _check_invalid(run, guest, devices, "disk1")

    run.step("a supplier on the path, and with it who needs it")
    run.prepare(guest)
    devices.tell("clear")
    devices.tell("remove power1")
    _check_invalid(run, guest, devices, "nic1", "power1")
    run.equal("calls of power1", [call for call in devices.calls() if call[1] == "power1"],
              [("path-off", "power1", "0"), ("remove", "power1", "0")])

    run.step("an update of what is left")
    devices.tell("remove nic1;add nic1 parent=port1,driver=other")
    request(run, devices, "nic1")
    update(run, guest, devices, SMALL)
    check_counts(run, devices, preserved=2, reclaimed=2)
    run.finish(guest)
    devices.in_turn()


@scenario("dev-slow", smp=2, expect=(r"Call Trace:",))
def dev_slow(run):
    """One slow device among many is named while it is late, and prepare is undone with
    -ETIMEDOUT."""
    guest, devices = boot_with(run, "add first1;add slow1;add last1",
                               "first1", "slow1", "last1", bulk=50)
    guest.do(f"for d in {DEVICES}/bulk-*; do echo 1 > $d/liveupdate/requested; done")
    devices.tell("set slow1 hold=prepare")
    run.equal("prepare_timeout_ms", guest.set("prepare_timeout_ms", 500), "")
    job = guest.start(f"guestctl write {LIVEUPDATE}/prepare 1")
    guest.until_in("prepare devices slow1")
    run.equal("requested meanwhile", devices.request("last1", 0), "EBUSY")
    guest.await_late("slow1: prepare")
    devices.release()
    run.contains("prepare", guest.finish(job).out, "ETIMEDOUT")
    run.state(guest, "normal")
    run.last_failed(guest, "prepare", "devices", -110)
    devices.failed("prepare", "slow1", -110, "late")
    run.said(guest, "Call Trace:")
    check_counts(run, devices, requested=53)
    devices.tell("clear")
    run.prepare(guest)
    run.cancel(guest)
    devices.in_turn()


@scenario("dev-poweroff")
def dev_poweroff(run):
    """Halt, reset and power off in prepared shut every device down as ever."""
    for how in ("poweroff", "restart", "halt"):
        guest, devices = boot_with(run, TREE, "nic1", "disk1")
        run.prepare(guest)
        run.step(how)
        guest.send(f"guestctl reboot {how}")
        if how == "halt":
            guest.vm.wait_serial("reboot: System halted", 30)
        else:
            run.equal("reason of the end", guest.vm.shutdown_reason(30),
                      "guest-shutdown" if how == "poweroff" else "guest-reset")
        for name in (*ORDER, "lone1"):
            run.said(guest, f"liveupdate_test_bus: {name} shutdown\n", f"console at {how}")
        devices.in_turn()
        guest.vm.close()


@scenario("dev-rehearse-poweroff")
def dev_rehearse_poweroff(run):
    """SysRq-o, which takes no lock, in a rehearsal: nothing else is frozen, what is frozen
    is thawed, and then every device is shut down. Fails without the notifier."""
    guest, devices = boot_with(run, TREE, "nic1", "disk1")
    run.prepare(guest)
    devices.tell("set nic1 hold=freeze")
    run.step("power off in a rehearsal")
    guest.start(f"guestctl write {LIVEUPDATE}/rehearse 1")
    devices.await_call("freeze", "nic1")
    guest.do("echo o >/proc/sysrq-trigger")
    guest.do("usleep 300000")
    guest.send(f"echo 1 >{CONTROL}/release")
    run.equal("reason of the end", guest.vm.shutdown_reason(30), "guest-shutdown")
    for name in (*ORDER, "lone1"):
        run.said(guest, f"liveupdate_test_bus: {name} shutdown\n", "console at the end")
    devices.in_turn()


@scenario("dev-unbound")
def dev_unbound(run):
    """A request survives that the driver goes, which the log and a uevent say; prepare names
    the device until the driver is back or the request is withdrawn. It goes with the device,
    which is said, too."""
    guest, devices = boot_with(run, "add nic1;add disk1", "nic1", "disk1")
    uevents = guest.start("guestctl uevent 60000 LIVEUPDATE= 3")
    guest.until(f"grep -q listening {uevents}")
    run.equal("unbind", devices.bind("liveupdate-test", "nic1", unbind=True), "")
    run.said(guest, "nic1: liveupdate: requested, but has no driver any more")
    run.equal("requested without a driver", devices.file("nic1", "requested"), "1")
    run.equal("reason", devices.file("nic1", "reason"), "no driver is bound")
    check_counts(run, devices, requested=2)
    _refused(run, guest, devices, "EOPNOTSUPP", "nic1", -95, "no driver is bound")
    run.equal("bind", devices.bind("liveupdate-test", "nic1"), "")
    run.equal("requested with a driver again", devices.file("nic1", "requested"), "1")
    run.prepare(guest)
    check_counts(run, devices, requested=2, preserved=2)
    run.cancel(guest)

    run.step("withdrawn without a driver")
    run.equal("unbind", devices.bind("liveupdate-test", "nic1", unbind=True), "")
    run.equal("requested=1 without a driver", devices.request("nic1"), "EOPNOTSUPP")
    run.equal("requested=0", devices.request("nic1", 0), "")
    run.prepare(guest)
    check_counts(run, devices, requested=1, preserved=1)
    run.cancel(guest)
    devices.tell("remove disk1")
    run.said(guest, "disk1: liveupdate: requested, but removed: the request is withdrawn")
    run.equal("uevents", re.findall(r" DEVPATH=\S*/(\w+) .* LIVEUPDATE=(\w+)",
                                    guest.finish(uevents).out),
              [("nic1", "unbound"), ("nic1", "unbound"), ("disk1", "withdrawn")])
    check_counts(run, devices)
    devices.in_turn()


@scenario("dev-changed")
def dev_changed(run):
    """What a device is, is read when it is prepared; if it changes until it is frozen,
    the kexec is refused, as the next kernel would take it for other hardware."""
    guest, devices = boot_with(run, "add nic1 fingerprint=bar-at-1", "nic1")
    devices.tell("set nic1 fingerprint=bar-at-2")
    run.prepare(guest)
    devices.tell("set nic1 fingerprint=bar-at-3")
    run.load(guest)
    run.equal("reboot(2)", guest.refused_jump(), "ENODEV")
    devices.failed("freeze", "nic1", -19, "not what it was")
    run.state(guest, "prepared")
    devices.tell("set nic1 fingerprint=bar-at-2")
    run.jump(guest)
    devices.load("b", "add nic1 fingerprint=bar-at-2")
    check_counts(run, devices, preserved=1, reclaimed=1)
    run.finish(guest)
    devices.in_turn()


@scenario("dev-probe-late", smp=2)
def dev_probe_late(run):
    """A probe that waits, and then takes the lock that reboot(2) holds, does not begin while
    devices are prepared. If it did, reboot(2) would wait for it for ever."""
    guest, devices = boot_with(run, "driver one async=1;add nic1")
    devices.until_bound("nic1")
    request(run, devices, "nic1")
    for cancel in (True, False):
        run.prepare(guest)
        devices.tell(f"clear;add late{cancel:d} suspend=1,hold=probe")
        guest.do("usleep 300000")
        run.equal("probes while prepared", devices.calls("probe"), [])
        if not cancel:
            break
        run.equal("rehearse", guest.set("rehearse", 1), "")
        run.cancel(guest)
        devices.await_call("probe", "late1")
        devices.release()
        devices.until_bound("late1")
    run.load(guest)
    run.step("reboot(2) with a probe that takes its lock")
    guest.start(f"usleep 1500000; echo 1 >{CONTROL}/release")
    guest.send("guestctl reboot kexec")
    run.equal("kernels that came up", guest.wait_boot(40).number, 2)
    devices.load("b", "driver one async=1;add nic1;add late0")
    devices.until_bound("late0")
    check_counts(run, devices, preserved=1, reclaimed=1)
    run.finish(guest)
    devices.in_turn()


@scenario("dev-lock-order", debug_only=True, debug_always=True,
          expect=(r"possible circular locking dependency", r"Call Trace:"))
def dev_lock_order(run):
    """lockdep reports a probe that waits for the state machine, though no transition is under
    way: those take device_lock. Fails if lockdep is not told so, by either of the two."""
    guest, devices = boot_with(run, "add nic1", "nic1")
    run.prepare(guest)
    run.cancel(guest)
    run.unsaid(guest, "circular locking dependency")
    devices.tell("add late1 unregister=1")
    run.said(guest, "circular locking dependency")
    run.said(guest, "(dlu_device_map){")
    devices.in_turn()


@scenario("dev-lost-late")
def dev_lost_late(run):
    """nic1 fails after the shutdown has passed it, disk1 before the shutdown has come to it:
    disk1 is given back to its driver and shut down, nic1 is stopped and nothing is undone;
    the next kernel quarantines both. Fails if nic1 is thawed and cancelled."""
    guest, devices = boot_with(run, "add first1;add disk1;add second1;add nic1",
                               "nic1", "disk1")
    run.prepare(guest)
    run.load(guest)
    devices.tell("clear;set second1 hold=shutdown;set first1 hold=shutdown")
    run.step("jump, with a shutdown that waits")
    guest.start("guestctl reboot kexec")
    devices.await_call("shutdown", "second1")
    devices.tell("abort nic1;abort disk1")
    devices.check_calls("a loss while devices are shut down", [
        ("stop", "nic1", "0"), *((call, "disk1", "0") for call in
                                 ("bus-thaw", "thaw", "bus-cancel", "cancel"))],
        "stop", "bus-thaw", "thaw", "bus-cancel", "cancel")
    guest.do(f"echo 1 >{CONTROL}/release")
    devices.await_call("shutdown", "first1")
    guest.send(f"echo 1 >{CONTROL}/release")
    run.equal("kernels that came up", guest.wait_boot().number, 2)
    log = guest.console(1)
    run.contains("console of kernel A", log, "liveupdate_test_bus: disk1 shutdown\n")
    run.lacks("console of kernel A", log, "liveupdate_test_bus: nic1 shutdown")
    devices.load("b", "add first1;add disk1;add second1;add nic1")
    for name in ("nic1", "disk1"):
        run.contains("console of kernel B", guest.console(2),
                     f"{name}: liveupdate: quarantined: it went missing before the kexec")
    run.equal("what was received", devices.received(), {})
    run.finish(guest)
    devices.in_turn()


@scenario("dev-scale")
def dev_scale(run):
    """A thousand devices are requested, handed over, and taken over."""
    count = 1000
    guest, devices = boot_with(run, f"bulk {count} blob=1;add lone1")
    guest.do(f"for d in {DEVICES}/bulk-*; do echo 1 > $d/liveupdate/requested; done",
             timeout=60)
    check_counts(run, devices, requested=count)
    run.prepare(guest)
    check_counts(run, devices, requested=count, preserved=count)
    run.equal("rehearse", guest.set("rehearse", 1), "")
    run.load(guest)
    run.jump(guest)
    check_counts(run, devices, unreclaimed=count)
    devices.load("b", f"bulk {count} blob=1;add lone1")
    check_counts(run, devices, preserved=count, reclaimed=count)
    names = devices.listed("reclaimed")
    run.equal("names of the reclaimed", sorted(names.items()), [
        (f"bulk-{number:05}", f"bulk-{number:05}") for number in range(1, count + 1)])
    run.finish(guest)
    check_counts(run, devices)
    run.lacks("console of kernel B", guest.console(2), "quarantine")
    devices.in_turn()
