"""Speech made of text: voices, who renders, who listens, what passes; and the dialogues it is made of.

Paper, appendix B.4. `server` sections, devices and threads only operate a backend; everything else shapes the speech.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

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
    """One exchange: what the user says, and what the assistant answers, in writing."""

    user: Text = Field(min_length=1, max_length=20_000)
    assistant: Text = Field("", max_length=20_000)
    """Empty: the assistant stays silent."""
    emotion: str = Field("", max_length=40)
    label: str = Field("", max_length=200)
    """What kind of turn it is, where it is not the dialogue's: `review question` (about an earlier turn), `happy speech`."""
    translation: Text = Field("", max_length=20_000)
    """Of what the user says, into the dialogue's `translation_language`."""


class Dialogue(Schema):
    """A conversation in writing: one line of a DIALOGUES.jsonl."""

    id: str = Field(pattern=r"^[^\s/\\][^\s/\\]*$", max_length=160)
    turns: tuple[Turn, ...] = Field(min_length=1, max_length=100)
    language: Language = "en"
    source: str = Field("unknown", max_length=200)
    licence: str = Field("unknown", max_length=200)
    attribution: str = Field("", max_length=500)
    split: str = Field("train", max_length=40)
    label: str = Field("speech", min_length=1, max_length=200)
    """Of its clips: `speech`, `factual question`, `discussion`, …: what sub-tasks choose by (`schemas.taxonomy`)."""
    translation_language: Annotated[str, Field(pattern=r"^([a-z]{2,3}(-[A-Za-z0-9]{2,8})*)?$")] = ""


class Voice(Schema):
    """Somebody who can speak: a member of the pool V."""

    name: VoiceName
    language: Language
    gender: Literal["female", "male", "unknown"] = "unknown"
    licence: str = "unknown"
    attribution: str = ""
    variant_of: VoiceName | None = None
    """The same speaker under another name: never drawn for a dialogue, but tried when a rendering was rejected."""

    @property
    def backend(self) -> str:
        """Who renders it."""
        return self.name.partition(":")[0]

    @property
    def id(self) -> str:
        """What its backend calls it."""
        return self.name.partition(":")[2]


class AudioServer(Schema):
    """How patient we are with a speech server; shapes nothing."""

    timeout_seconds: float = Field(120.0, gt=0, le=3600)
    """Of one request from beginning to end."""
    retries: int = Field(4, ge=0, le=100)
    """After faults of the server or the line: busy, 5xx, silence, broken answers."""
    backoff_seconds: float = Field(1.0, gt=0, le=60)
    """Pause before the first retry; doubles each time, up to a minute."""
    concurrency: int = Field(4, ge=1, le=256)
    """Requests at once, of one process of ours."""


class ServerVoice(Schema):
    """A voice of a server or model of yours, and what is known of it."""

    id: str = Field(pattern=r"^[^\s:]{1,120}$")
    """Names the voice in the pool; to a server it is the speaker's name, unless `speaker` is given."""
    speaker: str = ""
    language: Language
    gender: Literal["female", "male", "unknown"] = "unknown"
    licence: str = "unknown"
    attribution: str = ""
    variant_of: str = ""
    """The id of the voice this is another prompt or style of."""
    prompt_wav: str = ""
    """A recording of the speaker, for modes that clone."""
    prompt_text: str = ""
    """What is said in it."""
    instruct: str = ""
    """How to speak, for instruct modes."""

    def voice(self, backend: str) -> Voice:
        """As a member of the pool."""
        return Voice(
            name=f"{backend}:{self.id}",
            language=self.language,
            gender=self.gender,
            licence=self.licence,
            attribution=self.attribution,
            variant_of=f"{backend}:{self.variant_of}" if self.variant_of else None,
        )


class HibariConfig(Schema):
    """The embedded English voice: nothing to download."""

    backend: Literal["hibari"] = "hibari"


class KokoroConfig(Schema):
    """Kokoro-82M on this machine: assets kokoro-82m and kokoro-voices; Mandarin needs the package misaki[zh]."""

    backend: Literal["kokoro"] = "kokoro"
    threads: int = Field(1, ge=1, le=64)


