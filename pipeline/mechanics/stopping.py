"""Graceful shutdown: SIGINT and SIGTERM are deferred during work that must not be interrupted at an arbitrary point.

A handler that raises is not enough: inside an encoder's callback the exception is swallowed and half a file is kept.
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
def signal_handler(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle SIGINT and SIGTERM by `handler` within the block, then restore the previous handlers.

    Does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, signal.SIG_DFL if previous is None else previous)


@contextlib.contextmanager
def deferred_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns True after the first SIGINT or SIGTERM. A second signal raises Interrupted."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received:
            raise Interrupted
        received.append(number)

    with signal_handler(note):
        yield lambda: bool(received)


def raise_interrupted(number: int, frame: FrameType | None) -> None:
    """Signal handler that raises Interrupted at once, for code that cannot leave anything half-written.

    It ignores further signals: a second one would interrupt the cleanup, which then waits forever for its process pool.
    """
    for signal_number in SIGNALS:
        signal.signal(signal_number, signal.SIG_IGN)
    raise Interrupted
