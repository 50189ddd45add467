# SPDX-License-Identifier: GPL-2.0
"""Static gates that compile: W=1, sparse, other toolchains, options off.

New files must compile without a word. An upstream file that the series
touches may say what it said before: when it says anything, the unpatched
file is compiled the same way, from a worktree and an object tree of the
base, and the two are compared. Nearly always nothing is said and the base
is not even checked out.

Objects of the native gates start as a copy of kernel a's, so that only what
is judged is compiled. The other toolchains compile the new and the touched
files and nothing else; what that needs (make prepare) takes half a minute.
"""

import re
import shutil
from pathlib import Path

from ..build import kconfig, kernel
from ..build.kernel import Toolchain
from ..common import paths, stamps
from ..common.run import HarnessError, output, write_if_changed
from ..source import worktree
from .base import added

#: The object tree of W=1 and sparse, that of the base for the same, and that
#: of switched-off options.
CHECKED = paths.BUILD / "obj-w1"
UNPATCHED = paths.BUILD / "base" / "obj-w1"
SWITCHED = paths.BUILD / "obj-off"

#: What the results of a compile gate depend on besides the files.
CODE = ("static.compile", "static.base", "build.kernel", "build.kconfig")

#: With CONFIG_WERROR a warning that upstream has would leave no object.
NO_ERROR = "KCFLAGS=-Wno-error"

CLANG = "clang"                         # the newest one, see newest_clang()
ARM64 = ("arm64", "aarch64-linux-gnu-")


def run_make(source, objects, targets, label, *extra,
             toolchain=kernel.NATIVE):
    """Compile targets; the whole log, and whether make succeeded."""
    log = paths.LOG / f"static-{label}.log"
    done = True
    try:
        kernel.make(kernel.command(source, objects, *targets, *extra,
                                   toolchain=toolchain),
                    log, f"static {label}",
                    kernel.estimate(f"static {label}"), quiet=True)
    except HarnessError:
        done = False
    return done, log.read_text(encoding="utf-8", errors="replace")


def complaints(log):
    """Lines of a build log that are findings."""
    return [line for line in log.splitlines() if re.search(
        r"\b[Ww]arning:|\berror:|undefined reference|WARNING:|\*\*\* ", line)]


def about(name, lines):
    """Those of the lines that speak of a file."""
    return [line for line in lines if re.search(
        rf"(?:(?<=tree/)|(?<![\w/-])){re.escape(name)}(?![\w-])", line)]


def object_of(name):
    """The object made from a C file."""
    return re.sub(r"\.c$", ".o", name)


def moved(lines, source):
    """The same lines for files of build/tree instead of another tree: tools that are
    given whole paths print them."""
    return [line.replace(f"{source}/", f"{paths.TREE}/") for line in lines]


def base_complaints(subject, names, label, *extra):
    """What the unpatched versions of these files are complained of for."""
    base = subject.result.base
    source = paths.BUILD / "base" / "tree"
    with kernel.object_lock("base"):
        git = worktree.ensure(base.git, source, base.commit)
        if git("rev-parse", "HEAD") != base.commit or \
                git.try_run("diff-index", "--quiet", "HEAD").returncode:
            git("reset", "--quiet", "--hard", base.commit)
        symbols = kernel.wanted(("common", "series"), git, True,
                                partial=True, quiet=True)
        config = kernel.outcome(source, UNPATCHED, symbols, f"base-{label}")
        write_if_changed(UNPATCHED / ".config", config)
        for name in names:
            (UNPATCHED / object_of(name)).unlink(missing_ok=True)
        _, log = run_make(source, UNPATCHED, [object_of(n) for n in names],
                          f"base-{label}", "-k", *extra)
    return moved(complaints(log), source)


class Judged:
    """The complaints of one build log, shared out to the files."""

    def __init__(self, subject, log):
        self.all = complaints(log)
        self.of = {name: about(name, self.all)
                   for name in subject.kernel_c + subject.touched_c}
        named = {line for lines in self.of.values() for line in lines}
        #: What the files include counts too.
        self.rest = [line for line in self.all if line not in named]


