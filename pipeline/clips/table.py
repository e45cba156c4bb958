"""The clip index on disk: `DIR/clips.parquet`, one row per clip in id order, with its provenance in the footer of the file.

Replacing that file is the commit of an index, so a file that can be opened is complete. `ClipIndex` reads it.
"""

from __future__ import annotations

import hashlib
import shlex
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, parquet
from pydantic import ValidationError

from soundflow.operators.clean.clip_cache import CleanConfig, ClipCache
from soundflow.operators.compose.clips import COPIED, ClipBrief
from soundflow.pipeline.clips.audio import ClipAudio
from soundflow.schemas.atomic_file import atomic_file
from soundflow.schemas.base import InputError, Schema, canonical_json
from soundflow.schemas.clip import Clip, ClipRole, Sha256
from soundflow.schemas.regular_file import open_regular
from soundflow.schemas.taxonomy import Urgency

TABLE: Final = "clips.parquet"
CACHE: Final = "cache"
FOOTER_KEY: Final = b"soundflow.clips"
REMEDY: Final = "Create it with: soundflow clips index SRC... -o {}"
BATCH: Final = 4096
ROWS_KEPT: Final = 4096
"""Clip objects kept in memory (about 3 kB each). A clip is used about 30 times, and parsing one takes 70 µs."""

_few = pa.dictionary(pa.int32(), pa.string())
REJECTED_TRANSCRIPT: Final = "transcript_rejected"
"""Column that older indexes do not have. Content hashes contain it only where it is not empty."""
PROVENANCE: Final = pa.schema([pa.field(name, _few) for name in ("label_source", "unused_label", "unused_caption")])
"""Columns about the origin of label and caption: fields of `operators.sources.rows.SourceRow` that are not fields of `Clip`.

They shape no corpus. Older indexes do not have them."""
_WORDS: Final = pa.list_(pa.struct([pa.field("text", pa.string()), pa.field("start", pa.int32()), pa.field("end", pa.int32())]))
_SEGMENTS: Final = pa.list_(pa.struct([pa.field("text", pa.string()), pa.field("words", pa.int32())]))
_CLEANING: Final = pa.struct(
    [
        pa.field("in_samples", pa.int64()),
        pa.field("out_samples", pa.int64()),
        pa.field("cut_ms", pa.float64()),
        pa.field("noise_floor_db", pa.float64()),
        pa.field("denoised", pa.bool_()),
        pa.field("span", pa.list_(pa.float64())),
        pa.field("passes", pa.int64()),
        pa.field("converged", pa.bool_()),
    ]
)
SCHEMA: Final = pa.schema(
    [
        *[pa.field(name, pa.string()) for name in ("id", "path", "content_sha256", "clean_sha256", "cache_key")],
        *[pa.field(name, _few) for name in ("role", "label")],
        *[pa.field(name, pa.string()) for name in ("caption", "transcript", "reply")],
        *[pa.field(name, _few) for name in ("emotion", "language")],
        pa.field("dialogue", pa.string()),
        pa.field("turn", pa.int32()),
        pa.field("voice", _few),
        pa.field("wer", pa.float64()),
        pa.field("translation", pa.string()),
        pa.field("translation_language", _few),
        *[pa.field(name, _few) for name in ("licence", "attribution", "source", "split")],
        *[pa.field(name, pa.int64()) for name in ("samples", "active_end")],
        *[pa.field(name, pa.float64()) for name in ("active_level_db", "peak", "clipped_ratio")],
        pa.field("cleaning", _CLEANING),
        pa.field("words", _WORDS),
        pa.field("segments", _SEGMENTS),
        pa.field("interpreter", _few),
        pa.field("decision", _few),
        *PROVENANCE,
        pa.field(REJECTED_TRANSCRIPT, _few),
    ]
)
"""One column per field of schemas.clip.Clip, and `PROVENANCE`."""


ADDED: Final = frozenset({"decision", *PROVENANCE.names, REJECTED_TRANSCRIPT})
"""Columns that indexes of earlier versions do not have."""


class Footer(Schema):
    """Provenance of an index."""

    version: int = 1
    content_hash: Sha256
    clips: int
    seconds: float
    config: CleanConfig


def write_table(path: Path, rows: Iterable[dict[str, Any]], config: CleanConfig) -> Footer:
    """Write `rows` (fields of Clip, in id order) as a new index at `path` and replace an older one atomically.

    Memory is bounded by one batch. Raises OSError (such as a full disk); an older index is then unchanged.
    """
    digest, count, samples = hashlib.sha256(), 0, 0
    with atomic_file(path, durable=True) as file, parquet.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for batch in _batched(rows):
            for row in batch:
                digest.update(shaping_bytes(row))
                samples += row["samples"]
            count += len(batch)
            writer.write_table(pa.Table.from_pylist(batch, schema=SCHEMA))
        footer = Footer(content_hash=digest.hexdigest(), clips=count, seconds=samples / 16_000, config=config)
        writer.add_key_value_metadata({FOOTER_KEY: footer.canonical_json()})
    return footer


