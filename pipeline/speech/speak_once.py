"""`soundflow say` and `soundflow hear`: speak one text, transcribe one recording."""

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
from soundflow.operators.speech.pronunciation import Pronunciations
from soundflow.operators.speech.rewriting import rewrite_by_rules
from soundflow.operators.speech.voice_pool import VoicePool
from soundflow.pipeline.speech.pronunciation_file import read_pronunciations
from soundflow.schemas import constants as c
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import Word
from soundflow.schemas.outcome import Ok, Rejected
from soundflow.schemas.speech import HibariConfig, KokoroConfig, SpeechConfig, Voice

EMBEDDED: Final = {"hibari": HibariConfig(), "kokoro": KokoroConfig()}
"""Backends that can be used without a config file."""


def read_config(path: Path | None, pronunciations: Path | None = None) -> SpeechConfig:
    """Return the config in a YAML file, or the default without a file. `pronunciations` adds words to those of the config."""
    config = SpeechConfig.from_yaml(path) if path else SpeechConfig()
    if pronunciations is None:
        return config
    return config.model_copy(update={"pronunciations": config.pronunciations | read_pronunciations(pronunciations)})


@dataclass(frozen=True, slots=True)
class SpokenFile:
    """Result of `say`: a rendered text."""

    path: Path
    text: str
    voice: Voice
    seconds: float
    refused: str = ""
    metrics: dict[str, Any] | None = None
    """Metrics of the gate; None when the rendering was not checked."""

    def to_json(self) -> dict[str, Any]:
        """Return the document that --json prints."""
        document = {"path": str(self.path), "text": self.text, "voice": self.voice.name, "seconds": round(self.seconds, 3)}
        if self.metrics is not None:
            document["gate"] = {"passed": not self.refused, "reason": self.refused, **self.metrics}
        return document

    def lines(self) -> list[str]:
        """Return the lines that are printed on the terminal."""
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
    pronunciations: Path | None = None,
    voice: str | None = None,
    language: str | None = None,
    seed: int = 0,
    speed: float = 1.0,
    rewrite: bool = True,
    check: bool = False,
) -> SpokenFile:
    """Render `text` into the WAV file `out`.

    `rewrite`: apply the rules of the spoken rewriter first. `check`: examine the rendering with the gate.

    Raises InputError when the voice is not available, the text has nothing to say, or the backend fails.
    """
    settings = read_config(config, pronunciations)
    backend = (voice or "").partition(":")[0]
    if config is None and backend in EMBEDDED:
        settings = settings.model_copy(update={"speakers": (EMBEDDED[backend],)})
    voice_pool = open_voice_pool(settings.speakers, settings.voices)
    chosen = _voice(voice_pool, voice, language)
    language = language or chosen.language
    rewritten = rewrite_by_rules(text, language) if rewrite else Ok(text.strip())
    if isinstance(rewritten, Rejected):
        why = "there are no rewriting rules for this language"
        raise InputError(why, field="--language", value=language, remedy="Use --raw to speak the text as it is")
    assert isinstance(rewritten, Ok)
    if not (spoken := rewritten.value):
        raise InputError("has no words to speak", field="text", value=text)
    if out.is_dir() or not out.parent.is_dir():
        raise InputError("is a directory, or its folder does not exist", file=out, field="--out")
    speaker = voice_pool.speaker(chosen)
    try:
        respelled = Pronunciations(settings.pronunciations)
        rendering = speaker.say(respelled.respell(spoken, language), chosen, seed=seed, speed=speed)
        if not rendering.samples.any():
            raise InputError(f"{chosen.name} cannot speak it: its language is {chosen.language}", field="text", value=spoken)
        made = SpokenFile(out, spoken, chosen, rendering.samples.size / c.SAMPLE_RATE)
        if check:
            recogniser = open_recogniser(settings.recogniser)
            pace = measure_pace(chosen, speaker, recogniser, settings.gate.wer_limit)
            outcome = check_rendering(
                rendering.samples,
                spoken,
                language,
                recogniser,
                pace,
                speed=speed,
                config=settings.gate,
                pronunciations=respelled,
            )
            metrics = outcome.value if isinstance(outcome, Ok) else outcome.metrics
            made = SpokenFile(out, spoken, chosen, made.seconds, "" if isinstance(outcome, Ok) else outcome.reason, metrics)
    except BackendError as error:
        raise InputError(f"{chosen.backend} failed: {error}", remedy="Check the backend and try again") from None
    try:
        write_atomic(out, to_wav(rendering.samples))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", file=out, field="--out") from None
    return made


def _voice(voice_pool: VoicePool, name: str | None, language: str | None) -> Voice:
    if name is None:
        pool = [voice_pool.voices[one] for one in voice_pool.names()] if language is None else voice_pool.voices_for(language)
        if not pool:
            raise InputError("no available voice speaks this language", field="--language", value=language, remedy=MORE_VOICES)
        return pool[0]
    found = voice_pool.voices.get(name) or next((voice for voice in voice_pool.voices.values() if voice.id == name), None)
    if found is None:
        raise InputError("no such voice", field="--voice", value=name, remedy=f"Available: {', '.join(voice_pool.voices)}")
    return found


@dataclass(frozen=True, slots=True)
class TranscribedFile:
    """Result of `hear`: a transcribed recording."""

    text: str
    words: tuple[Word, ...] = ()
    """Words with times; empty if alignment was not requested or failed."""
    unaligned: str = ""
    """Reason why alignment failed."""
    model: str = ""
    aligned: bool = field(default=False)

    def to_json(self) -> dict[str, Any]:
        """Return the document that --json prints: text, heard_by, words with start and end in seconds."""
        document: dict[str, Any] = {"text": self.text, "heard_by": self.model}
        if self.aligned:
            document["words"] = [{"word": word.text, "start": _s(word.start), "end": _s(word.end)} for word in self.words]
        return document | ({"unaligned": self.unaligned} if self.unaligned else {})

    def lines(self) -> list[str]:
        """Return the lines that are printed on the terminal."""
        times = [f"{_s(word.start):8.2f} {_s(word.end):8.2f}  {word.text}" for word in self.words]
        return [self.text, *times, *([f"not aligned: {self.unaligned}"] if self.unaligned else [])]


def _s(samples: int) -> float:
    return round(samples / c.SAMPLE_RATE, 3)


def hear_once(path: Path, *, align: bool = False, language: str = "en", config: Path | None = None) -> TranscribedFile:
    """Transcribe a recording in any format that libsndfile reads.

    Raises InputError when the recording cannot be used, or no recogniser is available.
    """
    read = read_audio(path)
    if not isinstance(read, Ok):
        detail = f"{read.reason}: {detail_of(read)}" if isinstance(read, Rejected) else str(read)
        raise InputError(f"cannot be transcribed: {detail}", file=path)
    samples = read.value.samples
    try:
        transcription = open_recogniser(read_config(config).recogniser).transcribe(samples, language)
    except BackendError as error:
        raise InputError(f"the recogniser failed: {error}", file=path) from None
    if not align:
        return TranscribedFile(transcription.text, model=transcription.model)
    outcome = open_aligner(aligner_name("auto", language)).align(samples, transcription.text, language)
    if isinstance(outcome, Ok):
        return TranscribedFile(transcription.text, outcome.value, model=transcription.model, aligned=True)
    why = outcome.reason if isinstance(outcome, Rejected) else str(outcome)
    return TranscribedFile(transcription.text, (), why, transcription.model, aligned=True)
