# SPDX-License-Identifier: GPL-2.0
"""Static gates: everything that judges the series without booting it.

Each result is one line "ok|not ok|skip NAME - detail"; what a tool found is
printed before a "not ok". Gates can be run one by one:
python3 -m harness static checkpatch sparse
"""

import concurrent.futures
import fnmatch
import os
import re
import shutil
import subprocess
import tempfile

from . import export, kconfig, kernel, paths, tree
from .run import (HarnessError, locked, notice, output, say,
                  write_if_changed)

#: Folders whose C files become part of the kernel image or a module.
USER_SIDE = ("tools/", "Documentation/", "scripts/")

#: The object tree of W=1 and sparse, and that of switched-off options.
CHECKED = paths.BUILD / "obj-w1"
SWITCHED = paths.BUILD / "obj-off"


class Results:
    """Prints and counts results."""

    def __init__(self):
        self.failed = 0
        self.count = 0

    def add(self, good, name, detail="", found=""):
        """One result; good is True, False or None for skipped."""
        self.count += 1
        self.failed += good is False
        if found and good is False:
            say("\n".join("  | " + line for line in
                          found.strip().splitlines()[:40]))
        word = {True: "ok", False: "not ok", None: "skip"}[good]
        say(f"{word} {name}" + (f" - {detail}" if detail else ""))


class Subject:
    """What is judged: the assembled tree and the files that are new in it."""

    def __init__(self, result, git):
        self.result = result
        self.git = git
        self.patches = self.result.patches
        self.new = sorted(a for p in self.patches for a in p.adds)
        self.kernel_c = [n for n in self.new if n.endswith(".c")
                         and not n.startswith(USER_SIDE)]
        self.c_and_h = [n for n in self.new if n.endswith((".c", ".h"))]
        self.kernel_c_and_h = [n for n in self.c_and_h
                               if not n.startswith(USER_SIDE)]
        self.touched_c = sorted({
            part.path for p in self.patches for part in p.files()
            if part.path.endswith(".c")
            and not part.path.startswith(USER_SIDE)})

    def series_symbols(self):
        """{symbol: value} of the test kernel for this tree."""
        return kernel.wanted(("common", "series"), self.git, True,
                             None if self.patches else True, True)


def _tool(args, **kwargs):
    """Run a tool in build/tree; (exit status, stdout, stderr)."""
    done = subprocess.run([str(a) for a in args], cwd=paths.TREE, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, errors="replace", **kwargs)
    return done.returncode, done.stdout, done.stderr


#: What others call their functions and fields is not for us to judge.
FOREIGN_NAME = re.compile(
    r"^CHECK:CAMELCASE: Avoid CamelCase: "
    r"<(?:(?:BZ2_|G?Elf|LLVM|LZ4_|ZSTD_|inflate)\w*|num_VFs)>\n"
    r"(?:.+\n)*\n?", re.M)


# --- checkpatch --------------------------------------------------------------

#: New files are known to MAINTAINERS by a patch of their own; what the data of a
#: driver is compatible with has nothing to do with a devicetree.
IGNORED = ("FILE_PATH_CHANGES", "UNDOCUMENTED_DT_STRING")

def checkpatch(subject, results):
    """checkpatch --strict on every mail and every new file: no finding."""
    command = ["perl", "scripts/checkpatch.pl", "--strict", "--no-signoff",
               "--ignore", ",".join(IGNORED), "--show-types",
               "--no-color", "--summary"]
    # It looks up commits and licences in a repository it does not find here.
    env = dict(os.environ, GIT_DIR="/nonexistent")

    def judge(job):
        name, args = job
        _, out, err = _tool([*command, *args], env=env)
        total = re.search(r"^total: (\d+) errors, (\d+) warnings"
                          r"(?:, (\d+) checks)?", out, re.M)
        if not total:
            return False, name, "checkpatch gives no summary", out + err
        sums = [int(n or 0) for n in total.groups()]
        found, others = FOREIGN_NAME.subn("", out[:total.start()])
        sums[2] -= others
        return (sum(sums) == 0, name,
                "{} errors, {} warnings, {} checks".format(*sums), found)

    with tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor(kernel.jobs()) as pool:
        todo = [(f"checkpatch {mail.name}", [mail]) for mail in
                export.mails(subject.result, subject.git, folder)]
        todo += [(f"checkpatch -f {name}", ["-f", name])
                 for name in subject.new]
        for result in pool.map(judge, todo):
            results.add(*result)


