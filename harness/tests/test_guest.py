# SPDX-License-Identifier: GPL-2.0
"""What the virtual-machine side reads and writes: archives, logs, KTAP, docs."""

import os
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from ..build import initrd as guest
from ..build.initrd import Archive
from ..common.run import HarnessError
from ..guest import handover as guest_handover
from ..guest import leaks as guest_leaks
from ..guest.control import split_boots
from ..scenario import ktap as scenario_ktap
from ..scenario.cases import docs
from ..scenario.checks import splats
from ..vm import qemu

KTAP = """\
[    1.2] TAP version 14
KTAP version 1
1..2
    KTAP version 1
    # Subtest: suite
    1..2
    # first: EXPECTATION FAILED at elsewhere.c:1, in a test that passes
    ok 1 first
    # second: EXPECTATION FAILED at file.c:17
    Expected value == 2, but
        value == 1 (0x1)
    not ok 2 second # something
not ok 1 suite
ok 2 other # SKIP not here
"""


def tree(name, prop, value):
    """A device tree with one node that has one property."""
    strings = prop.encode() + b"\0"
    pad = b"\0" * (-len(value) % 4)
    label = name.encode() + b"\0"
    label += b"\0" * (-len(label) % 4)
    body = (struct.pack(">I", 1) + b"\0\0\0\0" + struct.pack(">I", 1) + label +
            struct.pack(">III", 3, len(value), 0) + value + pad +
            struct.pack(">III", 2, 2, 9))
    head = struct.pack(">10I", guest_handover.FDT_MAGIC, 40 + len(body) + len(strings),
                       40, 40 + len(body), 40, 17, 16, 0, len(strings), len(body))
    return head + body + strings


class Ktap(unittest.TestCase):
    """Results are found, and a report that is cut short is no success."""

    def test_results(self):
        report = scenario_ktap.parse(KTAP)
        self.assertEqual([case.name for case in report.top()], ["suite", "other"])
        self.assertEqual(report.failures(), [
            "second (second: EXPECTATION FAILED at file.c:17; Expected value == 2, but; "
            "value == 1 (0x1))", "suite"])
        self.assertEqual([c.name for c in report.cases if c.skipped], ["other"])
        self.assertEqual(report.problems, [])

    def test_missing_results(self):
        for cut in ("ok 2 other # SKIP not here\n", "    ok 1 first\n"):
            self.assertTrue(scenario_ktap.parse(KTAP.replace(cut, "")).problems, cut)
        self.assertEqual(scenario_ktap.parse("nothing").problems, ["no result"])


class Console(unittest.TestCase):
    """Boots are told apart and splats are seen."""

    LOG = ("SeaBIOS\n[    0.000000] Linux version 7.3.4-a (x)\none\n"
           "[    1.0] WARNING: CPU: 0 at here\n"
           "[    0.000000][    T0] Linux version 7.3.4-b (x)\ntwo\n")

    def test_boots(self):
        first, second = split_boots(self.LOG)
        self.assertIn("one", first)
        self.assertNotIn("two", first)
        self.assertIn("7.3.4-b", second)

    def test_splats(self):
        self.assertEqual(len(splats(self.LOG)), 1)
        self.assertEqual(splats(self.LOG, (r"WARNING: .* at here",)), [])
        self.assertEqual(splats("[ 1.0] BUG: sleeping function\n"),
                         ["[ 1.0] BUG: sleeping function"])

    def test_races(self):
        """Of the reports of KCSAN those count that name a function of the series."""
        race = "[ 1.0] BUG: KCSAN: data-race in "
        for functions, ours in (("state_show / up_write", True), ("luo_state_freeze", True),
                                ("tick_nohz_stop / tick_sched_timer", False),
                                ("rcu_all_qs / edu_start.constprop.0", True)):
            self.assertEqual(bool(splats(race + functions)), ours, functions)


LEAKS = """\
unreferenced object 0xffff888003a1c000 (size 64):
  comm "sh", pid 71, jiffies 4294937296
  hex dump (first 32 bytes):
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
  backtrace (crc 0):
    kmemleak_alloc+0x48/0x80
    __kmalloc_noprof+0x2a4/0x400
    luo_prepare+0x31/0x1a0
    prepare_store+0x5c/0xb0 [some_module]
unreferenced object (percpu) 0x607f0000ab10 (size 8):
  comm "swapper/0", pid 1, jiffies 4294892296
  backtrace (crc 1f):
    pcpu_alloc_noprof+0x5c3/0x9f0
    start_here+0x1/0x2
"""


