"""Clip grounding (paper, section 3.2 and B.1): every event of a planned scene is played by a verified clip, found or made.

For each event: the top candidates of retrieval in turn, each judged, and judged again after TFJP where that is the verdict; when
none is accepted, a sound is generated and held to the same verifier. What plays one event is a neighbour of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.compose.clips import ClipPool
from soundflow.operators.curate.bag import ROLES
from soundflow.operators.curate.clip_evidence import CandidateClip, Embed, EmbedAudio, RequiredClip, SpeechDetector
from soundflow.operators.curate.retrieval import Hit, Query, Retriever
from soundflow.operators.curate.verifying import Verifier, verify
from soundflow.operators.protocols.generation import GeneratedSound, Generator
from soundflow.operators.tasks import Policy
from soundflow.schemas import constants as c
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.generation import MadeRequest
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from soundflow.schemas.scenario import RefinedEvent, SubEvent
from soundflow.schemas.sheet import GroundedEvent, Judgement, Tried
from soundflow.schemas.taxonomy import Urgency, urgency

SLACK: Final = 2.0
"""Clips this much shorter or longer than required are still looked at: the verifier decides, a guessed length does not."""
LONGEST_PHRASE: Final = 10
"""Words. A query of more tells a story, which no collection files a sound under: the planned sound is searched for instead."""
SURPLUS: Final = 8
"""Number of hits requested per candidate; for speech its square, since hits may be used, of another voice or unsuitable."""


class MadeClipStore(Protocol):
    """Where clips are made during a build: `pipeline.curate.made_clips.MadeClips`."""

    def find(self, request: MadeRequest) -> Clip | None:
        """The clip that was made for `request`, or None."""

    def generated(self, request: MadeRequest, made: GeneratedSound) -> Outcome[Clip]:
        """Clean and keep what a generator gave."""

    def reprocess(self, parent: Clip, samples: NDArray[np.float32], role: ClipRole) -> Outcome[Clip]:
        """TFJP once more."""


@dataclass(frozen=True, slots=True)
class GroundingTools:
    """What grounding works with; all of it is shared by many scenes at once."""

    pool: ClipPool
    """The index and the clips made so far."""
    retriever: Retriever
    embed: Embed
    """For how alike two texts are; the retriever's."""
    verifier: Verifier
    made_clips: MadeClipStore
    generator: Generator | None = None
    detect_speech: SpeechDetector | None = None
    embed_audio: EmbedAudio | None = None
    """Of a retriever that hears: identity is then judged by the sound, not by its words."""
    top_k: int = c.RETRIEVED
    split: str | None = None


@dataclass(slots=True)
class Grounding:
    """The events of one scene, as far as they are grounded."""

    events: list[GroundedEvent] = field(default_factory=list)
    refused: str = ""
    """Why the scene cannot be: an essential event that nothing plays. Empty when all is well."""
    detail: str = ""


async def ground(
    planned: Sequence[SubEvent],
    refined: Sequence[RefinedEvent],
    policy: Policy,
    tools: GroundingTools,
    voice: str,
    rng: np.random.Generator,
) -> Outcome[Grounding]:
    """Find or make a clip for every event, in order; of speech, clips of `voice` come first.

    A background or ambient event that nothing plays is left out; a foreground event that nothing plays ends the scene
    (`ungrounded`). Failed passes through from verifier and generator. Deterministic in its arguments and in what those answer.
    """
    work = [_EventSearch(event, wish, policy, tools) for event, wish in zip(planned, refined, strict=True)]
    turns = [int(turn) for turn in rng.integers(2**31, size=len(work))]
    hits = _found(work, turns, tools)
    done, used, before = Grounding(), set[str](), list[NDArray[np.float32]]()
    playing: list[Clip] = []
    for event, found, turn in zip(work, hits, turns, strict=True):
        free, event.playing = [hit for hit in found if hit.id not in used], tuple(playing)
        broken = await event.ground(sorted(free, key=lambda hit: event.other_voice(hit, voice)), before, seed=turn)
        if broken is not None:
            return broken
        done.events.append(event.told())
        if event.clip is not None:
            used |= {event.clip.id, event.tried[-1].clip_id}
            if event.planned.role == "foreground":
                before = [tools.pool.audio(event.clip)]
                playing.append(event.clip)
        elif event.planned.role == "foreground":
            done.refused, done.detail = "ungrounded", f"event {event.planned.order} ({event.planned.sound}): {event.left_out()}"
            break
    return Ok(done)


