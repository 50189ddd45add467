# SPDX-License-Identifier: GPL-2.0
"""luctl update: the order of its steps, and that each of them is undone."""

import errno
import json
import signal
import struct
import time

from .luctl_fixture import (FAILED, INTERRUPTED, JUMPED, LOSS, NO_GO, OK,
                            OUTPUT, POLICY, SIGNALS, STATE, TIMEOUT, UNAVAILABLE, UNREADABLE,
                            USAGE, LuctlTest)

from .luctl_images import bzimage

CMDLINE = "kho=on quiet liveupdate=on"
LOAD = f"load no-initrd {CMDLINE}"

#: The calls of an update that succeeds. The image is opened once, to be checked
#: and to be loaded.
WAY = ["open", LOAD, "prepare", "rehearse", "sync", "reboot kexec"]


#: Subsystems of the running kernel, as luctl_fixture.SUBSYSTEMS has them.
NOTES = (("pci", 3, 1, 1, 1), ("shutdown-log", 1, 1, 0, 0))


def note(name, version, oldest, level, mandatory):
    """struct liveupdate_note."""
    return struct.pack("<III12s16s24s48sIIII", 11, 104, 1, b"LIVEUPDATE",
                       b"kho-v2", b"luo-subsystems-v1", name.encode(),
                       version, oldest, level, mandatory)


def vmlinux(notes):
    """A kernel with these subsystems; it has nothing else."""
    text = b"Linux version 7.3.0 (x)\0"
    notes = b"".join(note(*n) for n in notes)
    start = 64 + 2 * 56 + len(text)
    header = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    return header + b"".join(
        struct.pack("<IIQQQQQQ", kind, 4, where, 0, 0, size, size, 4)
        for kind, where, size in ((1, 0, start + len(notes)),
                                  (4, start, len(notes)))) + text + notes


class UpdateTest(LuctlTest):
    """A machine with an image."""

    def setUp(self):
        super().setUp()
        self.image = str(self.top / "image")
        self.initrd = str(self.top / "initrd")
        self.put("initrd", "")

    def reset(self, state="normal"):
        super().reset(state)
        (self.top / "sys/kernel/notes").write_bytes(
            b"".join(note(*n) for n in NOTES))
        self.put_image(NOTES)
        self.put_memory()

    def put_image(self, notes):
        """An image with these subsystems."""
        (self.top / "image").write_bytes(bzimage(vmlinux(notes)))

    def update(self, status, *args, prepare=None, state="normal",
               cmdline=CMDLINE):
        """luctl update in text mode and with --json."""
        how = ["--reuse-cmdline"] if cmdline is None else \
            ["--cmdline", cmdline]
        return self.both(status, "update", self.image, *how, *args,
                         prepare=prepare, state=state,
                         LUCTL_SHIM_IMAGE=self.image)


    @staticmethod
    def steps(machine):
        """The steps that were told to a program."""
        return [found["step"] for found in machine.objects()]