class Gone(unittest.TestCase):
    """How a machine ended is told, not that its connection did."""

    def reason(self, command):
        """What is said of a QEMU that has closed its connections and does this."""
        with tempfile.TemporaryDirectory() as folder:
            vm = qemu.VM(folder, "kernel", "", initrd="initrd")
            (vm.folder / "qemu.stderr").write_text("its last words\n")
            with subprocess.Popen(["sh", "-c", command]) as vm._process, \
                    open(os.devnull, "wb") as vm._errors, \
                    mock.patch.object(qemu, "GONE_TIMEOUT", 1):
                reason = vm.why_gone()
                vm._process.kill()
            return reason

    def test_that_is_about_to_end(self):
        self.assertEqual(self.reason("sleep 0.3; exit 134"),
                         "QEMU ended with status 134: its last words")

    def test_that_stays(self):
        self.assertEqual(self.reason("exec sleep 10"),
                         "QEMU runs, but its connection is gone")


class Started(unittest.TestCase):
    """Two QEMUs of one machine would write to one console, and one would be forgotten."""

    def test_twice(self):
        with tempfile.TemporaryDirectory() as folder, \
                mock.patch.object(qemu.shutil, "which"), \
                mock.patch.object(qemu.subprocess, "Popen") as popen, \
                mock.patch.object(qemu, "QMP"), mock.patch.object(qemu, "_connected"), \
                qemu.VM(folder, "kernel", "", initrd="initrd") as vm:
            popen.return_value.poll.return_value = 0
            with self.assertRaisesRegex(qemu.MachineError, "started before"):
                vm.start()
            self.assertEqual(popen.call_count, 1)


class Leaks(unittest.TestCase):
    """What kmemleak reports is told in a line each."""

    def test_report(self):
        self.assertEqual([str(leak) for leak in guest_leaks.parse(LEAKS)],
                         ["64 bytes of sh: luo_prepare < prepare_store",
                          "8 bytes of swapper/0: start_here"])

    def test_nothing(self):
        self.assertEqual(guest_leaks.parse(""), [])


class Handover(unittest.TestCase):
    """The device tree of KHO is read, and nothing that only looks like one."""

    def test_tree(self):
        data = tree("luo-subsystems", "preserved-data", struct.pack("<Q", 0x1234000))
        found = guest_handover.parse_fdt(data + b"\0" * 100)
        self.assertEqual(found["luo-subsystems"]["preserved-data"],
                         struct.pack("<Q", 0x1234000))

    def test_no_tree(self):
        good = tree("node", "prop", b"1234")
        for bad in (b"", good[:40], b"\0" * 64, good[:-20]):
            with self.assertRaises((HarnessError, struct.error, ValueError)):
                guest_handover.parse_fdt(bad)


class Docs(unittest.TestCase):
    """Blocks are split into commands and what they print."""

    def test_prompts(self):
        lines = list(enumerate(["# echo 1 > prepare", "# cat state", "prepared",
                                "# kexec -s -l image \\", "    --reuse-cmdline"], 1))
        commands = docs.commands_of("file", lines)
        self.assertEqual([c.text for c in commands],
                         ["echo 1 > prepare", "cat state",
                          "kexec -s -l image \\\n    --reuse-cmdline"])
        self.assertEqual([c.output for c in commands], [None, ["prepared"], None])

    def test_no_prompts(self):
        commands = docs.commands_of("file", [(3, "true"), (4, "false")])
        self.assertEqual([(c.place, c.text) for c in commands],
                         [("file:3", "true"), ("file:4", "false")])

    def test_blocks(self):
        rst = ["text", "", ".. runnable: one", "", "  So::", "", "    # true", "",
               "    # false", "after"]
        self.assertEqual(docs._rst_block(rst, 3), [(7, "# true"), (9, "# false")])
        markdown = ["<!-- runnable: two -->", "```sh", "true", "```", "end"]
        self.assertEqual(docs._md_block(markdown, 1), [(3, "true")])
        self.assertEqual(docs._md_block(["text"], 0), [])

    def test_output(self):
        self.assertTrue(docs._matches("a 12 b", ["a ... b"]))
        self.assertFalse(docs._matches("a 12 c", ["a ... b"]))


