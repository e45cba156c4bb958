"""Shards: deterministic ustar files, written and read strictly. WebDataset reads them without changes.

The members of a sample are consecutive: KEY.flac (or .wav), KEY.json, KEY.tokens.npz. mtime, uid and gid are 0 and names are
`[A-Za-z0-9_-]+` plus a suffix, so equal samples give equal bytes.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

from soundflow.schemas.regular_file import open_regular
from soundflow.schemas.ustar import BLOCK, ShardError, tar_header, tar_members

__all__ = ["ShardError", "ShardWriter", "read_shard"]

RECORD: Final = 20 * BLOCK
MAX_UNHASHED: Final = 64 << 20
"""Bytes that may wait for the hash thread; bounds memory."""


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
            blocks += [tar_header(f"{key}.{suffix}", len(content)), content, bytes(-len(content) % BLOCK)]
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


def read_shard(path: Path, only: Collection[str] | None = None) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield (key, suffix → content) of the samples of a tar, in order. `only`: the suffixes to read.

    Raises ShardError where the bytes are not those of a `ShardWriter` (a damaged header, a truncated file), and OSError if the
    file cannot be read. Readers of a build use `pipeline.corpus.committed`, which compares the tar with its manifest.
    """
    key, members = "", dict[str, bytes]()
    try:
        with open_regular(path) as stream:
            for member in tar_members(stream):
                if only is not None and member.suffix not in only:
                    continue
                if member.key != key and members:
                    yield key, members
                    members = {}
                key = member.key
                if member.suffix in members:
                    raise ShardError(f"duplicate member {member.name}")
                stream.seek(member.offset)
                members[member.suffix] = stream.read(member.size)
    except ShardError as error:
        raise ShardError(error.why, file=path) from None
    if members:
        yield key, members
