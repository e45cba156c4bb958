"""Memory settings of a worker process."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
"""Parameters of glibc's `mallopt`."""
TRIM_BYTES: Final = 256 << 20
MMAP_BYTES: Final = 32 << 20
"""Larger arrays are mapped separately; glibc accepts no larger threshold."""


def keep_freed_memory() -> None:
    """Keep up to 256 MiB of freed memory in this process. Does nothing without glibc.

    Every stream allocates and frees arrays of minutes of audio. By default glibc returns their pages to the kernel each time, and
    faulting them in again costs a sixth of the time of a shard.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
