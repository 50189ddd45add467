# SPDX-License-Identifier: GPL-2.0
"""The files of series/ and the overlay they name.

One file series/NNNN-name.patch is one patch of the series::

    Subject: liveupdate: add the state machine

    Why, then what.

    Adds: kernel/liveupdate/luo_state.c
    ---
    diff --git a/kernel/liveupdate/Makefile b/kernel/liveupdate/Makefile
    ...

The "Adds:" lines name files of the overlay, which enter whole with this
patch and lie in the checkout at the path they have in the kernel. The
hunks are for files that upstream owns. Files are applied in the order of
their names.
"""

import fnmatch
import os
import re
import subprocess
from pathlib import Path

from ..common.run import HarnessError, notice

NAME = re.compile(r"\d{4}-[A-Za-z0-9._+-]+\.patch$")

#: Folders of a kernel tree that the repository uses for itself.
NOT_OVERLAY = {"LICENSES"}

#: Never part of the overlay when the checkout is no git repository.
DEBRIS = ("*.o", "*.ko", "*.mod", "*.cmd", "*.pyc", "*~", ".*.swp", "*.orig",
          "*.rej")


class FileDiff:
    """The part of a patch that changes one file."""

    def __init__(self, path, header):
        self.path = path
        self.header = [header]
        self.hunks = []

    def text(self, hunks=None):
        """This part as a patch of its own, with all or some hunks."""
        lines = list(self.header)
        for hunk in self.hunks if hunks is None else hunks:
            lines += hunk
        return "\n".join(lines) + "\n"

    @property
    def new(self):
        """True when the diff makes the file."""
        return any(h.startswith("new file mode") for h in self.header)


def lines_of(text):
    """Lines as git counts them: form feeds and the like do not end one."""
    return text.removesuffix("\n").split("\n") if text else []


def split_diff(text, where):
    """Split diff text into FileDiffs."""
    found = []
    old = new = 0
    for number, line in enumerate(lines_of(text), 1):
        if old > 0 or new > 0 or line.startswith("\\"):
            found[-1].hunks[-1].append(line)
            old -= line[:1] in (" ", "-", "")
            new -= line[:1] in (" ", "+", "")
            continue
        if line.startswith("diff --git "):
            match = re.match(r"diff --git a/(\S+) b/(\S+)$", line)
            if not match or match[1] != match[2]:
                raise HarnessError(f"{where}: renames and odd names are not "
                                   f"supported: {line}")
            found.append(FileDiff(match[1], line))
            continue
        if not found:
            raise HarnessError(f"{where}: line {number} of the diff belongs "
                               f"to no file: {line}")
        match = re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", line)
        if match:
            found[-1].hunks.append([line])
            old = int(match[1]) if match[1] is not None else 1
            new = int(match[2]) if match[2] is not None else 1
        elif found[-1].hunks:
            # A miscounted hunk: git apply --recount sorts it out.
            found[-1].hunks[-1].append(line)
        elif not line.startswith("index "):
            found[-1].header.append(line)
    return found