def clip_of(row: Mapping[str, Any]) -> Clip:
    """Return the clip of a row. Raises ValidationError if the row is damaged."""
    return Clip.model_validate({name: value for name, value in row.items() if name not in PROVENANCE.names})


def shaping_bytes(row: dict[str, Any]) -> bytes:
    """Return the part of a row that shapes a corpus: every field except the path and `PROVENANCE`.

    A missing decision and an empty `REJECTED_TRANSCRIPT` are left out too: the hash of an index without them is then the one that
    earlier versions computed.
    """
    other = {"path", *PROVENANCE.names} | {name for name in ("decision", REJECTED_TRANSCRIPT) if not row.get(name)}
    return canonical_json({name: value for name, value in row.items() if name not in other}) + b"\n"


def _batched(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def read_footer(directory: Path) -> Footer:
    """Return the footer of the index in `directory` without reading its rows. Raises like `ClipIndex.open`."""
    return _opened(directory, parquet.read_schema)[1]


def _opened(directory: Path, read: Callable[[BufferedReader], Any]) -> tuple[Any, Footer]:
    """Return `read(the open table)` and the footer. Raises InputError when there is no index of this version."""
    path = directory / TABLE
    remedy = REMEDY.format(directory)
    try:
        with open_regular(path) as file:  # one file, even if the index is replaced in between
            names = parquet.read_schema(file).names
            stored = (parquet.read_metadata(file).metadata or {}).get(FOOTER_KEY)
            is_known = names == [name for name in SCHEMA.names if name in names or name not in ADDED]
            found = read(file) if is_known else None
    except FileNotFoundError:
        raise InputError("is not a clip index", file=directory, remedy=remedy) from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read as a clip index: {error}", file=path, remedy=remedy) from None
    if stored is None or not is_known:
        raise InputError("is not a clip index of this version", file=path, remedy=remedy)
    try:
        return found, Footer.from_json(stored)
    except InputError:
        raise InputError("was created by another version of SoundFlow", file=path, remedy=remedy) from None


def _read_and_hash(file: BufferedReader) -> tuple[Any, str]:
    """Return the Arrow table and the SHA-256 (hex) of its file."""
    table = parquet.read_table(file)
    file.seek(0)
    return table, hashlib.file_digest(file, "sha256").hexdigest()


class IndexReplacedError(InputError):
    """Raised when a clip index is not the one that its user was started with."""


@dataclass(frozen=True, slots=True)
class IndexReference:
    """A clip index with a certain content. Picklable; workers open it instead of a path."""

    directory: Path
    content_hash: str
    """Content hash that the index must have."""
    table_sha256: str
    """SHA-256 of a table file whose rows have that content. Another file is accepted after its rows have been hashed."""

    def open(self) -> ClipIndex:
        """Open the index. Raises IndexReplacedError if it has other rows, InputError if there is none."""
        index = ClipIndex.open(self.directory)
        if index.table_sha256 != self.table_sha256 or index.content_hash != self.content_hash:
            index.require(self.content_hash)
            index.check_rows()
        return index


class IdColumn(Sequence[str]):
    """An Arrow string column as a sequence; it holds no Python objects."""

    def __init__(self, column: Any):
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, index: Any) -> Any:
        return self.column[index].as_py()


