# SPDX-License-Identifier: GPL-2.0
"""Messages, subprocesses with logs, locks and atomic files."""

import contextlib
import fcntl
import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path


class HarnessError(Exception):
    """A failure explained to the user in one message, without a traceback."""


def say(text):
    """Print one line for the user at once, whatever stdout is."""
    print(text, flush=True)


#: In the environment of what make check runs: when it has to begin nothing any more, in
#: seconds since the epoch.
UNTIL = "HARNESS_UNTIL"

#: Why something is skipped then.
LATE = "not begun, time is up"


def time_is_up(needs=0):
    """Whether so little time is left that what needs so many minutes is not begun."""
    until = os.environ.get(UNTIL)
    return bool(until) and time.time() + needs * 60 > float(until)


_noticed = set()


def notice(text):
    """Print, once, what the user should know but need not act on."""
    if text in _noticed:
        return
    _noticed.add(text)
    print(f"notice: {text}", file=sys.stderr, flush=True)


def output(args, **kwargs):
    """Run a command quietly; return its stdout as text, raise when it fails."""
    done = subprocess.run([str(a) for a in args], text=True,
                          stdin=kwargs.pop("stdin", subprocess.DEVNULL)
                          if "input" not in kwargs else None,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          **kwargs)
    if done.returncode:
        command = " ".join(str(a) for a in args[:6])
        raise HarnessError(f"{command}: exit status {done.returncode}\n"
                           f"{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def logged(args, log, title=None, **kwargs):
    """Run a command with its whole output in a log file.

    When it fails, the error carries the last lines and the log's name.
    """
    log = Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8", errors="replace") as out:
        out.write("+ " + " ".join(str(a) for a in args) + "\n")
        out.flush()
        done = subprocess.run([str(a) for a in args], stdout=out,
                              stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, **kwargs)
    if done.returncode:
        raise HarnessError(f"{title or args[0]} failed, exit status "
                           f"{done.returncode}\n{tail(log)}\nfull log: {log}")


@functools.lru_cache(None)
def background():
    """What to put before a command so that it takes only what guests leave.

    A guest that waits for a processor runs into limits that are long past what it
    needs; a compiler can wait. Where the idle class of the scheduler may not be used
    (a container can forbid it) the lowest priority has to do.
    """
    idle = ["chrt", "--idle", "0"]
    with contextlib.suppress(OSError):
        if not subprocess.run([*idle, "true"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode:
            return idle
    return ["nice", "-n", "19"]


def tail(log, lines=25):
    """The last lines of a log file."""
    with open(log, encoding="utf-8", errors="replace") as text:
        return "\n".join(text.read().splitlines()[-lines:])


@contextlib.contextmanager
def locked(path, what, shared=False):
    """Hold a lock file: one process at a time changes a shared folder.

    Shared holders only keep the others from changing it.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except OSError:
            say(f"waiting for another process that holds {what}")
            fcntl.flock(handle, kind)
        yield


def write_if_changed(path, data):
    """Write text or bytes atomically; leave an equal file (its mtime) alone."""
    path = Path(path)
    if isinstance(data, str):
        data = data.encode("utf-8")
    if path.is_file() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    if path.is_file():
        os.chmod(temporary, path.stat().st_mode & 0o777)
    os.replace(temporary, path)
    return True


def load_json(path):
    """A recorded dictionary; empty when there is none or it is corrupted."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def save_json(path, value):
    """Record a dictionary atomically."""
    write_if_changed(path, json.dumps(value, indent=1, sort_keys=True) + "\n")