# --- documentation comments --------------------------------------------------

def kernel_doc(subject, results):
    """kernel-doc with every warning an error on the new C files."""
    for name in subject.kernel_c_and_h:
        status, out, err = _tool(["scripts/kernel-doc", "-Wall", "-Werror",
                                  "-none", name])
        clean = status == 0 and not (out + err).strip()
        results.add(clean, f"kernel-doc {name}", found=out + err)


def abi_complaints(text):
    """What the kernel's own checker does not see: missing and odd tags."""
    known = {"What", "Date", "KernelVersion", "Contact", "Description",
             "Users"}
    found, blocks = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line[0].isspace():
            continue
        tag = line.partition(":")[0]
        if ":" not in line or tag not in known:
            found.append(f"line {number}: no tag of this format: {line}")
        elif tag == "What" and (not blocks or set(blocks[-1]) != {"What"}):
            blocks.append({"What": number})
        elif not blocks:
            found.append(f"line {number}: {tag} before any What")
        else:
            blocks[-1][tag] = number
    for block in blocks:
        lacking = known - set(block) - {"Users"}
        if lacking:
            found.append(f"line {block['What']}: the entry has no "
                         + ", ".join(sorted(lacking)))
    return found or ([] if blocks else ["it describes nothing"])


def abi(subject, results):
    """New files of Documentation/ABI are well-formed."""
    names = [n for n in subject.new if n.startswith("Documentation/ABI/")]
    if not names:
        return
    _, out, err = _tool(["tools/docs/get_abi.py", "validate"])
    for name in names:
        found = [line for line in (out + err).splitlines() if name in line]
        found += abi_complaints((paths.TREE / name).read_text(
            encoding="utf-8"))
        results.add(not found, f"abi {name}", found="\n".join(found))


def licences(subject, results):
    """Every new file tells its licence in its first three lines."""
    for name in subject.new:
        if name.startswith("Documentation/ABI/") or \
                name.endswith("/settings"):
            continue                    # no upstream file of these has one
        head = "\n".join((paths.TREE / name).read_text(
            encoding="utf-8", errors="replace").splitlines()[:3])
        if "SPDX-License-Identifier: " not in head:
            results.add(False, f"licence {name}", "no SPDX line")
            return
    results.add(True, "licence", f"{len(subject.new)} files have SPDX lines")


def maintainers(subject, results):
    """Every new file is covered by the entry in MAINTAINERS."""
    text = (paths.TREE / "MAINTAINERS").read_text(encoding="utf-8")
    entry = text.partition(f"\n{tree.ENTRY}\n")[2].partition("\n\n")[0]
    patterns = re.findall(r"^F:\t(\S+)$", entry, re.M)

    def covered(name):
        for pattern in patterns:
            if pattern.endswith("/"):
                if name.startswith(pattern):
                    return True
            elif fnmatch.fnmatch(name, pattern) and \
                    name.count("/") == pattern.count("/"):
                return True
        return False

    bare = [n for n in subject.new if not covered(n)]
    results.add(not bare, "maintainers", f"{len(subject.new)} files in "
                f"{tree.ENTRY}", "no F: line for: " + " ".join(bare))
    listed = tree.maintained(paths.ROOT)
    idle = [p for p in listed if not any((paths.TREE).glob(p.rstrip("/")))]
    results.add(not idle, "maintainers match", f"{len(listed)} F: lines",
                "no file matches: " + " ".join(idle))


# --- coccinelle --------------------------------------------------------------

def _spatch(script, files):
    """Run one semantic patch: (script, findings, why it cannot run).

    Nearly all can report; of one that can only patch, the diff is the
    finding.
    """
    text = script.read_text(encoding="utf-8")
    options = re.search(r"Options:(.*)", text)
    mode = ["report", "--no-show-diff"] \
        if re.search(r"^virtual .*\breport\b", text, re.M) else ["patch"]
    status, out, err = _tool(
        ["spatch", "-D", *mode, "--very-quiet",
         "--cocci-file", script, *(options[1].split() if options else []),
         "-I", "arch/x86/include", "-I", "include", *files], timeout=600)
    if status:
        return script, "", (err + out).strip().splitlines()[-1:] or ["fails"]
    if mode == ["patch"]:
        return script, out.strip(), None
    return script, "\n".join(
        line for line in out.splitlines()
        if any(name in line for name in files)), None


