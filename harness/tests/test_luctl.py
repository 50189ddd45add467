# SPDX-License-Identifier: GPL-2.0
"""luctl: what the operator gets for every command, state and error."""

import errno
import json
import os
import shutil
import signal
import time

from ..guest import timeline as tf
from .luctl_fixture import (FAILED, INTERRUPTED, OK, OUTPUT, POLICY, SIGNALS,
                            STATE, TIMEOUT, UNAVAILABLE, UNREADABLE, USAGE,
                            LuctlTest)
from .test_luctl_timeline import Update

#: command -> (state it needs, state it leads to, step of its failures)
COMMANDS = {
    "prepare": ("normal", "prepared", "prepare"),
    "cancel": ("prepared", "normal", "cancel"),
    "rehearse": ("prepared", "prepared", "freeze"),
    "finish": ("updated", "normal", "finish"),
}

STATES = ("normal", "prepared", "frozen", "updated")

#: What is right in a state.
RIGHT = {"normal": "luctl prepare", "prepared": "luctl cancel",
         "frozen": "nothing", "updated": "luctl finish"}

ERRNOS = ("EPERM", "ENOENT", "EIO", "E2BIG", "ENOMEM", "EACCES", "EBUSY",
          "EINVAL", "ENOSPC", "EOPNOTSUPP", "ETIMEDOUT")


