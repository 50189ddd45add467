# SPDX-License-Identifier: GPL-2.0
"""Runs scenarios: python3 -m harness.scenario NAME... | --all | --list.

Each prints one line, `ok NAME - seconds`, `not ok NAME - reason` or `skip NAME -
reason`, with `, SECOND ATTEMPT: reason` behind it when the machine of the first did not
start, and leaves build/scenario/NAME/ with serial.log, console-N.log per kernel,
trace.log, qemu.cmdline and verdict.json. With --debug it ends with a scan for leaks,
whose report is kmemleak.
"""

import argparse
import concurrent.futures
import dataclasses
import importlib
import json
import pkgutil
import shutil
import signal
import sys
import threading
import time
import traceback

from ..build import initrd
from ..common import paths
from ..common.run import LATE, HarnessError, locked, time_is_up
from ..guest.control import Rebooted, split_boots
from ..vm.qemu import VM
from . import cases
from .api import SCENARIOS, Run, Skipped
from .checks import splats

_print_lock = threading.Lock()


def load_scenarios():
    """Imports every module of harness/scenario/cases, in order of name."""
    for module in sorted(pkgutil.iter_modules(cases.__path__), key=lambda m: m.name):
        importlib.import_module(f"{cases.__name__}.{module.name}")
    return SCENARIOS


def _consoles(run):
    """Writes the console of each kernel to a file; lines that are splats."""
    found = []
    for guest_ in run.guests:
        log = guest_.vm.serial()
        for number, part in enumerate(split_boots(log), 1):
            (guest_.vm.folder / f"console-{number}.log").write_text(part)
        found += splats(log, run.what.expect)
    return found


