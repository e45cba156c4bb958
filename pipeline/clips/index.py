"""Make a clip index: read sources, clean what is new, write one table. `ClipIndex` (pipeline.clips.table) reads it.

`DIR/clips.parquet` is the index, `DIR/cache/` the cleaned audio, `DIR/rejected.jsonl` what did not become a clip and why,
`DIR/index.json` a summary for people and scripts, `DIR/working.sqlite` the working memory (may be deleted).

A run makes DIR the index of exactly the sources it is given. Sources are never written to. What earlier or interrupted
runs cleaned is used again, so is what `clips align` and `clips interpret` found; whether a file is the same is decided by its
content, size and times only save the hashing. Rows do not depend on the number of workers, on order, or on the place the
sources' folders stand in.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from soundflow.operators.clean.clip_cache import CacheEntry, CleanConfig, ClipCache, Treatment, detail_of, unavailable
from soundflow.operators.clean.ingress import INGRESS_VERSION
from soundflow.operators.clean.tfjp import TFJP_VERSION
from soundflow.operators.sources.manifest import read_source
from soundflow.operators.sources.rows import printable
from soundflow.pipeline.clips.findings import with_findings
from soundflow.pipeline.clips.ledger import Ledger, source_names
from soundflow.pipeline.clips.table import CACHE, TABLE, ClipIndex, Footer, write_table
from soundflow.pipeline.clips.workers import Cleaned, Seen, Work, clean_all
from soundflow.schemas import constants as c
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError, Schema, canonical_json
from soundflow.schemas.clip import ClipRejection, IngressConfig, TfjpConfig
from soundflow.schemas.outcome import Failed, Ok

__all__ = ["ClipIndex", "IndexSummary", "index_clips"]

REJECTED: Final = "rejected.jsonl"
SUMMARY: Final = "index.json"

OnProgress = Callable[[int, int, int, float], None]
"""(files done, files in all, rejected so far, seconds of clips so far)."""


class IndexSummary(Schema):
    """What one run of `clips index` came to."""

    directory: str
    clips: int
    seconds: float
    rejected: dict[str, int]
    """Reason → how many."""
    cleaned: int
    """Files this run had to read and clean."""
    reused: int
    """Files whose cleaned audio was there already."""
    content_hash: str
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return self.model_dump(mode="json")

    def describe(self) -> str:
        """For people."""
        lines = [
            f"{self.directory}: {self.clips} clips, {self.seconds / 3600:.2f} h;"
            f" {self.cleaned} files cleaned now, {self.reused} found in the cache"
        ]
        if self.rejected:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.rejected.items()))
            lines.append(f"  rejected {sum(self.rejected.values())} ({reasons}); see {Path(self.directory) / REJECTED}")
        if not self.clips:
            lines.append("  no recording could be used: there is nothing to build from")
        return "\n".join([*lines, *(f"  warning: {text}" for text in self.warnings)])


def index_clips(
    sources: Sequence[Path],
    out: Path,
    *,
    roots: Sequence[Path] = (),
    tfjp: TfjpConfig = TfjpConfig(),  # noqa: B008 (frozen)
    ingress: IngressConfig = IngressConfig(),  # noqa: B008 (frozen)
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> IndexSummary:
    """Index `sources` (folders, manifests, recordings) into the directory `out`.

    `roots`: folders outside a manifest's own that its paths may point into; `workers`: processes, default one per core.
    Bad files and rows are listed and the rest goes on. Raises InputError when a source is wrong as a whole or `out` cannot
    be used, OSError when it cannot be written (disk full): an older index in `out` then stays as it was.
    """
    if not sources:
        raise InputError("no source given", remedy="Name at least one folder, manifest or recording")
    places = [Path(os.path.abspath(source)) for source in sources]  # noqa: PTH100 (symlinks stay as the user wrote them)
    directory = _prepare(out, places)
    try:
        with Ledger(directory) as ledger:
            for abandoned in directory.glob(".*.tmp"):  # of a killed run; the ledger's lock says that no other is at work
                abandoned.unlink(missing_ok=True)
            run = _Run(ledger, ClipCache(directory / CACHE, CleanConfig(tfjp=tfjp, ingress=ingress)), on_progress)
            run.cache.sweep()
            run.read(places, directory, roots)
            run.look()
            run.clean(workers or os.cpu_count() or 1)
            return run.write(directory)
    except sqlite3.Error as error:
        raise OSError(errno.EIO, f"the working memory of the index cannot be written: {error}", str(directory)) from None


def _prepare(out: Path, sources: Sequence[Path]) -> Path:
    directory = Path(os.path.abspath(out))  # noqa: PTH100
    if directory in sources:
        raise InputError("is also a source", file=out, remedy="Sources are never written to: choose another -o")
    for number, source in enumerate(sources):
        for other in sources[:number]:
            both_folders = os.path.isdir(source) and os.path.isdir(other)  # noqa: PTH112
            if source == other or (both_folders and (source.is_relative_to(other) or other.is_relative_to(source))):
                raise InputError("overlaps another source", file=source, value=str(other), remedy="Name each recording once")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / CACHE).mkdir(exist_ok=True)
    except FileExistsError:
        raise InputError("is a file, not a directory", file=out, remedy="Choose another -o") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise InputError(f"cannot be written: {error.strerror}", file=out, remedy="Choose another -o") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InputError("cannot be written: permission denied", file=out, remedy="Choose another -o")
    return directory


@dataclass
class _Run:
    """One run, step by step."""

    ledger: Ledger
    cache: ClipCache
    on_progress: OnProgress | None
    warnings: list[str] = field(default_factory=list)
    total: int = 0
    done: int = 0
    rejected: int = 0
    cleaned: int = 0
    reused: int = 0
    seconds: float = 0.0

    def read(self, sources: Sequence[Path], directory: Path, roots: Sequence[Path]) -> None:
        """Take in what the sources offer; one that offers nothing is a mistake."""
        for number, (source, name) in enumerate(zip(sources, source_names(sources), strict=True)):
            found = read_source(source, skip=directory, roots=roots, warn=self.warnings.append)
            if self.ledger.add_source(number, name, found) == 0:
                raise InputError("holds no recordings", file=source, remedy="wav, flac, ogg, mp3 and the like are looked for")
        if len(sources) > 1:
            self.ledger.separate_sources()
        self.total = self.ledger.count_work()
        self.rejected = sum(self.ledger.reasons().values())

    def look(self) -> None:
        """Settle what needs no cleaning: files that cannot be had, files cleaned before."""
        for batch in self.ledger.work(pending=True):
            for work, _ in batch:
                self._look_at(work)
            self._tell()

    def _look_at(self, work: Work) -> None:
        try:
            status = os.stat(work.path)  # noqa: PTH116 (a million times)
        except OSError:
            status = None
        if status is None or not stat.S_ISREG(status.st_mode):
            self._settle(Cleaned(work, None, unavailable(Path(work.path)), False))
            return
        content = self.ledger.known(work.path, Seen.of(status))
        if content is None:
            return
        entry = self.cache.entry(self.cache.config.key(content, Treatment(work.treatment)))
        if entry is None:
            self.ledger.note_content(work, content)
            return
        self._settle(Cleaned(work, None, Ok(entry), False))

    def clean(self, workers: int) -> None:
        """Hash and clean the rest, in processes when there is enough of it."""
        pending = (item for batch in self.ledger.work(pending=True) for item in batch)
        for found in clean_all(pending, self.cache, workers):
            self._settle(found)
            self._tell()

    def _settle(self, found: Cleaned) -> None:
        self.done += 1
        self.cleaned += found.fresh
        work, outcome = found.work, found.outcome
        if isinstance(outcome, Ok):
            entry = outcome.value
            self.reused += not found.fresh
            if found.seen is not None:
                self.ledger.remember(work.path, found.seen, entry.content_sha256)
            if entry.clip is not None:
                self.seconds += entry.clip.samples / c.SAMPLE_RATE
                self.ledger.settle(work, content=entry.content_sha256, entry=entry.canonical_json().decode())
                return
            reason, detail = entry.reason, entry.detail
        elif isinstance(outcome, Failed):
            reason, detail = "failed", f"{outcome.stage}: {outcome.error}"
        else:
            reason, detail = outcome.reason, detail_of(outcome)
        self.rejected += 1
        self.ledger.settle(work, reason=reason, detail=printable(detail))

    def _tell(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.done, self.total, self.rejected, self.seconds)
        self.ledger.commit_as_it_goes()

    def write(self, directory: Path) -> IndexSummary:
        """Put the table in place, then what explains it."""
        self.ledger.mark_twins()
        footer = write_table(directory / TABLE, self._clips(), self.cache.config)
        write_atomic(directory / REJECTED, (row.canonical_json() + b"\n" for row in self.ledger.rejected()))
        summary = IndexSummary(
            directory=str(directory),
            clips=footer.clips,
            seconds=footer.seconds,
            rejected=self.ledger.reasons(),
            cleaned=self.cleaned,
            reused=self.reused,
            content_hash=footer.content_hash,
            warnings=tuple(self.warnings),
        )
        write_atomic(directory / SUMMARY, _explained(summary, footer))
        self.ledger.forget_vanished()
        self.ledger.commit()
        return summary

    def _clips(self) -> Iterator[dict[str, Any]]:
        """Fields of schemas.clip.Clip in id order; what falls out on the way is listed."""
        last = None
        for row, (twin, entry, reason, detail) in self.ledger.rows():
            clip_id, path = row["id"], row["path"]
            if reason is not None:
                self.ledger.reject(ClipRejection(path=path, reason=reason, detail=detail))
                continue
            if twin is not None:
                self.ledger.reject(ClipRejection(path=path, reason="duplicate_content", detail=f"the same recording as {twin}"))
                continue
            if clip_id == last:
                self.ledger.reject(
                    ClipRejection(path=path, reason="duplicate_id", detail=f"id {clip_id} is taken; the first row keeps it")
                )
                continue
            last = clip_id
            yield with_findings(self.ledger, row | _facts(entry))


@lru_cache(maxsize=1024)
def _facts(entry: str) -> dict[str, Any]:
    """What a cache entry knows of a clip; a million rows may share few entries."""
    parsed = CacheEntry.from_json(entry)
    assert parsed.clip is not None
    return {"content_sha256": parsed.content_sha256, "cache_key": parsed.cache_key} | parsed.clip.model_dump(mode="json")


def _explained(summary: IndexSummary, footer: Footer) -> bytes:
    """`index.json`: the summary with the configuration and the versions that made it."""
    versions = {"ingress": INGRESS_VERSION, "tfjp": TFJP_VERSION}
    document = summary.to_json() | {"config": footer.config.model_dump(mode="json"), "versions": versions}
    return canonical_json(document) + b"\n"
