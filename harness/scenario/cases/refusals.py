# SPDX-License-Identifier: GPL-2.0
"""Updates that must not happen, and the way back from them."""

from ...build.initrd import GUEST_INITRD
from ...guest.control import LIVEUPDATE, TEST, host_path
from ...guest.pci import Machine
from ..api import release_of, scenario
from ..subsystems import TEST_ORDER, check_calls, check_received, hand_over_data


@scenario("prepare-failure")
def prepare_failure(run):
    """Each subsystem's prepare fails in turn: those before it are cancelled in
    reverse, those after it never hear of it, and the machine is normal."""
    guest = run.boot("a")
    for number, name in enumerate(TEST_ORDER):
        run.step(f"prepare fails at {name}")
        guest.configure(f"clear;{name} fail=prepare,errno={number + 5}")
        run.check("prepare fails", guest.set("prepare", 1) != "")
        run.state(guest, "normal")
        run.last_failed(guest, "prepare", name, -number - 5)
        before = TEST_ORDER[:number]
        run.equal("calls", guest.calls(),
                  [("prepare", other, "0") for other in before] +
                  [("prepare", name, str(-number - 5))] +
                  [("cancel", other, "0") for other in before[::-1]])
    guest.configure("clear")
    run.prepare(guest)
    run.cancel(guest)


def _jump_fails(run, guest, error, subsystem, code):
    """A kexec that @subsystem fails: prepared as before. Returns what was called."""
    before = len(guest.calls())
    run.step("jump that fails")
    run.equal("reboot(2)", guest.refused_jump(), error)
    run.state(guest, "prepared")
    run.last_failed(guest, "freeze", subsystem, code)
    return guest.calls()[before:]


@scenario("freeze-failure", debug=True, smp=2)
def freeze_failure(run):
    """A subsystem whose freeze fails: reboot(2) returns its errno, the others
    are thawed, sessions stay usable, and a second attempt succeeds."""
    guest = run.boot("a")
    guest.do("guestctl session create vm 8")
    hand_over_data(guest)
    guest.configure("test-iommu fail=freeze,errno=16")
    run.prepare(guest)
    run.load(guest)
    calls = _jump_fails(run, guest, "EBUSY", "test-iommu", -16)
    run.equal("freeze calls", [c[1:] for c in calls if c[0] == "freeze"],
              [("test-workload", "0"), ("test-devices", "0"), ("test-irq", "0"),
               ("test-iommu", "-16")])
    check_calls(run, guest, "thaw", ("test-irq", "test-devices", "test-workload"), calls)
    run.equal("memory of the session", guest.do("guestctl session check vm"),
              f"ok {8 << 20} bytes")
    run.equal("the session takes another file", guest.do("guestctl session add vm 2"), "ok")

    guest.configure("test-iommu fail=none")
    run.jump(guest)
    check_received(run, guest)
    run.equal("session after the second attempt",
              guest.do("guestctl session verify vm 8 2"), f"ok {8 << 20} bytes")
    run.finish(guest)


@scenario("session-freeze-failure", debug=True)
def session_freeze_failure(run):
    """A file of a session whose freeze fails, before any subsystem is frozen: state and
    sessions are as before, and a second attempt succeeds."""
    guest = run.boot("a")
    guest.do(f"guestctl session create vm 8 {TEST}/file")
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest)
    guest.configure("test-file fail=freeze,errno=28")
    calls = _jump_fails(run, guest, "ENOSPC", "sessions", -28)
    run.equal("calls", calls, [("freeze", "test-file", "-28")])
    run.equal("memory of the session", guest.do("guestctl session check vm"),
              f"ok {8 << 20} bytes")
    run.equal("the session takes another file", guest.do("guestctl session add vm 9"), "ok")
    guest.do("guestctl session create other 1")

    guest.configure("test-file fail=none")
    run.jump(guest)
    check_received(run, guest)
    run.equal("session after the second attempt",
              guest.do("guestctl session verify vm 8 9"), f"ok {8 << 20} bytes")
    run.equal("session made in between", guest.do("guestctl session verify other 1"),
              f"ok {1 << 20} bytes")
    run.finish(guest)


