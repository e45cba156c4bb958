"""Readable views of scenes (events, clips, verdicts and responses) for `soundflow curate` and the report."""

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

ClipName = Callable[[str], str]
"""Maps a clip id to a readable name."""
MIN_WIDTH: Final = 120
"""Smallest width of a table in columns; a narrower one has too many line breaks."""


@dataclass(frozen=True, slots=True)
class EventView:
    """One event of a scene."""

    role: str
    sound: str
    """The planned sound; empty for drawn scenes."""
    clip: str
    how: str
    """`retrieved@1` …, `generated`, `left_out`, or `drawn`."""
    verdicts: tuple[str, ...]
    """One per candidate that was tried."""
    says: tuple[str, ...]
    """Responses with their sources."""


@dataclass(frozen=True, slots=True)
class SceneView:
    """The scene of a sample, or the reasons why it has none."""

    sample_id: str
    task: str
    planner: str
    title: str
    setting: str
    narrative: str
    refused: tuple[str, ...]
    """Reasons of failed attempts."""
    planned: bool
    """Whether there is a scene."""
    events: tuple[EventView, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the document for `--json`."""
        events = [{name: getattr(event, name) for name in EventView.__slots__} for event in self.events]
        return {name: getattr(self, name) for name in SceneView.__slots__} | {"events": events}

    def headline(self) -> str:
        """Return one line of text."""
        tries = f" (failed attempts: {'; '.join(self.refused)})" if self.refused else ""
        what = f"{self.title}{' (' + self.setting + ')' if self.setting else ''}" if self.planned else "no scene"
        return f"{self.sample_id} {self.task} by {self.planner}: {what}{tries}"

    def table(self) -> str:
        """Return a text table of the events with their roles, clips, verdicts and responses."""
        table = Table(box=rich.box.SIMPLE, title_justify="left", title=self.narrative or None)
        for name, ratio in (("role", 2), ("sound", 4), ("clip", 5), ("grounding", 3), ("verdicts", 6), ("responses", 6)):
            table.add_column(name, ratio=ratio, overflow="fold")
        for event in self.events:
            cells = (event.role, event.sound, event.clip, event.how, "\n".join(event.verdicts), "\n".join(event.says))
            table.add_row(*map(Text, (*cells[:2], _brief(cells[2]), cells[3], "\n".join(map(_brief, event.verdicts)), cells[5])))
        console = rich.console.Console(file=io.StringIO(), width=max(MIN_WIDTH, shutil.get_terminal_size().columns))
        with console.capture() as capture:
            console.print(table)
        return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def _brief(text: str) -> str:
    """Shorten the path in the first clip id to the file name, to save space in the table."""
    return re.sub(r"(^|(?<= ))\S+/(?=\S)", "…/", text, count=1)


def curated_view(name: str, sample: CuratedSample, named: ClipName) -> SceneView:
    """Return the view of a curated sample; `named` returns readable names of clips."""
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


def drawn_view(name: str, scene: Scene, refused: tuple[str, ...], named: ClipName) -> SceneView:
    """Return the view of a scene that was drawn without a model, after the `refused` attempts."""
    events = tuple(
        EventView(event.role.value, "", f"{event.clip_id} {named(event.clip_id)}", "drawn", (), _responses(event))
        for event in scene.events
    )
    return SceneView(name, scene.task.value, scene.planner, scene.title, "", "", refused, True, events)


def _events(curation: Curation, named: ClipName) -> Iterator[EventView]:
    played = iter(curation.scene.events if curation.scene is not None else ())
    for event in curation.events:
        scene_event = next(played, None) if event.clip_id is not None else None
        yield EventView(
            event.planned.role,
            event.planned.sound,
            "" if event.clip_id is None else f"{event.clip_id} {named(event.clip_id)}",
            event.how if event.clip_id is not None else f"left out: {event.left_out}",
            tuple(_verdicts(event)),
            _responses(scene_event),
        )


def _verdicts(event: GroundedEvent) -> Iterator[str]:
    for tried in event.tried:
        source = f"@{tried.rank}" if tried.found == "retrieved" else "made"
        verdicts = " then ".join(one.verdict.verdict for one in tried.judged) or tried.refused
        why = tried.judged[-1].verdict.reason if tried.judged and tried.refused else ""
        yield f"{source} {tried.clip_id or '-'}: {verdicts}{f' ({why})' if why else ''}"


def _responses(event: SceneEvent | None) -> tuple[str, ...]:
    return tuple(f"{response.text} [{response.source}]" for response in event.responses) if event is not None else ()
