# SPDX-License-Identifier: GPL-2.0
"""What participants can use beyond their callbacks, from one kernel to the next."""

from ...guest.control import TEST
from ..api import scenario
from ..damage import HARM, jump_with
from ..participants import DATA, TEST_ORDER, hand_over_data

#: Errors of liveupdate_peek(): nothing there, its participant has it, restore failed, the
#: table cannot be used.
GONE, TAKEN, FAILED, UNKNOWN = "-2", "-114", "-131", "-74"


def peeked(guest):
    """Name -> (what the test participants saw early, what they see now)."""
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


@scenario("peek-damaged", **HARM)
def peek_damaged(run):
    """A table that cannot be used says nothing about anybody, and looks like no empty one."""
    guest = jump_with(run, lambda _, handover: handover.flip(
        handover.record("test-irq").address + 48))
    run.state(guest, "normal")
    run.equal("early and now", peeked(guest),
              {name: (UNKNOWN, UNKNOWN) for name in TEST_ORDER})
    run.forget(guest, "liveupdate:table")
    run.equal("after it is given up", {now for _, now in peeked(guest).values()}, {GONE})
