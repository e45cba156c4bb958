"""The clip verifier (paper, appendix B.1): may this clip play this event? Evidence is measured by us, then judged.

The same evidence, criteria and code for retrieved and for made clips: nothing here knows which of the two a clip is. Judges are
rules on the evidence (`rules`), or the recipe's language model, which is shown the same evidence and hears the clip where it can.
A clip that should be cleaned goes through TFJP once more and is judged again; then it is accepted or rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from operators.clip_evidence import Audio, Candidate, Embed, HearSpeech, Wanted, measure
from schemas import constants as c
from schemas.clip import Clip
from schemas.generation import ClipVerdict, Evidence, VerifierConfig
from schemas.outcome import Ok, Outcome, Rejected
from schemas.scenario import EventRole
from schemas.taxonomy import label_words

VERIFYING_VERSION: Final = "1"
MENDABLE: Final = frozenset({"snr", "silence"})
"""What TFJP can mend: it removes noise and trims silence."""
STEADY: Final = frozenset(
    """rain rainfall raining drizzle downpour wind windy breeze water stream river brook waterfall fountain shower wave waves
    ocean sea surf tap faucet pouring hum humming buzz buzzing drone static noise hiss hissing steam fan vacuum dryer
    conditioner ventilation engine motor idling traffic machine crowd applause clapping cheering fire crackling frying sizzling
    boiling airplane helicopter""".split()
)
"""Sounds that are noise, or go on without a pause: nothing tells their floor from them."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One verdict, what it rests on, and who gave it."""

    verdict: ClipVerdict
    evidence: Evidence
    verifier: str
    """`rules`, or the model's name."""


class Verifier(Protocol):
    """Judges from evidence."""

    async def judge(self, wanted: Wanted, candidate: Candidate, evidence: Evidence, *, final: bool) -> Outcome[Judged]:
        """The verdict; `final`: the clip was cleaned once more already, `reprocess` is no answer any more."""
        ...


@dataclass(frozen=True, slots=True)
class Verified:
    """An accepted clip and how it came to be accepted."""

    clip: Clip
    """The candidate, or what TFJP made of it."""
    judged: tuple[Judged, ...]
    """One verdict, or two: the second after TFJP."""


Reprocess = Callable[[Candidate], Outcome[Candidate]]
"""TFJP once more; the result is a clip of its own (`pipeline.made_clips.MadeClips.reprocess`)."""


def ramp(value: float, line: tuple[float, float]) -> float:
    """0 at `line[0]` and beyond, 1 at `line[1]` and beyond, linear between; either may be the larger."""
    return float(np.clip((value - line[0]) / (line[1] - line[0]), 0.0, 1.0))


class Rules:
    """The offline verifier: each criterion is the worst of its measures."""

    def __init__(self, config: VerifierConfig):
        self.config = config

    async def judge(self, wanted: Wanted, candidate: Candidate, evidence: Evidence, *, final: bool) -> Outcome[Judged]:
        """Always Ok."""
        return Ok(Judged(self.verdict(wanted, evidence, final=final), evidence, "rules"))

    def verdict(self, wanted: Wanted, evidence: Evidence, *, final: bool) -> ClipVerdict:
        """The verdict on `evidence`; nothing else is looked at."""
        scores = self._scores(wanted, evidence)
        criteria = {name: min(measures.values()) for name, measures in scores.items()}
        failing = {
            measure: score for measures in scores.values() for measure, score in measures.items() if score < self.config.accept
        }
        verdict: Literal["accept", "reprocess", "reject"] = "accept"
        if failing:
            mendable = set(failing) <= MENDABLE and min(failing.values()) > 0.0
            verdict = "reprocess" if mendable and not final else "reject"
        reason = ", ".join(f"{name} {score:.2f}" for name, score in sorted(failing.items())) or "all criteria are met"
        return ClipVerdict(**criteria, verdict=verdict, reason=reason)

    def _scores(self, wanted: Wanted, evidence: Evidence) -> dict[str, dict[str, float]]:
        """Criterion → measure → score."""
        lines = self.config
        identity = {"similarity": ramp(evidence.similarity, lines.similarity)}
        cleanliness = {
            "clipping": ramp(evidence.clipped_ratio, lines.clipped_ratio),
            "level": ramp(evidence.active_level_db, lines.active_level_db),
        }
        if not is_steady(wanted):
            cleanliness["snr"] = ramp(evidence.snr_db, lines.snr_db)
        if evidence.speech_ratio is not None:
            if wanted.speech:
                identity["speech"] = 1.0 - ramp(evidence.speech_ratio, lines.speech_ratio)
            else:
                cleanliness["speech"] = ramp(evidence.speech_ratio, lines.speech_ratio)
        continuity = {}
        if evidence.level_gap_db is not None and evidence.spectral_distance_db is not None:
            continuity = {
                "level gap": ramp(abs(evidence.level_gap_db), lines.level_gap_db),
                "spectral distance": ramp(evidence.spectral_distance_db, lines.spectral_distance_db),
            }
        duration = {
            "length": ramp(excess(evidence, wanted.role), lines.excess_seconds),
            "silence": ramp(evidence.active_ratio, lines.active_ratio),
        }
        return {
            "identity": identity,
            "cleanliness": cleanliness,
            "duration_fit": duration,
            "continuity": continuity or {"no neighbours": 1.0},
        }


def is_steady(wanted: Wanted) -> bool:
    """Whether the sound that is wanted is itself what a floor is made of."""
    return wanted.role == "ambient" or bool(STEADY & set(label_words(f"{wanted.query} {wanted.caption}")))


def excess(evidence: Evidence, role: EventRole) -> float:
    """The factor by which a clip is longer or shorter than wanted, at least 1. TFJP makes whole δ: one more is nothing;
    background and ambient clips are cropped to the stream, so they are never too long."""
    low, high = evidence.wanted_seconds
    longer = (evidence.seconds - c.HALF_CHUNK_SAMPLES / c.SAMPLE_RATE) / high if role == "foreground" else 1.0
    return max(1.0, longer, low / evidence.seconds)


async def verify(
    wanted: Wanted,
    candidate: Candidate,
    neighbours: Sequence[Audio],
    verifier: Verifier,
    embed: Embed,
    reprocess: Reprocess,
    hear_speech: HearSpeech | None = None,
) -> Outcome[Verified]:
    """Measure, judge, clean once more where that is the verdict, measure and judge again.

    Rejected: `clip_identity`, `clip_cleanliness`, `clip_duration_fit` or `clip_continuity` (the weakest criterion), with every
    verdict and its evidence in the metrics; the reasons of `reprocess` and of the verifier pass through.
    """
    judged: list[Judged] = []
    for final in (False, True):
        evidence = measure(wanted, candidate, neighbours, embed, hear_speech)
        outcome = await verifier.judge(wanted, candidate, evidence, final=final)
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
    told = [
        {"verifier": one.verifier, "verdict": one.verdict.model_dump(), "evidence": one.evidence.model_dump()} for one in judged
    ]
    return Rejected(f"clip_{judged[-1].verdict.weakest()}", {"clip": candidate.clip.id, "judged": told})