class Requests(LuctlTest):
    """prepare, cancel, rehearse and finish."""

    def test_success(self):
        for command, (state, after, _) in COMMANDS.items():
            with self.subTest(command):
                text, machine = self.both(OK, command, state=state)
                self.assertEqual(text.calls, [command])
                self.assertIn(f"{command}: done", text.out)
                self.assertIn(after, text.out)
                self.assertEqual(text.err, "")
                self.assertEqual(machine.objects()[0]["state"], after)
                self.assertEqual(self.sysfs("state"), after)

    def test_wrong_state(self):
        for command, (needs, _, _) in COMMANDS.items():
            for state in set(STATES) - {needs}:
                with self.subTest(command, state=state):
                    text, _ = self.both(STATE, command, state=state)
                    self.assertIn(f"{state}, not {needs}", text.err)
                    self.assertIn(RIGHT[state], text.err)
                    self.assertEqual(self.sysfs("state"), state)

    def test_another_transition(self):
        for command, (state, _, _) in COMMANDS.items():
            for running, way_out in (("prepare pci", "ordinary reboot"),
                                     ("freeze pci", "reset")):
                with self.subTest(command, running=running):
                    text, _ = self.both(
                        STATE, command, state=state, prepare=lambda r=running:
                        self.sysfs("transition", r + "\n"))
                    self.assertIn(running, text.err)
                    self.assertIn(way_out, text.err)

    def test_the_system_is_busy(self):
        for command, (state, _, _) in COMMANDS.items():
            with self.subTest(command):
                text, _ = self.both(
                    STATE, command, state=state, prepare=lambda c=command:
                    self.script(c, errno=errno.EBUSY))
                self.assertIn("suspends", text.err)

    def test_a_subsystem_fails(self):
        for command, (state, _, step) in COMMANDS.items():
            # The kernel's cancel and finish cannot fail.
            for name in ERRNOS if command in ("prepare", "rehearse") \
                    else ERRNOS[:1]:
                with self.subTest(command, name=name):
                    number = getattr(errno, name)
                    text, machine = self.both(
                        FAILED, command, state=state,
                        prepare=lambda c=command, n=number:
                        self.script(c, errno=n, name="pci"))
                    self.assertIn(f"luctl: pci: {step} failed with {name}",
                                  text.err)
                    self.assertEqual(text.err.count("\n"), 1)
                    self.assertTrue(machine.objects()[0]["error"]["advice"])
                    self.assertEqual(self.sysfs("state"), state)
                    for word, where in (("still prepared", "prepared"),
                                        ("everything is undone", "normal")):
                        self.assertEqual(word in text.err, state == where)

    def test_advice(self):
        for number, subsystem, word in (
                (errno.ENOMEM, "", "free some memory"),
                (errno.E2BIG, "", "unload modules"),
                (errno.E2BIG, "pci", "more to hand over"),
                (errno.EIO, "pci", "documentation of pci"),
                (errno.ETIMEDOUT, "pci", "no limit is set")):
            text, _ = self.both(
                FAILED, "prepare", prepare=lambda n=number, p=subsystem:
                self.script("prepare", errno=n, name=p))
            self.assertIn(word, text.err)

    def test_an_older_failure_is_not_blamed(self):
        for step, number in (("restore", errno.EIO),
                             ("prepare", errno.ENOSPC)):
            def earlier(step=step, number=number):
                self.failed(step, "pci", number)
                self.script("prepare", errno=errno.EIO)
            text, _ = self.both(FAILED, "prepare", prepare=earlier)
            self.assertIn("luctl: prepare:", text.err)
            self.assertNotIn("pci", text.err)

    def fail_before(self, name="pci", number=errno.EBUSY, step="prepare"):
        """A failure that is there already."""
        self.failed(step, name, number)

    def test_an_older_failure_in_the_same_step(self):
        """A request that the kernel refuses at once is not blamed on it."""
        def refused():
            self.fail_before()
            self.script("prepare", errno=errno.EBUSY)
        text, _ = self.both(STATE, "prepare", prepare=refused)
        self.assertIn("suspends", text.err)
        self.assertNotIn("pci", text.err)

    def test_the_same_failure_again(self):
        """The number of failures shows that it is new."""
        def again(number):
            self.fail_before(number=number)
            self.script("prepare", errno=number, name="pci")
        for number in (errno.EBUSY, errno.EPERM, errno.EIO):
            text, _ = self.both(FAILED, "prepare",
                                prepare=lambda n=number: again(n))
            self.assertIn("luctl: pci: prepare failed with "
                          + errno.errorcode[number], text.err)

    def test_a_device_fails(self):
        """It is named, with the reason; either may not be known."""
        def fail(device, reason):
            self.failed("none", "", 0, device, reason, count=0)
            self.script("prepare", errno=errno.EOPNOTSUPP, name="devices")
        for device, reason, told in (
                ("pci:0000:00:04.0", "its bus is not supported",
                 "devices: pci:0000:00:04.0: its bus is not supported; prepare failed"),
                ("pci:0000:00:04.0", "", "devices: pci:0000:00:04.0; prepare failed"),
                ("", "time is up", "devices: time is up; prepare failed"),
                ("", "", "luctl: devices: prepare failed")):
            text, _ = self.both(FAILED, "prepare", prepare=lambda d=device,
                                r=reason: fail(d, r))
            self.assertIn(told + " with EOPNOTSUPP", text.err)

    def test_microseconds(self):
        _, machine = self.both(OK, "rehearse", state="prepared", prepare=lambda:
                               self.script("rehearse", ms=20))
        self.assertGreaterEqual(machine.objects()[0]["microseconds"], 20000)
        text, machine = self.both(OK, "rehearse", state="prepared")
        self.assertGreater(machine.objects()[0]["microseconds"], 0)
        self.assertRegex(text.out, r"done in \d\.\d{6} s")

    def test_output_that_cannot_be_written(self):
        """prepare is undone, the others say that they are done."""
        for command, (state, after, _) in COMMANDS.items():
            for more in ((), ("--json",)):
                for where in ("/dev/full", "pipe"):
                    with self.subTest(command, more=more, where=where):
                        self.reset(state)
                        self.unheard(command, after, more, where)

    def unheard(self, command, after, more, where):
        """A command whose standard output cannot be written."""
        number, name = (os.open(where, os.O_WRONLY), "ENOSPC") \
            if where != "pipe" else (self.closed_pipe(), "EPIPE")
        with self.start(*more, command, stdout=number) as process:
            os.close(number)
            err = process.stderr.read()
        self.assertEqual(process.returncode, OUTPUT)
        self.assertIn(name, err)
        if more:
            self.assert_error(json.loads(err)["error"])
        undone = command == "prepare"
        self.assertEqual(self.calls(),
                         ["prepare", "cancel"] if undone else [command])
        self.assertEqual(self.sysfs("state"), "normal" if undone else after)
        self.assertIn("it is undone" if undone else
                      f"{command} is done, the state is {after}", err)

    @staticmethod
    def closed_pipe():
        """A pipe that nobody reads."""
        reader, writer = os.pipe()
        os.close(reader)
        return writer

    def test_no_permission(self):
        for command, (state, _, _) in COMMANDS.items():
            text, _ = self.both(FAILED, command, state=state,
                                prepare=lambda c=command:
                                self.script(c, errno=errno.EPERM))
            self.assertIn("CAP_SYS_BOOT", text.err)

    def test_no_live_update(self):
        def remove():
            folder = self.top / "sys/kernel/liveupdate"
            shutil.rmtree(folder)
        for command in ("status", *COMMANDS):
            text, _ = self.both(UNAVAILABLE, command, prepare=remove)
            self.assertIn("CONFIG_LIVEUPDATE_SUBSYSTEMS", text.err)
            self.assertIn("kho=on liveupdate=on", text.err)

    def test_too_old_for_it(self):
        """No configuration helps where the kernel cannot have it."""
        for release, old in (("6.15.9-cloud", True), ("5.10.0", True),
                             ("6.1.0-31-amd64", True), ("6.16.0", False),
                             ("7.0", False), ("odd", False)):
            def prepare(release=release):
                shutil.rmtree(self.top / "sys/kernel/liveupdate")
                self.put("proc/sys/kernel/osrelease", release + "\n")
            text, _ = self.both(UNAVAILABLE, "status", prepare=prepare)
            number = ".".join(release.split(".")[:2])
            self.assertEqual(f"Linux {number} has no Kexec HandOver at all"
                             in text.err, old, text.err)
            self.assertEqual("CONFIG_" in text.err, not old)

    def test_a_file_is_missing(self):
        text, _ = self.both(
            UNREADABLE, "rehearse", prepare=lambda:
            (self.top / "sys/kernel/liveupdate/rehearse").unlink())
        self.assertIn("kernel/liveupdate/rehearse: ENOENT", text.err)


