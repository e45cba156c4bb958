"""Generation of sounds for events that no recording grounds, and verification of clips.

Only settings that shape a clip or a verdict enter the fingerprint of a corpus; the server and its retries do not.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from soundflow.schemas.base import Schema, canonical_json
from soundflow.schemas.clip import Clip, ClipRole, Sha256
from soundflow.schemas.llm import environment_name, http_url

Backend = Literal["none", "procedural", "elevenlabs", "http"]
Score = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0, le=60)]


def _two_points(line: tuple[float, float]) -> tuple[float, float]:
    if line[0] == line[1]:
        raise ValueError("a limit is [value that fails, value that is met fully]; the two values must differ")
    return line


Line = Annotated[tuple[float, float], AfterValidator(_two_points)]
"""Values at which a criterion scores 0 and 1. The score is linear in between."""
ELEVENLABS_MODEL: Final = "eleven_text_to_sound_v2"


class GenerationServer(Schema):
    """How a service that generates sounds is reached. These settings do not shape sounds."""

    base_url: Annotated[str, AfterValidator(http_url)] | None = None
    """Backend `http`: the address that is posted to (required). Backend `elevenlabs`: only for a gateway of your own."""
    api_key_env: Annotated[str, AfterValidator(environment_name)] | None = None
    """Name of the environment variable that holds the key (default: ELEVENLABS_API_KEY; none for `http`)."""
    concurrency: int = Field(4, ge=1, le=256)
    """Maximum number of concurrent calls of one process."""
    requests_per_minute: float | None = Field(None, gt=0)
    """Maximum number of calls per minute; null is no limit."""
    timeout_seconds: float = Field(240.0, gt=0, le=3600)
    """Timeout of one call in seconds."""
    retries: int = Field(4, ge=0, le=100)
    """Retries after faults of the server or the connection."""
    backoff_seconds: float = Field(1.0, gt=0, le=60)
    """Pause before the first retry, in seconds. It doubles with each retry, up to a minute; the server's Retry-After takes
    precedence."""


class GenerationBudget(Schema):
    """Limits on the sounds of a build; null is no limit. No call is made that could exceed them."""

    calls: int | None = Field(None, ge=0)
    """Number of calls."""
    money: float | None = Field(None, ge=0)
    """Cost, in the currency of `price_per_second`."""


class GenerationConfig(Schema):
    """How sounds are generated that no recording grounds."""

    backend: Backend = "none"
    """`none`: no sound is generated. `procedural`: formulas, offline, a fixed set of sounds. `elevenlabs` and `http`: models."""
    model: str = Field("", max_length=200)
    """Name of the model (`elevenlabs`: default eleven_text_to_sound_v2)."""
    prompt_influence: float | None = Field(None, ge=0, le=1)
    """Backend `elevenlabs`: how closely the caption is followed."""
    licence: str = Field("unknown", min_length=1, max_length=200)
    """Licence of what a service generates; your contract decides. Procedural sounds are CC0-1.0."""
    server: GenerationServer = GenerationServer()
    """How the service is reached."""
    price_per_second: float = Field(0.0, ge=0)
    """Price per requested second of sound."""
    budget: GenerationBudget = GenerationBudget()
    """Limits on the sounds of a build."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.backend == "http" and not (self.server.base_url and self.model):
            raise ValueError("backend http requires server.base_url and model; add both")
        if self.backend != "elevenlabs" and self.prompt_influence is not None:
            raise ValueError("prompt_influence applies to backend elevenlabs only; remove it")
        if self.backend in ("none", "procedural") and (self.model or self.licence != "unknown"):
            raise ValueError(f"model and licence do not apply to backend {self.backend}; remove them")
        if self.budget.money is not None and not self.price_per_second:
            raise ValueError("budget.money requires price_per_second; add it")
        return self

    def shaping(self) -> dict[str, object]:
        """Return the settings that shape clips, for the fingerprint."""
        return self.model_dump(mode="json", exclude={"server", "price_per_second", "budget"})


class Maker(Schema):
    """The generator of a clip: everything that shapes the clip besides the request."""

    backend: str = Field(min_length=1, max_length=100)
    model: str = Field(min_length=1, max_length=200)
    """Name or version of the model."""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    licence: str = "unknown"


