"""Files and folders that exist completely or not at all, creation where the first writer wins, cleanup after killed writers."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

TEMPORARY: Final = ".tmp-"
"""Prefix of the name of a file that is being written."""
ABANDONED_SECONDS: Final = 3600.0
NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
"""Errors after which nothing more can be written to the disk."""
NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
"""Errors of file systems without hard links."""
BUFFER: Final = 1 << 20


def write_atomic(path: Path, data: bytes | Iterable[bytes], *, durable: bool = False) -> None:
    """Write `data` to `path`, creating its folder. Readers see the old file or the whole new one.

    `durable`: sync the file and its folder, so that the file survives a power failure. Raises OSError and leaves the old file.
    """
    with atomic_file(path, durable=durable) as file:
        file.writelines([data] if isinstance(data, bytes) else data)


@contextlib.contextmanager
def atomic_file(path: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """Open a temporary file next to `path` for writing; it replaces `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path.parent)
    with new_file(temporary, durable=durable) as file:
        yield file
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path, *, replace: bool = False, durable: bool = False) -> Iterator[Path]:
    """Create the folder `_tmp-NAME` next to `path` and yield it; it becomes `path` when the block ends without an error.

    The remains of an interrupted attempt are removed first. `replace`: an existing folder `path` is deleted; without it,
    OSError is raised if there is one that is not empty. `durable`: sync the files and folders.
    """
    aside = path.with_name(f"_tmp-{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        if durable:
            for member in (*aside.rglob("*"), aside):
                sync(member)
        if replace:
            shutil.rmtree(path, ignore_errors=True)
        aside.replace(path)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    if durable:
        sync(path.parent)


def temporary_name(folder: Path) -> Path:
    """Return a new name in `folder` that `sweep_abandoned` may be given."""
    return folder / f"{TEMPORARY}{os.urandom(8).hex()}"


@contextlib.contextmanager
def new_file(path: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """Create `path`, which must not exist, with mode 0666 minus the umask; it is removed when the block raises.

    `durable`: sync the file, but not its folder, at the end of the block.
    """
    file = path.open("xb", buffering=BUFFER)
    try:
        with file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def link_first(temporary: Path, path: Path, data: bytes, *, durable: bool = False) -> bool:
    """Move `temporary`, which holds `data`, to `path` unless `path` exists; return whether it was moved.

    Of several writers exactly one succeeds. `temporary` is always removed. On file systems without hard links `path` is created
    exclusively and then written, so that readers must check what they read.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        try:
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
        except FileExistsError:
            return False
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        sync(path.parent)
    return True


def sync(path: Path) -> None:
    """Make the content of a file, or the entries of a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep_abandoned(paths: Iterable[Path]) -> None:
    """Remove temporary files of killed writers. Files younger than `ABANDONED_SECONDS` stay, since they may still be written."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()
