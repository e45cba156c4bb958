"""Answers of backends on disk, by content address: what a model, a voice or a generator once said is never asked again.

One file per answer: the SHA-256 of the rest, a line break, the answer. A file is written under a temporary name and linked into
place, which fails when there is one: the first wins. A damaged file is told by its hash, counts as absent and is replaced.
`$SOUNDFLOW_ANSWERS` names the directory all builds share; the default is `~/.cache/soundflow/answers`.
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

from soundflow.schemas.atomic_file import NO_SPACE, TEMPORARY, link_first, new_file, sweep_abandoned, temporary_name, write_atomic
from soundflow.schemas.base import InputError

UNFINISHED: Final = "unfinished"
"""Where files are written before they are put in place."""
HEAD: Final = 65
"""Bytes before the answer: 64 hex digits and a line break."""
NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
FIRST_LOOK, LAST_LOOK = 0.01, 0.5
"""Seconds between two looks at what another process is asking: at first, and after a while."""


def answers_dir() -> Path:
    """Where answers are kept unless a directory is given. It need not exist."""
    return Path(os.environ.get("SOUNDFLOW_ANSWERS") or Path.home() / ".cache" / "soundflow" / "answers")


class AnswerCache:
    """Answers below one directory. Cheap to make, picklable, safe for many tasks, processes and runs at once."""

    def __init__(self, directory: Path | None = None):
        self.directory = directory or answers_dir()
        self._asking: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def __reduce__(self) -> tuple[type[AnswerCache], tuple[Path]]:
        return (AnswerCache, (self.directory,))

    def get(self, key: str) -> bytes | None:
        """The whole answer, or None when there is none, or it is damaged or cannot be read: the last is warned of."""
        try:
            data = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            warnings.warn(f"{self._path(key)}: {error.strerror}; what it holds is asked again", stacklevel=2)
            return None
        answer = data[HEAD:]
        return answer if data[:HEAD] == _head(answer) else None

    def put(self, key: str, answer: bytes) -> bytes:
        """Keep `answer` unless there is one; returns the one that is kept.

        Not synced: what a power cut damages is told by its hash and asked again. Raises OSError when the disk is full, InputError
        when it cannot be written otherwise: what cannot be kept would be paid for again.
        """
        try:
            return self._put(self._path(key), key, answer)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> InputError:
        remedy = "Mend or remove it, or name another directory in $SOUNDFLOW_ANSWERS"
        return InputError(f"answers cannot be kept: {error.strerror}", file=error.filename or self.directory, remedy=remedy)

    def _put(self, path: Path, key: str, answer: bytes) -> bytes:
        data = _head(answer) + answer
        if self._link(path, data):
            return answer
        kept = self.get(key)
        if kept is not None:
            return kept
        write_atomic(path, data)  # what was there was damaged
        return answer

    @contextlib.asynccontextmanager
    async def claimed(self, key: str) -> AsyncIterator[None]:
        """Within the block no other task of this process, nor another process of this machine, is asking for `key`.

        One byte of one file is locked for each key: nothing is left behind, and a killed process lets go of it. Where files
        cannot be locked (some network file systems) two processes may ask the same; the first answer still wins.
        """
        lock = self._asking.setdefault(key, asyncio.Lock())
        async with lock:
            place = int(key[:15], 16)
            look = FIRST_LOOK
            while not self._locked(place):
                await asyncio.sleep(look)
                look = min(2 * look, LAST_LOOK)
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    fcntl.lockf(_lock_file(self.directory), fcntl.LOCK_UN, 1, place)

    def sweep(self) -> None:
        """Remove what killed writers left half-written; the young is left alone, its writer may live."""
        sweep_abandoned((self.directory / UNFINISHED).glob(f"{TEMPORARY}*"))

    def _link(self, path: Path, data: bytes) -> bool:
        """Write a whole file at `path` unless there is one; True when ours is the one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.directory / UNFINISHED).mkdir(exist_ok=True)
        temporary = temporary_name(self.directory / UNFINISHED)
        with new_file(temporary) as stream:
            stream.write(data)
        return link_first(temporary, path, data)

    def _locked(self, place: int) -> bool:
        try:
            fcntl.lockf(_lock_file(self.directory), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise
            if error.filename is not None or error.errno not in (errno.EACCES, errno.EAGAIN, *NO_LOCKS):  # no lock file either
                raise self._unusable(error) from None
            return error.errno in NO_LOCKS
        return True

    def _path(self, key: str) -> Path:
        return self.directory / key[:2] / key[2:4] / key


@functools.cache
def _lock_file(directory: Path) -> int:
    """Open once for the whole life of a process: closing it anywhere would let go of every claim the process holds."""
    directory.mkdir(parents=True, exist_ok=True)
    return os.open(directory / "asking.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _head(answer: bytes) -> bytes:
    return hashlib.sha256(answer).hexdigest().encode() + b"\n"