class MadeRequest(Schema):
    """A request to a generator. Equal requests give the same clip."""

    kind: Literal["generated", "reprocessed", "spoken"]
    maker: Maker
    text: str = Field(max_length=4000)
    """Caption of the sound, words to be spoken, or caption of the clip to be cleaned once more."""
    label: str = Field("", max_length=300)
    """Label of the clip. Requests with different labels give different clips."""
    role: ClipRole
    seconds: tuple[Seconds, Seconds] | None = None
    """Minimum and maximum length."""
    seed: int = Field(0, ge=0)
    parent: Sha256 | None = None
    """SHA-256 of the index row, without its path, of the clip it is made from: clips with equal audio may differ in
    transcript and licence."""

    def key(self) -> str:
        """Return the SHA-256 (hex) of the request."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()


class MadeClip(Schema):
    """A clip made during a build, with its request: a row of `made/`."""

    request: MadeRequest
    details: dict[str, JsonValue] = Field(default_factory=dict)
    """Details from the generator, such as drawn parameters or the id of the parent clip."""
    clip: Clip


class VerifierConfig(Schema):
    """Verification of candidate clips. A limit is [value that fails, value that is met fully].

    The default limits were measured on real clips and on damaged copies of them
    (`python -m soundflow.bench.experiments.verifier`).
    """

    verifier: Literal["rules", "llm"] = "rules"
    """`rules` compares the measurements with the limits below. `llm` asks the recipe's model, with the clip itself if the model
    accepts audio."""
    listen_for_speech: bool = False
    """Whether speech is detected in each clip, to find speech where none is planned and the reverse (extra `speech`)."""
    accept: Score = 0.5
    """A clip is accepted if each criterion reaches this score."""
    similarity: Line | None = None
    """Cosine similarity between the planned sound and the clip; null uses the limit measured for the embedder."""
    snr_db: Line = (4.0, 10.0)
    """Signal-to-noise ratio in dB of sounds that are not noise themselves."""
    clipped_ratio: Line = (0.01, 0.0)
    """Share of samples at full scale."""
    active_level_db: Line = (-60.0, -45.0)
    """Level of the active frames in dBFS."""
    active_ratio: Line = (0.02, 0.2)
    """Share of frames above the gate of TFJP."""
    level_gap_db: Line = (40.0, 20.0)
    """Difference in dB from the mean level of the neighbouring events."""
    spectral_distance_db: Line = (32.0, 16.0)
    """RMS difference in dB between the shape of the spectrum and that of the nearest neighbour."""
    speech_ratio: Line = (0.5, 0.1)
    """Share of speech where none is planned; reversed where some is."""
    length_factor: Line = (2.0, 1.0)
    """Factor by which a clip is longer or shorter than planned."""

    def shaping(self) -> dict[str, object]:
        """Return the settings that shape verdicts: all of them."""
        return self.model_dump(mode="json")


class Evidence(Schema):
    """Measurements of a candidate clip. Levels are in dBFS, differences in dB."""

    seconds: float
    wanted_seconds: tuple[float, float]
    active_ratio: Score
    """Share of 12.5 ms hops above the gate of Algorithm 1."""
    active_level_db: float
    peak: float
    clipped_ratio: Score
    """Share of samples at full scale: the larger of source file and cleaned clip."""
    snr_db: float
    """Signal-to-noise ratio. Stationary sound that is not tonal counts as noise, so that rain has a low value."""
    similarity: float = Field(ge=-1.001, le=1.001)
    """Cosine similarity between the planned sound and the metadata of the clip, or its audio if the embedder accepts audio."""
    level_gap_db: float | None
    """Active level minus the mean level of the neighbours, before mixing equalises levels; None without neighbours."""
    spectral_distance_db: float | None
    """RMS difference of the spectral shape (32 bands) from the most similar neighbour; None without neighbours."""
    speech_ratio: Score | None
    """Share of the clip that is speech; None if speech was not detected (`listen_for_speech`)."""


# The docstring is part of the JSON schema that requests contain: see schemas.scenario.
class ClipVerdict(Schema):
    """The verifier's answer: why, four criteria, 0 fails, 1 perfect, and what becomes of the clip."""

    reason: str = Field(min_length=1, max_length=600)
    """First field, so that the model gives its reason before its verdict."""
    identity: Score
    """The clip is the planned sound."""
    cleanliness: Score
    """No other sounds, distortion or noise that would be mistaken for the event."""
    duration_fit: Score
    continuity: Score
    """Level and spectrum match the neighbours."""
    verdict: Literal["accept", "reprocess", "reject"]

    def criteria(self) -> dict[str, float]:
        """Return the four scores by name."""
        return {name: getattr(self, name) for name in ("identity", "cleanliness", "duration_fit", "continuity")}

    def weakest(self) -> str:
        """Return the name of the criterion with the lowest score."""
        return min(self.criteria().items(), key=lambda item: item[1])[0]
