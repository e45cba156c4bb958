"""Is a reply one of the acceptable ones? An embedder says how alike it is to the nearest standard answer.

The public scorer asks a cross-encoder of 2 GB with a threshold of 0.5; cosines of sentence embeddings are another scale. The
thresholds here were measured on the public answers: the value at which as many answers of the SAME sound fall below as answers
of OTHER sounds lie above (equal error). For other embedders name a threshold.
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
"""Embedder → cosine from which a reply counts. At these 10 % (minilm) and 24 % (ngrams) err on either side."""


@dataclass(frozen=True, slots=True)
class ReplyScore:
    """Replies to the sounds that call for one and have standard answers."""

    embedder: str
    threshold: float
    similarity: Mapping[str, float]
    """Sound → cosine of the reply and the nearest standard answer; 0 where there is no reply."""
    asked: int
    """Sounds that call for a reply and have standard answers."""

    @property
    def matched(self) -> frozenset[str]:
        """Sounds whose reply will do."""
        return frozenset(name for name, value in self.similarity.items() if value >= self.threshold)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        hits = len(self.similarity)
        return {
            "embedder": self.embedder,
            "threshold": self.threshold,
            "asked": self.asked,
            "answered": hits,
            "matched": len(self.matched),
            "match_of_answered": round(len(self.matched) / hits, 6) if hits else None,
            "match_of_asked": round(len(self.matched) / self.asked, 6) if self.asked else None,
        }


def match_replies(
    sounds: Sequence[Sound], predictions: Mapping[str, Prediction], embedder: Embedder, threshold: float | None = None
) -> ReplyScore:
    """Compare every reply to a RESPOND sound with its standard answers; InputError when the embedder has no known threshold."""
    limit = THRESHOLDS.get(embedder.name) if threshold is None else threshold
    if limit is None:
        raise InputError("no threshold is known for this embedder", field="threshold", value=embedder.name, remedy="Name one")
    asked = [sound for sound in sounds if sound.decision is Decision.RESPOND and sound.standard_answers]
    given = {sound.id: predictions.get(sound.id) for sound in asked}
    hits = [sound for sound in asked if (one := given[sound.id]) is not None and one.decision is Decision.RESPOND]
    texts = [reply.reply for sound in hits if (reply := given[sound.id]) is not None]
    answers = [answer for sound in hits for answer in sound.standard_answers]
    similarity: dict[str, float] = {}
    if hits:
        replies, wanted = embedder.embed(texts).astype(np.float64), embedder.embed(answers).astype(np.float64)
        at = 0
        for sound, reply in zip(hits, replies, strict=True):
            own = wanted[at : at + len(sound.standard_answers)]
            at += len(own)
            similarity[sound.id] = round(float((own @ reply).max()), 6)
    return ReplyScore(identity(embedder), limit, similarity, len(asked))
