"""Measurements of a clip: they follow from the samples, get worse with every defect, and do not depend on the origin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from soundflow.backends.asr.voice_activity import VoiceActivityDetector
from soundflow.backends.embed.hashed_ngrams import HashedNgrams
from soundflow.operators.clean.tfjp import tfjp
from soundflow.operators.curate.clip_evidence import CandidateClip, RequiredClip, measure
from soundflow.schemas.generation import Evidence
from tests.operators.compose.pool import MemoryPool

RATE = 16_000
embed = HashedNgrams().embed
WANTED = RequiredClip("door knock", "Somebody knocks on a door.", "foreground", (0.5, 2.0))


def knock(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    """Short bursts with silence between them, at about -26 dBFS."""
    rng = np.random.default_rng(seed)
    out = np.zeros(round(seconds * RATE))
    for at in np.arange(0.05, seconds - 0.2, 0.3):
        n = round(0.15 * RATE)
        start = round(at * RATE)
        out[start : start + n] += rng.standard_normal(n) * np.exp(-np.arange(n) / 400)
    return (0.15 * out).astype(np.float32)


def candidate(samples: np.ndarray, label: str = "door knock", clip_id: str = "a", **more: object) -> CandidateClip:
    pool = MemoryPool()
    clip = pool.add(clip_id, samples, label=label, **more)
    return CandidateClip(clip, pool.audio(clip))


def evidence(samples: np.ndarray, neighbours: Sequence[np.ndarray] = (), **more: object) -> Evidence:
    return measure(WANTED, candidate(samples, **more), neighbours, embed)  # type: ignore[arg-type]


def tone(hz: float, seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def noise(seconds: float = 1.0, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


@pytest.mark.parametrize("voice", ["question", "long"])
def test_the_snr_decreases_with_noise(voice: str, real_audio: dict[str, np.ndarray]) -> None:
    speech = tfjp(real_audio[voice]).samples
    power = float(np.mean(speech**2))
    measured = []
    for snr_db in (40, 30, 20, 10, 5, 0, -5, -10, -20):
        level = np.sqrt(power / 10 ** (snr_db / 10))
        measured.append(evidence(speech + noise(speech.size / RATE, level)).snr_db)
    assert measured == sorted(measured, reverse=True)
    assert measured[0] > 25 and measured[2] > 14 and measured[5] < 6 and measured[-1] < 2


def test_white_noise_at_a_known_snr_is_measured_within_some_decibels() -> None:
    clean = knock(3.0)
    active = float(np.mean(clean[np.abs(clean) > 1e-4] ** 2))
    for snr_db in (15, 20, 25):
        level = np.sqrt(active / 10 ** (snr_db / 10))
        assert evidence(clean + noise(3.0, level)).snr_db == pytest.approx(snr_db, abs=5)


def test_a_steady_tone_is_not_noise_and_steady_noise_is() -> None:
    assert evidence(tone(1000)).snr_db > 20
    assert evidence(noise()).snr_db < 3


def test_level_peak_length_and_activity_are_those_of_the_samples() -> None:
    found = evidence(tone(1000, 1.25, 0.5))
    assert (found.seconds, found.peak) == (1.25, 0.5)
    assert found.active_level_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.3)
    assert found.active_ratio == 1.0
    half = np.concatenate([tone(1000), np.zeros(RATE, dtype=np.float32)])
    assert evidence(half).active_ratio == pytest.approx(0.5, abs=0.03)


def test_clipping_is_that_of_the_source_or_of_the_clip_whichever_is_worse() -> None:
    assert evidence(tone(1000, level=0.5)).clipped_ratio == 0.0
    assert evidence(tone(1000, level=0.5), clipped_ratio=0.07).clipped_ratio == 0.07
    assert evidence(np.clip(tone(1000, level=2.0), -1, 1)).clipped_ratio > 0.3


def test_similarity_depends_only_on_texts() -> None:
    same, other = evidence(knock(), label="door knock"), evidence(knock(), label="violin")
    assert same.similarity == pytest.approx(1.0) and other.similarity < 0.3
    assert evidence(knock(), label="x", caption="Somebody knocks on a door.").similarity == pytest.approx(1.0)
    assert evidence(knock(), label="？").similarity == 0.0


def test_an_audio_embedder_compares_the_audio_with_the_query() -> None:
    def texts(queries: Sequence[str]) -> np.ndarray:
        return np.array([[1.0, 0.0] if "knock" in text else [0.0, 1.0] for text in queries], dtype=np.float32)

    def sounds(recordings: Sequence[np.ndarray]) -> np.ndarray:
        return np.array([[1.0, 0.0] if np.abs(one).max() > 5 * one.std() else [0.0, 1.0] for one in recordings], dtype=np.float32)

    liar, honest = candidate(tone(440), label="door knock"), candidate(knock(), label="recording 17")
    assert [measure(WANTED, one, [], texts, None, sounds).similarity for one in (liar, honest)] == [0.0, 1.0]
    spoken = RequiredClip("door knock", "", "foreground", (0.5, 2.0), speech=True)
    assert measure(spoken, liar, [], texts, None, sounds).similarity == 1.0


def test_neighbours_are_compared_by_level_and_by_the_shape_of_their_spectra() -> None:
    low, high = tone(300, level=0.05) + noise(level=1e-4), tone(5000, level=0.05) + noise(level=1e-4)
    same, apart = evidence(low, [low * 10]), evidence(low, [high])
    assert same.level_gap_db == pytest.approx(-20.0, abs=0.2)
    assert same.spectral_distance_db == pytest.approx(0.0, abs=0.1)
    assert apart.spectral_distance_db is not None and apart.spectral_distance_db > 8
    assert apart.level_gap_db == pytest.approx(0.0, abs=0.5)
    assert evidence(low, [high, low]).spectral_distance_db == 0.0
    alone = evidence(low)
    assert alone.level_gap_db is None and alone.spectral_distance_db is None


def test_nothing_measured_depends_on_where_a_clip_is_from() -> None:
    found = evidence(knock(), clip_id="recordings/knock.wav", source="freesound", licence="CC0-1.0")
    made = evidence(knock(), clip_id="made/generated/0123456789abcdef", source="elevenlabs:x", licence="unknown")
    assert found == made


@pytest.mark.parametrize("samples", [np.zeros(800, np.float32), tone(1000, 0.05), noise(30.0), np.full(3200, 1.0, np.float32)])
def test_evidence_is_finite_for_any_samples(samples: np.ndarray) -> None:
    found = evidence(samples, [np.zeros(3200, np.float32)])
    assert Evidence.from_json(found.canonical_json()) == found


def test_speech_is_detected_only_in_speech(real_audio: dict[str, np.ndarray]) -> None:
    detect = VoiceActivityDetector()
    assert min(detect(samples) for samples in real_audio.values()) > 0.4
    assert max(detect(samples) for samples in (knock(), noise(), tone(440), np.zeros(RATE, np.float32))) < 0.1
    found = measure(WANTED, candidate(real_audio["long"]), [], embed, detect)
    assert found.speech_ratio is not None and found.speech_ratio > 0.4
    assert evidence(knock()).speech_ratio is None
