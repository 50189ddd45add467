# SPDX-License-Identifier: GPL-2.0
"""make fresh: the two commands on a machine that has nothing, as a newcomer has it.

A minimal Debian system of the asked suite is made in the cache, from the archive
that this machine's apt uses: what is essential, and git, make and python3. A clone
of the checkout is put into it, and make runs there, by default "make demo" and then
"make check", as root. Neither the cache, nor the environment, nor any process or
mount of the machine is there; what the commands need they install themselves. Only
the network is the machine's.

The system is a folder. Everything in it runs in mount and process namespaces of its
own, with /proc, /sys (read-only), /dev/shm, /dev/pts and a few nodes in /dev. All
of it ends, and with it every mount, when the first process in there does: when it
is done, out of time, interrupted, or when make fresh itself is killed.

A system in which all passed is removed, unless --keep is given; one in which
something failed is kept. --again runs in the kept system, with all that has been
installed and built there, on the checkout as it is now. --base puts the base of
the machine's cache into that of the system, to leave out its download and import.

Whole output: build/log/fresh-SUITE-TARGET.log, and beside it in fresh-SUITE/ what
the commands logged themselves. Names of archives are left out of all output.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse

from ..build import deps
from ..common import paths
from ..common.progress import duration
from ..common.run import HarnessError, locked, notice, output, say, tail
from ..source import base
from ..source.git import Git

SUITES = ("bookworm", "trixie", "testing")
TARGETS = "demo check"
MINUTES = 180                           #: for each target

#: What it takes to make a system; the tools to run one are in util-linux.
PACKAGES = {"mmdebstrap": "mmdebstrap"}

#: How the machine reaches the archive, of what apt is told.
REACH = re.compile(r"Acquire::(?:Check-|M(?:in|ax)-ValidTime|Retries|ForceIPv|https?::|"
                   r"http |https ).* \"[^\"]+\";")

HOME = "root"
CHECKOUT = "liveupdate-orchestrator"
NODES = ("null", "zero", "full", "random", "urandom", "tty")

#: Runs the last argument in the system which the first one names.
ENTER = r"""
set -eu
root=$1
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys" || mount --rbind -o ro /sys "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in NODES; do
	: >"$root/dev/$node"
	mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
shift
exec chroot "$root" "$@"
""".replace("NODES", " ".join(NODES))


def isolated(*command):
    """The command line that runs a command so that nothing of it outlives it."""
    return ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork",
            "--kill-child", "--mount-proc", "--propagation", "private", "--", *command]


class System:
    """The minimal system of one suite, and what ran in it."""

    def __init__(self, suite, mirrors=None):
        self.suite = suite
        self.top = paths.CACHE / "fresh" / suite
        self.root = self.top / "root"
        self.checkout = self.root / HOME / CHECKOUT
        self.mirrors = base.archive_mirrors("Debian") if mirrors is None else mirrors
        self._secret = self._names()

    def _names(self):
        """What must not be shown: hosts of archives and of proxies."""
        proxies = [value for key, value in os.environ.items()
                   if key.lower() in ("http_proxy", "https_proxy")]
        hosts = {urllib.parse.urlsplit(url).netloc.rpartition("@")[2]
                 for url in (*self.mirrors, *proxies)} - {""}
        return re.compile("|".join(map(re.escape, sorted(hosts, key=len, reverse=True)))
                          or r"(?!)")

    def scrub(self, text):
        """The text without the names of archives."""
        return self._secret.sub("ARCHIVE", text)

    def log(self, name):
        """The log of one command."""
        return paths.LOG / f"fresh-{self.suite}-{name}.log"

    # -- making and removing it -------------------------------------------------

    def make(self):
        """Make it anew."""
        if not self.mirrors:
            raise HarnessError("apt of this machine names no archive of Debian")
        self.remove()
        self.top.mkdir(parents=True, exist_ok=True)
        packages = ["git", "make", "python3"]
        if any(mirror.startswith("https:") for mirror in self.mirrors):
            packages.append("ca-certificates")
        reach = [line for line in output(["apt-config", "dump"]).splitlines()
                 if REACH.fullmatch(line)]
        say(f"making a minimal system of {self.suite}")
        status, _ = self._stream(
            isolated("mmdebstrap", "--mode=root", "--variant=minbase",
                     f"--include={','.join(packages)}",
                     *(f"--aptopt={line}" for line in reach), self.suite,
                     str(self.root), *self.mirrors), self.log("system"), 30, show=False)
        if status:
            self.remove()
            raise HarnessError(f"no system of {self.suite} can be made: {status}\n"
                               f"{tail(self.log('system'), 5)}\n"
                               f"full log: {self.log('system')}")

    def remove(self):
        """Remove it; never through a mount."""
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            places = [line.split()[4] for line in mounts]
        inside = [place for place in places if f"{place}/".startswith(f"{self.root}/")]
        if inside:
            raise HarnessError(f"{self.root} is not removed, since something is mounted "
                               "there: " + " ".join(inside))
        shutil.rmtree(self.top, ignore_errors=True)
        if self.root.exists():
            raise HarnessError(f"{self.root} cannot be removed")

    def update(self):
        """Put the last commit of this checkout into it."""
        git = Git(paths.ROOT)
        if git("status", "--porcelain", "--untracked-files=no"):
            notice("edits that are not committed do not take part")
        if not self.checkout.exists():
            git("clone", "--quiet", "--no-hardlinks", paths.ROOT, self.checkout)
        there = Git(self.checkout)
        there("fetch", "--quiet", paths.ROOT, "HEAD")
        there("checkout", "--quiet", "--force", "--detach", "FETCH_HEAD")

    def seed(self):
        """Put the bases of this machine's cache into its cache."""
        target = self.root / HOME / ".cache" / paths.CACHE.name / "base.git"
        if not (paths.CACHE / "base.git" / "HEAD").is_file():
            raise HarnessError("there is no base in the cache yet")
        shutil.rmtree(target, ignore_errors=True)
        with locked(paths.CACHE / "base.lock", "the base in the cache"):
            shutil.copytree(paths.CACHE / "base.git", target,
                            ignore=shutil.ignore_patterns("worktrees"))

    # -- running in it -----------------------------------------------------------

    def _enter(self, *command):
        """The command line that runs a command in it."""
        for name in ("resolv.conf", "hosts"):
            with contextlib.suppress(OSError):
                (self.root / "etc" / name).unlink(missing_ok=True)
                shutil.copyfile(f"/etc/{name}", self.root / "etc" / name)
        passed = [f"{key}={value}" for key, value in os.environ.items()
                  if key.lower() in ("http_proxy", "https_proxy", "no_proxy")]
        return isolated("/bin/sh", "-c", ENTER, "sh", str(self.root),
                        "/usr/bin/env", "-i", f"HOME=/{HOME}", "USER=root", "TERM=dumb",
                        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                        *passed, *command)

    def run(self, name, *command, minutes=MINUTES, show=True):
        """Run a command in the checkout; (how it failed or "", its last line)."""
        return self._stream(
            self._enter("/bin/sh", "-c", 'cd "$0" && exec "$@"',
                        f"/{HOME}/{CHECKOUT}", *command), self.log(name), minutes, show)

    def _stream(self, command, log, minutes, show=True):
        """Run a command line with a time limit, its output into a log."""
        log.parent.mkdir(parents=True, exist_ok=True)
        late = threading.Event()
        last = ""
        with open(log, "w", encoding="utf-8") as out, subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="replace") as child:
            def expire():
                late.set()
                child.kill()
            timer = threading.Timer(minutes * 60, expire)
            timer.start()
            try:
                for line in child.stdout:
                    line = self.scrub(line)
                    out.write(line)
                    out.flush()
                    last = line.strip() or last
                    if show:
                        sys.stdout.write(line)
                        sys.stdout.flush()
            except BaseException:
                child.kill()
                raise
            finally:
                timer.cancel()
        if late.is_set():
            return f"not done after {minutes:g} minutes", last
        return f"exit status {child.returncode}" if child.returncode else "", last

    def keep_logs(self):
        """Copy what the commands logged."""
        source = self.checkout / "build" / "log"
        target = paths.LOG / f"fresh-{self.suite}"
        shutil.rmtree(target, ignore_errors=True)
        for log in sorted(source.glob("*.log")) if source.is_dir() else ():
            target.mkdir(parents=True, exist_ok=True)
            (target / log.name).write_text(self.scrub(log.read_text(
                encoding="utf-8", errors="replace")), encoding="utf-8")

    def versions(self):
        """What it was tried with, as far as it got installed."""
        found = []
        for label, command in (("gcc", "gcc -dumpfullversion"),
                               ("QEMU", "qemu-system-x86_64 --version"),
                               ("Python", "python3 --version")):
            _, text = self.run("versions", "/bin/sh", "-c", f"{command} | head -n 1",
                               minutes=1, show=False)
            match = re.search(r"\d+(?:\.\d+)+", text)
            found += [f"{label} {match[0]}"] if match else []
        return ", ".join(found)


