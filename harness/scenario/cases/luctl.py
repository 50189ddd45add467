# SPDX-License-Identifier: GPL-2.0
"""luctl in a guest: a whole update, what it refuses, and what it takes back."""

import contextlib
import json
import os
import re
import tempfile
import time

from ...build.kernel import KERNELS
from ...guest import timeline as tl
from ...guest.control import TEST, host_path
from ...guest.timeline import read_timeline
from ..api import release_of, scenario
from ..luctl import (FAILED, INTERRUPTED, LOSS, NO_GO, OK, POLICY, STATE, TIMEOUT, UNREADABLE,
                     check_untouched, luctl, status_of, update)
from ..subsystems import TEST_ORDER, check_calls, check_received, hand_over_data
from ..test_bus import boot_with, request


@scenario("luctl-update", smp=2, debug=True)
def luctl_update(run):
    """luctl alone makes an update from one kernel to the next: status, check,
    update, finish, and a timeline that fits the clock of the host."""
    guest = run.boot("a")
    before = status_of(run, guest)
    run.equal("state", before["state"], "normal")
    levels = ["workload", "devices", "irq", "iommu", "memory"]
    run.equal("subsystems, by level and name", [p["name"] for p in before["subsystems"]],
              [name for _, name in sorted((levels.index(fields[2]), name) for name, fields
                                          in guest.subsystems().items())])
    hand_over_data(guest)
    run.step("luctl update")
    start = time.monotonic()
    boot = guest.jump(command=f"luctl {update(run)}")
    seconds = time.monotonic() - start
    run.equal("release after the kexec", boot.release, release_of(run.image("b")))
    run.equal("state", status_of(run, guest)["state"], "updated")
    run.nothing_failed(guest)
    check_received(run, guest)
    luctl(run, guest, "finish")
    run.state(guest, "normal")
    check_calls(run, guest, "finish", TEST_ORDER)

    model = json.loads(luctl(run, guest, "timeline --json"))
    last = model["updates"][-1]
    run.equal("kernels of the timeline", (last["old"], last["new"]),
              (release_of(run.image("a")), boot.release))
    run.equal("outcome", last["outcome"], "complete")
    run.check("the blackout is shorter than luctl update and the boot",
              0 < last["gap_ns"] < last["blackout_ns"] < seconds * 1.05e9,
              f"{last['blackout_ns'] / 1e9:.2f} s, host: {seconds:.2f} s")
    run.equal("rehearsals", [step["transition"] for step in last["transitions"]].count("thaw"), 1)
    header, records = read_timeline(guest)
    frozen = [r for r in records if r.kind == tl.STEP and r.step == tl.FREEZE][-1]
    shown = [step for step in last["transitions"] if step["transition"] == "freeze"][-1]
    # The kernel may have measured the counter anew between the two readings.
    run.check("the freeze that it shows is the one that was recorded",
              abs(shown["duration_ns"] * header.frequency / 1e9 /
                  (frozen.end - frozen.start) - 1) < 0.005,
              f"{shown}, {frozen}, {header.frequency} Hz")
    run.contains("luctl timeline", luctl(run, guest, "timeline"), boot.release)
    luctl(run, guest, "timeline --svg /tmp/timeline.svg")
    run.contains("the picture", guest.read("/tmp/timeline.svg"), "</svg>")


@scenario("luctl-images", smp=2)
def luctl_images(run):
    """luctl check reads the same from vmlinux and from bzImage, lets the series'
    kernels pass, and neither the unpatched base nor what cannot be loaded."""
    guest = run.boot("a")
    spec = KERNELS[run.kernel("b")]
    reports = []
    for path, status in ((run.image("b"), OK), (spec.objects / "vmlinux", NO_GO)):
        report = json.loads(luctl(run, guest, f"check --json {host_path(path)}", status))
        run.equal(f"findings on {path.name}", [f["thing"] for f in report["findings"]],
                  ["image"] if status else [])
        reports.append(report)
    run.equal("subsystems of bzImage and vmlinux", reports[0]["subsystems"],
              reports[1]["subsystems"])
    ours = {p["name"]: p for p in reports[0]["subsystems"]}
    for name, (version, oldest, level, kind, _) in guest.subsystems().items():
        run.equal(f"note of {name}",
                  tuple(ours[name][key]
                        for key in ("version", "oldest", "level", "mandatory")),
                  (version, oldest, level, kind == "mandatory"))
    report = json.loads(luctl(run, guest, f"check --json {host_path(run.image('base'))}",
                              NO_GO))
    run.equal("verdict on the unpatched base", report["verdict"], "no-go")
    luctl(run, guest, "check /bin/busybox", UNREADABLE)
    luctl(run, guest, "check /nothing", UNREADABLE)
    run.state(guest, "normal")


