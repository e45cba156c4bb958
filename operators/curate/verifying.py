"""The clip verifier (paper, appendix B.1): whether a clip may play an event.

Measurements (`clip_evidence`) are judged by rules, or by the language model of the recipe, which also receives the audio if it
accepts audio. Retrieved and generated clips are treated alike. A clip with the verdict `reprocess` is cleaned by TFJP once more
and judged again; it is then accepted or rejected.

Reasons are stored in sheets, and contradictions are sent to the model: their texts are part of digests and cache keys.
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
"""Limits of similarity for each embedder, measured by `python -m soundflow.bench.experiments.verifier`."""
IMPROVABLE: Final = frozenset({"snr", "silence"})
"""Measures that TFJP can improve, since it removes noise and trims silence."""
STEADY: Final = frozenset(
    """rain rainfall raining drizzle downpour wind windy breeze water stream river brook waterfall fountain shower wave waves
    ocean sea surf tap faucet pouring hum humming buzz buzzing drone static hiss hissing steam fan vacuum dryer conditioner
    ventilation engine motor idling traffic crowd applause clapping cheering fire crackling frying sizzling boiling airplane
    helicopter crickets insects""".split()
)
"""Words of queries for noise-like or continuous sounds, whose SNR cannot be measured."""
VOICES: Final = frozenset(
    """voice voices speech speaking talk talking conversation chatter announcement announcer radio television tv crowd people
    party laugh laughs laughing laughter chuckle giggle giggling scream screaming shout shouting yell yelling cry crying sob
    sobbing baby child children cough coughing sneeze sneezing cheer cheering sing singing song music audience whisper""".split()
)
"""Words of queries for sounds of people, which a speech detector may take for speech."""


class Verifier(Protocol):
    """Judges a candidate from its evidence."""

    async def judge(
        self, required: RequiredClip, candidate: CandidateClip, evidence: Evidence, *, final: bool
    ) -> Outcome[Judgement]:
        """Return the verdict. `final`: the clip has been cleaned once more, so that `reprocess` is not allowed."""
        ...


@dataclass(frozen=True, slots=True)
class Verified:
    """An accepted clip with its verdicts."""

    clip: Clip
    """The candidate, or the result of cleaning it once more."""
    judged: tuple[Judgement, ...]
    """One verdict, or two if the clip was judged again after TFJP."""


Reprocess = Callable[[CandidateClip], Outcome[CandidateClip]]
"""Function that cleans a clip by TFJP once more, to a new clip (`pipeline.curate.made_clips.MadeClips.reprocess`)."""


def ramp(value: float, line: tuple[float, float]) -> float:
    """Map `line[0]` to 0 and `line[1]` to 1, linearly between and constant beyond. Either may be larger."""
    return float(np.clip((value - line[0]) / (line[1] - line[0]), 0.0, 1.0))


class Rules:
    """The offline verifier: a criterion is the minimum of the scores of its measures."""

    def __init__(self, config: VerifierConfig, embedder: str):
        """Raise InputError if there is no limit of similarity for `embedder`, a name or `name/version…`."""
        line = config.similarity or SIMILARITY_LINES.get(embedder.partition("/")[0])
        if line is None:
            raise InputError(
                "the rules have no limit of similarity for this embedder",
                field="verifier.similarity",
                value=embedder,
                remedy="Set it to [cosine that fails, cosine that is met fully], such as [0.3, 0.6] for all-MiniLM-L6-v2",
            )
        self.config, self.similarity = config, line

    async def judge(
        self, required: RequiredClip, candidate: CandidateClip, evidence: Evidence, *, final: bool
    ) -> Outcome[Judgement]:
        """See `Verifier.judge`; always Ok."""
        return Ok(Judgement(verifier="rules", verdict=self.verdict(required, evidence, final=final), evidence=evidence))

    def verdict(self, required: RequiredClip, evidence: Evidence, *, final: bool) -> ClipVerdict:
        """Return the verdict, which depends only on the arguments."""
        scores = self._scores(required, evidence)
        criteria = {name: min(measures.values(), default=1.0) for name, measures in scores.items()}
        failing = {
            measure: score for measures in scores.values() for measure, score in measures.items() if score < self.config.accept
        }
        verdict: Literal["accept", "reprocess", "reject"] = "accept"
        if failing:
            improvable = set(failing) <= IMPROVABLE and min(failing.values()) > 0.0
            verdict = "reprocess" if improvable and not final else "reject"
        reason = ", ".join(f"{name} {score:.2f}" for name, score in failing.items()) or "all criteria are met"
        return ClipVerdict(**criteria, verdict=verdict, reason=reason)

    def _scores(self, required: RequiredClip, evidence: Evidence) -> dict[str, dict[str, float]]:
        """Return the scores by criterion and measure."""
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
    """The verifier that asks the language model, with the audio of the clip if the model accepts audio."""

    def __init__(self, config: VerifierConfig, chat: ChatModel):
        self.config, self.chat = config, chat

    async def judge(
        self, required: RequiredClip, candidate: CandidateClip, evidence: Evidence, *, final: bool
    ) -> Outcome[Judgement]:
        """See `Verifier.judge` and, for Rejected and Failed, `operators.protocols.asking.ask`.

        The seed is constant, so that the same clip for the same event is the same request in all scenes.
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
        known = {"label": clip.label, "caption": clip.caption, "transcript": clip.transcript, **evidence.model_dump()}
        values = {"event": event, "evidence": known, "audible": audible, "final": final, "accept": self.config.accept}
        sounds = (AudioAttachment(to_wav(candidate.samples)),) if audible else ()
        answer = await ask(
            self.chat, ROLE, values, ClipVerdict, seed=0, sounds=sounds, check=lambda verdict: self.contradiction(verdict, final)
        )
        if not isinstance(answer, Ok):
            return answer
        return Ok(Judgement(verifier=answer.value.model, verdict=answer.value.value, evidence=evidence))

    def contradiction(self, verdict: ClipVerdict, final: bool) -> str:
        """Return why the verdict contradicts its own criteria; empty if it does not."""
        if final and verdict.verdict == "reprocess":
            return "the clip was cleaned once more already: verdict must be accept or reject"
        low = [name for name, score in verdict.criteria().items() if score < self.config.accept]
        if verdict.verdict == "accept" and low:
            return f"verdict is accept, but {' and '.join(low)} below {self.config.accept:g}"
        if verdict.verdict == "reject" and not low:
            return f"verdict is reject, but every criterion reaches {self.config.accept:g}"
        return ""


def verifier_of(config: VerifierConfig, embedder: str, chat: ChatModel | None) -> Verifier:
    """Return the verifier of a recipe. `embedder`: name of the embedder. Raises InputError if it cannot be set up."""
    if config.verifier == "rules":
        return Rules(config, embedder)
    if chat is None:
        remedy = "Add an llm section, or set verifier to rules"
        raise InputError(
            "this verifier requires a language model", field="verifier.verifier", value=config.verifier, remedy=remedy
        )
    return LlmVerifier(config, chat)


def length_factor(evidence: Evidence, role: EventRole) -> float:
    """Return the factor by which a clip is longer or shorter than required, at least 1.

    One δ is tolerated, since TFJP pads to multiples of δ. Background and ambient clips are never too long, since they are
    cropped.
    """
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
    """Measure and judge a candidate; if the verdict is `reprocess`, clean it once more, measure and judge again.

    Rejected: `clip_identity`, `clip_cleanliness`, `clip_duration_fit` or `clip_continuity` (the weakest criterion) with all
    verdicts in the metrics, or a reason of `reprocess` or of the verifier.
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
