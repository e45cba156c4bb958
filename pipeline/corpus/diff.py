"""`soundflow diff`: two corpora compared by their plans, stream by stream; audio and tokens follow from those."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.open_build import differences
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.schemas.identity import parse_sample_id

EXAMPLES: Final = 8
OF_THE_BUILD: Final = frozenset({"sample_id", "fingerprint"})
"""Of a plan what another recipe changes in every stream."""


@dataclass(slots=True)
class Differences:
    """What two corpora do not have in common."""

    recipes: list[str] = field(default_factory=list)
    """What of recipe and versions differs: `field: A -> B`."""
    same: int = 0
    """Streams with the same plan."""
    different: int = 0
    only_in_a: int = 0
    only_in_b: int = 0
    fields: dict[str, int] = field(default_factory=dict)
    """Fields of the plans that differ → in how many streams."""
    examples: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Every stream is there twice."""
        return not (self.different or self.only_in_a or self.only_in_b)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {"equal": self.equal}

    def lines(self) -> list[str]:
        """For people."""
        told = [f"recipe: {line}" for line in self.recipes]
        told += [f"in {count} streams: {name}" for name, count in self.fields.items()] + self.examples
        only = f"{self.only_in_a} only in A, {self.only_in_b} only in B"
        return [*told, f"{self.same} streams the same, {self.different} different, {only}"]


def diff(a: Path, b: Path) -> Differences:
    """Compare the committed streams of two builds by shard and number. Shards of equal hash are not opened.

    Raises InputError when one is no build.
    """
    builds = [BuildDir(directory) for directory in (a, b)]
    records = [build.record() for build in builds]
    manifests = [build.committed(record.fingerprint) for build, record in zip(builds, records, strict=True)]
    found = Differences(recipes=differences(*records))
    counts: Counter[str] = Counter()
    for shard in sorted(manifests[0].keys() | manifests[1].keys()):
        ours, theirs = (there.get(shard) for there in manifests)
        if ours is not None and theirs is not None and ours.sha256 == theirs.sha256:
            found.same += len(ours.keys)
            continue
        plans = [
            dict(_plans(build, manifest.tar)) if manifest is not None else {}
            for build, manifest in zip(builds, (ours, theirs), strict=True)
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


def _plans(build: BuildDir, tar: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for key, members in read_shard(build.data / tar, only=("json",)):
        plan = json.loads(members["json"])
        yield parse_sample_id(key)[2], {name: value for name, value in plan.items() if name not in OF_THE_BUILD}
