# SPDX-License-Identifier: GPL-2.0
"""The selftests of the assembled tree, built the official way for guests.

Upstream's own tests of sessions are among them; that they are those of the base
is checked, not assumed.
"""

import functools
import os
import threading

from ..common import paths
from ..common.run import HarnessError, locked, logged
from ..source import base
from ..source.git import Git

TARGET = "liveupdate"
FOLDER = f"tools/testing/selftests/{TARGET}"

#: Upstream's programs: the ioctl harness, and those with a kexec in between.
UPSTREAM = ("liveupdate", "luo_kexec_simple", "luo_multi_session",
            "luo_stress_files", "luo_stress_sessions")

_ONE_AT_A_TIME = threading.Lock()

OUT = paths.BUILD / "selftests"
INSTALLED = OUT / "install" / TARGET


def _headers():
    """make headers, unless the exported ones are as new as their source."""
    exported = OUT / "usr" / "include" / "linux" / "liveupdate.h"
    source = paths.TREE / "include" / "uapi" / "linux" / "liveupdate.h"
    if exported.exists() and exported.stat().st_mtime >= source.stat().st_mtime:
        return
    logged(["make", "-s", "-C", paths.TREE, f"O={OUT}", "headers"],
           paths.LOG / "selftests-headers.log", "make headers")
    os.utime(exported)


def build():
    """Builds and installs the selftests, once per process; name -> program."""
    with _ONE_AT_A_TIME:
        return _build()


@functools.lru_cache(maxsize=None)
def _build():
    if not (paths.TREE / FOLDER).is_dir():
        raise HarnessError("the tree is not assembled: run make tree")
    OUT.mkdir(parents=True, exist_ok=True)
    with locked(OUT / "lock", "the selftests"):
        _headers()
        logged(["make", "-C", paths.TREE / "tools" / "testing" / "selftests", f"O={OUT}",
                f"TARGETS={TARGET}", f"KHDR_INCLUDES=-isystem {OUT}/usr/include",
                "LDFLAGS=-static", f"INSTALL_PATH={OUT}/install", "install"],
               paths.LOG / "selftests.log", "building the selftests")
    found = {}
    for line in (OUT / "install" / "kselftest-list.txt").read_text().splitlines():
        target, _, program = line.partition(":")
        if target == TARGET:
            found[program] = INSTALLED / program
    if not found:
        raise HarnessError(f"{OUT}/install/kselftest-list.txt names no test of {TARGET}")
    return found


def upstream(name):
    """One of upstream's programs, built from sources that are the base's."""
    build()
    sources = [f"{FOLDER}/{program}.c" for program in UPSTREAM]
    sources += [f"{FOLDER}/lib/lu_utils.c", f"{FOLDER}/lib/include"]
    changed = Git(paths.TREE).lines("diff", "-z", "--name-only", "--diff-filter=MDR",
                                    base.get().commit, "--", *sources)
    if changed:
        raise HarnessError(f"not as upstream has them: {' '.join(changed)}")
    program = INSTALLED / name
    if name not in UPSTREAM or not program.exists():
        raise HarnessError(f"the base has no test program {name}")
    return program
