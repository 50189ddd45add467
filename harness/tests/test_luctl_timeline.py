# SPDX-License-Identifier: GPL-2.0
"""luctl timeline: what it makes of right and of corrupted timelines."""

import itertools
import os
import pty
import re
import threading
import unittest
import xml.etree.ElementTree as ElementTree

from ..common.run import HarnessError
from ..guest import timeline as tf
from ..guest.timeline import (CALLBACK, CANCEL, FINISH, FREEZE, INITCALLS,
                              KERNEL, MARK, PART, PARTS, PREPARE, RESTORE,
                              STEP, THAW, Record)
from .luctl_fixture import (FAILED, OK, OUTPUT, UNAVAILABLE, UNREADABLE,
                            USAGE, LuctlTest)

LEVELS = ("early", "pure", "core", "postcore", "arch", "subsys", "fs",
          "device", "late")

#: Phases of a blackout with the durations that Update gives them, in us.
BLACKOUT = {
    "freeze": 60, "last checks": 20, "reboot notifiers": 30,
    "device shutdown": 4000, "machine shutdown": 50,
    "between the kernels": 9000, "early boot": 3000,
    "early initcalls": 200, "after early initcalls": 800,
    **{f"{level} initcalls": 100 for level in LEVELS[1:]},
    "after initcalls": 70}

US = 1000


