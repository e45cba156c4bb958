"""Making the vectors of a clip index: each distinct text once, in blocks, resumable, one process at a time.

Memory is some 0.5 kB a clip and a few blocks of vectors. An interrupted run goes on where it was; what an older file of the same
embedder knows is not embedded again.
"""

from __future__ import annotations

import contextlib
import fcntl
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
from soundflow.operators.curate.vector_search import Shelf
from soundflow.operators.protocols.embedding import Embedder, HearingEmbedder, Vectors, identity
from soundflow.pipeline.clips.search_file import (
    DIGEST,
    Contents,
    DamagedError,
    digests_of,
    finish,
    open_shelf,
    read_facts,
    vectors_of,
    whole_vectors,
)
from soundflow.pipeline.clips.table import BATCH, TABLE, ClipIndex
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRole

FOLDER: Final = "search"
SUFFIX: Final = ".vectors"
PARTIAL: Final = ".partial"
BLOCK: Final = 512
"""Texts embedded at a time, by one thread."""
COLUMNS: Final = ("id", "role", "label", "caption", "transcript", "licence", "split", "samples", "clean_sha256")

OnProgress = Callable[[int, int], None]
"""(texts embedded, texts in all)."""


def shelf_of(directory: Path, content_hash: str, embedder: Embedder, on_progress: OnProgress) -> Shelf:
    """The mapped vectors of the index in `directory`, made first where they are missing or damaged.

    Raises InputError when they cannot be kept there, OSError (a full disk), Halted (a server that fails): what was done is kept.
    """
    name = vectors_identity(embedder)
    key = hashlib.sha256(f"{content_hash}/{name}".encode()).hexdigest()[:32]
    path = directory / FOLDER / f"{key}{SUFFIX}"
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, DamagedError):
        return open_shelf(path, content_hash, name)
    try:
        path.parent.mkdir(exist_ok=True)
        lock = (path.parent / "lock").open("w")
    except OSError as error:
        remedy = "Vectors are kept beside the clips: make the directory writable, or search a copy"
        raise InputError(f"cannot be written: {error.strerror}", file=path.parent, remedy=remedy) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError, DamagedError):  # another process may just have made it
            return open_shelf(path, content_hash, name)
        _make(directory, path, content_hash, embedder, on_progress)
        return open_shelf(path, content_hash, name)


def vectors_identity(embedder: Embedder) -> str:
    """What shapes the vectors of clips: the embedder, and how a clip is put to it."""
    put = "sounds" if isinstance(embedder, HearingEmbedder) else f"texts {TEXT_VERSION}"
    return f"{identity(embedder)} of {put}"


def _make(directory: Path, path: Path, content_hash: str, embedder: Embedder, on_progress: OnProgress) -> None:
    """Write the file of vectors at `path`."""
    name, dimension = vectors_identity(embedder), embedder.dimension
    things, contents = _collect(directory, isinstance(embedder, HearingEmbedder))
    partial = path.with_suffix(PARTIAL)
    source = _Source(_reader(directory, embedder), things, contents.digests, dimension, _Known.beside(path, name))
    with partial.open("r+b" if partial.exists() else "w+b") as file:
        begin = whole_vectors(file, dimension, len(things))
        file.seek(begin * dimension * 4)
        file.truncate()
        on_progress(begin, len(things))
        for done, vectors in source.blocks(begin):
            file.write(vectors.astype("<f4").tobytes())
            on_progress(done, len(things))
        finish(file, contents, content_hash, name, dimension)
    partial.replace(path)
    _sweep(path.parent, content_hash)


def _sweep(folder: Path, content_hash: str) -> None:
    """Remove what belongs to former contents of the index; processes that still use it keep it."""
    for other in folder.glob(f"*{PARTIAL}"):
        other.unlink(missing_ok=True)
    for other in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError, DamagedError):
            if read_facts(other).content_hash != content_hash:
                other.unlink(missing_ok=True)


def _collect(directory: Path, hearing: bool) -> tuple[list[str], Contents]:
    """What is embedded, and all that is known of the clips it stands for.

    The distinct texts of each role in order of first appearance; when `hearing` the distinct sounds, each by a clip's id.
    """
    table = parquet.read_table(directory / TABLE, columns=list(COLUMNS)).combine_chunks()
    numbers: dict[ClipRole, dict[str, int]] = {role: {} for role in ClipRole}
    things: dict[ClipRole, list[str]] = {role: [] for role in ClipRole}
    within, roles, speech = [], [], []
    for batch in table.to_batches(max_chunksize=BATCH):
        columns = [batch.column(name).to_pylist() for name in ("id", "role", "label", "caption", "transcript", "clean_sha256")]
        for clip_id, role_name, label, caption, transcript, sha256 in zip(*columns, strict=True):
            role = ClipRole(role_name)
            key = sha256 if hearing else clip_text(label, caption, transcript)
            number = numbers[role].setdefault(key, len(numbers[role]))
            if number == len(things[role]):
                things[role].append(clip_id if hearing else key)
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
    return [thing for role in ClipRole for thing in things[role]], Contents(_digests(keys), first, spans, kept)


def _digests(keys: Sequence[str]) -> NDArray[np.uint8]:
    data = b"".join(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest() for key in keys)
    return np.frombuffer(data, np.uint8).reshape(len(keys), DIGEST)


def _reader(directory: Path, embedder: Embedder) -> Callable[[Sequence[str]], Vectors]:
    """What makes vectors of what was collected."""
    if not isinstance(embedder, HearingEmbedder):
        return embedder.embed
    index, alone, hears = ClipIndex.open(directory), threading.Lock(), embedder.embed_sounds

    def hear(clip_ids: Sequence[str]) -> Vectors:
        with alone:
            sounds = [index.audio(index.get(clip_id)) for clip_id in clip_ids]
        return hears(sounds)

    return hear


@dataclass(frozen=True)
class _Known:
    """Vectors that an older file holds."""

    rows: dict[bytes, int]
    vectors: Vectors

    @classmethod
    def beside(cls, path: Path, name: str) -> _Known | None:
        """From the newest whole file of the same embedder beside `path`."""
        others = sorted(path.parent.glob(f"*{SUFFIX}"), key=lambda other: other.stat().st_mtime_ns, reverse=True)
        for other in others:
            with contextlib.suppress(FileNotFoundError, DamagedError):
                facts = read_facts(other)
                if facts.identity == name:
                    open_shelf(other, facts.content_hash, name)  # it is whole
                    return cls(digests_of(other, facts), vectors_of(other, facts))
        return None


@dataclass(frozen=True)
class _Source:
    """Where vectors come from, block by block."""

    read: Callable[[Sequence[str]], Vectors]
    things: Sequence[str]
    digests: NDArray[np.uint8]
    dimension: int
    known: _Known | None

    def blocks(self, begin: int) -> Iterator[tuple[int, Vectors]]:
        """(things done, vectors of the newest block), in order, from thing `begin` on; as many threads as processors."""
        workers = len(os.sched_getaffinity(0))
        pending: deque[tuple[int, Future[Vectors]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            try:
                for start in range(begin, len(self.things), BLOCK):
                    end = min(start + BLOCK, len(self.things))
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
        fresh = []
        for place in range(end - start):
            row = self.known.rows.get(self.digests[start + place].tobytes()) if self.known else None
            if self.known and row is not None:
                vectors[place] = self.known.vectors[row]
            else:
                fresh.append(place)
        if fresh:
            vectors[fresh] = self.read([self.things[start + place] for place in fresh])
        return vectors