@scenario("session-order", debug=True)
def session_order(run):
    """Files of sessions are frozen before the first subsystem, and thawed after the last
    one when a subsystem fails. The session works then, and so does a second attempt."""
    guest = run.boot("a")
    guest.do(f"guestctl session create vm 8 {TEST}/file")
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest)
    guest.configure("test-memory fail=freeze,errno=5")
    calls = _jump_fails(run, guest, "EIO", "test-memory", -5)
    others = [name for name in TEST_ORDER if name != "test-memory"]
    run.equal("calls", [call[:2] for call in calls],
              [("freeze", name) for name in ("test-file", *TEST_ORDER)] +
              [("thaw", name) for name in others[::-1]] + [("unfreeze", "test-file")])
    run.equal("the session takes another file", guest.do("guestctl session add vm 9"), "ok")
    guest.configure("test-memory fail=none")
    run.jump(guest)
    check_received(run, guest)
    run.equal("session", guest.do("guestctl session verify vm 8 9"), f"ok {8 << 20} bytes")
    run.finish(guest)


@scenario("session-busy", smp=2)
def session_busy(run):
    """A session is being changed for longer than a freeze may take: reboot(2) waits for it
    in front of everything else, says so, gives up in time, and nothing was frozen."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest)
    run.equal("freeze_timeout_ms", guest.set("freeze_timeout_ms", 2000), "")
    guest.configure("test-file hold=preserve")
    before = len(guest.calls())
    change = guest.start(f"guestctl session create vm 8 {TEST}/file")
    guest.await_call("preserve", "test-file")
    jump = guest.start("guestctl reboot kexec")
    guest.until_in("freeze sessions")
    run.contains("reboot(2)", guest.finish(jump).out, "ETIMEDOUT")
    run.state(guest, "prepared")
    run.last_failed(guest, "freeze", "sessions", -110)
    run.equal("calls", guest.calls()[before:], [("preserve", "test-file", "0")])
    guest.release()
    run.equal("the session", guest.finish(change).status, 0)
    run.equal("freeze_timeout_ms", guest.set("freeze_timeout_ms", 0), "")
    run.jump(guest)
    check_received(run, guest)
    run.equal("session", guest.do("guestctl session verify vm 8"), f"ok {8 << 20} bytes")
    run.finish(guest)


def _check_refused(run, guest):
    """The loaded image is refused in prepared, and no subsystem noticed."""
    before = len(guest.calls())
    run.equal("reboot(2)", guest.refused_jump(), "EINVAL")
    run.state(guest, "prepared")
    run.equal("callbacks of the refused jump", guest.calls()[before:], [])


@scenario("kexec-load-refused")
def kexec_load_refused(run):
    """An image from kexec_load(2), or none at all, cannot receive state: -EINVAL
    in prepared, nothing frozen; the right image is taken afterwards."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    run.step("jump without an image")
    _check_refused(run, guest)
    run.step("jump into an image of kexec_load(2)")
    guest.do(f"kexec -c -l {host_path(run.image('b'))} --initrd=/host/guest/initrd "
             f"--command-line='{run.append()}'", timeout=60)
    _check_refused(run, guest)
    guest.do("guestctl kexec-unload")
    run.load(guest)
    run.jump(guest)
    check_received(run, guest)
    run.finish(guest)


