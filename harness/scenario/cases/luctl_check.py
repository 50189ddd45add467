# SPDX-License-Identifier: GPL-2.0
"""luctl check against the next kernel itself: what it calls no go dies in the kexec, and
what it calls go comes up."""

import json

from ...build.initrd import GUEST_INITRD
from ...guest.control import GuestFailure, host_path
from ...vm.qemu import MachineError
from ..api import scenario
from ..luctl import NO_GO, OK, check_untouched, luctl

MIB = 1 << 20


def judge(run, guest, status, extra=""):
    """What luctl check says of kernel b as guest.load() would load it."""
    return json.loads(luctl(
        run, guest, f"check --json {host_path(run.image('b'))} --initrd {GUEST_INITRD} "
        f"--cmdline '{run.append(extra)}'", status))


def finding(run, report, thing):
    """The only finding, which is no go."""
    run.equal("findings", [(f["thing"], f["severity"]) for f in report["findings"]],
              [(thing, "no-go")])
    run.equal("what is not judged", report["unjudged"], [])
    return report["findings"][0]


def dies(run, guest, extra, word):
    """Jump past the refusal: the next kernel does not come up."""
    run.load(guest, "b", extra)
    try:
        guest.jump(timeout=20)
    except (GuestFailure, MachineError) as error:
        run.steps.append(f"        {error}")
    else:
        run.check("the next kernel dies", False, "it came up")
    run.contains("its last words", guest.console(2), word)


def refused(run, guest, extra, word):
    """luctl update refuses, names the reason, and changes nothing."""
    out = luctl(run, guest, f"update {host_path(run.image('b'))} --initrd {GUEST_INITRD} "
                f"--cmdline '{run.append(extra)}' --now", NO_GO)
    run.contains("luctl update", out, word)
    check_untouched(run, guest)


@scenario("luctl-cut-off", limit=150, expect=(
    r"Kernel panic", r"BUG: ", r"Oops", r"Call Trace", r"WARNING: "))
def luctl_cut_off(run):
    """A next command line whose mem= cuts off scratch memory: luctl refuses it, and the
    kernel that gets it nevertheless dies before it says a word of its own."""
    guest = run.boot("a")
    report = judge(run, guest, OK)
    run.equal("findings without mem=", report["findings"], [])
    run.equal("what is not judged", report["unjudged"], [])
    areas = guest.do("cat /sys/kernel/debug/kho/out/scratch_phys "
                     "/sys/kernel/debug/kho/out/scratch_len").split()
    half = len(areas) // 2
    last = max(int(start, 16) + int(size, 16)
               for start, size in zip(areas[:half], areas[half:]))
    for extra in (f"mem={last // MIB - 1}M", f"memmap=4K${hex(last - 8192)}",
                  f"memmap=exactmap memmap={last // MIB - 1}M@0"):
        run.contains(f"luctl check with {extra}", finding(
            run, judge(run, guest, NO_GO, extra), "command line")["why"], "scratch memory")
    run.contains("luctl check with mem= above scratch memory", finding(
        run, judge(run, guest, NO_GO, f"mem={last // MIB}M"),
        "command line")["why"], "this kernel uses")
    refused(run, guest, "mem=256M", "cuts off scratch memory")
    dies(run, guest, "mem=256M", "kho_scratch_overlap")


def with_scratch(run, memory, sizes, **options):
    """A machine whose scratch areas have so many MiB, and what luctl says of it."""
    guest = run.boot("a", extra="kho_scratch=" + ",".join(f"{size}M" for size in sizes),
                     memory=memory, **options)
    run.step(f"{memory} of memory, {sizes} MiB of scratch memory")
    return guest


@scenario("luctl-scratch", limit=240, expect=(r"Kernel panic", r"Call Trace", r"---\[ "))
def luctl_scratch(run):
    """Scratch memory on each side of what luctl says a boot needs, in machines of 512 MiB
    and 1 GiB, where no block of 1 GiB is free of preserved memory: the kernel that luctl
    refuses dies, one with the kho_scratch= that luctl advises comes up. Too little to
    load is refused before the kernel says EADDRNOTAVAIL."""
    for memory, little, smp in (("512M", (0, 24, 0), 1), ("1G", (0, 28, 0), 2)):
        guest = with_scratch(run, memory, little, smp=smp)
        report = judge(run, guest, NO_GO)
        found = finding(run, report, "scratch")
        run.check("the numbers", report["scratch"]["bytes"] == sum(little) * MIB <
                  report["scratch"]["needed"], found["why"])
        refused(run, guest, "", "of scratch memory")
        dies(run, guest, "", "Failed to allocate")
        guest.vm.close()

        advice = report["scratch"]["kho_scratch"]
        run.contains("the advice", found["advice"], advice)
        sizes = [int(size.rstrip("M")) for size in advice.partition("=")[2].split(",")]
        guest = with_scratch(run, memory, sizes, smp=smp)
        report = judge(run, guest, OK)
        run.equal("findings", report["findings"], [])
        run.check("no more than a step was added", report["scratch"]["bytes"] -
                  report["scratch"]["needed"] < 8 * MIB, str(report["scratch"]))
        run.update(guest)
        run.finish(guest)
        guest.vm.close()

    guest = with_scratch(run, "512M", (4, 8, 8))
    run.contains("luctl check", finding(run, judge(run, guest, NO_GO), "scratch")["why"],
                 "cannot be loaded into the scratch areas of 4 + 8 + 8 MiB")
    run.equal("what the kernel says", guest.load(run.image("b"), run.append()),
              "EADDRNOTAVAIL")


@scenario("luctl-from")
def luctl_from(run):
    """Two images compared in a kernel that has no live update."""
    guest = run.boot("a", enabled="")
    images = [host_path(run.image(name)) for name in ("a", "b", "base")]
    report = json.loads(luctl(run, guest, f"check --json --from {images[0]} {images[1]}"))
    run.check("subsystems", {h["name"] for h in report["handover"]} >=
              {"devices", "dma", "timeline", "shutdown-log"}, str(report["handover"]))
    run.equal("all can be read", {h["verdict"] for h in report["handover"]}, {"go"})
    out = luctl(run, guest, f"check --from {images[2]} {images[1]}", NO_GO)
    run.contains("an old image without subsystems", out, "the old image hands nothing over")
