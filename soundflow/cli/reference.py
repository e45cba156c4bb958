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
TASKS: Final = {
    Task.ASR_ENGLISH: "Transcribe English speech.",
    Task.ASR_ACCENTED: "Transcribe accented English and languages other than English and Chinese.",
    Task.ASR_IN_THE_WILD: "Transcribe spontaneous, telephone or noisy speech.",
    Task.ASR_MANDARIN: "Transcribe Mandarin speech.",
    Task.TRANSLATION_EN_ZH: "Translate each English utterance into Chinese when it ends.",
    Task.TRANSLATION_ZH_EN: "Translate each Chinese utterance into English when it ends.",
    Task.INTERPRETATION_EN_ZH: "Interpret English into Chinese clause by clause.",
    Task.INTERPRETATION_ZH_EN: "Interpret Chinese into English clause by clause.",
    Task.CHAT_MULTI_TURN: "Answer the turns of a dialogue.",
    Task.CHAT_FACTUAL: "Answer factual questions.",
    Task.CHAT_DISCUSSION: "Discuss an opinion.",
    Task.CHAT_HISTORY: "Answer a question that depends on an earlier turn.",
    Task.EVENT_DESCRIPTION: "Name every foreground sound when it ends.",
    Task.AUDIO_OPEN_QA: "Answer a question about the sounds.",
    Task.AUDIO_CHOICE_QA: "Answer a multiple-choice question about the sounds.",
    Task.EVENT_COUNTING: "Count the occurrences of one sound.",
    Task.SCENE_DESCRIPTION: "Describe the scene after its last sound.",
    Task.SPEECH_EMOTION: "Name the emotion of a voice.",
    Task.MUSIC_OPEN_QA: "Name the music that plays.",
    Task.MUSIC_CHOICE_QA: "Answer a multiple-choice question about music.",
    Task.MUSIC_OPINION: "Give an opinion about the music that plays.",
    Task.HUMAN_DISTRESS: "Respond to a person who is ill, hurt or in distress.",
    Task.EQUIPMENT_FAULT: "Respond to equipment that fails.",
    Task.ENVIRONMENTAL_HAZARD: "Respond to fire, explosions, breaking glass and severe weather.",
    Task.TRAFFIC_DANGER: "Respond to danger in traffic.",
    Task.STANDING_INSTRUCTION: "Report every occurrence of a sound named in the instruction.",
    Task.CONDITIONAL_TRIGGER: "Respond with a given phrase once a condition is met.",
    Task.MIXED_TASK: "Chat, warn of hazards and watch for a sound in one stream.",
    Task.STREAMING_ASR: "Transcribe any speech.",
    Task.SIMULTANEOUS_INTERPRETATION: "Interpret between any two languages.",
    Task.VOICE_CHAT: "Answer dialogues or single turns.",
    Task.PROACTIVE_RESPOND: "Respond to hazards and needs of every kind.",
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

    needs = list(POLICIES[task].required_clips(Palette()))
    return {"name": task.value, "capability": task.capability.value, "summary": TASKS[task], "needs": needs}


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
