# SPDX-License-Identifier: GPL-2.0
"""The benchmark's arithmetic: medians, targets, names, phases of a timeline."""

import unittest
from unittest import mock

from ..cli import bench
from ..cli import bench_figures as figures
from ..common.run import HarnessError
from ..guest.timeline import (CALLBACK, FINISH, FREEZE, INITCALLS, KERNEL, MARK, NONE,
                              PREPARE, RESTORE, STEP, Record)

#: The issue's names, and what is informative.
NAMES = (
    [f"blackout.{name}_vns" for name in ("base_plain", "plain", "update")] +
    [f"subsystem.{n}.{step}_vns" for n in (10, 50, 100)
     for step in ("prepare", "freeze", "restore", "finish", "freeze_walk")] +
    [f"memory.{n}.{step}_vns" for n in (256, 1024)
     for step in ("preserve", "restore", "blackout")] +
    [f"file.{n}.{step}_vns" for n in (100, 1000)
     for step in ("preserve", "freeze", "retrieve", "finish")] +
    [f"device.{n}.{what}" for n in (1000, 10000, 100000)
     for what in ("prepare_vns", "freeze_vns", "restore_vns", "finish_vns", "retrieve_vns",
                  "bytes")] +
    [f"pci.8.{step}_vns" for step in ("save", "restore", "finish")] +
    ["boot.base_vns", "boot.series_vns"])


def record(start, end, kind, name="", step=NONE):
    """A record of the first update."""
    return Record(start, end, 1, 1, kind, step, 0, name)


#: From 100 on; a blackout from 200 to 1000.
TIMELINE = [
    record(100, 100, KERNEL, "7.3-a"),
    record(110, 190, STEP, step=PREPARE),
    record(215, 220, CALLBACK, "x", FREEZE),
    record(210, 230, STEP, step=FREEZE),
    record(245, 245, MARK, "serialized"),
    record(300, 300, MARK, "jump"),
    record(500, 500, KERNEL, "7.3-b"),
    record(610, 640, STEP, step=RESTORE),
    record(600, 650, INITCALLS, "early"),
    record(650, 800, INITCALLS, "core"),
]

PHASES = [
    ("reboot(2) .. freeze", 10), ("freeze, apart from what is in it", 15),
    ("freeze x", 5), ("freeze .. serialized", 15), ("serialized .. jump", 55),
    ("jump .. first instant of the new kernel", 200),
    ("first instant of the new kernel .. initcalls early", 100),
    ("initcalls early, apart from what is in it", 20), ("restore", 30),
    ("initcalls core", 150), ("initcalls core .. first instruction of init", 200)]


def outcome(blackout, **costs):
    """What a guest told whose blackout began at 200."""
    return bench.Outcome(200, 200 + blackout, costs, TIMELINE, 1000)


def outcomes(**blackouts):
    """What all guests told: subsystems at 5 each, the runs of a blackout as given."""
    found = {}
    for name in bench.machines():
        kind, number = name.split(".")
        steps = {"subsystem": (*figures.STEPS, "freeze_walk"), "memory": ("preserve", "restore"),
                 "file": ("preserve", "freeze", "retrieve", "finish"),
                 "pci": ("save", "restore", "finish")}.get(kind)
        if kind == "device":
            many = int(number) // bench.DEVICES[int(number)]
            found[name] = [outcome(900, **{f"{name}.{step}_vns": many * 4 for step in
                                           (*figures.STEPS, "retrieve")},
                                   **{f"{name}.bytes": many * 200})] * 3
        elif kind == "blackout":
            found[name] = [outcome(one) for one in blackouts.get(number, (800, 800, 800))]
        elif name == "memory.0":
            found[name] = [outcome(850)] * 3
        else:
            found[name] = [outcome(900, **{f"{name}.{step}_vns": 100 + 5 * int(number)
                                           for step in steps})] * 3
    return found


def verdict(result, part):
    """The one verdict of a report that speaks of `part`."""
    one, = (t for t in result["targets"] if part in t["target"])
    return one["met"]


class Numbers(unittest.TestCase):
    """Medians, agreement, and what a subsystem costs."""

    def test_median(self):
        self.assertEqual(figures.median([9, 1, 5]), 5)
        self.assertEqual(figures.median([1, 1, 5]), 1)

    def test_spread(self):
        self.assertEqual(figures.spread([1000, 1000, 1000]), 0)
        self.assertEqual(figures.spread([1001, 999, 1000]), 0.002)

    def test_marginal(self):
        costs = {"subsystem.10.freeze_vns": 150, "subsystem.100.freeze_vns": 600}
        self.assertEqual(figures.marginal(costs, "freeze", 10, 100), 5)


