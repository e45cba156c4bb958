"""The clip verifier: what is measured, what follows from it, and that found and made clips are judged alike."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from operators.clip_evidence import Candidate, Wanted, measure
from operators.verifying import Rules, verify
from schemas.generation import VerifierConfig
from schemas.outcome import Ok, Outcome, Rejected
from tests.operators.pool import MemoryPool

RATE = 16_000


def embed(texts: list[str]) -> np.ndarray:
    """Words as dimensions: a stand-in that knows equal words only."""
    words = sorted({word for text in texts for word in text.lower().split()})
    vectors = np.array([[float(word in text.lower().split()) for word in words] for text in texts], dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def knock(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = np.zeros(round(seconds * RATE))
    for at in np.arange(0.05, seconds - 0.2, 0.3):
        n = round(0.15 * RATE)
        start = round(at * RATE)
        out[start : start + n] += rng.standard_normal(n) * np.exp(-np.arange(n) / 400)
    return (0.1 * out).astype(np.float32)


def candidate(samples: np.ndarray, label: str = "door knock", **more: object) -> Candidate:
    pool = MemoryPool()
    clip = pool.add("a", samples, label=label, **more)
    return Candidate(clip, pool.audio(clip))


WANTED = Wanted("door knock", "a door knock", "foreground", (0.5, 2.0))


def no_second_pass(candidate: Candidate) -> Outcome[Candidate]:
    return Ok(candidate)


def judge(wanted: Wanted, one: Candidate, *neighbours: np.ndarray) -> object:
    return asyncio.run(verify(wanted, one, neighbours, Rules(VerifierConfig()), embed, no_second_pass))


def test_a_clean_clip_of_the_right_sound_and_length_is_accepted() -> None:
    outcome = judge(WANTED, candidate(knock()), knock(seed=1))
    assert isinstance(outcome, Ok)
    [judged] = outcome.value.judged
    assert judged.verifier == "rules" and judged.verdict.verdict == "accept"


@pytest.mark.parametrize(
    ("samples", "changes", "reason"),
    [
        (knock(), {"label": "violin"}, "clip_identity"),
        (np.clip(40 * knock(), -1, 1), {}, "clip_cleanliness"),
        (knock(20.0), {}, "clip_duration_fit"),
        (1e-3 * knock(), {}, "clip_cleanliness"),
    ],
    ids=["wrong label", "clipped", "too long", "near silent"],
)
def test_each_defect_is_rejected_under_its_own_criterion(samples: np.ndarray, changes: dict[str, str], reason: str) -> None:
    outcome = judge(WANTED, candidate(samples, **changes))
    assert isinstance(outcome, Rejected)
    assert outcome.reason == reason


def test_the_measured_snr_falls_with_every_more_of_noise() -> None:
    noise = np.random.default_rng(1).standard_normal(RATE)
    clean = knock()
    levels = [1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3]
    measured = [measure(WANTED, candidate((clean + level * noise).astype(np.float32)), [], embed).snr_db for level in levels]
    assert measured == sorted(measured, reverse=True)
    assert measured[0] > 25 and measured[-1] < 0
