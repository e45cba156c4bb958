"""Shards: deterministic ustar files, written and read strictly. Stock webdataset reads them too.

Members of one sample follow each other: KEY.flac (or .wav), KEY.json, KEY.tokens.npz. mtime, uid and gid are 0, names
are `[A-Za-z0-9_-]+` plus suffix, so that equal samples give equal bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Final

BLOCK: Final = 512
RECORD: Final = 20 * BLOCK
_NAME: Final = re.compile(r"^([A-Za-z0-9_-]+)\.([A-Za-z0-9.]+)$")


class ShardError(ValueError):
    """A tar that is not one of ours, or not all of it."""


class ShardWriter:
    """Writes members to an open binary stream and hashes what it writes."""

    def __init__(self, stream: IO[bytes]):
        self._stream, self._digest, self.bytes = stream, hashlib.sha256(), 0

    def add(self, key: str, members: dict[str, bytes]) -> None:
        """Append one sample: suffix → content, in this order."""
        for suffix, content in members.items():
            padding = -len(content) % BLOCK
            self._write(_header(f"{key}.{suffix}", len(content)))
            self._write(content)
            if padding:
                self._write(bytes(padding))

    def finish(self) -> str:
        """Write the end of the archive; returns the SHA-256 (hex) of everything."""
        self._write(bytes(2 * BLOCK + -(self.bytes + 2 * BLOCK) % RECORD))
        return self._digest.hexdigest()

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._digest.update(data)
        self.bytes += len(data)


def _header(name: str, size: int) -> bytes:
    if not _NAME.match(name) or len(name) > 100:
        raise ShardError(f"{name!r} is no member name")
    header = bytearray(BLOCK)
    header[0 : len(name)] = name.encode("ascii")
    fields = {100: b"0000644\0", 108: b"0000000\0", 116: b"0000000\0", 124: b"%011o\0" % size, 136: b"%011o\0" % 0}
    for at, value in (fields | {148: b" " * 8, 156: b"0", 257: b"ustar\x0000"}).items():
        header[at : at + len(value)] = value
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def read_shard(path: Path, only: Collection[str] | None = None) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Samples of a shard: (key, suffix → content), in order; with `only`, members of other suffixes are passed over.

    Raises ShardError where the bytes are not what `ShardWriter` writes (a flipped header, a truncated file), OSError when the
    file cannot be read.
    """
    key, members = "", dict[str, bytes]()
    for name, content in _members(path, only):
        match = _NAME.match(name)
        if match is None:
            raise ShardError(f"{name!r} is no member name")
        if match[1] != key and members:
            yield key, members
            members = {}
        key = match[1]
        if match[2] in members:
            raise ShardError(f"{name} is there twice")
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
                    raise ShardError(f"offset {at}: data after the end of the archive")
                return
            if len(header) < BLOCK:
                raise ShardError(f"offset {at}: truncated, the end of the archive is missing")
            try:
                name = header[:100].rstrip(b"\0").decode("ascii")
                size = int(header[124:135], 8)
            except ValueError:
                raise ShardError(f"offset {at}: not a header") from None
            if header != _header(name, size):
                raise ShardError(f"offset {at}: the header of {name!r} is damaged")
            if only is not None and name.partition(".")[2] not in only:
                stream.seek(size + -size % BLOCK, 1)
                continue
            content = stream.read(size)
            padding = stream.read(-size % BLOCK)
            if len(content) < size or len(padding) < -size % BLOCK:
                raise ShardError(f"offset {at}: truncated within {name}")
            if padding.strip(b"\0"):
                raise ShardError(f"offset {at}: data after the end of {name}")
            yield name, content
