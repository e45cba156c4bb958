"""A thread pool for calls to slow services, which an interrupted program need not wait for.

`concurrent.futures` joins its threads at exit, so one that waits for an unresponsive server would block a program after Ctrl-C.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

GRACE_SECONDS: Final = 5.0
"""How long `shutdown` waits for running calls. Slower ones end with the program."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class DaemonThreadPool(Generic[Item, Result]):
    """`size` daemon threads that apply one function to items."""

    def __init__(self, function: Callable[[Item], Result], size: int):
        self._function = function
        self._queue: queue.SimpleQueue[tuple[Future[Result], Item] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True, name=f"worker-{number}") for number in range(size)]
        for thread in self._threads:
            thread.start()

    def submit(self, item: Item) -> Future[Result]:
        """Queue one item and return the future of its result."""
        future: Future[Result] = Future()
        self._queue.put((future, item))
        return future

    def shutdown(self) -> None:
        """Drop queued items and wait up to `GRACE_SECONDS` for running calls."""
        while not self._queue.empty():
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        for _ in self._threads:
            self._queue.put(None)
        deadline = time.monotonic() + GRACE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (queued := self._queue.get()) is not None:
            future, item = queued
            try:
                future.set_result(self._function(item))
            except BaseException as error:
                future.set_exception(error)
