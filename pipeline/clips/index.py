"""Build a clip index: read the sources, clean what is new, write one table. `ClipIndex` (`pipeline.clips.table`) reads it.

    DIR/clips.parquet     the index
    DIR/cache/            the cleaned audio
    DIR/rejected.jsonl    files and rows that are not in the index, with reasons
    DIR/index.json        a summary for people and scripts
    DIR/working.sqlite    the working database; may be deleted

A run makes DIR the index of exactly the given sources. Sources are never written to. Files that earlier or interrupted runs
cleaned are reused, and so are the findings of `clips align` and `clips interpret`. Files are compared by content; size and times
only save hashing them again. Rows do not depend on the number of workers, on order, or on where the source folders are.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from soundflow.operators.clean.clip_cache import CacheEntry, CleanConfig, ClipCache, Treatment, detail_of, unavailable
from soundflow.operators.clean.ingress import INGRESS_VERSION
from soundflow.operators.clean.tfjp import TFJP_VERSION
from soundflow.operators.labels.maps import LabelMap
from soundflow.operators.sources.manifest import read_source
from soundflow.operators.sources.naming import are_classes, label_by_source, name_clips
from soundflow.operators.sources.rows import printable
from soundflow.pipeline.clips.findings import with_findings
from soundflow.pipeline.clips.ledger import IndexLedger, source_names
from soundflow.pipeline.clips.table import CACHE, TABLE, ClipIndex, Footer, write_table
from soundflow.pipeline.clips.workers import Cleaned, FileStamp, Work, clean_all
from soundflow.schemas import constants as c
from soundflow.schemas.atomic_file import TEMPORARY, sweep_abandoned, write_atomic
from soundflow.schemas.base import InputError, Schema, canonical_json
from soundflow.schemas.clip import ClipRejection, ClipRole, IngressConfig, TfjpConfig
from soundflow.schemas.outcome import Failed, Ok
from soundflow.schemas.text import counted

__all__ = ["ClipIndex", "IndexSummary", "index_clips"]

REJECTED: Final = "rejected.jsonl"
SUMMARY: Final = "index.json"
EXAMPLES: Final = 3
"""Maximum number of unused labels and captions that the summary names."""

OnProgress = Callable[[int, int, int, float], None]
"""(files done, total files, rejected so far, seconds of clips so far)."""


class IndexSummary(Schema):
    """Result of one run of `clips index`."""

    directory: str
    clips: int
    seconds: float
    rejected: dict[str, int]
    """Reason → number of files and rows."""
    cleaned: int
    """Files that this run read and cleaned."""
    reused: int
    """Files whose outcome is known from an earlier run: their cleaned audio, or the reason why they are rejected."""
    content_hash: str
    unlabelled: int = 0
    """Foreground clips without a label."""
    unused_labels: int = 0
    """Clips whose label names nothing and is left out."""
    unused_captions: int = 0
    """Clips whose caption describes nothing and is left out."""
    unused_examples: tuple[str, ...] = ()
    """Some of these labels and captions."""
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document that --json prints."""
        return self.model_dump(mode="json")

    def describe(self) -> str:
        """Return the summary that is printed on the terminal."""
        lines = [
            f"{self.directory}: {counted(self.clips, 'clip')}, {self.seconds / 3600:.2f} h;"
            f" {counted(self.cleaned, 'file')} cleaned in this run, {self.reused:,} known from earlier runs"
        ]
        if self.unlabelled:
            remedy = "Put recordings into folders named after their sounds and index the folder above, or write a manifest"
            clips = counted(self.unlabelled, "foreground clip")
            lines.append(f"  without a label: {clips}, which no task about sounds uses. {remedy}")
        if self.unused_labels or self.unused_captions:
            numbers = ((self.unused_labels, "label"), (self.unused_captions, "caption"))
            left_out = " and ".join(counted(number, noun) for number, noun in numbers if number)
            examples = ", ".join(f'"{text}"' for text in self.unused_examples)
            lines.append(f"  left out, because they are file names, ids or numbers instead of words: {left_out} ({examples})")
            lines.append(f"    List them with: soundflow clips list {shlex.quote(self.directory)} --unused")
        if self.rejected:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.rejected.items()))
            listed = Path(self.directory) / REJECTED
            lines.append(f"  rejected: {sum(self.rejected.values())} ({reasons}); listed in {listed}")
        if not self.clips:
            lines.append("  the index is empty: no recording could be used")
        return "\n".join([*lines, *(f"  warning: {text}" for text in self.warnings)])


