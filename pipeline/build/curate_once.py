"""`soundflow curate`: the first scenes of a recipe, as its build will plan them, without rendering anything.

What a language model answers here is in the answer cache: the build asks none of it again.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from soundflow.operators.compose.clips import ClipPool
from soundflow.pipeline.build.run import plan_build
from soundflow.pipeline.build.worker import Job
from soundflow.pipeline.curate.scene_view import Named, SceneView, curated_view, drawn_view
from soundflow.pipeline.curate.scenes import ATTEMPTS, DrawnScenes, pool_of
from soundflow.schemas.identity import sample_id
from soundflow.schemas.outcome import Ok
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.sheet import CuratedSample


def curate_once(recipe_path: Path, n: int, on_done: Callable[[int], None] = lambda done: None) -> list[SceneView]:
    """The scenes of the first `n` samples. `on_done` is told how many are done.

    Raises InputError for a bad recipe or index, a key or model that fails, BudgetSpent when the budget is.
    """
    record, index = plan_build(recipe_path)
    recipe = record.recipe
    places = list(islice(_places(recipe), n))
    names = [sample_id(record.fingerprint, *place) for place in places]
    if not recipe.curates:
        scenes = DrawnScenes(recipe, record.fingerprint, index)
        return [_drawn(name, scenes, *place, naming(index)) for name, place in zip(names, places, strict=True)]
    with tempfile.TemporaryDirectory(prefix="soundflow-") as folder:  # clips that are made for the preview
        job = Job(Path(folder), index.directory, recipe, record.fingerprint, record.curators)
        samples = asyncio.run(_curated(job, places, on_done))
        named = naming(pool_of(job.build, index))
        return [curated_view(name, sample, named) for name, sample in zip(names, samples, strict=True)]


def naming(pool: ClipPool) -> Named:
    """What clips of `pool` are called: the words that are said in them, or their label."""

    def named(clip_id: str) -> str:
        clip = pool.get(clip_id)
        return f"“{clip.transcript}”" if clip.transcript else f"({clip.label})"

    return named


def _places(recipe: Recipe) -> Iterator[tuple[int, int]]:
    for shard, size in enumerate(recipe.shard_sizes()):
        yield from ((shard, index) for index in range(size))


async def _curated(job: Job, places: list[tuple[int, int]], on_done: Callable[[int], None]) -> list[CuratedSample]:
    from soundflow.pipeline.build.curator import curating

    done: list[None] = []

    def note() -> None:
        done.append(None)
        on_done(len(done))

    async with curating(job, note) as curator:
        return await curator.samples(places)


def _drawn(name: str, scenes: DrawnScenes, shard: int, index: int, named: Named) -> SceneView:
    refused: list[str] = []
    for attempt in range(ATTEMPTS):
        outcome = scenes.scene(shard, index, attempt)
        if isinstance(outcome, Ok):
            return drawn_view(name, outcome.value, tuple(refused), named)
        refused.append(str(outcome))
    return SceneView(name, "", scenes.recipe.scene.planner, "", "", "", tuple(refused), False, ())
