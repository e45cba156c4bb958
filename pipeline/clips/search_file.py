"""The vectors of a clip index on disk: one file that is memory-mapped, so that all processes of a machine share one copy.

In order: a vector per distinct text (float32), a digest per text (16 bytes), where each text's clips begin (int64), the clips'
columns (an Arrow file), and the head (JSON) with its length. The head holds the SHA-256 of itself and all before it; renaming the
finished file into place is its commit.
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

from soundflow.operators.curate.vector_search import Coded, Shelf
from soundflow.operators.protocols.embedding import Vectors
from soundflow.pipeline.clips.table import Ids
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.clip import ClipRole, Sha256

DIGEST: Final = 16
"""Bytes that tell one text from another."""
ALIGNED: Final = 64
READ: Final = 1 << 20
SPANS: Final = b"soundflow.spans"


class DamagedError(Exception):
    """A file of vectors is not what it should be."""


class Facts(Schema):
    """What a file is."""

    version: int = 1
    content_hash: Sha256
    """Of the clip index."""
    identity: str
    """Of embedder and text."""
    dimension: int = Field(gt=0)
    texts: int = Field(ge=0)
    clips: int = Field(ge=0)


class Head(Schema):
    """What a file says of itself."""

    facts: Facts
    sha256: Sha256
    """Of the facts and of all before the head."""


class Spans(Schema):
    """The texts of each role."""

    spans: dict[ClipRole, tuple[int, int]]


@dataclass(frozen=True)
class Contents:
    """All of a file but its vectors."""

    digests: NDArray[np.uint8]
    """(texts, DIGEST)."""
    first: NDArray[np.int64]
    spans: dict[ClipRole, tuple[int, int]]
    columns: Any
    """Arrow table, one row per clip: id, label, licence, split, speech, samples, and `clips` (see Shelf)."""


def finish(file: BinaryIO, contents: Contents, content_hash: str, identity: str, dimension: int) -> None:
    """Write what follows the vectors, which are all in `file`, and sync it."""
    file.seek(len(contents.digests) * dimension * 4)
    file.truncate()
    file.write(contents.digests.tobytes())
    file.write(contents.first.astype("<i8").tobytes())
    file.write(bytes(-file.tell() % ALIGNED))
    spans = Spans(spans=contents.spans).canonical_json()
    table = contents.columns.replace_schema_metadata({SPANS: spans}).combine_chunks().unify_dictionaries()
    packed = pa.BufferOutputStream()
    with pa.ipc.new_file(packed, table.schema) as writer:
        writer.write_table(table, max_chunksize=max(1, table.num_rows))
    file.write(packed.getvalue())
    end = file.tell()
    facts = Facts(
        content_hash=content_hash, identity=identity, dimension=dimension, texts=len(contents.digests), clips=table.num_rows
    )
    head = Head(facts=facts, sha256=_sha256(facts, file, end)).canonical_json()
    file.seek(end)
    file.write(head + len(head).to_bytes(8, "little"))
    file.flush()
    os.fsync(file.fileno())


def read_facts(path: Path) -> Facts:
    """What the file at `path` says it is; DamagedError when it says nothing sensible, FileNotFoundError."""
    with path.open("rb") as file:
        return _head(file)[0].facts


def _head(file: BinaryIO) -> tuple[Head, int]:
    """The head, and where the body ends."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= min(size - 8, 1 << 16):
        raise DamagedError("is cut off")
    file.seek(size - 8 - length)
    try:
        return Head.from_json(file.read(length)), size - 8 - length
    except InputError as error:
        raise DamagedError(f"has no head ({error})") from None


def open_shelf(path: Path, content_hash: str, identity: str) -> Shelf:
    """Map the file at `path`; DamagedError when its content is not whole or is another index's, FileNotFoundError.

    All of it is hashed first (some 0.2 s for 171,000 clips), which also brings it into memory.
    """
    with path.open("rb") as file:
        head, end = _head(file)
        facts = head.facts
        if (facts.content_hash, facts.identity) != (content_hash, identity):
            raise DamagedError("belongs to another index or embedder")
        if _sha256(facts, file, end) != head.sha256:
            raise DamagedError("does not hold what was written")
        body = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    vectors = np.frombuffer(body, "<f4", facts.texts * facts.dimension).reshape(facts.texts, facts.dimension)
    at = vectors.nbytes + facts.texts * DIGEST
    first = np.frombuffer(body, "<i8", facts.texts + 1, at)
    at += first.nbytes
    at += -at % ALIGNED
    reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(memoryview(body)[at:end])))
    table = reader.read_all()
    return Shelf(
        vectors=vectors,
        spans=Spans.from_json(reader.schema.metadata[SPANS]).spans,
        first=first,
        clips=_numbers(table, "clips"),
        ids=Ids(table.column("id").combine_chunks()) if table.num_rows else [],
        labels=_coded(table, "label"),
        licences=_coded(table, "licence"),
        splits=_coded(table, "split"),
        speech=_numbers(table, "speech").view(np.bool_),
        samples=_numbers(table, "samples"),
    )


def _numbers(table: Any, name: str) -> NDArray[Any]:
    column = table.column(name).combine_chunks()
    return np.asarray(column.to_numpy(zero_copy_only=True))


def _coded(table: Any, name: str) -> Coded:
    column = table.column(name).combine_chunks()
    return Coded(column.indices.to_numpy(zero_copy_only=True), column.dictionary.to_pylist())


def _sha256(facts: Facts, file: BinaryIO, end: int) -> str:
    """Of the facts and the first `end` bytes, read and not mapped: mapping would count them to this process."""
    file.flush()
    file.seek(0)
    digest, left = hashlib.sha256(facts.canonical_json()), end
    while left and (data := file.read(min(READ, left))):
        digest.update(data)
        left -= len(data)
    return digest.hexdigest()


def whole_vectors(file: BinaryIO, dimension: int, texts: int) -> int:
    """How many vectors an interrupted run left whole at the beginning of `file`; one of zeros may be a hole."""
    size = min(file.seek(0, os.SEEK_END) // (4 * dimension), texts)
    file.seek(0)
    for start in range(0, size, 4096):
        rows = np.frombuffer(file.read(4 * dimension * min(4096, size - start)), "<f4").reshape(-1, dimension)
        wrong = np.flatnonzero(~(np.abs(np.linalg.norm(rows, axis=1) - 1) < 1e-4))
        if len(wrong):
            return start + int(wrong[0])
    return size


def digests_of(path: Path, facts: Facts) -> dict[bytes, int]:
    """Text digest → row of its vector."""
    with path.open("rb") as file:
        file.seek(facts.texts * facts.dimension * 4)
        data = file.read(facts.texts * DIGEST)
    return {data[DIGEST * row : DIGEST * (row + 1)]: row for row in range(facts.texts)}


def vectors_of(path: Path, facts: Facts) -> Vectors:
    """The vectors of a file, mapped."""
    if not facts.texts:
        return np.zeros((0, facts.dimension), np.float32)
    return np.memmap(path, "<f4", "r", shape=(facts.texts, facts.dimension))
