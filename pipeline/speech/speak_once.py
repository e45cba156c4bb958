"""`soundflow say` and `soundflow hear`: one text, one recording."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from soundflow.backends.align.aligners import aligner_name, open_aligner
from soundflow.backends.asr.recognisers import open_recogniser
from soundflow.backends.tts.speakers import MORE_VOICES, open_voice_pool
from soundflow.operators.clean.clip_cache import detail_of, to_wav
from soundflow.operators.clean.ingress import read_audio
from soundflow.operators.protocols.faults import BackendError
from soundflow.operators.speech.gate import check_rendering
from soundflow.operators.speech.pace import measure_pace
from soundflow.operators.speech.rewriting import rewrite_by_rules
from soundflow.operators.speech.voice_pool import VoicePool
from soundflow.schemas import constants as c
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import Word
from soundflow.schemas.outcome import Ok, Rejected
from soundflow.schemas.speech import HibariConfig, KokoroConfig, SpeechConfig, Voice

EMBEDDED: Final = {"hibari": HibariConfig(), "kokoro": KokoroConfig()}
"""Speakers that need no config."""


def read_config(path: Path | None) -> SpeechConfig:
    """The config in a YAML file; the default without one."""
    return SpeechConfig.from_yaml(path) if path else SpeechConfig()


@dataclass(frozen=True, slots=True)
class SpokenFile:
    """One rendering."""

    path: Path
    text: str
    voice: Voice
    seconds: float
    refused: str = ""
    metrics: dict[str, Any] | None = None
    """The gate's, when it was asked."""

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        document = {"path": str(self.path), "text": self.text, "voice": self.voice.name, "seconds": round(self.seconds, 3)}
        if self.metrics is not None:
            document["gate"] = {"passed": not self.refused, "reason": self.refused, **self.metrics}
        return document

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"{self.path}: {self.seconds:.2f} s by {self.voice.name}: {self.text}"]
        if self.metrics is not None:
            wer = f", WER {100 * self.metrics['wer']:.0f} %: {self.metrics['hyp']}" if "wer" in self.metrics else ""
            lines.append(f"  gate: {self.refused or 'passed'}{wer}")
        return lines


def say_once(
    text: str,
    out: Path,
    *,
    config: Path | None = None,
    voice: str | None = None,
    language: str | None = None,
    seed: int = 0,
    speed: float = 1.0,
    rewrite: bool = True,
    check: bool = False,
) -> SpokenFile:
    """Render `text` into the WAV file `out`. Raises InputError for a voice that is not here or a text with nothing to say."""
    settings = read_config(config)
    backend = (voice or "").partition(":")[0]
    if config is None and backend in EMBEDDED:
        settings = SpeechConfig(speakers=(EMBEDDED[backend],))
    voice_pool = open_voice_pool(settings.speakers, settings.voices)
    chosen = _voice(voice_pool, voice, language)
    language = language or chosen.language
    said = rewrite_by_rules(text, language) if rewrite else Ok(text.strip())
    if isinstance(said, Rejected):
        raise InputError("no rules speak this language", field="--language", value=language, remedy="Add --raw")
    assert isinstance(said, Ok)
    if not said.value:
        raise InputError("there is nothing to say", field="text", value=text)
    if out.is_dir() or not out.parent.is_dir():
        raise InputError("is no place for a WAV file", file=out, field="--out")
    speaker = voice_pool.speaker(chosen)
    try:
        rendering = speaker.say(said.value, chosen, seed=seed, speed=speed)
        if not rendering.samples.any():
            raise InputError(f"{chosen.name} says nothing of it: it speaks {chosen.language}", field="text", value=said.value)
        made = SpokenFile(out, said.value, chosen, rendering.samples.size / c.SAMPLE_RATE)
        if check:
            recogniser = open_recogniser(settings.recogniser)
            pace = measure_pace(chosen, speaker, recogniser, settings.gate.wer_limit)
            outcome = check_rendering(
                rendering.samples, said.value, language, recogniser, pace, speed=speed, config=settings.gate
            )
            told = outcome.value if isinstance(outcome, Ok) else outcome.metrics
            made = SpokenFile(out, said.value, chosen, made.seconds, "" if isinstance(outcome, Ok) else outcome.reason, told)
    except BackendError as error:
        raise InputError(f"{chosen.backend} gave no answer: {error}", remedy="Check the backend, then try again") from None
    try:
        write_atomic(out, to_wav(rendering.samples))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", file=out, field="--out") from None
    return made


def _voice(voice_pool: VoicePool, name: str | None, language: str | None) -> Voice:
    if name is None:
        pool = [voice_pool.voices[one] for one in voice_pool.names()] if language is None else voice_pool.voices_for(language)
        if not pool:
            raise InputError("no voice speaks this language here", field="--language", value=language, remedy=MORE_VOICES)
        return pool[0]
    found = voice_pool.voices.get(name) or next((voice for voice in voice_pool.voices.values() if voice.id == name), None)
    if found is None:
        raise InputError("no such voice here", field="--voice", value=name, remedy=f"There are: {', '.join(voice_pool.voices)}")
    return found


@dataclass(frozen=True, slots=True)
class TranscribedFile:
    """What is said in a recording."""

    text: str
    words: tuple[Word, ...] = ()
    """Empty unless it was aligned."""
    unaligned: str = ""
    """Why there are no words though they were asked for."""
    model: str = ""
    aligned: bool = field(default=False)

    def to_json(self) -> dict[str, Any]:
        """For --json: text, heard_by, words with start and end in seconds."""
        document: dict[str, Any] = {"text": self.text, "heard_by": self.model}
        if self.aligned:
            document["words"] = [{"word": word.text, "start": _s(word.start), "end": _s(word.end)} for word in self.words]
        return document | ({"unaligned": self.unaligned} if self.unaligned else {})

    def lines(self) -> list[str]:
        """For people."""
        times = [f"{_s(word.start):8.2f} {_s(word.end):8.2f}  {word.text}" for word in self.words]
        return [self.text, *times, *([f"not aligned: {self.unaligned}"] if self.unaligned else [])]


def _s(samples: int) -> float:
    return round(samples / c.SAMPLE_RATE, 3)


def hear_once(path: Path, *, align: bool = False, language: str = "en", config: Path | None = None) -> TranscribedFile:
    """Transcribe a recording of any format. Raises InputError for one that cannot be used, or when there is no recogniser."""
    read = read_audio(path)
    if not isinstance(read, Ok):
        detail = f"{read.reason}: {detail_of(read)}" if isinstance(read, Rejected) else str(read)
        raise InputError(f"cannot be heard: {detail}", file=path)
    samples = read.value.samples
    try:
        heard = open_recogniser(read_config(config).recogniser).transcribe(samples, language)
    except BackendError as error:
        raise InputError(f"the recogniser gave no answer: {error}", file=path) from None
    if not align:
        return TranscribedFile(heard.text, model=heard.model)
    outcome = open_aligner(aligner_name("auto", language)).align(samples, heard.text, language)
    if isinstance(outcome, Ok):
        return TranscribedFile(heard.text, outcome.value, model=heard.model, aligned=True)
    why = outcome.reason if isinstance(outcome, Rejected) else str(outcome)
    return TranscribedFile(heard.text, (), why, heard.model, aligned=True)
