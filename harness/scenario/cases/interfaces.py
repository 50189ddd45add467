# SPDX-License-Identifier: GPL-2.0
"""What subsystems can use beyond their callbacks, from one kernel to the next."""

from ...guest.control import TEST
from ..api import scenario
from ..corruption import HARM, jump_with
from ..subsystems import DATA, TEST_ORDER, hand_over_data

#: Errors of liveupdate_peek(): nothing there, its subsystem has it, restore failed, the
#: table cannot be used.
GONE, TAKEN, FAILED, UNKNOWN = "-2", "-114", "-131", "-74"


def peeked(guest):
    """Name -> (what the test subsystems saw early, what they see now)."""
    return {name: (early, now) for name, early, now in
            (line.split() for line in guest.read(f"{TEST}/peeked").splitlines())}


@scenario("peek-early")
def peek_early(run):
    """Before interrupts are set up, everybody sees what is restored at early_initcall only;
    afterwards that it was, or that it failed, until the operator gives it up. Fails if
    peek takes data over, if it does not work that early, or if a failed restore looks like
    data that nobody has asked for."""
    guest = run.boot("a")
    run.equal("without a previous kernel", peeked(guest),
              {name: (GONE, GONE) for name in TEST_ORDER})
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest, extra='liveupdate_test.config="test-iommu fail=restore;'
                          'test-irq version=9,oldest=9"')
    run.jump(guest)
    states = {**dict.fromkeys(TEST_ORDER, TAKEN), "test-iommu": FAILED,
              "test-irq": DATA["test-irq"]}
    run.equal("early and in updated", peeked(guest),
              {name: (DATA[name], states[name]) for name in TEST_ORDER})
    guest.configure("test-iommu fail=none")
    run.finish(guest)
    states = {**dict.fromkeys(TEST_ORDER, GONE), "test-iommu": FAILED}
    run.equal("after finish", {name: now for name, (_, now) in peeked(guest).items()}, states)
    run.forget(guest, "test-iommu")
    run.equal("after it is given up", peeked(guest)["test-iommu"][1], GONE)


@scenario("peek-off")
def peek_off(run):
    """Where live update is switched off, what the previous kernel left is seen, too."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest, enabled="kho=on liveupdate=off")
    run.jump(guest, state="none")
    text = guest.console(2)
    for name in TEST_ORDER:
        run.contains("console", text, f"liveupdate_test: {name}: peeked {DATA[name]}")


@scenario("peek-corrupted", **HARM)
def peek_corrupted(run):
    """A table that cannot be used says nothing about anybody, and looks like no empty one."""
    guest = jump_with(run, lambda _, handover: handover.flip(
        handover.record("test-irq").address + 48))
    run.state(guest, "normal")
    run.equal("early and now", peeked(guest),
              {name: (UNKNOWN, UNKNOWN) for name in TEST_ORDER})
    run.forget(guest, "liveupdate:table")
    run.equal("after it is given up", {now for _, now in peeked(guest).values()}, {GONE})


# -- instances ----------------------------------------------------------------

WORKLOAD, IOMMU = "test-workload", "test-iommu"


def command(guest, text):
    """A command of the file "instances"; "" or the errno's name."""
    return guest.write(f"{TEST}/instances", text)


def add(run, guest, *instances):
    """Adds instances (name, key, class, text)."""
    for instance in instances:
        words = " ".join(str(word) for word in instance)
        run.equal(f"add {words}", command(guest, f"add {words}"), "")


def found(guest):
    """What was handed over and is not claimed, as (name, key, class, text or error)."""
    return [(name, int(key), kind, text) for name, key, kind, text in
            (line.split() for line in guest.read(f"{TEST}/instances").splitlines())]


