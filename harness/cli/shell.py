# SPDX-License-Identifier: GPL-2.0
"""An interactive guest: python3 -m harness.shell [--kernel NAME] [--smp N].

The console of the guest is this terminal. What to try is shown at its prompt
and stays there as `cat /etc/help.txt`.
"""

import argparse
import shlex
import subprocess
import sys

from ..build import initrd
from ..common.run import HarnessError
from ..guest.control import APPEND, ENABLED
from ..scenario.api import release_of
from ..vm.qemu import QEMU, image

INTRO = """\
An interactive guest on kernel {release}.
Leave with Ctrl-a x, or with `guestctl reboot poweroff` in the guest.
It ends by itself after {minutes} minutes.
"""


def command(kernel, smp, memory, minutes, extra=""):
    """QEMU's command line with the console on this terminal."""
    append = " ".join(word for word in (APPEND, "loglevel=6", ENABLED, "guest.shell", extra)
                      if word)
    return ["timeout", "--foreground", "--kill-after=5", str(minutes * 60), QEMU,
            "-accel", "tcg", "-M", "q35", "-cpu", "max", "-m", memory, "-smp", str(smp),
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-serial", "mon:stdio", "-serial", "null",
            "-fsdev", "local,id=host,security_model=none,readonly=on,multidevs=remap,"
            f"path={initrd.SHARE}",
            "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
            "-kernel", str(image(kernel)), "-initrd", str(initrd.build()),
            "-append", append]


def main(argv=None):
    """Entry point; the exit status is QEMU's."""
    parser = argparse.ArgumentParser(prog="harness.shell", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kernel", default="a", help="a, b or base (default: a)")
    parser.add_argument("--smp", type=int, default=2, help="processors (default: 2)")
    parser.add_argument("--memory", default="1G", help="memory (default: 1G)")
    parser.add_argument("--minutes", type=int, default=120, help="time limit (default: 120)")
    parser.add_argument("--append", default="", help="more for the kernel's command line")
    parser.add_argument("--show", action="store_true", help="print QEMU's command line only")
    options = parser.parse_args(argv)
    try:
        line = command(options.kernel, options.smp, options.memory, options.minutes,
                       options.append)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 1
    if options.show:
        print(shlex.join(line))
        return 0
    print(INTRO.format(release=release_of(image(options.kernel)), minutes=options.minutes), flush=True)
    return subprocess.run(line, check=False).returncode