@scenario("kexec-jump-refused")
def kexec_jump_refused(run):
    """An image that would jump back (KEXEC_JUMP) is refused in prepared and in
    updated, and nothing is frozen."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    guest.do("guestctl kexec-load-jump")
    _check_refused(run, guest)
    guest.do("guestctl kexec-unload")
    run.load(guest)
    run.jump(guest)
    guest.do("guestctl kexec-load-jump")
    run.equal("reboot(2) in updated", guest.refused_jump(), "EINVAL")
    run.state(guest, "updated")
    run.finish(guest)


def _leave_prepared(run, how):
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    run.step(how)
    guest.send(f"guestctl reboot {how}")
    return guest


@scenario("poweroff-from-prepared")
def poweroff_from_prepared(run):
    """Power off in prepared is an ordinary power off."""
    guest = _leave_prepared(run, "poweroff")
    run.equal("reason of the end", guest.vm.shutdown_reason(30), "guest-shutdown")
    run.said(guest, "reboot: Power down")


@scenario("reboot-from-prepared")
def reboot_from_prepared(run):
    """A plain reboot in prepared is an ordinary reset."""
    guest = _leave_prepared(run, "restart")
    run.equal("reason of the end", guest.vm.shutdown_reason(30), "guest-reset")
    run.said(guest, "reboot: machine restart")


@scenario("halt-from-prepared")
def halt_from_prepared(run):
    """Halt in prepared is an ordinary halt."""
    guest = _leave_prepared(run, "halt")
    guest.vm.wait_serial("reboot: System halted", 30)
    run.check("the machine stands still", guest.vm.alive())


@scenario("panic-from-prepared",
          expect=(r"Kernel panic - not syncing: sysrq triggered crash", r"Call Trace:"))
def panic_from_prepared(run):
    """A panic in prepared is an ordinary panic."""
    guest = run.boot("a")
    run.prepare(guest)
    run.step("crash")
    guest.send("echo c > /proc/sysrq-trigger")
    run.equal("reason of the end", guest.vm.shutdown_reason(30), "guest-reset")
    run.said(guest, "sysrq triggered crash")


@scenario("kdump-from-prepared", memory="2G", expect=(
    r"Kernel panic - not syncing: sysrq triggered crash", r"Call Trace:"))
def kdump_from_prepared(run):
    """A crash kernel loaded in prepared still takes over, and is not updated."""
    # KHO makes its scratch area as large as all that is reserved, unless told.
    guest = run.boot("a", extra="crashkernel=192M kho_scratch=16M,64M,192M")
    hand_over_data(guest)
    run.prepare(guest)
    guest.do(f"kexec -s -p {host_path(run.image('b'))} --initrd=/host/guest/initrd "
             f"--command-line='{run.append('maxcpus=1')}'", timeout=60)
    boot = guest.jump(command="echo c > /proc/sysrq-trigger")
    run.equal("crash kernel", (boot.number, boot.release), (2, release_of(run.image("b"))))
    run.check("the crash kernel sees the old memory", guest.exists("/proc/vmcore"))
    run.check("the crash kernel is not updated", guest.state() in ("none", "normal"),
              guest.state())


@scenario("kexec-without-finish")
def kexec_without_finish(run):
    """A plain kexec in updated is an ordinary one: the third kernel is normal and
    was handed nothing."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.update(guest)
    run.load(guest, "a")
    run.jump(guest, "a", state="normal")
    run.equal("data received", guest.received(), {})
    run.prepare(guest)
    run.cancel(guest)


@scenario("suspend-refused", limit=200)
def suspend_refused(run):
    """Suspend and hibernation, to a disk and back, work in normal and are refused in
    prepared and in updated, before anything is written to the disk."""
    swap = run.folder / "swap"
    with open(swap, "wb") as file:
        file.truncate(1 << 30)
    guest = run.boot("a", devices=Machine().disk("swap0", swap).arguments())
    # The driver of the folder that is shared with the host does not know hibernation.
    guest.do(f"mkswap /dev/vda; cp {host_path(run.image('b'))} /run/next; "
             f"cp {GUEST_INITRD} /run/initrd")

    def written():
        guest.do("sync")
        return swap.stat().st_blocks * 512

    def sleep(kind):
        """Suspend goes as far as the freezing of processes: nothing would wake it up."""
        test = "freezer" if kind == "freeze" else "none"
        guest.do(f"echo {test} > /sys/power/pm_test")
        return guest.write("/sys/power/state", kind, timeout=90)

    def allow(where):
        """The image is written, read again, and what it holds is run."""
        run.step(f"sleep in {where}")
        guest.do("swapon /dev/vda; echo test_resume > /sys/power/disk")
        run.equal(f"suspend in {where}", sleep("freeze"), "")
        with open(swap, "r+b") as file:
            file.truncate(4096)                 # keeps what mkswap wrote
            file.truncate(1 << 30)
        run.equal(f"hibernation in {where}", sleep("disk"), "")
        run.check(f"an image was written in {where}", written() > 4 << 20,
                  f"{written()} bytes")

    def refuse(where):
        before = written()
        for kind in ("freeze", "disk"):
            run.equal(f"{kind} in {where}", sleep(kind), "EBUSY")
        run.state(guest, where)
        run.equal(f"bytes written in {where}", written() - before, 0)

    run.contains("kinds of sleep", guest.read("/sys/power/state"), "freeze")
    allow("normal")
    run.prepare(guest)
    refuse("prepared")
    run.said(guest, "refusing to sleep during a live update")
    guest.do(f"guestctl kexec-load /run/next /run/initrd '{run.append()}'", timeout=60)
    run.jump(guest)
    guest.do("swapon /dev/vda; echo test_resume > /sys/power/disk")
    refuse("updated")
    run.finish(guest)
    guest.do("swapoff /dev/vda; mkswap /dev/vda")
    allow("normal again")


