"""A sub-task of your own: report each kind of sound the first time it occurs, and stay silent when it occurs again.

    python examples/python/own_subtask.py CLIPS

plans a stream with it from the index that `soundflow clips index` wrote to CLIPS, and prints the stream. To use the sub-task in
recipes, make the two edits that `operators/tasks/policy.py` lists.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soundflow.operators.compose.clips import Palette
from soundflow.operators.curate.planning import plan_scene
from soundflow.operators.tasks.event_description import SoundPolicy
from soundflow.operators.tasks.policy import ClipLike, ResponseOption, StreamOptions, clip_name
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.schemas.outcome import Ok
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.scene import Brief
from soundflow.schemas.taxonomy import Task


class NewSounds(SoundPolicy):
    """Report each kind of sound once."""

    task = Task.EVENT_DESCRIPTION  # in recipes: your own member of Task
    summary = "Report each kind of sound the first time it occurs."
    task_rule = "the assistant answers the first event of each kind of sound. Later events of the same kind are not answered."

    def instructions(self, brief: Brief) -> list[str]:
        """Return the wordings of the instruction."""
        return ["Tell me about every new kind of sound, once.", "Name each sound the first time you hear it."]

    def respond_to_stream(self, brief: Brief, clips: Sequence[ClipLike]) -> StreamOptions:
        """Name each kind of sound where it first occurs."""
        names = [clip_name(clip) for clip in clips]
        return [
            [] if name in names[:place] else [ResponseOption(f"That is new: {name}.", "label")]
            for place, name in enumerate(names)
        ]


def main(clips: Path) -> None:
    """Plan and print one stream."""
    index = ClipIndex.open(clips)
    recipe = Recipe.model_validate({"clips": str(clips), "streams": 1, "shards": 1, "tasks": {NewSounds.task.value: 1}})
    outcome = plan_scene(recipe, Palette.of(index), index, np.random.default_rng(0), NewSounds())
    if not isinstance(outcome, Ok):
        raise SystemExit(f"no stream: {outcome}")
    print(outcome.value.instruction)
    for event in outcome.value.events:
        print(f"{event.role}: {index.get(event.clip_id).label}:", *(response.text for response in event.responses))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