class Advice(LuctlTest):
    """What it says to do fits the state."""

    def test_a_failed_freeze(self):
        for state, word in (("prepared", "still prepared"),
                            ("normal", "everything is undone")):
            def fails(state=state):
                self.script("rehearse", errno=errno.EIO, name="pci",
                            then=state)
            text, _ = self.both(FAILED, "rehearse", state="prepared",
                                prepare=fails)
            self.assertIn(word, text.err)

    def test_status_does_not_speak_of_another_state(self):
        def failed():
            self.failed("freeze", "pci", errno.EIO)
        for state in STATES:
            text, _ = self.both(OK, "status", state=state, prepare=failed)
            self.assertNotIn("still prepared", text.out)

    def test_time_is_up(self):
        """A subsystem may give up by itself."""
        def late(limit):
            self.sysfs("prepare_timeout_ms", f"{limit}\n")
            self.script("prepare", errno=errno.ETIMEDOUT, name="pci")
        text, _ = self.both(FAILED, "prepare", prepare=lambda: late(0))
        self.assertNotIn("--timeout", text.err)
        text, _ = self.both(TIMEOUT, "prepare", prepare=lambda: late(50))
        self.assertIn("raise --timeout", text.err)

    def test_next(self):
        for state, loaded, words, others in (
                ("normal", "0", "luctl update", "kexec -u"),
                ("normal", "1", "kexec -u", "luctl update"),
                ("prepared", "0", "kexec -s -l", "kexec -e"),
                ("prepared", "1", "kexec -e", "kexec -s -l")):
            text, _ = self.both(OK, "status", state=state, prepare=lambda
                                l=loaded: self.put("sys/kernel/kexec_loaded",
                                                   l + "\n"))
            (line,) = (line for line in text.out.splitlines()
                       if line.startswith("next "))
            self.assertIn(words, line)
            self.assertNotIn(others, line)


class Cancel(LuctlTest):
    """cancel, and the image that is loaded."""

    def cancel(self, status, *args, loaded=True, **script):
        """cancel with an image that is loaded, or not."""
        def prepare():
            self.put("sys/kernel/kexec_loaded", f"{int(loaded)}\n")
            self.script("unload", **script)
        return self.both(status, "cancel", *args, state="prepared",
                         prepare=prepare)

    def test_the_image_stays_loaded(self):
        text, machine = self.cancel(OK)
        self.assertIn("stays loaded", text.out)
        self.assertIn("kexec -u", text.out)
        self.assertIs(machine.objects()[0]["kexec_loaded"], True)
        self.assertEqual(text.calls, ["cancel"])

    def test_there_is_none(self):
        for args in ((), ("--unload",)):
            text, machine = self.cancel(OK, *args, loaded=False)
            self.assertNotIn("loaded", text.out)
            self.assertIs(machine.objects()[0]["kexec_loaded"], False)

    def test_unload(self):
        text, machine = self.cancel(OK, "--unload")
        self.assertEqual(text.calls, ["cancel", "unload"])
        self.assertNotIn("loaded", text.out)
        self.assertIs(machine.objects()[0]["kexec_loaded"], False)

    def test_it_cannot_be_unloaded(self):
        text, machine = self.cancel(FAILED, "--unload", errno=errno.EBUSY)
        self.assertIn("cancelled, but the image cannot be unloaded: EBUSY",
                      text.err)
        self.assertEqual(machine.objects()[0]["state"], "normal")

    def test_refused(self):
        self.both(STATE, "cancel", "--unload")
        self.assertEqual(self.calls(), ["cancel"])


class Retained(LuctlTest):
    """prepare names what the kernel must not lose."""

    def prepare(self, state="normal", **causes):
        """prepare is refused with EBUSY while this is retained."""
        def refuse():
            self.retain(**causes)
            self.script("prepare", errno=errno.EBUSY)
        return self.both(STATE if state != "normal" or not causes else FAILED,
                         "prepare", state=state, prepare=refuse)

    def test_named(self):
        text, machine = self.prepare(iommu=(4096, "nobody has restored it"),
                                     vfio=(0, "it may run"))
        self.assertIn("luctl: iommu: retained and 1 more, because nobody has restored it; "
                      "prepare failed with EBUSY", text.err)
        self.assertIn("retained/iommu/forget", text.err)
        error = machine.objects()[-1]["error"]
        self.assertEqual((error["thing"], error["errno"]), ("iommu", "EBUSY"))

    def test_only_one(self):
        text, _ = self.prepare(iommu=(4096, "nobody has restored it"))
        self.assertIn("iommu: retained, because nobody has restored it;", text.err)

    def test_nothing(self):
        text, _ = self.prepare()
        self.assertNotIn("retained", text.err)

    def test_the_state_counts_more(self):
        text, _ = self.prepare(state="updated", iommu=(1, "nobody has restored it"))
        self.assertIn("updated, not normal", text.err)
        self.assertNotIn("retained", text.err)


