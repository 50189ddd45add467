# SPDX-License-Identifier: GPL-2.0
"""make check: every test there is, summed up in the last line.

Each checker is a program whose lines "ok NAME", "not ok NAME" and
"skip NAME" are counted; all else it prints is passed on. A checker that
prints no result, or ends badly without saying what failed, is a failure.
What only compiles runs beside what boots guests.
"""

import os
import subprocess
import sys
import threading
import time

from . import deps, paths
from .progress import duration
from .run import HarnessError, say


class Sum:
    """Counts results of all checkers."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.bad = []
        self.parts = []
        self.debug_ready = False
        self._lock = threading.Lock()

    def line(self, text):
        """Pass a line on; count it when it is a result."""
        word = next((w for w in ("ok ", "not ok ", "skip ")
                     if text.startswith(w)), None)
        with self._lock:
            if word == "ok ":
                self.passed += 1
            elif word == "not ok ":
                self.failed += 1
                self.bad.append(text)
            elif word == "skip ":
                self.skipped += 1
            say(text)
        return word

    def part(self, name, seconds):
        """Record the wall time of a part."""
        with self._lock:
            self.parts.append((name, seconds))


def run(total, name, *args):
    """Run one checker, python3 -m ARGS; True when all went well."""
    start = time.monotonic()
    env = {k: v for k, v in os.environ.items()
           if k not in ("PARTIAL", "KEEP", "MAKEFLAGS", "MFLAGS",
                        "MAKELEVEL")}
    results = bad = 0
    with subprocess.Popen([sys.executable, "-m", *args], cwd=paths.ROOT,
                          env=env, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, errors="replace",
                          stderr=subprocess.STDOUT) as child:
        for text in child.stdout:
            word = total.line(text.rstrip("\n"))
            results += word is not None
            bad += word == "not ok "
    if child.returncode and not bad:
        total.line(f"not ok {name} - exit status {child.returncode}")
    elif not results:
        total.line(f"not ok {name} - it tested nothing")
    total.part(name, time.monotonic() - start)
    return not child.returncode and results and not bad


def step(total, name, *args):
    """Run a command that is one result by itself."""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", *args], cwd=paths.ROOT,
                          stdin=subprocess.DEVNULL,
                          env={k: v for k, v in os.environ.items()
                               if k not in ("PARTIAL", "KEEP")})
    seconds = time.monotonic() - start
    good = done.returncode == 0
    total.line(f"{'ok' if good else 'not ok'} {name} - {seconds:.0f} s")
    total.part(name, seconds)
    return good


def main(debug=False, linux=None):
    """Run everything; exit status 0 only when something ran and passed."""
    total = Sum()
    start = time.monotonic()
    try:
        deps.ensure()
        _all(total, debug, ["--linux", linux] if linux else [])
    except HarnessError as error:
        print(error, file=sys.stderr)
        total.line("not ok check - could not go on")
    say("\nwall time:")
    for name, seconds in total.parts:
        say(f"  {name:24} {duration(seconds):>6}")
    say(f"  {'all (parts overlap)':24} "
        f"{duration(time.monotonic() - start):>6}")
    if total.bad:
        say("\nfailed:\n" + "\n".join("  " + text for text in total.bad))
    say(f"\n{total.passed} passed, {total.failed} failed, "
        f"{total.skipped} skipped")
    return 0 if total.passed and not total.failed else 1


def _all(total, debug, linux):
    """The parts in order; those that need what failed are not run."""
    run(total, "unit", "harness", "unit")
    if not step(total, "tree", "harness", "tree", *linux):
        return
    if not step(total, "kernels", "harness", "kernel", "a", "b", "kho",
                "host", "base"):
        return
    compiling = threading.Thread(target=_compile, args=(total, debug))
    compiling.start()
    run(total, "scenarios", "harness.scenario", "--all", "--jobs", "2")
    compiling.join()
    if debug and total.debug_ready:
        run(total, "debug scenarios", "harness.scenario", "--all", "--debug",
            "--jobs", "2")


def _compile(total, debug):
    """What runs beside the guests."""
    run(total, "static", "harness", "static")
    step(total, "series", "harness", "series")
    total.debug_ready = debug and step(total, "debug kernels", "harness",
                                       "kernel", "debug", "debug-b")
