# SPDX-License-Identifier: GPL-2.0
"""The guest image: an initramfs with busybox, kexec-tools, guestctl and luctl.

The archive is written here, byte for byte the same for the same inputs, and
only when something it is made of changed. Both kernels of an update boot it:
the first from QEMU's command line, every next one from the host folder.

Programs of the host come with the shared libraries that ldd names, as in any
initramfs. The dynamic loader keeps its path; all other libraries lie beside libc,
where that loader looks without a configuration or a cache, whatever folder of the
host they are from and whether /lib is a link to /usr/lib there. Static are
busybox, which is packaged so, and guestctl and the selftests, which need nothing
but libc; its static archive comes with its headers (libc6-dev).
"""

import functools
import os
import pathlib
import re
import shutil
import stat
import subprocess
import threading

from ..common.paths import BUILD, ROOT
from ..common.run import HarnessError, locked, write_if_changed
from . import luctl

SOURCES = ROOT / "harness" / "guest" / "guestctl"
FOLDER = BUILD / "guest"

# What the guest sees of the host, read-only, and the image's place in there.
SHARE = BUILD
INITRD = FOLDER / "initrd"
_ONE_AT_A_TIME = threading.Lock()
GUEST_INITRD = "/host/guest/initrd"

FOLDERS = ("bin", "sbin", "dev", "proc", "sys", "run", "tmp", "host", "root",
           "etc", "usr", "usr/bin", "usr/sbin", "lib", "lib64", "var")

PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
GROUP = "root:x:0:\nnogroup:x:65534:\n"


class Archive:
    """A cpio archive in the kernel's "newc" format, kept in memory."""

    def __init__(self):
        self._parts = []
        self._inode = 0
        self._names = set()

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        if name in self._names:
            raise HarnessError(f"{name} is in the guest image twice")
        self._names.add(name)
        self._inode += 1
        encoded = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0,
                  rdev[0], rdev[1], len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        for part in (header + encoded, data):
            self._parts.append(part + b"\0" * (-len(part) % 4))

    def folder(self, name):
        """Adds a folder."""
        self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, name, data, mode=0o644):
        """Adds a regular file."""
        self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        """Adds a symbolic link."""
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def char(self, name, major, minor, mode=0o600):
        """Adds a character device."""
        self._entry(name, stat.S_IFCHR | mode, rdev=(major, minor))

    def finish(self):
        """The bytes of the archive."""
        self._entry("TRAILER!!!", 0)
        return b"".join(self._parts)


def _program(name, package):
    """Path of a host program the image copies."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
    if not path:
        raise HarnessError(f"{name} is not installed (package {package})")
    return pathlib.Path(path)


def _busybox():
    path = _program("busybox", "busybox-static")
    if _libraries(path):
        raise HarnessError(f"{path} is not static (install package busybox-static)")
    return path


def _libraries(program):
    """Shared libraries a program loads: place in the guest -> file of the host."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("LD_")}
    result = subprocess.run(["ldd", str(program)], capture_output=True, text=True,
                            check=False, env=dict(env, LC_ALL="C"))
    return _placed(program, result.stdout)


def _placed(program, listed):
    """What ldd listed, at its place in the guest; the vDSO has no file."""
    files = {}
    for line in listed.splitlines():
        name, arrow, path = (part.strip() for part in line.partition("=>"))
        name, path = name.split(" (0x")[0], path.split(" (0x")[0]
        if arrow and not path.startswith("/"):
            raise HarnessError(f"{program} needs {name}, which the system does not have: "
                               f"{path}")
        if arrow or name.startswith("/"):
            files[name] = path or name
    if not files:
        return {}
    libc = next((path for name, path in files.items() if name.startswith("libc.so")), None)
    loaders = [name for name in files if re.search(r"^/.*/ld[^/]*\.so[^/]*$", name)]
    if not loaders or not libc:
        raise HarnessError(f"{program} is linked with no libc, or no dynamic loader: "
                           + " ".join(files))
    folder = pathlib.PurePath(_plain(libc)).parent
    # A path, of the loader or whatever is linked by its path, is where it is looked for.
    return {(name if name.startswith("/") else str(folder / name)): _plain(path)
            for name, path in files.items()}


def _plain(path):
    """The file for any processor, where the loader prefers one for the host's."""
    plain = re.sub(r"/glibc-hwcaps/[^/]+(?=/)", "", path)
    return plain if os.path.exists(plain) else path


def _compile():
    """Builds guestctl when one of its sources is newer; its path."""
    target = FOLDER / "guestctl"
    sources = sorted(SOURCES.glob("*.[ch]"))
    newest = max(source.stat().st_mtime for source in sources)
    if target.exists() and target.stat().st_mtime >= newest:
        return target
    command = [os.environ.get("CC", "gcc"), "-static", "-O2", "-s", "-Wall", "-Wextra",
               "-Werror", "-Wl,--build-id=none", "-o", str(target),
               *(str(source) for source in sources if source.suffix == ".c")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise HarnessError(f"guestctl does not compile:\n{result.stderr}")
    return target


def _archive(guestctl, luctl_path):
    """The whole image as bytes."""
    busybox = _busybox()
    kexec = _program("kexec", "kexec-tools")
    archive = Archive()
    for folder in FOLDERS:
        archive.folder(folder)
    archive.char("dev/console", 5, 1)
    archive.char("dev/null", 1, 3, 0o666)
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    archive.file("bin/guestctl", guestctl.read_bytes(), 0o755)
    archive.link("init", "bin/guestctl")
    archive.file("sbin/luctl", luctl_path.read_bytes(), 0o755)
    archive.file("sbin/kexec", kexec.read_bytes(), 0o755)
    archive.file("etc/passwd", PASSWD.encode())
    archive.file("etc/group", GROUP.encode())

    folders = set(FOLDERS)
    libraries = {**_libraries(kexec), **_libraries(luctl_path)}
    for place, library in sorted(libraries.items()):
        parts = pathlib.PurePosixPath(place.lstrip("/"))
        for folder in reversed(parts.parents[:-1]):
            if str(folder) not in folders:
                folders.add(str(folder))
                archive.folder(str(folder))
        archive.file(str(parts), pathlib.Path(library).read_bytes(), 0o755)

    applets = subprocess.run([str(busybox), "--list"], capture_output=True, text=True,
                             check=True).stdout.split()
    for applet in sorted(set(applets) - {"busybox", "init"}):
        archive.link(f"bin/{applet}", "busybox")

    for extra in sorted(SOURCES.glob("*.txt")):
        archive.file(f"etc/{extra.name}", extra.read_bytes())
    return archive.finish()


def build():
    """Brings the guest image up to date, once per process; its path."""
    with _ONE_AT_A_TIME:
        return _build()


@functools.lru_cache(maxsize=None)
def _build():
    FOLDER.mkdir(parents=True, exist_ok=True)
    with locked(FOLDER / "lock", "the guest image"):
        write_if_changed(INITRD, _archive(_compile(), luctl.build()))
    return INITRD


if __name__ == "__main__":
    print(build())
