"""Shards: deterministic ustar files, written and read strictly. WebDataset reads them without changes.

The members of a sample are consecutive: KEY.flac (or .wav), KEY.json, KEY.tokens.npz. mtime, uid and gid are 0 and names are
`[A-Za-z0-9_-]+` plus a suffix, so equal samples give equal bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

BLOCK: Final = 512
RECORD: Final = 20 * BLOCK
MAX_UNHASHED: Final = 64 << 20
"""Bytes that may wait for the hash thread; bounds memory."""
_NAME: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9.]+)")


class ShardError(ValueError):
    """Raised for a tar that is damaged, truncated or not written by `ShardWriter`."""


class ShardWriter:
    """Writes samples to an open binary stream and hashes the written bytes.

    Hashing costs nearly as much as writing, so a thread does it while the next samples are written and the file is synced. Call
    `sha256` after that.
    """

    def __init__(self, stream: IO[bytes]):
        self._stream, self._digest, self.bytes = stream, hashlib.sha256(), 0
        self._hasher = ThreadPoolExecutor(1)
        self._unhashed: deque[tuple[Future[None], int]] = deque()
        self._unhashed_bytes = 0

    def add(self, key: str, members: dict[str, bytes]) -> None:
        """Append one sample; `members` maps suffix → content, in order."""
        blocks: list[bytes] = []
        for suffix, content in members.items():
            blocks += [_header(f"{key}.{suffix}", len(content)), content, bytes(-len(content) % BLOCK)]
        self._write(blocks)

    def finish(self) -> None:
        """Write the end-of-archive marker."""
        self._write([bytes(2 * BLOCK + -(self.bytes + 2 * BLOCK) % RECORD)])

    def sha256(self) -> str:
        """Return the SHA-256 (hex) of all written bytes. No more samples can be added afterwards."""
        self._hasher.shutdown()
        return self._digest.hexdigest()

    def _write(self, blocks: list[bytes]) -> None:
        size = sum(map(len, blocks))
        self._unhashed.append((self._hasher.submit(self._hash, blocks), size))
        self._unhashed_bytes += size
        while self._unhashed_bytes > MAX_UNHASHED and len(self._unhashed) > 1:
            hashed, done = self._unhashed.popleft()
            hashed.result()
            self._unhashed_bytes -= done
        self._stream.writelines(blocks)
        self.bytes += size

    def _hash(self, blocks: list[bytes]) -> None:
        for block in blocks:
            self._digest.update(block)


def _header(name: str, size: int) -> bytes:
    if not _NAME.fullmatch(name) or len(name) > 100:
        raise ShardError(f"{name!r} is not a valid member name")
    header = bytearray(BLOCK)
    header[0 : len(name)] = name.encode("ascii")
    fields = {100: b"0000644\0", 108: b"0000000\0", 116: b"0000000\0", 124: b"%011o\0" % size, 136: b"%011o\0" % 0}
    for at, value in (fields | {148: b" " * 8, 156: b"0", 257: b"ustar\x0000"}).items():
        header[at : at + len(value)] = value
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def read_shard(path: Path, only: Collection[str] | None = None) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield (key, suffix → content) of the samples of a shard, in order. `only`: the suffixes to read.

    Raises ShardError where the bytes are not those of a `ShardWriter` (a damaged header, a truncated file), and OSError if the
    file cannot be read.
    """
    key, members = "", dict[str, bytes]()
    for name, content in _members(path, only):
        match = _NAME.fullmatch(name)
        if match is None:
            raise ShardError(f"{name!r} is not a valid member name")
        if match[1] != key and members:
            yield key, members
            members = {}
        key = match[1]
        if match[2] in members:
            raise ShardError(f"duplicate member {name}")
        members[match[2]] = content
    if members:
        yield key, members


def _members(path: Path, only: Collection[str] | None) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as stream:
        while True:
            at = stream.tell()
            header = stream.read(BLOCK)
            if header == bytes(BLOCK):
                if stream.read().strip(b"\0"):
                    raise ShardError(f"offset {at}: unexpected data after the end of the archive")
                return
            if len(header) < BLOCK:
                raise ShardError(f"offset {at}: the file is truncated, the end-of-archive marker is missing")
            try:
                name = header[:100].rstrip(b"\0").decode("ascii")
                size = int(header[124:135], 8)
            except ValueError:
                raise ShardError(f"offset {at}: not a tar header") from None
            if header != _header(name, size):
                raise ShardError(f"offset {at}: the header of {name!r} is damaged")
            if only is not None and name.partition(".")[2] not in only:
                stream.seek(size + -size % BLOCK, 1)
                continue
            content = stream.read(size)
            padding = stream.read(-size % BLOCK)
            if len(content) < size or len(padding) < -size % BLOCK:
                raise ShardError(f"offset {at}: the file is truncated within {name}")
            if padding.strip(b"\0"):
                raise ShardError(f"offset {at}: unexpected data after {name}")
            yield name, content
