"""Computes the vectors of a clip index: each distinct text once, in blocks, by one process at a time.

Memory is about 0.5 kB per clip and a few blocks of vectors. An interrupted run resumes. Vectors in an older file of the same
embedder are reused.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from soundflow.operators.curate.retrieval import TEXT_VERSION, clip_text
from soundflow.operators.curate.vector_search import VectorIndex
from soundflow.operators.protocols.embedding import AudioEmbedder, Embedder, Vectors, identity
from soundflow.pipeline.clips.search_file import (
    DIGEST,
    ClipColumns,
    DamagedError,
    count_vectors,
    finish,
    map_vectors,
    open_vector_index,
    read_digests,
    read_info,
)
from soundflow.pipeline.clips.table import BATCH, TABLE, ClipIndex
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.file_lock import locked

FOLDER: Final = "search"
SUFFIX: Final = ".vectors"
PARTIAL: Final = ".partial"
BLOCK: Final = 512
"""Number of texts that a thread embeds in one call."""
COLUMNS: Final = ("id", "role", "label", "caption", "transcript", "licence", "split", "samples", "clean_sha256")

OnProgress = Callable[[int, int], None]
"""(texts embedded, total texts)."""


def vector_index_of(directory: Path, content_hash: str, embedder: Embedder, on_progress: OnProgress) -> VectorIndex:
    """Return the mapped vectors of the index in `directory`; compute them first if they are missing or damaged.

    Raises InputError when they cannot be stored there, OSError (such as a full disk), Halted (a failing server). Computed vectors
    are kept.
    """
    name = vectors_identity(embedder)
    key = hashlib.sha256(f"{content_hash}/{name}".encode()).hexdigest()[:32]
    path = directory / FOLDER / f"{key}{SUFFIX}"
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, DamagedError):
        return open_vector_index(path, content_hash, name)
    try:
        path.parent.mkdir(exist_ok=True)
        (path.parent / "lock").touch()
    except OSError as error:
        remedy = "Search vectors are stored in the clip index: make the directory writable, or search a copy"
        raise InputError(f"cannot be written: {error.strerror}", file=path.parent, remedy=remedy) from None
    with locked(path.parent / "lock"):
        with contextlib.suppress(FileNotFoundError, DamagedError):  # another process may have computed it meanwhile
            return open_vector_index(path, content_hash, name)
        _compute(directory, path, content_hash, embedder, on_progress)
        return open_vector_index(path, content_hash, name)


def vectors_identity(embedder: Embedder) -> str:
    """Return the identity of the vectors of clips: the embedder, and what of a clip it embeds."""
    inputs = "sounds" if isinstance(embedder, AudioEmbedder) else f"texts {TEXT_VERSION}"
    return f"{identity(embedder)} of {inputs}"


def _compute(directory: Path, path: Path, content_hash: str, embedder: Embedder, on_progress: OnProgress) -> None:
    """Write the file of vectors at `path`."""
    name, dimension = vectors_identity(embedder), embedder.dimension
    items, columns = _collect(directory, isinstance(embedder, AudioEmbedder))
    partial = path.with_suffix(PARTIAL)
    source = _VectorSource(
        _embed_function(directory, embedder), items, columns.digests, dimension, _OldVectors.newest(path.parent, name)
    )
    with partial.open("r+b" if partial.exists() else "w+b") as file:
        begin = count_vectors(file, dimension, len(items))
        file.seek(begin * dimension * 4)
        file.truncate()
        on_progress(begin, len(items))
        for done, vectors in source.blocks(begin):
            file.write(vectors.astype("<f4").tobytes())
            on_progress(done, len(items))
        finish(file, columns, content_hash, name, dimension)
    partial.replace(path)
    _sweep(path.parent, content_hash)


def _sweep(folder: Path, content_hash: str) -> None:
    """Remove files of former contents of the index. Processes that have mapped one keep it."""
    for other in folder.glob(f"*{PARTIAL}"):
        other.unlink(missing_ok=True)
    for other in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError, DamagedError):
            if read_info(other).content_hash != content_hash:
                other.unlink(missing_ok=True)


def _collect(directory: Path, by_sound: bool) -> tuple[list[str], ClipColumns]:
    """Return the items to embed, and the columns of their clips.

    Items are the distinct texts of each role in order of first appearance. If `by_sound`, they are the distinct sounds, each as
    the id of a clip.
    """
    table = parquet.read_table(directory / TABLE, columns=list(COLUMNS)).combine_chunks()
    numbers: dict[ClipRole, dict[str, int]] = {role: {} for role in ClipRole}
    items: dict[ClipRole, list[str]] = {role: [] for role in ClipRole}
    within, roles, speech = [], [], []
    for batch in table.to_batches(max_chunksize=BATCH):
        columns = [batch.column(name).to_pylist() for name in ("id", "role", "label", "caption", "transcript", "clean_sha256")]
        for clip_id, role_name, label, caption, transcript, sha256 in zip(*columns, strict=True):
            role = ClipRole(role_name)
            key = sha256 if by_sound else clip_text(label, caption, transcript)
            number = numbers[role].setdefault(key, len(numbers[role]))
            if number == len(items[role]):
                items[role].append(clip_id if by_sound else key)
            within.append(number)
            roles.append(role)
            speech.append(int(bool(transcript)))
    spans, begin = {}, 0
    for role, known in numbers.items():
        spans[role] = (begin, begin + len(known))
        begin += len(known)
    number_of = np.array(within, np.int64) + np.array([spans[role][0] for role in roles], np.int64)
    kept = table.select(["id", "label", "licence", "split", "samples"])
    kept = kept.append_column("speech", pa.array(speech, pa.uint8()))
    kept = kept.append_column("clips", pa.array(np.argsort(number_of, kind="stable").astype(np.int32)))
    first = np.concatenate([[0], np.cumsum(np.bincount(number_of, minlength=begin))]).astype(np.int64)
    keys = [key for known in numbers.values() for key in known]
    return [item for role in ClipRole for item in items[role]], ClipColumns(_digests(keys), first, spans, kept)


def _digests(keys: Sequence[str]) -> NDArray[np.uint8]:
    data = b"".join(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest() for key in keys)
    return np.frombuffer(data, np.uint8).reshape(len(keys), DIGEST)


def _embed_function(directory: Path, embedder: Embedder) -> Callable[[Sequence[str]], Vectors]:
    """Return the function that embeds collected items."""
    if not isinstance(embedder, AudioEmbedder):
        return embedder.embed
    index, lock, embed_audio = ClipIndex.open(directory), threading.Lock(), embedder.embed_audio

    def embed_clips(clip_ids: Sequence[str]) -> Vectors:
        with lock:
            sounds = [index.audio(index.get(clip_id)) for clip_id in clip_ids]
        return embed_audio(sounds)

    return embed_clips


@dataclass(frozen=True)
class _OldVectors:
    """Vectors of an older file, by text digest."""

    rows: dict[bytes, int]
    vectors: Vectors

    @classmethod
    def newest(cls, folder: Path, name: str) -> _OldVectors | None:
        """Return those of the newest intact file of the same embedder in `folder`, or None."""
        others = sorted(folder.glob(f"*{SUFFIX}"), key=lambda other: other.stat().st_mtime_ns, reverse=True)
        for other in others:
            with contextlib.suppress(FileNotFoundError, DamagedError):
                info = read_info(other)
                if info.identity == name:
                    open_vector_index(other, info.content_hash, name)  # raises if it is damaged
                    return cls(read_digests(other, info), map_vectors(other, info))
        return None


@dataclass(frozen=True)
class _VectorSource:
    """Yields vectors block by block: from the older file if they are there, else from the embedder."""

    embed: Callable[[Sequence[str]], Vectors]
    items: Sequence[str]
    digests: NDArray[np.uint8]
    dimension: int
    old: _OldVectors | None

    def blocks(self, begin: int) -> Iterator[tuple[int, Vectors]]:
        """Yield (items done, vectors of the last block) in order from item `begin`. Uses one thread per processor."""
        workers = len(os.sched_getaffinity(0))
        pending: deque[tuple[int, Future[Vectors]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            try:
                for start in range(begin, len(self.items), BLOCK):
                    end = min(start + BLOCK, len(self.items))
                    pending.append((end, pool.submit(self._block, start, end)))
                    if len(pending) > 2 * workers:
                        done, future = pending.popleft()
                        yield done, future.result()
                while pending:
                    done, future = pending.popleft()
                    yield done, future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _block(self, start: int, end: int) -> Vectors:
        vectors = np.zeros((end - start, self.dimension), np.float32)
        new = []
        for place in range(end - start):
            row = self.old.rows.get(self.digests[start + place].tobytes()) if self.old else None
            if self.old and row is not None:
                vectors[place] = self.old.vectors[row]
            else:
                new.append(place)
        if new:
            vectors[new] = self.embed([self.items[start + place] for place in new])
        return vectors