def native_unit(subject, kind, *more):
    """The stamp of a gate that compiles with the machine's own compiler."""
    return stamps.Unit(kind, subject.compiled(), subject.kernel_c,
                       subject.touched_c,
                       sorted(subject.series_symbols().items()),
                       stamps.version("gcc"), stamps.version("ld"),
                       stamps.code(*CODE), *more)


# --- W=1 ---------------------------------------------------------------------

def w1(subject, results):
    """New files compile without a warning at W=1, touched ones without a new one."""
    if subject.kernel_c:
        native_unit(subject, "w1").run(results.add,
                                       lambda add: _w1(subject, add))


def _w1(subject, add):
    names = subject.kernel_c + subject.touched_c
    kernel.copy_objects("a", CHECKED)
    kernel.configure(paths.TREE, CHECKED, subject.series_symbols(), "w1")
    for name in names:
        (CHECKED / object_of(name)).unlink(missing_ok=True)
    good, log = run_make(paths.TREE, CHECKED, [object_of(n) for n in names],
                         "w1", "-k", "W=1", NO_ERROR)
    judged = Judged(subject, log)
    noisy = [n for n in subject.touched_c if judged.of[n]]
    before = base_complaints(subject, noisy, "w1", "W=1", NO_ERROR) if noisy else []
    for name in names:
        mine = judged.of[name]
        detail = ""
        if name in noisy:
            mine = added(about(name, before), mine)
            detail = f"{len(judged.of[name]) - len(mine)} warnings are upstream's"
        built = (CHECKED / object_of(name)).is_file()
        add(not mine and built, f"W=1 {name}",
            detail if built else "is not built", "\n".join(mine))
    add(good and not judged.rest, "W=1 headers", "",
        "\n".join(judged.rest) or log[-2000:])


# --- sparse ------------------------------------------------------------------

def sparse(subject, results):
    """sparse has nothing to say on new files, and nothing new on touched ones."""
    if not shutil.which("sparse"):
        results.add(None, "sparse", "not installed")
    elif subject.kernel_c:
        native_unit(subject, "sparse", stamps.version("sparse")).run(
            results.add, lambda add: _sparse(subject, add))


def _sparse(subject, add):
    version = stamps.version("sparse")
    kernel.copy_objects("a", CHECKED)
    kernel.configure(paths.TREE, CHECKED, subject.series_symbols(), "sparse")
    # An unchanged file of the same folder shows whether this version of
    # sparse can read this kernel's headers at all.
    probe = "kernel/liveupdate/kho_block.o"
    _, log = run_make(paths.TREE, CHECKED, [probe], "sparse-probe", "C=2",
                      "W=1", NO_ERROR)
    if "not available or not up to date" in log:
        add(None, "sparse", f"the kernel does not accept version {version}")
        return
    told = [l for l in log.splitlines()
            if re.search(r": (error|warning): ", l)]
    if told:
        first = re.sub(r"^\S*/tree/", "", told[0])
        add(None, "sparse", f"version {version} does not understand "
            f"this kernel: {len(told)} complaints on the unchanged "
            f"{probe[:-2]}.c, the first: {first}")
        return
    names = subject.kernel_c + subject.touched_c
    good, log = run_make(paths.TREE, CHECKED, [object_of(n) for n in names],
                         "sparse", "-k", "C=2", "W=1", NO_ERROR)
    judged = Judged(subject, log)
    noisy = [n for n in subject.touched_c if judged.of[n]]
    found = [l for n in subject.kernel_c for l in judged.of[n]] + judged.rest
    if noisy:
        before = base_complaints(subject, noisy, "sparse", "C=2", "W=1",
                                 NO_ERROR)
        for name in noisy:
            found += added(about(name, before), judged.of[name])
        found = [l for l in found if l not in before]
    count = log.count("  CHECK   ")
    add(good and not found and count > 0, "sparse",
        f"{version}, {count} files", "\n".join(found))


# --- other toolchains --------------------------------------------------------

