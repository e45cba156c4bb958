"""Progress for people: a live bar on a terminal, one line per interval elsewhere (logs, CI)."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

import rich.console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn

INTERVAL_SECONDS = 5.0


class Console:
    """Shows `done of total` with a free text behind it, on stderr. Use as a context manager."""

    def __init__(self, what: str, unit: str):
        self.what, self.unit = what, unit
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._started = self._last = time.monotonic()
        self._line = ""

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            columns: list[ProgressColumn] = [
                TextColumn(self.what),
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
        """Tell the newest state; cheap enough to be called for every item."""
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(self.what, total=total, text=text)
            self._bar.update(self._task, completed=done, total=total, text=text)
            return
        now = time.monotonic()
        parts = [f"{self.what} {done}/{total} {self.unit}", text]
        if 0 < done < total:
            parts.append(f"{(now - self._started) * (total - done) / done:.0f} s left")
        self._line = ", ".join(part for part in parts if part)
        if now - self._last >= INTERVAL_SECONDS:
            sys.stderr.write(self._line + "\n")
            sys.stderr.flush()
            self._last, self._line = now, ""
