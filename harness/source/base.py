# SPDX-License-Identifier: GPL-2.0
"""The base: the upstream kernel the series applies to.

It is imported once into a bare repository in the cache, as one commit, and
every tree of every checkout is a worktree of that repository. What is tried
for it, the first that has it:

1. LINUX=, if it is given: a tree, a tarball, or REPOSITORY#TAG. The git
   repository may be bare; any name of a commit will do for the tag. Nothing
   else is tried then.
2. What this checkout used last, until "make clean".
3. The cache, ${XDG_CACHE_HOME:-~/.cache}/liveupdate-orchestrator: of the
   imported bases of the right stable line the one that series/base records,
   or else the newest. "make clean" leaves it alone, and nothing there expires.
4. The package linux-source-X.Y, from the machine's own apt sources.
5. The same package from each suite of SUITES in the archive that the machine
   uses, with lists and keys of its own.
6. The tarball of kernel.org, if series/base records its checksum.

A distribution drops the package when the next kernel comes (4 and 5 find
none from then on). Machines with a filled cache do not notice; the others
need 6 or LINUX=, and the error says so.

What a source package holds is checked by the package manager's signature,
a tarball from the network by the checksum in series/base. The tree's hash
in series/base only tells whether this is the very base the series was made
on: any stable release of the same kernel will do.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from pathlib import Path

from ..common import paths
from ..common.progress import Progress
from ..common.run import (HarnessError, load_json, locked, logged, notice, output,
                          save_json, say)
from .git import DATE, FALLBACK, Git

KERNEL_ORG = "https://cdn.kernel.org/pub/linux/kernel"

#: Suites that may carry the source package, asked for one after the other.
SUITES = ("trixie-backports", "forky", "sid")

#: What the commit of a base says.
MESSAGE = "Linux, the base of the series\n"

#: A tree that was built in place carries these; O= builds refuse it.
BUILT = (".config", "include/config/auto.conf", "arch/x86/include/generated")


class Wanted:
    """What series/base says."""

    def __init__(self, path=None):
        self.version = None
        self.trees = []
        self.tarballs = []
        path = path or paths.SERIES / "base"
        for line in path.read_text(encoding="utf-8").splitlines():
            fields = line.split("#")[0].split()
            if not fields:
                continue
            if len(fields) < 2:
                raise HarnessError(f"{path}: cannot read line: {line}")
            if fields[0] == "version":
                self.version = fields[1]
            elif fields[0] == "tree":
                self.trees.append(fields[1])
            elif fields[0] == "tarball":
                self.tarballs.append(fields[1])
            else:
                raise HarnessError(f"{path}: cannot read line: {line}")
        if not self.version:
            raise HarnessError(f"{path} names no kernel version")

    @property
    def line(self):
        """The stable line, as in 7.3."""
        return ".".join(self.version.split(".")[:2])

    @property
    def package(self):
        """The distribution's source package."""
        return f"linux-source-{self.line}"


class Base:
    """One imported base."""

    def __init__(self, git, commit):
        self.git = git
        self.commit = commit
        self.tree = git("rev-parse", f"{commit}^{{tree}}")
        self.version = kernel_version(
            git("show", f"{commit}:Makefile").splitlines())


def kernel_version(lines):
    """The version that the first lines of a kernel's Makefile tell."""
    found = {}
    for line in lines[:12]:
        match = re.match(r"(VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)$", line)
        if match:
            found[match[1]] = match[2]
    if len(found) != 3:
        raise HarnessError("this is no kernel tree: its Makefile names no "
                           "version")
    return ".".join(found[k] for k in ("VERSION", "PATCHLEVEL", "SUBLEVEL"))


def repository():
    """The bare repository in the cache, made when it is missing."""
    where = paths.CACHE / "base.git"
    if not (where / "HEAD").is_file():
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir(parents=True)
        Git(where)("init", "--bare", "--quiet")
        Git(where)("config", "gc.auto", "0")
    return Git(where)


