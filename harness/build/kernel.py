# SPDX-License-Identifier: GPL-2.0
"""Kernel builds: configuration, make with a progress bar, images.

Every kernel has an O= tree of its own in the build folder:

=======  ============  =====================================================
name     objects       what
=======  ============  =====================================================
a        obj           the series
b        obj-b         the same with another LOCALVERSION and b.config; it
                       starts from a copy of a's objects
kho      obj-kho       a plus upstream's KHO test, which runs at every boot
bench    obj-bench     a without the tests of the series, for "make bench"
many     obj-many      a with a large timeline, for the same
host     obj-host      the series on a kernel for large machines; it updates to
                       itself
base     base/obj      the unpatched base; the image is kept in the cache
debug    obj-debug     the series with KASAN, lockdep and so on
debug-b  obj-debug-b   to debug what b is to a
kcsan    obj-kcsan     the series with KCSAN, which finds data races
=======  ============  =====================================================

The image becomes build/bzImage-NAME, modules build/modules-NAME.

ccache sees paths relative to the object tree. Each source tree is therefore
named "tree" and lies beside its object trees: build/tree and build/obj,
build/base/tree and build/base/obj. So all of them share one cache.
"""

import hashlib
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

from ..common import paths
from ..common.progress import Progress
from ..common.run import (HarnessError, load_json, locked, logged, notice, output,
                          save_json, say, tail, write_if_changed)
from ..source import base as bases
from ..source import tree, worktree
from . import kconfig


class Spec:
    """One kernel: its configuration and where its objects come from."""

    def __init__(self, name, fragments, objects, seed=None, patched=True):
        self.name = name
        self.fragments = fragments
        self.objects = paths.BUILD / objects
        self.seed = seed                # the kernel whose objects it reuses
        self.patched = patched
        self.localversion = f"-{name}"
        self.image = paths.BUILD / f"bzImage-{name}"
        self.modules = paths.BUILD / f"modules-{name}"


KERNELS = {spec.name: spec for spec in (
    Spec("a", ("common", "series"), "obj"),
    Spec("b", ("common", "series", "b"), "obj-b", seed="a"),
    Spec("kho", ("common", "series", "kho"), "obj-kho", seed="a"),
    Spec("bench", ("common", "series", "bench"), "obj-bench", seed="a"),
    Spec("many", ("common", "series", "many"), "obj-many", seed="a"),
    Spec("host", ("common", "series", "host"), "obj-host"),
    Spec("base", ("common",), "base/obj", patched=False),
    Spec("debug", ("common", "series", "debug"), "obj-debug"),
    Spec("debug-b", ("common", "series", "debug", "b"), "obj-debug-b",
         seed="debug"),
    Spec("kcsan", ("common", "series", "kcsan"), "obj-kcsan"),
)}

class Toolchain:
    """What compiles a kernel, for which architecture."""

    def __init__(self, compiler="gcc", arch="x86_64", prefix=""):
        self.compiler = compiler
        self.arch = arch
        self.prefix = prefix            # of the binutils, and of gcc

    @property
    def program(self):
        """The compiler as it is called."""
        return self.compiler if "clang" in self.compiler \
            else self.prefix + self.compiler

    def arguments(self):
        """The variables of make."""
        cache = "ccache " if shutil.which("ccache") else ""
        return [f"ARCH={self.arch}", f"CC={cache}{self.program}",
                f"HOSTCC={cache}gcc",
                *([f"CROSS_COMPILE={self.prefix}"] if self.prefix else [])]


#: What every kernel that runs is built with.
NATIVE = Toolchain()

#: Lines of a first build, until the cache knows better.
GUESS = {"a": 1944, "base": 1930, "debug": 2000, "host": 2100, "kcsan": 1960}

#: What must not reach kbuild from the user's environment or our Makefile.
SCRUB = re.compile(r"(MAKE|MFLAGS|KBUILD|KCONFIG|CCACHE|INSTALL_|GIT_|"
                   r"(LOCALVERSION|ARCH|CROSS_COMPILE|KCFLAGS|KCPPFLAGS|"
                   r"CC|LD|HOSTCC|LLVM|[A-Z])$)")

#: A line of kbuild's short output: "  CC      init/main.o".
STEP = re.compile(r"  [A-Z][A-Z0-9_+-]*(?: \[[MU]\])? +\S")


def jobs():
    """How many compilers to run at once."""
    return int(os.environ.get("JOBS") or len(os.sched_getaffinity(0)))


def environment():
    """The environment of every kernel build.

    ccache is told that paths below the build folder may be read relative
    to the object tree, so that checkouts at different places share it, and
    the build's date and place are fixed, so that equal sources give equal
    objects. It knows a file again by the headers that the compiler lists, and
    does not preprocess it, which takes nearly a third of a first build: two
    configurations share next to nothing anyway.
    """
    env = {k: v for k, v in os.environ.items() if not SCRUB.match(k)}
    env.update(
        LC_ALL="C",
        CCACHE_DIR=str(paths.CACHE / "ccache"),
        CCACHE_BASEDIR=str(paths.BUILD),
        CCACHE_NOHASHDIR="1",
        CCACHE_DEPEND="1",
        CCACHE_MAXSIZE="5G",
        CCACHE_SLOPPINESS="time_macros,include_file_mtime,include_file_ctime",
        KBUILD_BUILD_TIMESTAMP="Thu Jan  1 00:00:00 UTC 2026",
        KBUILD_BUILD_USER="liveupdate",
        KBUILD_BUILD_HOST="harness",
        KBUILD_BUILD_VERSION="1")
    return env


