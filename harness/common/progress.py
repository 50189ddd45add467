# SPDX-License-Identifier: GPL-2.0
"""A progress bar with percent and time left.

On a terminal one line is redrawn; elsewhere (a log, CI) a plain line
appears now and then, so that a long step is seen to be alive.
"""

import sys
import time

WIDTH = 30
PLAIN_INTERVAL = 15.0
DRAW_INTERVAL = 0.1


def duration(seconds):
    """Seconds as m:ss."""
    seconds = int(seconds + 0.5)
    return f"{seconds // 60}:{seconds % 60:02d}"


class Progress:
    """Progress of one long step that counts to a (perhaps guessed) total."""

    def __init__(self, label, total, stream=None):
        self.label = label
        self.total = max(1, total)
        self.done = 0
        self.stream = stream or sys.stdout
        self.terminal = self.stream.isatty()
        self.start = time.monotonic()
        self.shown = self.start if not self.terminal else 0.0

    def update(self, done):
        """Tell how far the step is; draws only when it is time to."""
        self.done = done
        if done >= self.total:          # the guess was low: stay below 100 %
            self.total = int(done * 1.03) + 1
        now = time.monotonic()
        if now - self.shown >= (DRAW_INTERVAL if self.terminal
                                else PLAIN_INTERVAL):
            self.shown = now
            self._draw(now)

    def step(self):
        """One more unit is done."""
        self.update(self.done + 1)

    def _draw(self, now):
        part = self.done / self.total
        elapsed = now - self.start
        left = elapsed / part - elapsed if part > 0 else 0
        text = (f"{self.label} {int(part * 100):3d}%  "
                f"{duration(elapsed)} elapsed, {duration(left)} left")
        if self.terminal:
            filled = int(part * WIDTH)
            self.stream.write(f"\r[{'#' * filled}{'.' * (WIDTH - filled)}] "
                              f"{text}\x1b[K")
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def finish(self, result="done"):
        """End the bar with one lasting line."""
        elapsed = time.monotonic() - self.start
        if self.terminal:
            self.stream.write("\r\x1b[K")
        self.stream.write(f"{self.label}: {result} "
                          f"({duration(elapsed)})\n")
        self.stream.flush()
