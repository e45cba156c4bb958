"""`soundflow diff`: compare two corpora stream by stream by their plans, which determine audio and tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.committed import CommittedSamples, committed_shards
from soundflow.pipeline.corpus.open_build import differences
from soundflow.schemas.identity import parse_sample_id
from soundflow.schemas.shard import ShardManifest
from soundflow.schemas.text import counted

EXAMPLES: Final = 8
IGNORED_FIELDS: Final = frozenset({"sample_id", "fingerprint"})
"""Fields of a plan that differ in every stream if the fingerprints differ."""


@dataclass(slots=True)
class Differences:
    """The differences between two corpora, A and B."""

    recipes: list[str] = field(default_factory=list)
    """Differing fields of the recipes and versions, as `field: A -> B`."""
    same: int = 0
    """Number of streams with equal plans."""
    different: int = 0
    only_in_a: int = 0
    only_in_b: int = 0
    fields: dict[str, int] = field(default_factory=dict)
    """Field of the plan → number of streams in which it differs."""
    examples: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether both corpora have the same streams."""
        return not (self.different or self.only_in_a or self.only_in_b)

    def to_json(self) -> dict[str, Any]:
        """Return the document for `--json`."""
        return asdict(self) | {"equal": self.equal}

    def lines(self) -> list[str]:
        """Return the differences as lines of text."""
        recipes = [f"recipe: {line}" for line in self.recipes]
        fields = [f"field {name}: different in {counted(count, 'stream')}" for name, count in self.fields.items()]
        only = f"{self.only_in_a} only in A, {self.only_in_b} only in B"
        return [*recipes, *fields, *self.examples, f"streams: {self.same} equal, {self.different} different, {only}"]


def diff(a: Path, b: Path) -> Differences:
    """Compare the committed streams of two builds by shard and index. The hashes of all tars are verified.

    Raises InputError if `a` or `b` is not a build directory, and ShardError if a shard is damaged.
    """
    builds = [BuildDir(directory) for directory in (a, b)]
    records = [build.record() for build in builds]
    samples = [CommittedSamples(build, record) for build, record in zip(builds, records, strict=True)]
    manifests = [
        {manifest.shard: manifest for manifest in committed_shards(build, record)}
        for build, record in zip(builds, records, strict=True)
    ]
    found = Differences(recipes=differences(*records))
    counts: Counter[str] = Counter()
    for shard in sorted(manifests[0].keys() | manifests[1].keys()):
        ours, theirs = (there.get(shard) for there in manifests)
        for reader, manifest in zip(samples, (ours, theirs), strict=True):
            if manifest is not None:
                reader.verify(manifest)
        if ours is not None and theirs is not None and ours.sha256 == theirs.sha256:
            found.same += len(ours.keys)
            continue
        plans = [
            dict(_plans(reader, manifest)) if manifest is not None else {}
            for reader, manifest in zip(samples, (ours, theirs), strict=True)
        ]
        found.only_in_a += len(plans[0].keys() - plans[1].keys())
        found.only_in_b += len(plans[1].keys() - plans[0].keys())
        for index in sorted(plans[0].keys() & plans[1].keys()):
            one, other = plans[0][index], plans[1][index]
            names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
            found.same += not names
            found.different += bool(names)
            counts.update(names)
            if names and len(found.examples) < EXAMPLES:
                found.examples.append(f"shard {shard}, stream {index}: {', '.join(names)}")
    found.fields = dict(counts.most_common())
    return found


def _plans(samples: CommittedSamples, manifest: ShardManifest) -> Iterator[tuple[int, dict[str, Any]]]:
    for key, members in samples.read(manifest, ("json",), verify=False):
        plan = samples.document(manifest, key, members)
        yield parse_sample_id(key)[2], {name: value for name, value in plan.items() if name not in IGNORED_FIELDS}
