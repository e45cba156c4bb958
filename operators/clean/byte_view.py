"""Random access to the bytes of a recording on disk or in memory, and a file object over a part of them."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from typing import Final

WINDOW: Final = 1 << 18
"""Bytes read at a time by `Bytes.window`."""


class Bytes:
    """The bytes of a file descriptor or of a bytes object. Reads do not move the descriptor's position."""

    def __init__(self, source: int | bytes):
        self.source = source
        self.size = len(source) if isinstance(source, bytes) else os.fstat(source).st_size
        self._window, self._from = b"", 0

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer only at the end of the file."""
        if isinstance(self.source, bytes):
            return self.source[offset : offset + length]
        found = os.pread(self.source, length, offset)
        while len(found) < length and (more := os.pread(self.source, length - len(found), offset + len(found))):
            found += more
        return found

    def peek(self, offset: int, length: int) -> bytes:
        """Return the same as `read`, from a buffer that makes many small reads in ascending order cheap."""
        start = offset - self._from
        if start < 0 or start + length > len(self._window):
            self._window, self._from, start = self.read(offset, max(length, WINDOW)), offset, 0
        return self._window[start : start + length]

    def find(self, pattern: bytes, offset: int) -> int:
        """Return the offset of the first occurrence of `pattern` from `offset` on, or -1."""
        while offset < self.size:
            block = self.read(offset, WINDOW)
            at = block.find(pattern)
            if at >= 0:
                return offset + at
            if len(block) < WINDOW:
                break
            offset += WINDOW - len(pattern) + 1
        return -1

    def zeros(self, offset: int) -> int:
        """Return the number of zero bytes from `offset` to the next other byte or the end."""
        at = offset
        while block := self.read(at, WINDOW):
            run = len(block) - len(block.lstrip(b"\0"))
            at += run
            if run < len(block):
                break
        return at - offset


@dataclass(frozen=True, slots=True)
class AudioPart:
    """A stretch of a file that a decoder reads from its first byte to its last, with the corrections its header needs."""

    start: int
    stop: int
    patches: tuple[tuple[int, bytes], ...] = ()
    """Pairs of an offset in the file and the bytes that replace those at it, in ascending order."""
    prefix: bytes = b""
    """Bytes in front of the stretch."""
    frames: int | None = None
    """Frames that the stretch holds, where its structure determines them."""
    tolerance: int = 0
    """Frames of `frames` that a decoder may drop: its delay."""
    skip: int = 0
    """Frames that decoding `prefix` yields, which are not part of the recording."""


@dataclass(slots=True)
class PartFile(io.RawIOBase):
    """A read-only file object over a part."""

    data: Bytes
    part: AudioPart
    _at: int = field(default=0)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to `offset` and return the new position."""
        size = len(self.part.prefix) + self.part.stop - self.part.start
        self._at = max(0, offset + (self._at if whence == os.SEEK_CUR else size if whence == os.SEEK_END else 0))
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` from the current position and return the number of bytes read."""
        found = self._bytes(len(buffer))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def _bytes(self, length: int) -> bytes:
        prefix = self.part.prefix[self._at : self._at + length]
        start = self.part.start + max(0, self._at - len(self.part.prefix))
        rest = bytearray(self.data.read(start, max(0, min(length - len(prefix), self.part.stop - start))))
        for offset, patch in self.part.patches:
            first, last = max(offset, start), min(offset + len(patch), start + len(rest))
            if first < last:
                rest[first - start : last - start] = patch[first - offset : last - offset]
        return prefix + bytes(rest)
