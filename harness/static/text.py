# SPDX-License-Identifier: GPL-2.0
"""Static gates that read text: licences, MAINTAINERS, checkpatch, kernel-doc, ABI.

The first two take no time and are never stamped.
"""

import concurrent.futures
import fnmatch
import os
import re
import tempfile

from ..build import kernel
from ..common import paths, stamps
from ..source import tree
from . import export
from .base import tool

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
    """checkpatch --strict on every mail, in which each new file is: no finding."""
    command = ["perl", "scripts/checkpatch.pl", "--strict", "--no-signoff",
               "--ignore", ",".join(IGNORED), "--show-types",
               "--no-color", "--summary"]
    # It looks up commits and licences in a repository it does not find here.
    env = dict(os.environ, GIT_DIR="/nonexistent")

    def judge(mail, add):
        name = f"checkpatch {mail.name}"
        _, out, err = tool([*command, mail], env=env)
        total = re.search(r"^total: (\d+) errors, (\d+) warnings"
                          r"(?:, (\d+) checks)?", out, re.M)
        if not total:
            add(False, name, "checkpatch gives no summary", out + err)
            return
        sums = [int(n or 0) for n in total.groups()]
        found, others = FOREIGN_NAME.subn("", out[:total.start()])
        sums[2] -= others
        add(sum(sums) == 0, name,
            "{} errors, {} warnings, {} checks".format(*sums), found)

    # It is a file of the base, as is what it reads; names in mixed case may
    # come from any header.
    common = [subject.result.base.tree, subject.ids("include"), *command,
              stamps.version("perl"), stamps.code("static.text")]
    with tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor(kernel.jobs()) as pool:
        waiting = [pool.submit(collect, stamps.Unit("checkpatch", mail.name,
                                                    mail.read_text(encoding="utf-8"), *common),
                               lambda add, m=mail: judge(m, add))
                   for mail in export.mails(subject.result, subject.git, folder)]
        for future in waiting:
            for result in future.result():
                results.add(*result)


def collect(unit, work):
    """Run a unit of work and return the results instead of printing them."""
    found = []
    unit.run(lambda *result: found.append(result), work)
    return found


# --- documentation comments --------------------------------------------------

def kernel_doc(subject, results):
    """kernel-doc with every warning an error on the new C files."""
    common = [subject.ids("scripts/kernel-doc", "scripts/kernel-doc.py",
                          "tools/docs", "tools/lib/python"),
              stamps.version("python3"), stamps.code("static.text")]

    def judge(name, add):
        status, out, err = tool(["scripts/kernel-doc", "-Wall", "-Werror",
                                 "-none", name])
        clean = status == 0 and not (out + err).strip()
        add(clean, f"kernel-doc {name}", "", out + err)

    with concurrent.futures.ThreadPoolExecutor(kernel.jobs()) as pool:
        for found in pool.map(
                lambda name: collect(
                    stamps.Unit("kernel-doc", name, subject.ids(name),
                                *common),
                    lambda add: judge(name, add)), subject.kernel_c_and_h):
            for result in found:
                results.add(*result)


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

    def judge(add):
        _, out, err = tool(["tools/docs/get_abi.py", "validate"])
        for name in names:
            found = [line for line in (out + err).splitlines()
                     if name in line]
            found += abi_complaints((paths.TREE / name).read_text(
                encoding="utf-8"))
            add(not found, f"abi {name}", "", "\n".join(found))

    stamps.Unit("abi", subject.ids("Documentation/ABI", "tools/docs",
                                   "tools/lib/python"),
                names, stamps.version("python3"),
                stamps.code("static.text")).run(results.add, judge)


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
