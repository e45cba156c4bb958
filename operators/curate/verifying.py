"""The clip verifier (paper, appendix B.1): may this clip play this event? Evidence is measured by us, then judged.

The same evidence, criteria and code for retrieved and for made clips: nothing here knows which of the two a clip is. Judges are
rules on the evidence (`rules`), or the recipe's language model, which is shown the same evidence and hears the clip where it can.
A clip that should be cleaned goes through TFJP once more and is judged again; then it is accepted or rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, Protocol

import numpy as np

from soundflow.operators.clean.clip_cache import to_wav
from soundflow.operators.curate.clip_evidence import (
    Audio,
    CandidateClip,
    Embed,
    EmbedAudio,
    RequiredClip,
    SpeechDetector,
    measure,
)
from soundflow.operators.protocols.asking import ask
from soundflow.operators.protocols.chat import AudioAttachment, ChatModel
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import Clip
from soundflow.schemas.generation import ClipVerdict, Evidence, Line, VerifierConfig
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.scenario import EventRole
from soundflow.schemas.sheet import Judgement
from soundflow.schemas.taxonomy import label_words

VERIFYING_VERSION: Final = "2"
ROLE: Final = "clip_verifier"
MINILM: Final = "all-MiniLM-L6-v2-int8"
SIMILARITY_LINES: Final[Mapping[str, Line]] = MappingProxyType({MINILM: (0.30, 0.60), "hashed-ngrams": (0.10, 0.50)})
"""By embedder, as `python -m soundflow.bench.experiments.verifier` draws them: what is alike to one is not to another."""
MENDABLE: Final = frozenset({"snr", "silence"})
"""What TFJP can mend: it removes noise and trims silence."""
STEADY: Final = frozenset(
    """rain rainfall raining drizzle downpour wind windy breeze water stream river brook waterfall fountain shower wave waves
    ocean sea surf tap faucet pouring hum humming buzz buzzing drone static hiss hissing steam fan vacuum dryer conditioner
    ventilation engine motor idling traffic crowd applause clapping cheering fire crackling frying sizzling boiling airplane
    helicopter crickets insects""".split()
)
"""Words of a query for sounds that are noise or go on without a pause: nothing tells their floor from them."""
VOICES: Final = frozenset(
    """voice voices speech speaking talk talking conversation chatter announcement announcer radio television tv crowd people
    party laugh laughs laughing laughter chuckle giggle giggling scream screaming shout shouting yell yelling cry crying sob
    sobbing baby child children cough coughing sneeze sneezing cheer cheering sing singing song music audience whisper""".split()
)
"""Words of a query for sounds that people make: they may well be taken for speech."""


class Verifier(Protocol):
    """Judges from evidence."""

    async def judge(
        self, required: RequiredClip, candidate: CandidateClip, evidence: Evidence, *, final: bool
    ) -> Outcome[Judgement]:
        """The verdict; `final`: the clip was cleaned once more already, `reprocess` is no answer any more."""
        ...


@dataclass(frozen=True, slots=True)
class Verified:
    """An accepted clip and how it came to be accepted."""

    clip: Clip
    """The candidate, or what TFJP made of it."""
    judged: tuple[Judgement, ...]
    """One verdict, or two: the second after TFJP."""


Reprocess = Callable[[CandidateClip], Outcome[CandidateClip]]
"""TFJP once more; the result is a clip of its own (`pipeline.curate.made_clips.MadeClips.reprocess`)."""


def ramp(value: float, line: tuple[float, float]) -> float:
    """0 at `line[0]` and beyond, 1 at `line[1]` and beyond, linear between; either may be the larger."""
    return float(np.clip((value - line[0]) / (line[1] - line[0]), 0.0, 1.0))


class Rules:
    """The offline verifier: each criterion is the worst of its measures."""

    def __init__(self, config: VerifierConfig, embedder: str):
        """`embedder`: name, or `name/version…`, of what similarity is measured with. InputError when no line is known for it."""
        line = config.similarity or SIMILARITY_LINES.get(embedder.partition("/")[0])
        if line is None:
            raise InputError(
                "the rules have no line for this embedder",
                field="verifier.similarity",
                value=embedder,
                remedy="Set it to [cosine that fails, cosine that is met], such as [0.3, 0.6] for all-MiniLM-L6-v2",
            )
        self.config, self.similarity = config, line

    async def judge(
        self, required: RequiredClip, candidate: CandidateClip, evidence: Evidence, *, final: bool
    ) -> Outcome[Judgement]:
        """Always Ok."""
        return Ok(Judgement(verifier="rules", verdict=self.verdict(required, evidence, final=final), evidence=evidence))

    def verdict(self, required: RequiredClip, evidence: Evidence, *, final: bool) -> ClipVerdict:
        """The verdict on `evidence`; nothing else is looked at."""
        scores = self._scores(required, evidence)
        criteria = {name: min(measures.values(), default=1.0) for name, measures in scores.items()}
        failing = {
            measure: score for measures in scores.values() for measure, score in measures.items() if score < self.config.accept
        }
        verdict: Literal["accept", "reprocess", "reject"] = "accept"
        if failing:
            mendable = set(failing) <= MENDABLE and min(failing.values()) > 0.0
            verdict = "reprocess" if mendable and not final else "reject"
        reason = ", ".join(f"{name} {score:.2f}" for name, score in failing.items()) or "all criteria are met"
        return ClipVerdict(**criteria, verdict=verdict, reason=reason)

    def _scores(self, required: RequiredClip, evidence: Evidence) -> dict[str, dict[str, float]]:
        """Criterion → measure → score."""
        lines = self.config
        identity = {"similarity": ramp(evidence.similarity, self.similarity)}
        cleanliness = {
            "clipping": ramp(evidence.clipped_ratio, lines.clipped_ratio),
            "level": ramp(evidence.active_level_db, lines.active_level_db),
        }
        duration = {
            "length": ramp(length_factor(evidence, required.role), lines.length_factor),
            "silence": ramp(evidence.active_ratio, lines.active_ratio),
        }
        continuity: dict[str, float] = {}
        words = set(label_words(required.query))
        if required.role != "ambient" and not words & STEADY:
            cleanliness["snr"] = ramp(evidence.snr_db, lines.snr_db)
        if evidence.speech_ratio is not None and required.speech:
            identity["no speech"] = ramp(evidence.speech_ratio, lines.speech_ratio[::-1])
        elif evidence.speech_ratio is not None and not words & VOICES:
            cleanliness["speech"] = ramp(evidence.speech_ratio, lines.speech_ratio)
        if evidence.level_gap_db is not None:
            continuity["level gap"] = ramp(abs(evidence.level_gap_db), lines.level_gap_db)
        if evidence.spectral_distance_db is not None:
            continuity["spectral distance"] = ramp(evidence.spectral_distance_db, lines.spectral_distance_db)
        return {"identity": identity, "cleanliness": cleanliness, "duration_fit": duration, "continuity": continuity}


class LlmVerifier:
    """The recipe's model as the verifier: it is shown the evidence, and hears the clip where it can listen."""

    def __init__(self, config: VerifierConfig, chat: ChatModel):
        self.config, self.chat = config, chat

    async def judge(
        self, required: RequiredClip, candidate: CandidateClip, evidence: Evidence, *, final: bool
    ) -> Outcome[Judgement]:
        """What `operators.protocols.asking.ask` gives: Rejected when the model has no usable answer, Failed when there is
        none.

        One seed for all: the same clip for the same event is the same question, in whichever scene.
        """
        audible = self.chat.config.answering(ROLE).audio
        clip = candidate.clip
        event = {
            "query": required.query,
            "sounds_like": required.caption,
            "role": required.role,
            "seconds": required.seconds,
            "speech": required.speech,
        }
        told = {"label": clip.label, "caption": clip.caption, "transcript": clip.transcript, **evidence.model_dump()}
        values = {"event": event, "evidence": told, "audible": audible, "final": final, "accept": self.config.accept}
        sounds = (AudioAttachment(to_wav(candidate.samples)),) if audible else ()
        answer = await ask(
            self.chat, ROLE, values, ClipVerdict, seed=0, sounds=sounds, check=lambda verdict: self.contradiction(verdict, final)
        )
        if not isinstance(answer, Ok):
            return answer
        return Ok(Judgement(verifier=answer.value.model, verdict=answer.value.value, evidence=evidence))

    def contradiction(self, verdict: ClipVerdict, final: bool) -> str:
        """Why the verdict does not follow from its own criteria; empty when it does."""
        if final and verdict.verdict == "reprocess":
            return "the clip was cleaned once more already: verdict must be accept or reject"
        low = [name for name, score in verdict.criteria().items() if score < self.config.accept]
        if verdict.verdict == "accept" and low:
            return f"verdict is accept, but {' and '.join(low)} below {self.config.accept:g}"
        if verdict.verdict == "reject" and not low:
            return f"verdict is reject, but every criterion reaches {self.config.accept:g}"
        return ""


