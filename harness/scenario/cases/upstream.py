# SPDX-License-Identifier: GPL-2.0
"""Upstream's own tests of sessions and of KHO, run in the kernels of the series."""

from ...build import programs as guest_programs
from ...guest.control import host_path
from ..api import scenario
from ..ktap import expect_passed, parse


def _two_stages(run, program, passed):
    """Upstream's pattern: stage 1, kexec, stage 2, a line that says it passed."""
    path = host_path(guest_programs.upstream(program))
    guest = run.boot("a")
    run.step("stage 1")
    guest.do(f"{path} -s 1", timeout=120)
    run.load(guest)
    run.jump(guest, state="normal")
    run.step("stage 2")
    run.contains("stage 2", guest.do(f"{path} -s 2", timeout=120), passed)


@scenario("upstream-kexec-simple")
def upstream_kexec_simple(run):
    """selftests/liveupdate/luo_kexec_simple over a kexec from A to B."""
    _two_stages(run, "luo_kexec_simple", "SIMPLE KEXEC TEST PASSED")


@scenario("upstream-multi-session")
def upstream_multi_session(run):
    """selftests/liveupdate/luo_multi_session over a kexec from A to B."""
    _two_stages(run, "luo_multi_session", "TEST PASSED")


@scenario("upstream-stress-files")
def upstream_stress_files(run):
    """selftests/liveupdate/luo_stress_files (500 files) over a kexec from A to B."""
    _two_stages(run, "luo_stress_files", "MANY-FILES KEXEC TEST PASSED (500 files)")


@scenario("upstream-stress-sessions")
def upstream_stress_sessions(run):
    """selftests/liveupdate/luo_stress_sessions (2000) over a kexec from A to B."""
    _two_stages(run, "luo_stress_sessions",
                "MANY-SESSIONS KEXEC TEST PASSED (2000 sessions)")


@scenario("upstream-in-prepared")
def upstream_in_prepared(run):
    """luo_kexec_simple beside a live update: stage 1 in prepared, stage 2 in
    updated."""
    path = host_path(guest_programs.upstream("luo_kexec_simple"))
    guest = run.boot("a")
    run.prepare(guest)
    guest.do(f"{path} -s 1", timeout=120)
    run.load(guest)
    run.jump(guest)
    run.contains("stage 2", guest.do(f"{path} -s 2", timeout=120),
                 "SIMPLE KEXEC TEST PASSED")
    run.finish(guest)


@scenario("upstream-ioctl")
def upstream_ioctl(run):
    """selftests/liveupdate/liveupdate, the ioctl harness, in kernel A."""
    path = host_path(guest_programs.upstream("liveupdate"))
    guest = run.boot("a")
    result = guest.run(path, timeout=120)
    report = parse(result.out)
    run.equal("exit status", result.status, 0)
    expect_passed(run, report)
    run.equal("skipped tests", [c.name for c in report.cases if c.skipped], [])
    run.check("at least ten tests ran", len(report.cases) >= 10, str(len(report.cases)))


@scenario("upstream-kho")
def upstream_kho(run):
    """lib/test_kho, which runs at every boot of its kernel: folios, a vmalloc area
    and a device tree over a kexec."""
    guest = run.boot("kho")
    run.lacks("console of the first kernel", guest.console(1), "KHO restore")
    run.load(guest, "kho")
    run.jump(guest, "kho", state="normal")
    run.contains("console of the next kernel", guest.console(2), "KHO restore succeeded")
