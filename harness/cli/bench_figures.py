# SPDX-License-Identifier: GPL-2.0
"""What becomes of counts: medians, targets, phases of the timeline, the table.

Everything here is a function of its arguments, so that it is tested without guests.
"""

from ..common.run import HarnessError
from ..guest import timeline as tl

#: Runs of the same blackout differ by no more than this part of their median.
AGREE = 0.001

#: An update takes no more than this much of the blackout of a plain kexec.
BLACKOUT = 1.02

#: A subsystem costs no more than this much of what it costs among few.
FLAT = 1.1

#: Walking and recording a freeze takes no more than this part of the blackout.
RECORDING = 0.01

STEPS = ("prepare", "freeze", "restore", "finish")

#: Prepare and restore of a device, as a part of what upstream's preserve and retrieve
#: of a file take; freeze and finish of a device, in vns; bytes handed over for one.
DEVICE_OF_FILE = 0.1
DEVICE_VNS = 4000
DEVICE_BYTES = 256

#: A boot with all options takes no more than this much of one of the base.
BOOT = 1.005


def label(record):
    """What a reader knows a record by."""
    if record.kind == tl.INITCALLS:
        return f"initcalls {record.name}"
    if record.kind == tl.KERNEL:
        return "first instant of the new kernel"
    return f"{tl.STEP_NAMES.get(record.step, '')} {record.name}".strip()


def step_cost(timeline, step, subsystem=""):
    """Counts that the last such transition took, over all subsystems or for one."""
    kind = tl.CALLBACK if subsystem else tl.STEP
    costs = [r.end - r.start for r in timeline
             if (r.kind, r.step, r.name) == (kind, step, subsystem)]
    if not costs:
        raise HarnessError(f"the timeline tells of no {tl.STEP_NAMES[step]} {subsystem}")
    return costs[-1]


def walk_cost(timeline):
    """Counts of the last freeze outside of the callbacks: what it takes to record it,
    and the little that is done besides."""
    frozen = [r for r in timeline if r.kind == tl.STEP and r.step == tl.FREEZE][-1]
    calls = [r for r in timeline if r.kind == tl.CALLBACK and
             frozen.start <= r.start and r.end <= frozen.end]
    return frozen.end - frozen.start - sum(r.end - r.start for r in calls)


def _own(span, children):
    """Name and counts of a span apart from those in it, then theirs."""
    nested, inner = [], 0
    for child, grandchildren in children:
        inner += child.end - child.start
        nested += _own(child, grandchildren)
    name = f"{label(span)}, apart from what is in it" if inner else label(span)
    return [(name, span.end - span.start - inner)] + nested


def phases(timeline, start, end):
    """What a blackout from `start` to `end` consists of, in order: (name, counts).

    The counts add up to the whole. What no record covers is named by the records
    on both sides of it.
    """
    spans = sorted((r for r in timeline if start <= r.start and r.end <= end and
                    tl.KERNEL <= r.kind <= tl.INITCALLS),
                   key=lambda r: (r.start, -r.end))
    top, open_ = [], []
    for span in spans:
        node = (span, [])
        while open_ and open_[-1][0].end < span.end:
            if span.start < open_[-1][0].end:
                raise HarnessError(f"the timeline has {label(span)} half in "
                                   f"{label(open_[-1][0])}")
            open_.pop()
        (open_[-1][1] if open_ else top).append(node)
        if span.end > span.start:
            open_.append(node)
    found, at, last = [], start, "reboot(2)"
    for span, children in top:
        found.append((f"{last} .. {label(span)}", span.start - at))
        if span.end > span.start:
            found += _own(span, children)
        at, last = span.end, label(span)
    found.append((f"{last} .. first instruction of init", end - at))
    return [(name, counts) for name, counts in found if counts]


def slowest(found, count=10):
    """The slowest phases, as they go into the output."""
    return [{"name": name, "vns": vns} for name, vns in
            sorted(found, key=lambda phase: -phase[1])[:count]]