class Way(UpdateTest):
    """The steps when nothing fails."""

    def test_order(self):
        text, machine = self.update(JUMPED)
        self.assertEqual(text.calls, WAY)
        self.assertEqual(text.err, "")
        self.assertEqual(text.out.splitlines(), [
            "check: go", "loaded", "prepared", "rehearsed", "jumping"])
        self.assertEqual(self.steps(machine), ["check", "load", "prepare",
                                               "rehearse", "jump"])
        check, load, prepare, rehearse, jump = machine.objects()
        self.assertEqual((check["check"]["verdict"],
                          check["check"]["release"]), ("go", "7.3.0"))
        self.assertEqual(load, {"step": "load", "image": self.image,
                                "initrd": None, "cmdline": CMDLINE})
        for found in (prepare, rehearse):
            self.assertGreater(found["microseconds"], 0)
        self.assertEqual(jump, {"step": "jump"})

    def test_steps_are_told_as_they_are_done(self):
        self.script("rehearse", ms=3000)
        with self.start("update", "--json", self.image, "--cmdline",
                        CMDLINE) as process:
            start = time.monotonic()
            lines = [json.loads(process.stdout.readline())["step"]
                     for _ in range(3)]
            self.assertLess(time.monotonic() - start, 2.5)
            self.assertEqual(lines, ["check", "load", "prepare"])
            process.communicate(timeout=30)
        self.assertEqual(process.returncode, JUMPED)

    def test_options(self):
        _, machine = self.update(JUMPED, "--initrd", self.initrd,
                                 "--timeout=700", "--no-rehearse")
        self.assertEqual(machine.calls, [
            "open", f"load initrd {CMDLINE}", "timeout 700",
            "prepare", "sync", "reboot kexec"])
        self.assertEqual(self.steps(machine),
                         ["check", "load", "prepare", "jump"])
        self.assertEqual(machine.objects()[1]["initrd"], self.initrd)

    def test_no_jump(self):
        """What a service manager needs, and what takes it back."""
        def manages():
            self.put("proc/1/comm", "systemd\n")
        text, machine = self.update(OK, "--no-jump", "--timeout=500",
                                    prepare=manages)
        self.assertEqual(text.calls, ["open", LOAD, "timeout 500",
                                      "prepare", "rehearse"])
        for word in ("systemctl kexec", "luctl cancel --unload"):
            self.assertIn(word, text.out)
        self.assertEqual(self.steps(machine), ["check", "load", "prepare",
                                               "rehearse", "ready"])
        self.assertEqual(self.sysfs("state"), "prepared")
        self.assertEqual(self.luctl("cancel", "--unload").status, OK)
        self.sysfs("prepare_timeout_ms", "0\n")
        self.assert_undone()

        text, _ = self.update(FAILED, "--no-jump", prepare=lambda: (
            manages(), self.script("rehearse", errno=errno.EIO, name="pci")))
        self.assertEqual(text.calls[-2:], ["cancel", "unload"])
        self.update(USAGE, "--no-jump", "--now")

    def test_append(self):
        for line, words, loaded in (
                (CMDLINE, "a=\"b c\" d", CMDLINE + " a=\"b c\" d"),
                (CMDLINE + " -- x  y", "d", CMDLINE + " d -- x  y"),
                (CMDLINE + " -- x", "d -- y", CMDLINE + " d -- x y"),
                (CMDLINE + " -- x", "-- x", CMDLINE + " -- x"),
                (CMDLINE, "-- x", CMDLINE + " -- x"),
                ("", CMDLINE, CMDLINE), ("-- x", CMDLINE, CMDLINE + " -- x"),
                ("kho=off liveupdate=on", "kho=on",
                 "kho=off liveupdate=on kho=on")):
            text, _ = self.update(JUMPED, "--append", words, cmdline=line)
            self.assertEqual(text.calls[1], "load no-initrd " + loaded)
        text, _ = self.update(JUMPED, "--append=single", cmdline=None)
        self.assertEqual(text.calls[1], LOAD + " single")
        self.refused_line(CMDLINE, "--append", "kho=off")

    def refused_line(self, line, *args):
        """A command line with which nothing would be taken over."""
        text, _ = self.update(NO_GO, *args, cmdline=line)
        self.assertEqual(text.calls, ["open"])

    def test_quoted(self):
        for line in ('kho="on" liveupdate=on', '"kho=on" "liveupdate=on"',
                     'kho="1" liveupdate="yes"', "kho=on kho=what "
                     "liveupdate=On", 'kho=on kho liveupdate=on'):
            text, _ = self.update(JUMPED, cmdline=line)
            self.assertEqual(text.calls[1], "load no-initrd " + line)
        for line in ('kho="off" liveupdate=on', '"kho=off" liveupdate=on',
                     'x="kho=on liveupdate=on"', "kho=on liveupdate=on kho=n",
                     'kho=on liveupdate=on "kho=0"'):
            self.refused_line(line)

    def test_on_by_default(self):
        """A kernel that needs no kho=on tells nothing about the next one."""
        for line, loaded in (
                ("quiet liveupdate=on", "quiet liveupdate=on kho=on"),
                ("liveupdate=on -- x", "liveupdate=on kho=on -- x"),
                ('liveupdate=on kho="on"', 'liveupdate=on kho="on"')):
            text, _ = self.update(JUMPED, cmdline=None, prepare=lambda
                                  l=line: self.put("proc/cmdline", l + "\n"))
            self.assertEqual(text.calls[1], "load no-initrd " + loaded)
        text, _ = self.update(NO_GO, cmdline=None, prepare=lambda:
                              self.put("proc/cmdline", "kho=on\n"))
        self.assertIn("--append", text.err)

    def test_reused_command_line(self):
        for line, reused in (
                (None, CMDLINE),
                ("liveupdate=on  a=\"b  c\" kho=on", None),
                ("kho=on liveupdate=on BOOT_IMAGE=x -- initrd=y z",
                 "kho=on liveupdate=on -- initrd=y z")):
            def write(line=line):
                if line is not None:
                    self.put("proc/cmdline", line + "\n")
            text, _ = self.update(JUMPED, cmdline=None, prepare=write)
            self.assertEqual(text.calls[1], "load no-initrd "
                             + (reused or line.replace("on  a", "on a")))


    def test_reused_again_and_again(self):
        """It neither grows nor loses anything, whatever is added each time."""
        for line, words in (
                ("kho=on liveupdate=on quiet", ()),
                ("liveupdate=on quiet -- a a", ()),
                ('liveupdate=on x="a  b" "y=c d" "e f" kho="on" -- "z"', ()),
                ('console=ttyS0 console=tty0 liveupdate=on -- console=ttyS0',
                 ("--append", "console=ttyS0")),
                ('liveupdate=on x="a b" dyndbg="file a +p"',
                 ("--append", 'x="a b"   kho=on')),
                ("liveupdate=on a a a-b a_b =c", ("--append", "-- b")),
                ('liveupdate=on "--" x', ("--append", " d  -- x ")),
                ("liveupdate=on -- x y", ("--append", "-- y  "))):
            seen = [line]
            for _ in range(4):
                text, _ = self.update(
                    JUMPED, *words, cmdline=None, prepare=lambda:
                    self.put("proc/cmdline", "BOOT_IMAGE=/v " + seen[-1]
                             + " \n"))
                seen.append(text.calls[1].partition("no-initrd ")[2])
            self.assertEqual(seen[2:], seen[1:2] * 3)
            ours, _, rest = line.partition(" -- ")
            if rest:
                self.assertTrue(seen[-1].endswith(f" -- {rest}"), seen)
            for word in ours.split():
                self.assertGreaterEqual(seen[-1].split().count(word),
                                        ours.split().count(word), seen)


