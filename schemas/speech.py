"""Synthetic speech (paper, appendix B.4): dialogues, voices, and the configuration of speakers, recogniser and gate.

`server` sections, devices and threads do not shape the speech; all other settings do.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from soundflow.schemas import constants as c
from soundflow.schemas.base import Schema
from soundflow.schemas.llm import LlmConfig, environment_name, http_url
from soundflow.schemas.scene import Text

Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
"""A code such as `en` or `zh-CN`."""
HttpUrl = Annotated[str, AfterValidator(http_url)]
KeyVariable = Annotated[str, AfterValidator(environment_name)]
VoiceName = Annotated[str, Field(pattern=r"^[a-z]+:[^\s:]{1,120}$")]
"""`backend:id`, such as `kokoro:af_heart`."""


class Turn(Schema):
    """One exchange in writing: the text of the user and the answer of the assistant."""

    user: Text = Field(min_length=1, max_length=20_000)
    assistant: Text = Field("", max_length=20_000)
    """Answer of the assistant; empty if it stays silent."""
    emotion: str = Field("", max_length=40)
    """Emotion of the answer, such as `happy`."""
    label: str = Field("", max_length=200)
    """Label of the turn if it differs from that of the dialogue, such as `review question` or `happy speech`."""
    translation: Text = Field("", max_length=20_000)
    """Translation of the user's text into the `translation_language` of the dialogue."""


class Dialogue(Schema):
    """A conversation in writing: one line of DIALOGUES.jsonl."""

    id: str = Field(pattern=r"^[^\s/\\][^\s/\\]*$", max_length=160)
    turns: tuple[Turn, ...] = Field(min_length=1, max_length=100)
    language: Language = "en"
    source: str = Field("unknown", max_length=200)
    licence: str = Field("", max_length=200)
    """Licence of the text; empty if it is your own, so that the speech is under the licence of its voice."""
    attribution: str = Field("", max_length=500)
    split: str = Field("train", max_length=40)
    label: str = Field("speech", min_length=1, max_length=200)
    """Label of the clips, by which sub-tasks choose them (`schemas.taxonomy`): `speech`, `factual question`, `discussion`, …"""
    translation_language: Annotated[str, Field(pattern=r"^([a-z]{2,3}(-[A-Za-z0-9]{2,8})*)?$")] = ""


class Voice(Schema):
    """A voice of the pool V."""

    name: VoiceName
    language: Language
    gender: Literal["female", "male", "unknown"] = "unknown"
    licence: str = "unknown"
    attribution: str = ""
    variant_of: VoiceName | None = None
    """Name of the voice of which this is a variant. A variant is not drawn for a dialogue; it is tried when a rendering was
    rejected."""

    @property
    def backend(self) -> str:
        """Backend that renders the voice."""
        return self.name.partition(":")[0]

    @property
    def id(self) -> str:
        """Name of the voice in its backend."""
        return self.name.partition(":")[2]


class AudioServer(Schema):
    """Timeouts and retries of a speech server. These settings do not shape the speech."""

    timeout_seconds: float = Field(120.0, gt=0, le=3600)
    """Timeout of one request in seconds."""
    retries: int = Field(4, ge=0, le=100)
    """Retries after faults of the server or the connection."""
    backoff_seconds: float = Field(1.0, gt=0, le=60)
    """Pause before the first retry, in seconds. It doubles with each retry, up to a minute."""
    concurrency: int = Field(4, ge=1, le=256)
    """Maximum number of concurrent requests of one process."""


