"""`soundflow build`: plan the shards, make what is missing, tell how it goes. Resume is the same call again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from soundflow.operators.compose.clips import Palette
from soundflow.operators.curate.planning import check
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.pipeline.corpus.commit import put, sweep
from soundflow.pipeline.build.executors import Executor, InlineExecutor
from soundflow.pipeline.build.object_store import ObjectStore
from soundflow.pipeline.corpus.open_build import open_build
from soundflow.pipeline.build.produce import Sample
from soundflow.pipeline.corpus.versions import OPERATOR_VERSIONS
from soundflow.pipeline.curate.scenes import pool_of
from soundflow.pipeline.clips.splits import split_pools
from soundflow.pipeline.mechanics.stopping import noted_signals
from soundflow.pipeline.build.store_beside import bring_made
from soundflow.pipeline.build.virtual import keep_clips
from soundflow.pipeline.build.worker import Job, ShardResult
from soundflow.prompts import prompt_hash
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.estimate import BuildBudget
from soundflow.schemas.llm import Halted
from soundflow.schemas.recipe import Recipe, fingerprint
from soundflow.schemas.shard import BuildRecord, BuildStatus, ShardEntry, ShardFailure, ShardManifest, Stopped

VERSION: Final = "0.1.0"
TELL_EVERY_SECONDS: Final = 2.0
"""Longest silence of a running build."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a running build."""

    shards_done: int
    shards_total: int
    streams: int
    hours: float
    rejected: int
    quarantined: int
    failed: int
    rate: float
    """Seconds of audio made per second, by this run."""
    eta_seconds: float | None
    """Until the last shard at the pace of this run; None while there is no pace."""
    scenes: int = 0
    """Samples curated by this run."""
    clips: int = 0
    """Clips put into the store of a virtual build by this run."""

    def describe(self) -> str:
        """For people."""
        troubles = [f"{count} {what}" for what, count in self._troubles() if count]
        scenes = [f"{self.scenes} scenes curated"] if self.scenes else []
        scenes += [f"{self.clips} clips kept"] if self.clips else []
        return ", ".join([*scenes, f"{self.streams} streams", f"{self.hours:.2f} h", f"{self.rate:.0f}x real time", *troubles])

    def _troubles(self) -> tuple[tuple[str, int], ...]:
        return ("rejected", self.rejected), ("quarantined", self.quarantined), ("shards failed", self.failed)


