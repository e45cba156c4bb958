"""`soundflow build`: plan the shards, make what is missing, tell how it goes. Resume is the same call again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from operators.planning import Palette, check
from operators.qwen_bpe import QwenTokenizer
from pipeline.build_dir import BuildDir
from pipeline.clip_index import ClipIndex
from pipeline.commit import put, put_first, sweep
from pipeline.executors import Executor, InlineExecutor
from pipeline.produce import OPERATOR_VERSIONS, Sample
from pipeline.worker import Job, ShardResult
from prompts import prompt_hash
from schemas import constants as c
from schemas.base import InputError, Interrupted
from schemas.recipe import Recipe, fingerprint
from schemas.shard import BuildRecord, BuildStatus, ShardFailure

VERSION = "0.1.0"


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
    """Seconds of audio made per second."""

    def describe(self) -> str:
        """For people."""
        troubles = [f"{count} {what}" for what, count in self._troubles() if count]
        return ", ".join([f"{self.streams} streams", f"{self.hours:.2f} h", f"{self.rate:.0f}x real time", *troubles])

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
    on_event: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> BuildStatus:
    """Build the corpus of a recipe in `out`, or what is missing of it.

    `should_stop` is asked between samples: when it says yes, what is in hand is abandoned and Interrupted raised. (A signal
    handler must not raise by itself: inside an encoder's callback the exception would be swallowed and half a file kept.)
    Raises InputError for a bad recipe, index or directory, and when `out` holds a build of another recipe; OSError when the
    disk is full. Shards that failed are in the returned status, and tried again by the next call.
    """
    record, index = plan_build(recipe_path)
    check(record.recipe, Palette.of(index, record.recipe.split), recipe_path)
    QwenTokenizer.load()
    build_dir = _open(out, record, fresh)
    sweep(build_dir)
    committed = build_dir.committed(record.fingerprint)
    pending = [shard for shard in range(record.recipe.shards) if shard not in committed]
    if pending:
        made_by = _executor(executor, workers, address)
        tracker = _Tracker(build_dir, record, on_event, should_stop)
        job = Job(out.resolve(), Path(record.clips), record.recipe, record.fingerprint)
        made_by.run(job, pending, tracker)
        if tracker.fatal:
            raise OSError(f"{tracker.fatal} ({len(build_dir.committed(record.fingerprint))} shards are committed)")
    return build_dir.status()


def plan_build(recipe_path: Path) -> tuple[BuildRecord, ClipIndex]:
    """The recipe, resolved: its fingerprint and what that covers, and its clip index."""
    recipe = Recipe.from_yaml(recipe_path)
    try:
        index = ClipIndex.open(recipe_path.parent / recipe.clips)
    except InputError as error:
        raise InputError(error.why, file=recipe_path, field="clips", value=recipe.clips, remedy=error.remedy) from None
    record = BuildRecord(
        fingerprint=fingerprint(recipe, index.content_hash, prompt_hash(), OPERATOR_VERSIONS),
        recipe=recipe,
        clips=str(index.directory),
        clip_index_hash=index.content_hash,
        prompt_hash=prompt_hash(),
        operator_versions=OPERATOR_VERSIONS,
        soundflow_version=VERSION,
    )
    return record, index


def _executor(name: str, workers: int | None, address: str | None) -> Executor:
    if name == "inline":
        if address is not None or (workers or 1) > 1:
            raise InputError("the inline executor is one worker in this process", field="--executor", remedy="Use --executor ray")
        return InlineExecutor()
    from pipeline.ray_executor import RayExecutor

    return RayExecutor(workers, address)


def _open(out: Path, record: BuildRecord, fresh: bool) -> BuildDir:
    build_dir = BuildDir(out)
    if fresh and out.exists():
        number = 1
        while (aside := out.with_name(f"{out.name}.old-{number}")).exists():
            number += 1
        out.rename(aside)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise InputError(f"cannot be an output directory: {error.strerror}", file=out, remedy="Choose another with -o") from None
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError("cannot be written", file=out, remedy="Choose another directory with -o")
    if not build_dir.record_path.exists():
        strangers = sorted(path.name for path in out.iterdir() if path.name != "_tmp")
        if strangers:
            raise InputError("is not empty and not a build", file=out, value=strangers[:5], remedy="Choose another with -o")
        put_first(build_dir, build_dir.record_path, record.canonical_json())
    old = build_dir.record()
    if old.fingerprint != record.fingerprint:
        lines = "".join(f"\n  {line}" for line in differences(old, record))
        raise InputError(
            f"holds a build of another recipe. What differs (there -> now):{lines}\n",
            file=out,
            remedy="Choose another directory, or --fresh to move the old build aside",
        )
    if old.clips != record.clips:  # the same clips in another place
        put(build_dir, build_dir.record_path, record.canonical_json())
    return build_dir


def differences(old: BuildRecord, new: BuildRecord) -> list[str]:
    """What makes two fingerprints differ, one line each: `field: old -> new`."""
    flat_old, flat_new = _flat(_shaping(old)), _flat(_shaping(new))
    names = sorted(flat_old.keys() | flat_new.keys())
    return [f"{name}: {flat_old.get(name)} -> {flat_new.get(name)}" for name in names if flat_old.get(name) != flat_new.get(name)]


def _shaping(record: BuildRecord) -> dict[str, Any]:
    return {
        "recipe": record.recipe.shaping(),
        "clip index": record.clip_index_hash[:12],
        "prompts": record.prompt_hash[:12],
        "operators": record.operator_versions,
    }


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


class _Tracker:
    """Counts what comes in, writes failures down, tells the user."""

    def __init__(
        self,
        build_dir: BuildDir,
        record: BuildRecord,
        on_event: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool],
    ):
        self.build_dir, self.record, self.on_event, self.should_stop = build_dir, record, on_event, should_stop
        self.total = record.recipe.shards
        self.manifests = build_dir.committed(record.fingerprint)
        self.failed = 0
        self.fatal = ""
        self.started = time.monotonic()
        self.seconds_before = sum(manifest.seconds for manifest in self.manifests.values())
        self.in_hand = [0, 0.0]  # streams and seconds of the shard being made in this process

    def sample(self, sample: Sample) -> None:
        self.in_hand[0] += 1
        self.in_hand[1] += sample.plan.samples / c.SAMPLE_RATE
        self._tell()

    def result(self, result: ShardResult) -> None:
        self.in_hand = [0, 0.0]
        if result.manifest is not None:
            self.manifests[result.shard] = result.manifest
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
        self._tell()

    def pulse(self) -> None:
        if self.should_stop():
            raise Interrupted

    def _tell(self) -> None:
        self.pulse()
        if self.on_event is None:
            return
        done = self.manifests.values()
        seconds = sum(manifest.seconds for manifest in done) + self.in_hand[1]
        self.on_event(
            Progress(
                shards_done=len(done),
                shards_total=self.total,
                streams=sum(len(manifest.keys) for manifest in done) + int(self.in_hand[0]),
                hours=seconds / 3600,
                rejected=sum(len(manifest.rejected) for manifest in done),
                quarantined=sum(len(manifest.quarantined) for manifest in done),
                failed=self.failed,
                rate=(seconds - self.seconds_before) / max(time.monotonic() - self.started, 1e-3),
            )
        )
