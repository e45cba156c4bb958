"""The worker of a build: makes one shard, an idempotent task, and hands it to the committer."""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from soundflow.pipeline.build.committers import Committer, DirectoryCommitter
from soundflow.pipeline.build.produce import Producer, Sample
from soundflow.pipeline.clips.table import IndexReference
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import MovedAsideError, check_not_moved_aside, sweep, unfinished_file, write_file
from soundflow.pipeline.corpus.shards import ShardWriter
from soundflow.pipeline.curate.scenes import count_verdicts, pool_of, scenes_of
from soundflow.pipeline.mechanics.memory import keep_freed_memory
from soundflow.pipeline.services.answer_cache import answers_dir
from soundflow.schemas import constants as c
from soundflow.schemas.atomic_file import NO_SPACE, written
from soundflow.schemas.identity import sample_id
from soundflow.schemas.outcome import Failed, Ok, Rejected
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.shard import QuarantineEntry, RejectedSample, ShardManifest

MAX_FAILED_FRACTION: Final = 0.5
"""A shard with a larger fraction of failed samples is not committed: the cause is not the single sample."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a worker needs to make shards of a build. Picklable."""

    out: Path
    clips: IndexReference
    recipe: Recipe
    fingerprint: str
    curators: Mapping[str, str] = field(default_factory=dict)
    """See `schemas.shard.BuildRecord.curators`."""
    answers: Path = field(default_factory=answers_dir)
    """The answer cache, shared by all builds."""
    virtual: bool = False
    """Make shards without audio."""
    committer: Committer = field(default_factory=DirectoryCommitter)

    @property
    def build(self) -> BuildDir:
        """The output directory or, with an object store, this machine's work space."""
        return BuildDir(self.out)


@dataclass(frozen=True, slots=True)
class ShardResult:
    """The outcome of a shard: its manifest, or the error that prevented it."""

    shard: int
    manifest: ShardManifest | None = None
    error: str = ""
    traceback: str = ""
    fatal: bool = False
    """Other shards would fail in the same way, for example because the disk is full."""
    attempts: int = 1


class ShardFailedError(RuntimeError):
    """Too many samples of a shard failed."""


def describe_error(error: Exception) -> str:
    """Return the message of an error, with its type unless it is one of the errors above."""
    is_ours = isinstance(error, (ShardFailedError, MovedAsideError))
    return str(error) if is_ours else f"{type(error).__name__}: {error}"


