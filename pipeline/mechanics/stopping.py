"""Stopping politely: SIGINT and SIGTERM are noted while work goes on that must not be broken off just anywhere.

A handler that raises is not enough: inside an encoder's callback the exception is swallowed and half a file kept.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

from soundflow.schemas.base import Interrupted

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def signals_handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within the block `handler` gets SIGINT and SIGTERM; afterwards whoever had them. Does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, had in before.items():
            signal.signal(number, signal.SIG_DFL if had is None else had)


@contextlib.contextmanager
def noted_signals() -> Iterator[Callable[[], bool]]:
    """Within the block the first SIGINT or SIGTERM only makes the yielded function true; a second one raises Interrupted."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if asked:
            raise Interrupted
        asked.append(number)

    with signals_handled_by(note):
        yield lambda: bool(asked)


def interrupt(number: int, frame: FrameType | None) -> None:
    """A handler that raises Interrupted at once: where nothing half-written can be left.

    Only the first signal: a second would break off the clean-up of the first, and a pool not told to end is waited for.
    """
    for signal_number in SIGNALS:
        signal.signal(signal_number, signal.SIG_IGN)
    raise Interrupted
