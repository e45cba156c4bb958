"""The recipe: everything a user decides about a corpus, as YAML.

The fingerprint covers exactly what shapes the bytes of a corpus: the recipe without its name, description and index path, the
content of the index, the prompts and the operator versions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, Schema, canonical_json
from soundflow.schemas.decision import DecisionRules
from soundflow.schemas.estimate import BuildBudget
from soundflow.schemas.generation import GenerationConfig, VerifierConfig
from soundflow.schemas.licences import is_listed, licence_of, objections
from soundflow.schemas.llm import LlmConfig
from soundflow.schemas.retrieval import RetrievalConfig
from soundflow.schemas.suggest import did_you_mean
from soundflow.schemas.taxonomy import Capability, Task, Urgency


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"a range is [low, high], but {pair[0]} > {pair[1]}; swap the two values")
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
Seconds = Annotated[float, Field(ge=0, le=120)]
Decibels = Annotated[float, Field(ge=-20, le=60)]
SplitName = Literal["train", "validation", "test"]
Count = Annotated[int, Field(ge=0, le=64)]
Share = Annotated[float, Field(ge=0, le=1)]
OPTIONAL: Final = ("splits", "taxonomy", "max_clip_uses", "licences", "balance", "rejected_transcripts")
"""Fields that are left out of the fingerprint while they have their default, so that earlier builds keep theirs."""


def _teaches(name: object) -> object:
    """Return the sub-task or capability of this name. Raises InputError for any other name."""
    for kind in (Task, Capability):
        if isinstance(name, kind):
            return name
        if isinstance(name, str) and name in set(kind):
            return kind(name)
    close = did_you_mean(name, (*Capability, *Task))
    raise InputError("unknown task", remedy=f"{close} List all: soundflow tasks".strip())


Teaches = Annotated[Task | Capability, BeforeValidator(_teaches)]


def _without_control_characters(text: str) -> str:
    if found := re.search(r"[^\t\n\r -~\x80-\U0010ffff]|[\x80-\x84\x86-\x9f]", text):
        raise ValueError(f"contains the control character {found[0]!r}; remove it")
    return text


def _compatible(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ids of licences, sorted. Raises ValueError if no mix of recordings under all of them may be published."""
    for why in objections(licence_of(text) for text in texts):
        raise ValueError(f"{why}; list licences that may be published together, and build one corpus per group")
    return tuple(sorted({licence_of(text).id for text in texts}))


class SceneConfig(Schema):
    """Events of a stream and the planner that chooses them. Ranges are [low, high]."""

    planner: Literal["template", "random", "llm"] = "template"
    """`template` fills hand-written scene shapes. `random` draws clips independently. `llm` asks the recipe's language model for
    a scenario, grounds each event in a verified clip and words the responses."""
    events: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], Annotated[int, Field(ge=1, le=64)]], AfterValidator(_ordered)] = (
        c.EVENTS_RANGE
    )
    """Number of foreground events, besides those that `history_review_share`, `silent_share` and `proactive_share` mix in. With
    the planner `llm`: events of all roles, at least 3 and at most 15."""
    bag: tuple[Annotated[int, Field(ge=1, le=64)], Count, Count] = (16, 5, 3)
    """Planner `llm`: number of clip annotations in the prompt for the roles foreground, background and ambient."""
    gap_seconds: Annotated[tuple[Seconds, Seconds], AfterValidator(_ordered)] = (0.0, 0.8)
    """Pause before each foreground event, in seconds."""
    background: Annotated[tuple[Count, Count], AfterValidator(_ordered)] = (0, 2)
    """Number of background events."""
    ambient: Annotated[tuple[Count, Count], AfterValidator(_ordered)] = (0, 1)
    """Number of ambient events."""
    max_seconds: float = Field(120.0, ge=2, le=1800)
    """Maximum length of a stream in seconds. Events that would exceed it are left out, clips that are longer are never used, and
    a scene that is longer all the same (a dialogue that has to be whole) is drawn again."""
    benign_share: float = Field(0.5, ge=0, le=1)
    """Proactive sub-tasks: share of foreground events that call for no response."""
    distractor_share: float = Field(0.25, ge=0, le=0.9)
    """Voice chat and ASR: share of foreground events that are sounds without a response."""
    history_review_share: Share = c.HISTORY_REVIEW_SHARE
    """Chat sub-tasks: share of streams that end with a question about an earlier turn, if the index has such questions (paper:
    p_hr)."""
    silent_share: Share = c.SILENT_SHARE
    """Chat sub-tasks: share of streams with a benign sound among the turns, which gets no response (paper: p_sil)."""
    proactive_share: Share = c.PROACTIVE_SHARE
    """Chat sub-tasks: share of streams with a sound of danger among the turns, which gets a warning (paper: p_pro)."""
    proactive_evidence_seconds: float = Field(1.6, gt=0, le=30)
    """Time in seconds after which a hazard counts as recognised, or its length if it is shorter."""

    @property
    def max_chunks(self) -> int:
        """Maximum length of a stream in chunks."""
        return round(self.max_seconds * c.SAMPLE_RATE) // c.CHUNK_SAMPLES

    @property
    def longest_clip(self) -> int:
        """Length in samples of the longest clip that fits a stream after the longest pause."""
        return self.max_chunks * c.CHUNK_SAMPLES - round(self.gap_seconds[1] * c.SAMPLE_RATE)


