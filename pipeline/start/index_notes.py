"""What a user should know about the clips of an index before building a corpus from them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from soundflow.operators.compose.clips import ClipBrief
from soundflow.pipeline.clips.align import UNALIGNED
from soundflow.schemas.licences import licence_notes
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.text import counted

NAMED: Final = 5
"""Clips that a note names."""


def index_notes(briefs: Sequence[ClipBrief], recipe: Recipe, clips: Path) -> list[str]:
    """Return notes about the clips of an index: rejected transcripts, and licences that forbid publishing streams with them."""
    return [*_rejected_transcripts(briefs, recipe, clips), *licence_notes(Counter(brief.licence for brief in briefs))]


def _rejected_transcripts(briefs: Sequence[ClipBrief], recipe: Recipe, clips: Path) -> list[str]:
    rejected = [brief.id for brief in briefs if brief.transcript_rejected]
    if not rejected:
        return []
    names = ", ".join(rejected[:NAMED]) + (", …" if len(rejected) > NAMED else "")
    used = "they are used, since" if recipe.rejected_transcripts == "use" else "they are not used unless"
    listed = shlex.quote(str(clips / UNALIGNED))
    return [
        f"alignment rejected the transcripts of {counted(len(rejected), 'speech clip')} ({names}); {used} the recipe has "
        f"`rejected_transcripts: use`. All of them are listed in {listed}"
    ]
