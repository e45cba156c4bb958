"""Clean many files, in this process or in worker processes that import only what cleaning needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from soundflow.operators.clean.clip_cache import CacheEntry, ClipCache, Treatment, file_sha256, unavailable
from soundflow.pipeline.mechanics.processes import map_in_processes
from soundflow.schemas.outcome import Failed, Ok, Outcome


class FileStamp(NamedTuple):
    """The stat fields by which an unchanged file is recognised; times in nanoseconds."""

    size: int
    mtime: int
    ctime: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """Return the stamp of a stat result."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class Work(NamedTuple):
    """One file, or an excerpt of it, with one treatment."""

    path: str
    treatment: str
    excerpt: str = ""
    """See `operators.sources.rows.SourceRow`."""


Task = tuple[Work, str | None]
"""A file to clean, and its content hash if known."""


class Cleaned(NamedTuple):
    """The outcome of one file."""

    work: Work
    stamp: FileStamp | None
    outcome: Outcome[CacheEntry]
    is_fresh: bool
    """Whether this run cleaned the file; False when it was in the cache."""


def clean_all(tasks: Iterable[Task], cache: ClipCache, workers: int) -> Iterator[Cleaned]:
    """Clean every task and yield the results as they finish. Raises OSError when the cache cannot be written."""
    return map_in_processes(partial(clean_one, cache), tasks, workers, _died)


def _died(task: Task) -> Cleaned:
    return Cleaned(
        task[0], None, Failed("the worker process died or hung while reading the file", "read", {"path": task[0].path}), True
    )


def clean_one(cache: ClipCache, task: Task) -> Cleaned:
    """Clean one file. Its errors are part of the result; only a cache that cannot be written raises (OSError)."""
    work, content = task
    path, treatment = Path(work.path), Treatment(work.treatment)
    try:
        stamp = FileStamp.of(path.stat())
        content = content or file_sha256(path)
    except OSError:
        return Cleaned(work, None, unavailable(path), False)
    entry = cache.entry(cache.config.key(content, treatment, work.excerpt))
    if entry is not None:
        return Cleaned(work, stamp, Ok(entry), False)
    try:
        return Cleaned(work, stamp, cache.clean(path, treatment, content, work.excerpt), True)
    except OSError:
        raise
    except Exception as error:  # an unexpected error of one file must not end the run
        return Cleaned(work, stamp, Failed(f"{type(error).__name__}: {error}", "clean", {"path": work.path}), True)
