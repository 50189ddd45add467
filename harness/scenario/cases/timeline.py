# SPDX-License-Identifier: GPL-2.0
"""The timeline through both kernels, measured against the clock of the host."""

import time

from ...guest import timeline as tl
from ...guest.control import LIVEUPDATE, split_boots
from ...guest.timeline import read_timeline
from ..api import release_of, scenario
from ..corruption import HARM, jump_with
from ..subsystems import TEST_ORDER, hand_over_data

MARKS = ("serialized", "notified", "devices-down", "jump", "initcalls-done", "userspace")
LEVELS = ("pure", "core", "postcore", "arch", "subsys", "fs", "device", "late")

# How far the span of an update may be off by the clock of the host, which also tells
# how fast the counter runs: a guest measures that at boot, on a busy host badly.
TOLERANCE = 0.05
GUEST_TOLERANCE = 0.4

# struct luo_timeline_ser, and where struct liveupdate_timeline_record has its error.
HEAD_SIZE, SLOTS_AT = 56, 24
ERROR_AT = 24


def _counter(guest):
    """An instant, by the clock of the host and by the counter of the guest."""
    before = time.monotonic()
    counter = int(guest.do("guestctl tsc"))
    return (before + time.monotonic()) / 2, counter


def _of(records, update, kind, **want):
    """Records of one update and kind, in the order in which they were written."""
    return [r for r in records if r.update == update and r.kind == kind and
            all(getattr(r, key) == value for key, value in want.items())]


def _one(run, records, update, kind, **want):
    found = _of(records, update, kind, **want)
    run.equal(f"records of update {update}, kind {kind}, {want}", len(found), 1)
    return found[0]


def _check_step(run, records, update, step, names, kernel):
    """A transition was recorded once, with a callback of each subsystem inside; sessions are
    frozen like one."""
    if step == tl.FREEZE:
        names = [*names, "sessions"]
    whole = _one(run, records, update, tl.STEP, step=step, error=0)
    calls = _of(records, update, tl.CALLBACK, step=step)
    run.equal(f"callbacks of {tl.STEP_NAMES[step]}", sorted(r.name for r in calls), sorted(names))
    run.equal(f"kernels of {tl.STEP_NAMES[step]}", {r.kernel for r in [whole, *calls]}, {kernel})
    run.check(f"callbacks lie inside {tl.STEP_NAMES[step]}, one after the other",
              [whole.start, *(t for r in calls for t in (r.start, r.end)), whole.end] ==
              sorted([whole.start, *(t for r in calls for t in (r.start, r.end)),
                      whole.end]), str(calls))
    return whole


def _check_update(run, records, update, names, releases):
    """An update from prepare to finish without anything in between."""
    kernels = _of(records, update, tl.KERNEL)
    run.equal(f"kernels of update {update}", [(r.kernel, r.name) for r in kernels],
              [(update, releases[0]), (update + 1, releases[1])])
    steps = [_check_step(run, records, update, step, names, update + (step > tl.THAW))
             for step in (tl.PREPARE, tl.FREEZE, tl.RESTORE, tl.FINISH)]
    marks = _of(records, update, tl.MARK)
    run.equal(f"marks of update {update}", [r.name for r in marks], list(MARKS))
    run.equal("kernels of the marks", [r.kernel for r in marks],
              [update] * 4 + [update + 1] * 2)
    levels = _of(records, update, tl.INITCALLS, kernel=update + 1)
    run.equal(f"initcall levels of update {update}", [r.name for r in levels],
              list(LEVELS))
    axis = [kernels[0].start, steps[0].start, steps[0].end, steps[1].start, steps[1].end,
            *(r.start for r in marks[:4]), kernels[1].start, steps[2].start,
            steps[2].end, *(t for r in levels for t in (r.start, r.end)),
            marks[4].start, marks[5].start, steps[3].start, steps[3].end]
    run.check(f"update {update} goes forward in time", axis == sorted(axis), str(axis))
    run.check(f"update {update} has a gap", kernels[1].start > marks[3].start)
    # It is looked at once parameters are read, long before the first initcall.
    run.check(f"the first instant of kernel {update + 1} is an early one",
              kernels[1].start - marks[3].start < 4 * (steps[2].start - kernels[1].start),
              str(axis))
    return steps[0].start, steps[3].end


