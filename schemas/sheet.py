"""The result of curation on disk: the scenes of one shard and how each was made, in OUT/scenes/NNNNNN.json.

Everything but `work` follows from the recipe, the clips and the answers of the models, so that equal answers give equal digests.
Of several writers the first wins.
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
    """One verdict on a candidate, with its evidence."""

    verifier: str
    """`rules`, or `llm:` and the name of the model."""
    verdict: ClipVerdict
    evidence: Evidence


class Tried(Schema):
    """A candidate for an event."""

    clip_id: str
    """Id of a clip of the index or of a generated clip; empty if generation failed."""
    found: Literal["retrieved", "generated"]
    rank: int = Field(0, ge=0)
    """Rank in the retrieval result, 1 for the best; 0 for a generated clip."""
    score: float = 0.0
    """Retrieval score."""
    judged: tuple[Judgement, ...] = ()
    """One verdict, or two if the clip was judged again after TFJP."""
    refused: str = ""
    """Reason for not using the clip, as a slug; empty if it is used."""


class GroundedEvent(Schema):
    """An event of a scenario with its candidates and the clip that was chosen."""

    planned: SubEvent
    refined: RefinedEvent
    tried: tuple[Tried, ...] = ()
    clip_id: str | None = None
    """The chosen clip: the last candidate, or the result of cleaning it once more. None if the event was left out."""
    left_out: str = ""
    """Reason for leaving the event out, as a slug."""
    wording: str = ""
    """Reason for not using the model's response, as a slug. The response of the sub-task is used instead."""

    @property
    def how(self) -> str:
        """Return `retrieved@1`, `retrieved@2`, …, `generated`, or `left_out`."""
        if self.clip_id is None or not self.tried:
            return "left_out"
        last = self.tried[-1]
        return f"retrieved@{last.rank}" if last.found == "retrieved" else "generated"

    @property
    def reprocessed(self) -> bool:
        """Whether the clip was cleaned by TFJP once more."""
        return self.clip_id is not None and bool(self.tried) and len(self.tried[-1].judged) > 1


class Curation(Schema):
    """One attempt to curate a scene."""

    task: Task
    planner: str
    """`llm:` and the name of the model as the server reported it."""
    title: str = ""
    setting: str = ""
    narrative: str = ""
    events: tuple[GroundedEvent, ...] = ()
    """Events up to the point where the attempt ended."""
    scene: Scene | None = None
    refused: str = ""
    """Reason for rejecting the attempt, as a slug; empty if there is a scene."""
    detail: str = ""
    usage: dict[str, Usage] = Field(default_factory=dict)
    """Usage of each role. Answers from the cache count with their original cost."""
    calls: tuple[str, ...] = ()
    """Content addresses of the calls of planner and refiner, in order."""


class CuratedSample(Schema):
    """The attempts for one sample; the last one counts."""

    index: int = Field(ge=0)
    curations: tuple[Curation, ...] = ()
    failed: str = ""
    """Error that ended curation; the sample is then quarantined."""
    payload: dict[str, Any] = Field(default_factory=dict)


class SceneSheet(Schema):
    """The scenes of one shard. Workers read the sheet and make no calls."""

    format: Literal["soundflow.scenes/1"] = "soundflow.scenes/1"
    fingerprint: Sha256
    shard: int = Field(ge=0)
    samples: tuple[CuratedSample, ...]
    """All samples in order of their index."""
    work: dict[str, RoleCost] = Field(default_factory=dict)
    """Usage of this run per role. Not part of the digest."""

    def digest(self) -> str:
        """Return the SHA-256 (hex) of everything but `work`."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json", exclude={"work"}))).hexdigest()