def clangs():
    """The clangs that are installed, the plain one and those with a number."""
    found = {}
    for folder in ("/usr/local/bin", "/usr/bin"):
        for path in Path(folder).glob("clang*"):
            match = re.fullmatch(r"clang(?:-(\d+))?", path.name)
            if match and shutil.which(path.name):
                found[path.name] = None
    for name in found:
        number = re.search(r"clang version (\d+(?:\.\d+)*)",
                           stamps.version(name))
        found[name] = tuple(int(n) for n in number[1].split(".")) \
            if number else ()
    return found


def oldest_clang(text):
    """The version that scripts/min-tool-version.sh wants for x86 and arm64."""
    part = text.partition("\nllvm)")[2].partition(";;")[0]
    numbers = re.findall(r"echo (\d+(?:\.\d+)+)", part)
    if not numbers:
        raise HarnessError("scripts/min-tool-version.sh does not tell which "
                           "clang the kernel wants")
    return tuple(int(n) for n in numbers[-1].split("."))


def newest_clang(wanted, known):
    """(program, why there is none): the newest clang that the kernel takes."""
    name = max(known, key=lambda n: known[n], default=None)

    def shown(version):
        return ".".join(map(str, version))
    if name is None:
        return None, "clang is not installed"
    if known[name] < wanted:
        return None, f"the newest clang here is {shown(known[name])}, the " \
                     f"kernel wants {shown(wanted)}"
    return name, ""


def toolchain_of(compiler, arch, prefix):
    """(Toolchain, why it cannot be used)."""
    if prefix and not shutil.which(f"{prefix}ld"):
        return None, f"{prefix}ld is not installed"
    if compiler == CLANG:
        text = (paths.TREE / "scripts/min-tool-version.sh").read_text(
            encoding="utf-8")
        compiler, why = newest_clang(oldest_clang(text), clangs())
        if why:
            return None, why
    elif not shutil.which(prefix + compiler):
        return None, f"{prefix}{compiler} is not installed"
    return Toolchain(compiler, arch, prefix), ""


def other(name, compiler, arch="x86_64", prefix=""):
    """A gate: new and touched files compile with another toolchain."""
    def gate(subject, results):
        if not subject.kernel_c:
            return
        toolchain, why = toolchain_of(compiler, arch, prefix)
        if why:
            results.add(None, name, why)
            return
        stamps.Unit(name, subject.compiled(), subject.kernel_c,
                    subject.touched_c,
                    sorted(subject.series_symbols().items()),
                    stamps.version(toolchain.program),
                    stamps.version(f"{prefix}ld"), stamps.version("gcc"),
                    stamps.code(*CODE)).run(
            results.add, lambda add: _other(subject, name, toolchain, add))
    gate.__doc__ = f"New and touched files compile: {name}."
    return gate


def depends_on(symbol, others, text):
    """True when the entry of a symbol in a Kconfig file says that it needs one of the
    others, whatever else."""
    entry = re.search(rf"^config {symbol}\n((?:[\t ].*\n|\n)*)", text, re.M)
    return bool(entry and re.search(rf"^\s+depends on (?:\w+ && )*(?:{'|'.join(others)})"
                                    r"(?: && [\w=]+)*$", entry[1], re.M))


def made_for(symbol, makefile):
    """The C files that a Makefile compiles for a symbol alone."""
    return [word[:-1] + "c" for line in re.findall(
        rf"^obj-\$\(CONFIG_{symbol}\)\s*\+=(.*)$", makefile, re.M)
        for word in line.split() if word.endswith(".o")]


def _for_x86(subject, symbols):
    """(those of the symbols that are for x86 only, the files they build)."""
    there, files = ["X86", "X86_64"], []
    folders = [(paths.TREE / name).parent for name in subject.touched
               if Path(name).name == "Kconfig"]
    texts = {folder: (folder / "Kconfig").read_text(encoding="utf-8") for folder in folders}
    known = 0
    while known < len(there):           # what needs such a symbol is one, too
        known = len(there)
        for folder, text in texts.items():
            for symbol in symbols:
                if symbol not in there and depends_on(symbol, there, text):
                    there.append(symbol)
                    files += [str((folder / file).relative_to(paths.TREE))
                              for file in made_for(symbol, (folder / "Makefile").read_text(
                                  encoding="utf-8"))]
    return there[2:], files


