"""`soundflow clips align`: when is each word of a clip's transcript heard? Written into the index, word by word.

What was found out is kept in the working memory of the index (`pipeline.clips.ledger`) by audio, text and language: a second run
aligns what is new, an interrupted one goes on, and `clips index` puts known times into its rows again. Rows do not depend on the
number of workers. `DIR/unaligned.jsonl` lists the speech that has no times, and why.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from soundflow.backends.align.aligners import aligner_name, language_of, open_aligner
from soundflow.operators.clean.clip_cache import ClipCache
from soundflow.pipeline.clips.audio import ClipAudio
from soundflow.pipeline.clips.findings import Missed, Row, Times, as_given, times_key
from soundflow.pipeline.clips.ledger import Ledger
from soundflow.pipeline.clips.table import CACHE, REMEDY, TABLE, ClipIndex, write_table
from soundflow.pipeline.mechanics.processes import each
from soundflow.schemas import constants as c
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.clip import Clip, Word
from soundflow.schemas.outcome import Ok, Outcome, Rejected

UNALIGNED: Final = "unaligned.jsonl"
NO_ALIGNER: Final = "no_aligner"

OnProgress = Callable[[int, int, int, float], None]
"""(clips done, clips in all, without times so far, seconds of speech so far)."""


class AlignSummary(Schema):
    """What one run of `clips align` came to."""

    directory: str
    speech: int
    """Clips with a transcript."""
    aligned: int
    """Of them, those whose words have times."""
    words: int
    new: int
    """Clips this run had to align."""
    unaligned: dict[str, int]
    """Reason → how many."""
    aligners: tuple[str, ...]
    content_hash: str

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return self.model_dump(mode="json")

    def describe(self) -> str:
        """For people."""
        done = f"{self.aligned} of {self.speech} speech clips aligned, {self.words} words; {self.new} clips now"
        lines = [f"{self.directory}: {done}"]
        if self.unaligned:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.unaligned.items()))
            lines.append(f"  without times {sum(self.unaligned.values())} ({reasons}); see {Path(self.directory) / UNALIGNED}")
        return "\n".join(lines)


class _Task(NamedTuple):
    clip: Clip
    aligner: str
    language: str


class _Done(NamedTuple):
    task: _Task
    times: Times
    lasting: bool
    """Another run with the same aligner would find the same."""


def align_clips(
    directory: Path, *, aligner: str = "auto", workers: int | None = None, on_progress: OnProgress | None = None
) -> AlignSummary:
    """Give the words of every speech clip of an index their times; clips no aligner can place are listed and the rest goes on.

    `aligner`: `auto` is pocketsphinx for English and Whisper for other languages. Raises InputError when there is no index,
    another run is at it, or not one clip can be aligned here; OSError when it cannot be written: the index then stays as it was.
    """
    index = ClipIndex.open(directory)
    try:
        with Ledger(index.directory) as ledger:
            return _Run(index, ledger, aligner, on_progress).run(workers or os.cpu_count() or 1)
    except sqlite3.Error as error:
        text = f"the working memory of the index cannot be written: {error}"
        raise OSError(errno.EIO, text, str(index.directory)) from None


class _Run:
    def __init__(self, index: ClipIndex, ledger: Ledger, aligner: str, on_progress: OnProgress | None):
        self.index, self.ledger, self.aligner, self.on_progress = index, ledger, aligner, on_progress
        self.ids: dict[str, str] = {}
        """Aligner's name → what shapes its answers."""
        self.missing: dict[str, InputError] = {}
        self.left: dict[str, Times] = {}
        """By clip: what only this run knows, since another one may find something else."""
        self.total = self.done = self.new = self.without = 0
        self.seconds = 0.0

    def run(self, workers: int) -> AlignSummary:
        for brief in self.index.briefs():
            self.total += brief.kind == "speech"
        work = partial(align_one, ClipCache(self.index.directory / CACHE, self.index.footer.config))
        for found in each(work, self._pending(), workers, _died):
            self.new += 1
            self._settle(found)
        lacking = [times.detail for times in self.left.values() if times.reason == NO_ALIGNER]
        if lacking and len(lacking) == self.total:
            raise InputError(lacking[0])
        return self._write()

    def _pending(self) -> Iterator[_Task]:
        """What is not known yet; the rest is counted on the way."""
        for clip in self.index.clips():
            if not clip.transcript:
                continue
            language = language_of(clip.transcript, clip.language)
            name = aligner_name(self.aligner, language)
            known = self.ledger.found(times_key(clip.model_dump()))
            if known is not None and known[0] == self._id(name):
                self._count(clip, Times.from_json(known[1]))
            elif self._id(name):
                yield _Task(clip, name, language)
            else:
                self.left[clip.id] = Times(reason=NO_ALIGNER, detail=str(self.missing[name]))
                self._count(clip, self.left[clip.id])

    def _id(self, name: str) -> str:
        """What shapes an aligner's answers; empty when it cannot be had here."""
        if name not in self.ids:
            try:
                self.ids[name] = open_aligner(name).id
            except InputError as error:
                self.ids[name], self.missing[name] = "", error
        return self.ids[name]

    def _settle(self, found: _Done) -> None:
        clip = found.task.clip
        if found.lasting:
            self.ledger.remember_found(
                times_key(clip.model_dump()), self.ids[found.task.aligner], found.times.canonical_json().decode()
            )
        else:
            self.left[clip.id] = found.times
        self._count(clip, found.times)

    def _count(self, clip: Clip, times: Times) -> None:
        self.done += 1
        self.without += not times.words
        self.seconds += clip.samples / c.SAMPLE_RATE
        if self.on_progress is not None:
            self.on_progress(self.done, self.total, self.without, self.seconds)
        self.ledger.commit_as_it_goes()

    def _write(self) -> AlignSummary:
        counts: Counter[str] = Counter()
        words = 0
        unaligned: list[Missed] = []

        def rows() -> Iterator[dict[str, Any]]:
            nonlocal words
            for row in self.index.rows():
                if row["transcript"]:
                    times = self.left.get(row["id"]) or self._known(row)
                    words += len(times.words)
                    row["words"] = [word.model_dump() for word in times.words]
                    if not times.words:
                        row = as_given(row)
                        counts[times.reason] += 1
                        unaligned.append(Missed(id=row["id"], reason=times.reason, detail=times.detail))
                yield row

        footer = write_table(self.index.directory / TABLE, rows(), self.index.footer.config)
        write_atomic(self.index.directory / UNALIGNED, (row.canonical_json() + b"\n" for row in unaligned))
        return AlignSummary(
            directory=str(self.index.directory),
            speech=self.total,
            aligned=self.total - len(unaligned),
            words=words,
            new=self.new,
            unaligned=dict(counts),
            aligners=tuple(sorted(filter(None, self.ids.values()))),
            content_hash=footer.content_hash,
        )

    def _known(self, row: Row) -> Times:
        known = self.ledger.found(times_key(row))
        assert known is not None, row["id"]
        return Times.from_json(known[1])


