"""Clean many files: in this process, or in a bounded pool that survives the death of a worker.

Processes are spawned, not forked (Ray and Arrow hold threads), import no more than the cleaning needs, leave Ctrl-C to
their parent and end when it is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Final, NamedTuple

from operators.clip_cache import CacheEntry, ClipCache, Treatment, file_sha256, unavailable
from schemas.outcome import Failed, Ok, Outcome

FEW: Final = 12
"""So many files are cleaned faster than a pool starts."""
IN_FLIGHT: Final = 4
"""Files handed out per process; bounds the memory of a run."""


class Seen(NamedTuple):
    """What tells that a file is the one hashed before."""

    size: int
    mtime: int
    ctime: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Seen:
        """From what stat says."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class Work(NamedTuple):
    """One file under one treatment."""

    path: str
    treatment: str


Task = tuple[Work, str | None]
"""What to clean, and its content hash when it is known."""


class Cleaned(NamedTuple):
    """What became of one file."""

    work: Work
    seen: Seen | None
    outcome: Outcome[CacheEntry]
    fresh: bool
    """It was cleaned now, not found in the cache."""


def clean_all(tasks: Iterable[Task], cache: ClipCache, workers: int) -> Iterator[Cleaned]:
    """Clean every task, in whatever order they finish. Raises OSError when the cache cannot be written."""
    stream = iter(tasks)
    head = list(islice(stream, FEW))
    if workers == 1 or len(head) < FEW:
        yield from (clean_one(cache, task) for task in chain(head, stream))
    else:
        yield from _pooled(chain(head, stream), cache, workers)


def clean_one(cache: ClipCache, task: Task) -> Cleaned:
    """Clean one file; whatever it makes go wrong stays with it, but for a cache that cannot be written (OSError)."""
    work, content = task
    path, treatment = Path(work.path), Treatment(work.treatment)
    try:
        seen = Seen.of(path.stat())
        content = content or file_sha256(path)
    except OSError:
        return Cleaned(work, None, unavailable(path), False)
    entry = cache.entry(cache.config.key(content, treatment))
    if entry is not None:
        return Cleaned(work, seen, Ok(entry), False)
    try:
        return Cleaned(work, seen, cache.clean(path, treatment, content), True)
    except OSError:
        raise
    except Exception as error:  # one file's surprise must not end the run
        return Cleaned(work, seen, Failed(f"{type(error).__name__}: {error}", "clean", {"path": work.path}), True)


def _pooled(tasks: Iterator[Task], cache: ClipCache, workers: int) -> Iterator[Cleaned]:
    pool = _pool(workers)
    pending: dict[Future[Cleaned], Task] = {}
    try:
        while True:
            for task in islice(tasks, IN_FLIGHT * workers - len(pending)):
                pending[pool.submit(clean_one, cache, task)] = task
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                pool.shutdown(wait=False)
                yield from _one_by_one(list(pending.values()), cache)
                pending, pool = {}, _pool(workers)
                continue
            for future in done:
                del pending[future]
                yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _one_by_one(suspects: list[Task], cache: ClipCache) -> Iterator[Cleaned]:
    """A worker died over one of `suspects`: find out which, without dying."""
    for task in suspects:
        with _pool(1) as pool:
            try:
                yield pool.submit(clean_one, cache, task).result()
            except BrokenProcessPool:
                yield Cleaned(task[0], None, Failed("the process reading it died", "read", {"path": task[0].path}), True)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_become_worker)


def _become_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)
