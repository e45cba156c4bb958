"""Progress on stderr: a live bar on a terminal, a line every few seconds elsewhere (logs, CI)."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

import rich.console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn

INTERVAL_SECONDS = 5.0
"""Between two lines of a log."""


class Console:
    """A progress display, `NAME DONE/TOTAL UNIT` and a text. A context manager."""

    def __init__(self, name: str, unit: str):
        self.name, self.unit = name, unit
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._started = self._last = time.monotonic()
        self._first_done: int | None = None
        self._line = ""

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            columns: list[ProgressColumn] = [
                TextColumn(self.name),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f} " + self.unit),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(),
            ]
            self._bar = Progress(*columns, console=rich.console.Console(stderr=True))
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._line:
            sys.stderr.write(self._line + "\n")

    def show(self, done: int, total: int, text: str = "") -> None:
        """Show the current state. Cheap enough to be called for every item."""
        if self._first_done is None:
            self._first_done = done  # the rest was done by earlier runs and says nothing about the speed of this one
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(self.name, total=total, completed=done, text=text)
            self._bar.update(self._task, completed=done, total=total, text=text)
            return
        now = time.monotonic()
        parts = [f"{self.name}: {done}/{total} {self.unit}", text]
        if self._first_done < done < total:
            seconds = (now - self._started) * (total - done) / (done - self._first_done)
            parts.append(f"about {format_duration(seconds)} left")
        self._line = ", ".join(part for part in parts if part)
        if now - self._last >= INTERVAL_SECONDS:
            sys.stderr.write(self._line + "\n")
            sys.stderr.flush()
            self._last, self._line = now, ""

    def warn(self, text: str) -> None:
        """Print a warning above the bar or as a line of its own."""
        if self._bar is not None:
            self._bar.console.print(f"warning: {text}", markup=False, highlight=False)
        else:
            sys.stderr.write(f"warning: {text}\n")
            sys.stderr.flush()


def format_duration(seconds: float) -> str:
    """Return a duration rounded for people: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
