"""The cost of a recipe: the rates an estimate uses, the estimate itself (`soundflow estimate`) and a build's budget."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from soundflow.schemas.base import Schema
from soundflow.schemas.llm import Usage

Amount = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class RoleRate(Schema):
    """Language model usage of one role."""

    calls: Amount
    """Number of calls per stream."""
    input_tokens: Amount
    """Prompt tokens per call."""
    output_tokens: Amount
    """Completion tokens per call."""


class Rates(Schema):
    """Throughput and sizes per unit of work. `soundflow estimate --calibrate` measures them; `origin` names their source."""

    origin: str = "defaults: a 2-core container, this project's benchmarks; assumptions for models"
    core_seconds_per_audio_second: Positive = 0.0045
    """CPU seconds for planning, composition, FLAC, tokens and commit."""
    bytes_per_audio_second: Positive = 21_300.0
    """Shard bytes (FLAC, plan and tokens)."""
    virtual_bytes_per_audio_second: Positive = 620.0
    """Shard bytes of a virtual build (plan and tokens)."""
    clip_bytes_per_second: Positive = 32_000.0
    """Bytes per second of clip in the clip store of a virtual build."""
    made_again: Amount = 0.02
    """Fraction of streams that are composed more than once or dropped."""
    llm: dict[str, RoleRate] = Field(
        default_factory=lambda: {
            "scenario_planner": RoleRate(calls=1.1, input_tokens=1600, output_tokens=700),
            "event_refiner": RoleRate(calls=1.1, input_tokens=1900, output_tokens=900),
            "clip_verifier": RoleRate(calls=10, input_tokens=700, output_tokens=90),
        }
    )
    """Role → usage."""
    seconds_per_call: Positive = 4.0
    """Latency of a language model call."""
    generated_share: Amount = 0.1
    """Fraction of events that no recorded clip grounds and a sound generator has to make."""
    generated_seconds: Positive = 5.0
    """Length of a generated sound."""
    generation_gpu_seconds_per_second: Amount = 0.6
    """GPU seconds per second of generated sound."""
    tts_gpu_seconds_per_second: Amount = 0.3
    """GPU seconds per second of synthesized speech."""
    asr_gpu_seconds_per_second: Amount = 0.05
    """GPU seconds per second of transcribed speech."""
    spoken_attempts: Positive = 1.3
    """Renderings per utterance that passes the gate."""
    disk_bytes_per_second: Positive = 200e6
    """Write throughput of one node."""


class BuildBudget(Schema):
    """Limits on the estimate of a build; null is no limit. Not part of the fingerprint.

    `soundflow build` refuses a recipe whose estimate exceeds a limit, unless `--over-budget` is given.
    """

    hours: Amount | None = None
    """Hours of audio."""
    gigabytes: Amount | None = None
    """Size of the corpus on disk."""
    core_hours: Amount | None = None
    """CPU core hours."""
    gpu_hours: Amount | None = None
    """GPU hours."""
    money: Amount | None = None
    """Cost of model calls, in the currency of the prices."""


class Estimate(Schema):
    """Expected size and cost of a recipe."""

    name: str
    fingerprint: str
    streams: int
    shards: int
    streams_per_shard: int
    """Number of streams in the largest shard."""
    items: dict[str, int]
    """Sub-task → streams."""
    task_hours: dict[str, float]
    """Sub-task → hours of audio."""
    hours: float
    """Hours of audio."""
    hours_error: float
    """Standard error of `hours`."""
    planned: int
    """Number of streams that were planned for this estimate."""
    responses: int
    clips: int
    """Clips in the index."""
    clip_hours: float
    uses_per_clip: float = 0.0
    """Mean number of streams that a clip of the index occurs in as an event."""
    max_clip_uses: int | None = None
    """The recipe's limit on the uses of a clip."""
    gigabytes: float
    virtual_gigabytes: float
    """Size as a virtual build, each clip of the index stored once."""
    llm: dict[str, Usage]
    """Role → usage of the language model."""
    generated_sounds: int
    tts_hours: float
    """Hours of synthesized speech behind the index, rejected renderings included; 0 if all speech was recorded."""
    asr_hours: float
    """Hours of synthesized speech that the gate transcribes."""
    core_hours: float
    gpu_hours: dict[str, float]
    """Purpose → GPU hours."""
    money: float
    """Price of the language model and the sound generator, in the currency of the recipe's prices."""
    nodes: int
    cores: int
    """Number of cores per node."""
    gpus: int
    """Number of GPUs in total."""
    wall_hours: dict[str, float]
    """Resource → hours until it has done its part, if it were the only limit."""
    bottleneck: str
    """The resource with the most `wall_hours`."""
    rates: Rates
    over_budget: tuple[str, ...] = ()
    """The limits of the recipe's budget that are exceeded, as text."""

    @property
    def duration_hours(self) -> float:
        """Duration of the build in hours: all resources work at once, so the slowest one decides."""
        return max(self.wall_hours.values(), default=0.0)