def coccinelle(subject, results):
    """The kernel's semantic patches find nothing in the new C files."""
    if not shutil.which("spatch"):
        results.add(None, "coccinelle", "spatch is not installed")
        return
    if not subject.kernel_c:
        results.add(None, "coccinelle", "no new C files")
        return
    version = output(["spatch", "--version"]).split()[2]

    def number(text):
        return [int(n) for n in re.findall(r"\d+", text)[:3]]

    folder = paths.TREE / "scripts" / "coccinelle"
    usable, groups = [], {}
    for script in sorted(folder.rglob("*.cocci")):
        requires = re.search(r"Requires:\s*(\S+)", script.read_text(
            encoding="utf-8"))
        if requires and number(requires[1]) > number(version):
            results.add(None, f"coccinelle {script.stem}",
                        f"needs spatch {requires[1]}, this is {version}")
        else:
            usable.append(script)
    with concurrent.futures.ThreadPoolExecutor(kernel.jobs()) as pool:
        for script, found, reason in pool.map(
                lambda s: _spatch(s, subject.kernel_c), usable):
            if reason:
                results.add(None, f"coccinelle {script.stem}",
                            "cannot run here: " + " ".join(reason))
                continue
            group = script.relative_to(folder).parts[0]
            groups.setdefault(group, []).append(found)
    for group, found in sorted(groups.items()):
        results.add(not any(found), f"coccinelle {group}",
                    f"{len(found)} scripts on {len(subject.kernel_c)} files",
                    "\n".join(f for f in found if f))


# --- compiler and sparse -----------------------------------------------------

def _compile(objects, targets, label, *extra):
    """Compile targets; the whole log, and whether make succeeded."""
    log = paths.LOG / f"static-{label}.log"
    done = True
    try:
        kernel.make(kernel.command(paths.TREE, objects, *targets, *extra),
                    log, f"static {label}",
                    kernel.estimate(f"static {label}"), quiet=True)
    except HarnessError:
        done = False
    return done, log.read_text(encoding="utf-8", errors="replace")


def _complaints(log):
    """Lines of a build log that are findings."""
    return "\n".join(line for line in log.splitlines() if re.search(
        r"warning:|error:|undefined reference|WARNING:|\*\*\* ", line))


def w1(subject, results):
    """The new C files compile without a warning at W=1."""
    if not subject.kernel_c:
        return
    kernel.copy_objects("a", CHECKED)
    kernel.configure(paths.TREE, CHECKED, subject.series_symbols(), "w1")
    for name in subject.kernel_c:
        (CHECKED / name).with_suffix(".o").unlink(missing_ok=True)
    targets = [re.sub(r"\.c$", ".o", n) for n in subject.kernel_c]
    good, log = _compile(CHECKED, targets, "w1", "W=1", "-k")
    lost = [t for t in targets if not (CHECKED / t).is_file()]
    found = _complaints(log)
    for name, target in zip(subject.kernel_c, targets):
        mine = "\n".join(l for l in found.splitlines() if name in l)
        results.add(not mine and target not in lost, f"W=1 {name}",
                    "" if target not in lost else "is not built", mine)
    # What the files include counts too.
    rest = "\n".join(l for l in found.splitlines()
                     if not any(n in l for n in subject.kernel_c))
    results.add(good and not rest, "W=1 headers", "", rest or log[-2000:])


