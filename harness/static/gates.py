# SPDX-License-Identifier: GPL-2.0
"""Static gates: everything that judges the series without booting it.

Each result is one line "ok|not ok|skip NAME - detail"; what a tool found is
printed before a "not ok". Gates can be run one by one:
python3 -m harness static checkpatch sparse

New files must be without a finding, upstream files that the series touches
without one that they did not have before. What nothing has changed for is
taken from a stamp (see stamps.py) and its line ends in "[stamped]"; with
ANEW=1 in the environment all is judged again.
"""

from ..build import kernel
from ..common import paths, stamps
from ..common.run import LATE, HarnessError, locked, notice, time_is_up
from ..source import tree
from .base import Results, Subject
from .cocci import coccinelle
from .compile import ARM64, CLANG, other, sparse, switched_off, w1
from .docs import examples
from .length import lengths
from .rst import rst
from .text import abi, checkpatch, kernel_doc, licences, maintainers
from .words import words

GATES = {
    "licence": licences,
    "maintainers": maintainers,
    "length": lengths,
    "words": words,
    "checkpatch": checkpatch,
    "kernel-doc": kernel_doc,
    "abi": abi,
    "rst": rst,
    "examples": examples,
    "w1": w1,
    "sparse": sparse,
    "arm64": other("arm64", "gcc", *ARM64),
    "clang": other("clang", CLANG),
    "off": switched_off,
    "coccinelle": coccinelle,
}

#: Minutes that the longest of them may take.
NEEDS = 10

#: Those that need the objects of kernel a.
COMPILE = {"examples", "w1", "sparse", "off"}


def main(names=()):
    """Run all gates or those named; exit status 1 when one found something."""
    for name in names:
        if name not in GATES:
            raise HarnessError(f"no gate {name}; there are: "
                               + " ".join(GATES))
    results = Results()
    if COMPILE.intersection(names or GATES) and \
            not (kernel.KERNELS["a"].objects / "vmlinux").is_file():
        kernel.build_patched(["a"])
    with locked(paths.STATE / "static.lock", "the static gates"), \
            tree.using() as (result, git):
        subject = Subject(result, git)
        if not subject.patches:
            notice("the series is empty")
        for name in names or GATES:
            if time_is_up(NEEDS):
                results.add(None, f"static {name}", LATE)
                continue
            try:
                GATES[name](subject, results)
            except HarnessError as error:
                results.add(False, f"static {name}", "", str(error))
    stamps.prune()
    return 1 if results.failed or not results.count else 0