class Refusals(UpdateTest):
    """What is refused before anything is done."""

    def refused(self, status, *words, opened=False, **kwargs):
        """A refused update; its text."""
        text, _ = self.update(status, **kwargs)
        self.assertEqual(text.calls, ["open"] if opened else [])
        for word in words:
            self.assertIn(word, text.err)
        return text.err

    def test_state(self):
        for state, word in (("prepared", "luctl cancel"),
                            ("updated", "luctl finish"),
                            ("frozen", "reboot(2)")):
            self.refused(STATE, f"{state}, not normal", word, state=state)

    def test_no_live_update(self):
        self.refused(UNAVAILABLE, "kho=on", prepare=lambda:
                     self.drop("sys/kernel/liveupdate"))

    def test_an_image_is_loaded(self):
        self.refused(STATE, "loaded already", "kexec -u", prepare=lambda:
                     self.put("sys/kernel/kexec_loaded", "1\n"))
        self.assertEqual((self.top / "sys/kernel/kexec_loaded").read_text(),
                         "1\n")

    def test_service_managers(self):
        """Whoever is not known to be none may be one."""
        for name in ("systemd", "init", "runit", "s6-svscan", "dinit",
                     "initramfs", "myinit", "bashd", "s", ""):
            def manages(name=name):
                self.put("proc/1/comm", name + "\n")
            self.refused(POLICY, f"luctl: {name}:", "--now", "--no-jump",
                         "systemctl kexec", prepare=manages)
            text, _ = self.update(JUMPED, "--now", prepare=manages)
            self.assertEqual(text.calls, WAY)
        for name in ("bash", "sh", "dash", "ash", "busybox"):
            self.update(JUMPED, prepare=lambda n=name:
                        self.put("proc/1/comm", n + "\n"))

    def test_unknown_process_1(self):
        self.refused(POLICY, "/proc/1/comm", "--now",
                     prepare=(self.top / "proc/1/comm").unlink)

    def test_command_lines_that_receive_nothing(self):
        for line in ("", "quiet", "kho=on", "liveupdate=on",
                     "kho liveupdate=on", "kho= liveupdate=on",
                     "kho=off liveupdate=on", "kho=on liveupdate=0",
                     "kho=on liveupdate=on kho=off",
                     "kho=on -- liveupdate=on", "xkho=on liveupdate=on",
                     "a=\"kho=on \" liveupdate=on", "kho=o liveupdate=on"):
            self.refused(NO_GO, "kho=on liveupdate=on", cmdline=line,
                         opened=True)
        for line in ("kho=1 liveupdate=y", "kho=off kho=on liveupdate=On",
                     "kho=on liveupdate=on -- kho=off",
                     "a=\"x -- \" kho=on liveupdate=on"):
            text, _ = self.update(JUMPED, cmdline=line)
            self.assertEqual(text.calls[1], f"load no-initrd {line}")

    def test_reused_command_line_that_receives_nothing(self):
        self.refused(NO_GO, "without liveupdate=on", cmdline=None,
                     opened=True, prepare=lambda:
                     self.put("proc/cmdline", "kho=on\n"))
        self.refused(UNREADABLE, "/proc/cmdline", "--cmdline", cmdline=None,
                     prepare=(self.top / "proc/cmdline").unlink)

    def test_no_go(self):
        self.refused(NO_GO, self.image, "pci    ", "does not have it",
                     "use an image that is built with it", opened=True,
                     prepare=lambda: self.put_image(NOTES[1:]))

    def test_findings_are_kept(self):
        """Those that refuse, and those that do not."""
        _, machine = self.update(NO_GO, prepare=lambda:
                                 self.put_image(NOTES[1:]))
        check, error = machine.objects()
        self.assertEqual(check["check"]["findings"][0]["thing"], "pci")
        self.assertEqual(error["error"]["kind"], "no-go")
        text, machine = self.update(JUMPED, prepare=lambda:
                                    self.put_memory(scratch=None))
        self.assertRegex(text.out, r"(?m)^scratch +not judged +its size")
        self.assertEqual([u["thing"] for u in machine.objects()[0]["check"][
            "unjudged"]], ["scratch"])

    def test_command_line_that_kills(self):
        """Its own command line and initramfs are judged."""
        self.refused(NO_GO, "cuts off scratch", opened=True,
                     cmdline=CMDLINE + " mem=512M")
        with open(self.initrd, "wb") as file:
            file.truncate(80 << 20)
        text, _ = self.update(NO_GO, "--initrd", self.initrd)
        self.assertIn("cannot be loaded into the scratch areas of 32 + 0 + 64",
                      text.err)

    def test_no_verdict(self):
        self.refused(UNREADABLE, self.image, opened=True,
                     prepare=lambda: self.put("image", "no kernel"))

    def test_loss(self):
        def lossy():
            self.put_image(NOTES[:1])
        self.refused(LOSS, self.image, "--allow-loss", opened=True,
                     prepare=lossy)
        text, _ = self.update(JUMPED, "--allow-loss", prepare=lossy)
        self.assertEqual(text.calls, WAY)
        self.assertIn("check: go with loss", text.out)

    def test_no_such_files(self):
        def missing():
            (self.top / "image").unlink()
        text, _ = self.update(UNREADABLE, prepare=missing)
        self.assertIn(self.image, text.err)
        text, _ = self.update(UNREADABLE, "--initrd", "/nonexistent")
        self.assertIn("/nonexistent", text.err)
        self.assertNotIn("unload", text.calls)

    def test_usage(self):
        for args in (["--timeout=x"], ["--frob"], ["more"]):
            text, _ = self.update(USAGE, *args)
            self.assertEqual(text.calls, [])