class MixingConfig(Schema):
    """Parameters of composition (paper, Algorithm 3). The defaults are the paper's."""

    reference_level_dbfs: float = Field(c.REFERENCE_LEVEL_DBFS, ge=-60, le=-6)
    """Active level in dBFS to which every clip is brought before its role gain."""
    foreground_gain_db: float = Field(c.ROLE_GAIN_DB["foreground"], ge=-40, le=12)
    """Gain of foreground events in dB."""
    background_gain_db: float = Field(c.ROLE_GAIN_DB["background"], ge=-40, le=12)
    """Gain of background events in dB."""
    ambient_gain_db: float = Field(c.ROLE_GAIN_DB["ambient"], ge=-40, le=12)
    """Gain of ambient events in dB."""
    snr_db: Annotated[tuple[Decibels, Decibels], AfterValidator(_ordered)] = c.SNR_RANGE_DB
    """Signal-to-noise ratio of the noise tracks against the active power of the events, in dB, [low, high]."""
    ambient_snr_offset_db: float = Field(c.AMBIENT_SNR_OFFSET_DB, ge=-20, le=40)
    """Amount in dB by which the ambient noise track is quieter than the drawn ratio."""
    event_noise: bool = True
    """Whether streams have a track of event-like noise."""
    ambient_noise: bool = True
    """Whether streams have a track of ambient noise."""
    peak_limit: float = Field(c.PEAK_LIMIT, gt=0.05, le=0.999)
    """Peak amplitude above which the whole stream is scaled down."""


class OutputConfig(Schema):
    """Format of the stored streams."""

    audio: Literal["flac", "wav"] = "flac"
    """Audio format in the shards, 16-bit."""
    token_layout: Literal["soundflow", "authors"] = "soundflow"
    """Ids of the control tokens: `soundflow` uses free rows of Qwen's vocabulary, `authors` the ids of the paper's release."""


