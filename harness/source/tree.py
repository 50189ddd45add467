# SPDX-License-Identifier: GPL-2.0
"""Assembly: base + series + overlay -> build/tree, one commit per patch.

The commits are computed in a private index, so that the worktree sees only
the difference between the old and the new tree: a file whose content did
not change keeps its time stamp, and an edit is one incremental build away.
"""

import bisect
import contextlib
import hashlib
import os
import re
from pathlib import Path

from ..common import paths
from ..common.run import HarnessError, load_json, locked, notice, save_json, say
from . import base as bases
from . import series, worktree
from .git import Git, identity

ENTRY = "LIVE UPDATE"
MAINTAINERS_SUBJECT = f"MAINTAINERS: add files to {ENTRY}"
MAINTAINERS_BODY = f"""\
The series adds files outside of the paths that the {ENTRY} entry
lists. List them, so that changes to them reach its maintainers."""


class Changed(HarnessError):
    """Somebody saved a file of the overlay at this very moment."""


class Assembly:
    """The result: the base and the commits made on top of it."""

    def __init__(self, base, patches, commits, fingerprint):
        self.base = base
        self.patches = patches          # Patch objects, MAINTAINERS last
        self.commits = commits          # one id for each of them
        self.fingerprint = fingerprint
        self.head = commits[-1] if commits else base.commit


class Layout:
    """The folders of one checkout; tests use others than the real ones."""

    def __init__(self, root=None, build=None):
        self.root = Path(root or paths.ROOT)
        self.build = Path(build or self.root / "build")
        self.series = self.root / "series"
        self.state = self.build / "state"
        self.tree = self.build / "tree"


# --- MAINTAINERS -------------------------------------------------------------

def maintained(root):
    """The F: lines of the checkout's MAINTAINERS."""
    path = Path(root) / "MAINTAINERS"
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = re.match(r"F:\s+(\S+)$", line)
        if not match:
            raise HarnessError(f"MAINTAINERS: only 'F:<tab>path' lines belong "
                               f"here: {line}")
        found.append(match[1])
    return found


def merge_maintainers(text, files):
    """Upstream's MAINTAINERS with more F: lines in our entry, sorted."""
    lines = text.split("\n")
    try:
        start = lines.index(ENTRY)
    except ValueError:
        raise HarnessError(f"MAINTAINERS of the base has no entry {ENTRY}"
                           ) from None
    end = lines.index("", start)
    first = next((i for i in range(start, end)
                  if lines[i].startswith("F:\t")), end)
    last = first
    while last < end and lines[last].startswith("F:\t"):
        last += 1
    entry = lines[first:last]
    for path in files:
        line = f"F:\t{path}"
        if line not in entry:
            bisect.insort(entry, line)
    return "\n".join(lines[:first] + entry + lines[last:])


# --- commits -----------------------------------------------------------------

