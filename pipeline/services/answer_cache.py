"""A content-addressed cache on disk for the answers of backends, so that no request is made and paid for twice.

Each answer is a file: the SHA-256 of the answer, a line break, the answer. It is written under a temporary name and linked into
place, which fails if the file exists: the first answer wins. A damaged file is detected by its hash and replaced.
`$SOUNDFLOW_ANSWERS` names the directory, which all builds share (default `~/.cache/soundflow/answers`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import functools
import hashlib
import os
import warnings
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from soundflow.schemas.atomic_file import NO_SPACE, TEMPORARY, link_first, sweep_abandoned, temporary_file, write_atomic, written
from soundflow.schemas.base import InputError
from soundflow.schemas.file_lock import NO_LOCKS

UNFINISHED: Final = "unfinished"
"""Folder of temporary files."""
HEADER_BYTES: Final = 65
"""Length of a file's header in bytes: 64 hex digits and a line break."""
MIN_POLL, MAX_POLL = 0.01, 0.5
"""Shortest and longest interval, in seconds, between two attempts to lock a key."""


def answers_dir() -> Path:
    """Return the default cache directory, which need not exist."""
    return Path(os.environ.get("SOUNDFLOW_ANSWERS") or Path.home() / ".cache" / "soundflow" / "answers")


class AnswerCache:
    """The answers below one directory. Picklable; safe for concurrent tasks, processes and runs."""

    def __init__(self, directory: Path | None = None):
        self.directory = directory or answers_dir()
        self._asking: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def __reduce__(self) -> tuple[type[AnswerCache], tuple[Path]]:
        return (AnswerCache, (self.directory,))

    def get(self, key: str) -> bytes | None:
        """Return an answer, or None if it is absent, damaged or (with a warning) unreadable."""
        try:
            data = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            warnings.warn(f"{self._path(key)}: {error.strerror}; the request is repeated", stacklevel=2)
            return None
        answer = data[HEADER_BYTES:]
        return answer if data[:HEADER_BYTES] == _header(answer) else None

    def put(self, key: str, answer: bytes) -> bytes:
        """Store `answer` unless the key has one; return the stored answer.

        The file is not synced: if a power failure damages it, its hash shows it and the request is repeated.

        Raises OSError if the disk is full, and InputError if the cache cannot be written for another reason.
        """
        try:
            return self._put(self._path(key), key, answer)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> InputError:
        remedy = "Repair or delete it, or set $SOUNDFLOW_ANSWERS to another directory"
        return InputError(
            f"the answer cache cannot be written: {error.strerror}", file=error.filename or self.directory, remedy=remedy
        )

    def _put(self, path: Path, key: str, answer: bytes) -> bytes:
        data = _header(answer) + answer
        if self._link(path, data):
            return answer
        kept = self.get(key)
        if kept is not None:
            return kept
        write_atomic(path, data)  # the file is damaged
        return answer

    @contextlib.asynccontextmanager
    async def claimed(self, key: str) -> AsyncIterator[None]:
        """Hold a lock on `key` against other tasks of this process and other processes of this machine.

        A key locks one byte of one file, so no lock files are left behind and a killed process releases its locks. Without file
        locks (on some network file systems) two processes may make the same request; the first answer still wins.
        """
        lock = self._asking.setdefault(key, asyncio.Lock())
        async with lock:
            offset = int(key[:15], 16)
            pause = MIN_POLL
            while not self._try_lock(offset):
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_POLL)
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    fcntl.lockf(_lock_file(self.directory), fcntl.LOCK_UN, 1, offset)

    def sweep(self) -> None:
        """Remove the temporary files of killed writers (`schemas.atomic_file.sweep_abandoned`)."""
        sweep_abandoned((self.directory / UNFINISHED).glob(f"{TEMPORARY}*"))

    def _link(self, path: Path, data: bytes) -> bool:
        """Create the file `path`; False if it exists."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_file(self.directory / UNFINISHED) as temporary:
            with written(temporary) as stream:
                stream.write(data)
            return link_first(temporary, path, data)

    def _try_lock(self, offset: int) -> bool:
        try:
            fcntl.lockf(_lock_file(self.directory), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise
            if error.filename is not None or error.errno not in (
                errno.EACCES,
                errno.EAGAIN,
                *NO_LOCKS,
            ):  # the lock file cannot be opened
                raise self._unusable(error) from None
            return error.errno in NO_LOCKS
        return True

    def _path(self, key: str) -> Path:
        return self.directory / key[:2] / key[2:4] / key


@functools.cache
def _lock_file(directory: Path) -> int:
    """Open the lock file once per process: closing any descriptor of it would release all locks of the process."""
    directory.mkdir(parents=True, exist_ok=True)
    return os.open(directory / "asking.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _header(answer: bytes) -> bytes:
    return hashlib.sha256(answer).hexdigest().encode() + b"\n"
