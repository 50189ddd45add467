# SPDX-License-Identifier: GPL-2.0
"""make refresh: edits of build/tree go back to where they belong.

Overlay files are copied. An edit of a file that upstream owns is folded
into the patch that touched the file last, or into the patch named by
PATCH= when none has yet. New files join the overlay with PATCH= only. All
of series/ is rewritten in one canonical form, without hashes, dates or
signatures, so that a second run changes nothing.
"""

import copy
import os
import shutil
import tempfile
from pathlib import Path

from ..common.run import (HarnessError, load_json, locked, notice, output, say,
                          write_if_changed)
from . import base as bases
from . import tree, worktree
from .git import Git, environment

DIFF = ("diff-tree", "-p", "--no-renames", "--no-color", "--no-ext-diff",
        "--unified=3", "--diff-algorithm=myers", "--indent-heuristic",
        "--src-prefix=a/", "--dst-prefix=b/")


def canonical_diff(git, old, new, exclude):
    """The difference of two trees without hashes and without some files."""
    changed = [n for n in git.lines("diff-tree", "-r", "-z", "--name-only",
                                    "--no-renames", old, new)
               if n not in exclude]
    if not changed:
        return ""
    text = git.raw(*DIFF, old, new, "--", *changed).decode("utf-8")
    # Only header lines start with "index": lines of a hunk have a mark.
    return "\n".join(line for line in text.split("\n")
                     if not line.startswith("index "))


def stale(result, git, folder):
    """Patches in a folder that are not in canonical form: make refresh would
    rewrite them although nothing was edited."""
    found = []
    parent = result.base.commit
    overlay = {name for patch in result.patches for name in patch.adds}
    for patch, commit in zip(result.patches, result.commits):
        if patch.name != "MAINTAINERS":
            fresh = copy.copy(patch)
            fresh.diff = canonical_diff(git, parent, commit, overlay)
            path = Path(folder) / f"{patch.name}.patch"
            if path.read_text(encoding="utf-8") != fresh.text():
                found.append(path.name)
        parent = commit
    return found


def untracked(git):
    """New files of the worktree that no .gitignore names.

    The distribution's top-level .gitignore ends in "/*", which would hide
    everything: it is read without that line, the others as they are.
    """
    ignore = git.where / ".gitignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() \
        if ignore.is_file() else []
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules"
        rules.write_text("\n".join(l for l in lines
                                   if l not in ("/*", "!/debian/")) + "\n",
                         encoding="utf-8")
        names = git.lines("ls-files", "-z", "--others",
                          f"--exclude-from={rules}")
        left = [n for n in names if "/" not in n]
        output(["git", "init", "-q", folder], env=environment())
        for top in sorted({n.split("/")[0] for n in names if "/" in n}):
            inside = [n[len(top) + 1:] for n in names
                      if n.startswith(top + "/")]
            judge = Git(git.where / top, GIT_DIR=str(Path(folder) / ".git"),
                        GIT_WORK_TREE=str(git.where / top))
            done = judge.try_run("check-ignore", "--no-index", "-z",
                                 "--stdin", data="\0".join(inside).encode())
            ignored = set(done.stdout.decode().split("\0"))
            left += [f"{top}/{n}" for n in inside if n not in ignored]
    return sorted(left)


def find_patch(patches, name):
    """The patch that the user named, by number or by file name."""
    name = os.path.basename(name)
    if name.endswith(".patch"):
        name = name[:-len(".patch")]
    found = [p for p in patches if name in (p.name, p.name[:4])]
    if len(found) != 1:
        raise HarnessError(f"no patch {name}; there are:\n  "
                           + "\n  ".join(p.name for p in patches))
    return found[0]


