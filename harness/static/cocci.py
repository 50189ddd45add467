# SPDX-License-Identifier: GPL-2.0
"""Static gate coccinelle: the kernel's semantic patches find nothing new.

New files must be free of findings; an upstream file that the series touches
must have none that it did not have before. Scripts report by Python or
OCaml; where spatch cannot run that, a script that can also mark the place or
patch it is used so, and its diff is the finding. What is left that cannot
run here is one line.

Reading the files takes spatch longer than matching, mostly, and many scripts
are used with the same options, so each worker keeps what it has read in a folder
of its own for each set of options.
"""

import collections
import concurrent.futures
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from ..build import kernel
from ..common import paths, stamps
from .base import added, tool

#: Ways to use a script, the best one first; the last two need no interpreter.
MODES = ("report", "patch", "context")
#: How spatch says that it lacks an interpreter.
NO_INTERPRETER = re.compile(r"Py\.|[Pp]ython|OCaml compiler")
#: Scripts that take three times as long with files that were read before.
READ_ANEW = {"kfree", "deref_null"}
#: Seconds that one script may take for all files.
LIMIT = 900


class CannotRun(Exception):
    """A script does not run on this machine; the text says why."""


def modes_of(text):
    """The modes that a semantic patch knows, in the order of MODES."""
    known = set()
    for line in re.findall(r"^virtual\s+(.+)$", text, re.M):
        known.update(re.findall(r"\w+", line))
    return [mode for mode in MODES if mode in known] or ["patch"]


def findings(mode, out, files):
    """{file: lines} of what spatch printed."""
    found = collections.defaultdict(list)
    if mode == "report":
        for line in out.splitlines():
            for name in files:
                if name in line:
                    found[name].append(line)
                    break
        return found
    name = None
    for line in out.splitlines():
        match = re.match(r"(?:diff .*|(?:---|\+\+\+) )\S*", line)
        if match:
            name = next((n for n in files if n in line), name)
        if name and line[:1] in "+-" and not match:
            found[name].append(line)
    return found


def reason_of(text):
    """One short line on why spatch gave up."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    last = " ".join(lines[-1].split()) if lines else "it fails without a word"
    return last if len(last) <= 90 else last[:87] + "..."


def spatch(script, files, cwd=None, kept=None):
    """Run a semantic patch on files; {file: lines}, or CannotRun.

    kept is a folder for what is read of the files, which are those of the tree then.
    """
    text = script.read_text(encoding="utf-8")
    options = re.search(r"Options:(.*)", text)
    options = options[1].split() if options else []
    if kept and script.stem not in READ_ANEW:
        own = Path(kept) / stamps.digest(options, threading.get_ident())
        own.mkdir(exist_ok=True)
        options = [*options, "--use-cache", "--cache-prefix", own]
    tree = str(paths.TREE)
    reason = None
    for mode in modes_of(text):
        status, out, err = tool(
            ["spatch", "-D", mode, "--very-quiet",
             *(["--no-show-diff"] if mode == "report" else []),
             "--cocci-file", script, *options,
             "-I", f"{tree}/arch/x86/include", "-I", f"{tree}/include",
             *files], cwd=cwd, timeout=LIMIT)
        if not status:
            return findings(mode, out, files)
        reason = reason or reason_of(err + out)
        if not NO_INTERPRETER.search(err):
            break
    raise CannotRun(reason)


def judge(script, new, touched, before, kept=None):
    """Lines that count against the series; the folder "before" has the unpatched files."""
    found = spatch(script, [*new, *touched], kept=kept)
    lines = [line for name in new for line in found.get(name, ())]
    here = [n for n in touched if found.get(n)]
    if here:
        old = spatch(script, here, cwd=before)
        for name in here:
            lines += added(old.get(name, ()), found[name])
    return lines


def _number(text):
    return [int(n) for n in re.findall(r"\d+", text)[:3]]


def summary_of_idle(idle):
    """One line on the scripts that cannot run: {reason: names}."""
    parts = []
    for reason, names in sorted(idle.items(), key=lambda item: -len(item[1])):
        shown = ", ".join(sorted(names)[:3])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        parts.append(f"{shown}{more}: {reason}")
    return "; ".join(parts)


def coccinelle(subject, results):
    """The kernel's semantic patches find nothing new."""
    if not shutil.which("spatch"):
        results.add(None, "coccinelle", "spatch is not installed")
        return
    if not subject.kernel_c:
        results.add(None, "coccinelle", "no new C files")
        return
    unit = stamps.Unit(
        "coccinelle", subject.ids("scripts/coccinelle", "include",
                                  "arch/x86/include"),
        sorted({str(Path(n).parent) for n in subject.kernel_c}),
        subject.ids(*subject.kernel_c_and_h),
        subject.ids(*[n for n in subject.touched if n.endswith((".c", ".h"))]),
        subject.result.base.tree, stamps.version("spatch"),
        stamps.version("python3"), stamps.code("static.cocci", "static.base"))
    unit.run(results.add, lambda add: _all(subject, add))


def _all(subject, add):
    """Every script on every file."""
    version = stamps.version("spatch").split()[2]
    folder = paths.TREE / "scripts" / "coccinelle"
    files = len(subject.kernel_c) + len(subject.touched_c)
    groups, idle = {}, collections.defaultdict(list)
    late = []

    def one(script):
        requires = re.search(r"Requires:\s*(\S+)",
                             script.read_text(encoding="utf-8"))
        if requires and _number(requires[1]) > _number(version):
            raise CannotRun(f"it wants spatch {requires[1]}, this is "
                            f"{version}")
        return judge(script, subject.kernel_c, subject.touched_c, before, kept)

    with tempfile.TemporaryDirectory() as before, \
            tempfile.TemporaryDirectory() as kept, \
            concurrent.futures.ThreadPoolExecutor(kernel.jobs()) as pool:
        for name in subject.touched:
            if name.endswith((".c", ".h")):
                path = Path(before) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(subject.base_text(name))
        running = {script: pool.submit(one, script)
                   for script in sorted(folder.rglob("*.cocci"))}
        for script, future in running.items():
            try:
                found = future.result()
            except CannotRun as reason:
                idle[str(reason)].append(script.stem)
                continue
            except subprocess.TimeoutExpired:
                late.append(script.stem)
                continue
            group = script.relative_to(folder).parts[0]
            groups.setdefault(group, []).append(found)
    for group, found in sorted(groups.items()):
        add(not any(found), f"coccinelle {group}",
            f"{len(found)} scripts on {files} files, "
            f"{len(subject.touched_c)} of them upstream's",
            "\n".join(line for lines in found for line in lines))
    if late:
        add(False, "coccinelle in time", f"not done after {LIMIT} s: "
            + ", ".join(late))
    if idle:
        add(None, "coccinelle scripts that cannot run here",
            f"{sum(map(len, idle.values()))} of {len(running)}; "
            + summary_of_idle(idle))
