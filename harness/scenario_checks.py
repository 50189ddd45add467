# SPDX-License-Identifier: GPL-2.0
"""Checks made on the consoles of every scenario after it ran."""

import re

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


def splats(log, expected=()):
    """Console lines that no healthy kernel prints, but for the expected ones."""
    allowed = [re.compile(pattern) for pattern in expected]
    return [line for line in log.splitlines()
            if SPLATS.search(line) and not any(p.search(line) for p in allowed)]
