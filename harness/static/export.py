# SPDX-License-Identifier: GPL-2.0
"""make series: the mail-ready series, and the proof that it is right.

build/series/ gets what git format-patch makes of the assembled commits, so
new files are folded in, and a cover letter from series/cover-letter.txt.
The proof: git am on a pristine base gives, patch by patch, the assembled
trees and messages; and at every step the objects that the series has
touched so far are built. Each step is one line of results, and has a stamp
(see stamps.py): while neither the mails nor what a step is built from
change, nothing is applied and built again.
"""

import re
import shutil
import tempfile
import time
from pathlib import Path

from ..build import kconfig, kernel
from ..common import paths, stamps
from ..common.run import LATE, HarnessError, locked, logged, say, time_is_up
from ..source import refresh, tree, worktree
from .base import Results

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


class Step:
    """What one patch changes, and what is built after it."""

    def __init__(self, number, mail, commit):
        self.number = number
        self.mail = mail
        self.commit = commit
        self.changed = []               # files of the patch
        self.targets = []               # every object touched so far
        self.suites = []                # selftests of the patch
        self.unit = None                # the stamp of what is built

    @property
    def name(self):
        """The name of its result."""
        return f"series {self.mail.name[:-len('.patch')]}"

    @property
    def kernel_side(self):
        """True when the patch can change objects of the kernel."""
        return any(not n.startswith(("tools/", "Documentation/"))
                   and n != "MAINTAINERS" for n in self.changed)


def _compiles_here(name):
    """True when the test configuration makes an object of a file."""
    return name.endswith((".c", ".S")) and \
        not name.startswith(("tools/", "Documentation/", "scripts/")) and \
        (not name.startswith("arch/") or name.startswith("arch/x86/"))


#: Minutes that a step may take.
STEP_NEEDS = 5


class Proof:
    """Applies the mails one by one and builds after each."""

    def __init__(self, result, letters, source=SOURCE, objects=OBJECTS,
                 add=None):
        self.result = result
        self.mails = letters
        self.source = source
        self.objects = objects
        self.add = add or (lambda *_: None)
        self._git = None
        self.stale = True               # the configuration is of another step

    @property
    def git(self):
        """git in the worktree of the proof, which is made when it is used."""
        if not self._git:
            self._git = worktree.ensure(self.result.base.git, self.source,
                                        self.result.base.commit)
        return self._git

    def steps(self):
        """The steps of the assembled series."""
        git, parent, sources, found = self.result.base.git, \
            self.result.base.commit, [], []
        for number, (mail, commit) in enumerate(
                zip(self.mails, self.result.commits), 1):
            step = Step(number, mail, commit)
            step.changed = git.lines("diff-tree", "-r", "-z", "--name-only",
                                     "--no-renames", parent, commit)
            sources += [n for n in step.changed
                        if _compiles_here(n) and n not in sources]
            there = set(git.lines("ls-tree", "-r", "-z", "--name-only",
                                  commit, "--", *sources)) if sources else ()
            step.targets = sorted({re.sub(r"\.[cS]$", ".o", n)
                                   for n in sources if n in there})
            step.suites = sorted({n[len(SELFTESTS):].split("/")[0]
                                  for n in step.changed
                                  if n.startswith(SELFTESTS)
                                  and n.count("/") > 3})
            step.unit = stamps.Unit(
                "series-step", step.name, step.kernel_side, step.targets,
                stamps.compiled(git, commit), step.suites,
                stamps.entries(git, commit, SELFTESTS) if step.suites else [],
                sorted(kconfig.read(("common", "series")).items()),
                stamps.version("gcc"), stamps.version("ld"),
                stamps.code("static.export", "build.kernel", "build.kconfig"))
            found.append(step)
            parent = commit
        return found

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

    def configure(self, label):
        """Ask for all options that there are by now."""
        symbols = kernel.wanted(("common", "series"), self.git, True,
                                partial=True, quiet=True)
        kernel.configure(self.source, self.objects, symbols, label)
        self.stale = False

    def build(self, step, add):
        """Build what the series has touched up to this patch."""
        log = paths.LOG / f"series-{step.mail.name[:4]}.log"
        label = f"step {step.mail.name[:4]}"
        if self.stale:
            self.configure(label)
        done = []
        if step.kernel_side:
            steps = kernel.make(
                kernel.command(self.source, self.objects, *step.targets,
                               "kernel/liveupdate/"),
                log, label, kernel.estimate("series step"))
            kernel.remember("series step", steps)
            for name in step.targets:
                if not (self.objects / name).is_file():
                    raise HarnessError(f"{label}: {name} is not built by the "
                                       "test configuration")
            done.append(f"{len(step.targets)} objects")
        done += self.user_space(label, step.suites)
        add(True, step.name, "builds: " + ", ".join(done) if done
            else "nothing to build")

    def user_space(self, label, suites):
        """Build the selftests that a step touches; what was built."""
        for suite in suites:
            log = paths.LOG / f"series-selftests-{suite}.log"
            logged(kernel.command(self.source, self.objects, "headers"), log, label,
                   env=kernel.environment())
            logged(["make", "-C", str(self.source / SELFTESTS), f"TARGETS={suite}",
                    f"O={self.objects}", "FORCE_TARGETS=1", "ARCH=x86_64"],
                   log, f"{label}: selftests/{suite}",
                   env=kernel.environment())
        return [f"selftests/{suite}" for suite in suites]

    def run(self, objects=True):
        """The whole proof; raises HarnessError where it fails."""
        steps = self.steps()
        applied = stamps.Unit(
            "series-am", self.result.base.commit, self.result.commits,
            [(m.name, m.read_text(encoding="utf-8")) for m in self.mails],
            stamps.version("git"), stamps.code("static.export", "source.git", "source.worktree"))
        done = {step for step in steps if objects
                and step.unit.replay(self.add)}
        if len(done) == len(steps) * objects and applied.replay(self.add):
            return
        start, building = time.monotonic(), 0.0
        self.pristine()
        for step in steps:
            self.apply(step.mail, step.commit)
            if any("Kconfig" in n for n in step.changed):
                self.stale = True
            if objects and step not in done and time_is_up(STEP_NEEDS):
                self.add(None, step.name, LATE)
            elif objects and step not in done:
                began = time.monotonic()
                step.unit.run(self.add,
                              lambda add, s=step: self.build(s, add))
                building += time.monotonic() - began
        here = self.git("rev-parse", "HEAD^{tree}")
        there = self.git("rev-parse", f"{self.result.head}^{{tree}}")
        if here != there:
            raise HarnessError("the applied series is not the assembled tree")
        result = (True, "series git am", f"{len(self.mails)} mails on Linux "
                  f"{self.result.base.version} give the assembled tree")
        applied.keep([result], time.monotonic() - start - building)
        self.add(*result)


def make(linux=None, objects=True):
    """make series; the exit status."""
    result, git = tree.make(linux)
    letters = write(result, git)
    say(f"series: {len(letters)} patches and a cover letter in build/series")
    results = Results()
    stale = refresh.stale(result, git, paths.SERIES)
    results.add(not stale, "series refresh", "make refresh on an unchanged "
                "tree changes nothing", "\n".join(stale))
    with locked(paths.STATE / "series.lock", "the proof of the series"):
        try:
            Proof(result, letters, add=results.add).run(objects)
        except HarnessError as error:
            results.add(False, "series", "the proof failed", str(error))
    stamps.prune()
    return 1 if results.failed else 0
