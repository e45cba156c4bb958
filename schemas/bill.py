"""What a corpus will cost: the rates it is reckoned with, the bill (`soundflow plan`), and the budget a build keeps to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from soundflow.schemas.base import Schema
from soundflow.schemas.llm import Usage

Amount = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class RoleRate(Schema):
    """What one role of the language model is asked per stream."""

    calls: Amount
    input_tokens: Amount
    """Per call."""
    output_tokens: Amount
    """Per call."""


class Rates(Schema):
    """How fast and how large. `soundflow plan --calibrate` measures; the defaults say where they come from."""

    origin: str = "defaults: a 2-core container, this project's benchmarks; assumptions for models"
    core_seconds_per_audio_second: Positive = 0.0045
    """Planning, composition, FLAC, tokens and commit, of one core."""
    bytes_per_audio_second: Positive = 21_300.0
    """In shards: FLAC, plan and tokens."""
    virtual_bytes_per_audio_second: Positive = 620.0
    """In shards of a virtual build."""
    clip_bytes_per_second: Positive = 32_000.0
    """In the clip store of a virtual build."""
    made_again: Amount = 0.02
    """Share of streams that are composed more than once, or dropped."""
    llm: dict[str, RoleRate] = Field(
        default_factory=lambda: {
            "scenario_planner": RoleRate(calls=1.1, input_tokens=1600, output_tokens=700),
            "event_refiner": RoleRate(calls=1.1, input_tokens=1900, output_tokens=900),
            "clip_verifier": RoleRate(calls=10, input_tokens=700, output_tokens=90),
        }
    )
    seconds_per_call: Positive = 4.0
    """From question to answer, of a language model."""
    generated_share: Amount = 0.1
    """Events no recording grounds, when somebody can make them."""
    generated_seconds: Positive = 5.0
    """Of a sound that is made."""
    generation_gpu_seconds_per_second: Amount = 0.6
    """Of a model that makes sounds."""
    tts_gpu_seconds_per_second: Amount = 0.3
    asr_gpu_seconds_per_second: Amount = 0.05
    spoken_attempts: Positive = 1.3
    """Renderings per utterance that passes the gate."""
    disk_bytes_per_second: Positive = 200e6
    """Of one node."""


class BuildBudget(Schema):
    """What a build may take, by its bill; None is no limit. `soundflow build` refuses more unless told. Shapes nothing."""

    hours: Amount | None = None
    """Of audio."""
    gigabytes: Amount | None = None
    core_hours: Amount | None = None
    gpu_hours: Amount | None = None
    money: Amount | None = None


class Bill(Schema):
    """What a recipe takes. Counts and hours are expectations, `hours_error` is their standard error."""

    name: str
    fingerprint: str
    streams: int
    shards: int
    streams_per_shard: int
    items: dict[str, int]
    """Per sub-task."""
    task_hours: dict[str, float]
    hours: float
    hours_error: float
    """From the streams that were planned to reckon with."""
    planned: int
    """How many those were."""
    responses: int
    clips: int
    """In the index."""
    clip_hours: float
    gigabytes: float
    virtual_gigabytes: float
    """With every clip of the index, once."""
    llm: dict[str, Usage]
    """By role."""
    generated_sounds: int
    tts_hours: float
    """Speech of the index that a model rendered; 0 when it is recordings."""
    asr_hours: float
    core_hours: float
    gpu_hours: dict[str, float]
    """By what for."""
    money: float
    """Of the language model and the maker of sounds."""
    nodes: int
    cores: int
    """Per node."""
    gpus: int
    """In all."""
    wall_hours: dict[str, float]
    """Per resource, as if it were the only one."""
    bottleneck: str
    """The slowest of them."""
    rates: Rates
    over_budget: tuple[str, ...] = ()
    """Which limits of the recipe's budget it passes, in words."""

    @property
    def hours_to_wait(self) -> float:
        """Until the slowest resource is through; the others work meanwhile."""
        return max(self.wall_hours.values(), default=0.0)