class Assembler:
    """Makes the commits of one series in the base repository."""

    def __init__(self, layout, base, author):
        self.layout = layout
        self.base = base
        self.author = author
        layout.state.mkdir(parents=True, exist_ok=True)
        index = layout.state / "assembly.index"
        self.git = Git(base.git.where, author).with_env(
            GIT_INDEX_FILE=str(index))
        self.loaded = None              # the commit the index holds
        self.used = {}                  # {key: commit} for the next time

    def overlay(self):
        """{path: (mode, blob id)} of the overlay."""
        folders = self.git("ls-tree", "-d", "--name-only",
                           self.base.commit).splitlines()
        found = {}
        for name in series.overlay(self.layout.root, folders):
            found[name] = worktree.file_entry(self.layout.root / name)
        return found

    def in_base(self, names):
        """Those of the names that the base has."""
        names = list(names)
        if not names:
            return []
        return self.git.lines("ls-tree", "-z", "-r", "--name-only",
                              self.base.commit, "--", *names)

    def store(self, entries):
        """Put overlay files into the repository and the index."""
        for name, (mode, blob) in entries.items():
            full = self.layout.root / name
            data = (os.readlink(full).encode() if mode == "120000"
                    else full.read_bytes())
            made = self.git("hash-object", "-w", "--stdin", data=data)
            if made != blob:
                raise Changed(f"{name} changed while the tree was being "
                              "assembled: try again")
        self.git("update-index", "--add", "--index-info", data="".join(
            f"{mode} {blob}\t{name}\n"
            for name, (mode, blob) in entries.items()).encode())

    def load(self, commit):
        """Bring the private index to a commit."""
        if self.loaded != commit:
            self.git("read-tree", commit)
            self.loaded = commit

    def commit(self, parent, message):
        """Commit the private index."""
        tree = self.git("write-tree")
        self.loaded = self.git("commit-tree", tree, "-p", parent,
                               data=message.encode())
        return self.loaded

    def apply(self, patch):
        """Apply the hunks of a patch to the private index."""
        if not patch.diff:
            return
        if self._try(patch.diff):
            failed = self._failures(patch)
            raise HarnessError(
                f"series/{patch.name}.patch does not apply to Linux "
                f"{self.base.version}:\n  " + "\n  ".join(failed))

    def _try(self, text):
        """Apply a diff; return git's complaint, empty when it went well."""
        done = self.git.try_run("apply", "--cached", "--recount",
                                "--whitespace=nowarn", "-",
                                data=text.encode())
        if done.returncode:
            return done.stderr.decode(errors="replace").strip() or "failed"
        return ""

    def _failures(self, patch):
        """Name each hunk of a patch that does not apply."""
        found = []
        for part in patch.files():
            if not self._try(part.text()):
                continue
            if not self.git("ls-files", "--", part.path):
                found.append(f"{part.path}: the base has no such file")
                continue
            before = len(found)
            for number, hunk in enumerate(part.hunks, 1):
                complaint = self._try(part.text([hunk]))
                if complaint:
                    found.append(f"{part.path}: hunk {number} of "
                                 f"{len(part.hunks)}: {hunk[0]}")
            if len(found) == before:
                found.append(f"{part.path}: {self._try(part.text())}")
        return found or ["git apply refuses it"]

    def assemble(self, cache=None, partial=False):
        """Make (or find in the cache) all commits; return the Assembly."""
        cache = cache or {}
        patches = series.load(self.layout.series)
        files = self.overlay()
        series.check(patches, files, self.in_base, partial)
        used = self.used = {}
        commits = []
        parent = self.base.commit
        for patch in patches:
            mine = {name: files[name] for name in patch.adds}
            key = hashlib.sha256(repr(
                (parent, patch.text(), sorted(mine.items()), self.author)
            ).encode()).hexdigest()
            found = cache.get(key)
            if not found:
                self.load(parent)
                self.apply(patch)
                if mine:
                    self.store(mine)
                found = self.commit(parent, patch.message)
            used[key] = parent = found
            commits.append(found)
        listed = maintained(self.layout.root)
        if listed:
            patch = series.Patch("MAINTAINERS", MAINTAINERS_SUBJECT,
                                 MAINTAINERS_BODY, [])
            key = hashlib.sha256(repr(
                (parent, patch.text(), listed, self.author)
            ).encode()).hexdigest()
            found = cache.get(key)
            if not found:
                found = self._maintainers(parent, patch, listed)
            if found != parent:
                used[key] = found
                commits.append(found)
                patches.append(patch)
        fingerprint = hashlib.sha256(
            "\n".join([self.base.commit, *commits]).encode()).hexdigest()
        return Assembly(self.base, patches, commits, fingerprint)

    def _maintainers(self, parent, patch, listed):
        """The last commit, made from the checkout's MAINTAINERS."""
        old = self.git.raw("show", f"{parent}:MAINTAINERS")
        new = merge_maintainers(old.decode("utf-8"), listed).encode("utf-8")
        if new == old:
            return parent
        self.load(parent)
        blob = self.git("hash-object", "-w", "--stdin", data=new)
        self.git("update-index", "--cacheinfo", f"100644,{blob},MAINTAINERS")
        return self.commit(parent, patch.message)


