# SPDX-License-Identifier: GPL-2.0
"""KTAP, the format of kselftest and KUnit results."""

import dataclasses
import re

RESULT = re.compile(r"^(?P<indent> *)(?P<ok>ok|not ok) (?P<number>\d+)"
                    r"(?: - | )?(?P<name>[^#]*?)(?: *# *(?P<note>.*))?$")
PLAN = re.compile(r"^(?P<indent> *)1\.\.(?P<count>\d+)")
STAMP = re.compile(r"^\[ *\d+\.\d+\](?:\[[^]]*\])? ?")
# What KUnit and the harness of kselftest print of an expectation that does not hold.
COMPLAINT = re.compile(r"FAILED at |Expected | == ")
COMPLAINT_LINES = 4


@dataclasses.dataclass
class Case:
    """One result line; depth 0 is the outermost."""
    name: str
    ok: bool
    skipped: bool
    depth: int
    note: str = ""
    complaint: str = ""


@dataclasses.dataclass
class Report:
    """All results of a KTAP text, and what is wrong with the text itself."""
    cases: list
    problems: list

    def top(self):
        """The outermost results."""
        return [case for case in self.cases if case.depth == 0]

    def failures(self):
        """What failed and why, innermost lines included."""
        return [case.name + (f" ({case.complaint})" if case.complaint else "")
                for case in self.cases if not case.ok]


def expect_passed(run, report):
    """Nothing is wrong with a report, and nothing failed; the first of what did is told."""
    run.equal("problems of the report", report.problems, [])
    run.equal("failed tests", report.failures()[:6], [])


def parse(text):
    """Reads KTAP; time stamps of the kernel log in front of lines are dropped.

    A plan that promises more results than came, or no result at all, is a
    problem of the report: a test program that died must not look like one
    that passed.
    """
    cases, problems, plans, counts, complaint = [], [], {}, {}, []
    for line in text.splitlines():
        line = STAMP.sub("", line)
        if plan := PLAN.match(line):
            depth = len(plan["indent"]) // 4
            plans[depth], counts[depth] = int(plan["count"]), 0
            continue
        match = RESULT.match(line)
        if not match:
            if COMPLAINT.search(line) and len(complaint) < COMPLAINT_LINES:
                complaint.append(line.strip(" #"))
            continue
        depth = len(match["indent"]) // 4
        note = match["note"] or ""
        cases.append(Case(match["name"].strip(), match["ok"] == "ok",
                          note.upper().startswith("SKIP"), depth, note,
                          "; ".join(complaint)))
        complaint = []
        counts[depth] = counts.get(depth, 0) + 1
        inner = depth + 1
        if inner in plans:
            if counts[inner] != plans[inner]:
                problems.append(f"{match['name'].strip()}: planned {plans[inner]} "
                                f"results, got {counts[inner]}")
            del plans[inner], counts[inner]
    if 0 in plans and counts[0] != plans[0]:
        problems.append(f"planned {plans[0]} results, got {counts[0]}")
    if not cases:
        problems.append("no result")
    return Report(cases, problems)