class Recipe(Schema):
    """All settings of a corpus."""

    version: Literal[1] = 1
    """Version of the recipe format."""
    name: Annotated[str, AfterValidator(_without_control_characters)] = Field("untitled", max_length=200)
    """Name of the corpus, for reports."""
    description: Annotated[str, AfterValidator(_without_control_characters)] = ""
    """Description of the corpus, for reports."""
    clips: str
    """Directory of a clip index (`soundflow clips index`), relative to the recipe file."""
    split: str | None = None
    """Use only clips of this split for events. Noise is shared by all splits."""
    licences: Annotated[tuple[str, ...], AfterValidator(_compatible)] = ()
    """Use only clips of these licences, noise included, such as `[CC0-1.0, CC-BY]`; a name without a version stands for all
    versions. They must permit publication and not exclude each other. Empty: clips of any licence."""
    rejected_transcripts: Literal["exclude", "use"] = "exclude"
    """Speech whose transcript alignment rejected (`soundflow clips align`). `exclude` leaves it out of all streams. `use` plays
    it and teaches the transcript."""
    splits: dict[SplitName, Annotated[float, Field(ge=0, le=1e6)]] = Field(default_factory=dict)
    """Relative sizes of train, validation and test. Every clip, noise included, is then used in one of them only. Empty: all
    streams are `train`."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of all random draws."""
    streams: int = Field(gt=0, le=100_000_000)
    """Number of streams."""
    shards: int = Field(gt=0, le=1_000_000)
    """Number of shards. A shard is one unit of work and one tar file; a few hundred streams per shard is a good size."""
    tasks: dict[Teaches, Annotated[float, Field(ge=0, le=1e6)]] = Field(
        min_length=1, json_schema_extra={"propertyNames": {"enum": [*Capability, *Task]}}
    )
    """Relative weights of sub-tasks. A capability stands for those of its sub-tasks that the clips can serve, which share its
    weight."""
    balance: Literal["clip", "label"] = "clip"
    """What is drawn uniformly for an event: `clip`, so that labels with many clips are frequent, or `label`, and then a clip with
    this label. Both among the clips that sub-task and place of the scene allow. Turns of a dialogue keep their order. With
    the planner `llm`: what is drawn for the bag."""
    max_clip_uses: int | None = Field(None, ge=1)
    """Maximum number of streams that a clip occurs in as an event (noise tracks do not count); null for no limit. Each clip may
    occur in this number of streams only, which are spread over the corpus. Not with `splits` or the planner `llm`."""
    taxonomy: dict[str, Urgency] = Field(default_factory=dict)
    """Decisions by label, which replace those of the built-in taxonomy: `respond` (a proactive sub-task responds to the sound),
    `ignore` (a benign sound) or `borderline` (in no proactive stream). A key is a label, compared by its words (`Dog_Bark` is
    `dog bark`), or a pattern in which `*` stands for any characters and `?` for one. A label comes before patterns, and a pattern
    with more literal characters before the others. The column `decision` of a manifest comes before this field."""
    scene: SceneConfig = SceneConfig()
    """Events of a stream and their planner."""
    mixing: MixingConfig = MixingConfig()
    """Levels and noise."""
    output: OutputConfig = OutputConfig()
    """Format of the stored streams."""
    budget: BuildBudget = BuildBudget()
    """Limits on the estimate of a build (`soundflow estimate`)."""
    llm: LlmConfig | None = None
    """Language model. The planner `llm` and the verifier `llm` require it."""
    retrieval: RetrievalConfig = RetrievalConfig()
    """How the planner `llm` retrieves clips."""
    generation: GenerationConfig = GenerationConfig()
    """Generation of sounds for events that no recording grounds."""
    verifier: VerifierConfig = VerifierConfig()
    """Verification of the clips that ground events."""

    @field_validator("taxonomy")
    @classmethod
    def _rules(cls, taxonomy: dict[str, Urgency]) -> dict[str, Urgency]:
        DecisionRules(taxonomy)
        return taxonomy

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.shards > self.streams:
            raise ValueError(f"{self.shards} shards for {self.streams} streams leave some empty; use at most one per stream")
        if -(-self.streams // self.shards) > 100_000:
            raise ValueError("more than 100,000 streams per shard; use more shards")
        if not sum(self.tasks.values()) > 0:
            raise ValueError("every task weight is 0; give at least one task a weight")
        if self.llm is None and self.scene.planner == "llm":
            raise ValueError("scene.planner `llm` requires a model; add an `llm` section with its name")
        makes_sounds = self.curates and self.generation.backend not in ("none", "procedural")
        if self.licences and makes_sounds and not is_listed(self.generation.licence, self.licences):
            raise ValueError(
                f"generation.licence {self.generation.licence!r} is not in `licences`; state it, or add it to the list"
            )
        if self.splits and not sum(self.splits.values()) > 0:
            raise ValueError("every split has size 0; give at least one split a size")
        if self.max_clip_uses is not None and (self.curates or self.splits):
            other = "planner `llm`, which retrieves from the whole index" if self.curates else "`splits`"
            raise ValueError(f"max_clip_uses cannot be combined with {other}; remove one of them")
        if self.splits and self.curates:
            raise ValueError("planner `llm` retrieves from the whole index; remove `splits` and build one recipe per `split`")
        return self

    def shard_sizes(self) -> list[int]:
        """Return the number of streams of each shard. The first shards are one larger if the division leaves a remainder."""
        base, extra = divmod(self.streams, self.shards)
        return [base + (shard < extra) for shard in range(self.shards)]

    def stream_number(self, shard: int, index: int) -> int:
        """Return the number of a stream in the corpus, from 0."""
        base, extra = divmod(self.streams, self.shards)
        return shard * base + min(shard, extra) + index

    @property
    def curates(self) -> bool:
        """Whether scenes are curated: planned by a language model and grounded before rendering."""
        return self.scene.planner == "llm"

    def llm_roles(self) -> list[str]:
        """Return the roles of the language model that this recipe uses."""
        if not self.curates:
            return []
        return ["scenario_planner", "event_refiner", *(["clip_verifier"] if self.verifier.verifier == "llm" else [])]

    def shaping(self) -> dict[str, object]:
        """Return the part of the recipe that shapes bytes, without operational settings and unused sections."""
        sections = {"llm", "retrieval", "generation", "verifier"}
        fields = type(self).model_fields
        defaults = {name for name in OPTIONAL if getattr(self, name) == fields[name].get_default(call_default_factory=True)}
        unused = {"name", "description", "clips", "budget", *sections, *defaults}
        shaping: dict[str, object] = self.model_dump(mode="json", exclude=unused)
        shaping["scene"] = self.scene.model_dump(mode="json", exclude=set() if self.curates else {"bag"})
        if self.curates and self.llm is not None:
            shaping |= {
                "llm": self.llm.shaping(),
                "retrieval": self.retrieval.shaping(),
                "generation": self.generation.shaping(),
                "verifier": self.verifier.model_dump(mode="json"),
            }
        return shaping


def fingerprint(
    recipe: Recipe,
    index_hash: str,
    prompt_hash: str,
    operator_versions: Mapping[str, str],
    curators: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the SHA-256 (hex) of everything that shapes bytes. `curators`: see `schemas.shard.BuildRecord`."""
    document = {
        "recipe": recipe.shaping(),
        "clip_index": index_hash,
        "prompts": prompt_hash,
        "operators": dict(sorted(operator_versions.items())),
        "curators": dict(sorted(curators.items())),
    }
    return hashlib.sha256(canonical_json(document)).hexdigest()