CosyVoiceMode = Literal["sft", "zero_shot", "cross_lingual", "instruct", "instruct2"]
NEEDS: dict[str, tuple[str, ...]] = {
    "sft": (),
    "zero_shot": ("prompt_wav", "prompt_text"),
    "cross_lingual": ("prompt_wav",),
    "instruct": ("instruct",),
    "instruct2": ("instruct", "prompt_wav"),
}
"""What each mode of CosyVoice needs of a voice, besides its id."""


class CosyVoiceConfig(Schema):
    """CosyVoice: its official FastAPI server, or the official package in this process."""

    backend: Literal["cosyvoice"] = "cosyvoice"
    base_url: HttpUrl | None = None
    """Of the server (`runtime/python/fastapi/server.py`, port 50000)."""
    model_dir: str | None = None
    """Instead of a server: the model for `cosyvoice.cli.cosyvoice.AutoModel` in this process."""
    mode: CosyVoiceMode = "sft"
    sample_rate: int = Field(24_000, ge=8_000, le=48_000)
    """Of the server's raw stream, which does not say it: 22,050 for CosyVoice 1, 24,000 for 2 and 3."""
    voices: tuple[ServerVoice, ...] = Field(min_length=1)
    server: AudioServer = AudioServer()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.base_url is None) == (self.model_dir is None):
            raise ValueError("give either base_url (a server) or model_dir (a model in this process)")
        for voice in self.voices:
            missing = [name for name in NEEDS[self.mode] if not getattr(voice, name)]
            if missing:
                raise ValueError(f"mode {self.mode} needs {' and '.join(missing)} of voice {voice.id!r}")
        return self


class OpenAiSpeechConfig(Schema):
    """Any server with OpenAI's `/v1/audio/speech`."""

    backend: Literal["openai"] = "openai"
    base_url: HttpUrl = "https://api.openai.com/v1"
    api_key_env: KeyVariable = "OPENAI_API_KEY"
    """The environment variable that holds the key. Servers of your own may do without one."""
    model: str = Field("gpt-4o-mini-tts", min_length=1, max_length=200)
    format: Literal["wav", "pcm", "flac"] = "wav"
    sample_rate: int = Field(24_000, ge=8_000, le=48_000)
    """Of `pcm`, which does not say it."""
    voices: tuple[ServerVoice, ...] = Field(min_length=1)
    server: AudioServer = AudioServer()


SpeakerConfig = Annotated[HibariConfig | KokoroConfig | CosyVoiceConfig | OpenAiSpeechConfig, Field(discriminator="backend")]


class WhisperConfig(Schema):
    """Whisper on this machine, by faster-whisper."""

    backend: Literal["whisper"] = "whisper"
    models: dict[str, str] = Field({"en": "whisper-tiny-en", "*": "whisper-base"})
    """Language → asset, or folder of a CTranslate2 conversion; `*` is every other language."""
    beam: int = Field(5, ge=1, le=20)
    compute: str = "int8"
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    threads: int = Field(1, ge=1, le=64)

    @model_validator(mode="after")
    def _default(self) -> Self:
        if "*" not in self.models:
            raise ValueError("models needs an entry '*' for every other language")
        return self

    def model_for(self, language: str) -> str:
        """The model that hears `language`."""
        return self.models.get(language, self.models["*"])


class PocketsphinxConfig(Schema):
    """pocketsphinx on this machine: hears every sixth word wrong, so it passes little as a gate."""

    backend: Literal["pocketsphinx"] = "pocketsphinx"


class OpenAiTranscriptionConfig(Schema):
    """Any server with OpenAI's `/v1/audio/transcriptions`."""

    backend: Literal["openai"] = "openai"
    base_url: HttpUrl = "https://api.openai.com/v1"
    api_key_env: KeyVariable = "OPENAI_API_KEY"
    model: str = Field("whisper-1", min_length=1, max_length=200)
    server: AudioServer = AudioServer()


