"""The vectors of a clip index on disk: one memory-mapped file, of which all processes of a machine share one copy.

Layout: a vector per distinct text (float32), a digest per text (16 bytes), the first clip of each text (int64), the columns of
the clips (an Arrow file), the header (JSON) and its length. The header has the SHA-256 of itself and everything before it.
Renaming the finished file into place commits it.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from soundflow.operators.curate.vector_search import CodedColumn, VectorIndex
from soundflow.operators.protocols.embedding import Vectors
from soundflow.pipeline.clips.table import IdColumn
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.clip import ClipRole, Sha256

DIGEST: Final = 16
"""Length of a text digest in bytes."""
ALIGNED: Final = 64
READ: Final = 1 << 20
SPANS: Final = b"soundflow.spans"


class DamagedError(Exception):
    """A file of vectors is incomplete, damaged, or belongs to another index or embedder."""


class VectorFileInfo(Schema):
    """Identity and size of a file of vectors."""

    version: int = 1
    content_hash: Sha256
    """Content hash of the clip index."""
    identity: str
    """Identity of the embedder and of the texts."""
    dimension: int = Field(gt=0)
    texts: int = Field(ge=0)
    clips: int = Field(ge=0)


class VectorFileHeader(Schema):
    """The JSON document at the end of a file of vectors."""

    facts: VectorFileInfo
    sha256: Sha256
    """Hash of `facts` and everything before the header."""


class TextSpans(Schema):
    """Range of text numbers of each role."""

    spans: dict[ClipRole, tuple[int, int]]


@dataclass(frozen=True)
class ClipColumns:
    """The contents of a file of vectors other than the vectors."""

    digests: NDArray[np.uint8]
    """Shape (texts, DIGEST)."""
    first: NDArray[np.int64]
    spans: dict[ClipRole, tuple[int, int]]
    columns: Any
    """Arrow table, one row per clip: id, label, licence, split, speech, samples, and `clips` (see VectorIndex)."""


def finish(file: BinaryIO, contents: ClipColumns, content_hash: str, identity: str, dimension: int) -> None:
    """Append everything that follows the vectors to `file`, and sync it."""
    file.seek(len(contents.digests) * dimension * 4)
    file.truncate()
    file.write(contents.digests.tobytes())
    file.write(contents.first.astype("<i8").tobytes())
    file.write(bytes(-file.tell() % ALIGNED))
    spans = TextSpans(spans=contents.spans).canonical_json()
    table = contents.columns.replace_schema_metadata({SPANS: spans}).combine_chunks().unify_dictionaries()
    packed = pa.BufferOutputStream()
    with pa.ipc.new_file(packed, table.schema) as writer:
        writer.write_table(table, max_chunksize=max(1, table.num_rows))
    file.write(packed.getvalue())
    end = file.tell()
    info = VectorFileInfo(
        content_hash=content_hash, identity=identity, dimension=dimension, texts=len(contents.digests), clips=table.num_rows
    )
    header = VectorFileHeader(facts=info, sha256=_sha256(info, file, end)).canonical_json()
    file.seek(end)
    file.write(header + len(header).to_bytes(8, "little"))
    file.flush()
    os.fsync(file.fileno())


def read_info(path: Path) -> VectorFileInfo:
    """Return identity and size of the file at `path`. Raises DamagedError, FileNotFoundError."""
    with path.open("rb") as file:
        return _read_header(file)[0].facts


def _read_header(file: BinaryIO) -> tuple[VectorFileHeader, int]:
    """Return the header and the offset where it starts."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= min(size - 8, 1 << 16):
        raise DamagedError("is truncated")
    file.seek(size - 8 - length)
    try:
        return VectorFileHeader.from_json(file.read(length)), size - 8 - length
    except InputError as error:
        raise DamagedError(f"has no valid header ({error})") from None


def open_vector_index(path: Path, content_hash: str, identity: str) -> VectorIndex:
    """Map the file at `path`. Raises DamagedError when it is damaged or belongs to another index, FileNotFoundError.

    The file is hashed first (about 0.2 s for 171,000 clips), which also loads it into the page cache.
    """
    with path.open("rb") as file:
        header, end = _read_header(file)
        info = header.facts
        if (info.content_hash, info.identity) != (content_hash, identity):
            raise DamagedError("belongs to another index or embedder")
        if _sha256(info, file, end) != header.sha256:
            raise DamagedError("does not match its hash")
        body = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    vectors = np.frombuffer(body, "<f4", info.texts * info.dimension).reshape(info.texts, info.dimension)
    at = vectors.nbytes + info.texts * DIGEST
    first = np.frombuffer(body, "<i8", info.texts + 1, at)
    at += first.nbytes
    at += -at % ALIGNED
    reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(memoryview(body)[at:end])))
    table = reader.read_all()
    return VectorIndex(
        vectors=vectors,
        spans=TextSpans.from_json(reader.schema.metadata[SPANS]).spans,
        first=first,
        clips=_numbers(table, "clips"),
        ids=IdColumn(table.column("id").combine_chunks()) if table.num_rows else [],
        labels=_coded(table, "label"),
        licences=_coded(table, "licence"),
        splits=_coded(table, "split"),
        speech=_numbers(table, "speech").view(np.bool_),
        samples=_numbers(table, "samples"),
    )


def _numbers(table: Any, name: str) -> NDArray[Any]:
    column = table.column(name).combine_chunks()
    return np.asarray(column.to_numpy(zero_copy_only=True))


def _coded(table: Any, name: str) -> CodedColumn:
    column = table.column(name).combine_chunks()
    return CodedColumn(column.indices.to_numpy(zero_copy_only=True), column.dictionary.to_pylist())


def _sha256(info: VectorFileInfo, file: BinaryIO, end: int) -> str:
    """Hash `info` and the first `end` bytes. They are read, not mapped: mapped pages would count as memory of this process."""
    file.flush()
    file.seek(0)
    digest, left = hashlib.sha256(info.canonical_json()), end
    while left and (data := file.read(min(READ, left))):
        digest.update(data)
        left -= len(data)
    return digest.hexdigest()


def count_vectors(file: BinaryIO, dimension: int, texts: int) -> int:
    """Return the number of valid vectors that an interrupted run left in `file`. A vector of zeros counts as missing."""
    size = min(file.seek(0, os.SEEK_END) // (4 * dimension), texts)
    file.seek(0)
    for start in range(0, size, 4096):
        rows = np.frombuffer(file.read(4 * dimension * min(4096, size - start)), "<f4").reshape(-1, dimension)
        wrong = np.flatnonzero(~(np.abs(np.linalg.norm(rows, axis=1) - 1) < 1e-4))
        if len(wrong):
            return start + int(wrong[0])
    return size


def read_digests(path: Path, info: VectorFileInfo) -> dict[bytes, int]:
    """Return the row of the vector of each text digest."""
    with path.open("rb") as file:
        file.seek(info.texts * info.dimension * 4)
        data = file.read(info.texts * DIGEST)
    return {data[DIGEST * row : DIGEST * (row + 1)]: row for row in range(info.texts)}


def map_vectors(path: Path, info: VectorFileInfo) -> Vectors:
    """Return the vectors of a file as a memory map."""
    if not info.texts:
        return np.zeros((0, info.dimension), np.float32)
    return np.memmap(path, "<f4", "r", shape=(info.texts, info.dimension))
