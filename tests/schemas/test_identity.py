"""Identity comes from (fingerprint, shard, index) and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.schemas.base import InputError
from soundflow.schemas.identity import parse_sample_id, rng_for, sample_id

FINGERPRINT = "0123456789abcdef" * 4


@given(st.integers(0, 999_999), st.integers(0, 99_999))
def test_a_sample_id_round_trips_and_is_a_safe_key(shard: int, index: int) -> None:
    text = sample_id(FINGERPRINT, shard, index)
    assert parse_sample_id(text) == (FINGERPRINT[:12], shard, index)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)


@pytest.mark.parametrize("text", ["", "sf-xyz-000000-00000", "sf-0123456789ab-1-2", "../etc/passwd"])
def test_an_invalid_sample_id_is_rejected(text: str) -> None:
    with pytest.raises(InputError, match="not a sample id"):
        parse_sample_id(text)


def test_the_rng_gives_fixed_values() -> None:
    """A change here would silently re-draw every corpus."""
    assert rng_for(FINGERPRINT, 3, 14, "scene").integers(0, 2**32, 3).tolist() == [3105114313, 726007387, 85906176]


def test_every_part_of_the_identity_gives_another_stream() -> None:
    draws = {
        float(rng_for(*key).random())
        for key in [
            (FINGERPRINT, 0, 0, "scene", 0),
            (FINGERPRINT[::-1], 0, 0, "scene", 0),
            (FINGERPRINT, 1, 0, "scene", 0),
            (FINGERPRINT, 0, 1, "scene", 0),
            (FINGERPRINT, 0, 0, "mix", 0),
            (FINGERPRINT, 0, 0, "scene", 1),
        ]
    }
    assert len(draws) == 6