class ClipIndex:
    """An index opened for reading: clips by id, and their cleaned audio.

    It holds Arrow columns (about 0.5 kB per clip). Clip objects are parsed on demand; up to 64 MB of decoded audio are cached. It
    pickles as its `reference`.
    """

    def __init__(self, directory: Path, table: Any, footer: Footer, table_sha256: str):
        self.directory, self.footer, self.table_sha256 = directory, footer, table_sha256
        self._table = table
        self._ids = IdColumn(table.column("id"))
        self._cache = ClipCache(directory / CACHE, footer.config)
        remedy = f"run `soundflow clips index` on the sources again (-o {shlex.quote(str(directory))})"
        self._audio = ClipAudio(self._cache, remedy)
        self._rows_read: dict[str, Clip] = {}
        self._roles: dict[ClipRole, list[str]] = {}

    @classmethod
    def open(cls, directory: str | Path) -> Self:
        """Open the index in `directory`. Raises InputError when there is none, or it has another format or version."""
        (table, sha256), footer = _opened(Path(directory), _read_and_hash)
        for name in SCHEMA.names:
            if name not in table.column_names:
                table = table.append_column(SCHEMA.field(name), pa.nulls(len(table), SCHEMA.field(name).type))
        return cls(Path(directory).absolute(), table.combine_chunks(), footer, sha256)

    def __reduce__(self) -> tuple[Any, ...]:
        return (IndexReference.open, (self.reference,))

    @property
    def reference(self) -> IndexReference:
        """What another process needs to open the same index."""
        return IndexReference(self.directory, self.content_hash, self.table_sha256)

    def require(self, content_hash: str) -> None:
        """Raise IndexReplacedError unless the index states this content hash."""
        require_content(self.directory, self.content_hash, content_hash)

    def check_rows(self) -> None:
        """Hash the rows (about 45 µs each). Raises IndexReplacedError unless the footer states their hash."""
        digest = hashlib.sha256()
        for row in self.rows():
            digest.update(shaping_bytes(row))
        require_content(self.directory, digest.hexdigest(), self.content_hash)

    @property
    def content_hash(self) -> str:
        """SHA-256 over every field but `path` of the rows in id order."""
        return self.footer.content_hash

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def briefs(self) -> Sequence[ClipBrief]:
        """Return all clips in id order. Each call builds a new list."""
        roles = {role.value: role for role in ClipRole}
        texts = ("transcript", "reply", "translation")
        made = []
        for batch in self._table.select([*COPIED, *texts, "words"]).to_batches(max_chunksize=BATCH):
            columns = [batch.column(name).to_pylist() for name in (*COPIED, *texts)]
            words = compute.list_value_length(batch.column("words")).to_pylist()
            for *values, transcript, reply, translation, count in zip(*columns, words, strict=True):
                copied = dict(zip(COPIED, values, strict=True))
                copied["role"] = roles[copied["role"]]
                copied["decision"] = Urgency(copied["decision"]) if copied["decision"] else None
                made.append(ClipBrief.derive(copied, transcript, reply, translation, aligned=bool(count)))
        return made

    def ids(self, role: ClipRole) -> Sequence[str]:
        """Return the ids of one role, sorted."""
        if not self._roles:
            self._roles = {known: [] for known in ClipRole}
            for brief in self.briefs():
                self._roles[brief.role].append(brief.id)
        return self._roles[role]

    def get(self, clip_id: str) -> Clip:
        """Return the row with this id. Raises KeyError."""
        if clip_id not in self._rows_read:
            place = bisect_left(self._ids, clip_id)
            if place == len(self._ids) or self._ids[place] != clip_id:
                raise KeyError(clip_id)
            if len(self._rows_read) >= ROWS_KEPT:
                self._rows_read.clear()
            self._rows_read[clip_id] = self._clip(place)
        return self._rows_read[clip_id]

    def clips(self) -> Iterator[Clip]:
        """Yield all rows in id order."""
        return (self._clip(place) for place in range(len(self)))

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """Return the cleaned samples (see `ClipAudio.of`): float32, shape (clip.samples,), read-only. Raises OSError."""
        return self._audio.of(clip)

    def check(self, *, audio: bool = True) -> list[str]:
        """Return what is wrong with the index, one sentence per problem. Nothing is repaired.

        The rows are hashed again. With `audio` the cache entries are hashed too (about 500 MB/s); without it only their lengths
        are compared.
        """
        problems, digest, seen = [], hashlib.sha256(), set()
        for row in self.rows():
            digest.update(shaping_bytes(row))
            key = row["cache_key"]
            if key in seen:
                continue
            seen.add(key)
            entry = self._cache.entry(key)
            if entry is None or entry.clip is None or entry.clip.clean_sha256 != row["clean_sha256"]:
                problems.append(f"{row['id']}: cache entry {key[:12]} is missing or damaged")
            elif audio and hashlib.sha256(self._cache.pcm(key) or b"").hexdigest() != row["clean_sha256"]:
                problems.append(f"{row['id']}: cache entry {key[:12]} differs from what was indexed")
        if digest.hexdigest() != self.content_hash:
            problems.append(f"{TABLE}: the rows do not match the content hash in the footer")
        return problems

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield all rows in id order as stored: the fields of `Clip`, and `PROVENANCE` unless the index is older.

        `columns`: the columns to read, where the index has them; None for all.
        """
        names = [name for name in self._table.column_names if columns is None or name in columns]
        for batch in self._table.select(names).to_batches(max_chunksize=BATCH):
            yield from batch.to_pylist()

    def _clip(self, place: int) -> Clip:
        row = self._table.slice(place, 1).to_pylist()[0]
        try:
            return clip_of(row)
        except ValidationError as error:
            raise OSError(f"{self.directory / TABLE}: row {place} is damaged: {error.errors()[0]['msg']}") from None


def require_content(directory: Path, found: str, expected: str) -> None:
    """Raise IndexReplacedError if a clip index has the content hash `found` instead of `expected`."""
    if found != expected:
        raise IndexReplacedError(
            f"the clip index was replaced: expected content hash {expected[:12]}, found {found[:12]}",
            file=directory / TABLE,
            remedy="Restore the index by running `soundflow clips index` on the same sources, or start again with the new one"
            " and another output directory",
        )