@contextlib.contextmanager
def _altered(run, changes):
    """vmlinux of kernel b with bytes replaced, where the guest sees it."""
    data = (KERNELS[run.kernel("b")].objects / "vmlinux").read_bytes()
    for old, new in changes.items():
        run.check(f"vmlinux has {old!r}", len(old) == len(new) and old in data)
        data = data.replace(old, new)
    with tempfile.NamedTemporaryFile(dir=run.folder, prefix="vmlinux-") as image:
        os.chmod(image.name, 0o644)
        image.write(data)
        image.flush()
        yield host_path(image.name)


NO_NOTES = {b"LIVEUPDATE\0\0": b"SOMEBODYEL\0\0"}
NO_KHO = {b"kho-v": b"xxx-v", **NO_NOTES}
OTHER_KHO = {b"kho-v4": b"kho-v9"}


@scenario("luctl-refused", smp=2, limit=200)
def luctl_refused(run):
    """luctl update refuses, and does nothing, when the next kernel has no Kexec
    HandOver, another version of it, no notes, or cannot read what a mandatory
    subsystem hands over; in another state; with services, or a wrong command
    line. What an optional subsystem loses has to be accepted."""
    guest = run.boot("a", extra="liveupdate_test.config=\"test-devices version=2\"")
    for what, changes, word in (
            ("without KHO", NO_KHO, "no Kexec HandOver"),
            ("with another KHO", OTHER_KHO, "kho-v9"),
            ("without notes", NO_NOTES, "CONFIG_LIVEUPDATE_SUBSYSTEMS"),
            ("that reads version 1", {}, "test-devices")):
        run.step(f"a next kernel {what}")
        with _altered(run, changes) as image:
            out = luctl(run, guest, f"check {image}", NO_GO)
            run.contains(f"luctl check of a kernel {what}", out, word)
            luctl(run, guest, update(run, image=image), NO_GO)
        check_untouched(run, guest)
    guest.vm.close()

    guest = run.boot("a", extra="liveupdate_test.config=\"test-irq version=2\"")
    command = update(run)
    run.step("go with loss")
    out = luctl(run, guest, f"check {host_path(run.image('b'))}", LOSS)
    run.contains("luctl check", out, "test-irq")
    luctl(run, guest, command, LOSS)
    check_untouched(run, guest)

    run.step("process 1 is a service manager")
    out = luctl(run, guest, command.replace("--now", "--allow-loss"), POLICY)
    run.contains("luctl update", out, "--now")
    luctl(run, guest, command.replace("kho=on", "kho=off") + " --allow-loss", NO_GO)
    check_untouched(run, guest)

    run.step("another state")
    luctl(run, guest, "finish", STATE)
    luctl(run, guest, "cancel", STATE)
    luctl(run, guest, "rehearse", STATE)
    luctl(run, guest, "prepare")
    luctl(run, guest, "prepare", STATE)
    out = luctl(run, guest, command + " --allow-loss", STATE)
    run.contains("luctl update", out, "luctl cancel")
    run.state(guest, "prepared")
    luctl(run, guest, "cancel")

    run.step("the loss is accepted")
    boot = guest.jump(command=f"luctl {command} --allow-loss")
    run.equal("kernels", boot.number, 2)
    run.last_failed(guest, "restore", "test-irq", -93)
    status = status_of(run, guest)
    run.equal("what failed", status["last_failure"]["subsystem"], "test-irq")
    run.equal("state after finish", luctl(run, guest, "finish --json") and guest.state(),
              "normal")


