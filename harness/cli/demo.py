# SPDX-License-Identifier: GPL-2.0
"""The main job, shown as it happens: python3 -m harness.demo.

luctl replaces a kernel by another one through kexec, while one device goes on with its
DMA and another keeps the interrupts that it gets; the next kernel comes up updated,
takes both over, is finished and is normal again. What is said of the devices the host
saw: in memory, in their registers, and in memory that it shares with one of them. The
rest was read from the guest. Any deviation from what has to happen ends the
demonstration with status 1. The picture of the timeline is build/timeline.svg.
"""

import argparse
import os
import signal
import sys
import time

from ..build import initrd
from ..build.initrd import GUEST_INITRD
from ..common import paths
from ..common.run import HarnessError
from ..guest.control import LIVEUPDATE, Rebooted, host_path
from ..guest.pci import TRANSFER, EduDevice, IvshmemDevice, Machine, boot, pattern
from ..scenario.api import Failed, Run, Scenario, release_of
from ..scenario.checks import splats
from ..vm.ivshmem import Ivshmem

PICTURE = paths.BUILD / "timeline.svg"

VECTOR = 3      # of the interrupt that is sent while no kernel runs
CALM = 0.3      # seconds between steps that would otherwise be too fast to read

COLOURS = {"state": "1;32", "kernel": "1;36", "command": "1;33", "quote": "2",
           "bad": "1;31", "title": "1"}


