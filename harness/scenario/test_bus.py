# SPDX-License-Identifier: GPL-2.0
"""Devices of the test bus: boot with them, request them, stop at the kexec with them."""

from ..guest.control import LIVEUPDATE
from ..guest.devices import Devices, Table
from ..guest.handover import Handover


def boot_with(run, config, *requested, **parameters):
    """Kernel A with these devices, of which some are requested."""
    guest = run.boot("a")
    devices = Devices(run, guest)
    devices.load("a", config, **parameters)
    request(run, devices, *requested)
    return guest, devices


def request(run, devices, *names):
    """Requests devices; it has to work."""
    for name in names:
        run.equal(f"request of {name}", devices.request(name), "")


def update(run, guest, devices, config="", **parameters):
    """From prepare into kernel B, where the module is loaded with these devices."""
    run.prepare(guest)
    run.load(guest)
    run.jump(guest)
    devices.load("b", config, **parameters)


def check_counts(run, devices, **want):
    """The numbers in the lists; those that are not named are 0."""
    kinds = ("requested", "preserved", "reclaimed", "unreclaimed")
    run.equal(", ".join(kinds), devices.counts(), tuple(want.get(kind, 0) for kind in kinds))


def wait_normal(guest):
    """The machine gets back to normal by itself."""
    guest.until(f"[ \"$(cat {LIVEUPDATE}/state)\" = normal ] && "
                f"[ \"$(cat {LIVEUPDATE}/transition)\" = idle ]", timeout=15)


def stopped_jump(run, guest, work):
    """Stops at machine_kexec(), lets `work(table)` look or harm, and goes on."""
    run.step("stop at the kexec")
    gdb = guest.stop_at_jump()
    handover = Handover(guest.vm.ram)
    result = work(Table(guest.vm.ram, handover))
    gdb.detach()
    run.equal("kernels that came up", guest.wait_boot().number, 2)
    return result
