"""Exclusive locks on files. A lock ends with the process that holds it, however that ends.

`flock` works between the processes of one kernel, in containers too. On NFS it works between machines unless the file system is
mounted with `nolock` or `local_lock`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""Errors of file systems without locks."""


def lock(file: IO[bytes] | IO[str] | int, *, wait: bool = True) -> bool:
    """Lock an open file until it is closed; return False if another one holds it and `wait` is False.

    Raises OSError with one of `NO_LOCKS` on a file system without locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file `path`, which is created if necessary and stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        lock(file)
        yield
