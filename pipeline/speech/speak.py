"""`soundflow speak`: render written dialogues as verified clips. The same call again resumes.

Every dialogue is a unit of work with one commit. Several are in progress at once, each in a thread that mostly waits for a model;
all threads share the models.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from soundflow.backends.tts.speakers import open_voice_pool
from soundflow.operators.protocols.chat import ChatModel
from soundflow.operators.protocols.faults import BackendError
from soundflow.operators.speech import rewriting
from soundflow.operators.speech.chain import CHAIN_VERSION, Rewrite, SpeechTools, render_dialogue
from soundflow.operators.speech.gate import GATE_VERSION
from soundflow.operators.speech.normalise import NORMALISE_VERSION
from soundflow.operators.speech.pace import PACE_VERSION, measure_pace
from soundflow.operators.speech.pronunciation import Pronunciations
from soundflow.operators.speech.scoring import SCORING_VERSION
from soundflow.operators.speech.voice_pool import VoicePool
from soundflow.pipeline.corpus.commit import sweep
from soundflow.pipeline.corpus.output_dir import changed_fields, claim_directory
from soundflow.pipeline.mechanics.daemon_threads import DaemonThreadPool
from soundflow.pipeline.mechanics.stopping import deferred_signals
from soundflow.pipeline.speech.dialogue_lines import read_dialogues
from soundflow.pipeline.speech.directory import SpeechDir, write_outputs
from soundflow.pipeline.speech.models import Models, inline_models
from soundflow.prompts import role_hash
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, Interrupted, canonical_json
from soundflow.schemas.llm import ServiceUnreachable
from soundflow.schemas.outcome import Outcome
from soundflow.schemas.speech import Dialogue, Pace, SpeechConfig, Voice
from soundflow.schemas.spoken import SpeechRecord, SpeechSummary, SpokenDialogue

PULSE_SECONDS: Final = 0.5
MAX_CONSECUTIVE_FAILURES: Final = 12
"""After this many failed dialogues in a row a backend counts as down."""


@dataclass(frozen=True, slots=True)
class SpeakProgress:
    """Progress of a run, in dialogues."""

    done: int
    """Dialogues that this run has finished."""
    pending: int
    """Dialogues that were not committed when this run started."""
    kept: int
    """Dialogues that earlier runs committed."""
    rejected: int
    """Rejected dialogues among `done`."""
    failed: int
    """Failed dialogues among `done`; the next run retries them."""
    seconds: float
    """Speech rendered by this run."""

    def describe(self) -> str:
        """Return the text of the progress line."""
        counts = ((self.kept, "from earlier runs"), (self.rejected, "rejected"), (self.failed, "failed"))
        return ", ".join([f"{self.seconds / 60:.1f} min of speech", *(f"{count} {what}" for count, what in counts if count)])


def speak(
    dialogues: Path,
    out: Path,
    config: SpeechConfig = SpeechConfig(),  # noqa: B008 (frozen)
    *,
    executor: Literal["inline", "ray"] | str = "inline",
    workers: int | None = None,
    address: str | None = None,
    fresh: bool = False,
    keep_rejected: bool = False,
    on_event: Callable[[SpeakProgress], None] = lambda progress: None,
    should_stop: Callable[[], bool] | None = None,
) -> SpeechSummary:
    """Speak the dialogues of a JSONL file (`schemas.speech.Dialogue`) that are not committed yet; write `out`/manifest.jsonl.

    `executor`: `inline` runs the models in this process; `ray` runs them in Ray actors, of which `workers` are recognisers (None:
    one per core), on this machine or on the cluster at `address`. `keep_rejected`: also keep the takes that the gate rejects in
    this run, see `SpeechDir.keep_rejected`. `should_stop` is called twice a second and by default returns whether SIGINT or
    SIGTERM arrived. Failed dialogues are counted in the summary; the next call retries them.

    Raises InputError for an invalid file, config or directory, or a directory that was made with another config; OSError when
    the disk is full; BackendError when a backend is down; Halted; Interrupted.
    """
    record = record_of(config, open_voice_pool(config.speakers, config.voices))
    next(read_dialogues(dialogues), None)  # raise before the directory is created
    directory = _open(out, record, fresh)
    sweep(directory.build)
    pending, kept = _pending(dialogues, directory, record.fingerprint)
    why_failed = ""
    if pending:
        with (
            _models(config, executor, workers, address) as (models, concurrency),
            _rewriter(config, directory) as rewrite,
            deferred_signals() as signalled,
        ):
            run = _SpeakRun(directory, record, models, rewrite, concurrency, keep_rejected, on_event, should_stop or signalled)
            try:
                run.run((line for number, line in read_dialogues(dialogues) if number in pending), len(pending), kept)
            except ServiceUnreachable as error:
                raise error.after(kept + run.done > run.failed) from None
            why_failed = run.why_failed
    thoughts: Counter[str] = Counter()
    return write_outputs(directory, record, read_dialogues(dialogues, thoughts), why_failed, thoughts)


def _models(
    config: SpeechConfig, executor: str, workers: int | None, address: str | None
) -> contextlib.AbstractContextManager[tuple[Models, int]]:
    if executor == "inline":
        if address is not None or (workers or 1) > 1:
            raise InputError("inline has one worker and no address", field="--executor", remedy="Use --executor ray")
        return inline_models(config)
    from soundflow.pipeline.speech.ray_models import ray_models

    return ray_models(config, workers, address)


def record_of(config: SpeechConfig, voice_pool: VoicePool) -> SpeechRecord:
    """Return config, voices and versions that dialogues are spoken with, and their fingerprint."""
    versions = {
        "chain": CHAIN_VERSION,
        "gate": GATE_VERSION,
        "normalise": NORMALISE_VERSION,
        "pace": PACE_VERSION,
        "scoring": SCORING_VERSION,
    }
    if any(speaker.backend == "hibari" for speaker in config.speakers):
        versions["hibari-tts"] = importlib.metadata.version("hibari-tts")
    if config.rewriter == "llm":
        versions["prompt"] = role_hash(rewriting.ROLE)
    shaping = {"config": config.shaping(), "voices": voice_pool.names(), "versions": versions}
    fingerprint = hashlib.sha256(canonical_json(shaping)).hexdigest()
    voices = tuple(voice_pool.voices[name] for name in voice_pool.names())
    return SpeechRecord(fingerprint=fingerprint, config=config, voices=voices, versions=versions)


def _open(out: Path, record: SpeechRecord, fresh: bool) -> SpeechDir:
    directory = SpeechDir(out)
    elsewhere = "Choose another directory with --out"
    claim_directory(
        directory.build,
        directory.record_path,
        record.canonical_json(),
        fresh,
        "is not a directory of spoken dialogues",
        elsewhere,
    )
    old = directory.record()
    if old.fingerprint != record.fingerprint:
        lines = "".join(f"\n  {line}" for line in changed_fields(_shaping(old), _shaping(record)))
        raise InputError(
            f"has dialogues that were spoken with another config. Differences (directory -> now):{lines}\n",
            file=out,
            remedy="Choose another directory, or use --fresh to rename the existing one",
        )
    return directory


def _shaping(record: SpeechRecord) -> dict[str, object]:
    return {"config": record.config.shaping(), "voices": [voice.name for voice in record.voices], "versions": record.versions}


def _pending(dialogues: Path, directory: SpeechDir, fingerprint: str) -> tuple[set[int], int]:
    """Return the numbers of the lines whose dialogue is not committed, and the number of committed dialogues."""
    pending, kept, first = set(), 0, ""
    for number, line in read_dialogues(dialogues):
        if isinstance(line, str):
            first = first or f"line {number}: {line}"
        elif directory.committed(fingerprint, line) is None:
            pending.add(number)
        else:
            kept += 1
    if not pending and not kept:
        why = f"has no valid dialogue{f' ({first})' if first else ''}"
        raise InputError(why, file=dialogues, remedy="Write one dialogue per line, as a JSON object")
    return pending, kept


@contextlib.contextmanager
def _rewriter(config: SpeechConfig, directory: SpeechDir) -> Iterator[Rewrite]:
    """Yield the rewriter of a config. All threads share one event loop for a model; its cost is counted over all runs."""
    if config.rewriter == "rules" or config.llm is None:
        yield rewriting.rewrite_by_rules
        return
    from soundflow.pipeline.services.answer_cache import AnswerCache
    from soundflow.pipeline.services.chat import open_chat

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stack = contextlib.AsyncExitStack()
    try:
        opened = stack.enter_async_context(open_chat(config.llm, AnswerCache(), spent=directory.spent_path))
        chat: ChatModel = asyncio.run_coroutine_threadsafe(opened, loop).result()

        def rewrite(text: str, language: str, seed: int) -> Outcome[str]:
            return asyncio.run_coroutine_threadsafe(rewriting.rewrite_with_model(chat, text, language, seed), loop).result()

        yield rewrite
    finally:
        try:
            asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class PaceCache:
    """Measurements of the pace of each voice, kept in the directory. A voice is measured on first use, once for all threads."""

    def __init__(self, directory: SpeechDir, models: Models, wer_limit: float):
        self._directory, self._models, self._wer_limit = directory, models, wer_limit
        self._known: dict[str, Pace] = {}
        self._locks: dict[str, threading.Lock] = {}

    def __call__(self, voice: Voice) -> Pace:
        """Return the pace of a voice. Raises BackendError when it cannot be measured."""
        with self._locks.setdefault(voice.name, threading.Lock()):
            if voice.name not in self._known:
                pace = self._directory.pace(voice.name)
                if pace is None:
                    speaker = self._models.voice_pool.speaker(voice)
                    pace = self._directory.keep_pace(measure_pace(voice, speaker, self._models.recogniser, self._wer_limit))
                self._known[voice.name] = pace
            return self._known[voice.name]


class _SpeakRun:
    """One run over the pending dialogues."""

    def __init__(
        self,
        directory: SpeechDir,
        record: SpeechRecord,
        models: Models,
        rewrite: Rewrite,
        concurrency: int,
        keep_rejected: bool,
        on_event: Callable[[SpeakProgress], None],
        should_stop: Callable[[], bool],
    ):
        self.directory, self.record, self.models = directory, record, models
        self.concurrency, self.on_event, self.should_stop = concurrency, on_event, should_stop
        self.keep_rejected = keep_rejected
        gate = record.config.gate
        pace = PaceCache(directory, models, gate.wer_limit)
        pronunciations = Pronunciations(record.config.pronunciations)
        self.tools = SpeechTools(models.voice_pool, models.recogniser, rewrite, pace, gate, record.config.seed, pronunciations)
        self.done = self.rejected = self.failed = self.consecutive_failures = 0
        self.seconds, self.reported_at = 0.0, 0.0
        self.why_failed = ""

    def run(self, dialogues: Iterable[Dialogue | str], pending: int, kept: int) -> None:
        """Speak the dialogues, which may finish in any order. Raises as `speak` does."""
        todo = (line for line in dialogues if isinstance(line, Dialogue))
        working: dict[Future[SpokenDialogue], Dialogue] = {}
        threads = DaemonThreadPool(self._one, self.concurrency)
        try:
            while True:
                while len(working) < 2 * self.concurrency and (dialogue := next(todo, None)) is not None:
                    working[threads.submit(dialogue)] = dialogue
                if not working:
                    return
                finished, _ = wait(working, timeout=PULSE_SECONDS, return_when=FIRST_COMPLETED)
                if self.should_stop():
                    raise Interrupted
                for future in finished:
                    self._settle(working.pop(future), future)
                self._report(pending, kept, last=not working)
        finally:
            self.models.close()
            threads.shutdown()

    def _one(self, dialogue: Dialogue) -> SpokenDialogue:
        rendered = render_dialogue(dialogue, self.tools)
        if self.keep_rejected:
            self.directory.keep_rejected(self.record.fingerprint, dialogue, rendered, self.tools.pronunciations)
        return self.directory.commit(self.record.fingerprint, dialogue, rendered)

    def _settle(self, dialogue: Dialogue, future: Future[SpokenDialogue]) -> None:
        try:
            made = future.result()
        except BackendError as error:
            self.done += 1
            self.failed += 1
            self.why_failed = f"{dialogue.id}: {error}"
            self.consecutive_failures += 1
            if self.consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
                raise BackendError(f"{MAX_CONSECUTIVE_FAILURES} dialogues in a row failed; the last: {self.why_failed}") from None
            return
        self.done += 1
        self.consecutive_failures = 0
        self.rejected += bool(made.refused)
        self.seconds += sum(turn.samples for turn in made.turns) / c.SAMPLE_RATE

    def _report(self, pending: int, kept: int, last: bool) -> None:
        now = time.monotonic()
        if last or now - self.reported_at >= PULSE_SECONDS:
            self.reported_at = now
            self.on_event(SpeakProgress(self.done, pending, kept, self.rejected, self.failed, self.seconds))