def verifier_of(config: VerifierConfig, embedder: str, chat: ChatModel | None) -> Verifier:
    """The verifier a recipe means; `embedder` says what similarity is measured with. InputError when there is none."""
    if config.verifier == "rules":
        return Rules(config, embedder)
    if chat is None:
        remedy = "Add an llm section, or take verifier: rules"
        raise InputError("the model as a verifier needs a model", field="verifier.verifier", value=config.verifier, remedy=remedy)
    return LlmVerifier(config, chat)


def length_factor(evidence: Evidence, role: EventRole) -> float:
    """By which a clip is longer or shorter than required, at least 1. TFJP makes whole δ, so one more is nothing; background and
    ambient clips are cropped to the stream, so they are never too long."""
    low, high = evidence.wanted_seconds
    longer = (evidence.seconds - c.HALF_CHUNK_SAMPLES / c.SAMPLE_RATE) / high if role == "foreground" else 1.0
    return max(1.0, longer, low / evidence.seconds)


async def verify(
    required: RequiredClip,
    candidate: CandidateClip,
    neighbours: Sequence[Audio],
    verifier: Verifier,
    embed: Embed,
    reprocess: Reprocess,
    detect_speech: SpeechDetector | None = None,
    embed_audio: EmbedAudio | None = None,
) -> Outcome[Verified]:
    """Measure, judge, clean once more where that is the verdict, measure and judge again.

    Rejected: `clip_identity`, `clip_cleanliness`, `clip_duration_fit` or `clip_continuity` (the weakest criterion), with every
    verdict and its evidence in the metrics; the reasons of `reprocess` and of the verifier pass through.
    """
    judged: list[Judgement] = []
    for final in (False, True):
        evidence = measure(required, candidate, neighbours, embed, detect_speech, embed_audio)
        outcome = await verifier.judge(required, candidate, evidence, final=final)
        if not isinstance(outcome, Ok):
            return outcome
        judged.append(outcome.value)
        verdict = outcome.value.verdict
        if verdict.verdict == "accept":
            return Ok(Verified(candidate.clip, tuple(judged)))
        if verdict.verdict == "reject" or final:
            break
        cleaned = reprocess(candidate)
        if not isinstance(cleaned, Ok):
            return cleaned
        candidate = cleaned.value
    metrics = {"clip": candidate.clip.id, "judged": [judgement.model_dump() for judgement in judged]}
    return Rejected(f"clip_{judged[-1].verdict.weakest()}", metrics)
