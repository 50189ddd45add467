# SPDX-License-Identifier: GPL-2.0
"""Checks made on the consoles of every scenario after it ran."""

import functools
import re

from ..common import paths
from ..source import series

SPLATS = re.compile("|".join((
    r"WARNING:", r"\bBUG:", r"\bOops\b", r"KASAN", r"UBSAN", r"KCSAN", r"KFENCE",
    r"kernel BUG at", r"[Kk]ernel panic", r"general protection fault",
    r"possible recursive locking", r"possible circular locking",
    r"possible irq lock inversion", r"inconsistent lock state",
    r"trying to register non-static key", r"suspicious RCU", r"DEBUG_LOCKS_WARN_ON", r"held lock freed",
    r"lock held when returning to user", r"INFO: task .* blocked for more than",
    r"rcu: INFO:", r"watchdog: .*lockup", r"bad unlock balance",
    r"sleeping function called from invalid context", r"ODEBUG:",
    r"kmemleak: \d+ new suspected", r"Call Trace:", r"refcount_t:",
    r"unable to handle", r"Bad page state", r"list_(add|del) corruption",
    r"guest: the agent ended",
)))


# What KCSAN says first of a race: the two functions, or one and an unknown. Its report is
# ours to judge when the series has one of them, whatever it is called from; the rest of
# the kernel has races by the dozen.
RACE = re.compile(r"BUG: KCSAN: .* in (.*)")
_FUNCTION = re.compile(r"^\w[\w \t*]*?\b(\w+)\([^;{]*?\)\n\{", re.M)


@functools.lru_cache(None)
def functions():
    """Names of all functions in the files that the series adds to the kernel."""
    return {name for patch in series.load(paths.ROOT / "series") for file in patch.adds
            if file.endswith((".c", ".h")) and not file.startswith("tools/")
            for name in _FUNCTION.findall((paths.ROOT / file).read_text())}


def splats(log, expected=()):
    """Console lines that no healthy kernel prints, but for the expected ones."""
    allowed = [re.compile(pattern) for pattern in expected]
    return [line for line in log.splitlines()
            if SPLATS.search(line) and not any(p.search(line) for p in allowed) and
            not _foreign(line)]


def _foreign(line):
    """Whether it tells of a race between functions of which the series has none."""
    race = RACE.search(line)
    return bool(race and functions().isdisjoint(re.findall(r"\w+", race[1])))
