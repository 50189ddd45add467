# SPDX-License-Identifier: GPL-2.0
"""A QMP client: commands, and the events that come in between."""

import json
import queue
import socket
import threading
import time

from ..common.run import HarnessError


class QMPError(HarnessError):
    """QEMU refused a command, or is gone."""


class QMP:
    """A connection to a QMP socket; a thread sorts answers from events."""

    def __init__(self, path, timeout=10):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rwb")
        greeting = json.loads(self._file.readline())
        if "QMP" not in greeting:
            raise QMPError(f"no greeting but {greeting}")
        self._socket.settimeout(None)
        self._answers = queue.Queue()
        self._changed = threading.Condition()
        self.events = []
        self.closed = False
        self._lock = threading.Lock()
        threading.Thread(target=self._reader, daemon=True).start()
        self.execute("qmp_capabilities")

    def _reader(self):
        try:
            for line in self._file:
                message = json.loads(line)
                if "event" in message:
                    with self._changed:
                        self.events.append(message)
                        self._changed.notify_all()
                else:
                    self._answers.put(message)
        except (OSError, ValueError):
            pass
        with self._changed:
            self.closed = True
            self._changed.notify_all()
        self._answers.put({"error": {"desc": "connection closed"}})

    def execute(self, command, timeout=30, **arguments):
        """Runs a command and returns what QEMU returned."""
        request = {"execute": command}
        if arguments:
            request["arguments"] = {key.replace("_", "-"): value
                                    for key, value in arguments.items()}
        with self._lock:
            try:
                self._file.write(json.dumps(request).encode() + b"\n")
                self._file.flush()
                answer = self._answers.get(timeout=timeout)
            except (OSError, ValueError, queue.Empty) as error:
                raise QMPError(f"{command}: {error or 'no answer'}") from error
        if "error" in answer:
            raise QMPError(f"{command}: {answer['error'].get('desc')}")
        return answer.get("return")

    def wait_event(self, name, timeout, since=0):
        """The first event called `name` after the first `since` events."""
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                for event in self.events[since:]:
                    if event["event"] == name:
                        return event
                left = end - time.monotonic()
                if left <= 0 or self.closed:
                    return None
                self._changed.wait(left)

    def close(self):
        """Drops the connection."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