class Refresh:
    """One run: what was edited, where it goes, the new patches."""

    def __init__(self, layout, base, result, git, recorded, target):
        self.layout = layout
        self.result = result
        self.git = git
        self.recorded = recorded
        self.patches = [p for p in result.patches if p.name != "MAINTAINERS"]
        self.target = find_patch(self.patches, target) if target else None
        self.owner = {a: p for p in self.patches for a in p.adds}
        self.last = {part.path: p for p in self.patches for part in p.files()}
        self.base = base
        self.overlay = []               # edited or deleted overlay files
        self.folds = {}                 # path of upstream -> patch
        self.new = []                   # new files for the overlay

    def sort_out(self):
        """Decide where every edit goes; refuse what has no place."""
        edited = tree.edits(self.git, self.recorded)
        done = set(worktree.same_as(self.git, self.result.head, edited))
        edited = [n for n in edited if n not in done]
        errors = []
        moved = set(self.git.lines(
            "diff-tree", "-r", "-z", "--name-only", "--no-renames",
            self.recorded, self.result.head))
        homeless = []
        for name in edited:
            if name in moved:
                errors.append(f"{name} was edited in build/tree and in the "
                              "checkout: undo one of the two")
            elif name in self.owner:
                self.overlay.append(name)
            elif name == "MAINTAINERS":
                errors.append("MAINTAINERS is assembled from the one of the "
                              "checkout: edit that one")
            elif name in self.last:
                self.folds[name] = self.last[name]
            elif self.target:
                self.folds[name] = self.target
            else:
                homeless.append(name)
        if homeless:
            errors.append(
                "no patch touches these files yet, name the one they belong "
                "to with PATCH=:\n    " + "\n    ".join(homeless) +
                "\n  there are:\n    " +
                "\n    ".join(p.name for p in self.patches))
        if errors:
            raise HarnessError("\n  ".join(["nothing was changed:"] + errors))
        fresh = untracked(self.git)
        if fresh and self.target:
            self.new = [n for n in fresh if not
                        os.path.lexists(self.layout.root / n)]
        elif fresh:
            notice("new files stay in build/tree until PATCH= names the "
                   "patch that adds them: " + " ".join(fresh[:10]))

    def carry(self):
        """Write overlay and series; return the names of what changed."""
        changed = []
        for name in self.overlay + self.new:
            source = self.git.where / name
            target = self.layout.root / name
            changed.append(name)
            if not os.path.lexists(source):
                target.unlink()
                self.owner[name].adds.remove(name)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_symlink() or source.is_symlink():
                if os.path.lexists(target):
                    target.unlink()
            shutil.copy2(source, target, follow_symlinks=False)
        for name in self.new:
            self.target.adds.append(name)
            self.target.adds.sort()
        parent = self.base.commit
        overlay = set(self.owner) | set(self.new)
        for patch, commit in zip(self.patches, self.result.commits):
            mine = [n for n, p in self.folds.items() if p is patch]
            after = self._with(commit, mine) if mine else commit
            patch.diff = canonical_diff(self.git, parent, after, overlay)
            name = f"{patch.name}.patch"
            if write_if_changed(self.layout.series / name, patch.text()):
                changed.append(f"series/{name}")
            parent = commit
        return changed

    def _with(self, commit, names):
        """A tree: the commit with files as they are in the worktree."""
        index = self.git.with_env(
            GIT_INDEX_FILE=str(self.layout.state / "refresh.index"))
        index("read-tree", commit)
        for name in names:
            entry = worktree.file_entry(self.git.where / name)
            if entry is None:
                index("update-index", "--force-remove", "--", name)
                continue
            data = (os.readlink(self.git.where / name).encode()
                    if entry[0] == "120000"
                    else (self.git.where / name).read_bytes())
            blob = index("hash-object", "-w", "--stdin", data=data)
            index("update-index", "--add", "--cacheinfo",
                  f"{entry[0]},{blob},{name}")
        return index("write-tree")


def run(layout, base, target=None):
    """Refresh one checkout; return the names of the files that changed."""
    with locked(layout.state / "tree.lock", "build/tree"):
        recorded = load_json(layout.state / "tree.json").get("head")
        if not recorded or not worktree.usable(layout.tree):
            raise HarnessError("there is no build/tree yet: run 'make tree'")
        result = tree.assemble(layout, base, partial=True)
        git = Git(layout.tree)
        job = Refresh(layout, base, result, git, recorded, target)
        job.sort_out()
        changed = job.carry()
        result = tree.assemble(layout, base, partial=True)
        tree.write(layout, result)
    return changed


def make(target=None):
    """make refresh."""
    layout = tree.Layout()
    changed = run(layout, bases.get(), target)
    for name in changed:
        say(f"refreshed {name}")
    if not changed:
        say("nothing to refresh")