class Update:
    """Builds the records of an update, as the kernel writes them."""

    def __init__(self, number=1, kernel=1, now=5_000 * US, per_us=US,
                 names=("kvm", "pci")):
        self.records = []
        self.number = number
        self.kernel = kernel
        self.now = now
        self.per_us = per_us
        self.names = names

    def add(self, kind, step=0, error=0, name="", us=0, start=None):
        """A record that ends after some microseconds."""
        start = self.now if start is None else start
        self.now += us * self.per_us
        self.records.append(Record(start, self.now, self.number, self.kernel,
                                   kind, step, error, name))
        return self.records[-1]

    def step(self, step, us=60, error=0, names=None):
        """A step and its callbacks, each of which takes its share."""
        start, names = self.now, self.names if names is None else names
        for name in names:
            self.add(CALLBACK, step, error if name == names[-1] else 0, name,
                     us // len(names))
        self.now = start + us * self.per_us
        return self.add(STEP, step, error, start=start)

    def prepared(self, release="7.3.4-a", rehearsals=0):
        """As far as prepared."""
        self.add(KERNEL, name=release)
        self.step(PREPARE, 1000)
        for _ in range(rehearsals):
            self.now += 500 * self.per_us
            self.step(FREEZE, 40)
            self.step(THAW, 20)
        self.now += 500 * self.per_us
        return self

    def jumped(self, release="7.3.5-b"):
        """Through the blackout."""
        self.step(FREEZE)
        for name, us in (("serialized", 20), ("notified", 30),
                         ("devices-down", 4000), ("jump", 50)):
            self.now += us * self.per_us
            self.add(MARK, name=name)
        self.now += 9000 * self.per_us
        self.kernel += 1
        self.add(KERNEL, name=release)
        self.now += 3000 * self.per_us
        for level in LEVELS:
            start = self.now
            if level == "early":
                self.step(RESTORE, 160)
                self.now = start + 200 * self.per_us
                self.add(INITCALLS, name=level, start=start)
                self.now += 800 * self.per_us
            else:
                self.add(INITCALLS, name=level, us=100)
        self.add(MARK, name="initcalls-done")
        self.now += 70 * self.per_us
        self.add(MARK, name="userspace")
        return self

    def finished(self):
        """To the end."""
        self.now += 2000 * self.per_us
        self.step(FINISH, 80)
        return self

    def without(self, *names):
        """Without the marks, levels and kernels of these names."""
        self.records = [r for r in self.records if r.kind == CALLBACK or
                        r.name not in names]
        return self


def complete(**kwargs):
    """The records of an ordinary update."""
    return Update(**kwargs).prepared().jumped().finished().records


class Format(unittest.TestCase):
    """The module that scenarios read timelines with."""

    def test_round_trip(self):
        records = complete()
        for sizes in ({}, {"header_size": 64, "record_size": 96}):
            header, again = tf.parse(tf.build(records, **sizes))
            self.assertEqual(again, records)
            self.assertEqual(header.count, len(records))

    def test_corruption(self):
        data = tf.build(complete())
        for bad in (data[:-1], data[:20], b"x" + data[1:],
                    data[:-1] + b"\1", data[:8] + b"\2" + data[9:]):
            with self.assertRaises(HarnessError):
                tf.parse(bad)


class TimelineTest(LuctlTest):
    """Ways to run luctl timeline."""

    def write(self, data, name="saved"):
        """Write a copy of a timeline."""
        path = self.top / name
        path.write_bytes(data)
        return path

    def text(self, data, *args, status=OK):
        """What luctl prints for people."""
        result = self.luctl("timeline", "--file", self.write(data), *args)
        self.assertEqual(result.status, status, result)
        self.assertEqual(bool(result.err), status != OK, result)
        if status == OK:
            for line in result.out.splitlines():
                self.assertLessEqual(len(line), 100)
                self.assertEqual(line, line.rstrip())
                self.assertTrue(line.isascii())
        return result.text

    def json(self, data, *args):
        """What luctl prints for programs."""
        result = self.luctl("timeline", "--json", "--file", self.write(data),
                            *args)
        self.assertEqual((result.status, result.err), (OK, ""), result)
        self.assertEqual(len(result.objects()), 1)
        return result.objects()[0]

    def update(self, records, *args, **header):
        """The only update of a timeline of these records."""
        updates = self.json(tf.build(records, **header), *args)["updates"]
        self.assertEqual(len(updates), 1)
        return updates[0]

    def refused(self, data, what):
        """luctl says what is wrong, in text and JSON, and nothing else."""
        path = self.write(data)
        text, machine = self.both(UNREADABLE, "timeline", "--file", path)
        self.assertIn(what, text.err)
        self.assertEqual(text.out, "")
        self.assertEqual(len(machine.objects()), 1)


def phases(update, blackout=True):
    """Durations in us by the name of the phase."""
    return {p["name"]: p["duration_ns"] and p["duration_ns"] / 1000
            for p in update["phases"] if p["blackout"] == blackout}


class Model(TimelineTest):
    """Phases of updates that went well, or not so well."""

    def test_complete(self):
        update = self.update(complete())
        self.assertEqual(phases(update), BLACKOUT)
        self.assertEqual(list(phases(update)), list(BLACKOUT))
        self.assertEqual(phases(update, False), {
            "prepare": 1000, "until finish": 2000, "finish": 80})
        self.assertEqual((update["old"], update["new"], update["outcome"]),
                         ("7.3.4-a", "7.3.5-b", "complete"))
        self.assertEqual(update["blackout_ns"], sum(BLACKOUT.values()) * US)
        self.assertEqual(update["gap_ns"], 9000 * US)
        self.assertEqual(update["unaccounted_ns"], 0)
        self.assertTrue(update["credible"])

        at = 1500 * US
        for phase in (p for p in update["phases"] if p["blackout"]):
            self.assertEqual(phase["start_ns"], at, phase)
            at += phase["duration_ns"]
        self.assertEqual([s["transition"] for s in update["transitions"]],
                         ["prepare", "freeze", "restore", "finish"])
        self.assertEqual(
            update["callbacks"][2],
            {"transition": "freeze", "subsystem": "kvm", "kernel": "old",
             "start_ns": 1500 * US, "duration_ns": 30 * US, "errno": None})

    def test_slowest(self):
        slowest = self.update(complete())["slowest"]
        self.assertEqual([d["name"] for d in slowest[:4]], [
            "between the kernels", "device shutdown", "early boot",
            "after early initcalls"])
        self.assertEqual(len(slowest), 10)
        self.assertAlmostEqual(slowest[0]["share"],
                               9000 / sum(BLACKOUT.values()))
        everything = self.update(complete(), "--top", "1000")["slowest"]
        names = [d["name"] for d in everything]
        for name in ("restore", "restore of kvm", "freeze of pci"):
            self.assertEqual(names.count(name), 1, name)
        self.assertEqual(names.count("freeze"), 1)
        self.assertNotIn("prepare", names)
        self.assertEqual(sorted((d["duration_ns"] for d in everything),
                                reverse=True),
                         [d["duration_ns"] for d in everything])
        self.assertEqual(self.update(complete(), "--top=0")["slowest"], [])

    def test_text(self):
        text = self.text(tf.build(complete()))
        for line in (r"Update 1: complete", r"  old kernel  7\.3\.4-a",
                     r"  new kernel  7\.3\.5-b",
                     r"  blackout    18\.03 ms, between the kernels 9\.000 ms",
                     r" +-1\.500  1\.000 ms  old  prepare",
                     r" +0\.000  60\.00 us  old  freeze +\|#.*\|",
                     r" +4\.160  9\.000 ms  ---  between the kernels .*~~~.*",
                     r" +16\.160  160\.0 us  new    restore +\|.*#.*\|",
                     r"    9\.000 ms   49\.92 %  ---  between the kernels"):
            self.assertRegex(text, f"(?m)^{line}$")
        self.assertNotIn("Note", text)
        self.assertNotIn("Failed", text)

    def test_bars(self):
        """Block characters are for terminals that can show them."""
        path = self.write(tf.build(complete()))
        for locale, block in (("C", False), ("C.UTF-8", True)):
            leader, follower = pty.openpty()
            text = b""
            with self.start("timeline", "--file", path, stdout=follower,
                            LC_ALL=locale):
                os.close(follower)
                while b"The slowest" not in text:
                    text += os.read(leader, 65536)
                os.close(leader)
            self.assertEqual("\u2588".encode() in text, block)
            self.assertEqual(b"#" in text, not block)
        self.assertTrue(self.luctl("timeline", "--file", path,
                                   LC_ALL="C.UTF-8").out.isascii())

    def test_rehearsals(self):
        records = Update().prepared(rehearsals=3).jumped().finished().records
        update = self.update(records, "--top", "99")
        self.assertEqual(phases(update), BLACKOUT)
        rehearsals = [p for p in update["phases"] if p["name"] == "rehearsal"]
        self.assertEqual([p["duration_ns"] for p in rehearsals],
                         [60 * US] * 3)
        self.assertFalse(any(p["blackout"] for p in rehearsals))
        self.assertEqual([d["duration_ns"] for d in update["slowest"]
                          if d["name"] == "freeze of kvm"], [30 * US])

    def test_failed_freeze(self):
        update = Update().prepared()
        update.step(FREEZE, 40, -16)
        update.step(THAW, 20)
        records = update.jumped().finished().records
        update = self.update(records)
        self.assertEqual(phases(update), BLACKOUT)
        self.assertEqual(phases(update, False)["failed freeze"], 60)
        self.assertRegex(self.text(tf.build(records)),
                         r"Failed:\n  freeze: EBUSY .*\n"
                         r"  freeze of pci: EBUSY ")

    def test_lost_freeze(self):
        """A rehearsal is not taken for the freeze whose record went missing."""
        records = Update().prepared(rehearsals=1).jumped().records
        freeze = [r for r in records if (r.kind, r.step) == (STEP, FREEZE)]
        records.remove(freeze[-1])
        update = self.update(records)
        self.assertIsNone(update["blackout_ns"])
        self.assertIsNone(phases(update)["freeze"])
        self.assertIsNone(phases(update)["last checks"])
        self.assertEqual(phases(update)["reboot notifiers"], 30)
        self.assertIn("0 ms is the prepare", self.text(tf.build(records)))

    def test_cancelled(self):
        update = Update().prepared(rehearsals=1)
        update.step(CANCEL, 300)
        found = self.update(update.records)
        self.assertEqual(found["outcome"], "cancelled")
        self.assertIsNone(found["new"])
        self.assertIsNone(found["blackout_ns"])
        self.assertEqual(phases(found), {})
        self.assertEqual(phases(found, False),
                         {"prepare": 1000, "rehearsal": 60, "cancel": 300})
        self.assertEqual(found["slowest"][0]["name"], "prepare")
        self.assertIsNone(found["slowest"][0]["share"])
        self.assertNotIn("blackout", self.text(tf.build(update.records)))

    def test_prepare_failed(self):
        update = Update()
        update.add(KERNEL, name="7.3.4")
        update.step(PREPARE, 900, -12)
        alone = list(update.records)
        update.step(CANCEL, 100, names=("kvm",))
        for records in (alone, update.records):
            found = self.update(records)
            self.assertEqual(found["outcome"], "prepare failed")
            self.assertEqual([c["errno"] for c in found["callbacks"]
                              if c["transition"] == "prepare"], [None, "ENOMEM"])
            self.assertIn("prepare of pci: ENOMEM",
                          self.text(tf.build(records)))

    def test_not_finished(self):
        for records in (Update().prepared().records,
                        Update().prepared(rehearsals=1).records,
                        Update().prepared().jumped().records):
            found = self.update(records)
            self.assertEqual(found["outcome"], "not finished")
            self.assertNotIn("finish", phases(found, False))
        self.assertEqual(found["blackout_ns"], sum(BLACKOUT.values()) * US)

    def test_a_rehearsal_that_runs(self):
        """A freeze without thaw or jump is no blackout."""
        update = Update().prepared()
        update.step(FREEZE)
        found = self.update(update.records)
        self.assertEqual((found["outcome"], phases(found)),
                         ("not finished", {}))
        self.assertIn("0 ms is the prepare",
                      self.text(tf.build(update.records)))

    def test_three_updates(self):
        first = Update()
        first.prepared("r1").jumped("r2").finished()
        second = Update(2, 2, first.now)
        second.prepared("r2").step(CANCEL, 300)
        third = Update(3, 2, second.now)
        third.prepared("r2").jumped("r3")
        data = tf.build(first.records + second.records + third.records)

        self.assertEqual([u["number"] for u in self.json(data)["updates"]],
                         [3])
        self.assertIn("Update 3: not finished", self.text(data))
        self.assertIn("Update 2: cancelled", self.text(data, "--update", "2"))
        self.assertEqual(
            [(u["number"], u["old"], u["new"], u["outcome"])
             for u in self.json(data, "--list")["updates"]],
            [(1, "r1", "r2", "complete"), (2, "r2", None, "cancelled"),
             (3, "r2", "r3", "not finished")])
        self.assertRegex(self.text(data, "--list"),
                         r"(?m)^ +1  r1 +r2 +complete +18\.03 ms\n"
                         r" +2  r2 +- +cancelled +-\n"
                         r" +3  r2 +r3 +not finished +18\.03 ms$")
        self.assertIn("update 4 is not recorded", self.text(
            data, "--update", "4", status=UNREADABLE))

    def test_order_of_updates(self):
        """Records of two updates may be mixed."""
        one, two = complete(), complete(number=2, kernel=2, now=10**9)
        mixed = [r for pair in itertools.zip_longest(one, two) for r in pair]
        both = self.json(tf.build(mixed), "--list")["updates"]
        self.assertEqual([phases(u) for u in both], [BLACKOUT, BLACKOUT])

    def test_missing_marks(self):
        """What a mark bounds is unknown, and nothing else is."""
        for mark, lost in {
                "serialized": ("last checks", "reboot notifiers"),
                "notified": ("reboot notifiers", "device shutdown"),
                "devices-down": ("device shutdown", "machine shutdown"),
                "jump": ("machine shutdown", "between the kernels"),
                "7.3.5-b": ("between the kernels", "early boot"),
                "initcalls-done": ("after initcalls",),
                "userspace": ("after initcalls",)}.items():
            with self.subTest(mark):
                records = Update().prepared().jumped().finished().without(
                    mark).records
                update = self.update(records)
                self.assertEqual(phases(update), {
                    name: None if name in lost else us
                    for name, us in BLACKOUT.items()})
                self.assertTrue(update["credible"])
                self.assertEqual(update["gap_ns"] is None,
                                 "between the kernels" in lost)
                if mark == "userspace":
                    self.assertIsNone(update["blackout_ns"])
                    self.assertIsNone(phases(update, False)["until finish"])
                else:
                    self.assertEqual(update["unaccounted_ns"], US * sum(
                        BLACKOUT[name] for name in lost))
                text = self.text(tf.build(records))
                self.assertEqual(len(re.findall("(?m)^ .*unknown  ", text)),
                                 len(lost) + (mark == "userspace"))

    def test_no_initcalls(self):
        records = Update().prepared().jumped().without(*LEVELS).records
        found = phases(self.update(records))
        self.assertIsNone(found["initcalls"])
        self.assertIsNone(found["early boot"])
        self.assertEqual(found["after initcalls"], 70)

    def test_a_lost_level(self):
        records = Update().prepared().jumped().without("arch", "late").records
        found = phases(self.update(records))
        self.assertEqual(found["after postcore initcalls"], 100)
        self.assertEqual(found["after device initcalls"], 100)

    def test_only_the_new_kernel(self):
        """All the records of the old kernel are lost."""
        records = [r for r in complete() if r.kernel == 2]
        update = self.update(records)
        self.assertEqual((update["old"], update["new"], update["outcome"]),
                         (None, "7.3.5-b", "complete"))
        found = phases(update)
        self.assertIsNone(found["freeze"])
        self.assertEqual(found["subsys initcalls"], 100)

    def test_counter_that_starts_anew(self):
        records = complete()
        jump = next(r for r in records if r.name == "jump").start
        for record in records:
            if record.kernel == 2:
                record.start -= jump
                record.end -= jump
        update = self.update(records)
        self.assertFalse(update["credible"])
        self.assertIsNone(update["gap_ns"])
        self.assertIsNone(update["blackout_ns"])
        expected = dict(BLACKOUT)
        expected["between the kernels"] = None
        self.assertEqual(phases(update), expected)
        for phase in update["phases"]:
            self.assertEqual(phase["start_ns"] is None,
                             phase["kernel"] == "new", phase)
        self.assertRegex(self.text(tf.build(records)),
                         'not credible: .* "between the kernels"')

    def test_time_that_runs_backwards(self):
        """Inside one kernel."""
        for mark, phase in (("notified", "reboot notifiers"),
                            ("initcalls-done", "late initcalls")):
            with self.subTest(mark):
                records = complete()
                record = next(r for r in records if r.name == mark)
                record.start -= 50 * US
                record.end = record.start
                update = self.update(records)
                self.assertFalse(update["credible"])
                self.assertEqual(update["gap_ns"], 9000 * US)
                self.assertIn(f'not credible: time runs backwards at '
                              f'"{phase}"', self.text(tf.build(records)))

    def test_counter_without_promise(self):
        records = complete()
        self.assertIn("is an estimate", self.text(tf.build(records, flags=0)))
        self.assertFalse(self.json(tf.build(records, flags=0))["invariant"])
        self.assertTrue(self.json(tf.build(records, flags=255))["invariant"])
        self.assertNotIn("estimate", self.text(tf.build(
            Update().prepared().records, flags=0)))

    def test_frequencies(self):
        for per_us in (1, 24, 2400, 10**6):
            with self.subTest(per_us):
                update = self.update(complete(per_us=per_us),
                                     frequency=per_us * 10**6)
                self.assertEqual(phases(update), BLACKOUT)

    def test_huge_counters(self):
        length = Update().prepared().jumped().finished().now
        records = complete(now=2**64 - 1 - length)
        self.assertEqual(phases(self.update(records)), BLACKOUT)

        records = Update().prepared().jumped().finished().records
        records[-1].end = 2**64 - 1
        for frequency in (1, 10**9, 2**64 - 1):
            for step in self.update(records, frequency=frequency)["transitions"]:
                self.assertGreaterEqual(step["duration_ns"], 0)
            self.text(tf.build(records, frequency=frequency))

    def test_sums(self):
        """Rounding does not make a hole."""
        for frequency in (1_193_181, 2_399_999_999, 3):
            update = self.update(complete(), frequency=frequency)
            self.assertEqual(update["unaccounted_ns"], 0)
            self.assertEqual(update["blackout_ns"], sum(
                p["duration_ns"] for p in update["phases"] if p["blackout"]))


class Corruption(TimelineTest):
    """What is not right is left out and counted, or refused."""

    def test_each_byte(self):
        records = complete()
        victim = next(i for i, r in enumerate(records) if r.name == "notified")
        for byte in range(tf.RECORD.size):
            data = bytearray(tf.build(records))
            data[tf.HEADER.size + victim * tf.RECORD.size + byte] ^= 0x40
            found = self.json(bytes(data))
            self.assertEqual(found["corrupted"], 1, byte)
            self.assertIsNone(phases(found["updates"][0])["device shutdown"])

    def test_counts(self):
        data = bytearray(tf.build(complete(), corrupted=2, dropped=5))
        data[-1] ^= 1
        found = self.json(bytes(data))
        self.assertEqual((found["corrupted"], found["dropped"]), (3, 5))
        text = self.text(bytes(data))
        self.assertIn("left out: 3.", text)
        self.assertIn("no room: 5.", text)

    def test_records_that_cannot_be(self):
        for bad in ({"start": 9, "end": 8}, {"update": 0}, {"kernel": 0},
                    {"error": 5}, {"error": -4096}, {"step": 0},
                    {"name": "x" * 48}, {"kind": MARK, "step": PREPARE}):
            with self.subTest(bad):
                record = Record(**{
                    "start": 8, "end": 9, "update": 1, "kernel": 1,
                    "kind": CALLBACK, "step": PREPARE, "name": "x", **bad})
                found = self.json(tf.build(complete() + [record]))
                self.assertEqual(found["corrupted"], 1)
                self.assertEqual(phases(found["updates"][0]), BLACKOUT)

    def test_unknown_kinds(self):
        more = [Record(1, 2, 1, 1, kind, step)
                for kind, step in ((0, 0), (8, 0), (255, 1), (STEP, 7),
                                   (CALLBACK, 255))]
        more.append(Record(1, 2, 1, 1, MARK, name="of-a-later-kernel"))
        found = self.json(tf.build(complete() + more))
        self.assertEqual(found["corrupted"], 0)
        self.assertEqual(phases(found["updates"][0]), BLACKOUT)
        self.assertEqual(len(found["updates"][0]["transitions"]), 4)

    def test_larger_sizes(self):
        for sizes in ({"header_size": 56}, {"record_size": 88},
                      {"header_size": 4096, "record_size": 1024}):
            self.assertEqual(phases(self.update(complete(), **sizes)),
                             BLACKOUT)
        data = bytearray(tf.build(complete(), record_size=88))
        data[-1] ^= 1
        self.assertEqual(self.json(bytes(data))["corrupted"], 1)

    def test_cut_short(self):
        data = tf.build(complete())
        for length in (0, 1, 7, 8, 47):
            self.refused(data[:length], "is no timeline")
        for length in (48, 49, 1000, len(data) - 1):
            self.refused(data[:length], "is cut short")
        self.refused(tf.build(complete(), header_size=4096)[:4000],
                     "is cut short")
        self.json(data + b"more")

    def test_headers(self):
        records = complete()
        self.refused(tf.build(records, magic=b"LUOTIMF\0"), "is no timeline")
        self.refused(tf.build(records, version=2), "version 2")
        self.refused(tf.build(records, version=0), "version 0")
        self.refused(tf.build(records, frequency=0), "how fast")
        self.refused(tf.HEADER.pack(tf.MAGIC, 1, 48, 80, 2**32 - 1, 10**9, 1,
                                    1, 0, 0) + bytes(10**6), "is cut short")
        for what, *sizes in (
                ("is corrupted", 47, 80), ("is corrupted", 0, 80),
                ("is corrupted", 40, 80), ("is corrupted", 52, 80),
                ("is corrupted", 48, 72), ("is corrupted", 48, 0),
                ("is corrupted", 48, 84), ("is cut short", 2**32 - 8, 80),
                ("is cut short", 48, 2**32 - 8)):
            with self.subTest(sizes):
                self.refused(tf.HEADER.pack(
                    tf.MAGIC, 1, *sizes, 2**32 - 1, 10**9, 1, 1, 0, 0) +
                    bytes(200), what)

    def test_a_file_without_end(self):
        result = self.luctl("timeline", "--file", "/dev/zero")
        self.assertEqual(result.status, UNREADABLE)
        self.assertIn("EFBIG", result.err)

    def test_nothing(self):
        self.refused(tf.build([]), "no update is recorded")
        data = bytearray(tf.build(complete()[:1]))
        data[-1] ^= 1
        self.refused(bytes(data), "no record is readable")

    def test_names(self):
        """No control character, whatever a record says."""
        odd = "\x1b[31m\n\t\"\\</&'\xff\x9b"
        update = Update(names=(odd,)).prepared(odd).jumped(odd).finished()
        update.add(INITCALLS, name=odd)
        data = tf.build(update.records)
        found = self.json(data)["updates"][0]
        self.assertEqual(found["old"], "?[31m??\"\\</&'??")
        self.assertEqual(found["callbacks"][0]["subsystem"], found["old"])
        for args in ((), ("--list",), ("--top=99",)):
            text = self.text(data, *args)
            self.assertNotRegex(text, "[^\n -~]")

    def test_flipped_everywhere(self):
        """Whatever byte of a file is wrong, luctl answers."""
        data = tf.build(Update(names=("a",)).prepared().jumped().records)
        for byte in range(0, len(data), 61):
            for name in ("--list", f"--svg={self.top}/svg"):
                bad = bytearray(data)
                bad[byte] ^= 0xff
                result = self.luctl("timeline", "--file",
                                    self.write(bytes(bad)), name)
                self.assertIn(result.status, (OK, UNREADABLE), result)
        for byte in range(tf.HEADER.size):
            bad = bytearray(data)
            bad[byte] ^= 0x81
            result = self.luctl("timeline", "--file", self.write(bytes(bad)))
            self.assertIn(result.status, (OK, UNREADABLE), result)


class Parts(TimelineTest):
    """Subsystems that consist of many things."""

    def parts(self, update, step, name, took, count=None, error=0):
        """What a callback of such parts leaves, durations in us."""
        start, now = update.now, update.now + sum(took) * US
        update.records.append(Record(start, now, update.number, update.kernel,
                                     PARTS, step, count or len(took), name))
        for i, us in enumerate(sorted(took, reverse=True)[:16]):
            update.records.append(Record(
                start + i, start + i + us * US, update.number, update.kernel,
                PART, step, error, f"{name}-{i}"))
        update.now = now
        update.add(CALLBACK, step, error, name, start=start)

    def shown(self):
        """An update with parts in several steps."""
        update = Update().prepared()
        self.parts(update, FREEZE, "devices", list(range(1, 101)), 2**32 - 1)
        self.parts(update, FREEZE, "guests", [5, 7])
        update.jumped()
        self.parts(update, FINISH, "devices", [40], error=-5)
        return update

    def test_json(self):
        parts = self.update(self.shown().records)["items"]
        self.assertEqual(
            [(p["transition"], p["subsystem"], p["kernel"], p["count"],
              p["duration_ns"], len(p["slowest"])) for p in parts],
            [("freeze", "devices", "old", 2**32 - 1, 5050 * US, 16),
             ("freeze", "guests", "old", 2, 12 * US, 2),
             ("finish", "devices", "new", 1, 40 * US, 1)])
        self.assertEqual([p["name"] for p in parts[1]["slowest"]],
                         ["guests-0", "guests-1"])
        self.assertEqual([p["duration_ns"] for p in parts[0]["slowest"]],
                         [us * US for us in range(100, 84, -1)])
        self.assertEqual(parts[2]["slowest"][0]["errno"], "EIO")
        self.assertNotIn("errno", parts[0])

    def test_text(self):
        data = tf.build(self.shown().records)
        text = self.text(data)
        self.assertIn("freeze of devices: 4294967295 in 5.050 ms\n", text)
        self.assertRegex(text, r"(?m)^ +100\.0 us  devices-0$")
        self.assertIn("devices-2", text)
        self.assertNotIn("devices-3", text)
        self.assertRegex(text, r"(?m)^  devices-0: .*EIO")
        self.assertNotIn("Parts,", self.text(data, "--top=0"))
        self.assertNotIn("Parts,", self.text(tf.build(complete())))

    def test_nothing_else_changes(self):
        """They are details of a callback and count once."""
        update = self.shown()
        without = [r for r in update.records if r.kind not in (PARTS, PART)]
        found, other = self.update(update.records), self.update(without)
        found["items"] = other["items"]
        self.assertEqual(found, other)
        self.text(tf.build(update.records), f"--svg={self.top}/svg")

    def test_unrequested(self):
        """Parts whose summary is lost do not go to somebody else."""
        update = self.shown()
        lost = [r for r in update.records if r.kind != PARTS or
                r.name != "guests"]
        found = self.update(lost)["items"]
        self.assertEqual([(p["transition"], p["subsystem"], len(p["slowest"]))
                          for p in found],
                         [("freeze", "devices", 16), ("finish", "devices", 1)])
        unrequested = [r for r in update.records if r.kind != PARTS]
        self.assertEqual(self.update(unrequested)["items"], [])

    def test_corrupted(self):
        update = self.shown()
        update.add(PARTS, FINISH, 0, "none")
        update.add(PARTS, 0, 1, "no-step")
        update.add(PART, FINISH, 1, "positive")
        update.add(PART, 0, 0, "no-step")
        data = self.json(tf.build(update.records))
        self.assertEqual(data["corrupted"], 4)


class Files(TimelineTest):
    """Where timelines come from, and where they go."""

    def test_live(self):
        data = tf.build(complete())
        text, machine = self.both(OK, "timeline", prepare=lambda: self.write(
            data, "sys/kernel/liveupdate/timeline"))
        self.assertIn("Update 1: complete", text.out)
        self.assertEqual(machine.objects()[0]["updates"][0]["number"], 1)

    def test_absent(self):
        text, _ = self.both(UNREADABLE, "timeline")
        self.assertIn("CONFIG_LIVEUPDATE_TIMELINE", text.err)
        result = self.luctl("timeline", "--sysfs", self.top / "none")
        self.assertEqual(result.status, UNREADABLE)
        self.put("none/kernel/state", "")
        result = self.luctl("timeline", "--sysfs", self.top / "none")
        self.assertEqual(result.status, UNAVAILABLE)
        self.assertIn("cannot be updated live", result.err)
        text, _ = self.both(UNREADABLE, "timeline", "--file",
                            self.top / "missing")
        self.assertIn("ENOENT", text.err)

    def test_save(self):
        data = tf.build(complete(), header_size=64)
        live = self.write(data + b"behind", "sys/kernel/liveupdate/timeline")
        copy = self.top / "copy"
        first = self.luctl("timeline", "--save", copy)
        self.assertEqual(first.status, OK)
        self.assertEqual(copy.read_bytes(), data)
        live.unlink()
        again = self.luctl("timeline", "--file", copy)
        self.assertEqual((again.status, again.out), (OK, first.out))

        text, _ = self.both(FAILED, "timeline", "--file", copy, "--save",
                            self.top / "none" / "x")
        self.assertIn("ENOENT", text.err)
        text, _ = self.both(FAILED, "timeline", "--file", copy, "--save",
                            "/dev/full")
        self.assertIn("ENOSPC", text.err)

    def test_standard_output(self):
        """With - there is nothing else on it."""
        path = self.write(tf.build(complete()))
        picture = self.luctl("timeline", "--file", path, "--svg", "-")
        self.luctl("timeline", "--file", path, "--svg", self.top / "svg")
        self.assertEqual((picture.status, picture.err, picture.out),
                         (OK, "", (self.top / "svg").read_text()))
        with open(self.top / "out", "wb") as out:
            with self.start("timeline", "--file", path, "--save", "-",
                            stdout=out) as process:
                self.assertEqual(process.stderr.read(), "")
        self.assertEqual(process.returncode, OK)
        self.assertEqual((self.top / "out").read_bytes(), path.read_bytes())
        self.assertFalse((self.top / "-").exists())
        for args in (["--svg", "-", "--save", "-"], ["--svg=-", "--json"],
                     ["--save=-", "--list"], ["--save", "-", "--svg", "x"]):
            result = self.luctl("timeline", "--file", path, *args)
            self.assertEqual(result.status, USAGE, result)
        with open("/dev/full", "w", encoding="ascii") as full:
            with self.start("timeline", "--file", path, "--svg=-",
                            stdout=full) as process:
                self.assertIn("ENOSPC", process.stderr.read())
        self.assertEqual(process.returncode, OUTPUT)

    def test_nothing_is_saved_of_what_is_none(self):
        self.luctl("timeline", "--file", self.write(b"x" * 200), "--save",
                   self.top / "copy")
        self.assertFalse((self.top / "copy").exists())

    def test_changes_while_it_is_read(self):
        """It is read again until its generation stays the same."""
        new = tf.build(complete(number=7), generation=2)
        stages = [tf.build(complete(), generation=1), new, new, new]
        path = self.top / "sys/kernel/liveupdate/timeline"
        os.mkfifo(path)

        def serve():
            for number, data in enumerate(stages):
                with open(path, "wb") as pipe:
                    # Who opens it next gets the next stage.
                    path.unlink()
                    if number + 1 < len(stages):
                        os.mkfifo(path)
                    try:
                        pipe.write(data)
                    except BrokenPipeError:
                        pass

        writer = threading.Thread(target=serve, daemon=True)
        writer.start()
        result = self.luctl("timeline")
        writer.join(10)
        self.assertEqual(result.status, OK, result)
        self.assertIn("Update 7:", result.out)

    def test_usage(self):
        path = self.write(tf.build(complete()))
        for args in (["--update", "0"], ["--update", "x"], ["--update="],
                     ["--update", "4294967296"], ["--update", "1x"],
                     ["--update", "-1"], ["--top", "-1"], ["--top", " 1"],
                     ["--list", "--update", "1"], ["--list", "--svg", "x"],
                     ["more"]):
            with self.subTest(args):
                self.both(USAGE, "timeline", "--file", path, *args)


class Schema(TimelineTest):
    """Keys that programs rely on."""

    def test_keys(self):
        found = self.json(tf.build(complete()))
        self.assertEqual(set(found), {"version", "frequency", "invariant",
                                      "corrupted", "dropped", "updates"})
        update = found["updates"][0]
        self.assertEqual(set(update), {
            "number", "old", "new", "outcome", "credible", "blackout_ns",
            "gap_ns", "unaccounted_ns", "phases", "transitions", "callbacks",
            "items", "slowest"})
        time = {"kernel", "start_ns", "duration_ns"}
        for key, keys in {"phases": {"name", "blackout"},
                          "transitions": {"transition", "errno"},
                          "callbacks": {"transition", "subsystem", "errno"}
                          }.items():
            for part in update[key]:
                self.assertEqual(set(part), time | keys)
                self.assertIn(part["kernel"], ("old", "new", "between"))
                self.assertIsInstance(part["start_ns"], int)
                self.assertIsInstance(part["duration_ns"], int)
        for part in update["slowest"]:
            self.assertEqual(set(part) - {"transition", "subsystem"},
                             time | {"name", "share"})
        self.assertEqual(found["frequency"], 10**9)
        self.assertEqual(self.json(tf.build(
            complete(), frequency=2**64 - 1))["frequency"], 2**64 - 1)


class Picture(TimelineTest):
    """--svg"""

    HOSTILE = "7.3<script>&\"']]>--<!--&amp;"

    def draw(self, records, **header):
        """The picture, which must stand alone."""
        path = self.top / "picture.svg"
        result = self.luctl("timeline", "--svg", path, "--file",
                            self.write(tf.build(records, **header)))
        self.assertEqual(result.status, OK, result)
        text = path.read_text()
        root = ElementTree.fromstring(text)
        self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        for bad in ("url(", "href", "@import", "nan", "inf\""):
            self.assertNotIn(bad, text)
        self.assertEqual(
            {element.tag.split("}")[1] for element in root.iter()} -
            {"svg", "title", "rect", "text", "line"}, set())
        width, height = float(root.get("width")), float(root.get("height"))
        for element in root.iter():
            x, y = element.get("x"), element.get("y")
            if x is None:
                continue
            self.assertTrue(0 <= float(x) <= width, element.attrib)
            self.assertTrue(0 <= float(y) <= height, element.attrib)
            self.assertLessEqual(float(x) + float(element.get("width", 0)),
                                 width)
        return "\n".join(root.itertext())

    def test_complete(self):
        text = self.draw(complete())
        for words in ("Live update 1: complete", "7.3.4-a \u2192 7.3.5-b",
                      "Blackout: 18.03 ms, between the kernels 9.000 ms",
                      *BLACKOUT, "kvm", "pci", "restore", "finish"):
            self.assertIn(words, text)

    def test_hostile_names(self):
        update = Update(names=(self.HOSTILE, "W" * 47, "i" * 47))
        update.prepared(self.HOSTILE).jumped("W" * 47).finished()
        update.add(INITCALLS, name=self.HOSTILE)
        text = self.draw(update.records, flags=0, corrupted=1, dropped=1)
        self.assertIn(self.HOSTILE, text)
        self.assertRegex(text, "(?m)^W{5,20}\u2026$")
        self.assertIn("estimate", text)

    def test_others(self):
        failed = Update()
        failed.step(PREPARE, 900, -110)
        self.assertIn("ETIMEDOUT", self.draw(failed.records))
        anew = complete()
        for record in anew:
            if record.kernel == 2:
                record.start -= 10**7
                record.end -= 10**7
        self.assertIn("an unknown time", self.draw(anew))
        self.assertIn("not recorded", self.draw(
            Update().prepared().jumped().without("jump").records))
        many = Update(names=[f"name-{i}" for i in range(60)])
        many.prepared(rehearsals=60).jumped().finished()
        for i in range(60):
            many.add(INITCALLS, name=f"level-{i}", us=1)
        self.assertIn("and 44 cheaper ones", self.draw(many.records))
        for records in (complete()[:1], Update().prepared().records,
                        [r for r in complete() if r.kernel == 2],
                        [Record(7, 7, 1, 1, MARK, name="jump")],
                        complete(now=2**62)):
            for frequency in (1, 10**9, 2**64 - 1):
                self.draw(records, frequency=frequency)

    def test_cannot_write(self):
        path = self.write(tf.build(complete()))
        for target, error in ((self.top / "none" / "x", "ENOENT"),
                              ("/dev/full", "ENOSPC")):
            text, _ = self.both(FAILED, "timeline", "--file", path, "--svg",
                                target)
            self.assertIn(error, text.err)
            self.assertEqual(text.out, "")
