"""`soundflow curate`: the first scenes of a recipe, exactly as its build will plan them, without rendering them.

The answers of the language model are cached, so the build does not pay for them again.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from soundflow.operators.compose.clips import ClipPool, decided_pool
from soundflow.pipeline.build.run import plan_build
from soundflow.pipeline.build.worker import Job
from soundflow.pipeline.curate.scene_view import ClipName, SceneView, curated_view, drawn_view
from soundflow.pipeline.curate.scenes import ATTEMPTS, DrawnScenes, pool_of
from soundflow.schemas.identity import sample_id
from soundflow.schemas.outcome import Ok
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.sheet import CuratedSample


def curate_once(recipe_path: Path, n: int, on_done: Callable[[int], None] = lambda done: None) -> list[SceneView]:
    """Return the scenes of the first `n` samples. `on_done` receives the number of samples done.

    Raises InputError for an invalid recipe or index or a rejected key or model, and BudgetSpent.
    """
    record, index = plan_build(recipe_path)
    recipe = record.recipe
    places = list(islice(_places(recipe), n))
    names = [sample_id(record.fingerprint, *place) for place in places]
    if not recipe.curates:
        scenes = DrawnScenes(recipe, record.fingerprint, decided_pool(index, recipe))
        return [_drawn(name, scenes, *place, clip_names(index)) for name, place in zip(names, places, strict=True)]
    with tempfile.TemporaryDirectory(prefix="soundflow-") as folder:  # for the clips made for the preview
        job = Job(Path(folder), index.reference, recipe, record.fingerprint, record.curators)
        samples = asyncio.run(_curated(job, places, on_done))
        named = clip_names(pool_of(job.build, index, job.recipe))
        return [curated_view(name, sample, named) for name, sample in zip(names, samples, strict=True)]


def clip_names(pool: ClipPool) -> ClipName:
    """Return a function that names the clips of `pool`: by their transcript in quotes or their label."""

    def named(clip_id: str) -> str:
        clip = pool.get(clip_id)
        return f"“{clip.transcript}”" if clip.transcript else f"({clip.label})"

    return named


def _places(recipe: Recipe) -> Iterator[tuple[int, int]]:
    for shard, size in enumerate(recipe.shard_sizes()):
        yield from ((shard, index) for index in range(size))


async def _curated(job: Job, places: list[tuple[int, int]], on_done: Callable[[int], None]) -> list[CuratedSample]:
    from soundflow.pipeline.build.curator import curating

    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        on_done(done)

    async with curating(job, count) as curator:
        return await curator.samples(places)


def _drawn(name: str, scenes: DrawnScenes, shard: int, index: int, named: ClipName) -> SceneView:
    refused: list[str] = []
    for attempt in range(ATTEMPTS):
        outcome = scenes.scene(shard, index, attempt)
        if isinstance(outcome, Ok):
            return drawn_view(name, outcome.value, tuple(refused), named)
        refused.append(str(outcome))
    return SceneView(name, "", scenes.recipe.scene.planner, "", "", "", tuple(refused), False, ())