class Finish(LuctlTest):
    """finish does not lose devices without a word."""

    WAITING = ("pci 0000:00:04.0 0000:00:04.0", "edu a-b -")

    def finish(self, status, *args, state="updated", **lists):
        """finish with these devices."""
        return self.both(status, "finish", *args, state=state,
                         prepare=lambda: self.devices(**lists))

    def test_refused(self):
        text, _ = self.finish(POLICY, unreclaimed=self.WAITING)
        self.assertEqual(text.calls, [])
        self.assertIn("pci 0000:00:04.0, edu a-b (absent)", text.err)
        self.assertIn("--give-up", text.err)

    def test_given_up(self):
        text, machine = self.finish(OK, "--give-up", unreclaimed=self.WAITING)
        self.assertEqual(text.calls, ["give-up"])
        self.assertIn("given up: pci 0000:00:04.0, edu a-b (absent)", text.out)
        self.assertEqual(machine.objects()[0]["given_up"], [
            {"bus": "pci", "identity": "0000:00:04.0", "name": "0000:00:04.0",
             "is": "unreclaimed"},
            {"bus": "edu", "identity": "a-b", "name": None,
             "is": "unreclaimed"}])

    def test_nothing_waits(self):
        for lists in ({}, {"reclaimed": self.WAITING[:1]}):
            text, machine = self.finish(OK, **lists)
            self.assertEqual(text.calls, ["finish"])
            self.assertEqual(machine.objects()[0]["given_up"], [])
            self.assertNotIn("given up", text.out)

    def test_the_kernel_names_what_waits(self):
        """Of what luctl does not look at, such as sessions."""
        def wait():
            self.failed("none", "", 0, "vm", "it is not retrieved", count=0)
            self.script("finish", errno=errno.EBUSY, name="sessions")
        text, machine = self.both(POLICY, "finish", state="updated", prepare=wait)
        self.assertEqual(text.calls, ["finish"])
        self.assertIn("luctl: sessions: vm: it is not retrieved; finish failed with EBUSY",
                      text.err)
        self.assertIn("--give-up", machine.objects()[0]["error"]["advice"])

    def test_another_state_counts_more(self):
        text, _ = self.finish(STATE, state="normal", unreclaimed=self.WAITING)
        self.assertIn("normal, not updated", text.err)

    def test_many(self):
        lines = [f"pci 0000:00:{i:02x}.0 x" for i in range(30)]
        text, _ = self.finish(POLICY, unreclaimed=lines)
        self.assertIn("0000:00:07.0 and 22 more", text.err)
        self.assertEqual(text.err.count("\n"), 1)

    def test_a_list_that_does_not_fit_together(self):
        for number, corrupted in (("2", "pci a b\n"), ("x", "pci a b\n"), ("1", "pci a\n"),
                                ("1", "pci\n"), ("1", ""), ("", ""), ("1x", "pci a b\n")):
            def write(number=number, text=corrupted):
                self.devices()
                self.sysfs("devices/nr_unreclaimed", f"{number}\n")
                self.put("sys/kernel/debug/liveupdate_devices/unreclaimed", text)
            with self.subTest(number=number, corrupted=corrupted):
                text, _ = self.both(UNREADABLE, "finish", state="updated",
                                    prepare=write)
                self.assertEqual(text.calls, [])
                self.assertIn("devices/nr_unreclaimed", text.err)

    def test_no_debugfs(self):
        """Devices whose names nobody tells are in the way, too."""
        def write():
            self.devices(unreclaimed=self.WAITING)
            self.drop("sys/kernel/debug")
        text, _ = self.both(POLICY, "finish", state="updated", prepare=write)
        self.assertEqual(text.calls, [])
        self.assertIn("not reclaimed yet: 2, whose names need root and debugfs", text.err)
        text, _ = self.both(OK, "finish", "--give-up", state="updated", prepare=write)
        self.assertEqual(text.calls, ["give-up"])
        self.assertIn("given up: 2, whose names need", text.out)


class Timeout(LuctlTest):
    """prepare --timeout and what comes of it."""

    def test_it_is_written_first_and_stays(self):
        text, _ = self.both(OK, "prepare", "--timeout", "500")
        self.assertEqual(text.calls, ["timeout 500", "prepare"])
        self.assertEqual(self.sysfs("prepare_timeout_ms"), "500")

    def test_late(self):
        text, _ = self.both(
            TIMEOUT, "prepare", "--timeout=50", prepare=lambda:
            self.script("prepare", ms=100, name="pci"))
        self.assertIn("luctl: pci: prepare failed with ETIMEDOUT", text.err)
        self.assertIn("--timeout", text.err)
        self.assertEqual(text.calls,
                         ["timeout 50", "prepare", "timeout 0"])
        self.assert_undone()

    def test_late_in_a_rehearsal(self):
        def late():
            self.sysfs("freeze_timeout_ms", "50\n")
            self.script("rehearse", ms=100, name="pci")
        text, _ = self.both(TIMEOUT, "rehearse", state="prepared",
                            prepare=late)
        self.assertIn("luctl: pci: freeze failed with ETIMEDOUT", text.err)

    def test_it_is_refused(self):
        for number, status, word in ((errno.EBUSY, STATE, "transition"),
                                     (errno.EPERM, FAILED, "CAP_SYS_BOOT"),
                                     (errno.EINVAL, FAILED, "EINVAL")):
            text, _ = self.both(
                status, "prepare", "--timeout=5",
                prepare=lambda n=number: self.script("timeout", errno=n))
            self.assertEqual(text.calls, ["timeout 5"])
            self.assertIn(word, text.err)

    def test_nonsense(self):
        for value in ("", "x", "-1", "+1", "1s", " 1", "2147483648",
                      "99999999999999999999"):
            text, _ = self.both(USAGE, "prepare", f"--timeout={value}")
            self.assertIn("milliseconds", text.err)
            self.assertEqual(text.calls, [])