def _found(work: Sequence[_EventSearch], turns: Sequence[int], tools: GroundingTools) -> list[list[Hit]]:
    """For each event the hits among all clips of its roles, best first; one search for the whole scene."""
    queries = [(number, event.query(role, turn)) for number, (event, turn) in enumerate(zip(work, turns, strict=True))
               for role in ROLES[event.planned.role]]  # fmt: skip
    found: list[list[Hit]] = [[] for _ in work]
    for (number, _), hits in zip(queries, tools.retriever.search([query for _, query in queries]), strict=True):
        found[number] += hits
    return [sorted(hits, key=lambda hit: -hit.score) for hits in found]


class _EventSearch:
    """One event on its way to a clip."""

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
        self.playing: tuple[Clip, ...] = ()
        """What plays in the foreground before it."""

    def query(self, role: ClipRole, turn: int) -> Query:
        """What is searched for. Only a foreground clip can be too long: others are cropped to the stream."""
        low, high = self.required.seconds
        return Query(
            text=self.required.query,
            k=self.tools.top_k * SURPLUS * (SURPLUS if self.speech else 1),
            role=role,
            kind="speech" if self.speech else "sound",
            seconds=(low / SLACK, high * SLACK if self.planned.role == "foreground" else float("inf")),
            split=self.tools.split,
            turn=turn,
        )

    def other_voice(self, hit: Hit, voice: str) -> bool:
        """Whether a hit is speech of somebody else."""
        clip = self.tools.pool.get(hit.id)
        return self.speech and (clip.voice or clip.source) != voice

    async def ground(self, hits: Sequence[Hit], before: Sequence[NDArray[np.float32]], seed: int) -> Failed | None:
        """Try retrieval's best, then what can be made; Failed when something broke."""
        rank = 0
        for hit in hits:
            clip = self.tools.pool.get(hit.id)
            if not self._suits(clip):
                continue
            rank += 1
            broken = await self._try(clip, before, Tried(clip_id=hit.id, found="retrieved", rank=rank, score=hit.score))
            if broken is not None or self.clip is not None or rank == self.tools.top_k:
                break
        else:
            broken = None
        return broken if broken is not None or self.clip is not None else await self._make(before, seed)

    async def _make(self, before: Sequence[NDArray[np.float32]], seed: int) -> Failed | None:
        generator = self.tools.generator
        if generator is None or self.speech:
            return None
        if self.planned.role != "foreground" and urgency(self.planned.sound) is Urgency.RESPOND:
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
        tried = Tried(clip_id=made.value.id, found="generated")
        if not self._suits(made.value):
            self.tried.append(tried.model_copy(update={"refused": "unsuitable"}))
            return None
        return await self._try(made.value, before, tried)

    def _suits(self, clip: Clip) -> bool:
        """Whether the sub-task lets the clip play this event. What nobody answers must not be something to answer."""
        if self.planned.role != "foreground":
            return urgency(clip.label, clip.caption) is not Urgency.RESPOND
        return self.policy.can_play(clip, self.planned.responds) and self.policy.can_play_with(clip, self.playing)

    async def _try(self, clip: Clip, before: Sequence[NDArray[np.float32]], tried: Tried) -> Failed | None:
        """Hold one clip against the verifier; the same for retrieved and made ones."""
        tools = self.tools
        candidate = CandidateClip(clip, tools.pool.audio(clip))
        outcome = await verify(
            self.required,
            candidate,
            before,
            tools.verifier,
            tools.embed,
            self._reprocessed,
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

    def _reprocessed(self, candidate: CandidateClip) -> Outcome[CandidateClip]:
        cleaned = self.tools.made_clips.reprocess(candidate.clip, candidate.samples, ClipRole(self.planned.role))
        return Ok(CandidateClip(cleaned.value, self.tools.pool.audio(cleaned.value))) if isinstance(cleaned, Ok) else cleaned

    def left_out(self) -> str:
        """Why nothing plays the event; empty when something does."""
        if self.clip is not None:
            return ""
        return self.tried[-1].refused if self.tried else "nothing_found"

    def told(self) -> GroundedEvent:
        """For the sheet."""
        return GroundedEvent(
            planned=self.planned,
            refined=self.refined,
            tried=tuple(self.tried),
            clip_id=self.clip.id if self.clip is not None else None,
            left_out=self.left_out(),
        )


def _phrase(query: str, sound: str) -> str:
    """The query of a sound, or what was planned where the query is a sentence and the plan is none."""
    return sound if len(query.split()) > LONGEST_PHRASE >= len(sound.split()) else query
