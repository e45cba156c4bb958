"""The recipe: everything a user decides about a corpus, as YAML.

The fingerprint covers what shapes bytes (this document without name, description and the index's path; the index's
content; prompts; operator versions) and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, Schema, canonical_json
from soundflow.schemas.estimate import BuildBudget
from soundflow.schemas.generation import GenerationConfig, VerifierConfig
from soundflow.schemas.llm import LlmConfig
from soundflow.schemas.retrieval import RetrievalConfig
from soundflow.schemas.suggest import did_you_mean
from soundflow.schemas.taxonomy import Capability, Task


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"a range is [low, high], but {pair[0]} > {pair[1]}; swap them")
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
Seconds = Annotated[float, Field(ge=0, le=120)]
Decibels = Annotated[float, Field(ge=-20, le=60)]
SplitName = Literal["train", "validation", "test"]
Count = Annotated[int, Field(ge=0, le=64)]
Share = Annotated[float, Field(ge=0, le=1)]


def _teaches(name: object) -> object:
    """The sub-task or capability a recipe names."""
    for kind in (Task, Capability):
        if isinstance(name, kind):
            return name
        if isinstance(name, str) and name in set(kind):
            return kind(name)
    close = did_you_mean(name, (*Capability, *Task))
    raise InputError("unknown task", remedy=f"{close} List all: soundflow tasks".strip())


Teaches = Annotated[Task | Capability, BeforeValidator(_teaches)]


class SceneConfig(Schema):
    """How many of what happen in a stream, and who plans it."""

    planner: Literal["template", "random", "llm"] = "template"
    """`template` fills hand-written scene shapes, `random` draws clips independently; `llm` has the recipe's language model plan
    scenes, ground each event in a verified clip, and word the answers."""
    events: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], Annotated[int, Field(ge=1, le=64)]], AfterValidator(_ordered)] = (
        c.EVENTS_RANGE
    )
    """Foreground turns [low, high]; of planner `llm` events of all roles, at least 3 and at most 15."""
    bag: tuple[Annotated[int, Field(ge=1, le=64)], Count, Count] = (16, 5, 3)
    """Planner `llm`: how many annotations it is shown, for the foreground, the background, the ambience."""
    gap_seconds: Annotated[tuple[Seconds, Seconds], AfterValidator(_ordered)] = (0.0, 0.8)
    """Pause before each foreground event, seconds [low, high]."""
    background: Annotated[tuple[Count, Count], AfterValidator(_ordered)] = (0, 2)
    ambient: Annotated[tuple[Count, Count], AfterValidator(_ordered)] = (0, 1)
    max_seconds: float = Field(120.0, ge=2, le=1800)
    """Events that would pass this are left out (a stream never has fewer than one)."""
    benign_share: float = Field(0.5, ge=0, le=1)
    """In proactive streams: the share of events that call for no response."""
    distractor_share: float = Field(0.25, ge=0, le=0.9)
    """In voice chat and ASR: the share of foreground events that are sounds, to stay silent at."""
    history_review_share: Share = c.HISTORY_REVIEW_SHARE
    """Of the chat sub-tasks' streams: how many end with a question about an earlier turn, where the index has such."""
    silent_share: Share = c.SILENT_SHARE
    """Of the same: how many have a benign sound among the turns, to stay silent at."""
    proactive_share: Share = c.PROACTIVE_SHARE
    """Of the same: how many have a sound of danger among the turns, which the assistant is told to warn of."""
    proactive_evidence_seconds: float = Field(1.6, gt=0, le=30)
    """A hazard is recognised after this much of it, or at its end when it is shorter."""


class MixingConfig(Schema):
    """Parameters of Algorithm 3; the defaults are the paper's."""

    reference_level_dbfs: float = Field(c.REFERENCE_LEVEL_DBFS, ge=-60, le=-6)
    foreground_gain_db: float = Field(c.ROLE_GAIN_DB["foreground"], ge=-40, le=12)
    background_gain_db: float = Field(c.ROLE_GAIN_DB["background"], ge=-40, le=12)
    ambient_gain_db: float = Field(c.ROLE_GAIN_DB["ambient"], ge=-40, le=12)
    snr_db: Annotated[tuple[Decibels, Decibels], AfterValidator(_ordered)] = c.SNR_RANGE_DB
    ambient_snr_offset_db: float = Field(c.AMBIENT_SNR_OFFSET_DB, ge=-20, le=40)
    event_noise: bool = True
    ambient_noise: bool = True
    peak_limit: float = Field(c.PEAK_LIMIT, gt=0.05, le=0.999)