def build(
    recipe_path: Path,
    out: Path,
    *,
    workers: int | None = None,
    executor: Literal["inline", "ray"] | str = "ray",
    address: str | None = None,
    fresh: bool = False,
    virtual: bool = False,
    over_budget: bool = False,
    store: str | None = None,
    on_event: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> BuildStatus:
    """Build the corpus of a recipe in `out`, or what is missing of it.

    `should_stop` is asked between samples: when it says yes, what is in hand is abandoned and Interrupted raised. By default
    it is SIGINT or SIGTERM that says yes (in the main thread; see `pipeline.mechanics.stopping`). `virtual`: no audio is stored, but the
    clips it is rendered from (`pipeline.build.virtual`). `over_budget`: build even if the estimate exceeds the recipe's budget.
    `store`: an object store's URL, where shards are committed (`pipeline.build.object_store`); `out` is then each machine's work space
    (of a curated build one that all of them see).
    Raises InputError for a bad recipe, index or directory, and when `out` holds a build of another recipe; OSError when the
    disk is full; Halted when a budget is spent or a service broken, after what was curated has been rendered: the same call goes
    on. Shards that failed are in the returned status, and tried again by the next call.
    """
    record, index = plan_build(recipe_path)
    record = record.model_copy(update={"virtual": virtual})
    _check_split(record.recipe.split, index, recipe_path)
    for split, pool in split_pools(record.recipe, index).items():
        check(record.recipe, Palette.of(pool, record.recipe.split), recipe_path, split)
    if not over_budget:
        _keep_to_budget(record.recipe.budget, recipe_path)
    QwenTokenizer.load()
    build_dir = open_build(out, record, fresh)
    sweep(build_dir)
    build_dir.stopped_path.unlink(missing_ok=True)
    remote = _remote(store, record, build_dir)
    pending, committed = build_dir.pending(record) if remote is None else (remote.pending(record.recipe), list(remote.entries()))
    job = Job(
        out.resolve(), Path(record.clips), record.recipe, record.fingerprint, record.curators, virtual=virtual, store=remote
    )
    with noted_signals() as signalled:
        tracker = _Tracker(build_dir, record, committed, on_event, should_stop or signalled)
        if pending:
            _executor(executor, workers, address).run(job, pending, tracker)
        if tracker.fatal:
            raise OSError(f"{tracker.fatal} ({tracker.done.shards} shards are committed)")
        if virtual and remote is None:  # of a store every worker keeps its own
            keep_clips(build_dir, record, pool_of(build_dir, index), tracker.kept)
    if tracker.why_halted:
        put(build_dir, build_dir.stopped_path, Stopped(why=tracker.why_halted.message()).canonical_json())
        raise tracker.why_halted
    return build_dir.status() if remote is None else remote.status()


def _remote(store: str | None, record: BuildRecord, build_dir: BuildDir) -> ObjectStore | None:
    if store is None:
        return None
    remote = ObjectStore(store)
    remote.open(record)
    if record.recipe.curates:
        bring_made(remote, build_dir)
    return remote


def _keep_to_budget(budget: BuildBudget, recipe_path: Path) -> None:
    if budget == BuildBudget():
        return
    from soundflow.pipeline.estimate.estimate import estimate

    if over := estimate(recipe_path).over_budget:
        remedy = "Make the corpus smaller, raise the limit, or pass --over-budget. See `soundflow estimate`"
        why = "the estimate exceeds the budget"
        raise InputError(why, file=recipe_path, field="budget", value="; ".join(over), remedy=remedy)


def _check_split(split: str | None, index: ClipIndex, recipe_path: Path) -> None:
    splits = sorted({brief.split for brief in index.briefs()})
    if split is not None and split not in splits:
        remedy = f"The index has: {', '.join(splits) or 'no clips'}"
        raise InputError("no clip is of this split", file=recipe_path, field="split", value=split, remedy=remedy)


def plan_build(recipe_path: Path) -> tuple[BuildRecord, ClipIndex]:
    """The recipe, resolved: its fingerprint and what that covers, and its clip index."""
    recipe = Recipe.from_yaml(recipe_path)
    try:
        index = ClipIndex.open(recipe_path.parent / recipe.clips)
    except InputError as error:
        raise InputError(error.why, file=recipe_path, field="clips", value=recipe.clips, remedy=error.remedy) from None
    curated_by = _curators(recipe, index)
    record = BuildRecord(
        fingerprint=fingerprint(recipe, index.content_hash, prompt_hash(), OPERATOR_VERSIONS, curated_by),
        recipe=recipe,
        clips=str(index.directory),
        clip_index_hash=index.content_hash,
        prompt_hash=prompt_hash(),
        operator_versions=OPERATOR_VERSIONS,
        curators=curated_by,
        soundflow_version=VERSION,
    )
    return record, index


def _curators(recipe: Recipe, index: ClipIndex) -> dict[str, str]:
    if not recipe.curates:
        return {}
    from soundflow.pipeline.build.curator import curators

    return curators(recipe, index)


def _executor(name: str, workers: int | None, address: str | None) -> Executor:
    if name == "inline":
        if address is not None or (workers or 1) > 1:
            raise InputError("the inline executor is one worker in this process", field="--executor", remedy="Use --executor ray")
        return InlineExecutor()
    from soundflow.pipeline.build.ray_executor import RayExecutor

    return RayExecutor(workers, address)


@dataclass(slots=True)
class _Totals:
    """Sums over shards, so that telling costs the same for ten shards and a million."""

    shards: int = 0
    streams: int = 0
    seconds: float = 0.0
    rejected: int = 0
    quarantined: int = 0

    def add(self, manifest: ShardManifest | ShardEntry) -> None:
        self.shards += 1
        self.streams += len(manifest.keys)
        self.seconds += manifest.seconds
        self.rejected += len(manifest.rejected)
        self.quarantined += len(manifest.quarantined)


class _Tracker:
    """Counts what comes in, writes failures down, tells the user."""

    def __init__(
        self,
        build_dir: BuildDir,
        record: BuildRecord,
        committed: Iterable[ShardEntry],
        on_event: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool],
    ):
        self.build_dir, self.record, self.on_event, self.should_stop = build_dir, record, on_event, should_stop
        self.done = _Totals()
        for manifest in committed:
            self.done.add(manifest)
        self.before = replace(self.done)
        self.failed = 0
        self.fatal = ""
        self.why_halted: Halted | None = None
        self.scenes = self.clips = 0
        self.started = self.told = time.monotonic()
        self.in_hand = [0, 0.0]  # streams and seconds of the shard being made in this process

    def sample(self, sample: Sample | None) -> None:
        if sample is not None:
            self.in_hand[0] += 1
            self.in_hand[1] += sample.plan.samples / c.SAMPLE_RATE
        self.pulse(tell=True)

    def result(self, result: ShardResult) -> None:
        self.in_hand = [0, 0.0]
        if result.manifest is not None:
            self.done.add(result.manifest)
        elif result.fatal:
            self.fatal = result.error
        else:
            self.failed += 1
            failure = ShardFailure(
                shard=result.shard,
                fingerprint=self.record.fingerprint,
                error=result.error,
                traceback=result.traceback,
                attempts=result.attempts,
            )
            put(self.build_dir, self.build_dir.failure_path(result.shard), failure.canonical_json())
        self.pulse(tell=True)

    def curated(self, samples: int) -> None:
        self.scenes += samples

    def halted(self, why: Halted) -> None:
        self.why_halted = self.why_halted or why

    def kept(self, clips: int) -> None:
        self.clips = clips
        self.pulse()

    def pulse(self, tell: bool = False) -> None:
        if self.should_stop():
            raise Interrupted
        if self.on_event is not None and (tell or time.monotonic() - self.told >= TELL_EVERY_SECONDS):
            self.told = time.monotonic()
            self.on_event(self._progress())

    def _progress(self) -> Progress:
        done, total = self.done, self.record.recipe.shards
        seconds = done.seconds + self.in_hand[1]
        elapsed = max(time.monotonic() - self.started, 1e-3)
        streams = done.streams + int(self.in_hand[0])
        asked, begun = self.record.recipe.streams, self.before
        made, given_up = streams - begun.streams, done.rejected + done.quarantined
        return Progress(
            shards_done=done.shards,
            shards_total=total,
            streams=streams,
            hours=seconds / 3600,
            rejected=done.rejected,
            quarantined=done.quarantined,
            failed=self.failed,
            rate=(seconds - begun.seconds) / elapsed,
            eta_seconds=elapsed * max(asked - streams - given_up, 0) / made if made else None,
            scenes=self.scenes,
            clips=self.clips,
        )