def command(source, objects, *targets, localversion="", parallel=None,
            toolchain=NATIVE):
    """The make command line for targets of a source and an object tree."""
    return ["make", "-C", str(source), f"O={objects}",
            *toolchain.arguments(), f"LOCALVERSION={localversion}",
            f"-j{parallel or jobs()}", *targets]


def compiler_version():
    """What the objects depend on besides sources and configuration."""
    return output(["gcc", "--version"]).splitlines()[0]


# --- configuration -----------------------------------------------------------

def wanted(fragments, git, patched, partial=None, quiet=False):
    """The symbols to ask for in this tree.

    A symbol of series.config that no Kconfig file defines is an error, as a
    test would silently be missing; while the series is being written
    (partial, or PARTIAL in the environment) it is left out.
    """
    if partial is None:
        partial = bool(os.environ.get("PARTIAL"))
    symbols = kconfig.read(fragments)
    if patched:
        ours = kconfig.read(["series"])
        absent = sorted(set(ours) - kconfig.defined(git))
        if absent and not partial:
            raise HarnessError(
                "harness/config/series.config asks for what no Kconfig file "
                "of build/tree defines: " + " ".join(absent) +
                "\n(PARTIAL=1 builds without, for a series in the making)")
        for name in absent:
            symbols.pop(name, None)
        if absent and not quiet:
            notice("not in the tree yet: " + " ".join(absent))
    return symbols


def outcome(source, objects, symbols, label, toolchain=NATIVE):
    """The configuration Kconfig makes of these symbols, whatever it is."""
    objects.mkdir(parents=True, exist_ok=True)
    asked = objects / "harness.config"
    asked.write_text(kconfig.text(symbols), encoding="utf-8")
    made = objects / ".config.harness"
    env = dict(environment(), KCONFIG_ALLCONFIG=str(asked),
               KCONFIG_CONFIG=str(made))
    logged(command(source, objects, "allnoconfig", toolchain=toolchain),
           paths.LOG / f"config-{label}.log", f"configuration of {label}",
           env=env)
    config = made.read_text(encoding="utf-8")
    for leftover in objects.glob(".config.harness*"):
        leftover.unlink()
    return config


def configure(source, objects, symbols, label):
    """Write objects/.config if it changes; all symbols must be granted."""
    config = outcome(source, objects, symbols, label)
    missing = kconfig.lost(symbols, config)
    if missing:
        raise HarnessError(f"the configuration of {label} did not turn out "
                           "as asked:\n  " + "\n  ".join(missing))
    write_if_changed(objects / ".config", config)
    return config


# --- running make ------------------------------------------------------------

def errors_of(log):
    """The part of a build log that tells what went wrong."""
    lines = Path(log).read_text(encoding="utf-8",
                                errors="replace").splitlines()
    marks = [i for i, line in enumerate(lines)
             if re.search(r"\b(error|undefined reference|multiple definition)"
                          r"\b|\*\*\* ", line, re.I)]
    if not marks:
        return tail(log)
    start = max(0, marks[0] - 5)
    return "\n".join(lines[start:start + 40])


