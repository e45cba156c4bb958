"""Where the scenes of a build come from: drawn from the sample's identity, or read from the sheet that curation committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, Protocol

from operators.clips import ClipPool, Palette
from operators.planning import plan_scene
from pipeline.build_dir import BuildDir
from pipeline.clip_table import ClipIndex
from pipeline.made_clips import MadeClips, PoolWithMade
from schemas.base import InputError
from schemas.identity import rng_for
from schemas.outcome import Failed, Ok, Outcome, Rejected
from schemas.recipe import Recipe
from schemas.scene import Scene
from schemas.sheet import CuratedSample, Curation, SceneSheet

EMBEDDER: Final = "embedder"
"""Its name among `BuildRecord.curators`."""


ATTEMPTS: Final = 4
"""Scenes per sample: one that was rejected is replaced, a sample whose every scene was rejected is listed."""


class SceneSource(Protocol):
    """Gives the scene of an attempt; asks no model."""

    def attempts(self, shard: int, index: int) -> int:
        """How many attempts sample `index` of `shard` has, at least 1."""
        ...

    def scene(self, shard: int, index: int, attempt: int) -> Outcome[Scene]:
        """The scene of sample `index` of `shard` at its `attempt`; Rejected or Failed when that has none."""
        ...


class DrawnScenes:
    """Planners without a model: a scene is a function of recipe, clips and identity."""

    def __init__(self, recipe: Recipe, fingerprint: str, pool: ClipPool):
        self.recipe, self.fingerprint, self.pool = recipe, fingerprint, pool
        self.palette = Palette.of(pool, recipe.split)

    def attempts(self, shard: int, index: int) -> int:
        """See `SceneSource.attempts`."""
        return ATTEMPTS

    def scene(self, shard: int, index: int, attempt: int) -> Outcome[Scene]:
        """See `SceneSource.scene`."""
        rng = rng_for(self.fingerprint, shard, index, "scene", attempt)
        return plan_scene(self.recipe, self.palette, self.pool, rng)


class CuratedScenes:
    """Scenes of committed sheets; the attempts are curation's, and only the last of them may have a scene."""

    def __init__(self, build: BuildDir, fingerprint: str):
        self.build, self.fingerprint = build, fingerprint
        self._sheet: SceneSheet | None = None

    def sheet(self, shard: int) -> SceneSheet:
        """The sheet of a shard; InputError when there is none that counts."""
        if self._sheet is None or self._sheet.shard != shard:
            self._sheet = self.build.sheet(shard, self.fingerprint)
        if self._sheet is None:
            remedy = "Run `soundflow build` again: the answers are in the cache, nothing is asked twice"
            raise InputError("is not there, or damaged", file=self.build.sheet_path(shard), remedy=remedy)
        return self._sheet

    def attempts(self, shard: int, index: int) -> int:
        """See `SceneSource.attempts`."""
        sample = self.sheet(shard).samples[index]
        return len(sample.curations) + bool(sample.failed)

    def scene(self, shard: int, index: int, attempt: int) -> Outcome[Scene]:
        """See `SceneSource.scene`."""
        sample = self.sheet(shard).samples[index]
        if sample.failed and attempt == len(sample.curations):
            return Failed(sample.failed, "curation", dict(sample.payload))
        curation = sample.curations[attempt]
        return Ok(curation.scene) if curation.scene is not None else Rejected(curation.refused, {"detail": curation.detail})


def scenes_of(recipe: Recipe, fingerprint: str, pool: ClipPool, build: BuildDir) -> SceneSource:
    """Where the scenes of a recipe come from."""
    return CuratedScenes(build, fingerprint) if recipe.curates else DrawnScenes(recipe, fingerprint, pool)


def pool_of(build: BuildDir, index: ClipIndex) -> PoolWithMade:
    """The clips of an index and those made during the build."""
    return PoolWithMade(index, MadeClips(build, index.footer.config))


def verdicts(sheet: SceneSheet) -> dict[str, int]:
    """What became of the events and candidates of a sheet, counted: the funnel of a report.

    `events`, of them `retrieved@1` … `generated`, `left_out`, and `reprocessed` (of those that are played); `refused:<reason>`
    counts candidates, `own_words:<reason>` answers of the model that are not said, `scenes`, `refused_scene:<reason>` attempts.
    """
    counts: Counter[str] = Counter()
    for curation in _curations(sheet.samples):
        counts["scenes" if curation.scene is not None else f"refused_scene:{curation.refused}"] += 1
        for event in curation.events:
            counts.update(["events", event.how, *(["reprocessed"] if event.reprocessed else [])])
            counts.update(f"refused:{tried.refused}" for tried in event.tried if tried.refused)
            if event.wording:
                counts[f"own_words:{event.wording}"] += 1
    return dict(sorted(counts.items()))


def _curations(samples: tuple[CuratedSample, ...]) -> Iterator[Curation]:
    return (curation for sample in samples for curation in sample.curations)