# --- reading a kernel source -------------------------------------------------

def tarball_entries(path, progress=True):
    """Yield (name, mode, bytes) of a tarball, its top folder removed."""
    tools = {".xz": ["xz", "-dc"], ".gz": ["gzip", "-dc"],
             ".zst": ["zstd", "-dc"], ".bz2": ["bzip2", "-dc"],
             ".tar": ["cat"]}
    tool = tools.get(Path(path).suffix)
    if not tool:
        raise HarnessError(f"{path}: not a .tar, .tar.xz, .tar.gz, .tar.bz2 "
                           "or .tar.zst")
    with open(path, "rb") as packed:
        size = os.fstat(packed.fileno()).st_size
        bar = Progress("import base", size) if progress else None
        # The child shares our file offset, which tells how far it has read.
        # What it says belongs into our message, not on the terminal.
        with tempfile.TemporaryFile() as told:
            try:
                with subprocess.Popen(tool, stdin=packed, stderr=told,
                                      stdout=subprocess.PIPE) as unpack:
                    yield from _members(unpack.stdout, bar and (
                        lambda: bar.update(os.lseek(packed.fileno(), 0,
                                                    os.SEEK_CUR))))
                corruption = unpack.returncode and f"{tool[0]} failed"
            except tarfile.TarError as error:
                corruption = str(error)
            if corruption:
                told.seek(0)
                lines = told.read().decode(errors="replace").split("\n")
                raise HarnessError(f"{path} is no tarball, or corrupted: "
                                   f"{lines[0] or corruption}")
        if bar:
            bar.finish()


def _members(stream, progress):
    """Yield (name, mode, bytes) of an unpacked tar stream."""
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            name = member.name
            while name.startswith("./"):
                name = name[2:]
            name = name.partition("/")[2]
            if progress:
                progress()
            if member.issym():
                yield name, "120000", member.linkname.encode()
            elif member.isfile():
                mode = "100755" if member.mode & 0o100 else "100644"
                yield name, mode, tar.extractfile(member).read()
    # tarfile stops at the end mark; let the child reach its end.
    while stream.read(1 << 20):
        pass


def folder_entries(path):
    """Yield (name, mode, bytes) of a kernel tree in a folder.

    Of a git checkout the tracked files are taken as they are on disk, of
    any other folder all files.
    """
    path = Path(path)
    for built in BUILT:
        if (path / built).exists():
            raise HarnessError(f"{path} was built in place ({built} exists): "
                               "run 'make mrproper' in it first")
    if (path / ".git").exists():
        names = Git(path).lines("ls-files", "-z")
    else:
        names = []
        for folder, folders, files in os.walk(path):
            links = [f for f in folders
                     if os.path.islink(os.path.join(folder, f))]
            names += [os.path.relpath(os.path.join(folder, f), path)
                      for f in files + links]
    for name in sorted(names):
        full = path / name
        if full.is_symlink():
            yield name, "120000", os.readlink(full).encode()
        elif full.is_file():
            mode = "100755" if full.stat().st_mode & 0o100 else "100644"
            yield name, mode, full.read_bytes()


def import_entries(git, entries, message):
    """Write entries as one commit without parents; return its id."""
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
                git.command(["-c", "core.compression=1", "fast-import",
                             "--quiet", "--depth=0", "--date-format=raw",
                             "--done", "--force"]),
                env=git.env, stdin=subprocess.PIPE,
                stderr=errors, stdout=subprocess.DEVNULL) as importer:
            pipe = importer.stdin
            text = message.encode()
            who = f"{FALLBACK[0]} <{FALLBACK[1]}> {DATE}"
            pipe.write(f"commit refs/import/new\ncommitter {who}\n"
                       f"data {len(text)}\n".encode() + text + b"\n")
            count = 0
            try:
                for name, mode, data in entries:
                    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
                    pipe.write(f'M {mode} inline "{quoted}"\n'
                               f"data {len(data)}\n".encode() + data + b"\n")
                    count += 1
                pipe.write(b"done\n")
                pipe.close()
            except BrokenPipeError:
                pass
        errors.seek(0)
        if importer.returncode or not count:
            raise HarnessError("git fast-import failed:\n"
                               + errors.read().decode(errors="replace"))
    commit = git("rev-parse", "refs/import/new")
    git("update-ref", "-d", "refs/import/new")
    return commit


