"""Clip grounding (paper, section 3.2 and B.1): a verified clip, retrieved or generated, for every event of a scenario.

For each event, the best candidates of retrieval are judged in order, and judged again after TFJP if the verdict is `reprocess`.
If none is accepted, a sound is generated and judged by the same verifier. The clip of an event is a neighbour of the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.compose.clips import ClipPool, decided_clip
from soundflow.operators.curate.bag import ROLES
from soundflow.operators.curate.clip_evidence import CandidateClip, Embed, EmbedAudio, RequiredClip, SpeechDetector
from soundflow.operators.curate.retrieval import Hit, Query, Retriever
from soundflow.operators.curate.verifying import Verifier, verify
from soundflow.operators.protocols.generation import GeneratedSound, Generator
from soundflow.operators.tasks import Policy
from soundflow.schemas import constants as c
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.decision import DecisionRules, decision_of
from soundflow.schemas.generation import MadeRequest
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from soundflow.schemas.scenario import RefinedEvent, SubEvent
from soundflow.schemas.sheet import GroundedEvent, Judgement, Tried
from soundflow.schemas.taxonomy import Urgency, urgency

SLACK: Final = 2.0
"""Factor by which candidates may be shorter or longer than required: the planned length is a guess, and the verifier decides."""
MAX_QUERY_WORDS: Final = 10
"""Maximum number of words of a query. A longer query is a sentence rather than a name; the planned sound replaces it."""
SURPLUS: Final = 8
"""Number of hits requested per candidate; for speech its square, since hits may be used, of another voice or unsuitable."""


class MadeClipStore(Protocol):
    """The store of clips made during a build: `pipeline.curate.made_clips.MadeClips`."""

    def find(self, request: MadeRequest) -> Clip | None:
        """Return the clip made for `request`, or None."""

    def generated(self, request: MadeRequest, made: GeneratedSound) -> Outcome[Clip]:
        """Clean and store a generated sound."""

    def reprocess(self, parent: Clip, samples: NDArray[np.float32], role: ClipRole) -> Outcome[Clip]:
        """Clean a clip by TFJP once more."""


@dataclass(frozen=True, slots=True)
class GroundingTools:
    """The services of grounding, shared by concurrent scenes."""

    pool: ClipPool
    """Clips of the index and clips made during the build."""
    retriever: Retriever
    embed: Embed
    """Text embedding of the retriever, for the similarity of texts."""
    verifier: Verifier
    made_clips: MadeClipStore
    generator: Generator | None = None
    detect_speech: SpeechDetector | None = None
    embed_audio: EmbedAudio | None = None
    """Audio embedding of the retriever, if it has one. The similarity then uses the audio of clips instead of their texts."""
    top_k: int = c.RETRIEVED
    split: str | None = None
    licences: frozenset[str] | None = None
    """Licences of the index that clips may have; None for any."""
    longest_clip: int | None = None
    """Maximum length of foreground clips in samples."""
    rules: DecisionRules = field(default_factory=DecisionRules)
    """Decisions of the recipe, for planned sounds and the clips made for them."""
    use_rejected: bool = False
    """Whether speech whose transcript alignment rejected may play."""


@dataclass(slots=True)
class Grounding:
    """The events of a scene that have been grounded."""

    events: list[GroundedEvent] = field(default_factory=list)
    refused: str = ""
    """Reason for rejecting the scene: a foreground event without a clip. Empty if there is none."""
    detail: str = ""


async def ground(
    planned: Sequence[SubEvent],
    refined: Sequence[RefinedEvent],
    policy: Policy,
    tools: GroundingTools,
    voice: str,
    rng: np.random.Generator,
) -> Outcome[Grounding]:
    """Retrieve or generate a clip for every event, in order. For speech, clips of `voice` come first.

    A background or ambient event without a clip is left out; a foreground event without one ends the scene (`ungrounded`).
    Failed: the verifier or the generator failed. Deterministic in its arguments and in the results of the services.
    """
    searches = [_EventSearch(event, refinement, policy, tools) for event, refinement in zip(planned, refined, strict=True)]
    seeds = [int(seed) for seed in rng.integers(2**31, size=len(searches))]
    hits = _retrieve(searches, seeds, tools)
    done, used, before = Grounding(), set[str](), list[NDArray[np.float32]]()
    foreground: list[Clip] = []
    for event, found, seed in zip(searches, hits, seeds, strict=True):
        free, event.foreground = [hit for hit in found if hit.id not in used], tuple(foreground)
        failed = await event.ground(sorted(free, key=lambda hit: event.has_other_voice(hit, voice)), before, seed=seed)
        if failed is not None:
            return failed
        done.events.append(event.grounded_event())
        if event.clip is not None:
            used |= {event.clip.id, event.tried[-1].clip_id}
            if event.planned.role == "foreground":
                before = [tools.pool.audio(event.clip)]
                foreground.append(event.clip)
        elif event.planned.role == "foreground":
            done.refused, done.detail = "ungrounded", f"event {event.planned.order} ({event.planned.sound}): {event.left_out()}"
            break
    return Ok(done)


def _retrieve(searches: Sequence[_EventSearch], seeds: Sequence[int], tools: GroundingTools) -> list[list[Hit]]:
    """Return the hits of each event among the clips of its roles, best first. The scene is one batch of queries."""
    queries = [(number, event.query(role, seed)) for number, (event, seed) in enumerate(zip(searches, seeds, strict=True))
               for role in ROLES[event.planned.role]]  # fmt: skip
    found: list[list[Hit]] = [[] for _ in searches]
    for (number, _), hits in zip(queries, tools.retriever.search([query for _, query in queries]), strict=True):
        found[number] += hits
    return [sorted(hits, key=lambda hit: -hit.score) for hits in found]


class _EventSearch:
    """The search for the clip of one event."""

    def __init__(self, planned: SubEvent, refined: RefinedEvent, policy: Policy, tools: GroundingTools):
        self.planned, self.refined, self.policy, self.tools = planned, refined, policy, tools
        self.speech = policy.responds_to_speech and planned.responds
        self.required = RequiredClip(
            query=refined.query if self.speech else _phrase(refined.query, planned.sound),
            caption=refined.caption,
            role=planned.role,
            seconds=(refined.min_seconds, refined.max_seconds),
            speech=self.speech,
        )
        self.tried: list[Tried] = []
        self.clip: Clip | None = None
        self.foreground: tuple[Clip, ...] = ()
        """Clips of the foreground events before it."""

    def query(self, role: ClipRole, seed: int) -> Query:
        """Return the retrieval query. Only foreground clips can be too long; others are cropped to the stream."""
        low, high = self.required.seconds
        return Query(
            text=self.required.query,
            k=self.tools.top_k * SURPLUS * (SURPLUS if self.speech else 1),
            role=role,
            kind="speech" if self.speech else "sound",
            seconds=(low / SLACK, high * SLACK if self.planned.role == "foreground" else float("inf")),
            split=self.tools.split,
            licences=self.tools.licences,
            tie_seed=seed,
        )

    def has_other_voice(self, hit: Hit, voice: str) -> bool:
        """Return whether a hit is speech of another voice."""
        clip = self.tools.pool.get(hit.id)
        return self.speech and (clip.voice or clip.source) != voice

    async def ground(self, hits: Sequence[Hit], before: Sequence[NDArray[np.float32]], seed: int) -> Failed | None:
        """Try the hits of retrieval, then generation. Returns Failed if a service failed."""
        rank = 0
        for hit in hits:
            clip = self.tools.pool.get(hit.id)
            if not self._can_play(clip):
                continue
            rank += 1
            failed = await self._try(clip, before, Tried(clip_id=hit.id, found="retrieved", rank=rank, score=hit.score))
            if failed is not None or self.clip is not None or rank == self.tools.top_k:
                break
        else:
            failed = None
        return failed if failed is not None or self.clip is not None else await self._generate(before, seed)

    async def _generate(self, before: Sequence[NDArray[np.float32]], seed: int) -> Failed | None:
        generator = self.tools.generator
        if generator is None or self.speech:
            return None
        planned = self.tools.rules.find(self.planned.sound) or urgency(self.planned.sound)
        if self.planned.role != "foreground" and planned is Urgency.RESPOND:
            self.tried.append(Tried(clip_id="", found="generated", refused="unsuitable"))
            return None
        request = MadeRequest(
            kind="generated",
            maker=generator.maker,
            text=self.refined.caption,
            label=self.planned.sound,
            role=ClipRole(self.planned.role),
            seconds=self.required.seconds,
            seed=seed,
        )
        made: Outcome[Clip]
        kept = self.tools.made_clips.find(request)
        if kept is not None:
            made = Ok(kept)
        else:
            sound = await generator.generate(request.text, self.required.seconds, seed)
            made = self.tools.made_clips.generated(request, sound.value) if isinstance(sound, Ok) else sound
        if isinstance(made, Failed):
            return made
        if isinstance(made, Rejected):
            self.tried.append(Tried(clip_id="", found="generated", refused=made.reason))
            return None
        clip = decided_clip(made.value, self.tools.rules)
        tried = Tried(clip_id=clip.id, found="generated")
        if not self._can_play(clip):
            self.tried.append(tried.model_copy(update={"refused": "unsuitable"}))
            return None
        return await self._try(clip, before, tried)

    def _can_play(self, clip: Clip) -> bool:
        """Return whether sub-task and limits allow the clip for this event. Hazards cannot play in the background."""
        if clip.transcript_rejected and not self.tools.use_rejected:
            return False
        if self.planned.role != "foreground":
            return decision_of(clip) is not Urgency.RESPOND
        if self.tools.longest_clip is not None and clip.samples > self.tools.longest_clip:
            return False
        return self.policy.can_play(clip, self.planned.responds) and self.policy.can_play_with(clip, self.foreground)

    async def _try(self, clip: Clip, before: Sequence[NDArray[np.float32]], tried: Tried) -> Failed | None:
        """Verify a clip, retrieved or generated alike."""
        tools = self.tools
        candidate = CandidateClip(clip, tools.pool.audio(clip))
        outcome = await verify(
            self.required,
            candidate,
            before,
            tools.verifier,
            tools.embed,
            self._reprocess,
            tools.detect_speech,
            tools.embed_audio,
        )
        if isinstance(outcome, Failed):
            return outcome
        if isinstance(outcome, Rejected):
            judged = tuple(Judgement.model_validate(one) for one in outcome.metrics.get("judged", ()))
            self.tried.append(tried.model_copy(update={"judged": judged, "refused": outcome.reason}))
            return None
        self.clip = outcome.value.clip
        self.tried.append(tried.model_copy(update={"judged": outcome.value.judged}))
        return None

    def _reprocess(self, candidate: CandidateClip) -> Outcome[CandidateClip]:
        cleaned = self.tools.made_clips.reprocess(candidate.clip, candidate.samples, ClipRole(self.planned.role))
        return Ok(CandidateClip(cleaned.value, self.tools.pool.audio(cleaned.value))) if isinstance(cleaned, Ok) else cleaned

    def left_out(self) -> str:
        """Return the reason for leaving the event out; empty if it has a clip."""
        if self.clip is not None:
            return ""
        return self.tried[-1].refused if self.tried else "nothing_found"

    def grounded_event(self) -> GroundedEvent:
        """Return the result for the sheet."""
        return GroundedEvent(
            planned=self.planned,
            refined=self.refined,
            tried=tuple(self.tried),
            clip_id=self.clip.id if self.clip is not None else None,
            left_out=self.left_out(),
        )


def _phrase(query: str, sound: str) -> str:
    """Return the query, or the planned sound if the query is a sentence and the planned sound is not."""
    return sound if len(query.split()) > MAX_QUERY_WORDS >= len(sound.split()) else query