def sparse(subject, results):
    """sparse has nothing to say on the new C files."""
    if not shutil.which("sparse"):
        results.add(None, "sparse", "not installed")
        return
    if not subject.kernel_c:
        return
    version = output(["sparse", "--version"]).strip()
    if not (CHECKED / ".config").is_file():
        kernel.copy_objects("a", CHECKED)
    # An unchanged file of the same folder shows whether this version of
    # sparse can read this kernel's headers at all.
    probe = "kernel/liveupdate/kho_block.o"
    _, log = _compile(CHECKED, [probe], "sparse-probe", "C=2", "W=1")
    if "not available or not up to date" in log:
        results.add(None, "sparse", f"the kernel does not accept version "
                    f"{version}")
        return
    told = [l for l in log.splitlines()
            if re.search(r": (error|warning): ", l)]
    if told:
        first = re.sub(r"^\S*/tree/", "", told[0])
        results.add(None, "sparse", f"version {version} does not understand "
                    f"this kernel: {len(told)} complaints on the unchanged "
                    f"{probe[:-2]}.c, the first: {first}")
        return
    targets = [re.sub(r"\.c$", ".o", n) for n in subject.kernel_c]
    good, log = _compile(CHECKED, targets, "sparse", "C=2", "W=1")
    found = _complaints(log)
    results.add(good and not found and log.count("  CHECK   ") > 0, "sparse",
                f"{version}, {log.count('  CHECK   ')} files", found)


# --- options switched off ----------------------------------------------------

def switched_off(subject, results):
    """With LIVEUPDATE and with each new option off, all still builds.

    The whole image is linked without LIVEUPDATE; for the others the objects
    are joined, and a symbol nobody defines that kernel A does not lack
    either is a finding.
    """
    ours = [s for s in kconfig.read(["series"])
            if s in kconfig.defined(subject.git)]
    full = subject.series_symbols()
    kernel.copy_objects("a", SWITCHED)
    known = _undefined(kernel.KERNELS["a"].objects)
    configs = {}
    for symbol in ["LIVEUPDATE", "LIVEUPDATE_MEMFD", *ours]:
        symbols = dict(full)
        symbols[symbol] = "n"
        # What depends on it goes with it, so not all that is asked is granted.
        configs[symbol] = kernel.outcome(paths.TREE, SWITCHED, symbols, f"off-{symbol}")

    def lost(symbol):
        return len(kconfig.lost(full, configs[symbol]))
    # Few headers change with one option, nearly all of them with many: those come last,
    # and none of it is built twice.
    for symbol in sorted(configs, key=lost):
        name, config = f"CONFIG_{symbol}=n", configs[symbol]
        if kconfig.parse(config).get(symbol):
            results.add(False, name, "cannot be switched off")
            continue
        write_if_changed(SWITCHED / ".config", config)
        target = "vmlinux" if symbol == "LIVEUPDATE" else "vmlinux_o"
        good, log = _compile(SWITCHED, [target, "modules"], f"off-{symbol}")
        found = _complaints(log)
        if good:
            lacking = _undefined(SWITCHED) - known
            found += "".join(f"\nundefined: {s}" for s in sorted(lacking))
        results.add(good and not found, name,
                    "builds" if good and not found else "",
                    found or log[-2000:])


def _undefined(objects):
    """Symbols that vmlinux.o leaves to the linker script and kallsyms."""
    return {line.split()[-1] for line in
            output(["nm", "-u", objects / "vmlinux.o"]).splitlines()}


GATES = {
    "licence": licences,
    "maintainers": maintainers,
    "checkpatch": checkpatch,
    "kernel-doc": kernel_doc,
    "abi": abi,
    "w1": w1,
    "sparse": sparse,
    "off": switched_off,
    "coccinelle": coccinelle,
}

#: Those that need the objects of kernel a.
COMPILE = {"w1", "sparse", "off", "coccinelle"}


def main(names=()):
    """Run all gates or those named; exit status 1 when one found something."""
    for name in names:
        if name not in GATES:
            raise HarnessError(f"no gate {name}; there are: "
                               + " ".join(GATES))
    results = Results()
    if COMPILE.intersection(names or GATES) and \
            not (kernel.KERNELS["a"].objects / "vmlinux").is_file():
        kernel.build_patched(["a"])
    with locked(paths.STATE / "static.lock", "the static gates"), \
            tree.using() as (result, git):
        subject = Subject(result, git)
        if not subject.patches:
            notice("the series is empty")
        for name in names or GATES:
            try:
                GATES[name](subject, results)
            except HarnessError as error:
                results.add(False, f"static {name}", "", str(error))
    return 1 if results.failed or not results.count else 0
