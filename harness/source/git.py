# SPDX-License-Identifier: GPL-2.0
"""Git plumbing on the bare base repository and its worktrees.

The user's and the system's git configuration are kept out, so that a tree
is assembled to the same objects everywhere.
"""

import hashlib
import os
import subprocess
from pathlib import Path

from ..common.run import HarnessError

#: An identity for commits when the checkout has none of its own.
FALLBACK = ("liveupdate-orchestrator", "harness@localhost")

#: Every commit has the same date: equal content gives equal hashes.
DATE = "1767225600 +0000"


def environment(author=FALLBACK, **extra):
    """The environment for git on the base repository."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    env.update(GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1",
               GIT_AUTHOR_NAME=author[0], GIT_AUTHOR_EMAIL=author[1],
               GIT_COMMITTER_NAME=author[0], GIT_COMMITTER_EMAIL=author[1],
               GIT_AUTHOR_DATE=DATE, GIT_COMMITTER_DATE=DATE,
               GIT_TERMINAL_PROMPT="0", LC_ALL="C")
    env.update(extra)
    return env


def identity(root):
    """Name and mail address of the checkout's git identity."""
    found = []
    for key in ("user.name", "user.email"):
        done = subprocess.run(["git", "-C", str(root), "config", key],
                              stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.DEVNULL)
        found.append(done.stdout.strip())
    return tuple(found) if all(found) else FALLBACK


def blob_id(data, kind="blob"):
    """The object id git gives these bytes."""
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


class Git:
    """Commands in one repository or worktree."""

    def __init__(self, where, author=FALLBACK, **env):
        self.where = Path(where)
        self.author = author
        self.env = environment(author, **env)

    def with_env(self, **env):
        """The same place with more environment (a private index)."""
        other = Git(self.where, self.author)
        other.env = dict(self.env, **env)
        return other

    def command(self, args):
        """The full command line."""
        return ["git", "-C", str(self.where), "-c", "safe.directory=*",
                "-c", "core.autocrlf=false", "-c", "gc.auto=0",
                *[str(a) for a in args]]

    def try_run(self, *args, data=None):
        """Run; return the CompletedProcess with bytes, whatever the status."""
        return subprocess.run(self.command(args), env=self.env, input=data,
                              stdin=subprocess.DEVNULL if data is None
                              else None,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def raw(self, *args, data=None):
        """Run; return stdout as bytes, raise HarnessError when it fails."""
        done = self.try_run(*args, data=data)
        if done.returncode:
            error = done.stderr.decode(errors="replace").strip()
            raise HarnessError(f"git {' '.join(str(a) for a in args[:4])} "
                               f"in {self.where} failed:\n{error}")
        return done.stdout

    def __call__(self, *args, data=None):
        """Run; return stdout as stripped text."""
        return self.raw(*args, data=data).decode(errors="replace").strip()

    def lines(self, *args, data=None):
        """Run with NUL-separated output (-z); return the list of strings."""
        out = self.raw(*args, data=data).decode(errors="surrogateescape")
        return [part for part in out.split("\0") if part]