def align_one(cache: ClipCache, task: _Task) -> _Done:
    """Align one clip; whatever it makes go wrong stays with it."""
    clip = task.clip
    try:
        samples = ClipAudio(cache, REMEDY.format(cache.directory.parent)).of(clip)
        outcome: Outcome[tuple[Word, ...]] = open_aligner(task.aligner).align(samples, clip.transcript or "", task.language)
        if isinstance(outcome, Ok):
            clip.model_validate(clip.model_dump() | {"words": outcome.value})
    except InputError as error:
        return _Done(task, Times(reason=NO_ALIGNER, detail=str(error)), False)
    except Exception as error:  # one clip's surprise must not end the run
        return _Done(task, Times(reason="failed", detail=f"{type(error).__name__}: {error}"), False)
    if isinstance(outcome, Ok):
        return _Done(task, Times(words=outcome.value), True)
    if isinstance(outcome, Rejected):
        return _Done(task, Times(reason=outcome.reason, detail=_told(outcome)), True)
    return _Done(task, Times(reason="failed", detail=f"{outcome.stage}: {outcome.error}"), False)


def _told(rejected: Rejected) -> str:
    metrics = dict(rejected.metrics)
    detail = [str(metrics.pop("detail"))] if "detail" in metrics else []
    facts = (f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in metrics.items())
    return "; ".join([*detail, *facts])


def _died(task: _Task) -> _Done:
    return _Done(task, Times(reason="failed", detail="the process aligning it died"), False)