class Signals(LuctlTest):
    """prepare is undone when a signal comes, as soon as that is possible."""

    def test_undone(self):
        for number in SIGNALS:
            with self.subTest(number):
                text, machine = self.both(
                    INTERRUPTED, "prepare", "--timeout=900",
                    prepare=lambda n=number: self.script(
                        "prepare", signal=int(n), ms=100, name="pci"))
                self.assertEqual(text.calls, ["timeout 900", "prepare",
                                              "cancel", "timeout 0"])
                self.assertIn(f"{number.name}: will be undone when pci returns",
                              text.err)
                self.assertEqual(machine.objects()[0], {"interrupt": {
                    "signal": number.name, "waits_for": "pci",
                    "undone": True}})
                self.assertEqual(machine.err, "")
                self.assertIn(f"prepare: {number.name} came", text.err)
                self.assert_undone()

    def test_what_cannot_be_undone(self):
        """Nothing is changed by a signal, and that is said."""
        for command in ("cancel", "rehearse", "finish"):
            state, after, _ = COMMANDS[command]
            text, machine = self.both(
                OK, command, state=state, prepare=lambda c=command:
                self.script(c, signal=int(signal.SIGTERM), ms=100))
            self.assertEqual(text.calls, [command])
            self.assertIn("SIGTERM: cannot be undone, ends when", text.err)
            self.assertIs(machine.objects()[0]["interrupt"]["undone"], False)
            self.assertEqual(machine.objects()[1]["state"], after)

    def test_who_only_looks_ends(self):
        path = self.top / "sys/kernel/liveupdate/state"
        for number in SIGNALS:
            for more in ((), ("--json",)):
                path.unlink()
                os.mkfifo(path)
                with self.start("status", *more) as process:
                    # It is open once luctl waits for what is in it.
                    with open(path, "wb"):
                        process.send_signal(number)
                        out, err = process.communicate(timeout=10)
                self.assertEqual(process.returncode, INTERRUPTED)
                if more:
                    self.assertEqual(err, "")
                    error = json.loads(out)["error"]
                    self.assert_error(error)
                    self.assertEqual((error["thing"], error["message"]),
                                     ("status", f"{number.name} came"))
                else:
                    self.assertEqual((out, err),
                                     ("", f"luctl: status: {number.name} "
                                      "came\n"))

    def test_said_at_once(self):
        self.script("prepare", ms=1500, name="pci")
        with self.start("prepare") as process:
            while self.sysfs("transition") != "prepare pci":
                time.sleep(0.01)
            self.sysfs("transition", "prepare pci 0000:00:04.0\n")
            process.send_signal(signal.SIGINT)
            self.assertIn("when pci returns", process.stderr.readline())
            self.assertEqual(self.sysfs("transition"),
                             "prepare pci 0000:00:04.0")
            self.assertIsNone(process.poll())
            process.stderr.read()
        self.assertEqual(process.returncode, INTERRUPTED)
        self.assertEqual(self.calls(), ["prepare", "cancel"])

    def test_a_failure_counts_more(self):
        text, _ = self.both(
            FAILED, "prepare", prepare=lambda: self.script(
                "prepare", signal=int(signal.SIGINT), ms=50, name="pci",
                errno=errno.EIO))
        self.assertEqual(text.calls, ["prepare"])

    def test_undoing_fails(self):
        def fails():
            self.script("prepare", signal=int(signal.SIGINT), ms=50)
            self.script("cancel", errno=errno.EBUSY)
        text, _ = self.both(FAILED, "prepare", prepare=fails)
        self.assertIn("undoing failed with EBUSY", text.err)
        self.assertIn("luctl cancel", text.err)
        self.assertEqual(self.sysfs("state"), "prepared")

    def test_ignored_signals_stay_ignored(self):
        self.script("prepare", signal=int(signal.SIGHUP), ms=50)
        result = self.luctl("prepare", ignored=(signal.SIGHUP,))
        self.assertEqual(result.status, OK, result)
        self.assertEqual(result.err, "")
        self.assertEqual(self.sysfs("state"), "prepared")