@scenario("instances")
def instances(run):
    """Instances that come and go while the machine is prepared: those that are there in the
    end are found in the next kernel, are claimed one by one, and an optional one that nobody
    claims is freed. Fails if one is missing, or one that was dropped is there."""
    guest = run.boot("a")
    run.equal("add in normal", command(guest, f"add {WORKLOAD} 1 optional early"), "ENODEV")
    run.prepare(guest)
    add(run, guest, (WORKLOAD, 1, "optional", "first"), (WORKLOAD, 2, "mandatory", "second"),
        (IOMMU, 1, "mandatory", "domain"), (WORKLOAD, 18446744073709551615, "optional", "last"))
    run.equal("the same key", command(guest, f"add {WORKLOAD} 1 mandatory x"), "EEXIST")
    run.equal("drop", command(guest, f"drop {WORKLOAD} 1"), "")
    run.equal("rehearse", guest.set("rehearse", 1), "")
    run.cancel(guest)
    run.equal("add after cancel", command(guest, f"add {WORKLOAD} 1 optional x"), "ENODEV")

    run.prepare(guest)
    add(run, guest, (WORKLOAD, 1, "optional", "first"), (WORKLOAD, 2, "mandatory", "second"),
        (IOMMU, 1, "mandatory", "domain"), (WORKLOAD, 3, "optional", "third"))
    run.equal("drop", command(guest, f"drop {WORKLOAD} 1"), "")
    run.equal("rehearse", guest.set("rehearse", 1), "")
    add(run, guest, (WORKLOAD, 4, "optional", "fourth"))
    run.load(guest)
    run.jump(guest)
    run.equal("what was handed over", found(guest),
              [(WORKLOAD, 2, "mandatory", "second"), (WORKLOAD, 3, "optional", "third"),
               (WORKLOAD, 4, "optional", "fourth"), (IOMMU, 1, "mandatory", "domain")])
    run.retained(guest, f"{WORKLOAD}:instances", f"{IOMMU}:instances")
    for name, key in ((WORKLOAD, 2), (IOMMU, 1), (WORKLOAD, 4)):
        run.equal(f"claim {name} {key}", command(guest, f"claim {name} {key}"), "")
    run.equal("claim again", command(guest, f"claim {WORKLOAD} 2"), "EALREADY")
    run.equal("claim what was dropped", command(guest, f"claim {WORKLOAD} 1"), "ENOENT")
    run.retained(guest)
    run.equal("left", found(guest), [(WORKLOAD, 3, "optional", "third")])
    run.finish(guest)
    run.equal("after finish", found(guest), [])
    run.contains("console", guest.console(2), "nobody claimed 1 optional instances, freed")
    run.prepare(guest)
    run.cancel(guest)


@scenario("instances-unclaimed")
def instances_unclaimed(run):
    """Mandatory instances that nobody claims are retained: for each subsystem as one cause
    in updated, and one by one after finish, until they are given up."""
    guest = run.boot("a")
    run.prepare(guest)
    add(run, guest, *((WORKLOAD, key, "mandatory", f"vm{key}") for key in (1, 2, 3)))
    run.load(guest)
    run.jump(guest)
    run.retained(guest, f"{WORKLOAD}:instances")
    run.equal("claim", command(guest, f"claim {WORKLOAD} 2"), "")
    run.retained(guest, f"{WORKLOAD}:instances")
    run.finish(guest)
    run.retained(guest, f"{WORKLOAD}:instance-1", f"{WORKLOAD}:instance-3")
    run.forget(guest, f"{WORKLOAD}:instance-1")
    run.equal("claim one late", command(guest, f"claim {WORKLOAD} 3"), "")
    run.retained(guest)
    run.prepare(guest)
    run.cancel(guest)


