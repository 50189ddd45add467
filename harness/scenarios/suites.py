# SPDX-License-Identifier: GPL-2.0
"""KUnit and kselftest of the series, run in a guest."""

import re

from .. import guest_programs
from ..guest_control import host_path
from ..scenario_api import Failed, scenario
from ..scenario_ktap import parse

# Exit status of a kselftest that skips all of itself.
KSFT_SKIP = 4


@scenario("kunit", kernels=("a",), memory="2G", debug=True)
def kunit(run):
    """Every KUnit suite of the series, at boot."""
    guest = run.boot("a", extra="kunit.enable=1")
    log = guest.console()
    at = log.find("KTAP version 1")
    run.check("KUnit ran", at >= 0, "no KTAP on the console")
    report = parse(log[at:])
    suites = [case for case in report.top() if not case.name.startswith("#")]
    run.check("at least one suite ran", suites, "no result of a suite")
    for suite in suites:
        run.step(f"{'ok' if suite.ok else 'not ok'} suite {suite.name}")
    run.equal("problems of the report", report.problems, [])
    run.equal("failed tests", report.failures(), [])
    run.check("suites of the series ran",
              any(re.search(r"liveupdate|luo", suite.name) for suite in suites),
              str([suite.name for suite in suites]))
    run.state(guest, "normal")


@scenario("kselftest", kernels=("a",), smp=2, limit=400)
def kselftest(run):
    """Every selftest of the assembled tree that needs no kexec, in kernel A."""
    programs = guest_programs.build()
    guest = run.boot("a")
    failures = []
    for name, path in programs.items():
        run.step(f"selftest {name}")
        place = host_path(path)
        result = guest.run(f"cd {place.rsplit('/', 1)[0]} && ./{name}", timeout=240)
        (run.folder / f"selftest-{name}.log").write_bytes(result.data)
        report = parse(result.out)
        skipped = [case.name for case in report.cases if case.skipped]
        bad = [f"{name}: {text}" for text in report.failures() + report.problems]
        if result.status:
            bad.append(f"{name}: exit status {result.status}"
                       f"{' (skipped)' if result.status == KSFT_SKIP else ''}")
        bad += [f"{name}: {case} skipped" for case in skipped]
        failures += bad
        run.steps.append(f"    {name}: {len(report.cases)} results, {len(bad)} bad")
        run.checks += len(report.cases)
    if failures:
        raise Failed("; ".join(failures[:6]))
    run.check("more than upstream's one selftest ran", len(programs) > 1, str(list(programs)))
    run.state(guest, "normal")