def index_clips(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    roots: Sequence[Path] = (),
    labels: Sequence[str | Path] = (),
    tfjp: TfjpConfig = TfjpConfig(),  # noqa: B008 (frozen)
    ingress: IngressConfig = IngressConfig(),  # noqa: B008 (frozen)
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> IndexSummary:
    """Index `sources` (folders, manifests, recordings) into the directory `out`.

    `roots`: folders outside a manifest's own folder that its paths may point into. `labels`: label maps, as files or names of
    shipped maps (`operators.labels.maps`); the first one that has a label renames it. `workers`: processes, default one per core.
    Files and rows that cannot be used are listed with a reason.

    Raises InputError when a source as a whole is invalid or `out` cannot be used; OSError when `out` cannot be written (disk
    full). An older index in `out` is then unchanged.
    """
    if not sources:
        raise InputError("no source given", remedy="Give at least one folder, manifest or recording")
    places = [Path(os.path.abspath(source)) for source in sources]  # noqa: PTH100 (symlinks stay as the user wrote them)
    maps = [LabelMap.open(name) for name in labels]
    directory = _prepare(Path(out), places)
    with IndexLedger(directory) as ledger:
        sweep_abandoned(directory.glob(f"{TEMPORARY}*"))
        run = _IndexRun(ledger, ClipCache(directory / CACHE, CleanConfig(tfjp=tfjp, ingress=ingress)), on_progress)
        run.cache.sweep()
        run.read(places, directory, roots, maps)
        run.look_up()
        run.clean(workers or os.cpu_count() or 1)
        return run.write(directory)


def _prepare(out: Path, sources: Sequence[Path]) -> Path:
    directory = Path(os.path.abspath(out))  # noqa: PTH100
    if directory in sources:
        raise InputError("is also a source", file=out, remedy="Choose another -o; sources are never written to")
    for number, source in enumerate(sources):
        for other in sources[:number]:
            both_folders = os.path.isdir(source) and os.path.isdir(other)  # noqa: PTH112
            if source == other or (both_folders and (source.is_relative_to(other) or other.is_relative_to(source))):
                raise InputError(f"overlaps the source {other}", file=source, remedy="Give each recording only once")
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
class _IndexRun:
    """The steps of one run, in order: read, look_up, clean, write."""

    ledger: IndexLedger
    cache: ClipCache
    on_progress: OnProgress | None
    warnings: list[str] = field(default_factory=list)
    total: int = 0
    done: int = 0
    rejected: int = 0
    cleaned: int = 0
    reused: int = 0
    seconds: float = 0.0
    unused: Counter[str] = field(default_factory=Counter)
    """Foreground clips without a label, and clips with a text in one of the columns `unused_label` and `unused_caption`."""
    examples: list[str] = field(default_factory=list)

    def read(self, sources: Sequence[Path], directory: Path, roots: Sequence[Path], maps: Sequence[LabelMap]) -> None:
        """Read the rows of all sources. Raises InputError for a source without any recording."""
        classes = are_classes(sources)
        for number, (source, name) in enumerate(zip(sources, source_names(sources), strict=True)):
            found = read_source(source, skip=directory, roots=roots, warn=self.warnings.append)
            found = label_by_source(found, source) if classes else found
            if self.ledger.add_source(number, name, name_clips(found, maps)) == 0:
                raise InputError("contains no recordings", file=source, remedy="Give wav, flac, ogg or mp3 files")
        for labels in maps:
            if labels.unused:
                number, first = len(labels.unused), labels.unused[0]
                self.warnings.append(f"{labels.name}: labels of the map that no recording has: {number} (first: {first!r})")
        if len(sources) > 1:
            self.ledger.separate_sources()
        self.total = self.ledger.count_work()
        self.rejected = sum(self.ledger.reasons().values())

    def look_up(self) -> None:
        """Settle the files that need no cleaning: those that are missing and those in the cache."""
        for batch in self.ledger.work(pending=True):
            for work, _ in batch:
                self._look_up(work)
            self._report()

    def _look_up(self, work: Work) -> None:
        try:
            status = os.stat(work.path)  # noqa: PTH116 (a million times)
        except OSError:
            status = None
        if status is None or not stat.S_ISREG(status.st_mode):
            self._settle(Cleaned(work, None, unavailable(Path(work.path)), False))
            return
        content = self.ledger.content_of(work.path, FileStamp.of(status))
        if content is None:
            return
        entry = self.cache.entry(self.cache.config.key(content, Treatment(work.treatment), work.excerpt))
        if entry is None:
            self.ledger.set_content(work, content)
            return
        self._settle(Cleaned(work, None, Ok(entry), False))

    def clean(self, workers: int) -> None:
        """Hash and clean the other files, in worker processes when there are enough of them."""
        pending = (item for batch in self.ledger.work(pending=True) for item in batch)
        for cleaned in clean_all(pending, self.cache, workers):
            self._settle(cleaned)
            self._report()

    def _settle(self, cleaned: Cleaned) -> None:
        self.done += 1
        work, outcome = cleaned.work, cleaned.outcome
        if isinstance(outcome, Ok):
            entry = outcome.value
            self.cleaned += cleaned.is_fresh and entry.clip is not None
            self.reused += not cleaned.is_fresh
            if cleaned.stamp is not None:
                self.ledger.store_content(work.path, cleaned.stamp, entry.content_sha256)
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

    def _report(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.done, self.total, self.rejected, self.seconds)
        self.ledger.commit_if_due()

    def write(self, directory: Path) -> IndexSummary:
        """Write the table, then the list of rejections and the summary."""
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
            unlabelled=self.unused["unlabelled"],
            unused_labels=self.unused["unused_label"],
            unused_captions=self.unused["unused_caption"],
            unused_examples=tuple(self.examples),
            warnings=tuple(self.warnings),
        )
        write_atomic(directory / SUMMARY, _summary_document(summary, footer))
        self.ledger.forget_vanished()
        self.ledger.commit()
        return summary

    def _clips(self) -> Iterator[dict[str, Any]]:
        """Yield rows with the fields of `schemas.clip.Clip` in id order; list those that are rejected."""
        last = None
        for row, (twin, entry, reason, detail) in self.ledger.rows():
            clip_id, path = row["id"], row["path"]
            if reason is not None:
                self.ledger.reject(ClipRejection(path=path, reason=reason, detail=detail))
                continue
            if twin is not None:
                self.ledger.reject(ClipRejection(path=path, reason="duplicate_content", detail=f"same recording as {twin}"))
                continue
            if clip_id == last:
                self.ledger.reject(
                    ClipRejection(path=path, reason="duplicate_id", detail=f"id {clip_id} is used by an earlier row")
                )
                continue
            last = clip_id
            self._count_unused(row)
            yield with_findings(self.ledger, row | _facts(entry))

    def _count_unused(self, row: dict[str, Any]) -> None:
        self.unused["unlabelled"] += row["role"] == ClipRole.FOREGROUND and not row["label"]
        for name in ("unused_label", "unused_caption"):
            text = row[name]
            self.unused[name] += bool(text)
            if text and len(self.examples) < EXAMPLES and text not in self.examples:
                self.examples.append(text)


@lru_cache(maxsize=1024)
def _facts(entry: str) -> dict[str, Any]:
    """Return the fields of a clip that come from its cache entry. Cached: a million rows may share few entries."""
    parsed = CacheEntry.from_json(entry)
    assert parsed.clip is not None
    return {"content_sha256": parsed.content_sha256, "cache_key": parsed.cache_key} | parsed.clip.model_dump(mode="json")


def _summary_document(summary: IndexSummary, footer: Footer) -> bytes:
    """Return `index.json`: the summary with the configuration and versions behind it."""
    versions = {"ingress": INGRESS_VERSION, "tfjp": TFJP_VERSION}
    document = summary.to_json() | {"config": footer.config.model_dump(mode="json"), "versions": versions}
    return canonical_json(document) + b"\n"
