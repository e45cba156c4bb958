"""Matching of replies: the cosine similarity between a reply and the nearest standard answer, by a sentence embedder.

The public scorer uses a cross-encoder of 2 GB with a threshold of 0.5; cosines of sentence embeddings have another scale. The
thresholds here are equal-error points on the public answers: the share of answers to the same sound below the threshold equals
the share of answers to other sounds above it. Other embedders need an explicit threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from soundflow.bench.proactive.metadata import Decision, Prediction, Sound
from soundflow.operators.protocols.embedding import Embedder, identity
from soundflow.schemas.base import InputError

THRESHOLDS: Final[Mapping[str, float]] = MappingProxyType({"all-MiniLM-L6-v2-int8": 0.46, "hashed-ngrams": 0.206})
"""Embedder → minimum cosine of a matching reply. The error on either side is 10 % (minilm) and 24 % (ngrams)."""


@dataclass(frozen=True, slots=True)
class ReplyScore:
    """Scores of replies to the sounds that call for one and have standard answers."""

    embedder: str
    threshold: float
    similarity: Mapping[str, float]
    """Sound → cosine between the reply and the nearest standard answer; 0 for an empty reply."""
    expected: int
    """Sounds that call for a reply and have standard answers."""

    @property
    def matched(self) -> frozenset[str]:
        """Sounds with a matching reply."""
        return frozenset(name for name, value in self.similarity.items() if value >= self.threshold)

    def to_json(self) -> dict[str, Any]:
        """Return the document that `--json` prints."""
        hits = len(self.similarity)
        return {
            "embedder": self.embedder,
            "threshold": self.threshold,
            "asked": self.expected,  # a stored name
            "answered": hits,
            "matched": len(self.matched),
            "match_of_answered": round(len(self.matched) / hits, 6) if hits else None,
            "match_of_asked": round(len(self.matched) / self.expected, 6) if self.expected else None,
        }


def match_replies(
    sounds: Sequence[Sound], predictions: Mapping[str, Prediction], embedder: Embedder, threshold: float | None = None
) -> ReplyScore:
    """Compare replies to RESPOND sounds with standard answers; raises InputError if the embedder has no known threshold."""
    limit = THRESHOLDS.get(embedder.name) if threshold is None else threshold
    if limit is None:
        raise InputError("no threshold is known for this embedder", field="--threshold", value=embedder.name, remedy="Give one")
    expected = [sound for sound in sounds if sound.decision is Decision.RESPOND and sound.standard_answers]
    predicted = {sound.id: predictions.get(sound.id) for sound in expected}
    hits = [sound for sound in expected if (one := predicted[sound.id]) is not None and one.decision is Decision.RESPOND]
    texts = [reply.reply for sound in hits if (reply := predicted[sound.id]) is not None]
    answers = [answer for sound in hits for answer in sound.standard_answers]
    similarity: dict[str, float] = {}
    if hits:
        replies, references = embedder.embed(texts).astype(np.float64), embedder.embed(answers).astype(np.float64)
        at = 0
        for sound, reply in zip(hits, replies, strict=True):
            own = references[at : at + len(sound.standard_answers)]
            at += len(own)
            similarity[sound.id] = round(float((own @ reply).max()), 6)
    return ReplyScore(identity(embedder), limit, similarity, len(expected))
