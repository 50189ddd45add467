# SPDX-License-Identifier: GPL-2.0
"""make series: the mail-ready series, and the proof that it is right.

build/series/ gets what git format-patch makes of the assembled commits, so
new files are folded in, and a cover letter from series/cover-letter.txt.
The proof: git am on a pristine base gives, patch by patch, the assembled
trees and messages; and at every step the objects that the series has
touched so far are built.
"""

import re
import shutil
import tempfile
from pathlib import Path

from . import base as bases
from . import kernel, paths, tree, worktree
from .run import HarnessError, locked, logged, say

OUT = paths.BUILD / "series"
SOURCE = paths.BUILD / "proof" / "tree"
OBJECTS = paths.BUILD / "proof" / "obj"
SELFTESTS = "tools/testing/selftests/"


def cover_letter():
    """Subject and text of the cover letter."""
    path = paths.SERIES / "cover-letter.txt"
    if not path.is_file():
        raise HarnessError("series/cover-letter.txt is missing: a line "
                           "'Subject: ...', an empty line, the text")
    first, _, text = path.read_text(encoding="utf-8").partition("\n")
    if not first.startswith("Subject:") or not text.strip():
        raise HarnessError(f"{path}: wants a line 'Subject: ...', an empty "
                           "line and text")
    return first[len("Subject:"):].strip(), text.strip()


def mails(result, git, folder, *options):
    """Let git format-patch write the mails into a folder; return the files."""
    git("format-patch", "--quiet", "--numbered", "--no-signature",
        "--zero-commit", "--no-renames", "--stat=72", *options, "-o", folder,
        f"{result.base.commit}..{result.head}")
    made = sorted(Path(folder).glob("*.patch"))
    for path, patch in zip(made[-len(result.patches):], result.patches):
        if patch.notes:
            mail = path.read_text(encoding="utf-8")
            path.write_text(mail.replace(
                "\n---\n", f"\n---\n{patch.notes}\n\n", 1), encoding="utf-8")
    return made


def write(result, git):
    """Write build/series/; return the patch files without the letter."""
    if not result.commits:
        raise HarnessError("the series has no patches")
    subject, text = cover_letter()
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=paths.BUILD) as folder:
        made = mails(result, git, folder, "--cover-letter")
        letter = made[0].read_text(encoding="utf-8")
        for mark, value in (("*** SUBJECT HERE ***", subject),
                            ("*** BLURB HERE ***", text)):
            if mark not in letter:
                raise HarnessError("git format-patch made no cover letter")
            letter = letter.replace(mark, value, 1)
        made[0].write_text(letter, encoding="utf-8")
        for old in OUT.glob("*.patch"):
            old.unlink()
        for path in made:
            shutil.move(str(path), OUT / path.name)
    return sorted(OUT.glob("*.patch"))[1:]


class Proof:
    """Applies the mails one by one and builds after each."""

    def __init__(self, result, letters, source=SOURCE, objects=OBJECTS):
        self.result = result
        self.mails = letters
        self.source = source
        self.objects = objects
        self.git = worktree.ensure(result.base.git, source,
                                   result.base.commit)
        self.sources = []               # every .c file touched so far
        self.configured = False

    def pristine(self):
        """Bring the worktree to the untouched base."""
        for state in ("rebase-apply", "rebase-merge"):
            where = Path(self.git("rev-parse", "--git-path", state))
            shutil.rmtree(self.source / where, ignore_errors=True)
        self.git("reset", "--quiet", "--hard", self.result.base.commit)
        self.git("clean", "-qfdx")
        found = self.git("status", "--porcelain")
        if found:
            raise HarnessError(f"{self.source} is not pristine:\n{found}")

    def apply(self, mail, commit):
        """git am one mail; the tree and message must be the assembled."""
        done = self.git.try_run("am", "--quiet", mail)
        if done.returncode:
            raise HarnessError(f"git am {mail.name}:\n"
                               + (done.stderr + done.stdout).decode())
        for what, form in (("tree", "%T"), ("message", "%B")):
            here = self.git("log", "-1", f"--format={form}", "HEAD")
            there = self.git("log", "-1", f"--format={form}", commit)
            if here != there:
                raise HarnessError(f"{mail.name}: after git am the {what} "
                                   "differs from the assembled one")

    def build(self, mail, parent, commit):
        """Build what the series has touched up to this patch."""
        changed = self.git.lines("diff-tree", "-r", "-z", "--name-only",
                                 "--no-renames", parent, commit)
        there = [n for n in changed if (self.source / n).is_file()]
        new = [n for n in there if n.endswith((".c", ".S"))
               and not n.startswith(("tools/", "Documentation/", "scripts/"))
               and not (n.startswith("arch/") and
                        not n.startswith("arch/x86/"))]
        self.sources = [n for n in self.sources + new
                        if (self.source / n).is_file()]
        log = paths.LOG / f"series-{mail.name[:4]}.log"
        label = f"step {mail.name[:4]}"
        if not self.configured or any("Kconfig" in n for n in changed):
            symbols = kernel.wanted(("common", "series"), self.git, True,
                                    partial=True, quiet=True)
            kernel.configure(self.source, self.objects, symbols, label)
            self.configured = True
        kernel_side = [n for n in changed if not
                       n.startswith(("tools/", "Documentation/"))
                       and n != "MAINTAINERS"]
        if kernel_side:
            targets = sorted({re.sub(r"\.[cS]$", ".o", n)
                              for n in self.sources})
            steps = kernel.make(
                kernel.command(self.source, self.objects, *targets,
                               "kernel/liveupdate/"),
                log, label, kernel.estimate("series step"))
            kernel.remember("series step", steps)
            for name in targets:
                if not (self.objects / name).is_file():
                    raise HarnessError(f"{label}: {name} is not built by the "
                                       "test configuration")
        self.user_space(label, changed)

    def user_space(self, label, changed):
        """Build the selftests that a step touches."""
        suites = {n[len(SELFTESTS):].split("/")[0] for n in changed
                  if n.startswith(SELFTESTS) and n.count("/") > 3}
        for suite in sorted(suites):
            log = paths.LOG / f"series-selftests-{suite}.log"
            logged(kernel.command(self.source, self.objects, "headers"), log, label,
                   env=kernel.environment())
            logged(["make", "-C", str(self.source / SELFTESTS), f"TARGETS={suite}",
                    f"O={self.objects}", "FORCE_TARGETS=1", "ARCH=x86_64"],
                   log, f"{label}: selftests/{suite}",
                   env=kernel.environment())

    def run(self, objects=True):
        """The whole proof."""
        self.pristine()
        parent = self.result.base.commit
        for mail, commit in zip(self.mails, self.result.commits):
            self.apply(mail, commit)
            if objects:
                self.build(mail, parent, commit)
            parent = commit
        here = self.git("rev-parse", "HEAD^{tree}")
        there = self.git("rev-parse", f"{self.result.head}^{{tree}}")
        if here != there:
            raise HarnessError("the applied series is not the assembled tree")


def make(linux=None, objects=True):
    """make series."""
    result, git = tree.make(linux)
    letters = write(result, git)
    say(f"series: {len(letters)} patches and a cover letter in build/series")
    with locked(paths.STATE / "series.lock", "the proof of the series"):
        Proof(result, letters).run(objects)
    say(f"series: git am on Linux {bases.get(linux).version} gives the "
        "assembled tree" + (", every step builds" if objects else ""))
