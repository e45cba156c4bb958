"""Do the same to many things: in this process, or in a bounded pool that survives the death of a worker.

Processes are spawned, not forked (Ray and Arrow hold threads), leave Ctrl-C to their parent from their first moment and end
when it is killed.
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

FEW: Final = 12
"""So many things are done faster than a pool starts."""
IN_FLIGHT: Final = 4
"""Things handed out per process; bounds the memory of a run."""

Thing = TypeVar("Thing")
Made = TypeVar("Made")


def each(
    function: Callable[[Thing], Made], things: Iterable[Thing], workers: int, died: Callable[[Thing], Made]
) -> Iterator[Made]:
    """`function` of every thing, in whatever order they finish; `died` is what becomes of one whose process died over it.

    Function and things must pickle. What `function` raises ends the run.
    """
    stream = iter(things)
    head = list(islice(stream, FEW))
    if workers == 1 or len(head) < FEW:
        yield from map(function, chain(head, stream))
    else:
        yield from _pooled(function, chain(head, stream), workers, died)


def _pooled(
    function: Callable[[Thing], Made], things: Iterator[Thing], workers: int, died: Callable[[Thing], Made]
) -> Iterator[Made]:
    pool = _pool(workers)
    pending: dict[Future[Made], Thing] = {}
    try:
        while True:
            for thing in islice(things, IN_FLIGHT * workers - len(pending)):
                pending[_submit(pool, function, thing)] = thing
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                pool.shutdown(wait=False)
                yield from _one_by_one(function, list(pending.values()), died)
                pending, pool = {}, _pool(workers)
                continue
            for future in done:
                del pending[future]
                yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _one_by_one(function: Callable[[Thing], Made], suspects: list[Thing], died: Callable[[Thing], Made]) -> Iterator[Made]:
    """A worker died over one of `suspects`: find out which, without dying."""
    for thing in suspects:
        with _pool(1) as pool:
            try:
                yield _submit(pool, function, thing).result()
            except BrokenProcessPool:
                yield died(thing)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _submit(pool: ProcessPoolExecutor, function: Callable[[Thing], Made], thing: Thing) -> Future[Made]:
    """Hand out one thing. A process started for it inherits a mask without SIGINT: a child that is still importing when
    Ctrl-C comes would print a traceback."""
    with _sigint_held():
        return pool.submit(function, thing)


@contextlib.contextmanager
def _sigint_held() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)