class ServerVoice(Schema):
    """A voice of a server or model of yours."""

    id: str = Field(pattern=r"^[^\s:]{1,120}$")
    """Name of the voice in the pool, and on the server unless `speaker` is given."""
    speaker: str = ""
    """Name of the speaker on the server (default: the id)."""
    language: Language
    """Language code, such as `en` or `zh-CN`."""
    gender: Literal["female", "male", "unknown"] = "unknown"
    """Gender of the voice, for reports."""
    licence: str = "unknown"
    """Licence of speech in this voice."""
    attribution: str = ""
    """Attribution that the licence requires."""
    variant_of: str = ""
    """Id of the voice of which this is another prompt or style. A variant is not drawn for a dialogue; it is tried when a
    rendering was rejected."""
    prompt_wav: str = ""
    """Recording of the speaker, for modes that clone a voice."""
    prompt_text: str = ""
    """Transcript of `prompt_wav`."""
    instruct: str = ""
    """How to speak, for instruct modes."""

    def voice(self, backend: str) -> Voice:
        """Return the entry of this voice in the pool."""
        return Voice(
            name=f"{backend}:{self.id}",
            language=self.language,
            gender=self.gender,
            licence=self.licence,
            attribution=self.attribution,
            variant_of=f"{backend}:{self.variant_of}" if self.variant_of else None,
        )


class HibariConfig(Schema):
    """The English voice of the package. It needs no download."""

    backend: Literal["hibari"] = "hibari"
    """Name of this backend."""


class KokoroConfig(Schema):
    """Kokoro-82M on this machine. It needs the assets kokoro-82m and kokoro-voices; Mandarin needs the package misaki[zh]."""

    backend: Literal["kokoro"] = "kokoro"
    """Name of this backend."""
    threads: int = Field(1, ge=1, le=64)
    """CPU threads of the model."""


CosyVoiceMode = Literal["sft", "zero_shot", "cross_lingual", "instruct", "instruct2"]
NEEDS: dict[str, tuple[str, ...]] = {
    "sft": (),
    "zero_shot": ("prompt_wav", "prompt_text"),
    "cross_lingual": ("prompt_wav",),
    "instruct": ("instruct",),
    "instruct2": ("instruct", "prompt_wav"),
}
"""Fields of a voice that each mode of CosyVoice requires."""


class CosyVoiceConfig(Schema):
    """CosyVoice: its official FastAPI server, or the official package in this process."""

    backend: Literal["cosyvoice"] = "cosyvoice"
    """Name of this backend."""
    base_url: HttpUrl | None = None
    """Address of the server (`runtime/python/fastapi/server.py`, port 50000)."""
    model_dir: str | None = None
    """Instead of a server: the model for `cosyvoice.cli.cosyvoice.AutoModel` in this process."""
    mode: CosyVoiceMode = "sft"
    """Inference mode. `zero_shot` needs `prompt_wav` and `prompt_text` of each voice, `cross_lingual` needs `prompt_wav`,
    `instruct` needs `instruct`, `instruct2` needs `instruct` and `prompt_wav`."""
    sample_rate: int = Field(24_000, ge=8_000, le=48_000)
    """Sampling rate of the server's raw stream, which does not state it: 22,050 for CosyVoice 1, 24,000 for 2 and 3."""
    voices: tuple[ServerVoice, ...] = Field(min_length=1)
    """Voices of the server or model."""
    server: AudioServer = AudioServer()
    """Timeouts and retries."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.base_url is None) == (self.model_dir is None):
            raise ValueError("requires either base_url (a server) or model_dir (a model in this process)")
        for voice in self.voices:
            missing = [name for name in NEEDS[self.mode] if not getattr(voice, name)]
            if missing:
                raise ValueError(f"mode {self.mode} requires {' and '.join(missing)} for voice {voice.id!r}")
        return self


class OpenAiSpeechConfig(Schema):
    """Any server with OpenAI's `/v1/audio/speech`."""

    backend: Literal["openai"] = "openai"
    """Name of this backend."""
    base_url: HttpUrl = "https://api.openai.com/v1"
    """Address of the server."""
    api_key_env: KeyVariable = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key. A server of your own may need none."""
    model: str = Field("gpt-4o-mini-tts", min_length=1, max_length=200)
    """Name of the model."""
    format: Literal["wav", "pcm", "flac"] = "wav"
    """Audio format that is requested."""
    sample_rate: int = Field(24_000, ge=8_000, le=48_000)
    """Sampling rate of `pcm`, which does not state it."""
    voices: tuple[ServerVoice, ...] = Field(min_length=1)
    """Voices of the server."""
    server: AudioServer = AudioServer()
    """Timeouts and retries."""


SpeakerConfig = Annotated[HibariConfig | KokoroConfig | CosyVoiceConfig | OpenAiSpeechConfig, Field(discriminator="backend")]


class WhisperConfig(Schema):
    """Whisper on this machine, through faster-whisper."""

    backend: Literal["whisper"] = "whisper"
    """Name of this backend."""
    models: dict[str, str] = Field({"en": "whisper-tiny-en", "*": "whisper-base"})
    """Asset or folder of a CTranslate2 model for each language; `*` stands for all other languages."""
    beam: int = Field(5, ge=1, le=20)
    """Beam size."""
    compute: str = "int8"
    """Compute type of CTranslate2."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Device of the model."""
    threads: int = Field(1, ge=1, le=64)
    """CPU threads of the model."""

    @model_validator(mode="after")
    def _default(self) -> Self:
        if "*" not in self.models:
            raise ValueError("models requires an entry '*' for all other languages")
        return self

    def model_for(self, language: str) -> str:
        """Return the model for `language`."""
        return self.models.get(language, self.models["*"])