def import_source(git, source):
    """Import LINUX=: a tarball, a folder, or REPOSITORY#TAG; return the Base."""
    tagged = _tagged(source)
    path = Path(source)
    if tagged:
        commit = import_tag(git, *tagged)
    elif path.is_dir():
        if not (path / "Kbuild").is_file():
            raise HarnessError(f"{source} is no kernel tree" + (
                f"; name a tag of the repository: {source}#TAG"
                if _is_repository(path) else ""))
        say(f"importing {source}")
        commit = import_entries(git, folder_entries(path), MESSAGE)
    elif path.is_file():
        commit = import_entries(git, tarball_entries(path), MESSAGE)
    else:
        raise HarnessError(f"{source}: no such tree, tarball or "
                           "repository#tag")
    base = Base(git, commit)
    git("update-ref", f"refs/bases/{base.version}/{base.tree[:16]}", commit)
    return base


# --- a tag of a git repository ------------------------------------------------

def _is_repository(path):
    """True when git takes the folder itself for a repository or a worktree."""
    path = Path(path)
    return (path / ".git").exists() or ((path / "HEAD").is_file()
                                        and (path / "objects").is_dir())


def _tagged(source):
    """(repository, tag) of REPOSITORY#TAG; None for any other source."""
    path, mark, tag = str(source).rpartition("#")
    if not mark or Path(source).exists():
        return None
    if not Path(path).is_dir() or not _is_repository(path):
        raise HarnessError(f"{source}: {path or 'nothing'} is no git repository")
    return Path(path), tag


def _tree_of(path, tag):
    """The tree that a tag, branch or commit of a repository names."""
    found = Git(path).try_run("rev-parse", "--verify", "--quiet",
                              f"{tag}^{{commit}}^{{tree}}")
    if found.returncode:
        raise HarnessError(f"{path} has no tag or commit {tag!r}")
    return found.stdout.decode().strip()


def import_tag(git, path, tag):
    """Copy the tree of a commit, without its history; return the new commit.

    It is the same commit as that of a tarball with the same files.
    """
    tree = _tree_of(path, tag)
    source = Git(path)
    if source.try_run("cat-file", "-e", f"{tree}:Kbuild").returncode:
        raise HarnessError(f"{path}#{tag} is no kernel tree")
    if git.try_run("cat-file", "-e", tree).returncode:
        say(f"importing {path}#{tag}")
        copy_tree(source, git, tree)
    return git("commit-tree", tree, "-F", "-", data=MESSAGE.encode())


def copy_tree(source, git, tree):
    """Copy one tree with all that is in it to another repository."""
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
                source.command(["pack-objects", "--revs", "--stdout",
                                "--delta-base-offset", "-q"]), env=source.env,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors) as packer:
            packer.stdin.write(tree.encode() + b"\n")
            packer.stdin.close()
            done = subprocess.run(
                git.command(["index-pack", "--stdin", "--fix-thin"]),
                env=git.env, stdin=packer.stdout, stdout=subprocess.DEVNULL,
                stderr=errors, check=False)
            packer.stdout.close()
        if packer.returncode or done.returncode:
            errors.seek(0)
            raise HarnessError(f"{source.where} cannot be copied:\n"
                               + errors.read().decode(errors="replace"))


# --- the distribution's package ----------------------------------------------

def _apt(*args, options=()):
    """An apt command that asks nobody and drops no privileges."""
    full = ["-o", "APT::Sandbox::User=root", "-q"]
    for option in options:
        full += ["-o", option]
    return [args[0], *full, *args[1:]]


