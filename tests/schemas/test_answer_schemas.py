"""The schemas of a language model's answers are sent to it, class docstrings included: rewording one changes every request."""

from __future__ import annotations

import hashlib

import pytest

from soundflow.operators.protocols.asking import answer_schema
from soundflow.schemas import generation, scenario
from soundflow.schemas.base import Schema, canonical_json

SENT = {
    scenario.Scenario: "424313063a3eef94",
    scenario.Refinement: "0a1c838fbf13458d",
    scenario.SpokenText: "d4f976a33de226ff",
    scenario.SpokenSegments: "89d779d7a671f8dc",
    scenario.HistoryQuestion: "b28414dbec2e8d8f",
    scenario.HistoryAnswer: "a3dfe6813a46bf21",
    scenario.SilenceAudit: "0d3b3a3171975c3d",
    generation.ClipVerdict: "f826486af6b8dee8",
}
"""Model of an answer → first digits of the SHA-256 of the schema that is sent."""


@pytest.mark.parametrize(("model", "digest"), SENT.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_what_a_model_is_sent_stays_the_same(model: type[Schema], digest: str) -> None:
    found = hashlib.sha256(canonical_json(answer_schema(model))).hexdigest()[:16]
    assert found == digest, "stored answers are found no more, and builds differ: raise ASKING_VERSION with this change"
