# SPDX-License-Identifier: GPL-2.0
"""The help of luctl, its man page and its completion say the same."""

import os
import re
import subprocess

from .luctl_fixture import OK, SOURCES, LuctlTest

#: What argp gives every command.
COMMON = {"--json", "--sysfs", "--help", "--usage", "--version"}

MAN_PAGE = SOURCES / "Documentation" / "luctl.rst"
COMPLETION = SOURCES / "bash-completion" / "luctl"

#: A title and its underline; the rest up to the next title is its text.
SECTION = re.compile(r"(?m)^(\S.*)\n(=+|-+)$\n")


def statuses(text):
    """{number: meaning} in the help of a command."""
    return {int(number): meaning.strip() for number, meaning in re.findall(
        r"(?m)^  (?: |)(\d+)  (.*)$", text.partition("Exit status:")[2])}


def options(text):
    """{long option: takes an argument} in the list of a help or a page."""
    return {name: bool(argument) for name, argument in re.findall(
        r"(?m)^ *(?:-.(?:, ))?(--[a-z-]+)(=|\[=)?", text)}


def sections(page):
    """{title: text} of the man page."""
    parts = SECTION.split(page)
    return {title: text for title, text in zip(parts[1::3], parts[3::3])}


class Page:
    """What the man page says."""

    def __init__(self, text):
        found = sections(text)
        self.common = options(found["COMMON OPTIONS"])
        self.commands = {title.split()[1]: body for title, body
                         in found.items() if title.startswith("luctl ")}
        self.meanings = {int(number): meaning for number, meaning in
                         re.findall(r"(?m)^(\d+)\n    (.*)$",
                                    found["EXIT STATUS"])}

    def options(self, command):
        """{long option: takes an argument}."""
        return options(self.commands[command])

    def statuses(self, command):
        """The numbers a command may exit with."""
        told = re.search(r"(?m)^Exit status: ([0-9, ]+)\.$",
                         self.commands[command])
        return {int(n) for n in told[1].split(",")} if told else set()


def complete(script, *words, folder="/"):
    """What bash offers for the last word."""
    program = r"""
source "$1"; shift
COMP_WORDS=(luctl "$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_luctl
printf '%s\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(["bash", "-c", program, "bash", script, *words],
                          cwd=folder, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=True, env={**os.environ, "LC_ALL": "C"})
    if done.stderr:
        raise AssertionError(done.stderr)
    return set(done.stdout.split())


class Sync(LuctlTest):
    """Each of the three against the program."""

    def help(self, *args):
        """The help of luctl or of a command."""
        result = self.luctl(*args, "--help")
        self.assertEqual((result.status, result.err), (OK, ""))
        return result.out

    def commands(self):
        """Commands in the help of luctl."""
        text = self.help().partition("Commands;")[2].partition("\n\n")[0]
        found = re.findall(r"(?m)^  (\S+) ", text)
        self.assertGreaterEqual(len(found), 8)
        return found

    def findings(self, page_text, script):
        """What differs, as a list."""
        page = Page(page_text)
        commands = self.commands()
        wrong = []

        def same(what, is_, should_be):
            if is_ != should_be:
                wrong.append(f"{what}: {is_}, not {should_be}")

        same("commands of the page", list(page.commands), commands)
        same("commands of the completion", complete(script, ""),
             set(commands))
        same("common options of the page", page.common,
             options(self.help()))
        same("common options of the completion", complete(script, "-"),
             COMMON)
        same("exit statuses of the page", page.meanings,
             statuses(self.help()))
        for command in commands:
            text = self.help(command)
            told = options(text)
            self.assertLessEqual(COMMON, set(told))
            if command in page.commands:
                same(f"page, options of {command}", page.options(command),
                     {o: a for o, a in told.items() if o not in COMMON})
                same(f"page, exit statuses of {command}",
                     page.statuses(command), set(statuses(text)))
            same(f"completion, options of {command}",
                 complete(script, command, "-"), set(told))
            for number, meaning in statuses(text).items():
                same(f"help, exit status {number} of {command}", meaning,
                     page.meanings.get(number))
        return wrong

    def test_sync(self):
        self.assertEqual(self.findings(MAN_PAGE.read_text(), COMPLETION), [])

    def test_drift_is_seen(self):
        page, script = MAN_PAGE.read_text(), COMPLETION.read_text()
        for old, new in (
                ("\n--allow-loss ", "\n--allow-losses "),
                ("\n--timeout=MS      Limit", "\n--timeout         Limit"),
                ("\n--json  ", "\n--jsonl "),
                ("luctl cancel\n------------", "luctl cancels\n-------------"),
                ("luctl finish\n------------\n", ""),
                ("Exit status: 0, 1, 2, 5, 6, 8, 9, 11.",
                 "Exit status: 0, 1, 2."),
                ("\n4\n    no go", "\n4\n    no way"),
                ("\n10\n    luctl", "\n12\n    luctl")):
            self.assertIn(old, page)
            self.assertTrue(self.findings(page.replace(old, new, 1),
                                          COMPLETION), old)
        for old, new in (("--no-jump\"", "\""), ("--version\"", "--versions\""),
                         ("finish timeline\"", "finish\""),
                         ("prepare)", "prepares)")):
            self.assertIn(old, script)
            self.put("completion", script.replace(old, new, 1))
            self.assertTrue(self.findings(page, self.top / "completion"),
                            old)

    def test_page_builds(self):
        done = subprocess.run(["make", "-C", SOURCES, f"O={self.top}", "doc"],
                              text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        # Before version 0.22 docutils wrote headings in capitals.
        self.assertRegex((self.top / "luctl.8").read_text(),
                         r"(?m)^\.SH (NAME|Name)\nluctl \\- ")


class Completion(LuctlTest):
    """What is offered where."""

    def offered(self, *words):
        """What bash offers."""
        return complete(COMPLETION, *words, folder=self.top)

    def test_files_and_folders(self):
        for name in ("vmlinuz-a", "vmlinuz-b"):
            self.put(name, "")
        files = {"vmlinuz-a", "vmlinuz-b"}
        self.assertEqual(self.offered("update", "vm"), files)
        self.assertEqual(self.offered("check", "vm"), files)
        self.assertEqual(self.offered("update", "--initrd", "vm"), files)
        self.assertEqual(self.offered("update", "--initrd", "=", "vm"), files)
        self.assertLessEqual(files, self.offered("update", "--initrd", "="))
        self.assertEqual(self.offered("status", "vm"), set())
        self.assertEqual(self.offered("--sysfs", ""), {"sys", "proc"})

    def test_after_options(self):
        self.assertEqual(self.offered("--json", "sta"), {"status"})
        self.assertEqual(self.offered("--sysfs", "x", "sta"), {"status"})
        self.assertEqual(self.offered("--sysfs", "=", "x", "sta"), {"status"})
        self.assertEqual(self.offered("prepare", "--t"), {"--timeout"})
        self.assertEqual(self.offered("prepare", "--timeout", ""), set())
        self.assertEqual(self.offered("update", "x", "--no"),
                         {"--no-rehearse", "--now", "--no-jump"})
        self.assertEqual(self.offered("cancel", "--u"), {"--unload",
                                                         "--usage"})
        self.assertEqual(self.offered("update", "--append", ""), set())