def _other(subject, name, toolchain, add):
    objects = paths.BUILD / f"obj-{name}"
    symbols = dict(subject.series_symbols())
    if toolchain.arch != kernel.NATIVE.arch:
        # What x86 has without being asked, and files of drivers/pci want; and what
        # was not tried there, but can be compiled.
        symbols.update(EFI="y", ACPI="y", COMPILE_TEST="y")
    config = kernel.outcome(paths.TREE, objects, symbols, name, toolchain)
    have = kconfig.parse(config)
    lost = [s for s in kconfig.read(["series"]) if s in symbols
            and have.get(s, "n") != symbols[s]]
    elsewhere, left_out = [], []
    if toolchain.arch != kernel.NATIVE.arch:
        elsewhere, left_out = _for_x86(subject, lost)
    lost = sorted(set(lost) - set(elsewhere))
    if lost:
        add(False, f"{name} configuration", "what the series adds cannot be "
            "switched on there", "\n".join(lost))
        return
    write_if_changed(objects / ".config", config)
    names = [n for n in subject.kernel_c + subject.touched_c
             if n not in left_out and (not n.startswith("arch/")
             or n.startswith(f"arch/{toolchain.arch.replace('x86_64', 'x86')}/"))]
    for file in names:
        (objects / object_of(file)).unlink(missing_ok=True)
    good, log = run_make(paths.TREE, objects, [object_of(n) for n in names],
                         name, "-k", toolchain=toolchain)
    found = complaints(log)
    lacking = [n for n in names if not (objects / object_of(n)).is_file()]
    add(good and not found and not lacking, name,
        f"{len(names)} files, "
        + stamps.version(toolchain.program).splitlines()[0]
        + (f"; for x86 only: {' '.join(elsewhere)}" if elsewhere else ""),
        "\n".join(found) or "not built: " + " ".join(lacking))


# --- options switched off ----------------------------------------------------

class Places:
    """Folders and objects that can differ when an option of the series is off.

    Only files that the series adds or touches know its functions. So it is
    enough to build the folders of the new files and the touched objects
    elsewhere, and to see that all symbols that those and the rest of kernel
    a want are still defined.
    """

    def __init__(self, subject):
        folders = {str(Path(n).parent) + "/" for n in subject.kernel_c
                   if not n.startswith("arch/")
                   or n.startswith("arch/x86/")}
        self.folders = sorted(f for f in folders if not any(
            f != other and f.startswith(other) for other in folders))
        self.objects = sorted(object_of(n) for n in subject.touched_c
                              if not n.startswith(tuple(self.folders)))

    @property
    def targets(self):
        """What make is asked for."""
        return self.folders + self.objects

    def has(self, name):
        """True for an object that is built anew."""
        return name in self.objects or name.startswith(tuple(self.folders))