RecogniserConfig = Annotated[WhisperConfig | PocketsphinxConfig | OpenAiTranscriptionConfig, Field(discriminator="backend")]


class Pace(Schema):
    """How long a voice takes, how it ends and how high it is, measured on renderings that were understood; at speed 1."""

    voice: VoiceName
    language: Language
    base_seconds: float
    """Of the active span, besides what its letters take."""
    seconds_per_letter: float = Field(gt=0)
    """Letters of the spoken text; characters in Mandarin."""
    tail_seconds: float = Field(ge=0)
    """The shortest silence it left at the end."""
    pitch_hz: tuple[float, float] | None = None
    """Its median fundamental frequency in the shortest and in the longest text it was measured on: short ones are higher."""
    letters: tuple[int, int] | None = None
    """Of these two."""
    measured: int = Field(ge=0)
    """Renderings it rests on; 0 is a guess for the language."""

    def seconds(self, letters: int, speed: float = 1.0) -> float:
        """Expected length of the active span."""
        return max(self.base_seconds + self.seconds_per_letter * letters, self.seconds_per_letter) / speed

    def pitch(self, letters: int) -> float | None:
        """Expected median fundamental frequency, Hz; None when it is not known."""
        if self.pitch_hz is None or self.letters is None:
            return None
        low, high = self.letters
        place = math.log(min(max(letters, low), high) / low) / math.log(high / low) if high > low else 0.0
        return float(self.pitch_hz[0] ** (1 - place) * self.pitch_hz[1] ** place)


class GateConfig(Schema):
    """What a rendering must pass. The first two are the paper's."""

    wer_limit: float = Field(c.WER_LIMIT, ge=0, le=1)
    """τ_wer: word error rate (character error rate in Mandarin) above which a rendering is rejected."""
    retries: int = Field(c.SPEECH_RETRIES, ge=0, le=10)
    """R."""
    shortest: float = Field(0.70, ge=0, lt=1)
    """Share of the expected length below which a rendering is `too_short`."""
    longest: float = Field(1.50, gt=1, le=10)
    """Multiple of the expected length above which it is `too_long`."""
    slack_seconds: float = Field(0.25, ge=0, le=5)
    """Leeway on both, for very short texts."""
    ending_db: float = Field(-25.0, ge=-80, le=0)
    """Level of the last 20 ms against the active level, above which speech goes on at the end: `cut_ending`."""
    pitch_factor: float = Field(1.25, gt=1, le=10)
    """How many times higher or lower than its voice a rendering may be, above which it is `other_pitch`."""


class SpeechConfig(Schema):
    """How dialogues are spoken: the document behind `soundflow speak --config`."""

    seed: int = Field(0, ge=0, lt=2**63)
    rewriter: Literal["rules", "llm"] = "rules"
    llm: LlmConfig | None = None
    """The model of the rewriter `llm`."""
    speakers: tuple[SpeakerConfig, ...] = Field((HibariConfig(),), min_length=1)
    voices: tuple[VoiceName, ...] = ()
    """The pool V; empty is every voice the speakers offer."""
    recogniser: RecogniserConfig = WhisperConfig()
    gate: GateConfig = GateConfig()
    patience_seconds: float = Field(300.0, gt=0, le=86_400)
    """A model's process that takes longer over one request is replaced; shapes nothing."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        backends = [speaker.backend for speaker in self.speakers]
        if len(set(backends)) < len(backends):
            raise ValueError("two speakers share a backend; list their voices under one")
        if self.rewriter == "llm" and self.llm is None:
            raise ValueError("rewriter llm needs the section llm, with its model")
        return self

    def shaping(self) -> dict[str, Any]:
        """The part that shapes speech, for the fingerprint."""
        document = self.model_dump(mode="json", exclude={"patience_seconds"})
        document["llm"] = self.llm.shaping() if self.llm and self.rewriter == "llm" else None
        for section in (*document["speakers"], document["recogniser"]):
            for name in ("server", "base_url", "api_key_env", "device", "threads"):
                section.pop(name, None)
        return document
