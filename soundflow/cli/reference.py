"""`soundflow tasks` and `soundflow schema`: what may stand in a recipe."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from soundflow.cli.common import Json, say, say_json
from soundflow.schemas.taxonomy import SUB_TASKS, WHOLE, Capability, Task

top = typer.Typer()

CAPABILITIES: Final = {
    Capability.ASR: "Write down speech while it is spoken.",
    Capability.TRANSLATION: "Translate speech, sentence by sentence or simultaneously.",
    Capability.CHAT: "Answer spoken turns.",
    Capability.UNDERSTANDING: "Describe sounds and answer questions about them.",
    Capability.MUSIC: "Follow music and speak about it.",
    Capability.PROACTIVE: "Respond to hazards without being asked.",
    Capability.AGENT: "Carry out standing instructions.",
}


class SchemaName(StrEnum):
    """Documents with a JSON Schema."""

    RECIPE = "recipe"
    STAGE = "stage"
    SPEECH = "speech"


@top.command(
    help="List the sub-tasks and capabilities that a recipe may name, with the clips that each needs.",
    epilog="Example: soundflow tasks --json",
)
def tasks(as_json: Json = False) -> None:
    """Run `soundflow tasks`."""
    listing = _listing()
    if as_json:
        say_json(listing)
        return
    for capability in listing["capabilities"]:
        say(f"{capability['name']}: {capability['summary']}")
        for task in capability["tasks"]:
            _say_task(task)
    say("Tasks that stand for a whole capability, for clips that do not tell its sub-tasks apart:")
    for task in listing["general"]:
        _say_task(task)
    say("A capability in a recipe stands for those of its sub-tasks that the clips can serve.")


def _listing() -> dict[str, Any]:
    capabilities = [
        {"name": capability.value, "summary": CAPABILITIES[capability], "tasks": [_describe(task) for task in members]}
        for capability, members in SUB_TASKS.items()
    ]
    return {"capabilities": capabilities, "general": [_describe(task) for task in WHOLE]}


def _describe(task: Task) -> dict[str, Any]:
    from soundflow.operators.compose.clips import Palette
    from soundflow.operators.tasks import POLICIES

    policy = POLICIES[task]
    needs = list(policy.required_clips(Palette()))
    return {"name": task.value, "capability": task.capability.value, "summary": policy.summary, "needs": needs}


def _say_task(task: dict[str, Any]) -> None:
    say(f"  {task['name']:<28} {task['summary']}")
    say(f"  {'':<28} Needs {'; '.join(task['needs'])}.")


@top.command(
    help="Print the JSON Schema of a recipe, a training stage or a speech configuration for completion and checks in an editor.",
    epilog="Example: soundflow schema recipe > recipe.schema.json",
)
def schema(
    name: Annotated[SchemaName, typer.Argument(help="Document to describe.", show_default=False)],
) -> None:
    """Run `soundflow schema`."""
    import json

    from soundflow.schemas.json_schema import json_schema

    match name:
        case SchemaName.RECIPE:
            from soundflow.schemas.recipe import Recipe

            document = json_schema(Recipe)
        case SchemaName.STAGE:
            from soundflow.training.config import StageConfig

            document = json_schema(StageConfig)
        case SchemaName.SPEECH:
            from soundflow.schemas.speech import SpeechConfig

            document = json_schema(SpeechConfig)
    say(json.dumps(document, indent=2, ensure_ascii=False))
