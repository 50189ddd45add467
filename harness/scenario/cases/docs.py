# SPDX-License-Identifier: GPL-2.0
"""Blocks of the documentation that are marked as runnable, run as they stand.

In reStructuredText a comment `.. runnable: NAME` stands before the literal
block, in Markdown `<!-- runnable: NAME -->` before the fence. Blocks of one name
form one session in one guest, in the order of the file, over jumps too. Lines
that begin with a prompt ("# " or "$ ") are commands and what follows them is
what they print, where "..." stands for anything; a block without prompts is all
commands. Every command has to succeed. The next kernel lies ready as
/boot/vmlinuz-next, its initramfs as /boot/initrd-next.
"""

import dataclasses
import re

from ...common import paths
from ...common.run import HarnessError
from ...guest.control import Rebooted, host_path
from ..api import Failed, scenario

FILES = ("Documentation/admin-guide/liveupdate.rst", "README.md")

MARK = re.compile(r"^\s*(?:\.\. runnable: *(?P<rst>[\w-]+)|"
                  r"<!-- *runnable: *(?P<md>[\w-]+) *-->)\s*$")
PROMPT = re.compile(r"^[#$] ")


@dataclasses.dataclass
class Command:
    """One command of a block, where it stands and what it should print."""
    place: str
    text: str
    output: object = None


def _indent(line):
    return len(line) - len(line.lstrip())


def _rst_block(lines, at):
    """Lines of the literal block behind a mark, as (number, text)."""
    while at < len(lines) and not lines[at].strip():
        at += 1
    if at < len(lines) and (lines[at].rstrip().endswith("::") or
                            lines[at].lstrip().startswith(".. code-block::")):
        outer = _indent(lines[at])
        at += 1
    else:
        return []
    block = []
    while at < len(lines) and (not lines[at].strip() or _indent(lines[at]) > outer):
        block.append((at + 1, lines[at]))
        at += 1
    inner = min((_indent(text) for _, text in block if text.strip()), default=0)
    return [(number, text[inner:].rstrip()) for number, text in block if text.strip()]


def _md_block(lines, at):
    """Lines of the fenced block behind a mark."""
    while at < len(lines) and not lines[at].strip():
        at += 1
    if at == len(lines) or not lines[at].startswith("```"):
        return []
    block = []
    for number in range(at + 1, len(lines)):
        if lines[number].startswith("```"):
            return [pair for pair in block if pair[1].strip()]
        block.append((number + 1, lines[number].rstrip()))
    return []


def commands_of(name, block):
    """Splits a block into commands and what they print."""
    prompts = any(PROMPT.match(text) for _, text in block)
    found = []
    for number, text in block:
        if found and found[-1].output is None and found[-1].text.endswith("\\"):
            found[-1].text += "\n" + text
        elif not prompts:
            found.append(Command(f"{name}:{number}", text))
        elif PROMPT.match(text):
            found.append(Command(f"{name}:{number}", text[2:]))
        elif found:
            found[-1].output = (found[-1].output or []) + [text]
        else:
            raise HarnessError(f"{name}:{number}: output before the first command")
    return found


def runnable_blocks():
    """Name -> commands, over all files."""
    sessions = {}
    for name in FILES:
        path = paths.ROOT / name
        if not path.exists():
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        for at, line in enumerate(lines):
            mark = MARK.match(line)
            if not mark:
                continue
            reader = _rst_block if mark["rst"] else _md_block
            block = reader(lines, at + 1)
            if not block:
                raise HarnessError(f"{name}:{at + 1}: no block behind the mark")
            sessions.setdefault(mark["rst"] or mark["md"], []).extend(
                commands_of(name, block))
    return sessions


def _matches(got, want):
    pattern = ".*".join(re.escape(part) for part in "\n".join(want).split("..."))
    return re.fullmatch(pattern, got, re.S) is not None


def _run_session(run, name, commands):
    guest = run.boot("a")
    for number, command in enumerate(commands, 1):
        if number == 1:
            _provide(run, guest)
        run.step(f"{command.place}: {command.text}")
        try:
            result = guest.run(command.text, timeout=60)
        except Rebooted:
            _provide(run, guest)
            run.check(f"{command.place} jumped", True)
            continue
        if not result.ok:
            raise Failed(f"{name}: {command.place}: {command.text!r} ended with status "
                         f"{result.status}: {result.out}")
        run.check(f"{command.place} succeeded", True)
        if command.output is not None:
            run.check(f"{command.place} prints what the text says",
                      _matches(result.out, command.output),
                      f"expected {command.output!r}, got {result.out!r}")
    guest.vm.close()


def _provide(run, guest):
    """What the documentation takes for granted in every kernel."""
    guest.do("mkdir -p /boot; "
             f"ln -sf {host_path(run.image('b'))} /boot/vmlinuz-next; "
             "ln -sf /host/guest/initrd /boot/initrd-next")


@scenario("docs", limit=90)
def docs(run):
    """The blocks marked as runnable in the documentation, run as they stand."""
    sessions = runnable_blocks()
    run.check("there are runnable blocks", sessions, f"none in {', '.join(FILES)}")
    for name, commands in sessions.items():
        _run_session(run, name, commands)
