"""`soundflow speak`: dialogues in writing become verified clips. Resume is the same call again.

Every dialogue is a task of its own, committed once whatever dies meanwhile. Several are in work at once, each in a thread that
mostly waits for a model; the models are shared by all.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import threading
import time
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
from soundflow.schemas.outcome import Outcome
from soundflow.schemas.speech import Dialogue, Pace, SpeechConfig, Voice
from soundflow.schemas.spoken import SpeechRecord, SpeechSummary, SpokenDialogue

PULSE_SECONDS: Final = 0.5
IN_A_ROW: Final = 12
"""So many dialogues that break one after the other say that a backend is gone."""


@dataclass(frozen=True, slots=True)
class SpeakProgress:
    """The state of a run. Dialogues."""

    done: int
    """By this run."""
    pending: int
    """When it began."""
    kept: int
    """From runs before."""
    rejected: int
    """Of `done`."""
    failed: int
    """Of `done`; tried again by the next run."""
    seconds: float
    """Of speech made by this run."""

    def describe(self) -> str:
        """For people."""
        counts = ((self.kept, "from before"), (self.rejected, "rejected"), (self.failed, "failed"))
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
    on_event: Callable[[SpeakProgress], None] = lambda progress: None,
    should_stop: Callable[[], bool] | None = None,
) -> SpeechSummary:
    """Speak what is not spoken yet of the dialogues in a JSONL file (`schemas.speech.Dialogue`), and write `out`/manifest.jsonl.

    `executor`: the models run in this process, or in Ray actors of which `workers` are recognisers (None: one per core), on this
    machine or the cluster at `address`. `should_stop` is asked twice a second, by default it is SIGINT or SIGTERM that says
    yes: Interrupted is then raised. Raises InputError for a bad file, config or directory, or one
    that is made with another config; OSError when the disk is full; BackendError when a backend is gone; BudgetSpent.
    Dialogues that broke are counted in the summary and tried again by the next call.
    """
    record = record_of(config, open_voice_pool(config.speakers, config.voices))
    next(read_dialogues(dialogues), None)  # a file that cannot be read leaves no directory behind
    directory = _open(out, record, fresh)
    sweep(directory.build)
    pending, kept = _pending(dialogues, directory, record.fingerprint)
    why_failed = ""
    if pending:
        with (
            _models(config, executor, workers, address) as (models, at_once),
            _rewriter(config, directory) as rewrite,
            deferred_signals() as signalled,
        ):
            run = _SpeakRun(directory, record, models, rewrite, at_once, on_event, should_stop or signalled)
            run.all((line for number, line in read_dialogues(dialogues) if number in pending), len(pending), kept)
            why_failed = run.why_failed
    return write_outputs(directory, record, read_dialogues(dialogues), why_failed)


def _models(
    config: SpeechConfig, executor: str, workers: int | None, address: str | None
) -> contextlib.AbstractContextManager[tuple[Models, int]]:
    if executor == "inline":
        if address is not None or (workers or 1) > 1:
            raise InputError("the inline executor is one worker in this process", field="--executor", remedy="Use --executor ray")
        return inline_models(config)
    from soundflow.pipeline.speech.ray_models import ray_models

    return ray_models(config, workers, address)


def record_of(config: SpeechConfig, voice_pool: VoicePool) -> SpeechRecord:
    """What dialogues are spoken with, and its fingerprint."""
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
        directory.build, directory.record_path, record.canonical_json(), fresh, "holds no spoken dialogues", elsewhere
    )
    old = directory.record()
    if old.fingerprint != record.fingerprint:
        lines = "".join(f"\n  {line}" for line in changed_fields(_shaping(old), _shaping(record)))
        raise InputError(
            f"holds dialogues that were spoken with another config. What differs (there -> now):{lines}\n",
            file=out,
            remedy="Choose another directory, or --fresh to move the old one aside",
        )
    return directory


def _shaping(record: SpeechRecord) -> dict[str, object]:
    return {"config": record.config.shaping(), "voices": [voice.name for voice in record.voices], "versions": record.versions}


def _pending(dialogues: Path, directory: SpeechDir, fingerprint: str) -> tuple[set[int], int]:
    """Lines whose dialogue is not committed, and how many are."""
    pending, kept, first = set(), 0, ""
    for number, line in read_dialogues(dialogues):
        if isinstance(line, str):
            first = first or f"line {number}: {line}"
        elif directory.kept(fingerprint, line) is None:
            pending.add(number)
        else:
            kept += 1
    if not pending and not kept:
        raise InputError(f"holds no dialogue{f' ({first})' if first else ''}", file=dialogues, remedy="One JSON object a line")
    return pending, kept


@contextlib.contextmanager
def _rewriter(config: SpeechConfig, directory: SpeechDir) -> Iterator[Rewrite]:
    """The rewriter of a config. A model is asked in one event loop for all threads; its cost is counted over all runs."""
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
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


class Paces:
    """How long each voice takes: kept in the directory, measured when first asked for, once for all threads."""

    def __init__(self, directory: SpeechDir, models: Models, wer_limit: float):
        self._directory, self._models, self._wer_limit = directory, models, wer_limit
        self._known: dict[str, Pace] = {}
        self._locks: dict[str, threading.Lock] = {}

    def __call__(self, voice: Voice) -> Pace:
        """Of a voice; raises BackendError when it cannot be measured now."""
        with self._locks.setdefault(voice.name, threading.Lock()):
            if voice.name not in self._known:
                pace = self._directory.pace(voice.name)
                if pace is None:
                    speaker = self._models.voice_pool.speaker(voice)
                    pace = self._directory.keep_pace(measure_pace(voice, speaker, self._models.recogniser, self._wer_limit))
                self._known[voice.name] = pace
            return self._known[voice.name]


class _SpeakRun:
    """One run over what is pending."""

    def __init__(
        self,
        directory: SpeechDir,
        record: SpeechRecord,
        models: Models,
        rewrite: Rewrite,
        at_once: int,
        on_event: Callable[[SpeakProgress], None],
        should_stop: Callable[[], bool],
    ):
        self.directory, self.record, self.models = directory, record, models
        self.at_once, self.on_event, self.should_stop = at_once, on_event, should_stop
        gate = record.config.gate
        pace = Paces(directory, models, gate.wer_limit)
        self.tools = SpeechTools(models.voice_pool, models.recogniser, rewrite, pace, gate, record.config.seed)
        self.done = self.rejected = self.failed = self.broken_in_a_row = 0
        self.seconds, self.told = 0.0, 0.0
        self.why_failed = ""

    def all(self, dialogues: Iterable[Dialogue | str], pending: int, kept: int) -> None:
        """Speak them, whatever order they finish in; see `speak` for what it raises."""
        todo = (line for line in dialogues if isinstance(line, Dialogue))
        working: dict[Future[SpokenDialogue], Dialogue] = {}
        threads = DaemonThreadPool(self._one, self.at_once)
        try:
            while True:
                while len(working) < 2 * self.at_once and (dialogue := next(todo, None)) is not None:
                    working[threads.submit(dialogue)] = dialogue
                if not working:
                    return
                finished, _ = wait(working, timeout=PULSE_SECONDS, return_when=FIRST_COMPLETED)
                if self.should_stop():
                    raise Interrupted
                for future in finished:
                    self._settle(working.pop(future), future)
                self._tell(pending, kept, last=not working)
        finally:
            self.models.close()
            threads.shutdown()

    def _one(self, dialogue: Dialogue) -> SpokenDialogue:
        return self.directory.commit(self.record.fingerprint, dialogue, render_dialogue(dialogue, self.tools))

    def _settle(self, dialogue: Dialogue, future: Future[SpokenDialogue]) -> None:
        self.done += 1
        try:
            made = future.result()
        except BackendError as error:
            self.failed += 1
            self.why_failed = f"{dialogue.id}: {error}"
            self.broken_in_a_row += 1
            if self.broken_in_a_row >= IN_A_ROW:
                raise BackendError(f"{IN_A_ROW} dialogues broke one after the other, the last: {self.why_failed}") from None
            return
        self.broken_in_a_row = 0
        self.rejected += bool(made.refused)
        self.seconds += sum(turn.samples for turn in made.turns) / c.SAMPLE_RATE

    def _tell(self, pending: int, kept: int, last: bool) -> None:
        now = time.monotonic()
        if last or now - self.told >= PULSE_SECONDS:
            self.told = now
            self.on_event(SpeakProgress(self.done, pending, kept, self.rejected, self.failed, self.seconds))
