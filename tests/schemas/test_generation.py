"""The sections `generation:` and `verifier:`: rejected settings, and what is part of the fingerprint."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from soundflow.schemas.generation import GenerationConfig, MadeRequest, Maker, VerifierConfig

HTTP = {"backend": "http", "model": "audiox", "server": {"base_url": "http://127.0.0.1:9000/v1/sound"}}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"backend": "http", "model": "audiox"}, r"requires server\.base_url and model"),
        ({"backend": "http", "server": HTTP["server"]}, r"requires server\.base_url and model"),
        ({"backend": "procedural", "model": "x"}, "model and licence do not apply"),
        ({"backend": "none", "licence": "CC0-1.0"}, "model and licence do not apply"),
        ({**HTTP, "prompt_influence": 0.5}, "applies to backend elevenlabs only"),
        ({"backend": "elevenlabs", "prompt_influence": 1.5}, "less than or equal to 1"),
        ({"backend": "elevenlabs", "budget": {"money": 5}}, "requires price_per_second"),
        ({"backend": "elevenlabs", "server": {"api_key_env": "sk-123456"}}, "NAME of an environment variable"),
        ({"backend": "elevenlabs", "server": {"base_url": "ftp://x"}}, "http"),
        ({"backend": "audiox"}, "'none', 'procedural', 'elevenlabs' or 'http'"),
    ],
)
def test_inconsistent_settings_are_rejected_with_a_reason(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        GenerationConfig.model_validate(settings)


def test_only_what_shapes_sounds_shapes_a_corpus() -> None:
    base = GenerationConfig.model_validate(HTTP)
    for changes in (
        {"server": {"base_url": "http://elsewhere/v1/sound", "retries": 9, "concurrency": 1}},
        {"price_per_second": 0.1, "budget": {"money": 5.0, "calls": 7}},
    ):
        assert GenerationConfig.model_validate(HTTP | changes).shaping() == base.shaping()
    for changes in ({"model": "other"}, {"licence": "CC-BY-4.0"}):
        assert GenerationConfig.model_validate(HTTP | changes).shaping() != base.shaping()


def test_every_limit_of_the_verifier_is_in_the_fingerprint_and_has_two_values() -> None:
    base = VerifierConfig()
    assert set(base.shaping()) == set(VerifierConfig.model_fields)
    with pytest.raises(ValidationError, match="must differ"):
        VerifierConfig(snr_db=(5.0, 5.0))
    with pytest.raises(ValidationError):
        VerifierConfig(accept=float("nan"))


def test_the_key_of_a_request_covers_all_of_it() -> None:
    request = MadeRequest(kind="generated", maker=Maker(backend="x", model="1"), text="rain", role="ambient", seed=1)  # type: ignore[arg-type]
    keys = {request.key(), request.model_copy(update={"seed": 2}).key(), request.model_copy(update={"text": "wind"}).key()}
    assert len(keys) == 3
    assert MadeRequest.from_json(request.canonical_json()).key() == request.key()
