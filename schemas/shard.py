"""The files of a build: shard manifests (the commit), failures, quarantine entries and the build record.

OUT/build.json                         recipe, versions and fingerprint of the build (BuildRecord)
OUT/data/shard-NNNNNN-<sha12>.tar      KEY.flac|wav, KEY.json, KEY.tokens.npz
OUT/clips/pack-<sha12>.pcm, .npy       virtual builds: the clips from which the audio is rendered (ClipStore)
OUT/scenes/NNNNNN.json                 curated scenes of a shard, before it is rendered (SceneSheet)
OUT/made/                              clips generated during the build (`pipeline.curate.made_clips`)
OUT/stopped.json                       why the last run ended early (Stopped)
OUT/spent.json, spent_on_sounds.json   cost of the calls of language model and sound generator (MeterState)
OUT/manifest/NNNNNN.json               the commit of a shard (ShardManifest)
OUT/failed/NNNNNN.json                 why the last attempt at a shard did not commit (ShardFailure)
OUT/damaged/                           what `build --recheck` found damaged and moved aside
OUT/quarantine/<sample_id>.json        a sample that failed, with what a replay needs (QuarantineEntry)
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from soundflow.schemas.base import Schema
from soundflow.schemas.clip import Sha256
from soundflow.schemas.llm import RoleCost
from soundflow.schemas.recipe import Recipe


class RejectedSample(Schema):
    """A sample for which no attempt passed the gates."""

    sample_id: str
    reason: str
    attempts: int = 1


class ShardManifest(Schema):
    """The commit of one shard. Equal builds give equal manifests, except for `timings` and `cost`."""

    format: Literal["soundflow.shard/1"] = "soundflow.shard/1"
    fingerprint: Sha256
    shard: int = Field(ge=0)
    tar: str = Field(pattern=r"^shard-[0-9]{6}-[0-9a-f]{12}\.tar$")
    """File name in data/, never a path."""
    sha256: Sha256
    bytes: int
    keys: tuple[str, ...]
    """Sample ids in the tar, in order."""
    virtual: bool = False
    """The tar holds plans and tokens only; audio is rendered on demand."""
    planned: int
    """Number of streams planned for the shard: keys + rejected + quarantined."""
    chunks: int
    responses: int
    seconds: float
    """Seconds of audio."""
    tasks: dict[str, int]
    """Streams per sub-task."""
    redraws: dict[str, int] = Field(default_factory=dict)
    """Rejected draws that a later attempt replaced, by reason."""
    rejected: tuple[RejectedSample, ...] = ()
    quarantined: tuple[str, ...] = ()
    scenes_sha256: Sha256 | None = None
    """Digest of the sheet with the curated scenes; None if the scenes were drawn."""
    verdicts: dict[str, int] = Field(default_factory=dict)
    """Counts of the outcomes of events and candidates (`pipeline.curate.scenes.verdicts`)."""
    cost: dict[str, RoleCost] = Field(default_factory=dict)
    """Cost of curation, by role of the language model."""
    timings: dict[str, float | str] = Field(default_factory=dict)
    """Wall and CPU seconds, worker and time of commit."""


class ShardEntry(Schema):
    """The fields of a manifest that the ledger reads for all shards of a corpus: enough for validity and totals."""

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
    """The last failed attempt at a shard."""

    shard: int
    fingerprint: Sha256
    error: str
    traceback: str = ""
    attempts: int = 1


class QuarantineEntry(Schema):
    """A sample that failed. `soundflow replay ID` runs it again."""

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
    """Recipe, versions and fingerprint of a build. A run with a different fingerprint is rejected."""

    format: Literal["soundflow.build/1"] = "soundflow.build/1"
    fingerprint: Sha256
    recipe: Recipe
    clips: str
    """Absolute path of the clip index."""
    clip_index_hash: Sha256
    prompt_hash: Sha256
    operator_versions: dict[str, str]
    curators: dict[str, str] = Field(default_factory=dict)
    """What shapes curation besides the recipe: versions, prompts and rules of the roles in use, embedder and generator."""
    soundflow_version: str
    virtual: bool = False
    """Audio is not stored. Plans and tokens equal those of a stored build, and so does the fingerprint."""


class ShardCounts(Schema):
    """Number of shards by state. The other planned shards have not been tried."""

    planned: int
    committed: int
    failed: int


class Stopped(Schema):
    """`stopped.json`: why the last run ended early. The next run removes the file."""

    why: str
    """The reason and the remedy."""


class BuildStatus(Schema):
    """Output of `soundflow status --json`."""

    fingerprint: str
    shards: ShardCounts
    streams: int
    hours: float
    rejected: int
    quarantined: int
    stopped: str = Field("", exclude_if=lambda why: not why)
    """Why the last run ended early (budget spent, service broken) and the remedy; absent otherwise."""


class Problem(Schema):
    """A finding of `soundflow verify`."""

    shard: int
    """Number of the shard; -1 for the build as a whole."""
    key: str
    check: str
    """Stable slug: sha256, missing_tar, truncated, members, manifest, fingerprint, duration, labels, timeline, response, peak,
    snr, clips, scenes, render, missing, build, folder, failed, quarantine."""
    detail: str
    file: str = ""
    """File that is damaged, relative to the build if it is in it."""
    remedy: str = ""
    """Command or action that repairs it."""


class VerifyReport(Schema):
    """Output of `soundflow verify --json`."""

    ok: bool
    shards: int
    """Number of manifests."""
    streams: int
    missing: tuple[int, ...] = ()
    """Planned shards without a manifest."""
    problems: tuple[Problem, ...]
