# SPDX-License-Identifier: GPL-2.0
"""luctl check: every format, every finding, and images that are corrupted."""

import json
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from ..common import paths
from ..common.run import locked, logged
from . import luctl_images as images
from .luctl_fixture import (KINDS, LOSS, NO_GO, OK, SOURCES, UNAVAILABLE,
                            UNREADABLE, USAGE, build, put_subsystems)
from .luctl_images import LOG, PCI, note

OUT = paths.BUILD / "luctl-asan"

#: A sanitizer that finds something ends the program in an unusual way.
SANITIZED = {"ASAN_OPTIONS": "exitcode=99:quarantine_size_mb=16",
             "LSAN_OPTIONS": "exitcode=99",
             "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=99"}

VERDICTS = {OK: ("go", "go"), LOSS: ("loss", "go with loss"),
            NO_GO: ("no-go", "no go")}

#: Compressions that know if their data is right.
CHECKED = ("gzip", "bzip2", "xz", "lzo", "zstd")

#: Memory that luctl may have for a small image: the largest window that a
#: kernel is compressed with, 128 MiB, and what an image may unpack to.
MEMORY = 256 << 20


def sanitized():
    """luctl and the folder of programs that replay a corpus, with sanitizers."""
    OUT.mkdir(parents=True, exist_ok=True)
    with locked(OUT / "lock", "luctl with sanitizers"):
        logged(["make", "-C", SOURCES, f"O={OUT}", "all", "replay",
                "CFLAGS=-O1 -g -Werror -fsanitize=address,undefined "
                "-fno-sanitize-recover=all"],
               paths.LOG / "luctl-asan.log", "building luctl with sanitizers")
    return OUT / "luctl", OUT


