# SPDX-License-Identifier: GPL-2.0
"""luctl check: what is known to kill the next kernel before it can say so."""

import json
import shutil

from . import luctl_images as images
from .luctl_fixture import (NO_GO, OK, RAM, SCRATCH, UNREADABLE, USAGE,
                            LuctlTest)
from .luctl_images import LOG, PCI
from .test_luctl_check import sanitized

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class BootTest(LuctlTest):
    """A machine of 1 GiB, and an image that it can be updated to."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sanitized, _ = sanitized()

    def setUp(self):
        super().setUp()
        self.image = self.top / "image"
        self.put("image", images.bzimage(images.kernel(PCI, LOG)))

    def reset(self, state="normal"):
        super().reset(state)
        self.put("sys/kernel/notes", images.notes(PCI, LOG))
        self.put_memory()

    def check(self, status, cmdline=None, initrd=None, image=None):
        """What --json says; the text has the same findings."""
        args = ["check", image or self.image]
        if cmdline is not None:
            args += ["--cmdline", f"kho=on liveupdate=on {cmdline}"]
        if initrd is not None:
            with open(self.top / "initrd", "wb") as file:
                file.truncate(initrd)
            args += ["--initrd", self.top / "initrd"]
        machine = self.luctl("--json", *args)
        self.assertEqual(machine.status, status, machine)
        (found,) = machine.objects()
        text = self.luctl(*args)
        self.assertEqual(text.status, status, text)
        for finding in found["findings"] + found["unjudged"]:
            self.assertIn(finding["why"] + "\n", text.out)
            self.assertIn(finding["advice"] + "\n", text.out)
        return found

    def findings(self, status, cmdline=None, **kwargs):
        """(thing, why) of all findings; nothing is left unjudged."""
        found = self.check(status, cmdline, **kwargs)
        self.assertEqual([u for u in found["unjudged"]
                          if u["thing"] != "command line" or cmdline], [])
        return [(f["thing"], f["why"]) for f in found["findings"]]

    def no_go(self, cmdline, *words):
        """One finding, which is no go and about the command line."""
        ((thing, why),) = self.findings(NO_GO, cmdline)
        self.assertEqual(thing, "command line")
        for word in words:
            self.assertIn(word, why)


class CommandLine(BootTest):
    """Parameters, as arch/x86/kernel/e820.c and others read them."""

    #: 0x3a000000 is the end of scratch.
    SCRATCH = ("mem=512M", "mem=0x20000000", "mem=04000000000", "memmap=512M",
               "mem=524288K", "memmap=exactmap", "mem=2G mem=512M",
               "memmap=exactmap,512M@0", "memmap=1M$0x39000000",
               "memmap=1M#0x39000000", "memmap=1M!0x39000000",
               "memmap=4M%0x39000000-1", "memmap=4M%0x39000000",
               "memmap=4M%0x39000000-1+2", "memmap=4M%0x39000000+3",
               "quiet memmap=1K$0,1K$0x39fff000", "x=\u00a0mem=512M",
               "\"mem=512M\"",
               "mem=\"512M\"", "mem=927M", "memmap=1M+2")
    USED = ("mem=1023M", "memmap=1K$0x3ff00000", "memmap=exactmap,1023M@0",
            "memmap=4K$0x100000", "memmap=exactmap memmap=512M@0 "
            "memmap=511M@512M", "mem=928M")
    QUIESCED = ("", "mem=2G", "mem=1G", "mem=nopentium", "mem=", "mem", "mem=0",
                "memmap=1G", "memmap=4G$2G", "memmap=exactmap,1G@0",
                "memmap=exactmap memmap=512M@0,512M@512M", "memmap=x",
                "memmap=4K$0x9f000", "xmem=1M", "mem.x=1M",
                "-- mem=1M", "a=\" mem=1M \"", "memmap=1M%0x39000000-2",
                "memmap=64M!4G", "memmap=4M%0x39000000-1x")

    def test_scratch(self):
        for line in self.SCRATCH:
            with self.subTest(line):
                self.no_go(line, "cuts off scratch memory")

    def test_used(self):
        for line in self.USED:
            with self.subTest(line):
                self.no_go(line, "this kernel uses")

    def test_quiesced(self):
        for line in self.QUIESCED:
            with self.subTest(line):
                self.assertEqual(self.findings(OK, line), [])

    def test_where(self):
        self.no_go("memmap=4K$0x39000000", "at 0x39000000-0x39000fff")
        self.no_go("mem=512M", "at 0x38000000-0x39ffffff")

    def test_the_same_here(self):
        """This kernel was booted with it, and has its scratch below."""
        half = (RAM[0], (1 << 20, 512 * MIB))
        self.put_memory(used=half, scratch=((256 * MIB, 384 * MIB),))
        self.assertEqual(self.findings(OK, "mem=512M"), [])
        self.assertEqual(self.findings(OK, ""), [])
        self.no_go("mem=511M", "this kernel uses")

    def test_without_scratch(self):
        self.put_memory(scratch=None)
        for line, status in (("mem=512M", NO_GO), ("mem=1G", OK)):
            found = self.check(status, line)
            self.assertEqual(sorted({u["thing"] for u in found["unjudged"]}),
                             ["command line", "scratch"])

    def test_memtest(self):
        for line in ("memtest", "memtest=4", "memtest=0 memtest=0x1"):
            self.no_go(line, "overwrites")
        for line in ("memtest=0", "memtest=1 memtest=0", "memtester=1"):
            self.assertEqual(self.findings(OK, line), [])

    def test_elfcorehdr(self):
        self.no_go("elfcorehdr=0x1000", "crash kernel")
        self.assertEqual(self.findings(OK, "elfcorehdr="), [])

    def test_movable_node(self):
        (found,) = self.check(OK, "movable_node")["unjudged"]
        self.assertIn("movable_node", found["why"])
        self.put("proc/cmdline", "quiet movable_node\n")
        self.assertEqual(self.findings(OK, "movable_node"), [])

    def test_kho_scratch(self):
        """It does not matter now, but is said."""
        def of(value):
            return self.findings(OK, f"kho_scratch={value}")
        self.assertIn("does not know", of("200%")[0][1])
        for name in (b"kho_scratch", b"xkho_scratch"):
            text = images.rodata() + b"\0" + name + b"\0"
            self.put("image", images.bzimage(images.elf(
                images.notes(PCI, LOG), text + b"\0" * (-len(text) % 8))))
            wrong = name[:1] == b"x"
            for value in ("200%", "16M,512M,256M", "0,1,0", "1G,0x10,010"):
                self.assertEqual(bool(of(value)), wrong)
            for value in ("", "%", "x%", "-1%", "16M", "16M,1M", "0,0,0",
                          "1,2,3,4", "1,2,3x", "1;2;3",
                          "4294967296%"):
                self.assertIn("does not know" if wrong else "ignored",
                              of(value)[0][1])
        self.assertEqual(self.findings(OK, "kho-scratch=1,1,1 quiet")[0][0],
                         "command line")

    def test_switched_off(self):
        """A boot that takes nothing over is no update."""
        for line, missing in (
                ("", ["kho", "liveupdate"]), ("kho=on", ["liveupdate"]),
                ("kho=off liveupdate=on", ["kho"]), ("liveupdate=1", ["kho"]),
                ('"kho=on" liveupdate="yes"', []),
                ("kho=on -- liveupdate=on", ["liveupdate"]),
                ('kho=on "--" liveupdate=on', ["liveupdate"])):
            found = self.luctl("--json", "check", self.image, "--cmdline", line)
            self.assertEqual(found.status, NO_GO if missing else OK, found)
            found = found.objects()[0]["findings"]
            self.assertEqual([f["why"].split()[1] for f in found],
                             [f"{name}=on" for name in missing])
            for one in found:
                self.assertIn("--append", one["advice"])

    def test_reused(self):
        """What is judged is what luctl update loads: cuts and all."""
        def why(*args, status=OK):
            found = self.luctl("--json", "check", self.image, *args)
            self.assertEqual(found.status, status, found)
            (found,) = found.objects()
            if status in (USAGE, UNREADABLE):
                return found["error"]["message"]
            return " ".join(f["why"] for f in found["findings"])
        reuse = "--reuse-cmdline"
        self.assertEqual(why(reuse), "")
        self.assertIn("cuts off", why(reuse, "--append", "mem=512M",
                                      status=NO_GO))
        self.assertEqual(why(reuse, "--append", "-- mem=512M"), "")
        self.put("proc/cmdline", "mem=512M liveupdate=on\n")
        self.assertNotIn("without", why(reuse, status=NO_GO))
        self.put("proc/cmdline", "kho=on initrd=mem=512M\n")
        self.assertIn("without liveupdate", why(reuse, status=NO_GO))
        self.assertEqual(why(reuse, "--append", "liveupdate=on"), "")
        self.assertIn("without", why("--cmdline", "a", status=NO_GO))
        for args in ((reuse, "--cmdline", "x"), (reuse, "--from", self.image),
                     ("--append", "x"), (reuse, "--append", 'a="b'),
                     ("--cmdline", 'kho=on a="b')):
            why(*args, status=USAGE)
        self.put("proc/cmdline", 'kho=on liveupdate=on a="b\n')
        self.assertIn("quote", why(reuse, status=USAGE))
        (self.top / "proc/cmdline").unlink()
        why(reuse, status=UNREADABLE)

    def test_not_given(self):
        self.assertEqual([u["thing"] for u in self.check(OK)["unjudged"]],
                         ["command line"])
        self.assertEqual(self.check(OK, "")["unjudged"], [])

    def test_long(self):
        """More ranges than any firmware has are not judged; no sanitizer sees
        anything."""
        line = "memmap=" + ",".join(f"1K${i}M" for i in range(5000))
        (found,) = self.check(OK, line)["unjudged"]
        self.assertIn("E2BIG", found["why"])

    def test_a_name_is_not_printed_as_it_is(self):
        found = self.luctl("check", self.image, "--cmdline",
                           "kho_scratch=\x1b[2J")
        self.assertNotIn("\x1b", found.out)


class Memory(BootTest):
    """Which memory the next kernel knows of."""

    ADDED = (4 * GIB, 4 * GIB + 512 * MIB)

    def reset(self, state="normal"):
        super().reset(state)
        self.drop("sys/devices/system/memory")

    def blocks(self, states, zones="Normal"):
        """Memory blocks of 128 MiB."""
        folder = "sys/devices/system/memory/"
        self.put(folder + "block_size_bytes", "8000000\n")
        for number, state in states.items():
            self.put(f"{folder}memory{number}/state", state + "\n")
            self.put(f"{folder}memory{number}/valid_zones", zones + "\n")

    def test_added(self):
        self.put_memory(used=(*RAM, self.ADDED))
        ((thing, why),) = self.findings(NO_GO, "")
        self.assertEqual(thing, "memory")
        self.assertIn("was added", why)
        self.assertIn("0x100000000-0x11fffffff", why)
        self.assertEqual([t for t, _ in self.findings(NO_GO, "mem=512M")],
                         ["memory", "command line"])

    def test_added_and_offline(self):
        self.put_memory(used=(*RAM, self.ADDED))
        self.blocks({number: "offline" for number in range(32, 36)})
        self.assertEqual(self.findings(OK, ""), [])
        self.blocks({33: "online"})
        self.assertIn("0x108000000-0x10fffffff",
                      self.findings(NO_GO, "")[0][1])

    def test_added_and_movable(self):
        """Nothing in there can be preserved."""
        self.put_memory(used=(*RAM, self.ADDED))
        self.blocks({number: "online" for number in range(32, 36)}, "Movable")
        self.assertEqual(self.findings(OK, ""), [])
        self.blocks({35: "online"}, "Normal Movable")
        self.assertIn("0x118000000-0x11fffffff",
                      self.findings(NO_GO, "")[0][1])

    def test_added_and_told(self):
        """The kernel tells the next one of it, so only that must be able to
        have its struct pages, and mem= must not take it away."""
        self.put_memory(used=(*RAM, self.ADDED))
        before = self.check(NO_GO, "")["scratch"]["parts"]["pages"]
        for text in ("firmware\n", "", "presently\n"):
            self.sysfs("memory_map", text)
            self.assertEqual(self.findings(NO_GO, "")[0][0], "memory")
        self.sysfs("memory_map", "present\n")
        self.assertEqual(self.findings(OK, ""), [])
        self.assertEqual(self.check(OK, "")["scratch"]["parts"]["pages"],
                         before + 8 * MIB)
        ((thing, why),) = self.findings(NO_GO, "mem=4G")
        self.assertEqual(thing, "command line")
        self.assertIn("0x100000000-0x11fffffff", why)
        self.assertEqual(self.findings(OK, "mem=5G"), [])
        # Not if the firmware says that it is something else.
        for kind in (2, 3, 5):
            self.put_memory(given=(*RAM, (*self.ADDED, kind)),
                            used=(*RAM, self.ADDED))
            self.assertEqual(self.findings(NO_GO, "")[0][0], "memory")
        # Below, between and above what the firmware knows.
        self.put_memory(given=((64 * MIB, 960 * MIB),),
                        used=((MIB, GIB), self.ADDED))
        self.assertEqual(self.findings(OK, ""), [])

    def test_added_by_a_driver(self):
        """The next kernel is not told of it: without a word where the kernel
        does not look, so no go; otherwise it refuses what is lost."""
        for driver in ("kmem", "virtio_mem"):
            self.reset()
            self.sysfs("memory_map", "firmware\n")
            self.put_memory(used=(*RAM, (*self.ADDED, driver)))
            self.assertEqual(self.findings(NO_GO, "")[0][0], "memory")
            self.sysfs("memory_map", "present\n")
            found = self.check(OK, "")
            self.assertEqual(found["findings"], [])
            (unjudged,) = found["unjudged"]
            self.assertEqual(unjudged["thing"], "memory")
            self.assertIn("ERANGE", unjudged["why"])
            self.assertIn("0x100000000-0x11fffffff", unjudged["why"])
            self.blocks({n: "online" for n in range(32, 36)}, "Movable")
            self.assertEqual(self.check(OK, "")["unjudged"], [])

    def test_reserved_by_firmware(self):
        """What is RAM and something else is not RAM."""
        for kind in (2, 3, 4, 5, 7, 12, 0xefffffff):
            self.put_memory(given=(*RAM, (0x3ff00000, 0x40000000, kind)))
            self.assertEqual(self.findings(NO_GO, "")[0][0], "memory")
            self.put_memory(given=(*RAM, (0x3ff00000, 0x40000000, kind)),
                            used=(RAM[0], (1 << 20, 0x3ff00000)))
            self.assertEqual(self.findings(OK, ""), [])

    def test_exactmap(self):
        """It forgets what was reserved, too."""
        self.put_memory(given=(*RAM, (0x3ff00000, 0x40000000, 2)),
                        used=(RAM[0], (1 << 20, 0x3ff00000)))
        self.assertEqual(self.findings(
            OK, "memmap=exactmap,1G@0,1M$1023M"), [])
        self.assertEqual(len(self.findings(
            NO_GO, "memmap=exactmap,1023M@0,4K$512M")), 1)
        self.put_memory(given=(*RAM, (0x38000000, 0x38001000, 2)),
                        used=(RAM[0], (1 << 20, 0x38000000)),
                        scratch=((0x30000000, 0x34000000),))
        self.assertEqual(self.check(OK, "memmap=exactmap,1G@0")["scratch"][
            "parts"]["pages"], 16 * MIB)
        # What is reserved again in one section makes it vanish as a whole.
        self.put_memory(given=((0, GIB), (GIB - 128 * MIB, GIB, 2)),
                        used=((0, GIB - 128 * MIB),),
                        scratch=((0x20000000, 0x24000000),))
        for line, mib in (("", 14), ("memmap=1G@0", 14),
                          ("memmap=exactmap,1G@0", 16)):
            self.assertEqual(self.check(OK, line)["scratch"]["parts"]["pages"],
                             mib * MIB)

    def test_many_entries(self):
        """128 are in boot_params, the rest in a setup_data."""
        given = [(i * MIB, (i + 1) * MIB) for i in range(1024)]
        self.put_memory(given=given)
        self.assertEqual(self.findings(OK, ""), [])
        self.put_memory(given=given[:900])
        self.assertEqual(self.findings(NO_GO, "")[0][0], "memory")

    def test_not_readable(self):
        for what in ({"given": None}, {"used": ()}):
            self.put_memory(**what)
            found = self.check(OK, "mem=512M")
            self.assertEqual([u["thing"] for u in found["unjudged"]],
                             ["memory"])
            self.assertEqual(found["findings"], [])
        self.put_memory()
        self.put("proc/iomem", "00000000-00000000 : System RAM\n" * 2)
        self.assertEqual([u["thing"] for u in self.check(OK, "")["unjudged"]],
                         ["memory"])

    def test_corrupted(self):
        for data in (b"", b"x" * 100, bytes(4096), b"\xff" * 4096):
            self.put("sys/kernel/boot_params/data", data)
            self.assertEqual(self.check(OK, "")["unjudged"][0]["thing"],
                             "memory")
        self.put_memory()
        for name in ("phys", "len"):
            for text in ("", "x\n", "0x1\n0x2\n"):
                self.put_memory()
                self.put(f"sys/kernel/debug/kho/out/scratch_{name}", text)
                self.assertEqual([u["thing"] for u in
                                  self.check(OK, "")["unjudged"]], ["scratch"])


class Scratch(BootTest):
    """Is there enough for image, initramfs and boot?"""

    def scratch(self, *sizes, **kwargs):
        """Areas of so many MiB, from 256 MiB on."""
        areas, at = [], 256 * MIB
        for size in sizes:
            areas.append((at, at + size * MIB))
            at += size * MIB
        self.put_memory(scratch=areas, **kwargs)

    def test_formula(self):
        """Each part, as boot.c explains it."""
        for size, pages, tables in ((1, 16, 1.5), (2, 32, 3), (3, 48, 6),
                                    (5, 80, 12)):
            ram = (RAM[0], (1 << 20, size * GIB))
            self.put_memory(given=ram, used=ram, scratch=((GIB // 4, GIB // 2),))
            found = self.check(OK, "", initrd=5000)["scratch"]
            parts = found["parts"]
            self.assertEqual(found["needed"], sum(parts.values()))
            self.assertEqual(parts["image"], 16 * MIB)
            self.assertEqual(parts["initrd"], 8192)
            self.assertEqual(parts["pages"], pages * MIB)
            self.assertEqual(parts["tables"], tables * MIB)
            self.assertEqual(parts["processors"], 2 * MIB)
            self.assertEqual(parts["parameters"], 0)
            self.assertEqual(parts["rest"], 6 * MIB + (
                pages + tables + 8) * MIB // 8)

    def test_sections(self):
        """Struct pages are there for whole sections of 128 MiB, once each."""
        ram = ((0x1000, 0x2000), (1 << 20, 512 * MIB), (GIB, GIB + 4096),
               (GIB + 8192, GIB + 12288))
        self.put_memory(given=ram, used=ram, scratch=((GIB // 4, GIB // 2),))
        self.assertEqual(self.check(OK, "")["scratch"]["parts"]["pages"],
                         5 * 2 * MIB)

    def test_large(self):
        """Hash tables do not grow with the memory for ever."""
        sizes = {64: 96, 128: 96, 256: 192, 512: 192, 1024: 384}
        for gib, mib in sizes.items():
            ram = ((0, gib * GIB),)
            self.put_memory(given=ram, used=ram, scratch=((GIB, 2 * GIB),))
            found = self.check(OK if gib < 64 else NO_GO, "")
            self.assertEqual(found["scratch"]["parts"]["tables"], mib * MIB)

    def test_what_this_boot_took(self):
        """If it took more than the formula says, as with KASAN, that counts."""
        self.scratch(64, taken=300 * MIB)
        ((thing, why),) = self.findings(NO_GO, "")
        self.assertEqual(thing, "scratch")
        need = self.check(NO_GO, "")["scratch"]
        self.assertEqual(need["parts"]["rest"] // MIB,
                         (300 - 16 - 19.5) * 9 // 8 + 19.5 // 8 + 1)
        # Memory that waits for its owner after an update looks the same.
        self.put("sys/kernel/debug/kho/in/fdt", "")
        self.assertEqual(self.findings(OK, ""), [])

    def test_edge(self):
        """Enough is enough, and one step less is not."""
        need = self.check(OK, "", initrd=7 * MIB)["scratch"]["needed"]
        enough = -(-need // (4 * MIB)) * 4
        self.scratch(enough)
        self.assertEqual(self.findings(OK, "", initrd=7 * MIB), [])
        self.scratch(enough - 4)
        ((thing, why),) = self.findings(NO_GO, "", initrd=7 * MIB)
        self.assertEqual(thing, "scratch")
        self.assertIn(f"needs {-(-need // MIB)} MiB", why)
        self.assertIn(f"there are {enough - 4} MiB", why)
        self.assertIn("initramfs 7", why)

    def test_advice_does(self):
        """A kernel with the kho_scratch= of the advice is large enough."""
        for sizes in ((8, 4, 4), (0, 8, 0), (4, 4, 16), (28,), (0, 0, 24),
                      (16, 4, 4, 4), (64, 0, 0)):
            self.scratch(*sizes)
            for initrd in (0, 3 * MIB, 60 * MIB):
                found = self.check(NO_GO, "", initrd=initrd) if \
                    sum(sizes) < 50 or initrd > 4 * MIB else None
                if not found:
                    continue
                advice = found["scratch"]["kho_scratch"]
                self.assertIn(advice, found["findings"][0]["advice"])
                new = [int(part.rstrip("M")) for part in
                       advice.partition("=")[2].split(",")]
                self.assertEqual(len(new), 3)
                nodes = max(1, len(sizes) - 2)
                self.scratch(*new[:2], *new[2:] * nodes)
                self.assertEqual(self.findings(OK, "", initrd=initrd), [])
                self.scratch(*sizes)

    def test_pieces(self):
        """Each is loaded in one piece."""
        self.scratch(8, 8, 8, 8, 8, 8, 8, 8, 8, 8)
        ((_, why),) = self.findings(NO_GO, "")
        self.assertIn("cannot be loaded into the scratch areas of 8 + 8", why)
        self.scratch(20, 40)
        self.assertEqual(self.findings(OK, "", initrd=6 * MIB), [])
        self.assertIn("cannot be loaded", self.findings(
            NO_GO, "", initrd=44 * MIB)[0][1])

    def test_lowest_address(self):
        """The kernel is loaded where it asks for, or above."""
        self.put_memory(scratch=((1 << 20, 16 * MIB), (32 * MIB, 112 * MIB)))
        self.assertEqual(self.findings(OK, ""), [])
        self.put_memory(scratch=((1 << 20, 30 * MIB), (32 * MIB, 40 * MIB),
                                 (48 * MIB, 56 * MIB)))
        self.assertIn("cannot be loaded", self.findings(NO_GO, "")[0][1])

    def test_parameters(self):
        """What takes its share first, if it fits."""
        self.scratch(128)
        for line, mib in (("crashkernel=32M", 32), ("crashkernel=32M@256M", 32),
                          ("crashkernel=512M-:20M", 20),
                          ("crashkernel=1M-512M:1M,512M-2G:24M,2G-:99M", 24),
                          ("crashkernel=2G-:99M", 0), ("cma=16M", 16),
                          ("cma=16M@0-4G", 16), ("hugetlb_cma=8M", 8),
                          ("hugetlb_cma=0:8M,1:16M", 24),
                          ("reserve_mem=4M:4096:oops", 4),
                          ("log_buf_len=4M", 18), ("log-buf-len=2M", 9),
                          ("cma=8M crashkernel=8M", 16), ("cma", 0)):
            with self.subTest(line):
                self.assertEqual(self.check(OK, line)["scratch"]["parts"][
                    "parameters"], mib * MIB)
        ((thing, why),) = self.findings(NO_GO, "crashkernel=96M")
        self.assertEqual(thing, "scratch")
        self.assertIn("parameters 96", why)
        ((thing, why),) = self.findings(OK, "crashkernel=256M")
        self.assertIn("does not fit", why)
        self.assertIn("256 MiB", why)

    def test_crash_kernel(self):
        """What is taken for it, as kernel/crash_reserve.c does it."""
        low, high = (GIB, 2 * GIB), (5 * GIB, 6 * GIB)
        ram = ((0, 8 * GIB),)
        for areas, cases in {
                (low, high): {
                    "64M": 64, "64M,high": 64 + 256, "64M,high 8M,low": 72,
                    "64M,high 0,low": 64, "32M 64M,high": 32, "8M,low": 0,
                    "64M,high 16M,high": 16 + 256, "64M@1G": 64, "x": 0,
                    "64M,high swiotlb=262144": 64 + 520, "auto": 0,
                    "1G": 1024, "64M,cma": 64, "64M 128M,cma": 192,
                    "64M,high 8M,low 64M,cma": 136, "-- 64M": None,
                    "7G-:64M,8G-:128M": 64, "8G-:128M": 128, "1G-2G:8M": 0},
                (low,): {"64M,high": 64, "64M": 64, "2G,cma": 1024},
                (high,): {"64M 0,low": None, "64M,high 0,low": 64},
                (low[:1] + (GIB + 256 * MIB,), high): {
                    "512M": 512 + 256, "256M,high 256M,low": 512}}.items():
            self.put_memory(given=ram, used=ram, scratch=areas)
            for text, mib in cases.items():
                words = [word if word == "--" or "=" in word else
                         f"crashkernel={word}" for word in text.split()]
                with self.subTest(text, areas=areas):
                    found = self.luctl("--json", "check", self.image,
                                       "--cmdline", "kho=on liveupdate=on "
                                       + " ".join(words))
                    found = found.objects()[0]
                    self.assertEqual(found["scratch"]["parts"]["parameters"],
                                     (mib or 0) * MIB)
                    told = [f["why"] for f in found["findings"]
                            if f["thing"] == "command line"]
                    self.assertEqual(len(told), mib is None and
                                     "--" not in text, told)
        self.put_memory(given=ram, used=ram, scratch=(low, high))
        for text in ("2G", "2G,high", "64M,high crashkernel=2G,low",
                     "64M@3G", "64M@2040M"):
            ((thing, why),) = self.findings(OK, f"crashkernel={text}")
            self.assertIn("does not fit", why)

    def test_not_for_what_is_not_loaded(self):
        self.put("image", images.kernel(PCI, LOG))
        self.scratch(4)
        found = self.check(NO_GO, "")
        self.assertEqual([f["thing"] for f in found["findings"]], ["image"])
        self.assertIsNone(found["scratch"])

    def test_default_areas(self):
        self.assertEqual(self.check(OK, "")["scratch"]["areas"],
                         [end - start for start, end in SCRATCH])


class From(BootTest):
    """Two images, where kernels are built."""

    def compare(self, status, old, new, *args):
        """luctl check --from."""
        shutil.rmtree(self.top / "sys", ignore_errors=True)
        self.put("old", old)
        self.put("image", new)
        result = self.luctl("--json", "check", "--from", self.top / "old",
                            self.image, *args)
        self.assertEqual(result.status, status, result)
        text = self.luctl("check", "--from", self.top / "old", self.image, *args)
        self.assertEqual(text.status, status)
        return result.objects()[0]

    def test_go(self):
        old = images.bzimage(images.kernel(("pci", 2, 1, 1, 1), LOG))
        new = images.bzimage(images.kernel(PCI, LOG))
        found = self.compare(OK, old, new)
        self.assertEqual(found["from"], images.RELEASE)
        self.assertEqual([(h["name"], h["writes"], h["reads"], h["verdict"])
                          for h in found["handover"]],
                         [("pci", 2, {"oldest": 1, "version": 3}, "go"),
                          ("shutdown-log", 1, {"oldest": 1, "version": 1},
                           "go")])
        self.assertEqual([u["thing"] for u in found["unjudged"]],
                         ["command line", "memory"])

    def test_no_go(self):
        old = images.bzimage(images.kernel(("pci", 9, 1, 1, 1), LOG))
        new = images.bzimage(images.kernel(PCI))
        found = self.compare(NO_GO, old, new, "--cmdline",
                             "kho=on liveupdate=on memtest")
        self.assertEqual([(f["thing"], f["severity"])
                          for f in found["findings"]],
                         [("pci", "no-go"), ("shutdown-log", "loss"),
                          ("command line", "no-go")])
        self.assertEqual([h["verdict"] for h in found["handover"]],
                         ["no-go", "loss"])
        self.assertIn("the old image writes 9", found["findings"][0]["why"])

    def test_uki(self):
        """On a build host, both may be anything that can be read."""
        kernel = images.bzimage(images.compress(images.kernel(PCI, LOG),
                                                "zstd", True))
        found = self.compare(NO_GO, images.uki(kernel), images.uki(kernel))
        self.assertEqual(len(found["handover"]), 2)
        ((thing, advice),) = [(f["thing"], f["advice"])
                              for f in found["findings"]]
        self.assertEqual(thing, "image")
        self.assertIn("objcopy", advice)

    def test_machines(self):
        arm = images.arm64(images.notes(PCI, LOG))
        x86 = images.bzimage(images.kernel(PCI, LOG))
        self.assertEqual(self.compare(OK, arm, arm)["findings"], [])
        for old, new in ((arm, x86), (x86, arm)):
            (finding,) = self.compare(NO_GO, old, new)["findings"]
            self.assertIn("aarch64", finding["why"])
            self.assertIn("x86_64", finding["why"])

    def test_old_image_without_subsystems(self):
        new = images.bzimage(images.kernel(PCI, LOG))
        found = self.compare(NO_GO, images.elf(images.other_notes()), new)
        self.assertEqual(found["findings"][0]["why"],
                         "the old image hands nothing over: it describes no "
                         "subsystems")
        self.assertEqual(found["handover"], [])
        for release, old in (("6.12.117+deb12", True), ("6.16.1-next", False)):
            kernel = images.elf(images.other_notes(), images.rodata().replace(
                images.RELEASE.encode(), release.encode()))
            why = self.compare(NO_GO, kernel, new)["findings"][0]["why"]
            self.assertEqual("Linux 6.12 has no Kexec HandOver at all" in why,
                             old, why)

    def test_kho_differs(self):
        old = images.bzimage(images.kernel(PCI, LOG, kho="kho-v3"))
        found = self.compare(NO_GO, old, images.bzimage(images.kernel(PCI, LOG)))
        self.assertIn("reads kho-v4, the old image writes kho-v3",
                      found["findings"][0]["why"])

    def test_unusable(self):
        self.put("image", images.bzimage(images.kernel(PCI)))
        result = self.luctl("check", "--from", "/dev/zero", self.image)
        self.assertEqual(result.status, UNREADABLE)
        self.assertIn("/dev/zero", result.err)
        self.assertEqual(self.luctl("check", "--from", self.image).status,
                         USAGE)


class Images(BootTest):
    """What kexec_file_load(2) does not take, and kernels of other times."""

    def why(self, image):
        """The only finding."""
        self.put("image", image)
        ((thing, why),) = self.findings(NO_GO, "")
        self.assertIn(thing, ("image", "KHO"))
        return why

    def test_bzimages(self):
        kernel = images.kernel(PCI, LOG)
        for wrong in ({"version": 0x20b}, {"loadflags": 0},
                      {"xloadflags": 1}, {"xloadflags": 2}):
            self.assertIn("64-bit entry",
                          self.why(images.bzimage(kernel, **wrong)))
        self.assertIn("i686", self.why(images.bzimage(images.elf(
            images.notes(PCI, LOG), bits=32))))

    def test_other_formats(self):
        self.assertIn("no vmlinux", self.why(images.kernel(PCI, LOG)))
        self.assertIn("no vmlinux", self.why(images.compress(
            images.kernel(PCI, LOG), "gzip")))
        self.assertIn("no UKI", self.why(images.uki(images.bzimage(
            images.kernel(PCI, LOG)))))
        self.assertIn("for aarch64", self.why(images.arm64(
            images.notes(PCI, LOG))))

    def test_old_kernels(self):
        for release, word in (("6.1.0-50-amd64", "Linux 6.1 has no Kexec"),
                              ("5.10.0", "Linux 5.10 has no Kexec"),
                              ("6.15.9", "came with 6.16"),
                              ("6.16.0", "the image has no Kexec"),
                              ("7.3.4", "the image has no Kexec")):
            text = f"Linux version {release} (x) #1 SMP\0".encode()
            self.assertIn(word, self.why(images.bzimage(images.elf(
                images.other_notes(), images.rodata(None, text)))))

    def test_corrupted_uki(self):
        whole = images.uki(images.bzimage(images.kernel(PCI, LOG)))
        for data, word in ((whole[:-600], "corrupted"),
                           (images.uki(b"x" * 600), "none that luctl"),
                           (images.uki(b""), "none that luctl"),
                           (images.uki(images.uki(whole)), "none that luctl"),
                           (images.uki(b"", names=(b".osrel",)), "no image")):
            self.put("image", data)
            result = self.luctl("check", self.image)
            self.assertEqual(result.status, UNREADABLE, result)
            self.assertIn(word, result.err)
        # In memory it may be larger than in the file.
        large = bytearray(images.uki(images.arm64(images.notes(PCI, LOG)),
                                     0xaa64))
        at = large.index(b".linux\0\0") + 8
        large[at:at + 4] = b"\xff" * 4
        self.assertIn("for aarch64", self.why(bytes(large)))


class Sanitized(BootTest):
    """The same under sanitizers, which a preloaded shim does not get along
    with; /proc is that of this machine."""

    def test_all(self):
        for line in (*CommandLine.SCRATCH, *CommandLine.USED,
                     *CommandLine.QUIESCED, "kho_scratch=1,2", "cma=1,",
                     "crashkernel=1-", "crashkernel=1-2:", "hugetlb_cma=0:"):
            saved, self.program = self.program, self.sanitized
            result = self.luctl("--json", "check", self.image, "--cmdline",
                                line, LD_PRELOAD="")
            self.program = saved
            self.assertIn(result.status, (OK, NO_GO), result)
            self.assertNotIn("runtime error", result.err)
            self.assertTrue(json.loads(result.out)["verdict"])
