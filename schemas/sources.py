"""The 26 corpora StreamAudio-2M is made of: the paper's table (appendix D), and what has to be known to read each.

Items and hours are the paper's. They add up to 2,336,455 items, where its text says 2.6 million; the 302,000 hours are those of
the composed streams, not of the sources.
"""

from __future__ import annotations

from enum import StrEnum
from importlib import resources
from types import MappingProxyType
from typing import Final

import yaml
from pydantic import Field

from soundflow.schemas.base import Schema


class Family(StrEnum):
    """What a corpus is in the paper's table."""

    SPEECH = "speech"
    AUDIO = "audio"
    EVENT = "acoustic event"
    NOISE = "noise"
    TEXT = "auxiliary"


class Gives(StrEnum):
    """What a reader makes of it."""

    CLIPS = "clips"
    """Recordings, for `soundflow clips index`."""
    DIALOGUES = "dialogues"
    """Conversations in writing, for `soundflow speak`."""


class Source(Schema):
    """One row of the table."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    family: Family
    role: str
    """What it is for, in the paper's words."""
    items: int
    """Upstream instances drawn from it (paper, appendix D)."""
    hours: float | None = None
    """Raw audio; None where the paper gives none, or one figure for several rows."""
    gives: Gives = Gives.CLIPS
    home: str
    """Where it is had: a dataset of the Hugging Face hub, or an address."""
    licence: str
    """Of the corpus as a whole; a recording that says its own keeps it."""
    attribution: str = ""
    language: str = ""
    note: str = ""


_TABLE: Final = resources.files("soundflow.schemas").joinpath("sources.yaml").read_text(encoding="utf-8")
SOURCES: Final = MappingProxyType({row["name"]: Source.model_validate(row) for row in yaml.safe_load(_TABLE)})
"""By name, in the table's order: `sources.yaml`."""
