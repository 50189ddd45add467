# SPDX-License-Identifier: GPL-2.0
"""luctl in a guest: its exit statuses, a whole update, and that nothing is left of one."""

import json

from ..guest.control import host_path

# Exit statuses, as luctl(8) has them.
(OK, FAILED, USAGE, LOSS, NO_GO, STATE, TIMEOUT, INTERRUPTED, UNAVAILABLE, UNREADABLE,
 POLICY, OUTPUT) = range(12)


def luctl(run, guest, command, status=OK, timeout=60):
    """Runs luctl; its output, once it ended with this exit status."""
    result = guest.run(f"luctl {command}", timeout)
    run.check(f"luctl {command.split()[0]} ends with {status}", result.status == status,
              f"{command!r} ended with {result.status}: {result.out}")
    return result.out


def status_of(run, guest):
    """What luctl status says."""
    return json.loads(luctl(run, guest, "status --json"))


def update(run, options="--now", image=None):
    """luctl update into kernel b or an image; process 1 of a guest is called init."""
    return (f"update {image or host_path(run.image('b'))} --initrd /host/guest/initrd "
            f"--cmdline '{run.append()}' {options}")


def check_untouched(run, guest, called=()):
    """Nothing is left of an update: normal, no image, no subsystem called but
    for those that were undone again."""
    run.state(guest, "normal")
    run.equal("kexec_loaded", guest.read("/sys/kernel/kexec_loaded"), "0")
    run.equal("steps that were called", {step for step, _, _ in guest.calls()},
              set(called))
