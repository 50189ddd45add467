# SPDX-License-Identifier: GPL-2.0
"""luctl of the assembled tree, built the official way, for guests.

It is linked as it is for the host; the guest image has the libraries. Users who
want one without can build it with STATIC=1, where their distribution's static
archives are complete (in Debian 13 libelf.a is not).
"""

import functools
import threading

from ..common import paths
from ..common.run import HarnessError, locked, logged
from .kernel import environment

SOURCE = paths.TREE / "tools" / "liveupdate" / "luctl"
OUT = paths.BUILD / "luctl-guest"

_ONE_AT_A_TIME = threading.Lock()


def build():
    """Builds it, once per process; its path."""
    with _ONE_AT_A_TIME:
        return _build()


@functools.lru_cache(maxsize=None)
def _build():
    if not SOURCE.is_dir():
        raise HarnessError("the tree is not assembled: run make tree")
    OUT.mkdir(parents=True, exist_ok=True)
    with locked(OUT / "lock", "luctl for guests"):
        logged(["make", "-C", SOURCE, f"O={OUT}", "CFLAGS=-O2 -Werror"],
               paths.LOG / "luctl-guest.log", "building luctl", env=environment())
    return OUT / "luctl"