def _explain(error):
    """One line on what ended a scenario."""
    if isinstance(error, HarnessError):
        return " ".join(str(error).split())
    if isinstance(error, Rebooted):
        return f"kernel {error.boot.release} came up though nobody asked for it"
    return f"{type(error).__name__}: {error}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a scenario went: ok, not ok or skip, why, and how long it took. `started` is
    False when that is only because no kernel of it ever came up."""
    result: str
    reason: str
    seconds: float
    started: bool

    def line(self, name, first=None):
        """The line that is printed of it, with what the first attempt said."""
        text = f"{self.seconds:.1f} s" if self.result == "ok" else self.reason
        if first:
            text += f", SECOND ATTEMPT: {first.reason}"
        return f"{self.result} {name} - {text}"


def run_one(what, debug=False, **hooks):
    """Runs a scenario; its Outcome.

    A second run of the same scenario waits, for it has the same folder.
    """
    run = Run(what, debug=debug, **hooks)
    with locked(paths.STATE / f"scenario-{run.name}.lock", f"scenario {run.name}"):
        return _run(run)


def _run_in_time(name, debug, kernel):
    """run_one(), or a skipped Outcome when time is up."""
    if time_is_up():
        return Outcome("skip", LATE, 0.0, True)
    return run_one(SCENARIOS[name], debug, kernel=kernel)


def _started(run, found):
    """False when the machines of a scenario are to blame for its end: there was none whose
    kernel came up, and none that complained."""
    return bool(found or not run.guests or any(guest_.boots for guest_ in run.guests))


def _run(run):
    what = run.what
    shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir(parents=True)
    start = time.monotonic()
    result, reason = "ok", ""
    try:
        if what.debug_only and not run.debug:
            raise Skipped("only the debug kernels can do it, see --debug")
        what.function(run)
        if not run.checks:
            result, reason = "not ok", "the scenario checked nothing"
        elif run.debug:
            run.check_leaks()
    except Skipped as skipped:
        result, reason = "skip", str(skipped)
    except Exception as error:      # pylint: disable=broad-except
        result, reason = "not ok", _explain(error)
        (run.folder / "traceback").write_text(traceback.format_exc())
    finally:
        run.close()
    found = _consoles(run)
    if found and result != "skip":
        text = f"console: {found[0]}" + (f" (and {len(found) - 1} more)"
                                         if len(found) > 1 else "")
        reason = f"{reason}; {text}" if reason else text
        result = "not ok"
    outcome = Outcome(result, reason, time.monotonic() - start,
                      result != "not ok" or _started(run, found))
    verdict = {"name": run.name, "result": result, "reason": reason,
               "seconds": round(outcome.seconds, 2), "started": outcome.started,
               "debug": run.debug, "checks": run.checks,
               "kernels": [boot.release for g in run.guests for boot in g.boots],
               "boot_seconds": [round(boot.seconds, 2) for g in run.guests
                                for boot in g.boots],
               "splats": found, "steps": run.steps}
    (run.folder / "verdict.json").write_text(json.dumps(verdict, indent=1) + "\n")
    return outcome


def _report(line):
    with _print_lock:
        print(line, flush=True)


def _again(name, debug, kernel):
    """Runs a scenario a second time, alone. What the first attempt left, the registers of
    a guest that hung among it, is kept in NAME.first."""
    what = SCENARIOS[name]
    folder = Run(what, debug=debug, kernel=kernel).folder
    kept = folder.with_name(f"{folder.name}.first")
    shutil.rmtree(kept, ignore_errors=True)
    folder.rename(kept)
    return run_one(what, debug, kernel=kernel)


def run_many(names, jobs, debug, kernel=None):
    """Runs scenarios, `jobs` at a time; how many did not pass.

    A machine that did not start says nothing of the kernel: QEMU was starved past every
    limit, or emulates the boot of any kernel wrongly. Such a scenario is tried once more,
    when the others are through, and its line tells. One whose kernel came up is not: what
    goes wrong then goes wrong for an operator, too, however seldom.
    """
    bad = 0
    failed = []
    shown = f"{{}}-{kernel}" if kernel else "{}-debug" if debug else "{}"
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(_run_in_time, name, debug, kernel): name
                   for name in names}
        try:
            for future in concurrent.futures.as_completed(futures):
                outcome = future.result()
                name = futures[future]
                if not outcome.started:
                    failed.append((name, outcome))
                    continue
                _report(outcome.line(shown.format(name)))
                bad += outcome.result == "not ok"
        except KeyboardInterrupt:
            for future in futures:
                future.cancel()
            VM.close_all()
            raise
    for name, first in failed:
        outcome = _again(name, debug, kernel)
        _report(outcome.line(shown.format(name), first))
        bad += outcome.result == "not ok"
    return bad


def chosen(known, debug, few=False, skip=()):
    """Names of the scenarios that --all means, the long ones first."""
    def wanted(what):
        if not debug:
            return not what.debug_only
        return what.debug_always if few else what.debug

    names = [name for name, what in known.items() if name not in skip and wanted(what)]
    return sorted(names, key=lambda name: -known[name].limit)


def _arguments(argv):
    parser = argparse.ArgumentParser(prog="harness.scenario", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--all", action="store_true", help="every scenario")
    parser.add_argument("--list", action="store_true", help="names and descriptions")
    parser.add_argument("--jobs", type=int, default=2, help="at a time (default: 2)")
    parser.add_argument("--debug", action="store_true",
                        help="on the debug kernels; with --all, the most telling ones")
    parser.add_argument("--few", action="store_true",
                        help="with --all --debug: only those that every make check runs")
    parser.add_argument("--kernel", metavar="NAME",
                        help="on this kernel, instead of both a and b")
    parser.add_argument("--skip", action="append", default=[], metavar="NAME",
                        help="leave this one out of --all")
    options = parser.parse_args(argv)
    if options.few and not (options.all and options.debug):
        parser.error("--few goes with --all --debug")
    return options


def main(argv=None):
    """Entry point; the exit status is 1 when a scenario failed."""
    options = _arguments(argv)
    known = load_scenarios()
    if options.list or not (options.names or options.all):
        width = max(map(len, known))
        for name, what in known.items():
            mark = " [debug, always]" if what.debug_always else " [debug]" if what.debug else ""
            print(f"{name:{width}}  {what.about}{mark}")
        return 0
    names = list(options.names)
    if options.all:
        names = chosen(known, options.debug, options.few, options.skip)
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no scenario is called {unknown[0]}; --list shows all", file=sys.stderr)
        return 2
    # Being ended by somebody must end the machines, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        initrd.build()
        bad = run_many(names, max(1, options.jobs), options.debug, options.kernel)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 1 if bad else 0
