"""`soundflow init`: write a commented recipe that the given clip index can serve."""

from __future__ import annotations

import os
import shlex
import textwrap
from collections import Counter
from pathlib import Path
from typing import Final

import jinja2
import yaml

from soundflow.operators.compose.clips import ClipPool, Palette
from soundflow.operators.curate.planning import available_tasks
from soundflow.operators.tasks import POLICIES
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.decision import Decided, DecisionRules
from soundflow.schemas.recipe import MixingConfig, Recipe, SceneConfig
from soundflow.schemas.taxonomy import WHOLE, Task, Urgency, label_words

_ENABLED: Final = {*WHOLE, Task.EVENT_DESCRIPTION}
"""Sub-tasks that the recipe enables if the clips can serve them; the others are written as comments."""
_DECIDED_ROLES: Final = frozenset({ClipRole.FOREGROUND, ClipRole.BACKGROUND, ClipRole.AMBIENT})
_LABELS_SHOWN: Final = 30
_LABEL_LENGTH: Final = 60
_TEMPLATE: Final = """\
# SoundFlow recipe. Build the corpus with `soundflow build {{ file }} -o OUT`; run the same command again to resume.
# All fields except name, description, budget and the path in `clips` shape the corpus. If one of them or the clip index changes,
# the corpus gets another fingerprint and needs a new output directory.
version: 1  # version of the recipe format
name: {{ name }}
description: ""  # shown in the report and on the dataset card

# Directory of the clip index, relative to this file. `soundflow clips index SRC... -o DIR` makes one.
# This index has {{ speech }} speech clips with a transcript, {{ background }} background clips, {{ ambient }} ambient clips and
# {{ sounds }} labelled foreground sounds ({{ hazards }} call for a response, {{ benign }} do not, {{ others }} are borderline).
clips: {{ clips }}
# licences: [CC0-1.0, CC-BY]  # use only clips of these licences; a name without a version stands for all versions
{%- if rejected %}
# Alignment rejected the transcripts of {{ rejected }} other speech clips. `use` would play them and teach these transcripts.
rejected_transcripts: exclude
{%- endif %}
# split: train  # use only the clips of this split of the index
# splits: {train: 0.9, validation: 0.05, test: 0.05}  # or divide the streams; no recording is used in two splits

seed: {{ seed }}  # seed of all random draws; another seed gives another corpus
streams: {{ streams }}  # number of streams
shards: {{ shards }}  # number of tar files they are written to; a few hundred streams per shard is a good size

# Sub-tasks and their relative weights: a sub-task with weight 2.0 gets about twice as many streams as one with weight 1.0.
# The name of a capability (asr, translation, chat, understanding, music, proactive or agent) stands for all of its sub-tasks that
# the clips can serve. Remove a leading `# ` to enable a sub-task. A note says which clips this index lacks for it.
tasks:
{%- for line in tasks %}
  {{ line }}
{%- endfor %}

# What an event draws uniformly: clip, or label and then a clip of it; and the number of streams that a clip may occur in.
balance: clip
# max_clip_uses: 20

# Proactive sub-tasks respond to a sound or stay silent by its decision: respond, ignore or borderline (in no proactive stream).
# It comes from the column `decision` of a manifest, else from `taxonomy`, else from the words of label and caption. To decide
# otherwise, write labels or patterns below `taxonomy`, such as `"kettle*": respond`. Decisions of this index, with clips:
{%- for line in decisions %}
#   {{ line }}
{%- endfor %}
taxonomy: {}

# Ranges are [lowest, highest]. Planners: template (hand-written scenes of sounds that belong to one place), random (clips drawn
# independently) and llm (scenes planned by a language model; needs an `llm` section, see docs/curation.md).
scene:
  planner: template
  events: {{ events }}  # foreground events per stream (paper: [3, 15])
  gap_seconds: {{ scene.gap_seconds }}  # pause before each foreground event
  background: {{ scene.background }}  # background events per stream
  ambient: {{ scene.ambient }}  # ambient events per stream
  max_seconds: {{ scene.max_seconds }}  # maximum duration of a stream; what does not fit is left out or drawn again
  benign_share: {{ scene.benign_share }}  # proactive sub-tasks: share of events that call for no response
  distractor_share: {{ scene.distractor_share }}  # sub-tasks on speech: share of events that are other sounds, without a response
  history_review_share: {{ scene.history_review_share }}  # chat_*: share of streams with a final question about an earlier turn
  silent_share: {{ scene.silent_share }}  # chat_*: share of streams with a benign sound between the turns
  proactive_share: {{ scene.proactive_share }}  # chat_*: share of streams with a hazard between the turns, of which to warn
  proactive_evidence_seconds: {{ scene.proactive_evidence_seconds }}  # a hazard is recognised after this time, or at its end

# Defaults of the paper (Algorithm 3). The level of a clip is the RMS of its active frames.
mixing:
  reference_level_dbfs: {{ mixing.reference_level_dbfs }}  # level of every clip before the gain of its role
  foreground_gain_db: {{ mixing.foreground_gain_db }}
  background_gain_db: {{ mixing.background_gain_db }}
  ambient_gain_db: {{ mixing.ambient_gain_db }}
  snr_db: {{ mixing.snr_db }}  # signal-to-noise ratio of a noise track, drawn for each stream and track
  ambient_snr_offset_db: {{ mixing.ambient_snr_offset_db }}  # added to the ratio of the ambient noise track
  event_noise: true  # add a track of event-like noise
  ambient_noise: true  # add a track of ambient noise
  peak_limit: {{ mixing.peak_limit }}  # a stream with a higher peak is scaled down (1.0 is full scale)

output:
  audio: flac  # flac or wav; 16 kHz, mono, 16 bits
  token_layout: soundflow  # soundflow: unused ids of the Qwen tokenizer; authors: the ids of the paper's own release
"""