class Undoing(UpdateTest):
    """A failure in each phase, undone in reverse."""

    def undone(self, status, call, after, *words, **script):
        """An update in which a call fails."""
        text, machine = self.update(
            status, "--timeout=80", "--freeze-timeout=81",
            prepare=lambda: self.script(call, **script))
        way = ["open", LOAD, "timeout 80", "freeze-timeout 81", *WAY[2:]]
        names = [line.split()[0] for line in way]
        made = way[:names.index(call) + 1]
        self.assertEqual(text.calls, made + after)
        for word in words:
            self.assertIn(word, text.err)
        self.assertEqual(text.err.count("\n"), 1)
        self.assert_undone()
        return machine

    def test_load(self):
        for name, word in (("ENOEXEC", "not a kernel"),
                           ("EPERM", "kexec_load_disabled"),
                           ("EKEYREJECTED", "signed"),
                           ("ENOSYS", "CONFIG_KEXEC_FILE"),
                           ("EADDRNOTAVAIL", "kho_scratch="),
                           ("EBUSY", "try again"), ("ENOMEM", "memory"),
                           ("ESTALE", "was added or removed"),
                           ("ERANGE", "a driver manages"),
                           ("E2BIG", "memory map"),
                           ("EINVAL", "command line")):
            self.undone(FAILED, "load", [], self.image, name, word,
                        errno=getattr(errno, name))

    def test_image_changes(self):
        """What was checked is what is loaded, or nothing."""
        checked = bzimage(vmlinux(NOTES))
        other = checked.replace(b"7.3.0", b"7.3.1")
        self.assertEqual(len(checked), len(other))

        def meddle(call, **what):
            def prepare():
                self.put("other", other)
                self.script(call, **what)
            return prepare
        # Replaced, as a package does it: the file that was checked is loaded.
        for call in ("load", "open"):
            text, _ = self.update(JUMPED, prepare=meddle(call, replace=1))
            self.assertEqual((self.top / "image").read_bytes(), other)
            self.assertEqual((self.top / "loaded").read_bytes(),
                             checked if call == "load" else other)
        # Written to: seen after the load, and unloaded.
        for what in ("write", "grow"):
            text, _ = self.update(FAILED, prepare=meddle("load", **{what: 1}))
            self.assertEqual(text.calls, ["open", LOAD, "unload"])
            self.assertIn("it changed between check and load", text.err)
            self.assert_undone()

    def test_timeout(self):
        self.undone(STATE, "timeout", ["unload"], "transition",
                    errno=errno.EBUSY)
        self.undone(STATE, "freeze-timeout", ["timeout 0", "unload"], "transition",
                    errno=errno.EBUSY)

    def test_prepare(self):
        after = ["timeout 0", "freeze-timeout 0", "unload"]
        for name in ("EIO", "ENOMEM", "EBUSY", "ENOENT"):
            self.undone(FAILED, "prepare", after, "luctl: pci: prepare",
                        name, "undone", errno=getattr(errno, name),
                        name="pci")
        self.undone(STATE, "prepare", after, "suspends", errno=errno.EBUSY)
        self.undone(TIMEOUT, "prepare", after, "luctl: pci:", ms=85,
                    name="pci")

    def test_rehearse(self):
        after = ["cancel", "timeout 0", "freeze-timeout 0", "unload"]
        machine = self.undone(FAILED, "rehearse", after, "luctl: pci: freeze",
                              "EIO", "undone", errno=errno.EIO, name="pci")
        self.assertNotIn("still prepared", str(machine.objects()))
        self.undone(TIMEOUT, "rehearse", after, "luctl: pci:", ms=85,
                    name="pci")

    def test_reboot(self):
        after = ["cancel", "timeout 0", "unload"]

        def fails(**script):
            return lambda: self.script("reboot", **script)
        for name, script in (("pci", {"errno": errno.EIO, "name": "pci"}),
                             ("reboot", {"errno": errno.EINVAL}),
                             ("reboot", {"errno": errno.EPERM})):
            text, machine = self.update(FAILED, "--timeout=80",
                                        prepare=fails(**script))
            self.assertEqual(text.calls[-4:], ["reboot kexec", *after])
            self.assertIn(f"luctl: {name}:", text.err)
            self.assertEqual([o.get("step", "error")
                              for o in machine.objects()], [
                "check", "load", "prepare", "rehearse", "jump", "error",
                "cancel", "unload"])
            self.assert_undone()
        text, _ = self.update(STATE, prepare=fails(errno=errno.EBUSY))
        self.assert_undone()
        text, _ = self.update(TIMEOUT, "--freeze-timeout=100", "--no-rehearse",
                              prepare=fails(ms=150, name="pci"))
        self.assertIn("luctl: pci: freeze", text.err)
        self.assert_undone()

    def test_undoing_fails(self):
        for call, left in (("cancel", "prepared"), ("unload", "normal")):
            def fails(call=call):
                self.script("rehearse", errno=errno.EIO, name="pci")
                self.script(call, errno=errno.EBUSY)
            text, machine = self.update(FAILED, prepare=fails)
            self.assertEqual(text.calls[-2:], ["cancel", "unload"])
            self.assertEqual(text.err.count("\n"), 2)
            self.assertEqual(["error" in o for o in machine.objects()].count(
                True), 2)
            self.assertIn("undoing failed with EBUSY", text.err)
            self.assertEqual(self.sysfs("state"), left)


    def test_refused_by_reboot(self):
        """The freeze has not begun, and is not blamed."""
        text, _ = self.update(FAILED, prepare=lambda:
                              self.script("reboot", errno=errno.EINVAL))
        self.assertIn("reboot: reboot(2) failed with EINVAL", text.err)
        self.assertNotIn("freeze", text.err)
        self.assertIn("cannot be handed anything", text.err)
        self.assertNotIn("still prepared", text.err)
        text, _ = self.update(FAILED, prepare=lambda:
                              self.script("reboot", errno=errno.ENOSPC))
        self.assertIn("session", text.err)
        for name, words in (("ESTALE", "load it again"), ("ERANGE", "driver")):
            text, _ = self.update(FAILED, prepare=lambda n=name: self.script(
                "reboot", errno=getattr(errno, n)))
            self.assertIn(words, text.err)
            self.assertNotIn("session", text.err)

    def test_jump_refused_when_frozen(self):
        """No subsystem is to blame, and the kernel says so."""
        for name, words in (("ENOSPC", "a session"), ("ESTALE", "load it again"),
                            ("ERANGE", "driver"), ("ENOMEM", "free some memory")):
            text, _ = self.update(FAILED, prepare=lambda n=name: self.script(
                "reboot", errno=getattr(errno, n), name=""))
            self.assertIn(f"reboot: freeze failed with {name}", text.err)
            self.assertIn(words, text.err)
            self.assert_undone()

    def test_output_that_cannot_be_written(self):
        """What nobody is told is undone, too."""
        for more in ((), ("--json",)):
            self.reset()
            with open("/dev/full", "w", encoding="ascii") as full:
                with self.start("update", *more, self.image, "--cmdline",
                                CMDLINE, stdout=full) as process:
                    err = process.stderr.read()
            self.assertEqual(process.returncode, OUTPUT)
            self.assertIn("ENOSPC", err)
            self.assertIn("everything is undone", err)
            self.assertEqual(err.count("\n"), 1)
            self.assertEqual(self.calls(), [])

    def test_all_is_told_before_sync(self):
        """sync(2) is to write it back, too; nothing comes after it."""
        for more, last in (((), "jumping"), (("--json",), '{"step":"jump"}')):
            self.reset()
            self.script("sync", signal=int(signal.SIGKILL))
            result = self.luctl("update", *more, self.image, "--cmdline",
                                CMDLINE)
            self.assertEqual(result.status, -signal.SIGKILL)
            self.assertEqual(result.out.splitlines()[-1:], [last])

    def test_output_that_ends(self):
        """Whoever reads it goes away in the middle."""
        for steps, calls in ((1, []), (3, ["cancel", "unload"])):
            for name in ("load", "prepare", "rehearse"):
                self.script(name, ms=100)
            with self.start("update", "--json", self.image, "--cmdline",
                            CMDLINE) as process:
                for _ in range(steps):
                    process.stdout.readline()
                process.stdout.close()
                err = process.stderr.read()
            self.assertEqual(process.returncode, OUTPUT)
            self.assertIn("EPIPE", err)
            self.assertEqual(self.calls()[len(self.calls()) - len(calls):],
                             calls)
            self.assert_undone()


