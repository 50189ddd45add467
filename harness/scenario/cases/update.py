# SPDX-License-Identifier: GPL-2.0
"""Updates that work: by every way there is to ask for one."""

import json
import re

from ...guest.control import LIVEUPDATE, TEST, host_path
from ..api import scenario
from ..handed_over import HandedOver
from ..subsystems import TEST_ORDER, check_calls, check_received, hand_over_data, size_of

LEVELS = ("workload", "devices", "irq", "iommu", "memory")

# Of each subsystem, in the order of the whole list.
FILES = ("version", "oldest", "level", "class", "bytes")


@scenario("update-echo", debug=True, smp=2)
def update_echo(run):
    """Kernel A is replaced by kernel B with nothing but echo; every state, call
    order and handed-over byte is checked on the way."""
    guest = run.boot("a")
    run.state(guest, "normal")
    run.nothing_failed(guest)
    table = guest.subsystems()
    for name, level in zip(TEST_ORDER, LEVELS):
        run.equal(f"level of {name}", table.get(name, (0, 0, "absent"))[2], level)
    run.check("the shutdown log is a subsystem", "shutdown-log" in table, str(table))

    uevents = guest.start("guestctl uevent 9000 LIVEUPDATE_STATE 1")
    waiter = guest.start(f"guestctl poll {LIVEUPDATE}/state 9000")
    guest.until(f"grep -q listening {uevents}")
    guest.do("usleep 200000")
    hand_over_data(guest)
    guest.do(f"echo 1 > {LIVEUPDATE}/prepare")
    run.state(guest, "prepared")
    run.equal("poll(2) on state", guest.finish(waiter).out, "prepared")
    run.contains("uevent", guest.finish(uevents).out, "LIVEUPDATE_STATE=prepared")
    check_calls(run, guest, "prepare", TEST_ORDER)
    for name, value in (("prepare", 1), ("finish", 1)):
        run.equal(f"{name}={value} in prepared", guest.set(name, value), "EBUSY")
    sizes = guest.subsystems()
    for name in TEST_ORDER:
        run.equal(f"bytes of {name}", sizes[name][4], size_of(name))
        run.equal(f"files of {name}", tuple(guest.attribute(f"subsystems/{name}/{file}")
                                            for file in FILES),
                  tuple(str(value) for value in sizes[name]))

    run.load(guest)
    run.jump(guest)
    run.nothing_failed(guest)
    check_received(run, guest)
    check_calls(run, guest, "restore", TEST_ORDER[::-1])
    for name, value in (("prepare", 1), ("prepare", 0), ("rehearse", 1)):
        run.equal(f"{name}={value} in updated", guest.set(name, value), "EBUSY")
    guest.do(f"echo 1 > {LIVEUPDATE}/finish")
    run.state(guest, "normal")
    check_calls(run, guest, "finish", TEST_ORDER)
    run.equal("finish in normal", guest.set("finish", 1), "EBUSY")
    run.lacks("console of kernel B", guest.console(2), "nobody claimed")
    run.prepare(guest)
    run.cancel(guest)


