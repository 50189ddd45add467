# SPDX-License-Identifier: GPL-2.0
"""Command line: python3 -m harness COMMAND [options].

The Makefile calls this; its variables are the options here.
"""

import argparse
import shutil
import sys

from ..build import deps
from ..common import paths
from ..common.run import HarnessError, say


def command_deps(_):
    """install the packages that are missing, or name them"""
    deps.ensure()


def command_tree(args):
    """assemble base, series and overlay into build/tree"""
    from ..source import tree
    result, _ = tree.make(args.linux, force=args.force, quiet=True)
    say(f"build/tree: Linux {result.base.version} with "
        f"{len(result.commits)} patches")


def command_refresh(args):
    """carry edits of build/tree back into the overlay and series/"""
    from ..source import refresh
    refresh.make(args.patch)


def command_series(args):
    """write build/series/*.patch and prove it"""
    from ..static import export
    return export.make(args.linux, objects=not args.quick)


def command_steps(args):
    """link and boot the kernel after every patch of the series"""
    from . import steps
    return steps.main(args.linux, args.first)


def command_kernel(args):
    """build kernels: a and b, or those named"""
    from ..build import kernel
    names = args.names or ["a", "b"]
    for name in names:
        if name not in kernel.KERNELS:
            raise HarnessError(f"no kernel {name}; there are: "
                               + " ".join(kernel.KERNELS))
    patched = [n for n in names if kernel.KERNELS[n].patched]
    for name in list(patched):          # what a copy is made from comes first
        seed = kernel.KERNELS[name].seed
        if seed and seed not in patched:
            patched.insert(patched.index(name), seed)
    if patched:
        kernel.build_patched(patched, args.linux, args.keep)
    if "base" in names:
        kernel.build_base(args.linux)


def command_static(args):
    """static gates: checkpatch, W=1, kernel-doc, coccinelle, sparse, =n"""
    from ..static import gates as static
    return static.main(args.names)


def command_unit(_):
    """unit tests of the harness itself"""
    from . import unit
    return unit.main()


def command_check(args):
    """everything; ends with 'N passed, N failed, N skipped'"""
    from . import check
    return check.main(debug=args.debug, linux=args.linux, minutes=args.minutes)


def command_fresh(args):
    """demo and check in a minimal system of a suite, as on a new machine"""
    from . import fresh
    if args.clean:
        return fresh.clean()
    return fresh.main(args.suite, args.targets, args.again, args.base,
                      args.keep, args.minutes)


def command_clean(_):
    """remove the build folder; the cache stays"""
    from ..source import base
    shutil.rmtree(paths.BUILD, ignore_errors=True)
    if (paths.CACHE / "base.git").is_dir():
        base.repository()("worktree", "prune")


def parser():
    """The command line."""
    top = argparse.ArgumentParser(prog="python3 -m harness",
                                  description=__doc__.splitlines()[0])
    commands = top.add_subparsers(dest="command", required=True)
    for name, function in sorted(globals().items()):
        if not name.startswith("command_"):
            continue
        one = commands.add_parser(name[len("command_"):],
                                  help=function.__doc__)
        one.set_defaults(function=function)
        if name in ("command_tree", "command_kernel", "command_series",
                    "command_steps", "command_check"):
            one.add_argument("--linux", metavar="PATH", default=None,
                             help="a tree, a tarball or repository#tag to use "
                                  "as base")
        if name == "command_tree":
            one.add_argument("--force", action="store_true",
                             help="drop edits made in build/tree")
        if name == "command_refresh":
            one.add_argument("--patch", metavar="NNNN-name", default=None,
                             help="where edits of files go that no patch "
                                  "touches yet, and new files")
        if name == "command_series":
            one.add_argument("--quick", action="store_true",
                             help="do not build the objects of every step")
        if name == "command_steps":
            one.add_argument("--first", type=int, default=1, metavar="N",
                             help="begin with this patch")
        if name == "command_kernel":
            one.add_argument("--keep", action="store_true",
                             help="build with edits made in build/tree")
        if name in ("command_kernel", "command_static"):
            one.add_argument("names", nargs="*", metavar="NAME",
                             help="which (default: all that are usual)")
        if name == "command_fresh":
            one.add_argument("suite", nargs="?", default="")
            one.add_argument("--targets", default=None,
                             help="of make, with variables (default: demo "
                                  "check)")
            one.add_argument("--again", action="store_true",
                             help="in the system that was kept")
            one.add_argument("--base", action="store_true",
                             help="with the base of this machine's cache")
            one.add_argument("--keep", action="store_true",
                             help="also when everything passed")
            one.add_argument("--minutes", type=float, default=None,
                             help="time limit of each target")
            one.add_argument("--clean", action="store_true",
                             help="only remove all systems")
        if name == "command_check":
            one.add_argument("--debug", action="store_true",
                             help="every scenario that is marked for the debug kernels,\n"
                                  "not only the few that always run there")
            one.add_argument("--minutes", type=float, default=None,
                             help="skip what could not end within this time")
    return top


def main(argv=None):
    """Run one command; the exit status."""
    args = parser().parse_args(argv)
    try:
        if args.command not in ("clean", "unit", "fresh"):
            deps.ensure()
        return args.function(args) or 0
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
