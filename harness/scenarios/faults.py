# SPDX-License-Identifier: GPL-2.0
"""No memory: each allocation of an update fails once, on the debug kernels."""

from ..guest_control import DEBUG
from ..guest_faults import Faults
from ..scenario_api import scenario
from ..scenario_ktap import parse
from .suites import MODULES, suites


@scenario("faults-kunit", smp=2, debug_only=True, debug_always=True, limit=200)
def faults_kunit(run):
    """The KUnit suites in which each allocation fails once, of the machine, devices and
    DMA buffers: prepare, freeze, restore and finish."""
    guest = run.boot("a", extra="kunit.enable=1 kunit.autorun=0 kunit.filter_glob=*faults*")
    faults = Faults(run, guest)
    faults.enable()
    before = faults.memory()
    problems = []
    for suite in (name for name in suites() if name.endswith("faults")):
        folder, module = f"{DEBUG}/kunit/{suite}", MODULES.get(suite)
        if module:
            guest.do(f"insmod {run.module('a', module)}", timeout=60)
        run.equal(f"run of {suite}", guest.write(f"{folder}/run", "1", timeout=240), "")
        report = parse(guest.read(f"{folder}/results"))
        problems += report.problems + report.failures()
        problems += [f"{case.name} skipped" for case in report.cases if case.skipped]
        run.equal("suites", [case.name for case in report.top()], [suite])
        run.step(f"{suite}: {len(report.cases)} results")
        run.checks += len(report.cases)
        if module:
            guest.do(f"rmmod {module}")
    run.equal("problems of the suites", problems, [])
    run.state(guest, "normal")
    # A suite restores in this kernel what it handed over, and what is restored counts
    # for nobody from there on, so that it is not missing when it is freed.
    faults.check_memory("the suites", before, but="kho_alloc_preserve")
