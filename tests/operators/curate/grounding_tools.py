"""Scripted services of grounding: retriever, verifier and generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from soundflow.backends.embed.hashed_ngrams import HashedNgrams
from soundflow.operators.curate.clip_evidence import CandidateClip, RequiredClip
from soundflow.operators.curate.grounding import GroundingTools
from soundflow.operators.curate.retrieval import Hit, Query
from soundflow.operators.protocols.embedding import Vectors
from soundflow.operators.protocols.generation import GeneratedSound
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.generation import ClipVerdict, Evidence, MadeRequest, Maker
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from soundflow.schemas.sheet import Judgement
from tests.operators.compose.pool import MemoryPool


def tone(seconds: float = 0.5, hertz: float = 440.0) -> NDArray[np.float32]:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(16_000 * seconds)) / 16_000)).astype(np.float32)


class Found:
    """A retriever that finds clips of the query's role and kind whose label holds a word of it, in id order."""

    identity = "found/1"

    def __init__(self, pool: MemoryPool):
        self.pool, self.requests = pool, list[Query]()

    def search(self, queries: Sequence[Query]) -> list[list[Hit]]:
        self.requests += queries
        return [self._hits(query) for query in queries]

    def _hits(self, query: Query) -> list[Hit]:
        words = set(query.text.split())
        clips = [self.pool.get(brief.id) for brief in self.pool.briefs() if brief.role is query.role and brief.kind == query.kind]
        alike = [clip for clip in clips if words & set(f"{clip.label} {clip.transcript or ''}".split())]
        return [Hit(clip.id, clip.label, round(0.9 - 0.01 * place, 6)) for place, clip in enumerate(alike)][: query.k]

    def embed(self, texts: Sequence[str]) -> Vectors:
        return HashedNgrams().embed(texts)


@dataclass
class Script:
    """A verifier: clip id → its verdicts, one after the other; anything else is accepted."""

    verdicts: dict[str, list[str]] = field(default_factory=dict)
    judged: list[tuple[str, bool]] = field(default_factory=list)
    """Clip and whether the verdict was final."""

    async def judge(
        self, required: RequiredClip, candidate: CandidateClip, evidence: Evidence, *, final: bool
    ) -> Outcome[Judgement]:
        self.judged.append((candidate.clip.id, final))
        verdicts = self.verdicts.get(candidate.clip.id, ["accept"])
        verdict = verdicts[min(final, len(verdicts) - 1)]
        if verdict == "broken":
            return Failed("the model is gone", "llm")
        score = 0.9 if verdict == "accept" else 0.2
        four = {"identity": score, "cleanliness": 0.9, "duration_fit": 0.9, "continuity": 0.9}
        judged = ClipVerdict.model_validate({"reason": "scripted", "verdict": verdict} | four)
        return Ok(Judgement(verifier="script", verdict=judged, evidence=evidence))


class Maker_:
    """A generator that makes a tone for every request, except those with the word `impossible`."""

    maker = Maker(backend="procedural", model="tones", licence="CC0-1.0")

    def __init__(self) -> None:
        self.requests: list[tuple[str, tuple[float, float], int]] = []

    async def generate(self, caption: str, seconds: tuple[float, float], seed: int) -> Outcome[GeneratedSound]:
        self.requests.append((caption, seconds, seed))
        if "impossible" in caption:
            return Rejected("cannot_make")
        return Failed("the service is gone", "generation") if "broken" in caption else Ok(GeneratedSound(tone(), caption))


class Bench:
    """A made_clips in memory."""

    def __init__(self, pool: MemoryPool):
        self.pool, self.made = pool, dict[str, Clip]()

    def find(self, request: MadeRequest) -> Clip | None:
        return self.made.get(request.key())

    def generated(self, request: MadeRequest, made: GeneratedSound) -> Outcome[Clip]:
        clip = self.pool.add(f"made-{len(self.made)}", made.samples, request.role, request.label, caption=made.caption)
        self.made[request.key()] = clip
        return Ok(clip)

    def reprocess(self, parent: Clip, samples: NDArray[np.float32], role: ClipRole) -> Outcome[Clip]:
        return Ok(self.pool.add(f"{parent.id}-cleaned", samples, role, parent.label))


def tools_of(pool: MemoryPool, verifier: Script | None = None, generator: Maker_ | None = None) -> GroundingTools:
    retriever = Found(pool)
    return GroundingTools(pool, retriever, retriever.embed, verifier or Script(), Bench(pool), generator)
