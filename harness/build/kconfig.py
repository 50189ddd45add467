# SPDX-License-Identifier: GPL-2.0
"""Kernel configuration from fragments: allnoconfig plus what they name.

A fragment is in the kernel's own format. Later fragments override earlier
ones. After Kconfig has had its say, every symbol must have the value that
was asked for, or the build stops and names those that have not.
"""

import re

from ..common import paths
from ..common.run import HarnessError


def read(names):
    """{symbol: value} of fragments in harness/config, "n" for unset."""
    found = {}
    for name in names:
        path = paths.CONFIG / f"{name}.config"
        here = {}
        for number, line in enumerate(
                path.read_text(encoding="utf-8").splitlines(), 1):
            match = re.match(r"CONFIG_(\w+)=(.+)$", line)
            unset = re.match(r"# CONFIG_(\w+) is not set$", line)
            symbol = (match or unset or ("", ""))[1]
            if symbol in here:
                raise HarnessError(f"{path}:{number}: CONFIG_{symbol} is set "
                                   "twice")
            if symbol:
                here[symbol] = match[2] if match else "n"
            elif line.strip() and not line.startswith("#"):
                raise HarnessError(f"{path}:{number}: not a Kconfig line: "
                                   f"{line}")
        found.update(here)
    return found


def text(symbols):
    """Symbols in the format of .config."""
    return "".join(f"# CONFIG_{name} is not set\n" if value == "n"
                   else f"CONFIG_{name}={value}\n"
                   for name, value in symbols.items())


def parse(config):
    """{symbol: value} of a .config's text; unset symbols are absent."""
    return dict(re.findall(r"^CONFIG_(\w+)=(.*)$", config, re.M))


def lost(wanted, config):
    """What Kconfig did not grant: a list of lines for the user."""
    have = parse(config)
    return [f"CONFIG_{name}: wanted {value}, is {have.get(name, 'n')}"
            for name, value in wanted.items()
            if have.get(name, "n") != value]


def defined(git, commit=None):
    """All symbols that the Kconfig files of a worktree, or of a commit, define."""
    done = git.try_run("grep", "-h", "-o", "-E",
                       r"^\s*(menu)?config [A-Za-z0-9_]+",
                       *([commit] if commit else []), "--",
                       ":(glob)**/Kconfig*")
    return {line.split()[1] for line in
            done.stdout.decode(errors="replace").splitlines()}