@scenario("timeout-prepare", smp=2, expect=(r"Call Trace:",))
def timeout_prepare(run):
    """A subsystem that takes too long is named with its stack while it is late;
    when it returns, the prepare is undone with -ETIMEDOUT."""
    guest = run.boot("a")
    guest.configure("test-irq hold=prepare")
    run.equal("prepare_timeout_ms", guest.set("prepare_timeout_ms", 500), "")
    run.equal("prepare_timeout_ms reads back", guest.attribute("prepare_timeout_ms"), "500")
    run.step("prepare that takes too long")
    job = guest.start(f"guestctl write {LIVEUPDATE}/prepare 1")
    guest.until_in("prepare test-irq")
    run.equal("state meanwhile", guest.state(), "normal")
    for name, value in (("prepare", 1), ("prepare", 0), ("finish", 1), ("rehearse", 1)):
        run.equal(f"{name}={value} meanwhile", guest.set(name, value), "EBUSY")
    guest.await_late("test-irq: prepare")
    guest.release()
    run.contains("prepare", guest.finish(job).out, "ETIMEDOUT")
    run.state(guest, "normal")
    run.last_failed(guest, "prepare", "test-irq", -110)
    check_calls(run, guest, "cancel", ("test-irq", "test-devices", "test-workload"))
    run.said(guest, "test-irq", "the log names the subsystem")
    run.said(guest, "Call Trace:", "the log has the stack")

    guest.configure("test-irq hold=none")
    run.prepare(guest)
    run.cancel(guest)


@scenario("timeout-freeze", smp=2, expect=(r"Call Trace:",))
def timeout_freeze(run):
    """The same for freeze: reboot(2) returns -ETIMEDOUT, the machine is prepared,
    and the next attempt works."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest)
    guest.configure("test-devices hold=freeze")
    run.equal("freeze_timeout_ms", guest.set("freeze_timeout_ms", 500), "")
    run.equal("prepare_timeout_ms is another one", guest.attribute("prepare_timeout_ms"), "0")
    run.step("jump that takes too long")
    job = guest.start("guestctl reboot kexec")
    guest.await_late("test-devices: freeze")
    guest.release()
    run.contains("reboot(2)", guest.finish(job).out, "ETIMEDOUT")
    run.state(guest, "prepared")
    run.last_failed(guest, "freeze", "test-devices", -110)
    run.said(guest, "Call Trace:", "the log has the stack")
    check_calls(run, guest, "thaw", ("test-devices", "test-workload"))
    guest.configure("test-devices hold=none")
    run.equal("no limit", guest.set("freeze_timeout_ms", 0), "")
    run.jump(guest)
    check_received(run, guest)
    run.finish(guest)


@scenario("reboot-during-prepare", smp=2)
def reboot_during_prepare(run):
    """reboot(2) for kexec while a prepare runs is -EBUSY at once; the prepare goes
    on as if nothing had been."""
    guest = run.boot("a")
    run.load(guest)
    guest.configure("test-memory hold=prepare")
    job = guest.start(f"guestctl write {LIVEUPDATE}/prepare 1")
    guest.until_in("prepare test-memory")
    run.equal("reboot(2)", guest.refused_jump(), "EBUSY")
    run.equal("transition", guest.attribute("transition"), "prepare test-memory")
    guest.release()
    run.contains("prepare", guest.finish(job).out, "ok")
    run.state(guest, "prepared")
    run.jump(guest)
    run.finish(guest)


@scenario("race-of-writers", smp=2)
def race_of_writers(run):
    """Of many writers at the same moment exactly one wins, the others get -EBUSY,
    and every callback runs once."""
    guest = run.boot("a")

    def race(name, values, step):
        """The one that wins is held until the others have lost."""
        guest.configure(f"test-irq hold={step}")
        job = guest.start(f"guestctl race 8 {LIVEUPDATE}/{name} {values}")
        guest.await_call(step, "test-irq")
        guest.until("[ $(ps -o args | grep -c '^guestctl race') = 2 ]")
        guest.configure("test-irq hold=none")
        guest.release()
        out = guest.finish(job).out
        results = sorted(line.split()[1] for line in out.splitlines())
        run.equal(f"eight writers of {values} to {name}", results, ["EBUSY"] * 7 + ["ok"])

    for _ in range(3):
        guest.configure("clear")
        race("prepare", "1", "prepare")
        run.state(guest, "prepared")
        check_calls(run, guest, "prepare", TEST_ORDER)
        race("prepare", "0", "cancel")
        run.state(guest, "normal")
        check_calls(run, guest, "cancel", TEST_ORDER[::-1])
    guest.configure("clear")
    race("prepare", "1 0", "prepare")
    run.state(guest, "prepared")
    check_calls(run, guest, "prepare", TEST_ORDER)
    run.load(guest)
    run.jump(guest)
    race("finish", "1", "finish")
    run.state(guest, "normal")
    check_calls(run, guest, "finish", TEST_ORDER)
