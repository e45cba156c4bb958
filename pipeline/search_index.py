"""Searching a clip index: its vectors are made once, kept beside it, and shared by all processes of a machine.

`DIR/search/<key>.vectors` (pipeline.search_file) belongs to one content of the index and one embedder. Whoever needs it first
makes it; others wait for it. An interrupted run goes on where it was, and what an older file knows is not embedded again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from operators.backends.embedders import open_embedder, resolved
from operators.backends.embedding import Embedder, Vectors, identity
from operators.retrieval import TEXT_VERSION, Hit, Query, clip_text
from operators.vector_search import SEARCH_VERSION, Shelf
from pipeline.clip_table import BATCH, TABLE, read_footer
from pipeline.search_file import (
    DIGEST,
    Contents,
    DamagedError,
    digests_of,
    finish,
    open_shelf,
    read_head,
    vectors_of,
    whole_vectors,
)
from schemas.base import InputError
from schemas.clip import ClipRole
from schemas.retrieval import RetrievalConfig

FOLDER: Final = "search"
SUFFIX: Final = ".vectors"
PARTIAL: Final = ".partial"
BLOCK: Final = 512
"""Texts embedded at a time, by one thread."""
COLUMNS: Final = ("id", "role", "label", "caption", "transcript", "licence", "split", "samples")

OnProgress = Callable[[int, int], None]
"""(texts embedded, texts in all)."""


class SearchIndex:
    """A clip index opened for searching: a `Retriever`. Pickles as its path and what it must find there.

    Its vectors are a memory map; the rows of the index are not read.
    """

    def __init__(self, directory: Path, config: RetrievalConfig, content_hash: str, embedder: Embedder, shelf: Shelf):
        self.directory, self.config, self.content_hash = directory, config, content_hash
        self.embedder, self.shelf = embedder, shelf

    @classmethod
    def open(
        cls,
        directory: Path,
        config: RetrievalConfig = RetrievalConfig(),  # noqa: B008 (frozen)
        *,
        content_hash: str | None = None,
        on_progress: OnProgress = lambda done, total: None,
    ) -> Self:
        """Open the index in `directory` for searching; its vectors are made when they are not there, damaged or out of date.

        `content_hash`: the index must have this one. Raises InputError when there is no index, the embedder cannot be had or the
        directory cannot be written, OSError for another index than the wanted one, or a full disk.
        """
        directory = Path(directory).absolute()
        found = read_footer(directory).content_hash
        if content_hash is not None and found != content_hash:
            raise OSError(f"{directory}: the clip index was made anew while it was in use; start again with the new one")
        config = resolved(config)
        embedder = open_embedder(config)
        shelf = _open_or_make(directory, found, embedder, on_progress)
        return cls(directory, config, found, embedder, shelf)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopen, (self.directory, self.config, self.content_hash))

    def __len__(self) -> int:
        return len(self.shelf.ids)

    @property
    def identity(self) -> str:
        """Embedder, its version, and those of what surrounds it."""
        return f"{identity(self.embedder)}, text {TEXT_VERSION}, search {SEARCH_VERSION}"

    def search(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """For each query its k best clips, best first; fewer only where fewer may be used."""
        if not queries:
            return []
        return self.shelf.search(self.embed([query.text for query in queries]), queries, self.config.oversampling)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts, float32 (n, d)."""
        return self.embedder.embed(texts)


def _reopen(directory: Path, config: RetrievalConfig, content_hash: str) -> SearchIndex:
    return SearchIndex.open(directory, config, content_hash=content_hash)


def _open_or_make(directory: Path, content_hash: str, embedder: Embedder, on_progress: OnProgress) -> Shelf:
    name = f"{identity(embedder)}, text {TEXT_VERSION}"
    key = hashlib.sha256(f"{content_hash}/{name}".encode()).hexdigest()[:32]
    path = directory / FOLDER / f"{key}{SUFFIX}"
    with contextlib.suppress(FileNotFoundError, DamagedError):
        return open_shelf(path, content_hash, name)
    try:
        path.parent.mkdir(exist_ok=True)
        lock = (path.parent / "lock").open("w")
    except PermissionError as error:
        remedy = "Vectors are kept beside the clips: make the directory writable, or search a copy"
        raise InputError(f"cannot be written: {error.strerror}", file=path.parent, remedy=remedy) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError, DamagedError):  # another process may just have made it
            return open_shelf(path, content_hash, name)
        _make(directory, path, content_hash, name, embedder, on_progress)
        return open_shelf(path, content_hash, name)