@scenario("timeline-updates", smp=2, limit=200, debug=True)
def timeline_updates(run):
    """Three updates in a row: the timeline names both kernels of each, goes forward
    through the gap, keeps the earlier ones, and takes as long as the host's clock
    says."""
    guest = run.boot("a")
    header, records = read_timeline(guest)
    run.equal("records before the first update", (header.count, records), (0, []))
    names = list(guest.subsystems())
    kernels = ("a", "b", "a", "b")
    releases = [release_of(run.image(kernel)) for kernel in kernels]
    earlier, spans = [], []
    first = _counter(guest)
    for update in (1, 2, 3):
        # The kernel starts to prepare and ends to finish between these instants.
        begin = time.monotonic()
        run.prepare(guest)
        prepared = time.monotonic()
        run.load(guest, kernels[update])
        run.jump(guest, kernels[update])
        updated = time.monotonic()
        run.finish(guest)
        end = time.monotonic()

        header, records = read_timeline(guest)
        run.equal("corrupted, dropped and removed records",
                  (header.corrupted, header.dropped, header.generation), (0, 0, 0))
        run.equal("records of earlier updates", records[:len(earlier)], earlier)
        for number in range(1, update + 1):
            start, stop = _check_update(run, records, number, names,
                                        releases[number - 1:])
        spans.append((stop - start, updated - prepared, end - begin))
        earlier = records

    last = _counter(guest)
    frequency = (last[1] - first[1]) / (last[0] - first[0])
    for update, (counts, least, most) in enumerate(spans, 1):
        seconds = counts / frequency
        run.check(f"update {update} took as long as the host says",
                  least * (1 - TOLERANCE) < seconds < most * (1 + TOLERANCE),
                  f"{seconds:.2f} s, host: {least:.2f} to {most:.2f} s")
    run.check("the guest measured the frequency of its counter",
              abs(header.frequency / frequency - 1) < GUEST_TOLERANCE,
              f"{header.frequency} Hz, host: {frequency:.0f} Hz")
    run.nothing_failed(guest)


@scenario("timeline-slow", smp=2)
def timeline_slow(run):
    """A subsystem that is slow in a transition is seen to be, for as long as the host holds
    it; rehearsals, a failed prepare and a cancel are recorded with their errors."""
    guest = run.boot("a")
    guest.configure("test-irq hold=prepare;test-iommu hold=freeze")

    def held(name, step, what):
        """Counters before, while it is held for some time, and after."""
        before = _counter(guest)[1]
        job = guest.start(f"guestctl write {LIVEUPDATE}/{what} 1")
        guest.await_call(tl.STEP_NAMES[step], name)
        begin = _counter(guest)[1]
        time.sleep(0.3)
        end = _counter(guest)[1]
        guest.release()
        run.contains(what, guest.finish(job).out, "ok")
        return name, step, before, begin, end, _counter(guest)[1]
    slow = (held("test-irq", tl.PREPARE, "prepare"),
            held("test-iommu", tl.FREEZE, "rehearse"))
    run.cancel(guest)

    _, records = read_timeline(guest)
    for name, step, before, begin, end, after in slow:
        call = _one(run, records, 1, tl.CALLBACK, step=step, name=name)
        run.check(f"{tl.STEP_NAMES[step]} of {name} took its time",
                  before < call.start < begin and end < call.end < after,
                  f"{call}, host: {before}, {begin} to {end}, {after}")
        others = [r for r in _of(records, 1, tl.CALLBACK, step=step) if r.name != name]
        run.check(f"{tl.STEP_NAMES[step]} of the others did not",
                  others and all(before < r.start and r.end < call.start or
                                 call.end < r.start and r.end < after for r in others),
                  str(others))
    run.equal("transitions of the cancelled update",
              [(r.step, r.error) for r in _of(records, 1, tl.STEP)],
              [(tl.PREPARE, 0), (tl.FREEZE, 0), (tl.THAW, 0), (tl.CANCEL, 0)])

    guest.configure("clear;test-memory fail=prepare,errno=5")
    run.equal("prepare with a failing subsystem", guest.set("prepare", 1), "EIO")
    _, records = read_timeline(guest)
    run.equal("updates that are left", {r.update for r in records}, {2})
    run.equal("transitions of the one that failed",
              [(r.step, r.error) for r in _of(records, 2, tl.STEP)],
              [(tl.PREPARE, -5), (tl.CANCEL, 0)])
    run.equal("who failed", [(r.step, r.name, r.error) for r in records if r.error and
                             r.kind == tl.CALLBACK], [(tl.PREPARE, "test-memory", -5)])


