"""Clean many files: in this process, or in processes that import no more than the cleaning needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from soundflow.operators.clean.clip_cache import CacheEntry, ClipCache, Treatment, file_sha256, unavailable
from soundflow.pipeline.mechanics.processes import each
from soundflow.schemas.outcome import Failed, Ok, Outcome


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
    return each(partial(clean_one, cache), tasks, workers, _died)


def _died(task: Task) -> Cleaned:
    return Cleaned(task[0], None, Failed("the process reading it died", "read", {"path": task[0].path}), True)


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
