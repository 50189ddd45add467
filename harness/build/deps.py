# SPDX-License-Identifier: GPL-2.0
"""The packages that building and testing need.

On Debian missing ones are installed when we are root; otherwise the exact
command is printed and nothing else happens.

Libraries are linked dynamically: no static archive is needed but libc's, which
comes with its headers.
"""

import glob
import os
import platform
import shutil
import subprocess

from ..common import paths
from ..common.run import HarnessError, logged, say

#: Debian package -> programs or files that show it is there elsewhere.
PACKAGES = {
    "bc": "bc",
    "bison": "bison",
    "busybox-static": "busybox",
    "bzip2": "bzip2",
    "ccache": "ccache",
    "clang": "clang",
    "coccinelle": "spatch",
    "cpio": "cpio",
    "flex": "flex",
    "gcc": "gcc",
    "gcc-aarch64-linux-gnu": "aarch64-linux-gnu-gcc",
    "git": "git",
    "gzip": "gzip",
    "kexec-tools": "kexec",
    "kmod": "depmod",
    "libbz2-dev": "/usr/include/bzlib.h",
    "libc6-dev": "/usr/include/stdio.h",
    "libclang-rt-dev": "clang",         # and its fuzzer
    "libelf-dev": "/usr/include/libelf.h",
    "libjson-c-dev": "/usr/include/json-c/json.h",
    "liblz4-dev": "/usr/include/lz4.h",
    "liblzma-dev": "/usr/include/lzma.h",
    "liblzo2-dev": "/usr/include/lzo/lzo1x.h",
    "libpython3-dev": "/usr/include/python3*/Python.h",     # spatch loads it
    "libzstd-dev": "/usr/include/zstd.h",
    "lz4": "lz4",
    "lzop": "lzop",
    "make": "make",
    "ovmf": "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "perl": "perl",
    "pkg-config": "pkg-config",
    "python3-docutils": "rst2html",
    "qemu-system-x86": "qemu-system-x86_64",
    "rsync": "rsync",
    "sparse": "sparse",
    "xz-utils": "xz",
    "zlib1g-dev": "/usr/include/zlib.h",
    "zstd": "zstd",
}

#: Version of Debian -> what it needs besides: its clang is too old for the kernel.
ALSO = {"12": {"clang-19": "clang-19"}}


def release():
    """The version of this Debian; "" elsewhere."""
    try:
        known = platform.freedesktop_os_release()
    except OSError:
        return ""
    return known.get("VERSION_ID", "") if known.get("ID") == "debian" else ""


PACKAGES.update(ALSO.get(release(), {}))


def missing(packages):
    """Debian packages of these that are not installed."""
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n",
         *packages], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True)
    present = {line.split()[1] for line in done.stdout.splitlines()
               if line.startswith("installed ")}
    return sorted(set(packages) - present)


def absent_programs(packages):
    """Those of the packages whose program or file is absent, on any other system."""
    return sorted(
        package for package, probe in packages.items()
        if not (glob.glob(probe) if probe.startswith("/") else
                shutil.which(probe) or shutil.which(probe + ".py")
                or shutil.which(probe, path="/usr/sbin:/sbin")))


def ensure(packages=PACKAGES):
    """Install what is missing, or say what to install and stop."""
    if not shutil.which("dpkg-query"):
        names = absent_programs(packages)
        if names:
            raise HarnessError("please install what Debian packages as: "
                               + " ".join(names))
        return
    names = missing(packages)
    if not names:
        return
    command = ["apt-get", "install", "--no-install-recommends", "-y", *names]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise HarnessError("packages are missing. Install them with:\n  sudo "
                           + " ".join(command))
    say("installing " + " ".join(names))
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C")
    logged(["apt-get", "update", "-q"], paths.LOG / "deps-update.log",
           "apt-get update", env=env)
    logged(command, paths.LOG / "deps.log", "installation of packages",
           env=env)
    left = missing(packages)
    if left:
        raise HarnessError("still missing after installation: "
                           + " ".join(left))
