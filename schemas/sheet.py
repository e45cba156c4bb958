"""What curation leaves on disk: the scenes of one shard, and how each came to be. OUT/scenes/NNNNNN.json; the first wins.

Everything but `work` follows from the recipe, the clips and the answers of the models: equal answers give an equal digest.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import Field

from soundflow.schemas.base import Schema, canonical_json
from soundflow.schemas.clip import Sha256
from soundflow.schemas.generation import ClipVerdict, Evidence
from soundflow.schemas.llm import RoleCost, Usage
from soundflow.schemas.scenario import RefinedEvent, SubEvent
from soundflow.schemas.scene import Scene
from soundflow.schemas.taxonomy import Task


class Judgement(Schema):
    """One verdict on a candidate, and what it rests on."""

    verifier: str
    """`rules`, or who judged."""
    verdict: ClipVerdict
    evidence: Evidence


class Tried(Schema):
    """A clip that was tried for an event."""

    clip_id: str
    """Of the index, or of a made clip; empty when none could be made."""
    found: Literal["retrieved", "generated"]
    rank: int = Field(0, ge=0)
    """1 is the best hit of retrieval; 0 for what was generated."""
    score: float = 0.0
    """Retrieval's."""
    judged: tuple[Judgement, ...] = ()
    """One verdict, or two: the second after TFJP."""
    refused: str = ""
    """Why it does not play the event, as a slug; empty when it does."""


class GroundedEvent(Schema):
    """An event of a scenario, what was tried for it, and what plays it."""

    planned: SubEvent
    refined: RefinedEvent
    tried: tuple[Tried, ...] = ()
    clip_id: str | None = None
    """What plays it: the last clip tried, or what TFJP made of it. None when the event was left out."""
    left_out: str = ""
    """Why, as a slug."""
    wording: str = ""
    """Why the model's answer is not said, as a slug; the sub-task's own is said instead."""

    @property
    def how(self) -> str:
        """`retrieved@1`, `retrieved@2`, …, `generated`, or `left_out`."""
        if self.clip_id is None or not self.tried:
            return "left_out"
        last = self.tried[-1]
        return f"retrieved@{last.rank}" if last.found == "retrieved" else "generated"

    @property
    def reprocessed(self) -> bool:
        """Whether the clip went through TFJP once more."""
        return self.clip_id is not None and bool(self.tried) and len(self.tried[-1].judged) > 1


class Curation(Schema):
    """One attempt at a scene."""

    task: Task
    planner: str
    """`llm:` and the model's name, in the server's words."""
    title: str = ""
    setting: str = ""
    narrative: str = ""
    events: tuple[GroundedEvent, ...] = ()
    """As far as the attempt came."""
    scene: Scene | None = None
    refused: str = ""
    """Why there is no scene, as a slug; empty when there is one."""
    detail: str = ""
    usage: dict[str, Usage] = Field(default_factory=dict)
    """What each role's answers cost when they were asked."""
    calls: tuple[str, ...] = ()
    """Content addresses of planner's and refiner's calls, in order."""


class CuratedSample(Schema):
    """The attempts at one sample; the last is the one that counts."""

    index: int = Field(ge=0)
    curations: tuple[Curation, ...] = ()
    failed: str = ""
    """What broke; the sample is then quarantined."""
    payload: dict[str, Any] = Field(default_factory=dict)


class SceneSheet(Schema):
    """The scenes of one shard. Workers read it, and ask nobody."""

    format: Literal["soundflow.scenes/1"] = "soundflow.scenes/1"
    fingerprint: Sha256
    shard: int = Field(ge=0)
    samples: tuple[CuratedSample, ...]
    """By index, none missing."""
    work: dict[str, RoleCost] = Field(default_factory=dict)
    """What this run paid per role: how the work went, not what came of it."""

    def digest(self) -> str:
        """SHA-256 (hex) of what was curated, whatever it cost this time."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json", exclude={"work"}))).hexdigest()