@scenario("instances-lost")
def instances_lost(run):
    """One that is lost before the kexec: the next kernel is told of an optional one, a
    mandatory one ends the preparation."""
    guest = run.boot("a")
    run.prepare(guest)
    add(run, guest, (WORKLOAD, 1, "optional", "first"), (WORKLOAD, 2, "mandatory", "second"))
    run.equal("abort the optional one", command(guest, f"abort {WORKLOAD} 1"), "")
    run.state(guest, "prepared")
    run.equal("rehearse", guest.set("rehearse", 1), "")
    run.equal("abort the mandatory one", command(guest, f"abort {WORKLOAD} 2"), "")
    guest.until("[ $(cat /sys/kernel/liveupdate/state) = normal ]")
    run.last_failed(guest, "prepare", WORKLOAD, -5)

    run.prepare(guest)
    add(run, guest, (WORKLOAD, 1, "optional", "first"), (WORKLOAD, 2, "optional", "second"))
    run.equal("abort one", command(guest, f"abort {WORKLOAD} 1"), "")
    run.load(guest)
    run.jump(guest)
    run.equal("what was handed over", found(guest),
              [(WORKLOAD, 1, "optional", "-61"), (WORKLOAD, 2, "optional", "second")])
    run.contains("console", guest.console(2),
                 f"{WORKLOAD}: instance 1 cannot be restored")
    run.finish(guest)
    run.retained(guest)


@scenario("instances-corrupted", **HARM)
def instances_corrupted(run):
    """One bit of a record flipped in memory, in a table with room for many: what is in the
    same block cannot be read, nobody is told that it was never there, and the others
    arrive. Mandatory ones are retained as a whole."""
    many = 50

    def fill(guest):
        for kind, first in (("optional", 1), ("mandatory", 1001)):
            for key in range(first, first + many):
                guest.do(f"echo add {WORKLOAD} {key} {kind} vm{key} > {TEST}/instances")

    def harm(guest, handover):
        for kind in ("optional", "mandatory"):
            table = handover.instances(kind)
            run.check(f"checksums of {kind} instances", table.intact())
            run.equal(f"number of {kind} instances", table.count, many)
            handover.flip(next(iter(table.entries()))[0] + 48)
    guest = jump_with(run, harm, fill)
    run.state(guest, "updated")
    block = 46
    arrived = found(guest)
    run.equal("those of other blocks", arrived,
              [(WORKLOAD, first + key, kind, f"vm{first + key}")
               for first, kind in ((1, "optional"), (1001, "mandatory"))
               for key in range(block, many)])
    run.equal("one that cannot be read", command(guest, f"claim {WORKLOAD} 1"), "EBADMSG")
    run.last_failed(guest, "restore", "", -74)
    run.retained(guest, "liveupdate:instances", f"{WORKLOAD}:instances")
    for _, key, kind, _ in arrived:
        if kind == "mandatory":
            run.equal(f"claim {key}", command(guest, f"claim {WORKLOAD} {key}"), "")
    run.retained(guest, "liveupdate:instances")
    run.finish(guest, waits=("sessions", "vm"))
    run.retained(guest, "liveupdate:instances")
    run.forget(guest, "liveupdate:instances")
    run.prepare(guest)
    run.cancel(guest)


@scenario("instances-module")
def instances_module(run):
    """A module that is loaded in the next kernel peeks, restores and claims 1000 instances."""
    module = "liveupdate_test_workload"
    guest = run.boot("a")
    guest.do(f"insmod {run.module('a', module)} instances=1000")
    run.prepare(guest)
    run.cancel(guest)
    run.prepare(guest)
    run.load(guest)
    run.jump(guest)
    guest.do(f"insmod {run.module('b', module)}")
    text = guest.console(2)
    run.contains("console", text, "test-module: peeked 0, 12 bytes")
    run.contains("console", text, "test-module: claimed 1000 instances")
    run.finish(guest)
    run.lacks("console", guest.console(2), "nobody claimed")


# -- files --------------------------------------------------------------------

MODULE = "liveupdate_test_workload"