class Report(unittest.TestCase):
    """Names in bench.json, and what meets a target."""

    def setUp(self):
        for name in ("image", "release_of", "output"):
            patch = mock.patch.object(bench, name, lambda _: "x")
            patch.start()
            self.addCleanup(patch.stop)

    def test_names(self):
        result = bench.report(outcomes())
        self.assertEqual([name for name in result
                          if name not in ("slowest", "targets", "meta")], NAMES)
        for name in NAMES:
            self.assertIs(type(result[name]), int, name)
        self.assertEqual(result["memory.256.blackout_vns"], 50)
        self.assertEqual(result["slowest"], figures.slowest(PHASES))
        self.assertEqual(list(result["meta"]["runs"]), NAMES)

    def test_median_run(self):
        for values in ((799, 801, 800), (801, 800, 799)):
            result = bench.report(outcomes(update=values))
            self.assertEqual(result["blackout.update_vns"], 800)
            self.assertEqual(sum(one["vns"] for one in result["slowest"]), 795)

    def judge(self, **blackouts):
        return bench.report(outcomes(**blackouts))

    def test_blackout(self):
        part = "blackout.update <="
        self.assertTrue(verdict(self.judge(update=(816, 816, 816)), part))
        self.assertFalse(verdict(self.judge(update=(817, 817, 817)), part))

    def test_agreement(self):
        for name in ("base_plain", "plain", "update"):
            part = f"runs of blackout.{name}_vns agree"
            self.assertTrue(verdict(self.judge(), part))
            self.assertTrue(verdict(
                self.judge(**{name: (100000, 100100, 100000)}), part))
            self.assertFalse(verdict(
                self.judge(**{name: (100000, 100101, 100000)}), part))

    def test_flat(self):
        costs = bench.report(outcomes())
        for step in figures.STEPS:
            part = f"{step}, one subsystem"
            for hundred, met in ((600, True), (644, True), (646, False), (300, True)):
                changed = {**costs, f"subsystem.100.{step}_vns": hundred}
                result = figures.targets(changed, {}, (10, 50, 100))
                self.assertEqual(verdict({"targets": result}, part), met, hundred)

    def test_recording(self):
        costs = bench.report(outcomes(update=(100000, 100000, 100000)))
        for walk, met in ((1000, True), (1001, False)):
            result = figures.targets({**costs, "subsystem.100.freeze_walk_vns": walk}, {},
                                     (10, 50, 100))
            self.assertEqual(verdict({"targets": result}, "recording"), met, walk)

    def judge_devices(self, part, **changed):
        costs = {name: 100000 if name.startswith("file") else value for name, value in
                 bench.report(outcomes()).items()}
        costs.update({name.replace("__", "."): value for name, value in changed.items()})
        return verdict({"targets": figures.device_targets(
            costs, bench.DEVICES, bench.FILES)}, part)

    def test_devices(self):
        for part, figure, good, bad in (
                ("device.1000.prepare for", "device__1000__prepare_vns", 10000, 10001),
                ("device.10000.restore for", "device__10000__restore_vns", 100000, 100001),
                ("device.1000.freeze for", "device__1000__freeze_vns", 3999999, 4000000),
                ("device.100000.finish for", "device__100000__finish_vns", 3999999, 4000000),
                ("device.10000.bytes", "device__10000__bytes", 2560000, 2560001),
                ("device.10000.freeze is", "device__10000__freeze_vns", 44000, 44001),
                ("device.100000.restore is", "device__100000__restore_vns", 4400, 4401),
                ("device.100000.prepare is", "device__100000__prepare_vns", 440000, 440100),
                ("boot.series", "boot__series_vns", 1005, 1006)):
            self.assertTrue(self.judge_devices(part, **{figure: good}), part)
            self.assertFalse(self.judge_devices(part, **{figure: bad}), part)

    def test_callback(self):
        self.assertEqual(figures.step_cost(TIMELINE, FREEZE, "x"), 5)
        with self.assertRaises(HarnessError):
            figures.step_cost(TIMELINE, RESTORE, "x")

    def test_walk(self):
        self.assertEqual(figures.walk_cost(TIMELINE), 15)

    def test_table(self):
        lines = figures.table({"a.long_vns": 1234567, "b_vns": 1000, "slowest": [],
                               "meta": {"runs": {"a.long_vns": [1234567] * 3,
                                                 "b_vns": [1000, 1001, 1000]}}})
        self.assertEqual([line.split() for line in lines[1:]],
                         [["a.long_vns", "1,234,567", "1.235", "0.000%"],
                          ["b_vns", "1,000", "0.001", "0.100%"]])


class Timeline(unittest.TestCase):
    """Phases add up, and transitions are found."""

    def test_unknown_kind(self):
        odd = record(660, 670, 77, "x")
        self.assertEqual(figures.phases([*TIMELINE, odd], 200, 1000), PHASES)

    def test_phases(self):
        found = figures.phases(TIMELINE, 200, 1000)
        self.assertEqual(found, PHASES)
        self.assertEqual(sum(counts for _, counts in found), 800)

    def test_overlap(self):
        with self.assertRaises(HarnessError):
            figures.phases([record(1, 5, INITCALLS, "x"), record(3, 8, INITCALLS, "y")],
                           0, 10)

    def test_slowest(self):
        found = figures.slowest(PHASES)
        self.assertEqual(len(found), 10)
        self.assertEqual(found[0], {"name": "jump .. first instant of the new kernel",
                                    "vns": 200})
        self.assertEqual([p["vns"] for p in found],
                         sorted((p["vns"] for p in found), reverse=True))
        self.assertNotIn({"name": "freeze x", "vns": 5}, found)

    def test_steps(self):
        self.assertEqual(figures.step_cost(TIMELINE, FREEZE), 20)
        again = [*TIMELINE, record(900, 901, STEP, step=FREEZE)]
        self.assertEqual(figures.step_cost(again, FREEZE), 1)
        with self.assertRaises(HarnessError):
            figures.step_cost(TIMELINE, FINISH)


if __name__ == "__main__":
    unittest.main()
