# SPDX-License-Identifier: GPL-2.0
"""Corruption to what is handed over, done from outside while the machine stands
between the last instruction of one kernel and the first of the next."""

from ...guest.control import LIVEUPDATE
from ...guest.pages import Kept
from ...guest.table import COMPATIBLE, FLAGS, HEAD, NR_RECORDS
from ...guest.timeline import HEADER
from ..api import scenario
from ..corruption import HARM, jump_with
from ..subsystems import DATA, TEST_ORDER, check_calls, check_received, size_of

# Offsets in struct luo_subsystem_ser.
VERSION, VALUE = 48, 56


def _check_refused(run, harm, errno):
    """The new kernel is normal, says why, keeps all it was handed, and runs on; it can be
    updated when the operator has given that up."""
    kept = []

    def work(guest, handover):
        kept.append(Kept(guest.vm.ram).add_records(handover, TEST_ORDER))
        harm(guest, handover)
    guest = jump_with(run, work)
    run.state(guest, "normal")
    run.last_failed(guest, "restore", "", errno)
    run.contains("console of kernel B", guest.console(2),
                 "the state of the previous kernel cannot be used")
    run.equal("data received", guest.received(), {})
    run.equal("restore calls", guest.calls(), [])
    run.equal("bytes of a timeline without records",
              guest.do(f"wc -c < {LIVEUPDATE}/timeline"), str(HEADER.size))
    run.equal("session beside it", guest.do("guestctl session verify vm 8"),
              f"ok {8 << 20} bytes")
    run.retained(guest, "liveupdate:table")
    kept[0].check(run, guest)
    run.forget(guest, "liveupdate:table")
    run.prepare(guest)
    run.cancel(guest)


@scenario("handover-untouched", **HARM)
def handover_untouched(run):
    """Control: stopped at the kexec and only looked at, everything arrives."""
    def look(_, handover):
        for name, text in DATA.items():
            record = handover.record(name)
            run.equal(f"size of {name}", record.size, size_of(name))
            run.equal(f"bytes of {name}", run.guests[0].vm.ram.read(
                record.value, record.size), text.encode() + b"\0")
    guest = jump_with(run, look)
    run.state(guest, "updated")
    check_received(run, guest)
    run.equal("session", guest.do("guestctl session verify vm 8"), f"ok {8 << 20} bytes")
    run.finish(guest)


@scenario("handover-corrupted-head", **HARM)
def handover_corrupted_head(run):
    """One bit of the head flipped: the checksum tells, nothing is used."""
    _check_refused(run, lambda _, h: h.flip(h.table.address + NR_RECORDS, 0x01), -74)


@scenario("handover-corrupted-format", **HARM)
def handover_corrupted_format(run):
    """A head of a format the next kernel does not know, with a right checksum."""
    def harm(_, handover):
        handover.flip(handover.table.address + COMPATIBLE + 15, 0x03)
        handover.table.seal()
    _check_refused(run, harm, -93)


@scenario("handover-unfinished", **HARM)
def handover_unfinished(run):
    """A head that says its data is not final, with a right checksum."""
    def harm(_, handover):
        handover.flip(handover.table.address + FLAGS, 0x01)
        handover.table.seal()
    _check_refused(run, harm, -22)


@scenario("handover-corrupted-pointer", **HARM)
def handover_corrupted_pointer(run):
    """The address of a block points to memory that nobody handed over, with a right
    checksum: KHO is asked before it is followed."""
    def harm(_, handover):
        handover.write_u64(handover.table.address + HEAD.size, 0x1000000)
        handover.table.seal()
    _check_refused(run, harm, -22)


@scenario("handover-wild-pointer", **HARM)
def handover_wild_pointer(run):
    """The address of a block points to where there is no memory at all."""
    def harm(_, handover):
        handover.write_u64(handover.table.address + HEAD.size, 0x7FFF_FFFF_F000)
        handover.table.seal()
    _check_refused(run, harm, -22)


@scenario("handover-corrupted-record", **HARM)
def handover_corrupted_record(run):
    """One bit of one record flipped: the checksum of its block tells."""
    _check_refused(run, lambda _, h: h.flip(h.record("test-irq").address + VERSION), -74)


@scenario("handover-corrupted-address", **HARM)
def handover_corrupted_address(run):
    """A record whose data is not at the address it names, with right checksums:
    that subsystem gets nothing, the others get theirs."""
    def harm(_, handover):
        handover.write_u64(handover.record("test-irq").address + VALUE, 0x1000000)
        handover.table.seal()
    guest = jump_with(run, harm)
    run.state(guest, "updated")
    run.last_failed(guest, "restore", "test-irq", -22)
    rest = [name for name in TEST_ORDER if name != "test-irq"]
    check_calls(run, guest, "restore", rest[::-1])
    check_received(run, guest, {name: DATA[name] for name in rest})
    run.finish(guest, waits=("sessions", "vm"))
