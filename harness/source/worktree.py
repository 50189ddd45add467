# SPDX-License-Identifier: GPL-2.0
"""Worktrees of the base repository inside the build folder."""

import os
import shutil
from pathlib import Path

from ..common.run import say
from .git import Git, blob_id


def usable(path):
    """True when the folder is a worktree whose repository still exists."""
    path = Path(path)
    if not (path / ".git").is_file():
        return False
    return Git(path).try_run("rev-parse", "--verify", "-q",
                             "HEAD").returncode == 0


def ensure(repository, path, commit):
    """Return git in the worktree at this path, made at commit if missing.

    A folder whose repository vanished (a cleared cache) is made anew: all it
    holds is made from the base and the checkout.
    """
    path = Path(path)
    if not usable(path):
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        repository("worktree", "prune")
        say(f"checking out {path.name}")
        repository("worktree", "add", "--force", "--detach", path, commit)
    return Git(path)


def switch(git, commit):
    """Bring a worktree to a commit, writing only files whose blob differs.

    Files that hold the new content already keep their time stamps, so that
    nothing is rebuilt without need. Git refuses to overwrite other edits.
    """
    git.try_run("update-index", "-q", "--refresh")
    edited = sorted(set(git.lines("diff-index", "-z", "--name-only", "HEAD")))
    same = same_as(git, commit, edited)
    if same:
        git("update-index", "--add", "--remove", "--", *same)
    git("checkout", "--quiet", "--detach", commit)


def same_as(git, commit, names):
    """Those of the names whose file holds what the commit has."""
    if not names:
        return []
    new = {}
    for line in git.lines("ls-tree", "-z", "-r", commit, "--", *names):
        meta, name = line.split("\t", 1)
        mode, _, blob = meta.split()
        new[name] = (mode, blob)
    return [name for name in names
            if file_entry(git.where / name) == new.get(name)]


def file_entry(path):
    """(mode, blob id) git would record for a file, None without a file."""
    if os.path.islink(path):
        return "120000", blob_id(os.readlink(path).encode())
    if not os.path.isfile(path):
        return None
    mode = "100755" if os.access(path, os.X_OK) else "100644"
    return mode, blob_id(Path(path).read_bytes())