def make(args, log, label, total, env=None, quiet=False):
    """Run make with a progress bar; return the number of steps it took."""
    log = Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    bar = None if quiet else Progress(label, total)
    steps = 0
    with open(log, "w", encoding="utf-8", errors="replace") as out:
        out.write("+ " + " ".join(args) + "\n")
        with subprocess.Popen(args, env=env or environment(), text=True,
                              errors="replace", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as child:
            for line in child.stdout:
                out.write(line)
                if STEP.match(line):
                    steps += 1
                    if bar:
                        bar.update(steps)
    if child.returncode:
        if bar:
            bar.finish("failed")
        raise HarnessError(f"{label} failed:\n{errors_of(log)}\n"
                           f"full log: {log}")
    if bar:
        bar.finish(f"{steps} steps")
    return steps


_TOTALS = threading.Lock()


def estimate(kind):
    """Steps that a build of this kind took the last time."""
    known = load_json(paths.CACHE / "progress.json")
    return known.get(kind) or GUESS.get(kind) or 60


def remember(kind, steps):
    """Record the steps for the next estimate."""
    with _TOTALS:
        known = load_json(paths.CACHE / "progress.json")
        known[kind] = steps
        save_json(paths.CACHE / "progress.json", known)


# --- one kernel --------------------------------------------------------------

def object_lock(name):
    """Keeps a kernel's object tree to one process."""
    return locked(paths.STATE / f"kernel-{name}.lock", f"kernel {name}")


def build(spec, source, git, config_key, symbols):
    """Build one kernel from a source worktree; nothing when up to date."""
    stamp = paths.STATE / f"kernel-{spec.name}.json"
    key = None
    if not git.try_run("diff-index", "--quiet", "HEAD").returncode:
        key = hashlib.sha256("\n".join(
            [git("rev-parse", "HEAD^{tree}"), config_key, spec.localversion,
             compiler_version(), str(environment()["KBUILD_BUILD_TIMESTAMP"])]
        ).encode()).hexdigest()
        known = load_json(stamp)
        if known.get("key") == key and spec.image.is_file() and \
                (spec.modules.is_dir() or not known.get("modules")):
            return False
    stamp.unlink(missing_ok=True)
    label = f"kernel {spec.name}"
    if spec.seed:
        copy_objects(spec.seed, spec.objects)
    first = not spec.seed and not (spec.objects / "vmlinux").is_file()
    config = configure(source, spec.objects, symbols, spec.name)
    kind = spec.name if first else f"{spec.name} again"
    targets = ["bzImage"]
    modular = re.search(r"^CONFIG_\w+=m$", config, re.M) is not None
    if modular:
        targets.append("modules")
    steps = make(command(source, spec.objects, *targets,
                         localversion=spec.localversion),
                 paths.LOG / f"kernel-{spec.name}.log", label,
                 estimate(kind))
    remember(kind, steps)
    shutil.rmtree(spec.modules, ignore_errors=True)
    if modular:
        logged(command(source, spec.objects, "modules_install",
                       f"INSTALL_MOD_PATH={spec.modules}",
                       "INSTALL_MOD_STRIP=1",
                       localversion=spec.localversion),
               paths.LOG / f"modules-{spec.name}.log",
               f"modules of {spec.name}", env=environment())
    shutil.copy2(spec.objects / "arch/x86/boot/bzImage", spec.image)
    if key:
        save_json(stamp, {"key": key, "modules": modular})
    say(f"kernel: {spec.image.relative_to(paths.ROOT)}")
    return True


def copy_objects(name, objects):
    """Make an object tree an exact copy of a kernel's, images excepted.

    Objects keep their time stamps; what a differing option or LOCALVERSION
    touches is then rebuilt by kbuild's own rules.
    """
    seed = KERNELS[name].objects
    objects.mkdir(parents=True, exist_ok=True)
    with object_lock(name):
        output(["rsync", "-a", "--delete", "--delete-excluded",
                "--exclude=/vmlinux*", "--exclude=/.tmp_vmlinux*",
                "--exclude=/arch/x86/boot/bzImage",
                "--exclude=/arch/x86/boot/vmlinux.bin",
                f"{seed}/", f"{objects}/"])
    # The build of objtool records absolute paths. Were it rebuilt, every
    # object would be, too.
    for record in (objects / "tools").rglob(".*.cmd"):
        text = record.read_text(encoding="utf-8")
        moved = text.replace(f"{seed}/", f"{objects}/")
        if moved != text:
            stat = record.stat()
            record.write_text(moved, encoding="utf-8")
            os.utime(record, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def build_patched(names, linux=None, keep=False):
    """Build kernels of the series, in the given order."""
    with tree.using(linux, keep) as (result, git):
        for name in names:
            spec = KERNELS[name]
            symbols = wanted(spec.fragments, git, True,
                             None if result.patches else True)
            with object_lock(name):
                build(spec, paths.TREE, git, repr(sorted(symbols.items())),
                      symbols)


def build_base(linux=None):
    """Build the unpatched base, or take the image from the cache."""
    base = bases.get(linux)
    spec = KERNELS["base"]
    symbols = kconfig.read(spec.fragments)
    key = hashlib.sha256("\n".join(
        [base.tree, kconfig.text(symbols), spec.localversion,
         compiler_version(), environment()["KBUILD_BUILD_TIMESTAMP"]]
    ).encode()).hexdigest()[:32]
    kept = paths.CACHE / "kernels" / f"base-{key}"
    stamp = paths.STATE / "kernel-base-cached.json"
    with object_lock("base"):
        if load_json(stamp).get("key") == key and spec.image.is_file():
            return
        if not kept.is_file():
            source = paths.BUILD / "base" / "tree"
            git = worktree.ensure(base.git, source, base.commit)
            if git("rev-parse", "HEAD") != base.commit or \
                    git.try_run("diff-index", "--quiet", "HEAD").returncode:
                git("reset", "--quiet", "--hard", base.commit)
            build(spec, source, git, repr(sorted(symbols.items())), symbols)
            kept.parent.mkdir(parents=True, exist_ok=True)
            temporary = kept.with_name(f".{kept.name}.{os.getpid()}")
            shutil.copy2(spec.image, temporary)
            os.replace(temporary, kept)
        else:
            shutil.copy2(kept, spec.image)
            say(f"kernel: {spec.image.relative_to(paths.ROOT)} (from the "
                "cache)")
        save_json(stamp, {"key": key})
