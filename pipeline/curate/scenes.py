"""The scenes of a build: drawn from the identity of the sample, or read from the scene sheet that curation has committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, Protocol

from soundflow.operators.compose.clips import ClipPool, Palette, licensed_pool
from soundflow.operators.compose.quota import ClipQuota
from soundflow.operators.curate.planning import plan_scene
from soundflow.pipeline.clips.splits import split_of_stream, split_pools
from soundflow.pipeline.clips.table import ClipIndex
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.curate.made_clips import MadeClips, PoolWithMade
from soundflow.schemas.base import InputError
from soundflow.schemas.decision import DecisionRules
from soundflow.schemas.identity import rng_for
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.scene import Draw, Scene
from soundflow.schemas.sheet import CuratedSample, Curation, SceneSheet
from soundflow.schemas.stream import StreamPlan

SPLIT: Final = "split"
"""Name of the split among the draws of a plan."""
EMBEDDER: Final = "embedder"
"""Name of the embedder in `BuildRecord.curators`."""
ATTEMPTS: Final = 4
"""Scenes per sample. A rejected scene is replaced; a sample whose scenes are all rejected is listed as rejected."""


class SceneSource(Protocol):
    """The scenes of samples, by attempt. Calls no model."""

    def attempts(self, shard: int, index: int) -> int:
        """Return the number of attempts, at least 1, of sample `index` of `shard`."""
        ...

    def scene(self, shard: int, index: int, attempt: int) -> Outcome[Scene]:
        """Return the scene of an attempt at sample `index` of `shard`, or Rejected or Failed."""
        ...

    def pool(self, shard: int, index: int) -> ClipPool:
        """Return the clips that sample `index` of `shard` may contain."""
        ...


class DrawnScenes:
    """Scenes of planners without a model: a function of recipe, clips and identity."""

    def __init__(self, recipe: Recipe, fingerprint: str, pool: ClipPool):
        self.recipe, self.fingerprint = recipe, fingerprint
        self.pools = split_pools(recipe, pool)
        self.palettes = {split: Palette.of_recipe(own, recipe) for split, own in self.pools.items()}
        own_briefs = (brief for brief in pool.briefs() if recipe.split is None or brief.split == recipe.split)
        self.quota = ClipQuota(own_briefs, recipe) if recipe.max_clip_uses is not None else None
        self._of_stream: tuple[int, Palette] | None = None

    def attempts(self, shard: int, index: int) -> int:
        """See `SceneSource.attempts`."""
        return ATTEMPTS

    def scene(self, shard: int, index: int, attempt: int) -> Outcome[Scene]:
        """See `SceneSource.scene`."""
        rng = rng_for(self.fingerprint, shard, index, "scene", attempt)
        split = self._split(shard, index)
        planned = plan_scene(self.recipe, self._palette(split, shard, index), self.pools[split], rng)
        if not split or not isinstance(planned, Ok):
            return planned
        draws = (Draw(what=SPLIT, value=split), *planned.value.draws)
        return Ok(planned.value.model_copy(update={"draws": draws}))

    def pool(self, shard: int, index: int) -> ClipPool:
        """See `SceneSource.pool`."""
        return self.pools[self._split(shard, index)]

    def _palette(self, split: str, shard: int, index: int) -> Palette:
        """Return the clips that a stream may contain as events."""
        if self.quota is None:
            return self.palettes[split]
        number = self.recipe.stream_number(shard, index)
        if self._of_stream is None or self._of_stream[0] != number:
            use_rejected = self.recipe.rejected_transcripts == "use"
            briefs, longest = self.quota.briefs(number), self.recipe.scene.longest_clip
            self._of_stream = number, Palette.of_briefs(briefs, longest, use_rejected=use_rejected)
        return self._of_stream[1]

    def _split(self, shard: int, index: int) -> str:
        splits = self.recipe.splits
        return split_of_stream(self.fingerprint, shard, index, splits) if splits else ""


class CuratedScenes:
    """Scenes of committed sheets. The attempts are those of curation, of which only the last can have a scene."""

    def __init__(self, build: BuildDir, fingerprint: str, pool: ClipPool):
        self.build, self.fingerprint, self._pool = build, fingerprint, pool
        self._sheet: SceneSheet | None = None

    def sheet(self, shard: int) -> SceneSheet:
        """Return the sheet of a shard; raises InputError if it is missing or damaged."""
        if self._sheet is None or self._sheet.shard != shard:
            self._sheet = self.build.sheet(shard, self.fingerprint)
        if self._sheet is None:
            remedy = "Run the same `soundflow build` again to restore it from cached answers"
            raise InputError("the scene sheet is missing or damaged", file=self.build.sheet_path(shard), remedy=remedy)
        return self._sheet

    def pool(self, shard: int, index: int) -> ClipPool:
        """See `SceneSource.pool`."""
        return self._pool

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


def split_of(plan: StreamPlan) -> str:
    """Return the split of a stream; `train` in a corpus without splits."""
    return next((str(draw.value) for draw in plan.draws if draw.what == SPLIT), "train")


def scenes_of(recipe: Recipe, fingerprint: str, pool: ClipPool, build: BuildDir) -> SceneSource:
    """Return the source of a recipe's scenes."""
    return CuratedScenes(build, fingerprint, pool) if recipe.curates else DrawnScenes(recipe, fingerprint, pool)


def pool_of(build: BuildDir, index: ClipIndex, recipe: Recipe) -> PoolWithMade:
    """Return the clips of an index together with the made clips of a build, with the decisions of its recipe."""
    return PoolWithMade(licensed_pool(index, recipe), MadeClips(build, index.footer.config), DecisionRules(recipe.taxonomy))


def count_verdicts(sheet: SceneSheet) -> dict[str, int]:
    """Count the outcomes of events, candidates and attempts of a sheet, for manifests and reports.

    Events: `events`, of which `retrieved@1` … `generated`, `left_out`, and `reprocessed`. Candidates: `refused:<reason>`.
    Responses of the model that are not used: `own_words:<reason>`. Attempts: `scenes` and `refused_scene:<reason>`.
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
