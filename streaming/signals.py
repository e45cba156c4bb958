"""Stop an event loop on SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, Final, TypeVar

from soundflow.schemas.base import Interrupted

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
T = TypeVar("T")


def run_until_stopped(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop; SIGINT and SIGTERM cancel it and raise Interrupted.

    An exception raised by an ordinary signal handler can be lost: the loop catches it if a callback is running.
    """
    return asyncio.run(_cancelled_by_signals(main))


async def _cancelled_by_signals(main: Coroutine[Any, Any, T]) -> T:
    task, signalled = asyncio.ensure_future(main), False

    def stop() -> None:
        nonlocal signalled
        signalled = True
        task.cancel()

    with _handled(stop):
        try:
            return await task
        except asyncio.CancelledError:
            if signalled:
                raise Interrupted from None
            raise


@contextlib.contextmanager
def _handled(stop: Any) -> Iterator[None]:
    """Call `stop` in the running loop on each signal. Signals are left alone outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, previous = asyncio.get_running_loop(), {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