class Signals(UpdateTest):
    """A signal in each phase before the kexec, undone in reverse."""

    PHASES = {"open": (0, []), "load": (1, ["unload"]),
              "prepare": (2, ["cancel", "unload"]),
              "rehearse": (3, ["cancel", "unload"]),
              "sync": (4, ["cancel", "unload"])}

    def test_each_phase(self):
        for call, (index, after) in self.PHASES.items():
            for number in SIGNALS if call == "prepare" else SIGNALS[:1]:
                with self.subTest(call, number=number):
                    text, _ = self.update(
                        INTERRUPTED, prepare=lambda c=call, n=number:
                        self.script(c, signal=int(n), ms=60))
                    self.assertEqual(text.calls, WAY[:index + 1] + after)
                    self.assertIn(f"{number.name}: will be undone when",
                                  text.err)
                    self.assertIn(number.name, text.err.splitlines()[-1])
                    self.assert_undone()

    def test_a_failure_counts_more(self):
        text, _ = self.update(
            FAILED, prepare=lambda: self.script(
                "prepare", signal=int(signal.SIGINT), ms=60,
                errno=errno.EIO, name="pci"))
        self.assertEqual(text.calls, [*WAY[:3], "unload"])
        self.assert_undone()

    def test_undoing_fails(self):
        def fails():
            self.script("sync", signal=int(signal.SIGINT), ms=60)
            self.script("cancel", errno=errno.EBUSY)
        text, _ = self.update(FAILED, prepare=fails)
        self.assertEqual(text.calls[-2:], ["cancel", "unload"])

    def test_too_late(self):
        """Once reboot(2) was called, a signal changes nothing."""
        text, _ = self.update(JUMPED, prepare=lambda: self.script(
            "reboot", signal=int(signal.SIGINT), ms=20))
        self.assertEqual(text.calls, WAY)
