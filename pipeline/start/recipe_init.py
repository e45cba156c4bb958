"""`soundflow init`: a commented recipe that the given clip index can satisfy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import jinja2
import yaml

from soundflow.operators.compose.clips import ClipPool, Palette
from soundflow.operators.curate.planning import available_tasks
from soundflow.operators.tasks import POLICIES
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError
from soundflow.schemas.recipe import MixingConfig, Recipe, SceneConfig
from soundflow.schemas.taxonomy import WHOLE, Task

_ON: Final = {*WHOLE, Task.EVENT_DESCRIPTION}
"""Switched on where the clips serve them; the others stand there to be chosen."""
_TEMPLATE = """\
# A SoundFlow recipe: what a corpus is made of. `soundflow build {{ file }} -o OUT` builds it, the same command resumes it.
# Everything below except name, description and the path of the index shapes the corpus and is part of its fingerprint.
version: 1
name: {{ name }}
description: ""

# Where the clips are (relative to this file), made by `soundflow clips index SRC... -o DIR`.
# The index holds {{ speech }} speech clips with a transcript, {{ sounds }} labelled sounds ({{ hazards }} that call for a
# response, {{ benign }} benign), {{ background }} background and {{ ambient }} ambient clips.
clips: {{ clips }}
# split: train            # use only clips of this split

seed: {{ seed }}
streams: {{ streams }}
shards: {{ shards }}         # one shard is one task and one tar; some hundred streams each is a good size

# Sub-tasks and their relative weights. A capability (asr, translation, chat, understanding, music, proactive, agent) stands for
# all of its sub-tasks the clips can serve.
tasks:
{%- for task, line in tasks %}
  {{ line }}
{%- endfor %}

scene:
  planner: template       # template: scenes in a place; random: clips drawn independently; llm: planned by a language model,
                          # which an `llm` section names (README, "Scenes planned by a language model")
  events: {{ events }}         # foreground turns per stream, [low, high]; the paper has 3 to 15
  gap_seconds: {{ scene.gap_seconds }}
  background: {{ scene.background }}      # background events per stream
  ambient: {{ scene.ambient }}
  max_seconds: {{ scene.max_seconds }}
  benign_share: {{ scene.benign_share }}       # proactive streams: events that call for no response
  distractor_share: {{ scene.distractor_share }}  # voice chat and ASR: sounds among the speech
  proactive_evidence_seconds: {{ scene.proactive_evidence_seconds }}

mixing:                   # paper, Algorithm 3 and its table of hyperparameters
  reference_level_dbfs: {{ mixing.reference_level_dbfs }}
  background_gain_db: {{ mixing.background_gain_db }}
  ambient_gain_db: {{ mixing.ambient_gain_db }}
  snr_db: {{ mixing.snr_db }}
  ambient_snr_offset_db: {{ mixing.ambient_snr_offset_db }}
  event_noise: true
  ambient_noise: true

output:
  audio: flac             # or wav
  token_layout: soundflow # or authors: the ids of the paper's own release
"""


def write_recipe(path: Path, pool: ClipPool, clips: Path, *, streams: int, shards: int, seed: int, force: bool = False) -> Recipe:
    """Write a recipe for the index `pool` at `clips` to `path` and return it, parsed again from the file.

    Only tasks the index can serve are switched on; the others stand there commented out, with what they lack.
    Raises InputError when `path` exists (unless `force`) or no task can be served.
    """
    if path.exists() and not force:
        raise InputError("already exists", file=path, remedy="Choose another name, or --force to overwrite it")
    palette = Palette.of(pool)
    available = available_tasks(palette)
    if not available & _ON:
        raise InputError(
            "the index serves no sub-task: it has neither labelled sounds nor speech with transcripts",
            file=clips,
            remedy="Give labels by folder names, or label and transcript columns in a manifest",
        )
    fewest = min(sum(map(len, POLICIES[task].required_clips(palette).values())) for task in available & _ON)
    scene = SceneConfig()
    low, high = scene.events
    text = jinja2.Template(_TEMPLATE, keep_trailing_newline=True).render(
        file=path.name,
        name=yaml.safe_dump(path.stem, default_style='"').strip(),
        clips=yaml.safe_dump(os.path.relpath(clips, path.parent), default_style='"').strip(),
        seed=seed,
        streams=streams,
        shards=shards,
        tasks=[(task, _task_line(task, palette, task in available)) for task in sorted(Task, key=lambda task: task not in _ON)],
        events=[max(1, min(int(low), fewest)), int(high)],
        scene=SceneConfig().model_dump(mode="json"),
        mixing=MixingConfig().model_dump(mode="json"),
        **{kind: len(getattr(palette, kind)) for kind in ("speech", "sounds", "hazards", "benign", "background", "ambient")},
    )
    try:
        recipe = Recipe.from_text(text, file=path)
    except InputError as error:
        raise InputError(error.why, file=path, field=error.field, value=error.value, remedy=error.remedy) from None
    write_atomic(path, text.encode())
    return recipe


def _task_line(task: Task, palette: Palette, available: bool) -> str:
    lacking = [what for what, clips in POLICIES[task].required_clips(palette).items() if not clips]
    off = "" if available and task in _ON else "# "
    return f"{off}{task.value}: 1.0" + (
        f"    # needs {' and '.join(lacking)}" if lacking else "" if available else "    # too few"
    )