@scenario("session-lookup")
def session_lookup(run):
    """A file that depends on another one of its session hands over the token of that, and
    gets the file for it in the next kernel, though nobody has retrieved it yet; itself it
    cannot get. A file of another session is not found. A handler that asks to come again is called again. A subsystem is told of
    files that are preserved while it is prepared. Fails if a lookup finds another file, if
    EAGAIN is final, or if the subsystem is not told."""
    guest = run.boot("a")
    run.prepare(guest)
    run.load(guest)
    guest.do(f"guestctl session create vm 8 {TEST}/lookup")
    guest.do(f"guestctl session create other 1 {TEST}/file")
    run.contains("a partner in another session", guest.run("guestctl reboot kexec").out,
                 "ENOENT")
    run.state(guest, "prepared")
    guest.do("guestctl session drop other")
    guest.do("guestctl session drop vm")
    run.equal("follow", command(guest, f"follow {WORKLOAD} 1"), "")
    guest.do(f"guestctl session create vm 8 {TEST}/lookup {TEST}/file")
    run.contains("a file that the subsystem refuses",
                 guest.run("guestctl session create other 1").out, "EEXIST")
    run.jump(guest)
    run.equal("instances", [key for name, key, _, text in found(guest)
                            if (name, text) == (WORKLOAD, "file")], [1, 2, 3])
    guest.configure("test-file fail=retrieve,errno=11")
    run.contains("a file that has to wait for another one",
                 guest.run("guestctl session verify vm 8 2").out, "EAGAIN")
    guest.configure("test-file fail=none")
    run.equal("session", guest.do("guestctl session verify vm 8 2 3"), f"ok {8 << 20} bytes")
    run.contains("console", guest.console(2),
                 "lookup: token 3, 0 bytes, itself -35, unknown -2")
    run.equal("retrieves of test-file", [call[2] for call in guest.calls()
                                         if call[:2] == ("retrieve", "test-file")],
              ["-11", "0"])
    run.finish(guest)


@scenario("session-handler-late")
def session_handler_late(run):
    """A file of a module waits in the next kernel until the module is loaded, the session
    with it, and the other sessions do not. Fails if one missing handler loses sessions."""
    guest = run.boot("a")
    guest.do(f"insmod {run.module('a', MODULE)}")
    guest.do(f"guestctl session create vm 8 {TEST}/module_file")
    guest.do("guestctl session create other 4")
    run.load(guest)
    run.jump(guest, state="normal")
    run.equal("the other session", guest.do("guestctl session verify other 4"),
              f"ok {4 << 20} bytes")
    result = guest.run("guestctl session verify vm 8 2")
    run.contains("retrieve without the module", result.out, "EAGAIN")
    run.contains("console", guest.console(2), "token[0x2] waits for it")
    guest.do(f"insmod {run.module('b', MODULE)}")
    run.equal("session", guest.do("guestctl session verify vm 8 2"), f"ok {8 << 20} bytes")
    run.contains("console", guest.console(2), "test-module: retrieved a file, shared data 1")
    guest.do("rmmod liveupdate_test_workload")


# -- the second half of restore -----------------------------------------------

@scenario("restore-late", smp=2)
def restore_late(run):
    """Subsystems that restore in two halves: the second one comes after the first ones of
    all, in the same order, with all processors and before init. Who fails there has
    nothing. Fails if it comes with one processor, or if a failure is forgotten."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest, extra='liveupdate_test.config="test-memory late=1;'
                          'test-iommu late=1,fail=restore_late,errno=12;'
                          'test-devices late=1"')
    run.jump(guest)
    run.equal("calls", [call for call in guest.calls() if call[0].startswith("restore")],
              [("restore", name, "0") for name in TEST_ORDER[::-1]] +
              [("restore_late", "test-memory", "0"), ("restore_late", "test-iommu", "-12"),
               ("restore_late", "test-devices", "0")])
    run.contains("console", guest.console(2), "test-devices: restored late with 2 processors")
    run.last_failed(guest, "restore", "test-iommu", -12)
    run.retained(guest, "test-iommu")
    run.equal("what is seen of test-iommu", peeked(guest)["test-iommu"][1], FAILED)
    run.finish(guest)
    run.retained(guest, "test-iommu")
    run.forget(guest, "test-iommu")
