"""Open regular files only: a pipe would block for ever, and a device may give bytes without end."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
MAX_DOCUMENT: Final = 256 << 20
"""Size in bytes above which a document is not read."""


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading. Raises OSError, also if `path` is something else, which is then never opened."""
    _require_regular(path, path.stat().st_mode)
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        _require_regular(path, os.fstat(file.fileno()).st_mode)  # it may have been replaced in between
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: Path, limit: int = MAX_DOCUMENT) -> bytes:
    """Return the content of a regular file of at most `limit` bytes. Raises OSError like `open_regular`, also if it is larger."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"is larger than {limit >> 20} MiB", str(path))
    return data


def _require_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"is {KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file", str(path))