@scenario("timeline-bounded", smp=2, limit=200)
def timeline_bounded(run):
    """Hundreds of updates that are cancelled, and of rehearsals, take the room of
    one; the update behind them is recorded in full, with the one before them."""
    guest = run.boot("a")
    names = list(guest.subsystems())
    releases = [release_of(run.image(kernel)) for kernel in "aba"]
    run.update(guest)
    run.finish(guest)
    _, first = read_timeline(guest)

    rounds = 200
    guest.do(f"for i in $(seq {rounds}); do echo 1 > {LIVEUPDATE}/prepare; "
             f"echo 0 > {LIVEUPDATE}/prepare; done", timeout=120)
    header, records = read_timeline(guest)
    run.equal("updates that are left", sorted({r.update for r in records}),
              [1, rounds + 1])
    run.equal("removals", header.generation, rounds - 1)

    run.prepare(guest)
    guest.do(f"for i in $(seq {rounds}); do echo 1 > {LIVEUPDATE}/rehearse; done",
             timeout=120)
    run.load(guest, "a")
    run.jump(guest, "a")
    run.finish(guest)
    header, records = read_timeline(guest)
    run.equal("what the first update left", records[:len(first)], first)
    _check_update(run, first, 1, names, releases[:2])
    run.equal("updates that are left", sorted({r.update for r in records}),
              [1, rounds + 2])
    run.equal("transitions of the last one",
              [r.step for r in _of(records, rounds + 2, tl.STEP)],
              [tl.PREPARE, tl.FREEZE, tl.THAW, tl.FREEZE, tl.RESTORE, tl.FINISH])
    run.equal("marks of the last one",
              [r.name for r in _of(records, rounds + 2, tl.MARK)], list(MARKS))
    run.equal("corrupted and dropped records", (header.corrupted, header.dropped), (0, 0))


def _check_parts(run, records, update, step, count, slow_ms, frequency):
    """The parts of test-devices, in front of its callback; returns the slowest."""
    calls = _of(records, update, tl.CALLBACK, step=step, name="test-devices")
    parts = _one(run, records, update, tl.PARTS, step=step)
    named = _of(records, update, tl.PART, step=step)
    what = f"parts of {tl.STEP_NAMES[step]}"
    run.equal(f"{what}: subsystem and number", (parts.name, parts.error),
              ("test-devices", count))
    at = records.index(parts)
    run.equal(f"{what}: their place", records[at:at + 2 + len(named)],
              [parts, *named, calls[0]])
    run.equal(f"{what}: named", len({r.name for r in named}), min(count, 16))
    took = [r.end - r.start for r in named]
    run.equal(f"{what}: the slowest first", took, sorted(took, reverse=True))
    run.check(f"{what}: together",
              sum(took) <= parts.end - parts.start <= calls[0].end - calls[0].start,
              f"{took}, {parts}, {calls[0]}")
    run.check(f"{what}: the slowest",
              took[0] / frequency >= slow_ms / 1000 * (1 - GUEST_TOLERANCE),
              f"{took[0] / frequency * 1000:.1f} ms")
    return named[0].name