class Status(LuctlTest):
    """luctl status."""

    def status(self, prepare=None, state="normal"):
        """Both results, the second as an object."""
        text, machine = self.both(OK, "status", state=state, prepare=prepare)
        self.assertEqual(text.calls, [])
        self.assertEqual(text.err, "")
        (found,) = machine.objects()
        return text.out, found

    def test_quiet(self):
        text, found = self.status()
        self.assertEqual(found, {
            "state": "normal", "transition": None, "prepare_timeout_ms": 0,
            "freeze_timeout_ms": 0,
            "kexec_loaded": False, "last_failure": None, "devices": None,
            "devices_unnamed": 0, "retained": [], "sessions": [], "subsystems": [
                {"name": "shutdown-log", "version": 1, "oldest": 1,
                 "level": "workload", "mandatory": False, "bytes": 0},
                {"name": "pci", "version": 3, "oldest": 1,
                 "level": "devices", "mandatory": True, "bytes": 4096}]})
        self.assertRegex(text, r"(?m)^pci +3 +1-3 +devices +mandatory +4096$")
        self.assertRegex(text, r"(?m)^last failure +none$")

    def test_every_state(self):
        for state in STATES:
            text, found = self.status(state=state)
            self.assertEqual(found["state"], state)
            self.assertRegex(text, rf"(?m)^state +{state}$")
            self.assertRegex(text, rf"(?m)^next .*{RIGHT[state]}")

    def test_a_later_kernel(self):
        def later():
            self.subsystems("new 1 1 spare optional 7\n")
            self.sysfs("subsystems/new/more", "words\n")
        text, found = self.status(prepare=later, state="paused")
        self.assertEqual(found["subsystems"][0]["level"], "spare")
        self.assertIn("newer than this luctl", text)

    def test_busy(self):
        for line, step, name, part in (
                ("freeze pci", "freeze", "pci", None),
                ("freeze pci 0000:00:04.0", "freeze", "pci", "0000:00:04.0"),
                ("cancel", "cancel", None, None)):
            text, found = self.status(
                lambda l=line: self.sysfs("transition", l + "\n"), "prepared")
            self.assertEqual(found["transition"],
                             {"name": step, "subsystem": name, "item": part})
            self.assertRegex(text, rf"(?m)^transition +{line}$")
            self.assertRegex(text, "(?m)^next +try again")

    def test_image_and_timeout(self):
        def loaded():
            self.put("sys/kernel/kexec_loaded", "1\n")
            self.sysfs("prepare_timeout_ms", "250\n")
        text, found = self.status(loaded)
        self.assertIs(found["kexec_loaded"], True)
        self.assertEqual(found["prepare_timeout_ms"], 250)
        self.assertRegex(text, r"(?m)^kexec image +loaded$")
        self.assertRegex(text, r"(?m)^prepare limit +250 ms$")
        self.assertRegex(text, r"(?m)^freeze limit +none$")
        text, found = self.status(
            (self.top / "sys/kernel/kexec_loaded").unlink)
        self.assertIsNone(found["kexec_loaded"])

    def test_last_failure(self):
        for step, name, number, word in (
                ("prepare", "pci", errno.EIO, "documentation of pci"),
                ("prepare", "", errno.ENOMEM, "free some memory"),
                ("freeze", "pci", errno.ETIMEDOUT, "no limit is set"),
                ("restore", "pci", errno.EPROTONOSUPPORT, "version"),
                ("restore", "pci", errno.EIO, "luctl finish"),
                ("restore", "", errno.EBADMSG, "retained")):
            def fail(step=step, name=name, number=number):
                self.failed(step, name, number)
            text, found = self.status(fail)
            last = found["last_failure"]
            self.assertEqual(
                (last["transition"], last["subsystem"], last["errno"]),
                (step, name or None, errno.errorcode[number]))
            self.assertNotIn("error", last)
            self.assertIn(word, last["advice"])
            self.assertIn(last["advice"], text)
            self.assertIn(errno.errorcode[number], text)

    def test_which_attempt_failed(self):
        for state, step, name, attempt in (
                ("prepared", "prepare", "pci", "earlier"),
                ("prepared", "restore", "pci", "earlier"),
                ("updated", "restore", "pci", "last"),
                ("normal", "prepare", "pci", None),
                ("prepared", "freeze", "pci", None)):
            self.told_attempt(state, step, attempt, None)

        failed = Update(names=("kvm", "pci"))
        failed.add(tf.KERNEL, name="x")
        failed.step(tf.PREPARE, error=-errno.EIO)
        good = Update(number=2).prepared()
        rehearsed = Update().prepared()
        rehearsed.step(tf.FREEZE, error=-errno.EIO)
        cancelled = Update(number=2).prepared()
        cancelled.step(tf.CANCEL)
        for state, step, records, attempt in (
                ("normal", "prepare", failed.records, "last"),
                ("prepared", "freeze", rehearsed.records, "last"),
                ("prepared", "freeze", rehearsed.records + good.records,
                 "earlier"),
                ("normal", "freeze", rehearsed.records + cancelled.records,
                 "earlier"),
                # It may have become invalid after that.
                ("normal", "prepare", failed.records + cancelled.records,
                 None)):
            self.told_attempt(state, step, attempt, tf.build(records))

    def told_attempt(self, state, step, attempt, timeline):
        """Which attempt a failure with EIO is said to be of."""
        def prepare():
            self.failed(step, "pci", errno.EIO)
            if timeline:
                (self.top / "sys/kernel/liveupdate/timeline").write_bytes(
                    timeline)
        with self.subTest(state, step=step, timeline=bool(timeline)):
            text, found = self.status(prepare, state)
            self.assertEqual(found["last_failure"]["attempt"], attempt)
            self.assertEqual("in the last attempt" in text, attempt == "last")
            self.assertEqual("in an earlier attempt" in text,
                             attempt == "earlier")

    def test_devices(self):
        text, found = self.status(lambda: self.devices(
            requested=("pci a one",), preserved=("pci a one", "pci b a name"),
            unreclaimed=("pci b a name", "edu c -"),
            reclaimed=("pci d four",)), "updated")
        self.assertEqual([(d["bus"], d["identity"], d["name"], d["is"])
                          for d in found["devices"]], [
            ("pci", "a", "one", "preserved"),
            ("pci", "b", "a name", "unreclaimed"),
            ("edu", "c", None, "unreclaimed"),
            ("pci", "d", "four", "reclaimed")])
        self.assertRegex(text, r"(?m)^edu c +unreclaimed +absent$")
        self.assertRegex(text, r"(?m)^pci b +unreclaimed +a name$")
        def unnamed():
            self.devices(requested=("pci a one",), preserved=("pci a one", "pci b two"))
            self.drop("sys/kernel/debug")
        text, found = self.status(unnamed, "prepared")
        self.assertEqual(found["devices"], [])
        self.assertEqual(found["devices_unnamed"], 2)
        self.assertIn("DEVICES take part, 2 at least", text)
        text, found = self.status(self.devices)
        self.assertEqual(found["devices"], [])
        self.assertNotIn("DEVICE", text)

    def test_retained(self):
        text, found = self.status(lambda: self.retain(**{
            "iommu": (4096, "nobody has restored it"),
            "devices:pci:b": (0, "it has\tnot appeared")}))
        self.assertEqual(found["retained"], [
            {"id": "devices:pci:b", "reason": "it has\tnot appeared", "bytes": 0},
            {"id": "iommu", "reason": "nobody has restored it", "bytes": 4096}])
        self.assertRegex(text, r"(?m)^devices:pci:b +not known +it has\\x09not appeared$")
        self.assertRegex(text, r"(?m)^iommu +4096 +nobody has restored it$")
        text, _ = self.status()
        self.assertNotIn("RETAINED", text)

    def test_a_device_failed(self):
        def fail():
            self.failed("prepare", "devices", errno.EBUSY, "pci:a", "it is in use")
        text, found = self.status(fail)
        self.assertEqual((found["last_failure"]["device"],
                          found["last_failure"]["reason"]),
                         ("pci:a", "it is in use"))
        self.assertRegex(text, r"(?m)^ +pci:a: it is in use$")

    def test_sessions(self):
        self.session(12, "qemu", "vm", "a name", "vm")
        self.session(345, "keeper", "vm")
        self.session(6, "other")
        self.addCleanup(shutil.rmtree, self.top / "proc/12")
        text, found = self.status()
        self.assertEqual(sorted((s["name"], s["pid"], s["process"])
                                for s in found["sessions"]), [
            ("a name", 12, "qemu"), ("vm", 12, "qemu"), ("vm", 345, "keeper")])
        self.assertRegex(text, r"(?m)^[a-z ]+ a name, by qemu \(12\)$")
        self.assertNotIn("retrieved", text)
        text, _ = self.status(state="updated")
        self.assertIn("nobody has retrieved yet", text)

    def test_sessions_that_cannot_be_seen(self):
        shutil.rmtree(self.top / "proc")
        result = self.luctl("status", "--json")
        self.assertIsNone(result.objects()[0]["sessions"])
        self.assertIn("not known", self.luctl("status").out)

    def test_many_subsystems(self):
        lines = "".join(f"p{i:04} 1 1 workload optional {i:20}\n"
                        for i in range(3000))
        _, found = self.status(lambda: self.subsystems(lines))
        self.assertEqual([p["bytes"] for p in found["subsystems"]],
                         list(range(3000)))
        _, found = self.status(lambda: self.subsystems(""))
        self.assertEqual(found["subsystems"], [])

    def test_corrupted(self):
        for line in ("x 1 devices optional 0", "1 4294967296 devices optional 0",
                     "1 1 devices perhaps 0", "1 1 devices optional 0x",
                     "1 1 longer-than-a-level optional 0"):
            text, _ = self.both(UNREADABLE, "status", prepare=lambda l=line:
                                self.subsystems(f"pci {l}\n"))
            self.assertIn(line, text.err)
        text, _ = self.both(UNREADABLE, "status", prepare=lambda:
                            self.subsystems("pci 1 1\n"))
        self.assertIn("subsystems/pci/level", text.err)

    def test_bytes_that_are_no_text(self):
        def corrupted():
            path = self.top / "sys/kernel/liveupdate/transition"
            path.write_bytes(b"freeze \xff\xc3(\xed\xa0\x80\xf5-caf\xc3\xa9\n")
        self.reset()
        corrupted()
        (found,) = self.luctl("status", "--json").objects()
        self.assertIn("caf\u00e9", found["transition"]["subsystem"])
        self.assertIn("\ufffd", found["transition"]["subsystem"])