def archive_mirrors(origin=None):
    """The archives the machine's own apt uses, without security archives.

    Of an archive whose lists were never read the origin is not known: it is
    taken for the one that is asked for.
    """
    out = output(_apt("apt-get", "indextargets", "--format",
                      "$(REPO_URI) $(RELEASE) $(ORIGIN)"))
    found = []
    for line in out.splitlines():
        uri, release, known = (line.split(" ", 2) + ["", ""])[:3]
        if not uri or "security" in uri + release or uri in found:
            continue
        if not origin or known == origin or known.startswith("$("):
            found.append(uri)
    return found


def archive_keyring():
    """The keyring the distribution signs its archive with."""
    for name in ("debian-archive-keyring.pgp", "debian-archive-keyring.gpg"):
        path = Path("/usr/share/keyrings") / name
        if path.is_file():
            return path
    return None


def _download(package, folder, options=()):
    """Let apt download (and verify) one package into a folder."""
    logged(_apt("apt-get", "download", package, options=options),
           paths.LOG / "base-download.log", f"download of {package}",
           cwd=folder, env=dict(os.environ, DEBIAN_FRONTEND="noninteractive",
                                LC_ALL="C"))
    found = sorted(Path(folder).glob(f"{package}_*.deb"))
    if not found:
        raise HarnessError(f"apt downloaded no {package}")
    return found[-1]


def from_own_apt(package, folder, lacking):
    """The package by the machine's own sources, or None."""
    policy = output(["apt-cache", "policy", package],
                    env=dict(os.environ, LC_ALL="C"))
    match = re.search(r"Candidate: (\S+)", policy)
    if not match or match[1] == "(none)":
        lacking.append("apt's own sources")
        return None
    say(f"base: {package} {match[1]} from the machine's own apt sources")
    return _download(package, folder)


def from_private_apt(package, folder, lacking):
    """The package from a later suite of the same archive, or None.

    Sources, lists and cache are private: the machine's are left alone.
    """
    keyring = archive_keyring()
    if not keyring:
        lacking.append("later suites (no archive keyring is installed)")
        return None
    state = Path(folder) / "apt"
    for sub in ("lists/partial", "cache/archives/partial"):
        (state / sub).mkdir(parents=True, exist_ok=True)
    options = (f"Dir::Etc::sourcelist={state}/sources.list",
               "Dir::Etc::sourceparts=/dev/null",
               f"Dir::State::lists={state}/lists",
               f"Dir::Cache={state}/cache",
               "APT::Get::List-Cleanup=0",
               "Acquire::Languages=none")
    for suite in SUITES:
        why = suite
        for mirror in archive_mirrors():
            (state / "sources.list").write_text(
                f"deb [signed-by={keyring}] {mirror} {suite} main\n",
                encoding="ascii")
            try:
                why = f"{suite} (cannot be read: {paths.LOG / 'base-apt.log'})"
                logged(_apt("apt-get", "update", "--error-on=any",
                            options=options),
                       paths.LOG / "base-apt.log", f"apt-get update of {suite}")
                why = suite
                found = _download(package, folder, options)
            except HarnessError:
                continue
            say(f"base: {found.name} from the suite {suite}")
            return found
        lacking.append(why)
    return None