def parse_targets(text):
    """([target, ...], [VAR=VALUE, ...]) of what is to be made."""
    words = shlex.split(text)
    variables = [word for word in words if "=" in word]
    targets = [word for word in words if "=" not in word]
    if not targets:
        raise HarnessError("TARGETS= names no target")
    return targets, variables


def one(system, target, variables, minutes):
    """Run one target: (whether it passed, what to say of it)."""
    say(f"\n== {system.suite}: make {shlex.join([target, *variables])}")
    start = time.monotonic()
    failure, last = system.run(target, "make", target, *variables, minutes=minutes)
    took = duration(time.monotonic() - start)
    if failure:
        return False, f"{target} FAILED after {took} ({failure}: {system.log(target)})"
    count = f" ({last})" if re.match(r"\d+ passed, ", last) else ""
    return True, f"{target} passed in {took}{count}"


def main(suite, targets=None, again=False, base_too=False, keep=False, minutes=None):
    """Make a system, run the targets in it; the exit status."""
    if suite not in SUITES:
        raise HarnessError("name a suite: make fresh SUITE=" + "|".join(SUITES))
    if os.geteuid():
        raise HarnessError("make fresh enters a system of its own, which only root can")
    targets, variables = parse_targets(targets or TARGETS)
    deps.ensure(PACKAGES)
    with locked(paths.CACHE / f"fresh-{suite}.lock", f"the system of {suite}"):
        system = System(suite)
        if not again:
            system.make()
        elif not system.checkout.is_dir():
            raise HarnessError(f"there is no system of {suite} to run again in")
        system.update()
        if base_too:
            system.seed()
        results = [one(system, target, variables, minutes or MINUTES)
                   for target in targets]
        system.keep_logs()
        good = all(passed for passed, _ in results)
        versions = system.versions()
        say("")
        if keep or again or not good:
            say(f"the system is kept: make fresh SUITE={suite} AGAIN=1 runs in it again, "
                "make fresh-clean removes it")
        else:
            system.remove()
        say(f"fresh {suite}: " + ", ".join(text for _, text in results)
            + f"; {versions}")
    return 0 if good else 1


def clean():
    """Remove all systems."""
    for suite in SUITES:
        with locked(paths.CACHE / f"fresh-{suite}.lock", f"the system of {suite}"):
            System(suite, mirrors=[]).remove()