class CommandLine(LuctlTest):
    """Options, help and wrong usage."""

    def test_wrong(self):
        for args in (["frob"], ["status", "--frob"], ["status", "more"],
                     ["prepare", "--timeout"], ["--frob"], ["--frob", "status"],
                     ["update"], ["update", "a"], ["update", "a", "--cmdline",
                                                  "x", "--reuse-cmdline"],
                     ["update", "a", "b", "--reuse-cmdline"]):
            with self.subTest(args):
                text, machine = self.both(USAGE, *args)
                self.assertEqual(text.out, "")
                self.assertEqual(text.calls, [])
                self.assertIn("luctl", text.err)
                self.assertIn("--help", text.err)
                self.assertEqual(text.err.count("\n"), 1)
                self.assertEqual(machine.err, "")

    def test_what_is_wrong_is_told(self):
        for args, thing, words in (
                (["frob"], "frob", "no such command"),
                ([], "command line", "no command"),
                (["--frob"], "command line", "unrecognized option '--frob'"),
                (["status", "--frob"], "status",
                 "unrecognized option '--frob'"),
                (["status", "more"], "status", "Too many arguments"),
                (["prepare", "--timeout"], "prepare", "requires an argument"),
                (["prepare", "--timeout=x"], "prepare", 'not "x"')):
            _, machine = self.both(USAGE, *args)
            (found,) = machine.objects()
            self.assertEqual(found["error"]["thing"], thing)
            self.assertIn(words, found["error"]["message"])
            self.assertIn("--help", found["error"]["advice"])

    def test_none(self):
        result = self.luctl()
        self.assertEqual(result.status, USAGE)
        self.assertIn("--help", result.err)

    def test_options_before_and_after(self):
        before = self.luctl("--json", "status")
        self.assertEqual(before.out, self.luctl("status", "--json").out)
        self.assertTrue(before.objects())
        elsewhere = self.luctl("status", "--sysfs", "/nonexistent", "--json")
        self.assertEqual(elsewhere.status, UNREADABLE)
        self.assertIn("/nonexistent", elsewhere.out)

    def test_no_sysfs(self):
        """A mistyped --sysfs says nothing about the kernel."""
        for command in ("status", "prepare", "cancel", "rehearse", "finish",
                        "timeline"):
            result = self.luctl(command, "--sysfs", self.top / "sy")
            self.assertEqual(result.status, UNREADABLE, result)
            self.assertIn("ENOENT", result.err)
            self.assertIn("--sysfs", result.err)
            self.assertNotIn("CONFIG", result.err)

    def test_help(self):
        result = self.luctl("--help")
        self.assertEqual((result.status, result.err), (OK, ""))
        for command in COMMANDS:
            self.assertIn(f"\n  {command} ", result.out)
            self.assertEqual(self.luctl(command, "--help").status, OK)
        self.assertEqual(self.luctl("--version").out, "luctl 1\n")

    def test_output_that_cannot_be_written(self):
        for args in (["status"], ["--json", "status"], ["--help"],
                     ["status", "--help", "--json"]):
            with open("/dev/full", "w", encoding="ascii") as full:
                with self.start(*args, stdout=full) as process:
                    err = process.stderr.read()
            self.assertEqual(process.returncode, OUTPUT)
            self.assertIn("ENOSPC", err)

    def test_an_error_that_cannot_be_written(self):
        """It is on standard error, and it is the one that counts."""
        self.sysfs("state", "updated\n")
        with open("/dev/full", "w", encoding="ascii") as full:
            with self.start("--json", "prepare", stdout=full) as process:
                objects = [json.loads(line) for line in process.stderr]
        self.assertEqual(process.returncode, STATE)
        for found in objects:
            self.assert_error(found["error"])
        self.assertEqual([found["error"]["status"] for found in objects],
                         [STATE, OUTPUT])

    def test_control_characters(self):
        for name, shown in (("a\nb", r"a\x0ab"), ("\x1b[2Jx", r"\x1b[2Jx"),
                            ("\x7f\t", r"\x7f\x09"), ("\xa0\x9b", "\xa0\\xc2\\x9b"),
                            ("a\\x0ab", r"a\\x0ab"), ("caf\xe9", "caf\xe9")):
            result = self.luctl("timeline", "--file", self.top / name)
            self.assertIn(f"/{shown}", result.err)
            self.assertEqual(result.err.count("\n"), 1)
            (found,) = self.luctl("timeline", "--json", "--file",
                                  self.top / name).objects()
            self.assertEqual(found["error"]["thing"], f"{self.top}/{name}")