class Image(unittest.TestCase):
    """The archive is what the kernel unpacks."""

    def test_entry(self):
        archive = Archive()
        archive.folder("bin")
        archive.file("bin/x", b"abc", 0o755)
        data = archive.finish()
        self.assertTrue(data.startswith(b"070701"))
        self.assertEqual(len(data) % 4, 0)
        self.assertIn(b"TRAILER!!!\0", data)
        self.assertEqual(data.count(b"070701"), 3)

    def test_twice(self):
        archive = Archive()
        archive.file("x", b"")
        with self.assertRaises(HarnessError):
            archive.file("x", b"")


class Libraries(unittest.TestCase):
    """What ldd names lies where the loader of a guest looks."""

    LISTED = """\
\tlinux-vdso.so.1 (0x00007f1cda148000)
\tlibz.so.1 => /opt/odd/lib/libz.so.1 (0x00007f1cda006000)
\tlibc.so.6 => /usr/lib/x86_64-linux-gnu/libc.so.6 (0x00007f1cd9e12000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f1cda14a000)
"""
    FOLDER = "/usr/lib/x86_64-linux-gnu"

    def test_places(self):
        self.assertEqual(guest._placed("luctl", self.LISTED), {
            f"{self.FOLDER}/libz.so.1": "/opt/odd/lib/libz.so.1",
            f"{self.FOLDER}/libc.so.6": f"{self.FOLDER}/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2": "/lib64/ld-linux-x86-64.so.2"})

    def test_static(self):
        for text in ("\tstatically linked\n", "\tnot a dynamic executable\n", ""):
            self.assertEqual(guest._placed("luctl", text), {})

    def test_missing(self):
        with self.assertRaisesRegex(HarnessError, "luctl needs libz.so.1"):
            guest._placed("luctl", self.LISTED.replace(
                "/opt/odd/lib/libz.so.1 (0x00007f1cda006000)", "not found"))
        for lost in ("libc.so.6", "/lib64/ld"):
            with self.assertRaisesRegex(HarnessError, "no libc, or no dynamic loader"):
                guest._placed("luctl", "\n".join(line for line in self.LISTED.splitlines()
                                                 if not line.startswith("\t" + lost)))

    def test_other_processors(self):
        """A variant for the host's processor is left, if there is a general one."""
        with tempfile.TemporaryDirectory() as folder:
            special = Path(folder, "glibc-hwcaps", "x86-64-v4", "libz.so.1")
            text = self.LISTED.replace("/opt/odd/lib/libz.so.1", str(special))
            found = guest._placed("luctl", text)
            self.assertEqual(found[f"{self.FOLDER}/libz.so.1"], str(special))
            Path(folder, "libz.so.1").touch()
            found = guest._placed("luctl", text)
            self.assertEqual(found[f"{self.FOLDER}/libz.so.1"], f"{folder}/libz.so.1")

    def test_real(self):
        """A program and a library made here, in a folder that only it knows."""
        with tempfile.TemporaryDirectory() as folder:
            def compiled(name, text, *args):
                subprocess.run([os.environ.get("CC", "cc"), "-x", "c", "-", "-o",
                                Path(folder, name), f"-L{folder}",
                                f"-Wl,-rpath,{folder}", *args],
                               input=text, text=True, check=True)
                return Path(folder, name)
            library = compiled("libown.so", "int own(void) { return 7; }", "-shared",
                               "-fPIC")
            text = "int own(void); int main(void) { return own(); }"
            program = compiled("program", text, "-lown")
            found = guest._libraries(program)
            folders = {Path(place).name: str(Path(place).parent) for place in found}
            self.assertEqual(folders["libown.so"], folders["libc.so.6"])
            self.assertEqual(found[f"{folders['libc.so.6']}/libown.so"], str(library))
            self.assertTrue(any("/ld" in place for place in found))
            found = guest._libraries(compiled("by-path", text, "-x", "none", str(library)))
            self.assertEqual(found[str(library)], str(library))
            self.assertEqual(guest._libraries(compiled(
                "still", "int main(void) { return 0; }", "-static")), {})
            library.unlink()
            with self.assertRaisesRegex(HarnessError, "program needs .*libown.so"):
                guest._libraries(program)


if __name__ == "__main__":
    unittest.main()
