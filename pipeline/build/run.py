"""`soundflow build`: plan the shards, make the missing ones and report progress. The same call resumes a build."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from soundflow.operators.compose.clips import ClipPool, Palette, decided_pool, licensed_pool
from soundflow.operators.curate.planning import check_tasks
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.pipeline.build.committers import committer_for
from soundflow.pipeline.build.executors import Executor, InlineExecutor
from soundflow.pipeline.build.produce import Sample
from soundflow.pipeline.build.worker import Job, ShardResult
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.pipeline.clips.splits import split_pools
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import sweep, write_file
from soundflow.pipeline.corpus.open_build import open_build
from soundflow.pipeline.corpus.versions import OPERATOR_VERSIONS
from soundflow.pipeline.curate.scenes import pool_of
from soundflow.pipeline.mechanics.stopping import deferred_signals
from soundflow.prompts import prompt_hash
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.decision import DecisionRules
from soundflow.schemas.estimate import BuildBudget
from soundflow.schemas.licences import licence_notes
from soundflow.schemas.llm import Halted, ServiceUnreachable
from soundflow.schemas.recipe import Recipe, fingerprint
from soundflow.schemas.shard import BuildRecord, BuildStatus, ShardEntry, ShardFailure, ShardManifest, Stopped
from soundflow.schemas.suggest import did_you_mean
from soundflow.schemas.text import counted
from soundflow.schemas.version import __version__

REPORT_SECONDS: Final = 2.0
"""Longest interval between two progress events of a running build."""
LABELS_NAMED: Final = 5
"""Maximum number of labels in one warning."""


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
    """Shards that failed in this run."""
    rate: float
    """Seconds of audio made per second in this run."""
    eta_seconds: float | None
    """Estimated time to completion; None before the first stream of this run."""
    scenes: int = 0
    """Samples curated in this run."""
    clips: int = 0
    """Clips added to the clip store of a virtual build in this run."""

    def describe(self) -> str:
        """Return the counts as one line of text."""
        parts = [f"{self.scenes} scenes curated"] if self.scenes else []
        parts += [f"{self.streams} streams", f"{self.hours:.2f} h of audio"]
        parts += [f"{self.rate:.0f}x real time"] if self.rate else []
        parts += [f"{self.clips} clips stored"] if self.clips else []
        problems = {"rejected": self.rejected, "quarantined": self.quarantined}
        problems["shard failed" if self.failed == 1 else "shards failed"] = self.failed
        return ", ".join(parts + [f"{count} {name}" for name, count in problems.items() if count])


def build(
    recipe_path: str | Path,
    out: str | Path,
    *,
    workers: int | None = None,
    executor: Literal["inline", "ray"] | str = "ray",
    address: str | None = None,
    fresh: bool = False,
    virtual: bool = False,
    over_budget: bool = False,
    store: str | None = None,
    shard_timeout: float | None = None,
    on_event: Callable[[Progress], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> BuildStatus:
    """Build the corpus of a recipe in `out`, or the part of it that is missing, and return its status.

    Shards that fail do not raise: they are listed in the status, and the next call tries them again.

    Args:
        workers: Ray workers, one core each (default: all cores).
        executor: `ray`, or `inline` for one worker in this process.
        address: a Ray cluster (default: a Ray instance of this machine alone).
        fresh: move an existing build in `out` aside and start over.
        virtual: store plans and tokens, and the clips to render the audio from (`pipeline.build.virtual`).
        over_budget: build even if the estimate exceeds the recipe's budget.
        store: URL of an object store to commit shards to (`pipeline.build.object_store`). `out` is then the work space of each
            machine; for a curated build all machines share it.
        shard_timeout: seconds after which a worker that makes a shard is considered hung; it is stopped, and another worker gets
            its shard. Default: 5 times the slowest shard of this run, at least 300 s; 3600 s until the first shard is done.
        on_event: receives the progress.
        on_warning: receives what is probably a mistake in the recipe, before the build begins, and a sentence when a worker died,
            hung or could not load the build.
        should_stop: called between samples; returning True discards the samples in progress and raises Interrupted. By default
            it returns True after SIGINT or SIGTERM (in the main thread; see `pipeline.mechanics.stopping`).

    Raises:
        InputError: the recipe, index or directory is invalid, `out` holds a build of another recipe, or the clip index was
            replaced while workers started.
        OSError: the disk is full.
        Halted: a budget is spent or a service is broken. Everything curated so far has been rendered; the same call resumes.
        Interrupted: see `should_stop`.
    """
    recipe_path, out = Path(recipe_path), Path(out)
    record, index = plan_build(recipe_path)
    index.check_rows()
    record = record.model_copy(update={"virtual": virtual or record.virtual})
    _check_split(record.recipe.split, index, recipe_path)
    if on_warning is not None:
        for text in find_recipe_warnings(record.recipe, index):
            on_warning(f"{recipe_path}: {text}")
    for split, pool in split_pools(record.recipe, decided_pool(index, record.recipe)).items():
        check_tasks(record.recipe, Palette.of_recipe(pool, record.recipe), recipe_path, split)
    if not over_budget:
        _check_budget(record.recipe.budget, recipe_path)
    QwenTokenizer.load()
    build_dir = open_build(out, record, fresh)
    sweep(build_dir)
    build_dir.stopped_path.unlink(missing_ok=True)
    committer = committer_for(store, build_dir, record)
    pending, committed = committer.progress(build_dir, record)
    job = Job(
        out.resolve(),
        index.reference,
        record.recipe,
        record.fingerprint,
        record.curators,
        virtual=record.virtual,
        committer=committer,
    )
    with deferred_signals() as signalled:
        tracker = _Tracker(build_dir, record, committed, on_event, on_warning, should_stop or signalled)
        if pending:
            _executor(executor, workers, address, shard_timeout).run(job, pending, tracker)
        if tracker.fatal:
            raise OSError(f"{tracker.fatal} ({tracker.done.shards} of {record.recipe.shards} shards are committed)")
        committer.finish(build_dir, record, pool_of(build_dir, index, record.recipe), tracker.clips_stored)
    if why := tracker.why_halted:
        if isinstance(why, ServiceUnreachable):
            why = why.after(tracker.done.shards > 0 or any(build_dir.scenes.glob("*.json")))
        write_file(build_dir, build_dir.stopped_path, Stopped(why=why.message()).canonical_json())
        raise why
    return committer.status(build_dir)


def find_recipe_warnings(recipe: Recipe, pool: ClipPool) -> list[str]:
    """Return what is probably a mistake in a recipe, as sentences.

    These are licences that forbid publishing streams, labels and patterns of the taxonomy that match no clip, and labels for
    which manifests state another decision.
    """
    briefs, rules = licensed_pool(pool, recipe).briefs(), DecisionRules(recipe.taxonomy)
    warnings = licence_notes(Counter(brief.licence for brief in briefs))
    labels = {brief.label for brief in pool.briefs()}
    for key in rules.unmatched(labels):
        warnings.append(f"taxonomy.{key}: no clip of the index has such a label. {did_you_mean(key, labels)}".rstrip())
    if overruled := rules.overruled(brief for brief in briefs if brief.kind == "sound"):
        named = ", ".join(f"{label} ({count:,})" for label, count in overruled.most_common(LABELS_NAMED))
        more = f" and {counted(len(overruled) - LABELS_NAMED, 'other label')}" if len(overruled) > LABELS_NAMED else ""
        of_clips = counted(overruled.total(), "clip")
        warnings.append(f"taxonomy: the manifest states another decision for {of_clips}, which applies: {named}{more}")
    return warnings


def _check_budget(budget: BuildBudget, recipe_path: Path) -> None:
    if budget == BuildBudget():
        return
    from soundflow.pipeline.estimate.estimate import estimate

    if over := estimate(recipe_path).over_budget:
        remedy = "Make the corpus smaller, raise the limit, or pass --over-budget. See `soundflow estimate`"
        why = f"the estimate exceeds the budget: {', '.join(over)}"
        raise InputError(why, file=recipe_path, field="budget", remedy=remedy)


def _check_split(split: str | None, index: ClipIndex, recipe_path: Path) -> None:
    splits = sorted({brief.split for brief in index.briefs()})
    if split is not None and split not in splits:
        remedy = f"Splits of the index: {', '.join(splits) or 'none, it has no clips'}"
        raise InputError("no clip belongs to this split", file=recipe_path, field="split", value=split, remedy=remedy)


def plan_build(recipe_path: Path) -> tuple[BuildRecord, ClipIndex]:
    """Read a recipe and open its clip index; return the record of the build (fingerprint and what it covers) and the index.

    The recipe may also be the build.json of a build, which is then planned again. Raises InputError.
    """
    virtual = False
    if recipe_path.name == "build.json":
        planned = BuildDir(recipe_path.parent).record()
        recipe, clips, virtual = planned.recipe, Path(planned.clips), planned.virtual
    else:
        recipe = Recipe.from_yaml(recipe_path)
        clips = recipe_path.parent / recipe.clips
    try:
        index = ClipIndex.open(clips)
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
        soundflow_version=__version__,
        virtual=virtual,
    )
    return record, index


def _curators(recipe: Recipe, index: ClipIndex) -> dict[str, str]:
    if not recipe.curates:
        return {}
    from soundflow.pipeline.build.curator import curators

    return curators(recipe, index)


def _executor(name: str, workers: int | None, address: str | None, shard_timeout: float | None) -> Executor:
    if name == "inline":
        if address is not None or (workers or 1) > 1 or shard_timeout is not None:
            why = "the inline executor is a single worker in this process and takes no --workers, --address or --shard-timeout"
            raise InputError(why, field="--executor", value=name, remedy="Use --executor ray")
        return InlineExecutor()
    from soundflow.pipeline.build.ray_executor import RayExecutor

    return RayExecutor(workers, address, shard_timeout)


@dataclass(slots=True)
class _Totals:
    """Sums over committed shards, kept up to date so that a progress event costs the same for any number of shards."""

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
    """The build's `Watcher`: counts results, records failures and reports progress."""

    def __init__(
        self,
        build_dir: BuildDir,
        record: BuildRecord,
        committed: Iterable[ShardEntry],
        on_event: Callable[[Progress], None] | None,
        on_warning: Callable[[str], None] | None,
        should_stop: Callable[[], bool],
    ):
        self.build_dir, self.record, self.on_event, self.should_stop = build_dir, record, on_event, should_stop
        self.on_warning = on_warning
        self.done = _Totals()
        for manifest in committed:
            self.done.add(manifest)
        self.before = replace(self.done)
        self.failed = 0
        self.fatal = ""
        self.why_halted: Halted | None = None
        self.scenes = self.clips = 0
        self.started = self.last_event = time.monotonic()
        self.streams_in_progress, self.seconds_in_progress = 0, 0.0  # of the shard being made in this process

    def sample(self, sample: Sample | None) -> None:
        if sample is not None:
            self.streams_in_progress += 1
            self.seconds_in_progress += sample.plan.samples / c.SAMPLE_RATE
        self.pulse(report=True)

    def result(self, result: ShardResult) -> None:
        self.streams_in_progress, self.seconds_in_progress = 0, 0.0
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
            write_file(self.build_dir, self.build_dir.failure_path(result.shard), failure.canonical_json())
        self.pulse(report=True)

    def curated(self, samples: int) -> None:
        self.scenes += samples

    def warning(self, text: str) -> None:
        if self.on_warning is not None:
            self.on_warning(text)

    def halted(self, why: Halted) -> None:
        self.why_halted = self.why_halted or why

    def clips_stored(self, clips: int) -> None:
        self.clips = clips
        self.pulse()

    def pulse(self, report: bool = False) -> None:
        if self.should_stop():
            raise Interrupted
        if self.on_event is not None and (report or time.monotonic() - self.last_event >= REPORT_SECONDS):
            self.last_event = time.monotonic()
            self.on_event(self._progress())

    def _progress(self) -> Progress:
        done, before, recipe = self.done, self.before, self.record.recipe
        seconds = done.seconds + self.seconds_in_progress
        streams = done.streams + self.streams_in_progress
        elapsed = max(time.monotonic() - self.started, 1e-3)
        made = streams - before.streams
        remaining = max(recipe.streams - streams - done.rejected - done.quarantined, 0)
        return Progress(
            shards_done=done.shards,
            shards_total=recipe.shards,
            streams=streams,
            hours=seconds / 3600,
            rejected=done.rejected,
            quarantined=done.quarantined,
            failed=self.failed,
            rate=(seconds - before.seconds) / elapsed,
            eta_seconds=elapsed * remaining / made if made else None,
            scenes=self.scenes,
            clips=self.clips,
        )
