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
    """The embedded English voice. It needs no download."""

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
"""What each mode of CosyVoice needs of a voice, besides its id."""


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
            raise ValueError("give either base_url (a server) or model_dir (a model in this process)")
        for voice in self.voices:
            missing = [name for name in NEEDS[self.mode] if not getattr(voice, name)]
            if missing:
                raise ValueError(f"mode {self.mode} needs {' and '.join(missing)} of voice {voice.id!r}")
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
    """Language → asset or folder of a CTranslate2 conversion. `*` is every other language."""
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
            raise ValueError("models needs an entry '*' for every other language")
        return self

    def model_for(self, language: str) -> str:
        """The model that hears `language`."""
        return self.models.get(language, self.models["*"])


class PocketsphinxConfig(Schema):
    """pocketsphinx on this machine. It mishears about every sixth word, so little passes the gate."""

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
    """What a rendering must pass. The defaults of `wer_limit` and `retries` are the paper's."""

    wer_limit: float = Field(c.WER_LIMIT, ge=0, le=1)
    """Word error rate (character error rate in Mandarin) above which a rendering is rejected (paper: τ_wer)."""
    retries: int = Field(c.SPEECH_RETRIES, ge=0, le=10)
    """Number of renderings of a turn after the first, before its dialogue is discarded (paper: R)."""
    shortest: float = Field(0.70, ge=0, lt=1)
    """Share of the expected length below which a rendering is `too_short`."""
    longest: float = Field(1.50, gt=1, le=10)
    """Multiple of the expected length above which a rendering is `too_long`."""
    slack_seconds: float = Field(0.25, ge=0, le=5)
    """Tolerance in seconds on both, for very short texts."""
    ending_db: float = Field(-25.0, ge=-80, le=0)
    """Level of the last 20 ms relative to the active level, in dB, above which a rendering has a `cut_ending`."""
    pitch_factor: float = Field(1.25, gt=1, le=10)
    """Factor by which a rendering may be higher or lower than its voice; beyond it, it has an `other_pitch`."""


class SpeechConfig(Schema):
    """How dialogues are spoken: speakers, voices, recogniser and gate."""

    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of all random draws."""
    rewriter: Literal["rules", "llm"] = "rules"
    """What turns written text into spoken text: a set of rules, or a language model."""
    llm: LlmConfig | None = None
    """Language model of the rewriter `llm`."""
    speakers: tuple[SpeakerConfig, ...] = Field((HibariConfig(),), min_length=1)
    """Backends that render speech."""
    voices: tuple[VoiceName, ...] = ()
    """Pool of voices, such as `hibari:heart`. Empty: every voice of the speakers."""
    recogniser: RecogniserConfig = WhisperConfig()
    """Backend that transcribes renderings for the gate."""
    gate: GateConfig = GateConfig()
    """What a rendering must pass."""
    patience_seconds: float = Field(300.0, gt=0, le=86_400)
    """Seconds after which the process of a model that has not answered is replaced. Does not shape the speech."""

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
