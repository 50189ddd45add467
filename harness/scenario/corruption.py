# SPDX-License-Identifier: GPL-2.0
"""Corruption to what is handed over, while the machine stands between two kernels."""

from ..guest.handover import Handover
from .subsystems import TEST_ORDER, hand_over_data

HARM = {"ram_file": True, "gdb": True, "memory": "512M", "limit": 200}


def jump_with(run, harm, prepared=lambda guest: None):
    """Prepares, lets `prepared(guest)` work, stops at machine_kexec(), lets
    `harm(guest, handover)` work, goes on."""
    guest = run.boot("a")
    guest.do("guestctl session create vm 8")
    hand_over_data(guest)
    run.prepare(guest)
    prepared(guest)
    run.load(guest)
    run.step("stop at the kexec")
    gdb = guest.stop_at_jump()
    handover = Handover(guest.vm.ram)
    run.check("the table has every test subsystem",
              {*TEST_ORDER} <= {record.name for record in handover.records()})
    run.check("checksums are as the harness knows them", handover.table.intact())
    harm(guest, handover)
    gdb.detach()
    boot = guest.wait_boot()
    run.equal("kernels that came up", boot.number, 2)
    return guest