class Screen:
    """Prints what happens, with the time since the start, in colour on a terminal."""

    def __init__(self, colour):
        self._colour = colour
        self._start = time.monotonic()

    def paint(self, kind, text):
        """The text in the colour of its kind."""
        return f"\x1b[{COLOURS[kind]}m{text}\x1b[0m" if self._colour else text

    def say(self, text=""):
        """One line with the time."""
        print(f"{time.monotonic() - self._start:6.1f} s  {text}" if text else "", flush=True)

    def title(self, text):
        """A headline."""
        print("\n" + self.paint("title", f"== {text}"), flush=True)

    def quote(self, text, limit=24):
        """Text of the guest, shortened in the middle."""
        lines = text.splitlines()
        if len(lines) > limit:
            cut = len(lines) - limit + 1
            lines[limit // 2:limit // 2 + cut] = [f"... {cut} more lines ..."]
        for line in lines:
            print("          " + self.paint("quote", line[:110]), flush=True)


class Demo:
    """One demonstration."""

    STATES = ["normal", "prepared", "frozen", "updated", "normal"]

    def __init__(self, screen):
        self._screen = screen
        self._seen = []
        what = Scenario("demo", "the main job, shown", None, smp=2, limit=180,
                        ram_file=True, gdb=True)
        self._run = Run(what, paths.BUILD / "demo", on_event=self._event)

    def _event(self, text):
        """A state the guest entered, told by a process that polls the file, or
        what luctl prints."""
        label, _, value = text.partition(" ")
        if label == "luctl":
            self._screen.quote(value)
        elif label == "state" and (not self._seen or self._seen[-1] != value):
            self._seen.append(value)
            self._screen.say(f"the state is {self._screen.paint('state', value)}")

    def _follow(self, machine):
        machine.do(f"guestctl follow {LIVEUPDATE}/state 100000 state >/dev/null 2>&1 &")
        self._complete(machine)

    def _complete(self, machine):
        """Lets what the guest reports come in."""
        machine.pump(CALM)

    def _command(self, machine, text, limit=24):
        self._screen.say(f"{self._screen.paint('command', '# ' + text)}")
        output = machine.do(text, timeout=60)
        self._screen.quote(output, limit)
        self._complete(machine)
        return output

    def _kernel(self, machine):
        name = machine.do("uname -r")
        self._screen.say(f"running kernel: {self._screen.paint('kernel', name)}")
        return name

    def _failures(self, machine):
        self._run.nothing_failed(machine)

    def _at_work(self, machine, host, server):
        """The old kernel's drivers, and what their devices do: (edu, ivshmem)."""
        screen, run = self._screen, self._run
        edu = EduDevice(run, machine, host, "edu0")
        bell = IvshmemDevice(run, machine, host, "ivshmem0", server)
        for device in (edu, bell):
            device.load("a")
            self._command(machine, f"echo 1 > {device.function.path}/liveupdate/requested")
            run.equal(f"requested of {device.name}", device.status()[0], "1")
        edu.store(pattern(edu.name))
        bell.ring(VECTOR, "in the old kernel")
        machine.do(f"guestctl stream {edu.command('from')} >/dev/null 2>&1 &")
        screen.say(f"{edu.identity}, behind a root port, fills memory of its driver by DMA, "
                   "again and again;")
        screen.say(f"{bell.identity} counted the interrupt that the host sent")
        return edu, bell

    def _jump(self, machine, command, edu, bell, server):
        """The update, up to the next kernel; what the devices do in between."""
        screen, run, ram = self._screen, self._run, machine.vm.ram
        here, there = bytes(TRANSFER), pattern(edu.name)[:TRANSFER]
        gdb = machine.stop_at_jump(command, meanwhile=lambda: machine.pump(0.05))
        self._complete(machine)
        screen.say("the host stops the machine: the old kernel has done all it will ever do")
        memory = edu.hold(gdb, here).memory
        ram.write(memory, here)
        run.equal("memory of the transfer", ram.read(memory, TRANSFER), here)
        screen.say("a transfer is in flight; the host blanks the memory that it goes to, rings "
                   "the other device, and lets go")
        counts = server.counts()
        server.ring(VECTOR)
        edu.land(gdb, gdb.run_to_image())
        run.equal("memory between the kernels", ram.read(memory, TRANSFER), there)
        run.equal("interrupts that anybody counted", server.counts(), counts)
        screen.say(f"it keeps it between the two kernels until all {TRANSFER} bytes are there, "
                   "written while no kernel runs")
        gdb.detach()
        return machine.wait_boot(), counts

    def _taken_over(self, machine, edu, bell, server, counts):
        """The next kernel's drivers have the devices as they were."""
        screen, run = self._screen, self._run
        run.equal("interrupts before there is a driver", server.counts(), counts)
        for device in (edu, bell):
            device.load("b")
            run.equal(f"{device.name}: retrieved", device.shown("retrieved"), "1")
            run.equal(f"{device.name}: reclaimed", device.status()[2], "1")
        bell.check_interrupts("when there is one", (
            count + (vector == VECTOR) for vector, count in enumerate(counts)))
        edu.idle()
        run.equal("what the driver finds", edu.buffer()[:TRANSFER],
                  pattern(edu.name)[:TRANSFER])
        resets = [event for event in machine.vm.qmp.events if event["event"] == "RESET"]
        run.equal("resets of the machine", resets, [])
        screen.say("the drivers took both devices over as they were: one found what its "
                   "device had written,")
        screen.say("the other got the interrupt of the time when nobody listened, once")

    def play(self):
        """Shows it all; raises when something is not as it has to be."""
        with Ivshmem() as server:
            self._play(server)

    def _play(self, server):
        screen, run = self._screen, self._run
        screen.title("The old kernel")
        machine, host = boot(run, Machine().port("port0").edu("edu0", "port0")
                             .ivshmem("ivshmem0", server))
        old = self._kernel(machine)
        self._follow(machine)
        self._command(machine, "luctl status")
        machine.do("guestctl session create demo-guest-memory 32")
        screen.say("a tenant keeps 32 MiB in a session of its own")

        screen.title("Two devices at work")
        edu, bell = self._at_work(machine, host, server)

        screen.title("Can the next kernel read what it will be handed?")
        image = host_path(run.image("b"))
        self._command(machine, f"luctl check {image}")

        screen.title("The update: check, load, prepare, rehearse, sync, jump")
        command = (f"luctl update {image} --initrd {GUEST_INITRD} --reuse-cmdline --now")
        screen.say(screen.paint("command", f"# {command}"))
        came, counts = self._jump(machine, f"{command} | guestctl events luctl", edu, bell,
                                  server)
        screen.say("another kernel is up; the machine was not reset, its firmware did not "
                   "run")

        screen.title("The new kernel")
        new = self._kernel(machine)
        run.equal("the new kernel", new, release_of(run.image("b")))
        run.check("another kernel runs", old != new and came.number == 2, new)
        self._follow(machine)
        self._taken_over(machine, edu, bell, server, counts)
        self._failures(machine)
        screen.say("what the old kernel printed on its way down, read from the new one:")
        log = machine.attribute("shutdown_log")
        run.contains("the shutdown log", log, "Starting new kernel")
        screen.quote(log)
        run.equal("the tenant's memory", machine.do(
            "guestctl session verify demo-guest-memory 32"), f"ok {32 << 20} bytes")
        screen.say("the tenant's 32 MiB are intact, every byte was compared")

        screen.title("Finish")
        self._command(machine, "luctl finish")
        run.state(machine, "normal")
        edu.check_works("after the update")
        bell.ring(VECTOR, "after the update")
        screen.say("both devices work, as the host sees")
        self._failures(machine)
        self._complete(machine)
        run.equal("states as they were entered", self._seen, self.STATES)
        run.equal("machines that were booted", len(run.guests), 1)
        found = splats(machine.vm.serial())
        if found:
            raise Failed(f"console: {found[0]}")

        screen.title("Where the time went (under emulation, by the processor's counter)")
        shown = self._command(machine, "luctl timeline", limit=60)
        for name in (old, new):
            run.contains("luctl timeline", shown, name)
        PICTURE.write_text(machine.do("luctl timeline --svg /tmp/svg >/dev/null && "
                                      "cat /tmp/svg"),
                           encoding="utf-8")
        screen.say(f"a picture of it: {PICTURE.relative_to(paths.ROOT)}")
        screen.say(f"done: {old} was replaced by {new}, states: {' -> '.join(self._seen)}")

    def close(self):
        """Ends the machine."""
        self._run.close()


def main(argv=None):
    """Entry point."""
    parser = argparse.ArgumentParser(prog="harness.demo", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.parse_args(argv)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    screen = Screen(colour)
    demo = None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        initrd.build()
        demo = Demo(screen)
        demo.play()
    except Rebooted as rebooted:
        screen.say(screen.paint("bad", f"FAILED: kernel {rebooted.boot.release} came up "
                                "though nobody asked for it"))
        return 1
    except HarnessError as error:
        screen.say(screen.paint("bad", f"FAILED: {error}"))
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if demo:
            demo.close()
    return 0
