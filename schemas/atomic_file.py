"""Files and folders that exist completely or not at all, creation where the first writer wins, cleanup after killed writers.

A writer holds a lock on its temporary file until the file is moved into place, which tells the file from the remains of a killed
writer. Neither the age nor a process id would: two containers with the same host name may use the same process ids.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from soundflow.schemas.file_lock import NO_LOCKS, lock

TEMPORARY: Final = ".tmp-"
"""Prefix of the name of a file that is being written."""
OTHER_MACHINE_SECONDS: Final = 86_400.0
"""Age from which an unlocked temporary file of another machine is removed: some file systems lock within a machine only."""
_NAME: Final = re.compile(
    r"(?:\.tmp-)?[^~]*~(?P<pid>\d+)~.*?~(?:(?P<machine>[0-9a-f]{8})~)?[0-9a-f]{8}"  # see `temporary_file`
    r"|\.tmp-[0-9a-f]{16}"
)
"""`.tmp-HOST~PID~WHAT~MACHINE~RANDOM`; also the names that version 0.1 used, which have no machine."""
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
    with temporary_file(path.parent) as temporary:
        with written(temporary, durable=durable) as file:
            yield file
        temporary.replace(path)
    if durable:
        sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path, *, replace: bool = False, durable: bool = False) -> Iterator[Path]:
    """Create the folder `_tmp-NAME` next to `path` and yield it; it becomes `path` when the block ends without an error.

    The remains of an interrupted attempt are removed first. `replace`: an existing folder `path` is deleted; without it,
    OSError is raised if there is one that is not empty. `durable`: sync the files and folders.

    Raises BlockingIOError if another process is writing the same folder.
    """
    aside = path.with_name(f"_tmp-{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _claimed(path.with_name(f"{TEMPORARY}{path.name}.lock")):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
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


@contextlib.contextmanager
def temporary_file(folder: Path, what: str = "") -> Iterator[Path]:
    """Create an empty file in `folder`, which is created if necessary, and yield its path. `what` becomes a part of its name.

    It has mode 0666 minus the umask, and it is locked until the end of the block, where it is removed unless it has been moved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{TEMPORARY}{socket.gethostname()}~{os.getpid()}~{what}~{_machine()}~{os.urandom(4).hex()}"
    with _claimed(path):
        yield path


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Create the file `path`, lock it and remove it at the end. Raises BlockingIOError if another process has locked it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if not _try_lock(handle):
                raise BlockingIOError(errno.EAGAIN, "another process is writing here", str(path))
            if not _is_at(handle, path):  # removed by another process between the two calls
                os.close(handle)
                continue
        except BaseException:
            os.close(handle)
            raise
        break
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if _is_at(handle, path):
                path.unlink()
        os.close(handle)


def _try_lock(handle: int) -> bool:
    """Lock an open file; True also on a file system without locks."""
    try:
        return lock(handle, wait=False)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(handle))


@functools.cache
def _machine() -> str:
    """Return 8 hex digits that identify the kernel and the process-id namespace (the container) of this process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text() + str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux
        boot = f"{socket.gethostname()} {uuid.getnode()}"
    return hashlib.sha256(boot.encode()).hexdigest()[:8]


@contextlib.contextmanager
def written(path: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing. `durable`: sync the file, but not its folder, at the end of the block."""
    with path.open("wb", buffering=BUFFER) as file:
        yield file
        file.flush()
        if durable:
            os.fsync(file.fileno())


def reset_mode(path: Path) -> None:
    """Give a file that a library created for its owner alone the mode 0666 minus the umask."""
    with temporary_file(path.parent) as probe:
        path.chmod(probe.stat().st_mode & 0o777)


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
    """Remove the temporary files of killed writers among `paths`. Files whose writers live are kept, however old they are.

    An unlocked file is removed at once if a process of this machine wrote it, otherwise if it is older than
    `OTHER_MACHINE_SECONDS` by the clock of the file system. Files with other names than temporary ones are never removed.
    """
    for path in paths:
        if (name := _NAME.fullmatch(path.name)) is not None:
            with contextlib.suppress(FileNotFoundError, PermissionError, IsADirectoryError):
                _sweep(path, name)


def _sweep(path: Path, name: re.Match[str]) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            is_free = lock(handle, wait=False)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            is_free = name["machine"] != _machine() or not _is_alive(int(name["pid"]))
        if not is_free:
            return
        if name["machine"] == _machine() or file_system_time(path.parent) - os.fstat(handle).st_mtime > OTHER_MACHINE_SECONDS:
            path.unlink()
    finally:
        os.close(handle)


def is_own(path: Path) -> bool:
    """Return whether this process created a temporary file."""
    name = _NAME.fullmatch(path.name)
    return name is not None and (name["machine"], name["pid"]) == (_machine(), str(os.getpid()))


def file_system_time(folder: Path) -> float:
    """Return the time by the clock that stamps the files of `folder`: clocks of machines differ, and may jump."""
    with temporary_file(folder, "clock") as probe:
        return probe.stat().st_mtime


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
