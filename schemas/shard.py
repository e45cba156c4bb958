"""What a build leaves on disk: shard manifests (the commit), failures, quarantine entries, the build's own record.

OUT/build.json                         what is being built (BuildRecord)
OUT/data/shard-NNNNNN-<sha12>.tar      KEY.flac|wav, KEY.json, KEY.tokens.npz
OUT/clips/pack-<sha12>.pcm, .npy        virtual builds have no audio in their tars, but the clips it is rendered from (ClipStore)
OUT/scenes/NNNNNN.json                 the curated scenes of a shard, before it is rendered (SceneSheet)
OUT/made/                              clips made during the build (`pipeline.curate.made_clips`)
OUT/stopped.json          why the last run ended early (Stopped)
OUT/spent.json, spent_on_sounds.json   what calls of a language model, of a maker of sounds cost so far (MeterState)
OUT/manifest/NNNNNN.json               counts if and only if it is there and agrees (ShardManifest)
OUT/failed/NNNNNN.json                 why the last attempt at a shard did not commit (ShardFailure)
OUT/quarantine/<sample_id>.json        a sample that broke, with what a replay needs (QuarantineEntry)
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from soundflow.schemas.base import Schema
from soundflow.schemas.clip import Sha256
from soundflow.schemas.llm import RoleCost
from soundflow.schemas.recipe import Recipe


class RejectedSample(Schema):
    """A sample no attempt of which passed the gates."""

    sample_id: str
    reason: str
    attempts: int = 1


class ShardManifest(Schema):
    """The commit of one shard. Equal for equal work except `timings` and `cost`: how the work went."""

    format: Literal["soundflow.shard/1"] = "soundflow.shard/1"
    fingerprint: Sha256
    shard: int = Field(ge=0)
    tar: str = Field(pattern=r"^shard-[0-9]{6}-[0-9a-f]{12}\.tar$")
    """File name below data/; never a path."""
    sha256: Sha256
    bytes: int
    keys: tuple[str, ...]
    """Sample ids in the tar, in order."""
    virtual: bool = False
    """The tar holds plans and tokens; audio is rendered when it is asked for."""
    planned: int
    """Streams this shard was asked for: keys + rejected + quarantined."""
    chunks: int
    responses: int
    seconds: float
    """Audio in the shard."""
    tasks: dict[str, int]
    """Streams per sub-task."""
    redraws: dict[str, int] = Field(default_factory=dict)
    """Draws the gates refused and a later attempt replaced, by reason."""
    rejected: tuple[RejectedSample, ...] = ()
    quarantined: tuple[str, ...] = ()
    scenes_sha256: Sha256 | None = None
    """Digest of the sheet the scenes were read from; None when they were drawn."""
    verdicts: dict[str, int] = Field(default_factory=dict)
    """What became of the sheet's events and candidates (`pipeline.curate.scenes.verdicts`)."""
    cost: dict[str, RoleCost] = Field(default_factory=dict)
    """What curation paid for this shard, by role of the language model."""
    timings: dict[str, float | str] = Field(default_factory=dict)
    """Wall and CPU seconds, worker, time of commit."""


class ShardEntry(Schema):
    """What the ledger reads of a manifest, for every shard of a corpus at once: enough to know that it counts, and for totals."""

    model_config = ConfigDict(extra="ignore")

    fingerprint: str
    shard: int
    tar: str
    bytes: int
    keys: tuple[str, ...]
    seconds: float
    rejected: tuple[Any, ...] = ()
    quarantined: tuple[str, ...] = ()


class ShardFailure(Schema):
    """The last attempt at a shard that did not commit."""

    shard: int
    fingerprint: Sha256
    error: str
    traceback: str = ""
    attempts: int = 1


class QuarantineEntry(Schema):
    """A sample that broke. `soundflow replay ID` runs it again."""

    sample_id: str
    fingerprint: Sha256
    shard: int
    index: int
    attempt: int = 0
    stage: str
    error: str
    traceback: str = ""
    payload: dict[str, Any] = Field(default_factory=dict)


class BuildRecord(Schema):
    """What the output directory is a build of; a changed recipe is told from it."""

    format: Literal["soundflow.build/1"] = "soundflow.build/1"
    fingerprint: Sha256
    recipe: Recipe
    clips: str
    """Absolute path of the clip index."""
    clip_index_hash: Sha256
    prompt_hash: Sha256
    operator_versions: dict[str, str]
    curators: dict[str, str] = Field(default_factory=dict)
    """Who curates, beside what the recipe says: versions, prompts and rules of the roles in use, the embedder, the generator."""
    soundflow_version: str
    virtual: bool = False
    """Audio is not stored. The same plans and tokens as the stored build, so the same fingerprint."""


class ShardCounts(Schema):
    """Shards by state; neither committed nor failed means not tried yet."""

    planned: int
    committed: int
    failed: int


class Stopped(Schema):
    """`stopped.json`: why the last run ended before all was made. The next one removes it."""

    why: str
    """With what to do."""


class BuildStatus(Schema):
    """`soundflow status --json`."""

    fingerprint: str
    shards: ShardCounts
    streams: int
    hours: float
    rejected: int
    quarantined: int
    stopped: str = Field("", exclude_if=lambda why: not why)
    """Why the last run ended early (a budget, a broken service), and what to do; not there when it did not."""


class Problem(Schema):
    """One finding of `soundflow verify`."""

    shard: int
    key: str
    check: str
    """Stable slug: sha256, truncated, members, manifest, fingerprint, duration, labels, timeline, response, peak, snr,
    clips, scenes, render."""
    detail: str


class VerifyReport(Schema):
    """`soundflow verify --json`."""

    ok: bool
    shards: int
    streams: int
    problems: tuple[Problem, ...]
