# SPDX-License-Identifier: GPL-2.0
"""make check: every test there is, summed up in the last line.

Each checker is a program whose lines "ok NAME", "not ok NAME" and
"skip NAME" are counted; all else it prints is passed on. A checker that
prints no result, or ends badly without saying what failed, is a failure.

The tests of the harness run while kernels are built, and what only compiles
runs beside what boots guests, when no guest wants the processor. After the
other scenarios some run once more, on the debug kernels (KASAN, lockdep,
kmemleak): the few that are marked debug_always, or with DEBUG=1 all that are
marked debug. Their results are called NAME-debug.

What did not change since it was last found good is taken from stamps (see
stamps.py). A scenario that passed in its second attempt is flaky; in CI
(CI=true in the environment) that is a failure.

With a limit (MINUTES) nothing is begun that could not end within it: what is left is
skipped, and named. The longest things come first where nothing else waits for them, and
what was found good is in stamps, so the next run gets further.

Before the last line the summary tells what took how long, on the clock and
on the processors, and how much came from stamps.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time

from ..build import deps
from ..common import paths, stamps
from ..common.progress import duration
from ..common.run import LATE, UNTIL, HarnessError, background, say, time_is_up

#: In the line of a scenario that passed, but not in its first attempt.
FLAKY = ", SECOND ATTEMPT"

#: Minutes that the debug kernels, and a few scenarios on them, may take.
DEBUG_NEEDS = 20

#: What must not reach a checker from whoever called us.
SCRUB = ("PARTIAL", "KEEP", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")


class Part:
    """What one checker or step took."""

    def __init__(self, name, wall, cpu, stamped=0):
        self.name = name
        self.wall = wall
        self.cpu = cpu
        self.stamped = stamped


class Sum:
    """Counts results of all checkers."""

    def __init__(self, strict=None):
        self.passed = self.failed = self.skipped = 0
        self.bad = []
        self.flaky = []
        self.parts = []
        self.saved = 0.0                # seconds that stamped work once took
        #: True when a flaky result is a failed one.
        self.strict = bool(os.environ.get("CI")) if strict is None else strict
        self._lock = threading.Lock()

    def line(self, text):
        """Pass a line on; count it when it is a result. The word it counts as."""
        word = next((w for w in ("ok ", "not ok ", "skip ")
                     if text.startswith(w)), None)
        with self._lock:
            if word == "ok " and FLAKY in text:
                self.flaky.append(text)
                if self.strict:
                    word, text = "not ok ", f"not {text}"
            if word == "ok ":
                self.passed += 1
            elif word == "not ok ":
                self.failed += 1
                self.bad.append(text)
            elif word == "skip ":
                self.skipped += 1
            if word and (mark := stamps.MARK.search(text)):
                self.saved += float(mark[1] or 0)
            say(text)
        return word

    def part(self, *args):
        """Record what a part took."""
        with self._lock:
            self.parts.append(Part(*args))

    def summary(self, wall):
        """The last lines of make check."""
        lines = ["", "time:                      wall     cpu  from stamps"]
        for part in self.parts:
            lines.append(f"  {part.name:22} {duration(part.wall):>6} "
                         f"{duration(part.cpu):>7}"
                         + (f"  {part.stamped}" if part.stamped else ""))
        lines.append(f"  {'all (parts overlap)':22} {duration(wall):>6} "
                     f"{duration(sum(p.cpu for p in self.parts)):>7}")
        stamped = sum(p.stamped for p in self.parts)
        lines.append(f"from stamps: {stamped} results"
                     + (f", which took {duration(self.saved)} when they were "
                        "found (ANEW=1 finds them again)" if stamped else ""))
        lines.append(f"flaky: {len(self.flaky)}"
                     + (", counted as failed" if self.flaky and self.strict
                        else ""))
        if self.flaky and not self.strict:
            lines += ["  " + text for text in self.flaky]
        if self.bad:
            lines += ["", "failed:"] + ["  " + text for text in self.bad]
        lines += ["", f"{self.passed} passed, {self.failed} failed, "
                  f"{self.skipped} skipped"]
        return lines


def _start(args, beside, **kwargs):
    """Start python3 -m ARGS; beside guests it has to make way for them."""
    return subprocess.Popen(
        [*(background() if beside else ()), sys.executable, "-m", *args],
        cwd=paths.ROOT, stdin=subprocess.DEVNULL,
        env={k: v for k, v in os.environ.items() if k not in SCRUB}, **kwargs)


def _end(child):
    """Wait for a child; the seconds it and its children computed."""
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime


def run(total, name, *args, beside=False):
    """Run one checker, python3 -m ARGS; True when all went well."""
    start = time.monotonic()
    results = bad = stamped = 0
    child = _start(args, beside, text=True, stdout=subprocess.PIPE,
                   errors="replace", stderr=subprocess.STDOUT)
    with child.stdout:
        for text in child.stdout:
            text = text.rstrip("\n")
            word = total.line(text)
            results += word is not None
            bad += word == "not ok "
            stamped += bool(word and stamps.MARK.search(text))
    cpu = _end(child)
    if child.returncode and not bad:
        total.line(f"not ok {name} - exit status {child.returncode}")
    elif not results:
        total.line(f"not ok {name} - it tested nothing")
    total.part(name, time.monotonic() - start, cpu, stamped)
    return not child.returncode and results and not bad


def step(total, name, *args):
    """Run a command that is one result by itself."""
    start = time.monotonic()
    child = _start(args, False)
    cpu = _end(child)
    seconds = time.monotonic() - start
    good = child.returncode == 0
    total.line(f"{'ok' if good else 'not ok'} {name} - {seconds:.0f} s")
    total.part(name, seconds, cpu)
    return good


def main(debug=False, linux=None, minutes=None):
    """Run everything; exit status 0 only when something ran and passed."""
    total = Sum()
    start = time.monotonic()
    if minutes:
        os.environ[UNTIL] = str(time.time() + minutes * 60)
    try:
        deps.ensure()
        _all(total, debug, ["--linux", linux] if linux else [])
    except HarnessError as error:
        print(error, file=sys.stderr)
        total.line("not ok check - could not go on")
    for text in total.summary(time.monotonic() - start):
        say(text)
    return 0 if total.passed and not total.failed else 1


def _all(total, debug, linux):
    """The parts in order; those that need what failed are not run."""
    with _beside(total, "unit", "harness", "unit"):
        ready = step(total, "tree", "harness", "tree", *linux) and \
            step(total, "kernels", "harness", "kernel", "a", "b", "kho", "host", "base")
    if not ready:
        return
    with _beside(total, "static", "harness", "static", beside=True), \
            _beside(total, "series", "harness", "series", beside=True):
        run(total, "scenarios", "harness.scenario", "--all", "--jobs", "2")
        if time_is_up(DEBUG_NEEDS):
            total.line(f"skip debug kernels - {LATE}")
        elif step(total, "debug kernels", "harness", "kernel", "debug", "debug-b"):
            run(total, "debug scenarios", "harness.scenario", "--all", "--debug",
                *(() if debug else ("--few",)), "--jobs", "2")


@contextlib.contextmanager
def _beside(total, name, *args, **how):
    """Run a checker, as run() does, while the body runs, and wait for it."""
    thread = threading.Thread(target=_guarded, args=(total, name, *args), kwargs=how)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _guarded(total, name, *args, **how):
    """run() in a thread of its own: what it raises is a failure, too."""
    try:
        run(total, name, *args, **how)
    except Exception as error:          # pylint: disable=broad-except
        total.line(f"not ok {name} - {type(error).__name__}: {error}")
