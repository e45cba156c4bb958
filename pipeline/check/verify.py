"""`soundflow verify`: check every committed shard against its manifest, and its samples against what they are derived from.

A matching hash is not enough: `pipeline.check.sample` derives the contents of each sample again. Findings are listed, not raised.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from soundflow.pipeline.build.produce import Producer
from soundflow.pipeline.build.virtual import Samples
from soundflow.pipeline.check.sample import SampleChecker
from soundflow.pipeline.check.sheet import sheet_problems
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import ShardError, read_shard
from soundflow.pipeline.curate.scenes import pool_of, scenes_of
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.identity import sample_id
from soundflow.schemas.outcome import Ok
from soundflow.schemas.recipe import fingerprint
from soundflow.schemas.shard import BuildRecord, Problem, ShardManifest, VerifyReport
from soundflow.schemas.stream import StreamPlan


def verify(directory: str | Path, sample: int = 0, seed: int = 0) -> VerifyReport:
    """Check every committed shard of a build.

    `sample`: number of samples, drawn with `seed`, to make again and compare byte for byte. Raises InputError when `directory`
    is not a build.
    """
    build = BuildDir(Path(directory))
    record = build.record()
    problems = list(_record_problems(record))
    index = _index(record, problems)
    pool = pool_of(build, index, record.recipe) if index is not None else None
    scenes = scenes_of(record.recipe, record.fingerprint, pool, build) if pool is not None else None
    whole = _samples(build, record, problems)
    store = whole.store if whole is not None else None
    checker = _ShardChecker(build, record, SampleChecker(record, pool, scenes, store))
    manifests: list[ShardManifest] = []
    paths = build.manifest_paths()
    for path in paths:
        try:
            manifest = ShardManifest.from_json(path.read_bytes(), file=path)
        except (InputError, OSError) as error:
            problems.append(Problem(shard=_number(path), key="", check="manifest", detail=str(error)))
            continue
        problems += checker.check(path, manifest)
        manifests.append(manifest)
    if store is not None:
        problems += (Problem(shard=-1, key="", check="clips", detail=detail) for detail in store.check())
    if sample and pool is not None and scenes is not None and whole is not None:
        producer = Producer(record.recipe, record.fingerprint, pool, scenes)
        problems += _make_again(whole, record, producer, manifests, sample, seed)
    elif sample:
        problems.append(
            Problem(
                shard=-1, key="", check="render", detail="no sample can be made again: the clip index is missing or has changed"
            )
        )
    streams = sum(len(manifest.keys) for manifest in manifests)
    return VerifyReport(ok=not problems, shards=len(paths), streams=streams, problems=tuple(problems))


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdecimal() else -1


def _samples(build: BuildDir, record: BuildRecord, problems: list[Problem]) -> Samples | None:
    try:
        return Samples(build, record)
    except InputError as error:
        problems.append(Problem(shard=-1, key="", check="clips", detail=str(error)))
        return None


def _index(record: BuildRecord, problems: list[Problem]) -> ClipIndex | None:
    try:
        index = ClipIndex.open(Path(record.clips))
    except InputError as error:
        problems.append(Problem(shard=-1, key="", check="clips", detail=str(error)))
        return None
    if index.content_hash != record.clip_index_hash:
        detail = f"the clip index at {record.clips} has changed since the build. Restore the one that the build was made from"
        problems.append(Problem(shard=-1, key="", check="clips", detail=detail))
        return None
    return index


def _record_problems(record: BuildRecord) -> Iterator[Problem]:
    derived = fingerprint(record.recipe, record.clip_index_hash, record.prompt_hash, record.operator_versions, record.curators)
    if derived != record.fingerprint:
        detail = f"the fingerprint in build.json is {record.fingerprint[:12]}, its recipe and versions give {derived[:12]}"
        yield Problem(shard=-1, key="", check="fingerprint", detail=detail)


class _ShardChecker:
    def __init__(self, build: BuildDir, record: BuildRecord, samples: SampleChecker):
        self.build, self.record, self.samples = build, record, samples
        self.sizes = record.recipe.shard_sizes()

    def check(self, path: Path, manifest: ShardManifest) -> Iterator[Problem]:
        """Yield the problems of one shard."""

        def problem(check: str, detail: str, key: str = "") -> Problem:
            return Problem(shard=_number(path), key=key, check=check, detail=detail)

        if manifest.fingerprint != self.record.fingerprint:
            found, expected = manifest.fingerprint[:12], self.record.fingerprint[:12]
            yield problem("fingerprint", f"the manifest has fingerprint {found}, the build {expected}")
        if manifest.virtual != self.record.virtual:
            yield problem("manifest", f"virtual is {manifest.virtual}, expected {self.record.virtual} from build.json")
        if path.name != f"{manifest.shard:06d}.json" or manifest.shard >= len(self.sizes):
            yield problem("manifest", f"{path.name} has shard number {manifest.shard}; the build has {len(self.sizes)} shards")
            return
        name = f"shard-{manifest.shard:06d}-{manifest.sha256[:12]}.tar"
        if manifest.tar != name:
            yield problem("manifest", f"tar is {manifest.tar!r}, expected {name!r} from shard and sha256")
        tar = self.build.data / manifest.tar
        try:
            with tar.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = tar.stat().st_size
        except OSError as error:
            yield problem("truncated", f"{tar.name} cannot be read: {error.strerror}")
            return
        if size != manifest.bytes:
            yield problem("truncated", f"{tar.name} has {size} bytes, expected {manifest.bytes} from the manifest")
        if digest != manifest.sha256:
            yield problem("sha256", f"{tar.name} has hash {digest[:12]}, expected {manifest.sha256[:12]} from the manifest")
        plans: list[StreamPlan] = []
        keys: list[str] = []
        try:
            for key, members in read_shard(tar):
                keys.append(key)
                plan, findings = self.samples.check(key, members, manifest.shard)
                yield from (problem(check, detail, key) for check, detail in findings)
                plans += [plan] if plan is not None else []
        except (ShardError, OSError) as error:
            check = "truncated" if "truncated" in str(error) else "members"
            yield problem(check, f"{tar.name}: {error}")
        for detail in self._counts(manifest, keys, plans):
            yield problem("manifest", detail)
        if self.record.recipe.curates:
            for detail in sheet_problems(self.build, self.record, manifest):
                yield problem("scenes", detail)

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


def _make_again(
    whole: Samples, record: BuildRecord, producer: Producer, manifests: list[ShardManifest], sample: int, seed: int
) -> Iterator[Problem]:
    """Draw `sample` committed samples, plan and render them again, and compare all members."""
    sizes = record.recipe.shard_sizes()
    places: list[tuple[ShardManifest, int, str]] = []
    for manifest in manifests:
        committed = set(manifest.keys)
        planned = range(sizes[manifest.shard]) if manifest.shard < len(sizes) else ()
        for number in planned:
            key = sample_id(record.fingerprint, manifest.shard, number)
            places += [(manifest, number, key)] if key in committed else []
    drawn = np.random.Generator(np.random.PCG64(seed)).permutation(len(places))[:sample]
    for manifest, number, key in (places[place] for place in sorted(drawn)):
        try:
            stored = whole.find(manifest, key)
        except (ShardError, OSError, InputError):
            continue  # reported by the checks of the shard
        made = producer.produce(manifest.shard, number).outcome
        if not isinstance(made, Ok):
            yield Problem(shard=manifest.shard, key=key, check="render", detail=f"making it again gives {made}")
            continue
        differing = [name for name, content in made.value.members.items() if stored.get(name) != content]
        if differing:
            detail = f"making it again gives other bytes for {', '.join(differing)}"
            yield Problem(shard=manifest.shard, key=key, check="render", detail=detail)