def nm_symbols(text):
    """{object: (defined, wanted)}, the sets of global names in nm -A -g."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"(?:[^:]+:)?([^:]+\.o):[ 0-9a-f]* ([A-Za-z]) (\S+)$",
                         line)
        if not match:
            continue
        defined, wanted = found.setdefault(match[1], (set(), set()))
        if match[2] == "U":
            wanted.add(match[3])
        elif match[2] not in "wv":      # a weak reference may stay undefined
            defined.add(match[3])
    return found


def _symbols(objects, names):
    """nm_symbols() of archives and objects in an object tree."""
    names = [n for n in names if (objects / n).is_file()]
    return nm_symbols(output(["nm", "-A", "-g", *names], cwd=objects)) \
        if names else {}


class Linked:
    """What kernel a is linked from: the reference for all options off."""

    def __init__(self, places, objects):
        self.places = places
        #: Symbols left to the linker script and kallsyms.
        self.known = _undefined(objects)
        members = _symbols(objects, ["vmlinux.a"])
        whole = set().union(*(d for d, _ in _symbols(
            objects, ["vmlinux.o"]).values()))
        rest = {n: s for n, s in members.items() if not places.has(n)}
        #: What the unchanged rest defines, libraries included.
        self.defined = whole.difference(*(d for d, _ in members.values())) \
            .union(*(d for d, _ in rest.values()))
        self.wanted = set().union(*(w for _, w in rest.values()))

    def lacking(self, builtin, modules, rest=True):
        """Symbols nobody defines once the places are built anew; what the rest wants
        counts, too, unless the option changes the rest as well."""
        defined = self.defined.union(*(d for d, _ in builtin.values()))
        lacking = (self.wanted if rest else set()).union(*(w for _, w in builtin.values()))
        lacking -= defined | self.known
        # A module may use another one; whether that exports it is for modpost to say.
        defined = defined.union(*(own for own, _ in modules.values()))
        for _, wanted in modules.values():
            lacking |= wanted - defined - self.known - {"__this_module"}
        return lacking


def switched_off(subject, results):
    """With LIVEUPDATE and with each new option off, all still builds.

    Without LIVEUPDATE the whole image is linked. For the rest what can differ is built.
    A symbol nobody defines that kernel a does not lack either is a finding.
    """
    ours = [s for s in kconfig.read(["series"])
            if s in kconfig.defined(subject.git)]
    full = subject.series_symbols()
    units = {symbol: native_unit(subject, "off", symbol)
             for symbol in ["LIVEUPDATE", "LIVEUPDATE_MEMFD", *ours]}
    todo = [symbol for symbol, unit in units.items()
            if not unit.replay(results.add)]
    if not todo:
        return
    kernel.copy_objects("a", SWITCHED)
    linked = Linked(Places(subject), kernel.KERNELS["a"].objects)
    configs = {}
    for symbol in todo:
        symbols = dict(full)
        symbols[symbol] = "n"
        # What depends on it goes with it, so not all that is asked is granted.
        configs[symbol] = kernel.outcome(paths.TREE, SWITCHED, symbols,
                                         f"off-{symbol}")

    def lost(symbol):
        return len(kconfig.lost(full, configs[symbol]))
    of_base = kconfig.defined(subject.git, subject.result.base.commit)
    # The whole image comes last, so that nothing of it is built twice.
    for symbol in sorted(configs, key=lost):
        units[symbol].run(results.add, lambda add, s=symbol: _off(
            s, configs[s], linked, add, s in of_base))


def _off(symbol, config, linked, add, of_base):
    whole = symbol == "LIVEUPDATE"
    name = f"CONFIG_{symbol}=n"
    if kconfig.parse(config).get(symbol):
        add(False, name, "cannot be switched off")
        return
    write_if_changed(SWITCHED / ".config", config)
    targets = linked.places.targets
    if whole:
        targets = ["vmlinux", "modules"]
    # kbuild does not go into a folder that nothing is built of any more.
    lists = [SWITCHED / folder / "modules.order" for folder in linked.places.folders]
    for path in (*lists, *(path.with_name("built-in.a") for path in lists)):
        path.unlink(missing_ok=True)
    good, log = run_make(paths.TREE, SWITCHED, targets, f"off-{symbol}")
    found = complaints(log)
    lacking = set()
    if good and whole:
        lacking = _undefined(SWITCHED) - linked.known
    elif good:
        folders = linked.places.folders
        lacking = linked.lacking(
            _symbols(SWITCHED, [f + "built-in.a" for f in folders]
                     + linked.places.objects),
            _symbols(SWITCHED, [line for path in lists if path.is_file()
                                for line in path.read_text().splitlines()]),
            rest=not of_base)
    found += [f"undefined: {s}" for s in sorted(lacking)]
    add(good and not found, name, "builds" if good and not found else "",
        "\n".join(found) or log[-2000:])


def _undefined(objects):
    """Symbols that vmlinux.o leaves to the linker script and kallsyms."""
    return {line.split()[-1] for line in
            output(["nm", "-u", objects / "vmlinux.o"]).splitlines()}