class Patch:
    """One entry of the series."""

    def __init__(self, name, subject, body, adds, notes="", diff=""):
        self.name = name                # file name without .patch
        self.subject = subject
        self.body = body                # without the Adds: lines
        self.adds = adds
        self.notes = notes              # text between "---" and the diff
        self.diff = diff

    @classmethod
    def parse(cls, path):
        """Read one file of series/."""
        path = Path(path)
        lines = lines_of(path.read_text(encoding="utf-8"))
        subject = []
        position = 0
        while position < len(lines) and lines[position]:
            line = lines[position]
            if line.startswith("Subject:"):
                subject.append(line[len("Subject:"):].strip())
            elif subject and line[:1].isspace():
                subject.append(line.strip())
            elif not re.match(r"(From |From:|Date:|[A-Za-z-]+: )", line):
                raise HarnessError(f"{path}:{position + 1}: expected "
                                   "'Subject: ...' and an empty line")
            position += 1
        title = re.sub(r"^\[[^]]*\]\s*", "", " ".join(subject))
        if not title:
            raise HarnessError(f"{path}: has no Subject:")
        body, adds = [], []
        for position in range(position, len(lines)):
            line = lines[position]
            if line == "---":
                break
            match = re.match(r"Adds:\s*(\S+)\s*$", line)
            if match:
                adds.append(match[1])
            elif line.startswith("Adds:"):
                raise HarnessError(f"{path}:{position + 1}: one path to each "
                                   "Adds: line")
            else:
                body.append(line)
        else:
            raise HarnessError(f"{path}: has no line '---' that ends the "
                               "commit message")
        rest = lines[position + 1:]
        start = next((i for i, line in enumerate(rest)
                      if line.startswith("diff --git ")), len(rest))
        notes = "\n".join(rest[:start]).strip()
        diff = "\n".join(rest[start:])
        return cls(path.name[:-len(".patch")], title,
                   "\n".join(body).strip(), adds, notes,
                   diff + "\n" if diff else "")

    @property
    def message(self):
        """The commit message."""
        return self.subject + "\n" + (f"\n{self.body}\n" if self.body else "")

    def text(self):
        """The canonical text of the file in series/."""
        parts = [f"Subject: {self.subject}\n"]
        if self.body:
            parts.append(f"\n{self.body}\n")
        if self.adds:
            parts.append("\n" + "".join(f"Adds: {a}\n" for a in self.adds))
        elif not self.body:
            parts.append("\n")
        parts.append("---\n")
        if self.notes:
            parts.append(f"{self.notes}\n\n")
        parts.append(self.diff)
        return "".join(parts)

    def files(self):
        """The diff by file."""
        return split_diff(self.diff, f"series/{self.name}.patch")


def load(folder):
    """All patches of the series, in order."""
    found = []
    for path in sorted(Path(folder).glob("*.patch")):
        if not NAME.match(path.name):
            raise HarnessError(f"{path}: a series file is named "
                               "NNNN-name.patch")
        found.append(Patch.parse(path))
    numbers = [p.name[:4] for p in found]
    for number in numbers:
        if numbers.count(number) > 1:
            raise HarnessError(f"series/: number {number} is used twice")
    return found


def overlay(root, folders):
    """Names of all overlay files: what lies in folders a kernel tree has."""
    root = Path(root)
    here = [f for f in sorted(folders)
            if f not in NOT_OVERLAY and (root / f).is_dir()]
    if not here:
        return []
    names = []
    if (root / ".git").exists():
        done = subprocess.run(
            ["git", "-C", str(root), "-c", "safe.directory=*", "ls-files",
             "-z", "--cached", "--others", "--exclude-standard", "--", *here],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            raise HarnessError("git ls-files: " + done.stderr.decode())
        names = done.stdout.decode().split("\0")
    else:
        for folder in here:
            for where, folders_here, files in os.walk(root / folder):
                folders_here[:] = [f for f in folders_here
                                   if f != "__pycache__"]
                names += [os.path.relpath(os.path.join(where, f), root)
                          for f in files
                          if not any(fnmatch.fnmatch(f, d) for d in DEBRIS)]
    return sorted({n for n in names if n and os.path.lexists(root / n)})


def check(patches, files, in_base, partial=False):
    """Refuse a series that does not name each overlay file exactly once.

    in_base(paths) returns those of the paths that the base has. A series in
    the making (partial) may leave files unnamed.
    """
    errors = []
    owner = {}
    for patch in patches:
        where = f"series/{patch.name}.patch"
        for path in patch.adds:
            if path in owner:
                errors.append(f"{path} is added by series/{owner[path]}.patch "
                              f"and by {where}")
            owner[path] = patch.name
            if path not in files:
                errors.append(f"{where} adds {path}, which does not exist")
    unnamed = [path for path in files if path not in owner]
    if partial and unnamed:
        notice(f"left out, as no patch adds them: {' '.join(unnamed)}")
    elif unnamed:
        errors += [f"{path} is named by no 'Adds:' in series/"
                   for path in unnamed]
    for path in sorted(in_base(files)):
        errors.append(f"{path} is a file of the base: change it by a hunk in "
                      "series/, not by a file of the overlay")
    for patch in patches:
        for part in patch.files():
            where = f"series/{patch.name}.patch"
            if part.path in files:
                errors.append(f"{where} has a hunk for the overlay file "
                              f"{part.path}")
            elif part.new:
                errors.append(f"{where} makes {part.path} by a hunk: a new "
                              "file belongs to the overlay and an 'Adds:'")
    if errors:
        raise HarnessError("the series does not fit the overlay:\n  "
                           + "\n  ".join(errors))
    return owner
