# SPDX-License-Identifier: GPL-2.0
"""Static gate of the length of files. It takes no time and is never stamped."""

from ..common import paths

#: Lines that a new file of the kernel may have, tests included.
LONGEST = 900


def lengths(subject, results):
    """No new C file of the kernel has more lines than can be read in one sitting."""
    long = []
    for name in subject.kernel_c_and_h:
        lines = (paths.TREE / name).read_text(encoding="utf-8").count("\n")
        if lines > LONGEST:
            long.append(f"{name}: {lines} lines, {LONGEST} at most")
    results.add(not long, "length", f"{len(subject.kernel_c_and_h)} files", "\n".join(long))
