# SPDX-License-Identifier: GPL-2.0
"""make series-boot: after every patch of the series the kernel is linked, and boots.

The proof of "make series" compiles what the series has touched after each patch, which
is what fits into every check. This is for the night: whoever bisects lands on any of
these kernels and wants it to come up. After each patch that changes the kernel the whole
image is linked with the options that there are by then, and booted once with the live
update switched on and once without. Each has to come up without a splat, and with it on
every KUnit suite that is built in by then has to pass.
"""

from ..build import kernel
from ..common import paths
from ..common.run import HarnessError, locked, say
from ..guest.control import APPEND, ENABLED, Guest
from ..scenario.checks import splats
from ..scenario.suites import LATE, reports
from ..source import tree
from ..static import export
from ..static.base import Results
from ..vm.qemu import VM

FOLDER = paths.BUILD / "steps"
LIMIT = 120                             # seconds for a guest
KUNIT = "kunit.enable=1 kunit.autorun=1 dma_debug=off nokaslr"


def link(proof, step):
    """Build the whole image after a patch; where it is."""
    proof.configure(step.name)
    number = step.mail.name[:4]
    kernel.make(kernel.command(proof.source, proof.objects, "bzImage"),
                paths.LOG / f"step-{number}.log", f"step {number}",
                kernel.estimate("a"))
    return proof.objects / "arch/x86/boot/bzImage"


def boot(image, folder, append):
    """What is wrong with a kernel that is booted, and which suites of KUnit passed."""
    wrong, passed = [], []
    with VM(folder, image, append, smp=2, memory="2G", limit=LIMIT) as vm:
        guest = Guest(vm)
        guest.wait_boot()
        for name, report in reports(guest):
            wrong += [f"{name}: {text}" for text in report.problems + report.failures()]
            passed.append(name)
    # Without the tests nothing is expected.
    expected = LATE if passed else ()
    return wrong + splats(vm.serial(), expected), passed


def judge(proof, step):
    """Link and boot the kernel after a patch; (what is wrong, what was seen)."""
    image = link(proof, step)
    folder = FOLDER / step.mail.name[:4]
    wrong, passed = boot(image, folder, f"{APPEND} {ENABLED} {KUNIT}")
    off, _ = boot(image, folder / "off", APPEND)
    return wrong + off, f"boots with and without; {len(passed)} suites of KUnit"


def main(linux=None, first=1):
    """The exit status."""
    results = Results()
    with locked(paths.STATE / "series.lock", "the proof of the series"):
        result, git = tree.make(linux)
        proof = export.Proof(result, export.write(result, git))
        proof.pristine()
        for step in proof.steps():
            if not step.kernel_side or step.number < first:
                continue
            proof.git("checkout", "--quiet", "--detach", step.commit)
            try:
                wrong, seen = judge(proof, step)
            except HarnessError as error:
                wrong, seen = [str(error)], "no kernel"
            results.add(not wrong, f"boot {step.mail.name[:-len('.patch')]}", seen,
                        "\n".join(wrong[:8]))
    say(f"{results.count - results.failed} of {results.count} kernels boot")
    return 1 if results.failed else 0
