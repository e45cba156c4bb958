"""`soundflow curate`: the first scenes of a recipe, as its build will plan them, without rendering anything.

What a language model answers here is in the answer cache: the build asks none of it again.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import rich.box
import rich.console
from rich.table import Table
from rich.text import Text

from operators.clips import ClipPool
from pipeline.produce import ATTEMPTS
from pipeline.run import plan_build
from pipeline.scenes import DrawnScenes, pool_of
from pipeline.worker import Job
from schemas.identity import sample_id
from schemas.outcome import Ok
from schemas.recipe import Recipe
from schemas.scene import SceneEvent
from schemas.sheet import CuratedSample, Curation, GroundedEvent

MIN_WIDTH: Final = 120
"""Columns of a table; narrower it would be all line breaks."""


@dataclass(frozen=True, slots=True)
class EventView:
    """One row of the table."""

    role: str
    sound: str
    """What was planned; of drawn scenes the clip's label."""
    clip: str
    how: str
    """`retrieved@1` …, `generated`, `left_out`, or `drawn`."""
    verdicts: tuple[str, ...]
    """One for each candidate that was tried."""
    says: tuple[str, ...]
    """Response and who wrote it."""


@dataclass(frozen=True, slots=True)
class SceneView:
    """One sample's scene, or why it has none."""

    sample_id: str
    task: str
    planner: str
    title: str
    setting: str
    narrative: str
    refused: tuple[str, ...]
    """Attempts that came to nothing, and why."""
    planned: bool
    events: tuple[EventView, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        events = [{name: getattr(event, name) for name in EventView.__slots__} for event in self.events]
        return {name: getattr(self, name) for name in SceneView.__slots__} | {"events": events}

    def headline(self) -> str:
        """For people, in one line."""
        tries = f", after {'; '.join(self.refused)}" if self.refused else ""
        what = f"{self.title}{' (' + self.setting + ')' if self.setting else ''}" if self.planned else "no scene"
        return f"{self.sample_id} {self.task} by {self.planner}: {what}{tries}"

    def table(self) -> str:
        """For people: every event with its role, clip, verdicts and what is said."""
        table = Table(box=rich.box.SIMPLE, title_justify="left", title=self.narrative or None)
        for name, ratio in (("role", 2), ("sound", 4), ("clip", 5), ("found", 3), ("verdicts", 6), ("says", 6)):
            table.add_column(name, ratio=ratio, overflow="fold")
        for event in self.events:
            cells = (event.role, event.sound, event.clip, event.how, "\n".join(event.verdicts), "\n".join(event.says))
            table.add_row(*map(Text, cells))
        console = rich.console.Console(file=io.StringIO(), width=max(MIN_WIDTH, shutil.get_terminal_size().columns))
        with console.capture() as capture:
            console.print(table)
        return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def curate_once(recipe_path: Path, n: int, on_done: Callable[[int], None] = lambda done: None) -> list[SceneView]:
    """The scenes of the first `n` samples. `on_done` is told how many are done.

    Raises InputError for a bad recipe or index, a key or model that fails, BudgetSpent when the budget is.
    """
    record, index = plan_build(recipe_path)
    recipe = record.recipe
    places = list(islice(_places(recipe), n))
    if not recipe.curates:
        scenes = DrawnScenes(recipe, record.fingerprint, index)
        return [_drawn(record.fingerprint, scenes, index, *place) for place in places]
    with tempfile.TemporaryDirectory(prefix="soundflow-") as folder:  # clips that are made for the preview
        job = Job(Path(folder), index.directory, recipe, record.fingerprint, record.curators)
        samples = asyncio.run(_curated(job, places, on_done))
        pool = pool_of(job.build, index)
        return [_view(sample_id(record.fingerprint, *place), sample, pool) for place, sample in zip(places, samples, strict=True)]


def _places(recipe: Recipe) -> Iterator[tuple[int, int]]:
    for shard, size in enumerate(recipe.shard_sizes()):
        yield from ((shard, index) for index in range(size))


async def _curated(job: Job, places: list[tuple[int, int]], on_done: Callable[[int], None]) -> list[CuratedSample]:
    from pipeline.curator import curating

    done: list[None] = []

    def note() -> None:
        done.append(None)
        on_done(len(done))

    async with curating(job, note) as curator:
        return await curator.samples(places)


def _view(name: str, sample: CuratedSample, pool: ClipPool) -> SceneView:
    refused = [f"{curation.refused} ({curation.detail})" for curation in sample.curations if curation.scene is None]
    refused += [sample.failed] if sample.failed else []
    if not sample.curations:
        return SceneView(name, "", "", "", "", "", tuple(refused), False, ())
    last = sample.curations[-1]
    events = tuple(_event_views(last, pool))
    planned = last.scene is not None
    return SceneView(
        name, last.task.value, last.planner, last.title, last.setting, last.narrative, tuple(refused), planned, events
    )


def _event_views(curation: Curation, pool: ClipPool) -> Iterator[EventView]:
    played = iter(curation.scene.events if curation.scene is not None else ())
    for event in curation.events:
        scene_event = next(played, None) if event.clip_id is not None else None
        yield EventView(
            event.planned.role,
            event.planned.sound,
            _named(event.clip_id, pool),
            event.how if event.clip_id is not None else f"left out: {event.left_out}",
            tuple(_verdicts(event)),
            _says(scene_event),
        )


def _verdicts(event: GroundedEvent) -> Iterator[str]:
    for tried in event.tried:
        who = f"@{tried.rank}" if tried.found == "retrieved" else "made"
        told = " then ".join(one.verdict.verdict for one in tried.judged) or tried.refused
        why = tried.judged[-1].verdict.reason if tried.judged and tried.refused else ""
        yield f"{who} {tried.clip_id or '-'}: {told}{f' ({why})' if why else ''}"


def _drawn(fingerprint: str, scenes: DrawnScenes, pool: ClipPool, shard: int, index: int) -> SceneView:
    refused: list[str] = []
    name = sample_id(fingerprint, shard, index)
    for attempt in range(ATTEMPTS):
        outcome = scenes.scene(shard, index, attempt)
        if isinstance(outcome, Ok):
            scene = outcome.value
            events = tuple(_drawn_event(event, pool) for event in scene.events)
            return SceneView(name, scene.task.value, scene.planner, scene.title, "", "", tuple(refused), True, events)
        refused.append(str(outcome))
    return SceneView(name, "", scenes.recipe.scene.planner, "", "", "", tuple(refused), False, ())


def _drawn_event(event: SceneEvent, pool: ClipPool) -> EventView:
    label = pool.get(event.clip_id).label
    return EventView(event.role.value, label, _named(event.clip_id, pool), "drawn", (), _says(event))


def _named(clip_id: str | None, pool: ClipPool) -> str:
    if clip_id is None:
        return ""
    clip = pool.get(clip_id)
    return f"{clip_id} “{clip.transcript}”" if clip.transcript else f"{clip_id} ({clip.label})"


def _says(event: SceneEvent | None) -> tuple[str, ...]:
    return tuple(f"{response.text} [{response.source}]" for response in event.responses) if event is not None else ()