@scenario("luctl-undone", smp=2, limit=200, expect=(r"Call Trace:",))
def luctl_undone(run):
    """A failure and a deadline in each phase of luctl update are undone: normal, no
    image, every subsystem as before, and the same command then works."""
    guest = run.boot("a")
    command = update(run)
    undone = {"prepare", "cancel"}
    frozen = undone | {"freeze", "thaw"}
    cases = (
        ("test-irq fail=prepare,errno=12", "", FAILED, undone, ("prepare", "test-irq", -12)),
        ("test-irq fail=freeze,errno=5", "", FAILED, frozen, ("freeze", "test-irq", -5)),
        ("test-irq fail=freeze,errno=5", "--no-rehearse", FAILED, frozen,
         ("freeze", "test-irq", -5)),
        ("test-irq slow=prepare,ms=800", "--timeout 300", TIMEOUT, undone,
         ("prepare", "test-irq", -110)),
        ("test-irq slow=freeze,ms=800", "--freeze-timeout 300", TIMEOUT, frozen,
         ("freeze", "test-irq", -110)),
        ("test-irq slow=freeze,ms=800", "--freeze-timeout 300 --no-rehearse", TIMEOUT, frozen,
         ("freeze", "test-irq", -110)),
    )
    for config, options, status, called, failed in cases:
        guest.configure(f"clear;{config}")
        run.step(f"{config} {options}")
        out = luctl(run, guest, f"{command} {options}", status)
        run.contains("luctl names the subsystem", out, "test-irq")
        check_untouched(run, guest, called)
        run.last_failed(guest, *failed)
        for step in ("prepare", "freeze"):
            run.equal("limit", guest.attribute(f"{step}_timeout_ms"), "0")
        for step, name, error in guest.calls():
            run.check(f"{step} of {name} ended as told",
                      error == "0" or (step, name) == failed[:2], error)

    run.step("an image that cannot be loaded")
    guest.configure("clear")
    invalid = run.folder / "invalid"
    data = bytearray(run.image("b").read_bytes())
    invalid.write_bytes(data[:len(data) // 2])
    result = guest.run(f"luctl {update(run, image=host_path(invalid))}")
    run.check("an image that was cut is refused", result.status in (UNREADABLE, NO_GO), result.out)
    check_untouched(run, guest)

    run.step("no such initramfs")
    luctl(run, guest, f"{command} --initrd /nothing", UNREADABLE)
    check_untouched(run, guest)

    run.step("a session whose freeze fails, in reboot(2)")
    guest.configure("clear")
    guest.do(f"guestctl session create vm 4 {TEST}/file")
    guest.configure("test-file fail=freeze,errno=28")
    luctl(run, guest, command, FAILED)
    check_untouched(run, guest, frozen | {"preserve"})
    run.equal("memory of the session", guest.do("guestctl session check vm"),
              f"ok {4 << 20} bytes")
    guest.configure("test-file fail=none")

    run.step("and now it works")
    boot = guest.jump(command=f"luctl {command}")
    run.equal("kernels", boot.number, 2)
    run.state(guest, "updated")
    run.equal("session", guest.do("guestctl session verify vm 4"), f"ok {4 << 20} bytes")
    luctl(run, guest, "finish")


@scenario("luctl-interrupted", smp=2)
def luctl_interrupted(run):
    """SIGINT while a subsystem is held: luctl says at once that it will undo, and
    does so when the kernel gives the answer."""
    guest = run.boot("a")
    for command, step in (("prepare", "prepare"), (update(run), "prepare"),
                          (update(run), "freeze")):
        guest.configure(f"clear;test-irq hold={step}")
        run.step(f"SIGINT during {step} of luctl {command.split()[0]}")
        job = guest.start(f"guestctl signals luctl {command}")
        guest.until_in(f"{step} test-irq")
        guest.do("kill -INT $(pidof luctl)")
        guest.until(f"grep -q 'SIGINT: will be undone' {job}", timeout=5)
        run.contains("the kernel is still at it", guest.attribute("transition"), step)
        guest.release()
        result = guest.finish(job)
        run.equal("exit status", result.status, INTERRUPTED)
        run.check("one line names it", re.search("undone", result.out), result.out)
        called = {"prepare", "cancel"} | ({"freeze", "thaw"} if step == "freeze" else set())
        check_untouched(run, guest, called)
    guest.configure("clear")
    run.prepare(guest)
    run.cancel(guest)


def steps_of(out):
    """The steps that luctl told a program, an error among them."""
    return [found.get("step", "error") for found in map(json.loads, out.splitlines())]


@scenario("luctl-no-jump", smp=2)
def luctl_no_jump(run):
    """Where a service manager makes the kexec: luctl update does all the rest, or undoes
    it, and tells a program of each step; cancel says that the image stays, or drops
    it; and an ordinary kexec then is the update. The command line may be quoted."""
    guest = run.boot("a")
    command = update(run, "--no-jump --append 'quoted=\"a b\"'").replace("kho=on", "kho=\"on\"")
    luctl(run, guest, command)
    run.state(guest, "prepared")
    run.equal("kexec_loaded", guest.read("/sys/kernel/kexec_loaded"), "1")
    run.contains("luctl cancel", luctl(run, guest, "cancel"), "stays loaded")
    run.state(guest, "normal")
    run.equal("kexec_loaded", guest.read("/sys/kernel/kexec_loaded"), "1")
    run.contains("luctl update", luctl(run, guest, command, STATE), "kexec -u")
    guest.do("kexec -u")

    run.step("a program is told of each step")
    run.equal("steps", steps_of(luctl(run, guest, f"{command} --json")),
              ["check", "load", "prepare", "rehearse", "ready"])
    run.lacks("luctl cancel --unload", luctl(run, guest, "cancel --unload"), "loaded")
    check_untouched(run, guest, {"prepare", "freeze", "thaw", "cancel"})
    guest.configure("clear;test-irq fail=freeze,errno=5")
    out = luctl(run, guest, f"{command} --json", FAILED)
    run.equal("steps", steps_of(out), ["check", "load", "prepare", "error", "cancel",
                                       "unload"])
    error = json.loads(out.splitlines()[3])["error"]
    run.equal("error", (error["kind"], error["thing"], error["errno"]),
              ("refused", "test-irq", "EIO"))
    check_untouched(run, guest, {"prepare", "freeze", "thaw", "cancel"})
    guest.configure("clear")

    run.step("somebody else makes the kexec")
    hand_over_data(guest)
    luctl(run, guest, command)
    guest.jump()
    run.state(guest, "updated")
    check_received(run, guest)
    for word in ("kho=\"on\"", "quoted=\"a b\""):
        run.contains("command line", guest.read("/proc/cmdline"), word)
    luctl(run, guest, "finish")


@scenario("luctl-retained")
def luctl_retained(run):
    """What nobody could read is in the way of the next update: luctl names it, in prepare,
    update and status, until it is given up."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest, extra='liveupdate_test.config="test-iommu active=0"')
    run.jump(guest)
    luctl(run, guest, "finish")
    for command in ("prepare", update(run)):
        out = luctl(run, guest, command, FAILED)
        run.contains(f"luctl {command.split()[0]}", out,
                     "test-iommu: retained, because nobody has restored it; prepare failed "
                     "with EBUSY")
        run.contains("advice", out, "retained/test-iommu/forget")
        run.state(guest, "normal")
    found = status_of(run, guest)["retained"]
    run.equal("retained", [cause["id"] for cause in found], ["test-iommu"])
    run.contains("luctl status", luctl(run, guest, "status"), "nobody has restored it")
    run.forget(guest, "test-iommu")
    run.equal("retained", status_of(run, guest)["retained"], [])
    guest.jump(command=f"luctl {update(run)}")
    run.state(guest, "updated")


@scenario("luctl-finish")
def luctl_finish(run):
    """luctl finish refuses while a device is unreclaimed, and leaves it as it is until
    its driver comes, or until it is given up, and while a session is not retrieved. So
    does the kernel, which names the first that waits. status shows devices and sessions on the way."""
    config = "add nic1 driver=other;add port1"
    guest, devices = boot_with(run, config, "nic1", "port1")
    guest.do("guestctl session create vm 4")

    def shown(run, guest):
        found = status_of(run, guest)
        return ({d["identity"]: d["is"] for d in found["devices"]},
                [s["name"] for s in found["sessions"]])
    run.equal("devices and sessions", shown(run, guest),
              ({"nic1": "requested", "port1": "requested"}, ["vm"]))
    guest.jump(command=f"luctl {update(run)}")
    devices.load("b", config.replace("driver=other", "driver=other+plain"),
                 drivers="one,plain")
    run.equal("devices and sessions", shown(run, guest),
              ({"nic1": "unreclaimed", "port1": "reclaimed"}, []))
    out = luctl(run, guest, "finish", POLICY)
    run.contains("luctl finish", out, "nic1")
    run.lacks("luctl finish", out, "port1")
    run.state(guest, "updated")
    run.equal("nothing is stopped", devices.calls("quarantine"), [])
    run.equal("finish=1", guest.set("finish", 1), "EBUSY")
    run.last_failed(guest, "finish", "sessions", -16)

    run.step("the driver comes")
    devices.tell("register other")
    guest.until("[ $(cat /sys/kernel/liveupdate/devices/nr_unreclaimed) = 0 ]", timeout=15)
    run.contains("luctl finish", luctl(run, guest, "finish", POLICY), "vm: it is not retrieved")
    run.state(guest, "updated")
    run.equal("the session", guest.do("guestctl session verify vm 4"), f"ok {4 << 20} bytes")
    run.equal("given up", json.loads(luctl(run, guest, "finish --json"))["given_up"], [])
    run.state(guest, "normal")

    run.step("the driver does not come")
    request(run, devices, "nic1", "port1")
    guest.jump(command=f"luctl {update(run)}")
    devices.load("b", config.replace("driver=other", "driver=other+plain"),
                 drivers="one,plain")
    luctl(run, guest, "finish", POLICY)
    run.equal("finish=1", guest.set("finish", 1), "EBUSY")
    failure = guest.last_failure()
    run.equal("what waits", (failure["subsystem"], failure["device"].split(":", 1)[1],
                             failure["reason"]), ("devices", "nic1", "it waits for its driver"))
    given_up = json.loads(luctl(run, guest, "finish --give-up --json"))["given_up"]
    run.equal("given up", [d["identity"] for d in given_up], ["nic1"])
    run.state(guest, "normal")
    run.equal("what is stopped", devices.calls("quarantine"), [("quarantine", "nic1", "0")])


@scenario("luctl-blame")
def luctl_blame(run):
    """A subsystem is blamed for its own EBUSY, as often as it has one, and not for
    that of a request which the kernel refuses; status tells whose attempt failed."""
    guest = run.boot("a")
    guest.configure("test-irq fail=prepare,errno=16")
    for _ in range(2):
        out = luctl(run, guest, "prepare", FAILED)
        run.contains("luctl prepare", out, "test-irq: prepare failed with EBUSY")
    run.equal("attempt", status_of(run, guest)["last_failure"]["attempt"], "last")

    run.step("a request that is refused")
    guest.configure("clear")
    luctl(run, guest, "prepare")
    run.equal("attempt", status_of(run, guest)["last_failure"]["attempt"], "earlier")
    out = luctl(run, guest, "prepare", STATE)
    run.lacks("luctl prepare", out, "test-irq")
    run.last_failed(guest, "prepare", "test-irq", -16)
    luctl(run, guest, "cancel")


@scenario("luctl-reuse", limit=200)
def luctl_reuse(run):
    """A command line that is used again: three updates in a row, in which it neither
    grows nor loses a word or a quote, also with words that are added each time; luctl
    check judges the same one."""
    guest = run.boot("a", extra="kho=\"on\" quoted=\"a  b\" \"x y=z\" twice twice")
    first = guest.read("/proc/cmdline")
    image = host_path(run.image("b"))
    command = f"{image} --initrd /host/guest/initrd --reuse-cmdline"

    def again(more=""):
        luctl(run, guest, f"check {command} {more}")
        guest.jump(command=f"luctl update {command} {more} --now")
        run.state(guest, "updated")
        luctl(run, guest, "finish")
        return guest.read("/proc/cmdline")
    run.step("as it is")
    for _ in range(3):
        run.equal("command line", again(), first)

    run.step("with words that are added")
    added = "--append 'added=\"c d\" quoted=\"a  b\" -- e'"
    line = again(added)
    for word in ("added=\"c d\"", "quoted=\"a  b\"", "\"x y=z\"", "twice twice"):
        run.equal(f"{word} in {line}", line.count(word), 1)
    run.contains("command line", line, "quoted=\"a  b\" -- e")
    for _ in range(2):
        run.equal("command line", again(added), line)

    run.step("a word that kills, and one that switches it off")
    for word, why in (("mem=64M", "cuts off"), ("liveupdate=off", "without liveupdate=on")):
        for what in ("check", "update --now"):
            run.contains(f"luctl {what}", luctl(
                run, guest, f"{what} {command} --append {word}", NO_GO), why)
    run.equal("kexec_loaded", guest.read("/sys/kernel/kexec_loaded"), "0")
