"""Threads that mostly wait for somebody else, and need not be waited for when the work is broken off.

`concurrent.futures` joins its threads before a program may end, so one that waits for a server that does not answer would keep
a user who pressed Ctrl-C waiting too.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

GRACE_SECONDS: Final = 5.0
"""For what is in hand when the work is broken off; what takes longer is left to end with the program."""

Thing = TypeVar("Thing")
Made = TypeVar("Made")


class Crew(Generic[Thing, Made]):
    """`size` threads that do the same to one thing after another. A context manager."""

    def __init__(self, function: Callable[[Thing], Made], size: int):
        self._function = function
        self._todo: queue.SimpleQueue[tuple[Future[Made], Thing] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True, name=f"crew-{number}") for number in range(size)]
        for thread in self._threads:
            thread.start()

    def submit(self, thing: Thing) -> Future[Made]:
        """Hand one thing in."""
        future: Future[Made] = Future()
        self._todo.put((future, thing))
        return future

    def dismiss(self) -> None:
        """No more is begun. Waits a little for what is in hand."""
        while not self._todo.empty():
            try:
                self._todo.get_nowait()
            except queue.Empty:
                break
        for _ in self._threads:
            self._todo.put(None)
        deadline = time.monotonic() + GRACE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (given := self._todo.get()) is not None:
            future, thing = given
            try:
                future.set_result(self._function(thing))
            except BaseException as error:
                future.set_exception(error)
