"""`soundflow verify`: check every committed shard against its manifest, and its samples against what they are derived from.

A matching hash is not enough: `pipeline.check.sample` derives the contents of each sample again. Findings are listed, not raised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from soundflow.pipeline.build.produce import Producer
from soundflow.pipeline.build.virtual import Samples
from soundflow.pipeline.check.records import (
    build_problem,
    folder_problems,
    missing_problem,
    quarantine_finding,
    record_problems,
    side_record_problems,
)
from soundflow.pipeline.check.sample import SampleChecker
from soundflow.pipeline.check.sheet import sheet_problems
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.pipeline.corpus.build_dir import BuildDir, number_of
from soundflow.pipeline.corpus.committed import check_hash, check_manifest, check_size, rebuild_remedy
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.curate.scenes import pool_of, scenes_of
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.identity import sample_id
from soundflow.schemas.outcome import Ok
from soundflow.schemas.shard import BuildRecord, Problem, ShardManifest, VerifyReport
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.ustar import ShardError


def verify(directory: str | Path, sample: int = 0, seed: int = 0) -> VerifyReport:
    """Check every committed shard of a build, and the files beside them.

    `sample`: number of samples, drawn with `seed`, to make again and compare byte for byte. Raises InputError when `directory`
    is not a build. Everything else that is wrong is a finding, with its file and what repairs it.
    """
    build = BuildDir(Path(directory))
    record, problems = record_problems(build)
    remedy = rebuild_remedy(build, record if not problems else None)
    problems += folder_problems(build, remedy)
    problems += side_record_problems(build, remedy)
    checker = _ShardChecker(build, record, remedy, problems)
    manifests: list[ShardManifest] = []
    paths = build.manifest_paths()
    for path in paths:
        manifest = checker.check(path)
        manifests += [manifest] if manifest is not None else []
    committed = {number_of(path.name) for path in paths}
    missing = [shard for shard in range(len(checker.sizes)) if shard not in committed]
    if missing and record is not None:
        problems.append(missing_problem(build, missing, len(checker.sizes), record))
    if checker.whole is not None and checker.whole.store is not None:
        for error in checker.whole.store.check():
            problems.append(_clips_problem(build, error))
    if sample:
        problems += checker.make_again(manifests, sample, seed)
    streams = sum(len(manifest.keys) for manifest in manifests)
    return VerifyReport(ok=not problems, shards=len(paths), streams=streams, missing=tuple(missing), problems=tuple(problems))


def _clips_problem(build: BuildDir, error: InputError) -> Problem:
    """Return the finding about the clips of a build, in its clip store or in its clip index."""
    file = Path(str(error.file))
    name = str(file.relative_to(build.root)) if file.is_relative_to(build.root) else str(file)
    return build_problem("clips", str(error), name, error.remedy)


class _ShardChecker:
    """Checks shards, with as much of the build as can be opened. `record` None: build.json is damaged."""

    def __init__(self, build: BuildDir, record: BuildRecord | None, remedy: str, problems: list[Problem]):
        """Adds to `problems` what cannot be opened."""
        self.build, self.record, self.remedy, self.problems = build, record, remedy, problems
        self.sizes: list[int] = []
        self.whole: Samples | None = None
        self.producer: Producer | None = None
        self.samples: SampleChecker | None = None
        if record is None:
            return
        self.sizes = record.recipe.shard_sizes()
        pool, scenes = None, None
        try:
            index = ClipIndex.open(Path(record.clips))
            index.require(record.clip_index_hash)
            index.check_rows()
            pool = pool_of(build, index, record.recipe)
            scenes = scenes_of(record.recipe, record.fingerprint, pool, build)
            self.producer = Producer(record.recipe, record.fingerprint, pool, scenes)
        except InputError as error:
            problems.append(_clips_problem(build, error))
        try:
            self.whole = Samples(build, record)
        except InputError as error:
            problems.append(_clips_problem(build, error))
        self.samples = SampleChecker(record, pool, scenes, self.whole.store if self.whole is not None else None)

    def check(self, path: Path) -> ShardManifest | None:
        """Check one shard by the path of its manifest. Return the manifest, or None if it does not belong to this build."""
        manifest, found = check_manifest(self.build, self.record, path)
        shard = number_of(path.name)
        name = str(path.relative_to(self.build.root))
        self.problems += (self._problem(shard, check, detail, name) for check, detail in found)
        if manifest is None:
            return None
        name = f"{self.build.data.name}/{manifest.tar}"
        is_whole = True
        for check in (check_size, check_hash):
            found = list(check(self.build, manifest)) if is_whole else []
            self.problems += (self._problem(shard, slug, detail, name) for slug, detail in found)
            is_whole = is_whole and all(slug not in ("truncated", "missing_tar") for slug, _ in found)
        if is_whole and self.record is not None:  # otherwise its content cannot be what was committed
            try:
                self.problems += self._content(manifest, name)
            except Exception as error:  # verify lists what it finds, whatever the bytes are
                detail = f"cannot be checked: {type(error).__name__}: {error}"
                self.problems.append(self._problem(shard, "members", detail, name))
        return manifest

    def _problem(self, shard: int, check: str, detail: str, file: str, key: str = "") -> Problem:
        return Problem(shard=shard, key=key, check=check, detail=detail, file=file, remedy=self.remedy)

    def _content(self, manifest: ShardManifest, name: str) -> Iterator[Problem]:
        """Yield what is wrong with the samples of a shard, its counts and its scenes."""
        assert self.record is not None and self.samples is not None
        shard, plans, keys = manifest.shard, list[StreamPlan](), list[str]()
        try:
            for key, members in read_shard(self.build.data / manifest.tar):
                keys.append(key)
                plan, findings = self.samples.check(key, members, shard)
                yield from (self._problem(shard, check, detail, name, key) for check, detail in findings)
                plans += [plan] if plan is not None else []
        except ShardError as error:
            yield self._problem(shard, "truncated" if "truncated" in error.why else "members", error.why, name)
        manifest_name = f"{self.build.manifest.name}/{shard:06d}.json"
        for detail in self._counts(manifest, keys, plans):
            yield self._problem(shard, "manifest", detail, manifest_name)
        for detail in quarantine_finding(self.build, manifest):
            yield self._problem(shard, "quarantine", detail, self.build.quarantined.name)
        if self.record.recipe.curates:
            for detail in sheet_problems(self.build, self.record, manifest):
                yield self._problem(shard, "scenes", detail, f"{self.build.scenes.name}/{shard:06d}.json")

    def _counts(self, manifest: ShardManifest, keys: list[str], plans: list[StreamPlan]) -> Iterator[str]:
        if tuple(keys) != manifest.keys:
            missing, extra = sorted(set(manifest.keys) - set(keys)), sorted(set(keys) - set(manifest.keys))
            yield f"keys differ: missing in the tar: {missing[:3]}, missing in the manifest: {extra[:3]}"
        listed = [*manifest.keys, *(entry.sample_id for entry in manifest.rejected), *manifest.quarantined]
        planned = [sample_id(manifest.fingerprint, manifest.shard, number) for number in range(self.sizes[manifest.shard])]
        if sorted(listed) != planned or manifest.planned != len(planned):
            yield f"lists {len(set(listed) & set(planned))} of {len(planned)} planned samples"
        if len(plans) == len(manifest.keys):
            counted = {
                "chunks": sum(plan.chunks for plan in plans),
                "responses": sum(len(plan.responses) for plan in plans),
                "seconds": sum(plan.chunks for plan in plans) * c.CHUNK_SAMPLES / c.SAMPLE_RATE,
                "tasks": dict(Counter(plan.task.value for plan in plans)),
            }
            for name, value in counted.items():
                if getattr(manifest, name) != value:
                    yield f"{name} is {getattr(manifest, name)} in the manifest, {value} in the tar"

    def make_again(self, manifests: list[ShardManifest], sample: int, seed: int) -> Iterator[Problem]:
        """Draw `sample` committed samples, plan and render them again, and compare all members."""
        if self.record is None or self.producer is None or self.whole is None:
            yield build_problem("render", "no sample can be made again: the clip index is missing or has changed")
            return
        places: list[tuple[ShardManifest, int, str]] = []
        for manifest in manifests:
            committed = set(manifest.keys)
            planned = range(self.sizes[manifest.shard]) if manifest.shard < len(self.sizes) else ()
            for number in planned:
                key = sample_id(self.record.fingerprint, manifest.shard, number)
                places += [(manifest, number, key)] if key in committed else []
        drawn = np.random.Generator(np.random.PCG64(seed)).permutation(len(places))[:sample]
        for manifest, number, key in (places[place] for place in sorted(drawn)):
            try:
                stored = self.whole.find(manifest, key)
            except InputError:
                continue  # reported by the checks of the shard
            made = self.producer.produce(manifest.shard, number).outcome
            name = f"{self.build.data.name}/{manifest.tar}"
            if not isinstance(made, Ok):
                yield self._problem(manifest.shard, "render", f"making it again gives {made}", name, key)
                continue
            differing = [suffix for suffix, content in made.value.members.items() if stored.get(suffix) != content]
            if differing:
                detail = f"making it again gives other bytes for {', '.join(differing)}"
                yield self._problem(manifest.shard, "render", detail, name, key)