def assemble(layout, base, partial=False):
    """Assemble the commits, reusing those of the last time."""
    record = layout.state / "tree.json"
    known = load_json(record)
    cache = known.get("cache", {})
    if cache:
        # A cleared cache folder takes the commits with it.
        listed = "\n".join(cache.values()).encode()
        answer = base.git("cat-file", "--batch-check", data=listed)
        if "missing" in answer:
            cache = {}
    for attempt in range(3):
        assembler = Assembler(layout, base, identity(layout.root))
        try:
            result = assembler.assemble(dict(cache), partial)
        except Changed:
            if attempt == 2:
                raise
            continue
        known["cache"] = assembler.used
        save_json(record, known)
        return result


# --- the worktree ------------------------------------------------------------

def edits(git, recorded):
    """Tracked files of build/tree that differ from what assembly wrote."""
    git.try_run("update-index", "-q", "--refresh")
    return sorted(set(git.lines("diff-index", "-z", "--name-only", recorded)))


def write(layout, result, force=False, keep=False):
    """Bring build/tree to the assembled commit.

    Edits made there that neither the overlay nor the series has are never
    overwritten, unless force is given. keep lets them be while the series
    itself did not change.
    """
    record = layout.state / "tree.json"
    known = load_json(record)
    fresh = not worktree.usable(layout.tree)
    git = worktree.ensure(result.base.git, layout.tree, result.head)
    recorded = known.get("head") if not fresh else result.head
    if not recorded or git.try_run("cat-file", "-e",
                                   recorded).returncode:
        recorded = git("rev-parse", "HEAD")
    if force:
        with locked(layout.state / "tree.use", "build/tree"):
            git("reset", "--quiet", "--hard", result.head)
    else:
        edited = edits(git, recorded)
        left = sorted(set(edited) - set(worktree.same_as(git, result.head, edited)))
        if left and keep and recorded == result.head:
            notice(f"building with {len(left)} edited files of "
                   f"{layout.tree.name}: " + " ".join(left[:5]))
        elif left:
            more = f"\n  and {len(left) - 10} more" if len(left) > 10 else ""
            raise HarnessError(
                "build/tree has edits that the overlay and the series do not "
                "have:\n  " + "\n  ".join(left[:10]) + more +
                "\n'make refresh' carries them back, 'make tree FORCE=1' "
                "drops them")
        else:
            if git("rev-parse", "HEAD") != recorded:
                git("reset", "--quiet", "--mixed", recorded)
            if recorded != result.head:
                with locked(layout.state / "tree.use", "build/tree"):
                    worktree.switch(git, result.head)
    known["head"] = result.head
    known["base"] = result.base.commit
    known["fingerprint"] = result.fingerprint
    save_json(record, known)
    return git


def make(linux=None, force=False, keep=False, layout=None, quiet=False,
         partial=None):
    """make tree: assemble and write build/tree; return (Assembly, Git).

    The environment variable PARTIAL is for a series in the making.
    """
    layout = layout or Layout()
    if partial is None:
        partial = bool(os.environ.get("PARTIAL"))
    base = bases.get(linux)
    with locked(layout.state / "tree.lock", "build/tree"):
        before = load_json(layout.state / "tree.json").get("head")
        result = assemble(layout, base, partial)
        git = write(layout, result, force, keep)
    if not quiet and (before != result.head or force):
        say(f"tree: Linux {base.version} + {len(result.commits)} patches, "
            f"{result.head[:12]}")
    return result, git


@contextlib.contextmanager
def using(linux=None, keep=False, layout=None):
    """Assemble build/tree and keep it from changing while it is read.

    Yields (Assembly, Git). Assemblies that would change a file wait.
    """
    layout = layout or Layout()
    while True:
        result, git = make(linux, keep=keep, layout=layout)
        with locked(layout.state / "tree.use", "build/tree", shared=True):
            now = load_json(layout.state / "tree.json").get("head")
            if now == result.head:
                yield result, git
                return