class PocketsphinxConfig(Schema):
    """pocketsphinx on this machine. About every sixth word is wrong, so that few renderings pass the gate."""

    backend: Literal["pocketsphinx"] = "pocketsphinx"
    """Name of this backend."""


class OpenAiTranscriptionConfig(Schema):
    """Any server with OpenAI's `/v1/audio/transcriptions`."""

    backend: Literal["openai"] = "openai"
    """Name of this backend."""
    base_url: HttpUrl = "https://api.openai.com/v1"
    """Address of the server."""
    api_key_env: KeyVariable = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key. A server of your own may need none."""
    model: str = Field("whisper-1", min_length=1, max_length=200)
    """Name of the model."""
    server: AudioServer = AudioServer()
    """Timeouts and retries."""


RecogniserConfig = Annotated[WhisperConfig | PocketsphinxConfig | OpenAiTranscriptionConfig, Field(discriminator="backend")]


class Pace(Schema):
    """Timing and pitch of a voice at speed 1, measured on renderings that were transcribed correctly."""

    voice: VoiceName
    language: Language
    base_seconds: float
    """Constant part of the length of the active span."""
    seconds_per_letter: float = Field(gt=0)
    """Seconds per letter of the spoken text, or per character in Mandarin."""
    tail_seconds: float = Field(ge=0)
    """Shortest silence at the end of a rendering."""
    pitch_hz: tuple[float, float] | None = None
    """Median fundamental frequency in the shortest and in the longest measured text; short texts are higher."""
    letters: tuple[int, int] | None = None
    """Number of letters of these two texts."""
    measured: int = Field(ge=0)
    """Number of measured renderings; 0 for an estimate from the language."""

    def seconds(self, letters: int, speed: float = 1.0) -> float:
        """Return the expected length of the active span in seconds."""
        return max(self.base_seconds + self.seconds_per_letter * letters, self.seconds_per_letter) / speed

    def pitch(self, letters: int) -> float | None:
        """Return the expected median fundamental frequency in Hz; None if unknown."""
        if self.pitch_hz is None or self.letters is None:
            return None
        low, high = self.letters
        place = math.log(min(max(letters, low), high) / low) / math.log(high / low) if high > low else 0.0
        return float(self.pitch_hz[0] ** (1 - place) * self.pitch_hz[1] ** place)


class GateConfig(Schema):
    """Limits that a rendering must meet. The defaults of `wer_limit` and `retries` are the paper's."""

    wer_limit: float = Field(c.WER_LIMIT, ge=0, le=1)
    """Word error rate (character error rate in Mandarin) above which a rendering is rejected (paper: τ_wer)."""
    retries: int = Field(c.SPEECH_RETRIES, ge=0, le=10)
    """Number of further renderings of a rejected turn before its dialogue is discarded (paper: R)."""
    shortest: float = Field(0.70, ge=0, lt=1)
    """Share of the expected length below which a rendering is `too_short`."""
    longest: float = Field(1.50, gt=1, le=10)
    """Multiple of the expected length above which a rendering is `too_long`."""
    slack_seconds: float = Field(0.25, ge=0, le=5)
    """Tolerance in seconds of both length limits, for very short texts."""
    ending_db: float = Field(-25.0, ge=-80, le=0)
    """Level of the last 20 ms relative to the active level, in dB, above which a rendering has a `cut_ending`."""
    pitch_factor: float = Field(1.25, gt=1, le=10)
    """Factor by which the pitch of a rendering may differ from that of its voice; beyond it, the rendering has `other_pitch`."""