class OutputConfig(Schema):
    """What is written."""

    audio: Literal["flac", "wav"] = "flac"
    token_layout: Literal["soundflow", "authors"] = "soundflow"


class Recipe(Schema):
    """A corpus, as its user asks for it."""

    version: Literal[1] = 1
    name: str = Field("untitled", max_length=200)
    description: str = ""
    clips: str
    """Directory of a clip index (`soundflow clips index`); relative to the recipe file."""
    split: str | None = None
    """Use only events of this split; noise is shared by all."""
    splits: dict[SplitName, Annotated[float, Field(ge=0, le=1e6)]] = Field(default_factory=dict)
    """Relative sizes of train, validation and test. Every clip, noise too, is then heard in one of them only; what
    `soundflow export hf` needs to tell them apart. Empty: all streams are `train`."""
    seed: int = Field(0, ge=0, lt=2**63)
    streams: int = Field(gt=0, le=100_000_000)
    shards: int = Field(gt=0, le=1_000_000)
    tasks: dict[Teaches, Annotated[float, Field(ge=0, le=1e6)]] = Field(min_length=1)
    """Relative weights of sub-tasks; a capability stands for those of its own the clips can serve, which share its weight."""
    scene: SceneConfig = SceneConfig()
    mixing: MixingConfig = MixingConfig()
    output: OutputConfig = OutputConfig()
    budget: BuildBudget = BuildBudget()
    """Upper limits on the estimate (`soundflow estimate`) of a build."""
    llm: LlmConfig | None = None
    """The language model; planner `llm` and verifier `llm` need it."""
    retrieval: RetrievalConfig = RetrievalConfig()
    """How planner `llm` finds clips."""
    generation: GenerationConfig = GenerationConfig()
    """Who makes the sounds it does not find."""
    verifier: VerifierConfig = VerifierConfig()
    """Who judges whether a clip may play an event, and where the lines are."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.shards > self.streams:
            raise ValueError(f"{self.shards} shards for {self.streams} streams leaves some empty; use at most one per stream")
        if -(-self.streams // self.shards) > 100_000:
            raise ValueError("more than 100,000 streams per shard; use more shards")
        if not sum(self.tasks.values()) > 0:
            raise ValueError("every task weight is 0; give at least one task a weight")
        if self.llm is None and self.scene.planner == "llm":
            raise ValueError("scene.planner `llm` needs to know which model; add an `llm` section with its name")
        if self.splits and not sum(self.splits.values()) > 0:
            raise ValueError("every split is empty; give at least one a size")
        if self.splits and self.curates:
            raise ValueError("planner `llm` finds clips in the whole index; leave `splits` out and build one recipe per `split`")
        return self

    def shard_sizes(self) -> list[int]:
        """Streams per shard, the first shards one larger when it does not divide."""
        base, extra = divmod(self.streams, self.shards)
        return [base + (shard < extra) for shard in range(self.shards)]

    @property
    def curates(self) -> bool:
        """Whether scenes are curated: planned by a language model and grounded, before anything is rendered."""
        return self.scene.planner == "llm"

    def llm_roles(self) -> list[str]:
        """The roles of the language model this recipe asks."""
        if not self.curates:
            return []
        return ["scenario_planner", "event_refiner", *(["clip_verifier"] if self.verifier.verifier == "llm" else [])]

    def shaping(self) -> dict[str, object]:
        """The part of the recipe that shapes bytes: what only operates, and sections that are not in use, are left out."""
        sections = {"llm", "retrieval", "generation", "verifier"}
        unused = {"name", "description", "clips", "budget", *sections} | (set() if self.splits else {"splits"})
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
    """SHA-256 (hex) over everything that shapes bytes. `curators`: who curates, see `schemas.shard.BuildRecord`."""
    document = {
        "recipe": recipe.shaping(),
        "clip_index": index_hash,
        "prompts": prompt_hash,
        "operators": dict(sorted(operator_versions.items())),
        "curators": dict(sorted(curators.items())),
    }
    return hashlib.sha256(canonical_json(document)).hexdigest()