class Worker:
    """Makes and commits shards of one job. Loads the clip index and the tokenizer once."""

    def __init__(self, job: Job):
        keep_freed_memory()
        self.job, self.build = job, job.build
        self.sizes = job.recipe.shard_sizes()
        self.pool = pool_of(self.build, job.clips.open(), job.recipe)
        scenes = scenes_of(job.recipe, job.fingerprint, self.pool, self.build)
        self.producer = Producer(job.recipe, job.fingerprint, self.pool, scenes, virtual=job.virtual)
        sweep(self.build)  # files of a worker of this machine that was killed

    def run(self, shard: int, on_sample: Callable[[Sample | None], None] | None = None) -> ShardResult:
        """Make and commit a shard. An error becomes a result and leaves nothing that counts.

        `on_sample` receives each sample, or None for one that was rejected or failed.
        """
        try:
            return ShardResult(shard, self._make(shard, on_sample))
        except Exception as error:
            fatal = isinstance(error, MovedAsideError) or (isinstance(error, OSError) and error.errno in NO_SPACE)
            return ShardResult(shard, None, describe_error(error), traceback.format_exc(), fatal)

    def _make(self, shard: int, on_sample: Callable[[Sample | None], None] | None) -> ShardManifest:
        """Make and commit a shard; return the committed manifest, which is another worker's if that was first."""
        with unfinished_file(self.build, f"shard-{shard:06d}") as path:
            made = self._write(shard, path, on_sample)
            check_not_moved_aside(self.build, self.job.fingerprint)
            manifest = self.job.committer.commit(self.build, path, made, self.pool)
        self.build.failure_path(shard).unlink(missing_ok=True)
        self._release_from_quarantine(shard, set(manifest.keys))
        return manifest

    def _write(self, shard: int, path: Path, on_sample: Callable[[Sample | None], None] | None) -> ShardManifest:
        """Write the tar of a shard to `path`; return its manifest."""
        wall, cpu = time.monotonic(), time.process_time()
        keys: list[str] = []
        rejected: list[RejectedSample] = []
        quarantined: dict[str, str] = {}  # sample id → error
        redraws: Counter[str] = Counter()
        tasks: Counter[str] = Counter()
        chunks = responses = 0
        with written(path, durable=True) as stream:
            writer = ShardWriter(stream)
            for index in range(self.sizes[shard]):
                name = sample_id(self.job.fingerprint, shard, index)
                produced = self.producer.produce(shard, index)
                outcome = produced.outcome
                if isinstance(outcome, Ok):
                    plan = outcome.value.plan
                    writer.add(name, outcome.value.members)
                    keys.append(name)
                    tasks[plan.task.value] += 1
                    chunks += plan.chunks
                    responses += len(plan.responses)
                    redraws += produced.redraws
                elif isinstance(outcome, Rejected):
                    rejected.append(RejectedSample(sample_id=name, reason=outcome.reason, attempts=produced.attempts))
                else:
                    quarantined[name] = outcome.error
                    self._quarantine(name, shard, index, outcome)
                if on_sample is not None:
                    on_sample(outcome.value if isinstance(outcome, Ok) else None)
            if len(quarantined) > MAX_FAILED_FRACTION * self.sizes[shard]:
                name, error = next(iter(quarantined.items()))
                count, first = f"{len(quarantined)} of {self.sizes[shard]}", self.build.quarantined / f"{name}.json"
                raise ShardFailedError(f"{count} samples failed, the first with {error} ({first})")
            writer.finish()
        sha256 = writer.sha256()
        sheet = self.build.sheet(shard, self.job.fingerprint) if self.job.recipe.curates else None
        return ShardManifest(
            fingerprint=self.job.fingerprint,
            shard=shard,
            tar=f"shard-{shard:06d}-{sha256[:12]}.tar",
            sha256=sha256,
            bytes=writer.bytes,
            keys=tuple(keys),
            virtual=self.job.virtual,
            planned=self.sizes[shard],
            chunks=chunks,
            responses=responses,
            seconds=chunks * c.CHUNK_SAMPLES / c.SAMPLE_RATE,
            tasks=dict(sorted(tasks.items())),
            redraws=dict(sorted(redraws.items())),
            rejected=tuple(rejected),
            quarantined=tuple(quarantined),
            scenes_sha256=sheet.digest() if sheet is not None else None,
            verdicts=count_verdicts(sheet) if sheet is not None else {},
            cost=sheet.work if sheet is not None else {},
            timings={
                "wall_seconds": round(time.monotonic() - wall, 3),
                "cpu_seconds": round(time.process_time() - cpu, 3),
                "worker": f"{platform.node()}:{os.getpid()}",
                "committed_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
        )

    def _release_from_quarantine(self, shard: int, keys: set[str]) -> None:
        """Remove the entries of samples that failed in an earlier attempt at this shard and are part of it now."""
        if self.build.quarantined.is_dir():
            for path in self.build.quarantined.glob(f"sf-{self.job.fingerprint[:12]}-{shard:06d}-*.json"):
                if path.stem in keys:
                    path.unlink(missing_ok=True)

    def _quarantine(self, name: str, shard: int, index: int, failed: Failed) -> None:
        payload = dict(failed.payload)
        entry = QuarantineEntry(
            sample_id=name,
            fingerprint=self.job.fingerprint,
            shard=shard,
            index=index,
            attempt=int(payload.pop("attempt", 0)),
            stage=failed.stage,
            error=failed.error,
            traceback=str(payload.pop("traceback", "")),
            payload=payload,
        )
        write_file(self.build, self.build.quarantined / f"{name}.json", entry.canonical_json())