MAX_PRONUNCIATION: Final = 200
"""Maximum characters of a word in the pronunciation list, and of its other spelling."""


def pronunciation_fault(word: str, spoken: str) -> str:
    """Return what is wrong with an entry of the pronunciation list; empty if nothing is."""
    for name, text in (("the word", word), ("the spelling by which it is spoken", spoken)):
        if not any(char.isalpha() for char in text):
            return f"{name} has no letters"
        if len(text) > MAX_PRONUNCIATION:
            return f"{name} has more than {MAX_PRONUNCIATION} characters"
        if not text.isprintable():
            return f"{name} has invisible characters"
    return ""


class SpeechConfig(Schema):
    """Configuration of speech synthesis: speakers, voices, recogniser and gate."""

    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of all random draws."""
    rewriter: Literal["rules", "llm"] = "rules"
    """Rewriter of written text into spoken text: `rules`, or `llm` for a language model."""
    llm: LlmConfig | None = None
    """Language model of the rewriter `llm`."""
    speakers: tuple[SpeakerConfig, ...] = Field((HibariConfig(),), min_length=1)
    """Backends that render speech."""
    voices: tuple[VoiceName, ...] = ()
    """Pool of voices, such as `hibari:heart`. Empty: every voice of the speakers."""
    recogniser: RecogniserConfig = WhisperConfig()
    """Backend that transcribes renderings for the gate."""
    gate: GateConfig = GateConfig()
    """Limits that a rendering must meet."""
    pronunciations: dict[str, str] = Field({}, max_length=100_000)
    """Words and the spellings by which the voice says them, such as `Nguyen: win`. Transcripts keep the word, and the gate
    accepts either. `--pronunciations` reads more of them from a file."""
    patience_seconds: float = Field(300.0, gt=0, le=86_400)
    """Time in seconds without an answer after which the process of a model is replaced. Does not shape the speech."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        backends = [speaker.backend for speaker in self.speakers]
        if len(set(backends)) < len(backends):
            raise ValueError("two speakers have the same backend; list their voices under one of them")
        for word, spoken in self.pronunciations.items():
            if fault := pronunciation_fault(word, spoken):
                raise ValueError(f"pronunciations: {word!r}: {fault}")
        if self.rewriter == "llm" and self.llm is None:
            raise ValueError("rewriter `llm` requires a model; add an `llm` section with its name")
        return self

    def shaping(self) -> dict[str, Any]:
        """Return the settings that shape speech, for the fingerprint."""
        document = self.model_dump(mode="json", exclude={"patience_seconds"})
        document["llm"] = self.llm.shaping() if self.llm and self.rewriter == "llm" else None
        for section in (*document["speakers"], document["recogniser"]):
            for name in ("server", "base_url", "api_key_env", "device", "threads"):
                section.pop(name, None)
        return document
