"""The 26 corpora StreamAudio-2M is made of: the paper's table (appendix D), and what has to be known to read each.

Items and hours are the paper's. The items add up to 2,336,455, whereas its text says 2.6 million. The 302,000 hours are those of
the composed streams, not of the sources.
"""

from __future__ import annotations

from enum import StrEnum
from importlib import resources
from types import MappingProxyType
from typing import Final

from pydantic import Field

from soundflow.schemas.base import Schema
from soundflow.schemas.documents import parse_yaml


class Family(StrEnum):
    """Category of a corpus in the paper's table."""

    SPEECH = "speech"
    AUDIO = "audio"
    EVENT = "acoustic event"
    NOISE = "noise"
    TEXT = "auxiliary"


class Gives(StrEnum):
    """Output of the reader of a corpus."""

    CLIPS = "clips"
    """Recordings, the input of `soundflow clips index`."""
    DIALOGUES = "dialogues"
    """Conversations in writing, the input of `soundflow speak`."""


class Source(Schema):
    """One row of the table."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    family: Family
    role: str
    """Purpose of the corpus, as the paper words it."""
    items: int
    """Number of instances drawn from the corpus (paper, appendix D)."""
    hours: float | None = None
    """Hours of raw audio; None if the paper states none, or one figure for several rows."""
    gives: Gives = Gives.CLIPS
    home: str
    """Origin: a dataset of the Hugging Face Hub, or a URL."""
    licence: str
    """Licence of the corpus. A recording with a licence of its own keeps it."""
    attribution: str = ""
    language: str = ""
    note: str = ""


_TABLE: Final = resources.files("soundflow.schemas").joinpath("sources.yaml").read_text(encoding="utf-8")
SOURCES: Final = MappingProxyType({row["name"]: Source.model_validate(row) for row in parse_yaml(_TABLE)})
"""Sources by name, in the order of the table `sources.yaml`."""