def write_recipe(path: Path, pool: ClipPool, clips: Path, *, streams: int, shards: int, seed: int, force: bool = False) -> Recipe:
    """Write a recipe for the index `pool` in the directory `clips` to `path`. Return the recipe, parsed from the written text.

    Only sub-tasks that the index can serve are enabled. The others are commented out, with a note on the clips they need.

    Raises InputError when `path` exists (unless `force`) or the index can serve no sub-task.
    """
    if path.exists() and not force:
        raise InputError("already exists", file=path, remedy="Choose another name, or use --force to overwrite it")
    palette = Palette.of(pool)
    available = {task for task in available_tasks(palette) if not POLICIES[task].find_caution(palette)}
    if not available & _ENABLED:
        raise InputError(
            "the index can serve no sub-task: it has neither labelled sounds nor speech with transcripts",
            file=clips,
            remedy="Name the folders after the sounds, or index a manifest with the columns label and transcript",
        )
    fewest = min(sum(map(len, POLICIES[task].required_clips(palette).values())) for task in available & _ENABLED)
    scene = SceneConfig()
    low, high = scene.events
    template = jinja2.Template(_TEMPLATE, keep_trailing_newline=True)
    rendered = template.render(
        file=shlex.quote(path.name),
        name=yaml.safe_dump(path.stem, default_style='"').strip(),
        clips=yaml.safe_dump(os.path.relpath(clips, path.parent), default_style='"').strip(),
        seed=seed,
        streams=streams,
        shards=shards,
        tasks=[_task_line(task, palette) for task in sorted(Task, key=lambda task: task not in _ENABLED)],
        events=[max(1, min(int(low), fewest)), int(high)],
        scene=scene.model_dump(mode="json"),
        mixing=MixingConfig().model_dump(mode="json"),
        decisions=_decision_lines(pool),
        others=len(palette.sounds) - len(palette.hazards) - len(palette.benign),
        rejected=len(palette.rejected),
        **{kind: len(getattr(palette, kind)) for kind in ("speech", "sounds", "hazards", "benign", "background", "ambient")},
    )
    text = _with_aligned_comments(rendered)
    try:
        recipe = Recipe.from_text(text, file=path)
    except InputError as error:
        raise InputError(error.why, file=path, field=error.field, value=error.value, remedy=error.remedy) from None
    write_atomic(path, text.encode())
    return recipe


def _decision_lines(pool: ClipPool) -> list[str]:
    """Return the labels of each decision and origin with their numbers of clips, the most frequent ones first, as lines."""
    rules, labels = DecisionRules(), dict[Decided, Counter[str]]()
    for brief in pool.briefs():
        if brief.kind == "sound" and brief.label and brief.role in _DECIDED_ROLES:
            labels.setdefault(rules.decide(brief), Counter())[" ".join(label_words(brief.label)) or ascii(brief.label)] += 1
    lines = []
    for decided, counts in sorted(labels.items(), key=lambda entry: (list(Urgency).index(entry[0].decision), entry[0].source)):
        ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
        shown = ", ".join(f"{label[:_LABEL_LENGTH]} ({count})" for label, count in ranked[:_LABELS_SHOWN])
        more = f" and {len(ranked) - _LABELS_SHOWN} more labels" if len(ranked) > _LABELS_SHOWN else ""
        lines += textwrap.wrap(f"{decided.decision} by {decided.source}: {shown}{more}", 120, subsequent_indent="  ")
    return lines or ["no sounds with a label"]


def _task_line(task: Task, palette: Palette) -> str:
    missing = [description for description, clips in POLICIES[task].required_clips(palette).items() if not clips]
    missing = missing or list(filter(None, [POLICIES[task].find_caution(palette)]))
    note = f"  # needs {' and '.join(missing)}" if missing else ""
    return f"{'# ' if missing or task not in _ENABLED else ''}{task.value}: 1.0{note}"


def _with_aligned_comments(text: str) -> str:
    """Align the comments that follow a value (after two spaces) within each paragraph."""
    paragraphs = []
    for paragraph in text.split("\n\n"):
        parts = [line.partition("  # ") for line in paragraph.split("\n")]
        width = max((len(value) for value, separator, _ in parts if separator), default=0)
        lines = [f"{value:<{width}}{separator}{comment}" if separator else value for value, separator, comment in parts]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)
