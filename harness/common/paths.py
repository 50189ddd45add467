# SPDX-License-Identifier: GPL-2.0
"""Where things are: the checkout, its build folder and the user's cache."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _cache():
    """The cache folder all checkouts of this user share."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(
        os.path.expanduser("~"), ".cache")
    return Path(base) / "liveupdate-orchestrator"


BUILD = ROOT / "build"          #: ignored by git, removed by "make clean"
LOG = BUILD / "log"             #: full logs of long commands
STATE = BUILD / "state"         #: what was built from what
CACHE = _cache()

CONFIG = ROOT / "harness" / "config"
SERIES = ROOT / "series"
TREE = BUILD / "tree"           #: the assembled tree, a worktree of the base