def from_distribution(git, wanted, lacking):
    """Import the distribution's source package; None when there is none."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        lacking.append("apt (not on this system)")
        return None
    paths.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=paths.CACHE) as folder:
        package = from_own_apt(wanted.package, folder, lacking) or \
            from_private_apt(wanted.package, folder, lacking)
        if not package:
            return None
        unpacked = Path(folder) / "unpacked"
        output(["dpkg-deb", "-x", package, unpacked])
        package.unlink()
        found = sorted(unpacked.glob("usr/src/linux-source-*.tar.*"))
        if not found:
            raise HarnessError(f"{package.name} holds no source tarball")
        return import_source(git, found[0])


# --- kernel.org --------------------------------------------------------------

def from_kernel_org(git, wanted, lacking):
    """Import the release tarball whose checksum series/base records."""
    if not wanted.tarballs:
        lacking.append("kernel.org (series/base has no checksum)")
        return None
    name = f"linux-{wanted.version}.tar.xz"
    url = f"{KERNEL_ORG}/v{wanted.version.split('.')[0]}.x/{name}"
    paths.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=paths.CACHE) as folder:
        target = Path(folder) / name
        digest = hashlib.sha256()
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, \
                    open(target, "wb") as out:
                size = int(answer.headers.get("Content-Length") or 0)
                bar = Progress(f"download {name}", size)
                done = 0
                while True:
                    block = answer.read(1 << 18)
                    if not block:
                        break
                    digest.update(block)
                    out.write(block)
                    done += len(block)
                    bar.update(done)
                bar.finish()
        except OSError as error:
            lacking.append(f"kernel.org ({error})")
            return None
        if digest.hexdigest() not in wanted.tarballs:
            raise HarnessError(f"{url} has the sha256 {digest.hexdigest()}, "
                               f"series/base says {wanted.tarballs}")
        return import_source(git, target)


# --- choosing ----------------------------------------------------------------

def cached(git, wanted):
    """The base of the cache that fits best, or None."""
    refs = git("for-each-ref", "--format=%(refname) %(objectname)",
               "refs/bases/").splitlines()
    found = []
    for line in refs:
        name, commit = line.split()
        version = name.split("/")[2]
        if not version.startswith(wanted.line + "."):
            continue
        tree = git("rev-parse", f"{commit}^{{tree}}")
        found.append((tree in wanted.trees, int(version.split(".")[2]),
                      commit))
    return Base(git, max(found)[2]) if found else None


def _source_key(source):
    """What tells whether LINUX= still names the same thing; None if nothing can."""
    tagged = _tagged(source)
    if tagged:
        return f"{tagged[0].resolve()}#{_tree_of(*tagged)}"
    source = Path(source).resolve()
    if not source.is_file():
        return None                     # a folder's content may always change
    stat = source.stat()
    return f"{source} {stat.st_size} {stat.st_mtime_ns}"


def get(linux=None):
    """The base of this checkout, imported when need be.

    The choice is recorded: a base named once by LINUX= stays until another
    is named or the build folder is removed.
    """
    wanted = Wanted()
    record = paths.STATE / "base.json"
    known = load_json(record)
    key = _source_key(linux) if linux else None
    lacking = ["the cache"]
    with locked(paths.CACHE / "base.lock", "the base in the cache"):
        git = repository()
        present = known.get("commit") and git.try_run(
            "cat-file", "-e", known["commit"]).returncode == 0
        if present and (not linux or known.get("source") == key != None):
            return Base(git, known["commit"])
        if linux:
            base = import_source(git, linux)
        else:
            base = (cached(git, wanted)
                    or from_distribution(git, wanted, lacking)
                    or from_kernel_org(git, wanted, lacking))
    if not base:
        raise HarnessError(
            f"there is no Linux {wanted.line}.y in " + ", ".join(lacking)
            + "; give one with LINUX=TREE, LINUX=TARBALL or "
            f"LINUX=REPOSITORY#TAG ({wanted.version} is what the series was "
            "made on)")
    if not base.version.startswith(wanted.line + "."):
        notice(f"the base is Linux {base.version}, the series is for "
               f"{wanted.line}.y")
    if wanted.trees and base.tree not in wanted.trees:
        notice(f"the base is Linux {base.version} with tree {base.tree}; the "
               f"series was made on {wanted.version} with tree "
               + " or ".join(wanted.trees))
    save_json(record, {"commit": base.commit, "tree": base.tree,
                       "version": base.version, "source": key})
    say(f"base: Linux {base.version}, tree {base.tree[:12]}")
    return base