@scenario("timeline-parts", smp=2, expect=(r"Call Trace:",))
def timeline_items(run):
    """A subsystem of many parts: the part under way is seen while it is, named when
    it is late, and the slowest are in the timeline, also that of the next kernel."""
    guest = run.boot("a")
    many, few = 3000, 5
    middle = f"item-{(many + 1) // 2:05}"

    guest.configure(f"test-devices items={many},hold=prepare")
    run.equal("limit", guest.set("prepare_timeout_ms", 500), "")
    job = guest.start(f"guestctl write {LIVEUPDATE}/prepare 1")
    guest.await_late(f"test-devices: {middle}: prepare")
    run.equal("transition", guest.attribute("transition"),
              f"prepare test-devices {middle}")
    guest.release()
    run.contains("prepare", guest.finish(job).out, "ETIMEDOUT")
    run.state(guest, "normal")
    run.last_failed(guest, "prepare", "test-devices", -110)
    _, records = read_timeline(guest)
    given_up = _one(run, records, 1, tl.PARTS, step=tl.PREPARE)
    run.equal("parts until it gave up", given_up.error, (many + 1) // 2)

    run.equal("no limit", guest.set("prepare_timeout_ms", 0), "")
    guest.configure("test-devices hold=none,slow=freeze,ms=300")
    run.prepare(guest)
    guest.configure(f"test-devices items={few}")
    run.load(guest)
    run.jump(guest)
    header, records = read_timeline(guest)
    run.equal("corrupted and dropped records", (header.corrupted, header.dropped), (0, 0))
    _check_parts(run, records, 2, tl.PREPARE, many, 0, header.frequency)
    run.equal("slowest part of freeze",
              _check_parts(run, records, 2, tl.FREEZE, few, 300, header.frequency),
              "item-00003")
    run.finish(guest)


def _timeline_at(handover):
    return handover.record("timeline").value


@scenario("timeline-corrupted-record", **HARM)
def timeline_corrupted_record(run):
    """A record corrupted in memory at the kexec is left out and counted; the others
    arrive, and so does everything else."""
    lost = []

    def harm(guest, handover):
        at = _timeline_at(handover) + HEAD_SIZE + 3 * tl.RECORD.size
        raw = guest.vm.ram.read(at, tl.RECORD.size)
        lost.append(tl.RECORD.unpack(raw))
        handover.flip(at + ERROR_AT)
    guest = jump_with(run, harm)
    run.state(guest, "updated")
    run.nothing_failed(guest)
    header, records = read_timeline(guest)
    run.equal("corrupted records", header.corrupted, 1)
    step, name = lost[0][5], lost[0][-1].split(b"\0")[0].decode()
    run.check("it was a record of a callback", name in guest.subsystems(), str(lost))
    left = [r.name for r in _of(records, 1, tl.CALLBACK, step=step)]
    run.equal("callbacks that are left", sorted(left),
              sorted(set(guest.subsystems()) - {name}))
    run.finish(guest, waits=("sessions", "vm"))
    run.equal("corrupted records later", read_timeline(guest)[0].corrupted, 1)


@scenario("timeline-corrupted-head", **HARM)
def timeline_corrupted_head(run):
    """A corrupted head: nothing of it is used, its memory comes back at finish,
    and the new kernel begins a timeline of its own."""
    guest = jump_with(run, lambda _, h: h.flip(_timeline_at(h) + SLOTS_AT))
    run.state(guest, "updated")
    run.last_failed(guest, "restore", "timeline", -74)
    header, records = read_timeline(guest)
    run.equal("kernels", {(r.kernel, r.update) for r in records}, {(1, 1)})
    run.equal("its first record", (records[0].kind, records[0].name),
              (tl.KERNEL, release_of(run.image("b"))))
    run.equal("steps", [r.step for r in _of(records, 1, tl.STEP)], [tl.RESTORE])
    run.finish(guest, waits=("sessions", "vm"))
    run.contains("console of kernel B", guest.console(2), "timeline: nobody claimed")
    run.update(guest, "a")
    run.nothing_failed(guest)
    run.equal("corrupted records", header.corrupted, 0)
    header, records = read_timeline(guest)
    run.equal("kernels of the next update", {r.kernel for r in records}, {1, 2})
    run.equal("corrupted records after it", header.corrupted, 0)


@scenario("timeline-plain-kexec")
def timeline_plain_kexec(run):
    """A kexec that is no update leaves no timeline, and is not in one."""
    guest = run.boot("a")
    run.load(guest)
    run.jump(guest, state="normal")
    run.equal("records after a plain kexec", read_timeline(guest)[0].count, 0)
    hand_over_data(guest)
    run.update(guest, "a")
    run.equal("boots", len(split_boots(guest.console())), 3)
    _, records = read_timeline(guest)
    run.equal("number of the first update", {r.update for r in records}, {1})
    run.check("the subsystems are in it",
              {*TEST_ORDER} <= {r.name for r in records}, str(records))
    run.finish(guest)