@scenario("update-kexec-tools")
def update_kexec_tools(run):
    """The same with kexec-tools: kexec -s -l loads, kexec -e jumps."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    guest.do(f"kexec -s -l {host_path(run.image('b'))} --initrd=/host/guest/initrd "
             f"--command-line='{run.append()}'", timeout=60)
    run.jump(guest, command="kexec -e")
    check_received(run, guest)
    run.finish(guest)


@scenario("update-memfd-session", debug_always=True)
def update_memfd_session(run):
    """Upstream sessions live beside the machine: one made before prepare and one
    after it arrive with every byte, whenever finish comes; it is refused, naming the
    session, while one is not retrieved, unless that is given up."""
    guest = run.boot("a")
    guest.do("guestctl session create early 16")
    hand_over_data(guest)
    run.prepare(guest)
    guest.do("guestctl session create late 4")
    run.load(guest)
    run.jump(guest)
    run.equal("session retrieved in updated", guest.do("guestctl session verify early 16"),
              f"ok {16 << 20} bytes")
    check_received(run, guest)
    run.finish(guest, waits=("sessions", "late"))
    run.equal("session retrieved after finish", guest.do("guestctl session verify late 4"),
              f"ok {4 << 20} bytes")
    run.equal("a session nobody made", guest.run("guestctl session retrieve none")
              .out.split()[0], "ENOENT")


@scenario("rehearse-then-update")
def rehearse_then_update(run):
    """rehearse really freezes and thaws, reports a subsystem that fails, and
    leaves the machine prepared; the update after it works."""
    guest = run.boot("a")
    run.equal("rehearse in normal", guest.set("rehearse", 1), "EBUSY")
    hand_over_data(guest)
    run.prepare(guest)

    run.step("rehearse")
    run.equal("rehearse", guest.set("rehearse", 1), "")
    run.state(guest, "prepared")
    check_calls(run, guest, "freeze", TEST_ORDER)
    check_calls(run, guest, "thaw", TEST_ORDER[::-1])

    run.step("rehearse with a subsystem that fails")
    before = len(guest.calls())
    guest.configure("test-irq fail=freeze,errno=5")
    run.equal("rehearse with a failing freeze", guest.set("rehearse", 1), "EIO")
    run.state(guest, "prepared")
    run.last_failed(guest, "freeze", "test-irq", -5)
    run.equal("calls of the failed rehearsal", guest.calls()[before:],
              [("freeze", "test-workload", "0"), ("freeze", "test-devices", "0"),
               ("freeze", "test-irq", "-5"),
               ("thaw", "test-devices", "0"), ("thaw", "test-workload", "0")])

    guest.configure("test-irq fail=none")
    run.load(guest)
    run.jump(guest)
    check_received(run, guest)
    run.finish(guest)


@scenario("cancel-then-kexec")
def cancel_then_kexec(run):
    """A cancelled update hands nothing over: a plain kexec after it starts a
    normal kernel, and that one can be updated again."""
    guest = run.boot("a")
    hand_over_data(guest)
    run.prepare(guest)
    run.cancel(guest)
    check_calls(run, guest, "cancel", TEST_ORDER[::-1])
    run.load(guest)
    run.jump(guest, state="normal")
    run.equal("data received after a cancel", guest.received(), {})
    run.nothing_failed(guest)
    run.update(guest, "a")
    run.finish(guest)


@scenario("ten-updates", limit=400, memory="512M", ram_file=True, gdb=True)
def ten_updates(run):
    """Ten updates in a row, each with its own data and session. Every page that one of the
    first four handed over, by either kernel twice, has another use after finish, or is
    free, and they are no more each time; the timeline still tells of the latest ones.
    Fails if anybody forgets to free what it restored."""
    guest = run.boot("a")
    kernels = "ab"
    handed = HandedOver(run, guest)
    for number in range(1, 11):
        kernel = kernels[number % 2]
        data = {name: f"{name}-{number}" for name in TEST_ORDER}
        guest.configure(";".join(f"{name} data={text}" for name, text in data.items()))
        guest.do(f"guestctl session create vm{number} 8")
        run.prepare(guest)
        run.load(guest, kernel)
        look = number <= 4
        if look:
            handed.jump(kernel, data["test-memory"])
        else:
            run.jump(guest, kernel)
        check_received(run, guest, data)
        run.equal("session", guest.do(f"guestctl session verify vm{number} 8"),
                  f"ok {8 << 20} bytes")
        if look:
            handed.finish()
        else:
            run.finish(guest)
    timeline = json.loads(guest.do("luctl timeline --json --list"))
    told = timeline["updates"]
    run.equal("updates that the timeline ends with", [one["number"] for one in told],
              list(range(11 - len(told), 11)))
    run.check("half of the timeline is full of updates", len(told) > 2, str(len(told)))
    for one in told:
        run.equal(f"update {one['number']}", (one["outcome"], one["credible"]),
                  ("complete", True))
        run.check(f"update {one['number']} has a gap", one["gap_ns"] > 0)
    run.equal("corrupted and dropped records", (timeline["corrupted"], timeline["dropped"]),
              (0, 0))


def _with_cpus(run, count):
    guest = run.boot("a")
    run.equal("processors of kernel A", int(guest.do("nproc")), count)
    hand_over_data(guest)
    run.update(guest)
    run.equal("processors of kernel B", int(guest.do("nproc")), count)
    check_received(run, guest)
    run.finish(guest)


@scenario("one-cpu", smp=1)
def one_cpu(run):
    """An update on a machine with one processor."""
    _with_cpus(run, 1)


@scenario("two-cpus", smp=2)
def two_cpus(run):
    """An update asked for on the second of two processors."""
    guest = run.boot("a")
    run.equal("processors of kernel A", int(guest.do("nproc")), 2)
    hand_over_data(guest)
    run.prepare(guest)
    run.load(guest)
    run.jump(guest, command="taskset 2 guestctl reboot kexec")
    run.equal("processors of kernel B", int(guest.do("nproc")), 2)
    check_received(run, guest)
    run.finish(guest)


def _text_address(guest):
    return int(guest.do("grep ' _text$' /proc/kallsyms").split()[0], 16)


@scenario("kaslr", smp=2)
def kaslr(run):
    """Both kernels at random addresses: nothing handed over depends on where the
    old one was."""
    guest = run.boot("a", kaslr=True)
    first = _text_address(guest)
    hand_over_data(guest)
    guest.do("guestctl session create vm 8")
    run.prepare(guest)
    run.load(guest, kaslr=True)
    run.jump(guest)
    second = _text_address(guest)
    run.check("at least one kernel is at a random address",
              {first, second} != {0xffffffff81000000},
              f"both kernels are at {first:#x}")
    check_received(run, guest)
    run.equal("session", guest.do("guestctl session verify vm 8"), f"ok {8 << 20} bytes")
    run.finish(guest)


@scenario("shutdown-log", smp=2, debug=True)
def shutdown_log(run):
    """What the old kernel printed between freeze and the kexec is read in the new
    one, only by root, and nothing from before."""
    guest = run.boot("a")
    run.equal("log of no earlier kernel", guest.attribute("shutdown_log"), "")
    run.equal("mode of shutdown_log", guest.do(f"stat -c %a {LIVEUPDATE}/shutdown_log"),
              "400")
    run.prepare(guest)
    run.load(guest)
    guest.do("echo before-the-freeze > /dev/kmsg")
    # Somebody writes a numbered line every few milliseconds until the kernel stops
    # him, and the freeze is held until it has some of them.
    guest.configure("test-memory hold=freeze")
    guest.do("mkfifo /tmp/pause; (exec 3<>/tmp/pause; i=0; while :; do "
             "echo marker-$i > /dev/kmsg; i=$((i+1)); read -t 0.003 -u 3 nothing; "
             "done) >/dev/null 2>&1 &")
    guest.start(f"until grep -q '^freeze test-memory' {TEST}/calls; do usleep 20000; done; "
                "count=$(dmesg | grep -c marker-); "
                "until [ $(dmesg | grep -c marker-) -gt $((count + 5)) ]; do usleep 20000; "
                f"done; echo 1 > {TEST}/release")
    run.jump(guest)
    log = guest.attribute("shutdown_log")
    run.contains("log of the old kernel", log, "marker-")
    run.contains("log of the old kernel", log, "Starting new kernel")
    run.lacks("log of the old kernel", log, "before-the-freeze")
    shown = [line for line in guest.console(1).splitlines() if "marker-" in line]
    last = re.search(r"marker-\d+", shown[-1]).group()
    run.check("the log has the last line the old kernel printed", last in log,
              f"console ends with {last}, log with {log.splitlines()[-1:]}")
    run.equal("shutdown_log read by nobody", guest.run(
        f"guestctl setuid 65534 guestctl read {LIVEUPDATE}/shutdown_log")
        .out.split()[0], "EACCES")
    run.finish(guest)
    run.contains("log after finish", guest.attribute("shutdown_log"), "Starting new kernel")


@scenario("tracepoints")
def tracepoints(run):
    """Every change of state and every callback shows as a trace event."""
    guest = run.boot("a")
    tracing = "/sys/kernel/tracing"
    guest.do(f"echo 1 > {tracing}/events/liveupdate/enable; echo > {tracing}/trace")
    run.prepare(guest)
    run.equal("rehearse", guest.set("rehearse", 1), "")
    run.cancel(guest)
    trace = guest.read(f"{tracing}/trace")
    for state in ("prepared", "normal"):
        run.check(f"state {state} is traced",
                  re.search(rf"liveupdate_state: .*\b{state}\b", trace), trace[-400:])
    for step in ("prepare", "freeze", "thaw", "cancel"):
        for name in TEST_ORDER:
            for event in ("start", "end"):
                run.check(f"{event} of {step} {name} is traced", re.search(
                    rf"liveupdate_callback_{event}: .*\b{step}\b.*\b{name}\b", trace),
                    trace[-400:])


@scenario("live-update-off")
def live_update_off(run):
    """With liveupdate or kho off there is no folder and nothing to switch on."""
    for enabled in ("kho=on", "kho=off liveupdate=on", ""):
        guest = run.boot("a", enabled=enabled)
        run.equal(f"/sys/kernel/liveupdate with {enabled!r}", guest.exists(LIVEUPDATE), False)
        run.equal(f"test subsystems with {enabled!r}", guest.exists(f"{TEST}/calls") and
                  bool(guest.read(f"{TEST}/calls")), False)
        guest.vm.close()
