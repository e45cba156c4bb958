"""The tar format of shards: ustar headers written in one way only, and read strictly.

Size fields come from the file and are not trusted: a negative one would send a reader back, a giant one would exhaust the memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BufferedReader
from typing import Final, NamedTuple

from soundflow.schemas.base import InputError

BLOCK: Final = 512
MAX_MEMBER: Final = 256 << 20
"""Maximum size of a member in bytes. The longest stream, half an hour, takes 58 MB as WAV."""
MEMBER_NAME: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9.]+)")
"""KEY.SUFFIX"""


class ShardError(InputError):
    """Raised for a shard, its tar or its manifest, that is damaged, truncated, or not what was committed."""


class TarMember(NamedTuple):
    """The place of a member in a tar file."""

    key: str
    suffix: str
    offset: int
    """Of the content, in bytes."""
    size: int

    @property
    def name(self) -> str:
        """File name in the tar."""
        return f"{self.key}.{self.suffix}"


def tar_header(name: str, size: int) -> bytes:
    """Return the header block of a member: mode 644, and 0 for time and owner. Raises ShardError for an invalid name."""
    if not MEMBER_NAME.fullmatch(name) or len(name) > 100:
        raise ShardError(f"{name!r} is not a valid member name")
    header = bytearray(BLOCK)
    header[0 : len(name)] = name.encode("ascii")
    fields = {100: b"0000644\0", 108: b"0000000\0", 116: b"0000000\0", 124: b"%011o\0" % size, 136: b"%011o\0" % 0}
    for at, value in (fields | {148: b" " * 8, 156: b"0", 257: b"ustar\x0000"}).items():
        header[at : at + len(value)] = value
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def tar_members(file: BufferedReader) -> Iterator[TarMember]:
    """Yield the members of an open tar in order, without reading their content. The position of `file` may be changed meanwhile.

    Raises ShardError, without the name of the file, at the first byte that `tar_header` would not have written.
    """
    length = file.seek(0, 2)
    at = 0
    while True:
        file.seek(at)
        header = file.read(BLOCK)
        if header == bytes(BLOCK):
            break
        if len(header) < BLOCK:
            raise ShardError(f"offset {at}: the file is truncated, the end-of-archive marker is missing")
        digits = header[124:135]
        if digits.translate(None, b"01234567"):  # a sign, for one
            raise ShardError(f"offset {at}: not a tar header")
        name, size = header[:100].rstrip(b"\0").decode("ascii", "replace"), int(digits, 8)
        match = MEMBER_NAME.fullmatch(name)
        if match is None:
            raise ShardError(f"offset {at}: {name!r} is not a valid member name")
        if header != tar_header(name, size):
            raise ShardError(f"offset {at}: the header of {name!r} is damaged")
        padding = -size % BLOCK
        if at + BLOCK + size + padding > length:
            raise ShardError(f"offset {at}: the file is truncated within {name}, or the size of that member is wrong")
        if size > MAX_MEMBER:
            raise ShardError(f"offset {at}: {name} is larger than {MAX_MEMBER >> 20} MiB")
        yield TarMember(match[1], match[2], at + BLOCK, size)
        file.seek(at + BLOCK + size)
        if file.read(padding).strip(b"\0"):
            raise ShardError(f"offset {at}: unexpected data after {name}")
        at += BLOCK + size + padding
    while block := file.read(1 << 20):
        if block.strip(b"\0"):
            raise ShardError(f"offset {at}: unexpected data after the end of the archive")
