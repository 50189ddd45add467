# SPDX-License-Identifier: GPL-2.0
"""What becomes of counts: medians, targets, phases of the timeline, the table.

Everything here is a function of its arguments, so that it is tested without guests.
"""

import dataclasses
import struct

from .run import HarnessError

#: Runs of the same blackout differ by no more than this part of their median.
AGREE = 0.001

#: An update takes no more than this much of the blackout of a plain kexec.
BLACKOUT = 1.02

#: The thousandth participant costs no more than this much of the tenth.
FLAT = 1.1

STEPS = ("prepare", "freeze", "restore", "finish")

# include/uapi/linux/liveupdate_timeline.h
MAGIC = b"LUOTIME\0"
VERSION = 1
HEADER = struct.Struct("<8sIIIIQIIII")
RECORD = struct.Struct("<QQIHBBiI48s")
KERNEL, STEP, CALLBACK, MARK, INITCALLS = range(1, 6)
STEP_NAMES = ("", "prepare", "cancel", "freeze", "thaw", "restore", "finish")


@dataclasses.dataclass(frozen=True)
class Record:
    """A record of the timeline; step is a name, "" when it belongs to none."""
    start: int
    end: int
    update: int
    kernel: int
    kind: int
    step: str
    error: int
    name: str

    @property
    def label(self):
        """What a reader knows it by."""
        if self.kind == INITCALLS:
            return f"initcalls {self.name}"
        if self.kind == KERNEL:
            return "first instant of the new kernel"
        return f"{self.step} {self.name}".strip()


def records(data):
    """The records of a timeline as the kernel exports it, in order."""
    if len(data) < HEADER.size:
        raise HarnessError("the timeline is shorter than its header")
    magic, version, header, size, count, *_ = HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise HarnessError(f"no timeline of version {VERSION}: {data[:12]!r}")
    if size < RECORD.size or len(data) < header + count * size:
        raise HarnessError(f"the timeline is shorter than its {count} records")
    found = []
    for at in range(header, header + count * size, size):
        start, end, update, kernel, kind, step, error, _, name = \
            RECORD.unpack_from(data, at)
        if KERNEL <= kind <= INITCALLS and step < len(STEP_NAMES):
            found.append(Record(start, end, update, kernel, kind, STEP_NAMES[step],
                                error, name.rstrip(b"\0").decode("ascii", "replace")))
    return found


def step_cost(timeline, step):
    """Counts that the last step of that name over all participants took."""
    ends = [r.end - r.start for r in timeline if r.kind == STEP and r.step == step]
    if not ends:
        raise HarnessError(f"the timeline tells of no step {step}")
    return ends[-1]


def sessions_cost(timeline):
    """Counts from the end of the last freeze until the sessions were serialized."""
    frozen = [r.end for r in timeline if r.kind == STEP and r.step == "freeze"]
    marks = [r.end for r in timeline if r.kind == MARK and r.name == "serialized"]
    if not frozen or not marks or marks[-1] < frozen[-1]:
        raise HarnessError("the timeline does not tell when sessions were serialized")
    return marks[-1] - frozen[-1]


def _own(span, children):
    """Label and counts of a span apart from those in it, then theirs."""
    nested, inner = [], 0
    for child, grandchildren in children:
        inner += child.end - child.start
        nested += _own(child, grandchildren)
    label = f"{span.label}, apart from what is in it" if inner else span.label
    return [(label, span.end - span.start - inner)] + nested


def phases(timeline, start, end):
    """What a blackout from `start` to `end` consists of, in order: (name, counts).

    The counts add up to the whole. What no record covers is named by the records
    on both sides of it.
    """
    spans = sorted((r for r in timeline if start <= r.start and r.end <= end),
                   key=lambda r: (r.start, -r.end))
    top, open_ = [], []
    for span in spans:
        node = (span, [])
        while open_ and open_[-1][0].end < span.end:
            if span.start < open_[-1][0].end:
                raise HarnessError(f"the timeline has {span.label} half in "
                                   f"{open_[-1][0].label}")
            open_.pop()
        (open_[-1][1] if open_ else top).append(node)
        if span.end > span.start:
            open_.append(node)
    found, at, last = [], start, "reboot(2)"
    for span, children in top:
        found.append((f"{last} .. {span.label}", span.start - at))
        if span.end > span.start:
            found += _own(span, children)
        at, last = span.end, span.label
    found.append((f"{last} .. first instruction of init", end - at))
    return [(name, counts) for name, counts in found if counts]


def dearest(found, count=10):
    """The dearest phases, as they go into the output."""
    return [{"name": name, "vns": vns} for name, vns in
            sorted(found, key=lambda phase: -phase[1])[:count]]


def median(values):
    """The middle one of an odd number of values."""
    return sorted(values)[len(values) // 2]


def spread(values):
    """How far values are apart, as a part of their median."""
    return (max(values) - min(values)) / median(values)


def marginal(figures, step, few, many):
    """What one participant more costs, between two numbers of them."""
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
    for step in STEPS:
        low = marginal(figures, step, few, some)
        high = marginal(figures, step, few, many)
        found.append({"target": f"{step} of a participant costs the same, {few} to "
                                f"{many} as {few} to {some}, or {FLAT} x at most",
                      "measured": f"{low:.0f} and {high:.0f} vns, {high / low:.3f} x",
                      "met": high <= FLAT * low})
    return found


def table(result):
    """The figures of a report for people, a line each under a head."""
    figures = {name: value for name, value in result.items() if name.endswith("_vns")}
    width = max(map(len, figures))
    return [f"{'':{width}}{'virtual ns':>18}{'virtual ms':>16}"] + \
        [f"{name:{width}}{value:>18,}{value / 1e6:>16,.3f}"
         for name, value in figures.items()]
