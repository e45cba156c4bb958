"""`soundflow clips align`: find the start and end of each word of a clip's transcript and write them into the index.

Results are kept in the working database of the index (`pipeline.clips.ledger`), keyed by audio, text and language: a second run
aligns only what is new, an interrupted run resumes, and `clips index` copies known times into its rows. Rows do not depend on the
number of workers. `DIR/unaligned.jsonl` lists the speech clips without times and the reasons.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from soundflow.backends.align.aligners import aligner_name, language_of, open_aligner
from soundflow.operators.clean.clip_cache import ClipCache
from soundflow.pipeline.clips.audio import ClipAudio
from soundflow.pipeline.clips.findings import FindingPass, Row, WordTimes, times_key, without_interpretation
from soundflow.pipeline.clips.ledger import IndexLedger
from soundflow.pipeline.clips.table import CACHE, REMEDY, ClipIndex
from soundflow.pipeline.clips.written_words import VERSION, align_transcript
from soundflow.pipeline.mechanics.processes import map_in_processes
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.clip import Clip
from soundflow.schemas.outcome import Ok, Rejected

UNALIGNED: Final = "unaligned.jsonl"
NO_ALIGNER: Final = "no_aligner"

OnProgress = Callable[[int, int, int, float], None]
"""(clips done, total clips, clips without times so far, seconds of speech so far)."""


class AlignSummary(Schema):
    """Result of one run of `clips align`."""

    directory: str
    speech: int
    """Clips with a transcript."""
    aligned: int
    """Speech clips whose words have times."""
    words: int
    new: int
    """Clips that this run aligned."""
    unaligned: dict[str, int]
    """Reason → number of clips."""
    aligners: tuple[str, ...]
    content_hash: str

    def to_json(self) -> dict[str, Any]:
        """Return the document that --json prints."""
        return self.model_dump(mode="json")

    def describe(self) -> str:
        """Return the summary that is printed on the terminal."""
        counts = f"{self.aligned} of {self.speech} speech clips have word times ({self.words} words)"
        lines = [f"{self.directory}: {counts}; {self.new} aligned in this run"]
        if self.unaligned:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.unaligned.items()))
            listed = Path(self.directory) / UNALIGNED
            lines.append(f"  without word times: {sum(self.unaligned.values())} ({reasons}); listed in {listed}")
        return "\n".join(lines)


class _AlignTask(NamedTuple):
    clip: Clip
    aligner: str
    language: str


class _Done(NamedTuple):
    task: _AlignTask
    times: WordTimes
    is_final: bool
    """Whether another run with the same aligner would find the same."""


def align_clips(
    directory: Path, *, aligner: str = "auto", workers: int | None = None, on_progress: OnProgress | None = None
) -> AlignSummary:
    """Write word times into every speech clip of an index. Clips that cannot be aligned are listed with a reason.

    `aligner`: `auto` is pocketsphinx for English and Whisper for other languages. `workers`: processes, default one per core.

    Raises InputError when there is no index, another run is using it, or no aligner is installed for any clip; OSError when the
    index cannot be written. The index is then unchanged.
    """
    index = ClipIndex.open(directory)
    with IndexLedger(index.directory) as ledger:
        return _AlignPass(index, ledger, aligner, on_progress).run(workers or os.cpu_count() or 1)


class _AlignPass(FindingPass[WordTimes]):
    def __init__(self, index: ClipIndex, ledger: IndexLedger, aligner: str, on_progress: OnProgress | None):
        super().__init__(index, ledger, WordTimes, times_key)
        self.aligner, self.on_progress = aligner, on_progress
        self.ids: dict[str, str] = {}
        """Name of an aligner → its identity: everything that shapes its answers. Empty when it is not available."""
        self.unavailable: dict[str, InputError] = {}
        self.seconds = 0.0

    def run(self, workers: int) -> AlignSummary:
        self.total = sum(brief.kind == "speech" for brief in self.index.briefs())
        align = partial(align_one, ClipCache(self.index.directory / CACHE, self.index.footer.config))
        for done in map_in_processes(align, self._pending(), workers, _died):
            self.settle(done.task.clip, done.times, self.ids[done.task.aligner] if done.is_final else "")
            self._report(done.task.clip)
        no_aligner = [times.detail for times in self.unsettled.values() if times.reason == NO_ALIGNER]
        if no_aligner and len(no_aligner) == self.total:
            raise InputError(no_aligner[0])
        return self._summary()

    def _pending(self) -> Iterator[_AlignTask]:
        """Yield the clips to align; count the others."""
        for clip in self.index.clips():
            if not clip.transcript:
                continue
            language = language_of(clip.transcript, clip.language)
            name = aligner_name(self.aligner, language)
            maker = self._identity(name)
            times = self.stored(clip.model_dump(), maker)
            if times is None and maker:
                yield _AlignTask(clip, name, language)
                continue
            if times is None:
                times = self.unsettled[clip.id] = WordTimes(reason=NO_ALIGNER, detail=str(self.unavailable[name]))
            self.count(times)
            self._report(clip)

    def _identity(self, name: str) -> str:
        if name not in self.ids:
            try:
                self.ids[name] = f"{open_aligner(name).id}/{VERSION}"
            except InputError as error:
                self.ids[name], self.unavailable[name] = "", error
        return self.ids[name]

    def _report(self, clip: Clip) -> None:
        self.seconds += clip.samples / c.SAMPLE_RATE
        if self.on_progress is not None:
            self.on_progress(self.done, self.total, self.missing, self.seconds)

    def _summary(self) -> AlignSummary:
        words = 0

        def with_times(row: Row, times: WordTimes) -> dict[str, Any]:
            nonlocal words
            words += len(times.words)
            timed = row if times.words else without_interpretation(row)
            return {**timed, **times.fields()}

        footer, unaligned = self.write(lambda row: bool(row["transcript"]), with_times, UNALIGNED)
        return AlignSummary(
            directory=str(self.index.directory),
            speech=self.total,
            aligned=self.total - sum(unaligned.values()),
            words=words,
            new=self.new,
            unaligned=unaligned,
            aligners=tuple(sorted(filter(None, self.ids.values()))),
            content_hash=footer.content_hash,
        )


def align_one(cache: ClipCache, task: _AlignTask) -> _Done:
    """Align one clip. Its errors are part of the result."""
    clip = task.clip
    try:
        samples = ClipAudio(cache, REMEDY.format(cache.directory.parent)).of(clip)
        outcome = align_transcript(open_aligner(task.aligner), samples, clip.transcript or "", task.language)
        if isinstance(outcome, Ok):
            clip.model_validate(clip.model_dump() | {"words": outcome.value})
    except InputError as error:
        return _Done(task, WordTimes(reason=NO_ALIGNER, detail=str(error)), False)
    except Exception as error:  # an unexpected error of one clip must not end the run
        return _Done(task, WordTimes(reason="failed", detail=f"{type(error).__name__}: {error}"), False)
    if isinstance(outcome, Ok):
        return _Done(task, WordTimes(words=outcome.value), True)
    if isinstance(outcome, Rejected):
        return _Done(task, WordTimes(reason=outcome.reason, detail=_detail(outcome)), True)
    return _Done(task, WordTimes(reason="failed", detail=f"{outcome.stage}: {outcome.error}"), False)


def _detail(rejected: Rejected) -> str:
    metrics = dict(rejected.metrics)
    detail = [str(metrics.pop("detail"))] if "detail" in metrics else []
    values = (f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in metrics.items())
    return "; ".join([*detail, *values])


def _died(task: _AlignTask) -> _Done:
    return _Done(task, WordTimes(reason="failed", detail="the worker process died or hung while aligning the file"), False)
