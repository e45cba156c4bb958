"""Apply a function to many items in this process or in a bounded process pool that survives workers that crash or hang.

Processes are spawned, not forked (Ray and Arrow hold threads). They leave Ctrl-C to their parent from the start and end when it
is killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.connection import wait as wait_for
from typing import Final, TypeVar

MIN_POOLED: Final = 12
"""Fewer items are processed faster than a pool starts."""
IN_FLIGHT: Final = 4
"""Submitted items per process; bounds the memory of a run."""
HUNG_SECONDS: Final = 1800.0
"""Processes hang when none of them has finished an item for so long: stopped, blocked in a system call, in an endless loop."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, on_crash: Callable[[Item], Result]
) -> Iterator[Result]:
    """Yield `function(item)` of every item in the order of completion, or `on_crash(item)` if its process dies or hangs.

    Function and items must be picklable. An exception of `function` ends the iteration.
    """
    stream = iter(items)
    head = list(islice(stream, MIN_POOLED))
    if workers == 1 or len(head) < MIN_POOLED:
        yield from map(function, chain(head, stream))
    else:
        yield from _map_pooled(function, chain(head, stream), workers, on_crash)


def _map_pooled(
    function: Callable[[Item], Result], items: Iterator[Item], workers: int, on_crash: Callable[[Item], Result]
) -> Iterator[Result]:
    pool = _pool(workers)
    pending: dict[Future[Result], Item] = {}
    try:
        while True:
            for item in islice(items, IN_FLIGHT * workers - len(pending)):
                pending[_submit(pool, function, item)] = item
            if not pending:
                return
            done, _ = wait(pending, timeout=HUNG_SECONDS, return_when=FIRST_COMPLETED)
            if not done or any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                _kill(pool)
                yield from _map_isolated(function, list(pending.values()), on_crash)
                pending, pool = {}, _pool(workers)
                continue
            for future in done:
                del pending[future]
                yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _map_isolated(
    function: Callable[[Item], Result], suspects: list[Item], on_crash: Callable[[Item], Result]
) -> Iterator[Result]:
    """Process each of `suspects`, one of which has crashed or blocked a worker, in a process of its own."""
    for item in suspects:
        pool = _pool(1)
        try:
            future = _submit(pool, function, item)
            wait({future}, timeout=HUNG_SECONDS)
            yield future.result() if future.done() else on_crash(item)
        except BrokenProcessPool:
            yield on_crash(item)
        finally:
            _kill(pool)


def _kill(pool: ProcessPoolExecutor) -> None:
    """End a pool whose processes may hang: `shutdown` alone would leave them to be joined when the program ends."""
    for process in list((pool._processes or {}).values()):
        process.kill()
    pool.shutdown(wait=False, cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _submit(pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item) -> Future[Result]:
    """Submit one item with SIGINT blocked.

    A process that the pool starts for it inherits the mask: otherwise Ctrl-C during its imports would print a traceback.
    """
    with _sigint_blocked():
        return pool.submit(function, item)


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)
