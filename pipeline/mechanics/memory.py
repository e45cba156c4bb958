"""How a worker holds its memory."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
"""Of glibc's `mallopt`."""
KEPT_BYTES: Final = 256 << 20
HEAP_BYTES: Final = 32 << 20
"""Larger arrays are mapped on their own; glibc takes no larger threshold."""


def keep_freed_memory() -> None:
    """Have freed memory stay with this process, up to 256 MiB; does nothing where there is no glibc.

    Arrays of minutes of audio come and go with every stream. A fresh process gives their pages back each time and has them
    faulted in again: tens of thousands of faults a second, a sixth of a shard's time.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, HEAP_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
