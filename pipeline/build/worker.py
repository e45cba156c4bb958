"""One shard is one idempotent task: make its samples, write the tar, commit."""

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

from soundflow.schemas.atomic_file import NO_SPACE
from soundflow.pipeline.services.answer_cache import answers_dir
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.pipeline.corpus.commit import commit, put, sweep, unfinished_file
from soundflow.pipeline.mechanics.memory import keep_freed_memory
from soundflow.pipeline.build.object_store import ObjectStore
from soundflow.pipeline.build.produce import Producer, Sample
from soundflow.pipeline.curate.scenes import pool_of, scenes_of, verdicts
from soundflow.pipeline.corpus.shards import ShardWriter
from soundflow.pipeline.build.store_beside import Beside
from soundflow.schemas import constants as c
from soundflow.schemas.identity import sample_id
from soundflow.schemas.outcome import Failed, Ok, Rejected
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.shard import QuarantineEntry, RejectedSample, ShardManifest

MOSTLY_BROKEN: Final = 0.5
"""A shard of which a larger share broke is not committed: something else is wrong than a sample."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to know; pickles."""

    out: Path
    clips: Path
    recipe: Recipe
    fingerprint: str
    curators: Mapping[str, str] = field(default_factory=dict)
    """See `schemas.shard.BuildRecord.curators`."""
    answers: Path = field(default_factory=answers_dir)
    """The answers that all builds share."""
    virtual: bool = False
    """Shards without audio."""
    store: ObjectStore | None = None
    """Where shards are committed; `out` is then only this machine's work space."""

    @property
    def build(self) -> BuildDir:
        """The output directory."""
        return BuildDir(self.out)


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What became of a shard: its manifest, or why there is none."""

    shard: int
    manifest: ShardManifest | None = None
    error: str = ""
    traceback: str = ""
    fatal: bool = False
    """No other shard will fare better: the disk is full, or a machine has no clip index."""
    attempts: int = 1


class ShardBrokenError(RuntimeError):
    """Too many samples of a shard broke."""


class MovedAsideError(RuntimeError):
    """The directory holds another build by now."""


class Worker:
    """Makes shards of one job; loads index and tokenizer once."""

    def __init__(self, job: Job):
        keep_freed_memory()
        self.job, self.build = job, job.build
        self.sizes = job.recipe.shard_sizes()
        pool = pool_of(self.build, ClipIndex.open(job.clips))
        scenes = scenes_of(job.recipe, job.fingerprint, pool, self.build)
        self.producer = Producer(job.recipe, job.fingerprint, pool, scenes, virtual=job.virtual)
        self.beside = Beside(job.store, self.build, pool) if job.store is not None else None
        sweep(self.build)  # after a worker of this machine that was killed

    def run(self, shard: int, on_sample: Callable[[Sample | None], None] | None = None) -> ShardResult:
        """Make and commit a shard; an error becomes a result, nothing half-written is left to count."""
        try:
            return ShardResult(shard, self._make(shard, on_sample))
        except Exception as error:
            fatal = isinstance(error, MovedAsideError) or (isinstance(error, OSError) and error.errno in NO_SPACE)
            return ShardResult(shard, None, f"{type(error).__name__}: {error}", traceback.format_exc(), fatal)

    def _make(self, shard: int, on_sample: Callable[[Sample | None], None] | None) -> ShardManifest:
        wall, cpu = time.monotonic(), time.process_time()
        keys: list[str] = []
        rejected: list[RejectedSample] = []
        quarantined: list[str] = []
        redraws: Counter[str] = Counter()
        tasks: Counter[str] = Counter()
        chunks = responses = 0
        with unfinished_file(self.build, f"shard-{shard:06d}") as (stream, path):
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
                    quarantined.append(name)
                    self._quarantine(name, shard, index, outcome)
                if on_sample is not None:
                    on_sample(outcome.value if isinstance(outcome, Ok) else None)
            if len(quarantined) > MOSTLY_BROKEN * self.sizes[shard]:
                first = f"{self.build.quarantined / quarantined[0]}.json"
                raise ShardBrokenError(f"{len(quarantined)} of {self.sizes[shard]} samples broke; see {first}")
            writer.finish()
        sha256 = writer.sha256()
        sheet = self.build.sheet(shard, self.job.fingerprint) if self.job.recipe.curates else None
        manifest = ShardManifest(
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
            verdicts=verdicts(sheet) if sheet is not None else {},
            cost=sheet.work if sheet is not None else {},
            timings={
                "wall_seconds": round(time.monotonic() - wall, 3),
                "cpu_seconds": round(time.process_time() - cpu, 3),
                "worker": f"{platform.node()}:{os.getpid()}",
                "committed_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
        )
        self._still_here()
        commit(self.build, path, manifest)
        if self.beside is not None:
            self.beside.put(manifest)
            self.beside.store.commit(self.build, manifest)
            (self.build.data / manifest.tar).unlink()
            self.build.manifest_path(shard).unlink()
        self.build.failure_path(shard).unlink(missing_ok=True)
        self._forget_mended(shard, set(keys))
        return manifest

    def _still_here(self) -> None:
        """A build that was moved aside with --fresh, unseen since no shard was being written, puts nothing into the new one."""
        if self.build.record_path.exists() and self.build.record().fingerprint != self.job.fingerprint:
            raise MovedAsideError(f"{self.build.root} holds another build by now; this one was moved aside with --fresh")

    def _forget_mended(self, shard: int, keys: set[str]) -> None:
        """Samples that broke in an earlier attempt at this shard and are in it now are no longer quarantined."""
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
        put(self.build, self.build.quarantined / f"{name}.json", entry.canonical_json())
