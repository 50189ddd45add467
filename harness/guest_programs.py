# SPDX-License-Identifier: GPL-2.0
"""Selftests built for guests, in the official way, into the folder guests see.

One set comes from the unpatched base (upstream's own tests), one from the
assembled tree (those and ours).
"""

import os

from . import paths
from .run import HarnessError, locked, logged

TARGET = "liveupdate"


def _headers(tree, out, log):
    """make headers, unless the exported header is as new as its source."""
    exported = out / "usr" / "include" / "linux" / "liveupdate.h"
    source = tree / "include" / "uapi" / "linux" / "liveupdate.h"
    if exported.exists() and exported.stat().st_mtime >= source.stat().st_mtime:
        return
    logged(["make", "-s", "-C", tree, f"O={out}", "headers"], log, "make headers")
    os.utime(exported)


def build(name, tree):
    """Builds and installs the selftests of a tree; name -> program, in order."""
    if not (tree / "Makefile").exists():
        raise HarnessError(f"{tree.name} is not assembled: run make tree")
    out = paths.BUILD / f"selftests-{name}"
    out.mkdir(parents=True, exist_ok=True)
    install = out / "install"
    with locked(out / "lock", f"the selftests of {name}"):
        _headers(tree, out, paths.LOG / f"selftests-{name}-headers.log")
        logged(["make", "-C", tree / "tools" / "testing" / "selftests", f"O={out}",
                f"TARGETS={TARGET}", f"KHDR_INCLUDES=-isystem {out}/usr/include",
                "LDFLAGS=-static", f"INSTALL_PATH={install}", "install"],
               paths.LOG / f"selftests-{name}.log", "building the selftests")
    found = {}
    for line in (install / "kselftest-list.txt").read_text().splitlines():
        target, _, program = line.partition(":")
        if target == TARGET:
            found[program] = install / TARGET / program
    if not found:
        raise HarnessError(f"{install}/kselftest-list.txt names no test of {TARGET}")
    return found


def upstream():
    """Upstream's tests, from the unpatched base; the multi-stage ones too."""
    found = build("base", paths.BUILD / "tree-base")
    folder = next(iter(found.values())).parent
    for program in sorted(folder.glob("luo_*")):
        if os.access(program, os.X_OK):
            found[program.name] = program
    return found


def ours():
    """All tests of the assembled tree that run by themselves."""
    return build("series", paths.TREE)
