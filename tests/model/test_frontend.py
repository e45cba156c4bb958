"""The front end is causal, independent of the pieces it receives, and equals Whisper's above its floor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.model.frontend import BLOCK_SAMPLES, CHUNK_FRAMES, LOG_FLOOR, CausalLogMel, chunked, log_mel
from soundflow.schemas import constants as c

FLOOR = (LOG_FLOOR + 4) / 4


def in_pieces(audio: np.ndarray, sizes: list[int]) -> np.ndarray:
    front_end, frames, at = CausalLogMel(), [], 0
    for size in [*sizes, len(audio)]:
        frames.append(front_end.push(audio[at : at + size]))
        at += size
    return np.concatenate(frames, axis=1)


@pytest.fixture(scope="module")
def stream(real_audio: dict[str, np.ndarray]) -> np.ndarray:
    speech = np.concatenate([real_audio["question"], np.zeros(8000, np.float32), real_audio["long"]])
    return speech[: len(speech) // c.CHUNK_SAMPLES * c.CHUNK_SAMPLES]


def test_chunks_of_400_ms_give_the_same_frames_bit_for_bit(stream: np.ndarray) -> None:
    whole = log_mel(stream)
    pieces = in_pieces(stream, [c.CHUNK_SAMPLES] * (len(stream) // c.CHUNK_SAMPLES))
    assert whole.shape == (128, len(stream) // 160)
    assert np.array_equal(whole, pieces)


@given(sizes=st.lists(st.integers(0, 9000), max_size=12))
def test_pieces_of_any_size_give_the_same_frames_bit_for_bit(stream: np.ndarray, sizes: list[int]) -> None:
    audio = stream[: 10 * BLOCK_SAMPLES]
    assert np.array_equal(log_mel(audio), in_pieces(audio, sizes))


@given(cut=st.integers(1, 30 * BLOCK_SAMPLES), seed=st.integers(0, 9))
def test_later_samples_change_no_frame(stream: np.ndarray, cut: int, seed: int) -> None:
    audio = stream[: 30 * BLOCK_SAMPLES]
    changed = audio.copy()
    changed[cut:] = np.random.default_rng(seed).uniform(-1, 1, len(audio) - cut)
    frames = cut // 160  # frame k ends with sample 160 (k + 1)
    assert np.array_equal(log_mel(audio)[:, :frames], log_mel(changed)[:, :frames])


@pytest.mark.parametrize("gain", [1e-3, 0.1, 1.0])
def test_it_differs_from_whispers_extractor_only_by_the_floor(stream: np.ndarray, gain: float) -> None:
    from transformers import WhisperFeatureExtractor

    audio = np.float32(gain) * stream
    later = np.concatenate([np.zeros(40, np.float32), audio])[: len(audio)]
    extractor = WhisperFeatureExtractor(feature_size=128)
    theirs = extractor(later, sampling_rate=c.SAMPLE_RATE, truncation=False, padding="longest", return_tensors="np")
    whisper = theirs["input_features"][0]
    ours = log_mel(audio)
    common = max(FLOOR, float(whisper.max()) - 8 / 4)  # whichever floor is higher hides the other
    difference = np.abs(np.maximum(ours, common) - np.maximum(whisper, common))
    assert difference[:, 2:].max() < 2e-3  # float32 here, float64 there; the first frames see reflected padding there


def test_digital_silence_is_the_floor() -> None:
    assert np.all(log_mel(np.zeros(2 * c.CHUNK_SAMPLES, np.float32)) == np.float32(FLOOR))


def test_an_incomplete_block_is_refused() -> None:
    with pytest.raises(ValueError, match="blocks"):
        log_mel(np.zeros(c.CHUNK_SAMPLES + 1, np.float32))


def test_chunks_are_the_frames_in_order(stream: np.ndarray) -> None:
    mel = log_mel(stream)
    chunks = chunked(mel)
    assert chunks.shape == (len(stream) // c.CHUNK_SAMPLES, 128, CHUNK_FRAMES)
    assert np.array_equal(chunks[3], mel[:, 120:160])
