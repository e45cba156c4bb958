"""A scene as people read it: its events with roles, clips, verdicts and what is said; for `soundflow curate` and the report."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import rich.box
import rich.console
from rich.table import Table
from rich.text import Text

from soundflow.schemas.scene import Scene, SceneEvent
from soundflow.schemas.sheet import CuratedSample, Curation, GroundedEvent

Named = Callable[[str], str]
"""Clip id → the words people know it by."""
MIN_WIDTH: Final = 120
"""Columns of a table; narrower it would be all line breaks."""


@dataclass(frozen=True, slots=True)
class EventView:
    """One row of the table."""

    role: str
    sound: str
    """What was planned; empty for drawn scenes."""
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
            table.add_row(*map(Text, (*cells[:2], _brief(cells[2]), cells[3], "\n".join(map(_brief, event.verdicts)), cells[5])))
        console = rich.console.Console(file=io.StringIO(), width=max(MIN_WIDTH, shutil.get_terminal_size().columns))
        with console.capture() as capture:
            console.print(table)
        return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def _brief(text: str) -> str:
    """With the file instead of the whole path in the first clip id: a table has no room for folders."""
    return re.sub(r"(^|(?<= ))\S+/(?=\S)", "…/", text, count=1)


def curated_view(name: str, sample: CuratedSample, named: Named) -> SceneView:
    """The view of a curated sample."""
    refused = [f"{curation.refused} ({curation.detail})" for curation in sample.curations if curation.scene is None]
    refused += [sample.failed] if sample.failed else []
    if not sample.curations:
        return SceneView(name, "", "", "", "", "", tuple(refused), False, ())
    last = sample.curations[-1]
    return SceneView(
        name,
        last.task.value,
        last.planner,
        last.title,
        last.setting,
        last.narrative,
        tuple(refused),
        last.scene is not None,
        tuple(_events(last, named)),
    )


def drawn_view(name: str, scene: Scene, refused: tuple[str, ...], named: Named) -> SceneView:
    """The view of a scene that a planner without a model drew, after attempts that were `refused`."""
    events = tuple(
        EventView(event.role.value, "", f"{event.clip_id} {named(event.clip_id)}", "drawn", (), _says(event))
        for event in scene.events
    )
    return SceneView(name, scene.task.value, scene.planner, scene.title, "", "", refused, True, events)


def _events(curation: Curation, named: Named) -> Iterator[EventView]:
    played = iter(curation.scene.events if curation.scene is not None else ())
    for event in curation.events:
        scene_event = next(played, None) if event.clip_id is not None else None
        yield EventView(
            event.planned.role,
            event.planned.sound,
            "" if event.clip_id is None else f"{event.clip_id} {named(event.clip_id)}",
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


def _says(event: SceneEvent | None) -> tuple[str, ...]:
    return tuple(f"{response.text} [{response.source}]" for response in event.responses) if event is not None else ()