def _make(directory: Path, path: Path, content_hash: str, name: str, embedder: Embedder, on_progress: OnProgress) -> None:
    """Write the file of vectors; memory is some 0.5 kB a clip and a few blocks of vectors."""
    texts, contents = _collect(directory)
    partial = path.with_suffix(PARTIAL)
    known = _Known.beside(path, name)
    with partial.open("r+b" if partial.exists() else "w+b") as file:
        begin = whole_vectors(file, embedder.dimension, len(texts))
        file.seek(begin * embedder.dimension * 4)
        file.truncate()
        on_progress(begin, len(texts))
        for done, vectors in _embedded(embedder, texts, contents, known, begin):
            file.write(vectors.astype("<f4").tobytes())
            on_progress(done, len(texts))
        finish(file, contents, content_hash, name, embedder.dimension)
    partial.replace(path)
    _sweep(path, content_hash)


def _sweep(path: Path, content_hash: str) -> None:
    """Remove what belongs to no longer existing contents of the index; processes that still use it keep it."""
    for other in path.parent.glob(f"*{PARTIAL}"):
        other.unlink(missing_ok=True)
    for other in path.parent.glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError, DamagedError):
            if read_head(other).content_hash != content_hash:
                other.unlink(missing_ok=True)


def _collect(directory: Path) -> tuple[list[str], Contents]:
    """The distinct texts of each role, in order of first appearance, and all that is known of their clips."""
    table = parquet.read_table(directory / TABLE, columns=list(COLUMNS)).combine_chunks()
    numbers: dict[ClipRole, dict[str, int]] = {role: {} for role in ClipRole}
    within, roles, speech = [], [], []
    for batch in table.to_batches(max_chunksize=BATCH):
        columns = [batch.column(name).to_pylist() for name in ("role", "label", "caption", "transcript")]
        for role, label, caption, transcript in zip(*columns, strict=True):
            known = numbers[ClipRole(role)]
            within.append(known.setdefault(clip_text(label, caption, transcript), len(known)))
            roles.append(role)
            speech.append(int(bool(transcript)))
    spans, begin = {}, 0
    for role, known in numbers.items():
        spans[role] = (begin, begin + len(known))
        begin += len(known)
    starts = {role.value: span[0] for role, span in spans.items()}
    text_of = np.array(within, np.int64) + np.array([starts[role] for role in roles], np.int64)
    texts = [text for known in numbers.values() for text in known]
    columns_kept = table.select(["id", "label", "licence", "split", "samples"])
    columns_kept = columns_kept.append_column("speech", pa.array(speech, pa.uint8()))
    columns_kept = columns_kept.append_column("clips", pa.array(np.argsort(text_of, kind="stable").astype(np.int32)))
    first = np.concatenate([[0], np.cumsum(np.bincount(text_of, minlength=len(texts)))]).astype(np.int64)
    return texts, Contents(_digests(texts), first, spans, columns_kept)


def _digests(texts: Sequence[str]) -> np.ndarray:
    data = b"".join(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest() for text in texts)
    return np.frombuffer(data, np.uint8).reshape(len(texts), DIGEST)


@dataclass(frozen=True)
class _Known:
    """Vectors of texts that an older file holds."""

    rows: dict[bytes, int]
    vectors: Vectors

    @classmethod
    def beside(cls, path: Path, name: str) -> _Known | None:
        """From the newest whole file of the same embedder beside `path`."""
        others = sorted(path.parent.glob(f"*{SUFFIX}"), key=lambda other: other.stat().st_mtime_ns, reverse=True)
        for other in others:
            with contextlib.suppress(FileNotFoundError, DamagedError):
                head = read_head(other)
                if head.identity == name:
                    open_shelf(other, head.content_hash, name)  # it is whole
                    return cls(digests_of(other, head), vectors_of(other, head))
        return None


def _embedded(
    embedder: Embedder, texts: Sequence[str], contents: Contents, known: _Known | None, begin: int
) -> Iterator[tuple[int, Vectors]]:
    """(texts done, vectors of the newest block), in order; blocks are embedded in as many threads as there are processors."""

    def block(start: int, end: int) -> Vectors:
        vectors = np.zeros((end - start, embedder.dimension), np.float32)
        rows = [known.rows.get(contents.digests[row].tobytes(), -1) if known else -1 for row in range(start, end)]
        for place, row in enumerate(rows):
            if known and row >= 0:
                vectors[place] = known.vectors[row]
        fresh = [place for place, row in enumerate(rows) if row < 0]
        vectors[fresh] = embedder.embed([texts[start + place] for place in fresh])
        return vectors

    workers = len(os.sched_getaffinity(0))
    pending: deque[tuple[int, Future[Vectors]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for start in range(begin, len(texts), BLOCK):
                end = min(start + BLOCK, len(texts))
                pending.append((end, pool.submit(block, start, end)))
                if len(pending) > 2 * workers:
                    done, future = pending.popleft()
                    yield done, future.result()
            while pending:
                done, future = pending.popleft()
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)