class CheckTest(unittest.TestCase):
    """A running kernel with two subsystems."""

    @classmethod
    def setUpClass(cls):
        cls.plain, _ = build()
        cls.program, cls.replay = sanitized()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)
        self.image = self.top / "image"
        self.running()

    def running(self, *subsystems, **fields):
        """Let the running kernel have these subsystems, all built in."""
        subsystems = subsystems or (PCI, LOG)
        put_subsystems(self.top, "".join(
            "{} {} {} {} {} 0\n".format(
                name, version, oldest,
                ("workload", "devices", "irq", "iommu", "memory")[level],
                "mandatory" if mandatory else "optional")
            for name, version, oldest, level, mandatory in subsystems
        ))
        self.put("sys/kernel/notes", images.notes(*subsystems, **fields))

    def put(self, name, data):
        """Write a file."""
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def luctl(self, *args, program=None, memory=None):
        """Run luctl check; sanitizers have nothing to say."""
        done = subprocess.run(
            [program or self.program, "--sysfs", self.top / "sys", "check",
             *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, check=False, timeout=60,
            preexec_fn=memory and (lambda: resource.setrlimit(
                resource.RLIMIT_AS, (memory, memory))),
            env={**os.environ, "LC_ALL": "C", **SANITIZED})
        self.assertIn(done.returncode, KINDS, done.stderr)
        self.assertNotIn("runtime error", done.stderr)
        return done

    def check(self, status, image, raw=False, **kwargs):
        """Check an image both ways; what --json says of it.

        A vmlinux is made loadable, unless raw.
        """
        self.image.write_bytes(image if raw else images.loadable(image))
        text = self.luctl(self.image, **kwargs)
        machine = self.luctl("--json", self.image,
                             **{"program": self.plain, **kwargs})
        self.assertEqual(text.returncode, status, text.stdout + text.stderr)
        self.assertEqual(machine.returncode, status)
        self.assertEqual(text.stderr + machine.stderr, "")
        (line,) = machine.stdout.splitlines()
        found = json.loads(line)
        word, said = VERDICTS[status]
        self.assertEqual(found["verdict"], word)
        self.assertEqual(text.stdout.splitlines()[0], f"{self.image}: {said}")
        self.assertEqual(found["image"], str(self.image))
        self.assertIn(f"{found['release']}\n", text.stdout)
        for finding in found["findings"]:
            self.assertEqual(set(finding),
                             {"thing", "severity", "why", "advice"})
            said = dict(VERDICTS.values())[finding["severity"]]
            self.assertRegex(text.stdout,
                             rf"(?m)^{finding['thing']} +{said}  ")
            self.assertIn(finding["why"] + "\n", text.stdout)
            self.assertIn(finding["advice"] + "\n", text.stdout)
        return found

    def findings(self, status, image):
        """[(thing, severity, why, advice)]."""
        return [tuple(f[k] for k in ("thing", "severity", "why", "advice"))
                for f in self.check(status, image)["findings"]]

    def finding(self, status, image):
        """The only finding."""
        (found,) = self.findings(status, image)
        return found

    def unusable(self, image, word, program=None, memory=None):
        """No verdict: one line that names the image and the way out."""
        if image is not None:
            self.image.write_bytes(image)
        text = self.luctl(self.image, program=program, memory=memory)
        self.assertEqual(text.returncode, UNREADABLE,
                         text.stdout + text.stderr)
        self.assertEqual(text.stdout, "")
        self.assertTrue(text.stderr.startswith(f"luctl: {self.image}: "))
        self.assertEqual(text.stderr.count("\n"), 1)
        self.assertIn(word, text.stderr)
        self.assertIn("; ", text.stderr)
        machine = self.luctl("--json", self.image, memory=memory,
                             program=program or self.plain)
        self.assertEqual((machine.returncode, machine.stderr),
                         (UNREADABLE, ""))
        error = json.loads(machine.stdout)["error"]
        self.assertEqual(error["status"], UNREADABLE)
        self.assertEqual(f"luctl: {error['thing']}: {error['message']}; "
                         f"{error['advice']}\n", text.stderr)


class Formats(CheckTest):
    """The same kernel in every wrapping."""

    SUBSYSTEMS = [
        {"name": "pci", "version": 3, "oldest": 1, "level": "devices",
         "mandatory": True},
        {"name": "shutdown-log", "version": 1, "oldest": 1,
         "level": "workload", "mandatory": False}]

    def test_every_format(self):
        """All are read; kexec_file_load(2) of x86-64 takes only a bzImage."""
        for name, image in images.every_format().items():
            with self.subTest(name):
                loads = name.startswith("bzImage")
                found = self.check(OK if loads else NO_GO, image, raw=True)
                self.assertEqual(found["subsystems"], self.SUBSYSTEMS)
                self.assertEqual([f["thing"] for f in found["findings"]],
                                 [] if loads else ["image"])
                self.assertEqual([h["verdict"] for h in found["handover"]],
                                 ["go", "go"])
                self.assertEqual(found["release"], images.RELEASE)
                self.assertEqual(found["kho"], images.KHO)
                form, packing, *_ = *re.split("[-.]", name), None
                self.assertEqual(found["format"], "vmlinuz.efi"
                                 if form == "vmlinuz" else form)
                self.assertEqual(found["compression"], packing
                                 if packing in images.COMPRESSIONS else None)

    def test_large(self):
        """Much larger than all buffers, in blocks of every compression."""
        noise = os.urandom(1 << 20) * 3
        content = images.notes(PCI, LOG)
        vmlinux = images.elf(content, noise + images.rodata())
        for name in images.COMPRESSIONS:
            with self.subTest(name):
                found = self.check(OK, images.bzimage(
                    images.compress(vmlinux, name, True)))
                self.assertEqual(found["subsystems"], self.SUBSYSTEMS)

    def test_lz4_of_several_blocks(self):
        """A block has 8 MiB."""
        content = images.notes(PCI, LOG)
        vmlinux = images.elf(content, os.urandom(1 << 18) * 36
                             + images.rodata())
        self.check(OK, images.bzimage(images.compress(vmlinux, "lz4")))

    def test_many_subsystems(self):
        many = [(f"p{i}", 1, 1, i % 5, i % 2) for i in range(300)]
        self.running(*many)
        found = self.check(OK, images.kernel(*many))
        self.assertEqual(len(found["subsystems"]), 300)
        self.assertEqual(len(self.findings(NO_GO, images.kernel(PCI))), 300)

    def test_too_many_subsystems(self):
        self.unusable(images.kernel(*(note(f"p{i}") for i in range(4097))),
                      "more subsystems", program=self.plain)
        self.check(NO_GO, images.kernel(*(
            note(f"p{i}") for i in range(4096))), program=self.plain)


class Findings(CheckTest):
    """What makes it no go, what makes it a loss, and what does not."""

    def test_no_kho(self):
        thing, severity, why, advice = self.finding(
            NO_GO, images.elf(images.other_notes(), images.rodata(None)))
        self.assertEqual((thing, severity), ("KHO", "no-go"))
        self.assertIn("no Kexec HandOver", why)
        self.assertIn("CONFIG_", advice)

    def test_no_subsystems(self):
        for where in ("segment", "nowhere"):
            thing, severity, why, advice = self.finding(
                NO_GO, images.elf(images.other_notes(), where=where))
            self.assertEqual((thing, severity), ("subsystems", "no-go"))
            self.assertEqual(why, "the image describes none")
            self.assertIn("CONFIG_LIVEUPDATE_SUBSYSTEMS", advice)

    def test_no_subsystem_but_what_is_not_understood(self):
        none, ignored = self.findings(
            NO_GO, images.elf(images.notes(note("pci", kind=2))))
        self.assertIn("none that luctl understands", none[2])
        self.assertIn("not known", ignored[2])

    def test_kho_differs(self):
        thing, severity, why, advice = self.finding(
            NO_GO, images.kernel(PCI, LOG, kho="kho-v5"))
        self.assertEqual((thing, severity), ("KHO", "no-go"))
        self.assertIn("reads kho-v5, this kernel writes kho-v4", why)
        self.assertIn("kho-v4", advice)
        self.running(PCI, LOG, kho="kho-v5")
        self.check(OK, images.kernel(PCI, LOG, kho="kho-v5"))

    def test_kho_of_one_differs(self):
        other = note(*LOG, kho="kho-v5")
        self.assertEqual(self.finding(NO_GO, images.kernel(PCI, other))[0],
                         "KHO")

    def test_table_differs(self):
        thing, severity, why, _ = self.finding(
            NO_GO, images.kernel(PCI, LOG, table="luo-subsystems-v2"))
        self.assertEqual((thing, severity), ("subsystems", "no-go"))
        self.assertIn("reads the table luo-subsystems-v2, this kernel writes "
                      "luo-subsystems-v1", why)

    def test_both_differ(self):
        self.assertEqual([f[0] for f in self.findings(NO_GO, images.kernel(
            LOG, kho="kho-v5", table="luo-subsystems-v2"))],
            ["KHO", "subsystems", "pci"])

    def test_mandatory_missing(self):
        thing, severity, why, advice = self.finding(NO_GO, images.kernel(LOG))
        self.assertEqual((thing, severity), ("pci", "no-go"))
        self.assertEqual(why, "the image does not have it")
        self.assertNotIn("lost", advice)

    def test_optional_missing(self):
        thing, severity, why, advice = self.finding(LOSS, images.kernel(PCI))
        self.assertEqual((thing, severity), ("shutdown-log", "loss"))
        self.assertIn("lost", advice)
        self.assertIn("may be a module", why)

    def test_a_module_may_be_missing(self):
        """It is not in an image; only a workload can be one."""
        for level in range(5):
            self.running(("frob", 1, 1, level, level % 2), LOG)
            why = self.finding(NO_GO if level % 2 else LOSS,
                               images.kernel(LOG))[2]
            self.assertEqual("may be a module" in why, not level)
        self.running(("frob", 1, 1, 0, 1), LOG)
        self.assertIn("may be a module",
                      self.finding(NO_GO, images.kernel(LOG))[2])

    def test_versions(self):
        """As restore does it: oldest <= what was written <= version."""
        for writes in range(1, 6):
            for oldest in range(1, 6):
                for newest in range(oldest, 6):
                    for mandatory in (0, 1):
                        self._version(writes, oldest, newest, mandatory)

    def _version(self, writes, oldest, newest, mandatory):
        self.running(("frob", writes, 1, 3, mandatory), LOG)
        self.image.write_bytes(images.bzimage(images.kernel(
            LOG, ("frob", newest, oldest, 3, mandatory))))
        done = self.luctl("--json", self.image, program=self.plain)
        found = json.loads(done.stdout)
        if oldest <= writes <= newest:
            self.assertEqual((done.returncode, found["findings"]), (OK, []))
            return
        self.assertEqual(done.returncode, NO_GO if mandatory else LOSS)
        (finding,) = found["findings"]
        self.assertEqual(finding["thing"], "frob")
        versions = str(newest) if oldest == newest else f"{oldest} to {newest}"
        self.assertEqual(finding["why"], f"the image reads version {versions}"
                         f", this kernel writes {writes}")
        self.assertIn("newer" if writes > newest else "in between",
                      finding["advice"])

    def test_the_class_is_that_of_the_running_kernel(self):
        self.running(PCI, ("log", 2, 1, 0, 0))
        self.assertEqual(self.finding(LOSS, images.kernel(
            PCI, ("log", 1, 1, 0, 1)))[1], "loss")

    def test_the_worst_counts(self):
        self.running(PCI, LOG, ("tail", 9, 1, 0, 0))
        found = self.findings(NO_GO, images.kernel(("pci", 2, 1, 1, 1)))
        self.assertEqual([f[:2] for f in found],
                         [("shutdown-log", "loss"), ("tail", "loss"),
                          ("pci", "no-go")])

    def test_news_are_no_finding(self):
        self.assertEqual(self.findings(OK, images.kernel(
            PCI, LOG, ("new", 1, 1, 2, 1))), [])

    def test_names_are_compared_in_full(self):
        for name in ("pc", "pcie", "PCI"):
            self.assertEqual(self.finding(NO_GO, images.kernel(
                LOG, (name, 3, 1, 1, 1)))[0], "pci")
        long = ("x" * 47, 1, 1, 1, 1)
        self.running(long, LOG)
        self.check(OK, images.kernel(LOG, long))
        self.check(NO_GO, images.kernel(LOG, ("x" * 46, 1, 1, 1, 1)))

    def test_odd_notes(self):
        """What is not to be used is said, and does not count."""
        fine = {"shifted", "twice", "level", "differs", "cut"}
        for name, content in images.odd_notes().items():
            if name in fine:
                continue
            with self.subTest(name):
                content += note(*LOG)
                found = self.findings(NO_GO, images.elf(content))
                self.assertEqual(found[0][:2], ("pci", "no-go"))
                self.assertEqual(found[1][:2], ("subsystems", "go"))
                self.assertIn("ignored", found[1][2])
                # And nothing else is lost by it.
                self.running(LOG)
                found = self.findings(OK, images.elf(content))
                self.assertEqual([f[1] for f in found], ["go"])
                self.running()

    def test_a_note_is_cut_off(self):
        content = note(*LOG) + note(*PCI)[:-4]
        for image in (images.elf(content), images.arm64(content)[:-64]):
            self.unusable(image, "corrupted")

    def test_many_odd_notes(self):
        content = images.notes(PCI, LOG, *(
            note("x", kind=k) for k in range(2, 50)))
        self.assertEqual(len(self.findings(OK, images.elf(content))), 8)

    def test_unknown_level_and_class(self):
        found = self.check(LOSS, images.elf(images.odd_notes()["level"]))
        self.assertEqual((found["subsystems"][0]["level"],
                          found["subsystems"][0]["mandatory"]),
                         (None, None))

    def test_the_same_twice(self):
        self.assertEqual(self.findings(OK, images.kernel(PCI, LOG, PCI)), [])

    def test_different_twice(self):
        """Either of them may be the one that works: the worse counts."""
        older = ("pci", 2, 1, 1, 1)
        for order in ((PCI, older), (older, PCI)):
            found = self.findings(NO_GO, images.kernel(*order, LOG))
            self.assertEqual([f[:2] for f in found],
                             [("pci", "no-go"), ("pci", "go")])
            self.assertIn("reads version 1 to 2", found[0][2])
            self.assertIn("2 times", found[1][2])
        self.assertEqual(
            self.finding(OK, images.kernel(PCI, ("pci", 4, 2, 1, 1), LOG))[1],
            "go")

    def test_notes_elsewhere_do_not_count(self):
        """In an ELF, only what its headers call notes; an Image has none."""
        text = images.rodata() + note(*PCI) + note(*LOG)
        self.assertEqual(self.check(NO_GO, images.elf(
            images.other_notes(), text))["subsystems"], [])
        self.assertEqual(len(self.check(NO_GO, images.arm64(
            images.other_notes(), text))["subsystems"]), 2)

    def test_notes_not_aligned(self):
        content = b"\0\0\0\0" + images.notes(PCI, LOG)
        for shift in range(1, 4):
            self.assertEqual(self.check(NO_GO, images.arm64(
                b"\0" * shift + content))["subsystems"], [])
        self.assertEqual(len(self.check(NO_GO, images.arm64(content))[
            "subsystems"]), 2)

    def test_texts_of_the_image(self):
        """Wrong versions of the banner do not end in the report."""
        for wrong in (b"Linux version %s (x)\0", b"Linux version \0",
                      b"Linux version 7.\x1b[31m (x)\0",
                      b"Linux version " + b"7" * 66 + b" x\0",
                      b"Linux version 7.1"):
            self.unusable(images.elf(images.notes(PCI, LOG),
                                     b"kho-v4\0" + wrong), "no Linux kernel")
            found = self.check(OK, images.elf(
                images.notes(PCI, LOG), wrong + b"\0" + images.rodata()))
            self.assertEqual(found["release"], images.RELEASE)
        for wrong in ("kho-v", "kho-vx", "kho-v4x", "kho-v" + "1" * 11):
            self.assertEqual(self.finding(NO_GO, images.elf(
                images.other_notes(), images.rodata(wrong)))[0], "KHO")


class Running(CheckTest):
    """What this kernel says of itself."""

    def fails(self, status, thing, word):
        """No verdict."""
        self.image.write_bytes(images.kernel(PCI, LOG))
        done = self.luctl(self.image)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertTrue(done.stderr.startswith(f"luctl: {self.top}/{thing}"),
                        done.stderr)
        self.assertIn(word, done.stderr)

    def test_no_live_update(self):
        shutil.rmtree(self.top / "sys/kernel/liveupdate")
        self.fails(UNAVAILABLE, "sys/kernel/liveupdate", "kho=on")

    def test_no_notes(self):
        (self.top / "sys/kernel/notes").unlink()
        self.fails(UNREADABLE, "sys/kernel/notes", "ENOENT")

    def test_no_note_of_a_subsystem(self):
        self.put("sys/kernel/notes", images.other_notes())
        self.fails(UNREADABLE, "sys/kernel/notes", "KHO ABI")

    def test_notes_of_modules(self):
        self.put("sys/kernel/notes", images.other_notes())
        self.put("sys/module/frob/notes/.note.liveupdate", note(*PCI))
        self.check(OK, images.kernel(PCI, LOG))

    def test_a_module_is_compared(self):
        """The list of subsystems counts, not the notes of vmlinux."""
        self.put("sys/kernel/notes", images.notes(LOG))
        self.assertEqual(self.finding(NO_GO, images.kernel(LOG))[0], "pci")

    def test_nothing_to_hand_over(self):
        put_subsystems(self.top, "")
        self.check(OK, images.kernel(LOG))

    def test_json_under_sanitizers(self):
        for image in (images.kernel(PCI, LOG, kho="kho-v5"),
                      images.elf(images.odd_notes()["differs"]), b""):
            self.image.write_bytes(image)
            self.assertTrue(json.loads(
                self.luctl("--json", self.image).stdout))

    def test_usage(self):
        for args in ((), ("a", "b")):
            done = self.luctl(*args)
            self.assertEqual(done.returncode, USAGE)
            self.assertIn("IMAGE", done.stderr)


class Unusable(CheckTest):
    """What is no image, or no longer one."""

    def test_files(self):
        self.unusable(None, "ENOENT")
        self.image.mkdir()
        self.unusable(None, "EISDIR")
        self.unusable(None, "not a directory")
        self.image.rmdir()
        self.image.write_bytes(images.kernel(PCI, LOG))
        os.truncate(self.image, (1 << 30) + 1)
        self.unusable(None, "strip debug information", memory=MEMORY,
                      program=self.plain)

    def test_files_without_end(self):
        """Whatever cannot be loaded is not read, and nothing is waited for."""
        link = self.image
        fifo = self.top / "fifo"
        os.mkfifo(fifo)
        for target, word in (("/dev/zero", "no regular file"),
                             ("/dev/null", "no regular file"),
                             (fifo, "no regular file"), ("/", "EISDIR")):
            link.symlink_to(target)
            self.quick(word)
            link.unlink()

    def test_large_files_that_are_no_image(self):
        """1 TiB of nothing, and a sysfs file that lies about its size."""
        with open(self.image, "wb") as file:
            file.truncate(1 << 40)
        self.quick("no image")
        self.image.unlink()
        self.image.symlink_to("/sys/kernel/notes")
        self.quick("no image")

    def quick(self, word):
        """No verdict, in no time and no memory."""
        start = time.monotonic()
        self.unusable(None, word, program=self.plain, memory=64 << 20)
        self.assertLess(time.monotonic() - start, 2)

    def test_names(self):
        """A name cannot forge lines of a report, nor control a terminal."""
        name = self.top / "a\n\x1b[31mb: go"
        name.write_bytes(images.bzimage(images.kernel(PCI, LOG)))
        text = self.luctl(name)
        self.assertEqual(text.stdout.splitlines()[0],
                         f"{self.top}/a\\x0a\\x1b[31mb: go: go")
        self.assertEqual(json.loads(self.luctl("--json", name).stdout)["image"],
                         str(name))
        name.write_bytes(b"x")
        self.assertIn("a\\x0a\\x1b[31mb", self.luctl(name).stderr)

    def test_no_image(self):
        for data in (b"", b"x", b"\x7fELF", b"#!/bin/sh\n" * 100, b"MZ",
                     b"\0" * 4096, images.elf(b"", kind=1)):
            self.unusable(data, "no image")

    def test_no_kernel(self):
        self.unusable(images.elf(b"", b"hello\0\0\0"), "no Linux kernel")
        self.unusable(images.arm64(b"", b"hello\0\0\0"), "no Linux kernel")
        self.unusable(Path("/proc/self/exe").read_bytes(), "no Linux kernel",
                      program=self.plain)

    def test_no_segment(self):
        image = bytearray(images.kernel(PCI))
        image[64] = 6                   # PT_PHDR
        self.unusable(image, "no image")

    def test_bzimage(self):
        packed = images.compress(images.kernel(PCI, LOG), "gzip")
        self.unusable(images.bzimage(packed, version=0x207), "2.08")
        self.unusable(images.bzimage(packed[1:]), "none that luctl")
        self.unusable(images.bzimage(images.compress(
            images.arm64(b"")[8:], "gzip")), "none that luctl")
        for at, value in ((0x248, 0xffffffff), (0x24c, 0xffffffff),
                          (0x24c, 0), (0x248, 0x7fffffff), (0x1f4, 0x8000)):
            image = bytearray(images.bzimage(packed))
            image[at:at + 4] = value.to_bytes(4, "little")
            self.unusable(image, "corrupted")

    def test_zboot(self):
        image = images.zboot(images.arm64(images.notes(PCI, LOG)), "gzip")
        for at, value in ((8, 0xffffffff), (12, 0xffffffff), (60, 0xfffffff0),
                          (60, 0)):
            wrong = bytearray(image)
            wrong[at:at + 4] = value.to_bytes(4, "little")
            self.unusable(wrong, "corrupted")
        wrong = bytearray(image)
        wrong[8:12] = b"\0\0\0\0"
        self.unusable(wrong, "none that luctl")

    def test_elf(self):
        image = images.kernel(PCI, LOG)
        for at, value in ((32, b"\xff" * 8), (56, b"\xfe\xff"),
                          (64 + 32, b"\xff" * 8), (64 + 8, b"\xff" * 8),
                          (120 + 8, b"\xff" * 8), (120 + 32, b"\xff" * 8),
                          (40, b"\xff" * 8)):
            wrong = bytearray(image)
            wrong[at:at + len(value)] = value
            self.unusable(wrong, "")

    def test_too_many_parts(self):
        content = images.notes(PCI, LOG)
        image = images.elf(content)
        header = image[120:176]
        start = len(image) + -len(image) % 8
        for count, status in ((64, OK), (65, UNREADABLE)):
            many = bytearray(image.ljust(start, b"\0") + image[64:120]
                             + header * count)
            many[32:40] = start.to_bytes(8, "little")
            many[56:58] = (count + 1).to_bytes(2, "little")
            if status == OK:
                self.check(OK, many)
            else:
                self.unusable(many, "more subsystems or notes")

    def test_cut_off(self):
        """Every format that can tell does tell; none becomes another go."""
        for name, image in images.every_format(quick=True).items():
            for part in range(1, 8):
                with self.subTest(name, part=part):
                    self.image.write_bytes(image[:len(image) * part // 8])
                    done = self.luctl(self.image, program=self.plain)
                    allowed = (UNREADABLE, NO_GO) if "nofirm" in name else \
                        (UNREADABLE,)
                    self.assertIn(done.returncode, allowed, done.stdout)

    def test_a_bit_flips(self):
        vmlinux = images.kernel(PCI, LOG)
        for name in CHECKED:
            packed = images.compress(vmlinux, name)
            # Not in the header, which has fields that do not matter.
            for at in range(len(packed) // 3, len(packed) * 2 // 3, 7):
                with self.subTest(name, at=at):
                    wrong = bytearray(packed)
                    wrong[at] ^= 1
                    self.image.write_bytes(images.bzimage(bytes(wrong)))
                    done = self.luctl(self.image, program=self.plain)
                    self.assertEqual(done.returncode, UNREADABLE, done.stdout)
                    self.assertIn("corrupted", done.stderr)

    def test_lzop_checksums(self):
        """Of all kinds, and of blocks that are stored."""
        vmlinux = images.kernel(PCI, LOG)
        noise = images.elf(images.notes(PCI, LOG), os.urandom(600000)
                           + images.rodata())
        for data in (vmlinux, noise):
            for option in ("--crc32", "-c", "-CC", "-F", "-1"):
                packed = subprocess.run(
                    ["lzop", option] + (["--crc32"] if option == "-CC"
                                        else []),
                    input=data, check=True, stdout=subprocess.PIPE).stdout
                self.check(OK, images.bzimage(packed))
                if option == "-F":
                    continue
                wrong = bytearray(packed)
                wrong[len(packed) * 2 // 3] ^= 1
                self.unusable(images.bzimage(bytes(wrong)), "corrupted")

    def test_bombs(self):
        """They unpack to nothing that could be a kernel, in little memory."""
        zeroes = b"\0" * (40 << 20)
        commands = dict(images.COMPRESSIONS, zstd="zstd -1", lzma="lzma -1",
                        gzip="gzip -1", lzo="lzop -1")
        commands["xz"] = commands["xz"].replace("128MiB", "1MiB")
        for name, command in commands.items():
            with self.subTest(name):
                packed = subprocess.run(command.split(), input=zeroes,
                                        check=True, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL).stdout
                self.assertLess(len(packed), 1 << 20)
                self.unusable(images.bzimage(packed), "unpacks to more",
                              program=self.plain, memory=MEMORY)

    def test_large_windows(self):
        """The format may ask for any; an image gets what a kernel needs."""
        vmlinux = images.kernel(PCI, LOG)
        xz = subprocess.run("xz --check=crc32 --lzma2=dict=256MiB".split(),
                            input=vmlinux, check=True,
                            stdout=subprocess.PIPE).stdout
        self.unusable(xz, "unpacks to more", program=self.plain,
                      memory=MEMORY)
        for name in images.COMPRESSIONS:
            self.image.write_bytes(images.bzimage(
                images.compress(vmlinux, name)))
            self.assertEqual(self.luctl(self.image, program=self.plain,
                                        memory=MEMORY).returncode, OK)

    def test_no_memory(self):
        for name in ("xz", "lzma", "zstd"):
            packed = images.compress(images.kernel(PCI, LOG), name)
            self.unusable(images.bzimage(packed), "memory" if name != "zstd"
                          else "", program=self.plain, memory=48 << 20)


class Replay(CheckTest):
    """The targets of the fuzzers, under sanitizers, on many files at once."""

    def run_on(self, folder, target="image"):
        """Replay all files of a folder."""
        files = sorted(folder.iterdir())
        self.assertTrue(files)
        for start in range(0, len(files), 500):
            part = files[start:start + 500]
            done = subprocess.run([self.replay / f"replay-{target}", *part],
                                  text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False,
                                  timeout=300,
                                  env={**os.environ, **SANITIZED})
            self.assertEqual(done.returncode, 0, done.stdout[-3000:])
            self.assertIn(f"{len(part)} replayed", done.stdout)

    def test_corpus(self):
        for name, image in images.corpus().items():
            self.put(f"corpus/{name}", image)
        self.run_on(self.top / "corpus")

    def test_boots(self):
        """Command lines and maps, whole, cut off, and with any byte wrong."""
        for name, data in images.boots().items():
            self.put(f"corpus/{name}", data)
            for end in range(0, min(len(data), 200)):
                self.put(f"corpus/{name}-{end}", data[:end])
            for at in range(0, min(len(data), 0x340), 7):
                for value in (0, 0x2c, 0x7f, 0xff):
                    wrong = bytearray(data)
                    wrong[at] = value
                    self.put(f"corpus/{name}-{at}-{value}", wrong)
        self.run_on(self.top / "corpus", "boot")

    def test_cut_anywhere(self):
        for name, image in images.every_format(quick=True).items():
            cuts = set(range(0, len(image), len(image) // 40))
            if name in ("bzImage-plain", "Image", "vmlinuz-gzip.efi",
                        "vmlinux"):
                cuts |= set(range(0x260))
            for end in cuts:
                self.put(f"corpus/{name}-{end}", image[:end])
        self.run_on(self.top / "corpus")

    def test_any_byte_wrong(self):
        """In headers and notes, where every byte means something."""
        for name, image in images.every_format(quick=True).items():
            if "." in name or name.partition("-")[2] in \
                    set(images.COMPRESSIONS) - {"gzip"}:
                continue
            for at in range(0, min(len(image), 1100), 13):
                for value in (0, 0x7f, 0xff):
                    wrong = bytearray(image)
                    wrong[at] = value
                    self.put(f"corpus/{name}-{at}-{value}", wrong)
        self.run_on(self.top / "corpus")


class Fuzz(CheckTest):
    """A while of libFuzzer."""

    SECONDS = 20

    def fuzz(self, target, corpus):
        """Run a fuzzer, starting with these files."""
        probe = self.put("probe.c", b"int LLVMFuzzerTestOneInput(const char *"
                         b"d, unsigned long s) { return !d && s; }\n")
        if not shutil.which("clang") or subprocess.run(
                ["clang", "-fsanitize=fuzzer,address,undefined", "-o",
                 self.top / "probe", probe], check=False,
                stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no clang with libFuzzer")
        with locked(OUT / "lock", "the fuzzers"):
            logged(["make", "-C", SOURCES, f"O={OUT}", "fuzz", "CC=clang",
                    "CFLAGS=-Werror"],
                   paths.LOG / "luctl-fuzz-build.log", "building the fuzzers")
        for name, data in corpus.items():
            self.put(f"corpus/{name}", data)
        (self.top / "found").mkdir()
        log = paths.LOG / f"luctl-fuzz-{target}.log"
        logged([OUT / f"fuzz-{target}", f"-max_total_time={self.SECONDS}",
                "-max_len=32768", "-rss_limit_mb=256", "-malloc_limit_mb=256",
                "-timeout=10", f"-artifact_prefix={OUT}/", "-verbosity=0",
                "-print_final_stats=1", self.top / "found",
                self.top / "corpus"], log, f"fuzzing of {target}",
               env={**os.environ, **SANITIZED})
        self.assertRegex(log.read_text(),
                         r"number_of_executed_units: [1-9]\d\d")

    def test_images(self):
        self.fuzz("image", images.corpus())

    def test_boots(self):
        self.fuzz("boot", images.boots())