def median(values):
    """The middle one of an odd number of values."""
    return sorted(values)[len(values) // 2]


def spread(values):
    """How far values are apart, as a part of their median."""
    return (max(values) - min(values)) / median(values)


def marginal(figures, step, few, many):
    """What one subsystem more costs, between two numbers of them."""
    return (figures[f"subsystem.{many}.{step}_vns"] -
            figures[f"subsystem.{few}.{step}_vns"]) / (many - few)


def targets(figures, runs, numbers):
    """The verdicts: {"target", "measured", "met"} for each."""
    found = []
    for name, values in runs.items():
        found.append({"target": f"runs of {name} agree to {AGREE:.1%}",
                      "measured": f"{spread(values):.4%}",
                      "met": spread(values) <= AGREE})
    ratio = figures["blackout.update_vns"] / figures["blackout.base_plain_vns"]
    found.append({"target": f"blackout.update <= {BLACKOUT} x blackout.base_plain",
                  "measured": f"{ratio:.4f} x", "met": ratio <= BLACKOUT})
    few, some, many = numbers
    part = figures[f"subsystem.{many}.freeze_walk_vns"] / figures["blackout.update_vns"]
    found.append({"target": f"recording the freeze of {many} subsystems, and walking "
                            f"them <= {RECORDING:.0%} of the blackout",
                  "measured": f"{part:.3%}", "met": part <= RECORDING})
    for step in STEPS:
        low = marginal(figures, step, few, some)
        high = marginal(figures, step, few, many)
        found.append({"target": f"{step}, one subsystem more: {few}..{many} <= "
                                f"{FLAT} x {few}..{some}",
                      "measured": f"{high:.0f} and {low:.0f} vns, {high / low:.3f} x",
                      "met": high <= FLAT * low})
    return found


def device_targets(figures, devices, files):
    """The verdicts on devices and on the boot.

    devices: number of devices -> of how many one is requested. What is said for each
    is said for each that is requested, but prepare, which looks at all there are, is
    also linear in those.
    """
    found = []
    first, *others = devices
    requested = {size: len(range(0, size, every)) for size, every in devices.items()}

    def each(size, what):
        return figures[f"device.{size}.{what}"] / requested[size]

    def target(text, measured, met):
        found.append({"target": text, "measured": measured, "met": met})

    for size, every in devices.items():
        for step, compared in (("prepare", "preserve"), ("restore", "retrieve")):
            if step == "prepare" and every > 1:
                continue
            one = each(size, f"{step}_vns")
            of_file = min(figures[f"file.{n}.{compared}_vns"] / n for n in files)
            target(f"device.{size}.{step} for each <= {DEVICE_OF_FILE} x upstream's "
                   f"{compared} of a file", f"{one:.0f} and {of_file:.0f} vns",
                   one <= DEVICE_OF_FILE * of_file)
        for step in ("freeze", "finish"):
            one = each(size, f"{step}_vns")
            target(f"device.{size}.{step} for each < {DEVICE_VNS} vns", f"{one:.0f} vns",
                   one < DEVICE_VNS)
        one = each(size, "bytes")
        target(f"device.{size}.bytes for each <= {DEVICE_BYTES}", f"{one:.1f}",
               one <= DEVICE_BYTES)
    for size in others:
        for step in STEPS:
            ratio = each(size, f"{step}_vns") / each(first, f"{step}_vns")
            if step == "prepare":
                ratio /= devices[size]
            target(f"device.{size}.{step} is linear: <= {FLAT} x device.{first}",
                   f"{ratio:.3f} x", ratio <= FLAT)
    ratio = figures["boot.series_vns"] / figures["boot.base_vns"]
    target(f"boot.series <= {BOOT} x boot.base", f"{ratio:.4f} x", ratio <= BOOT)
    return found


def table(result):
    """The figures of a report for people, a line each under a head."""
    runs = result["meta"]["runs"]
    width = max(map(len, runs))
    return [f"{'':{width}}{'virtual ns':>16}{'virtual ms':>13}{'spread':>11}"] + \
        [f"{name:{width}}{result[name]:>16,}{result[name] / 1e6:>13,.3f}"
         f"{spread(values):>11.3%}" for name, values in runs.items()]
