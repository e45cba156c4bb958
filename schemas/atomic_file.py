"""Files that are there whole or not at all, and what killed writers leave of them."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

TEMPORARY: Final = ".tmp-"
"""How the name of a file begins that is being written."""
ABANDONED_SECONDS: Final = 3600.0
NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
"""Nothing more can be written, wherever on this disk."""


def write_atomic(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write `data` under a temporary name in the same folder, then put it in place: readers see all of it or nothing.

    Raises OSError (nothing is left behind). Not synced to disk: an entry a power cut damages is found by its hash and healed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def sweep_abandoned(paths: Iterable[Path]) -> None:
    """Remove files that killed writers left half-written; the young are left alone, their writers may live."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()
