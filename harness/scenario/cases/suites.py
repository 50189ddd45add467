# SPDX-License-Identifier: GPL-2.0
"""KUnit and kselftest of the series, run in a guest."""

from ...build import programs as guest_programs
from ...guest.control import DEBUG, host_path
from ..api import Failed, scenario
from ..ktap import expect_passed, parse
from ..suites import LATE, reports, suites, suites_of

# Selftests of state updated; elsewhere they skip themselves.
IN_UPDATED = ("sysfs_updated",)


@scenario("kunit", smp=2, memory="2G", debug_always=True, expect=LATE)
def kunit(run):
    """Every KUnit suite of the series that is built in, at boot, and none is missing."""
    guest = run.boot("a", extra="kunit.enable=1 kunit.autorun=1")
    ran = []
    for name, report in reports(guest):
        expect_passed(run, report)
        run.step(f"ok suite {name}")
        ran += report.top()
    run.equal("suites that ran", sorted(suite.name for suite in ran),
              [name for name, module in suites().items() if not module])
    run.state(guest, "normal")


def _run(run, guest, names, needs=None):
    """KUnit suites; all of them have to run and to pass, but for cases that need an option
    which this kernel has not got, or no x86 kernel has."""
    skipped = []
    for name in names:
        run.step(f"suite {name}")
        guest.do(f"echo 1 > {DEBUG}/kunit/{name}/run", timeout=150)
        report = parse(guest.read(f"{DEBUG}/kunit/{name}/results"))
        run.equal("suites", [case.name for case in report.top()], [name])
        expect_passed(run, report)
        skipped += [case.name for case in report.cases if case.skipped]
        run.checks += len(report.cases)
    run.equal("skipped tests", skipped,
              [case for case, option in (needs or {}).items()
               if not option or not guest.run(f"zcat /proc/config.gz | grep -q ^{option}=y").ok])
    run.state(guest, "normal")


def _module(run, module, needs=None, **options):
    """The KUnit suites of a module, but for those in which allocations fail."""
    guest = run.boot("a", extra="kunit.enable=1 kunit.autorun=0", **options)
    guest.do(f"insmod {run.module('a', module)}", timeout=60)
    _run(run, guest, suites_of(module), needs)
    guest.do(f"rmmod {module}")


@scenario("kunit-devices", smp=2, limit=200, debug_always=True)
def kunit_devices(run):
    """The KUnit suites of the device layer, as a module."""
    _module(run, "liveupdate_kunit")


@scenario("kunit-pci", smp=2, limit=200, debug_always=True)
def kunit_pci(run):
    """The KUnit suites of PCI: a host bridge whose functions are arrays of bytes, MSI with
    mask bits among them, which no device of QEMU has."""
    guest = run.boot("a", extra="kunit.enable=1 kunit.autorun=0")
    _run(run, guest, [name for name in suites() if name.startswith("pci")])


@scenario("kunit-dma", smp=2, limit=200, debug_always=True)
def kunit_dma(run):
    """The KUnit suites of DMA buffers, as a module."""
    _module(run, "dma_liveupdate_kunit", dma_debug=True,
            needs={"iommu": "CONFIG_IOMMU_DMA", "operations": "CONFIG_ARCH_HAS_DMA_OPS",
                   "not coherent": None})


def _selftest(run, guest, name, path):
    """Runs one selftest in the guest; what is wrong with its results."""
    run.step(f"selftest {name}")
    folder = host_path(path).rsplit("/", 1)[0]
    result = guest.run(f"cd {folder} && ./{name}", timeout=240)
    (run.folder / f"selftest-{name}.log").write_bytes(result.data)
    report = parse(result.out)
    bad = [*report.failures(), *report.problems,
           *(f"{case.name} skipped" for case in report.cases if case.skipped)]
    if result.status:
        bad.append(f"exit status {result.status}")
    run.checks += len(report.cases)
    run.steps.append(f"    {name}: {len(report.cases)} results, {len(bad)} bad")
    return [f"{name}: {text}" for text in bad]


@scenario("kselftest", smp=2, limit=400, expect=LATE)
def kselftest(run):
    """Every selftest of the assembled tree that needs no kexec, in kernel A."""
    programs = {name: path for name, path in guest_programs.build().items()
                if name not in IN_UPDATED}
    run.check("more than upstream's one selftest is there", len(programs) > 1,
              str(list(programs)))
    guest = run.boot("a")
    bad = [text for name, path in programs.items()
           for text in _selftest(run, guest, name, path)]
    if bad:
        raise Failed("; ".join(bad[:6]))
    run.state(guest, "normal")


@scenario("kselftest-updated", smp=2, limit=200)
def kselftest_updated(run):
    """The selftests that want a kernel in state updated, and finish it."""
    programs = guest_programs.build()
    missing = [name for name in IN_UPDATED if name not in programs]
    run.equal("selftests not installed", missing, [])
    guest = run.boot("a")
    run.update(guest)
    bad = [text for name in IN_UPDATED
           for text in _selftest(run, guest, name, programs[name])]
    if bad:
        raise Failed("; ".join(bad[:6]))
    run.state(guest, "normal")
