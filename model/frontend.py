"""The causal log-mel front end: bit for bit the same in training and on live streams.

Whisper's extractor looks ahead twice: its frames are centred on padded audio, and its floor lies 8 below the loudest frame of the
whole clip. Here frame k covers samples [160 k - 240, 160 k + 160) and the floor is constant, so the level of streams must be
normalised. Above that floor the values equal those of Whisper's extractor on audio delayed by 40 samples.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from soundflow.schemas import constants as c

FRONT_END: Final = "causal-logmel/1"
"""Identifies the front end in every checkpoint."""
HOP: Final = 160
"""Samples between frames: 10 ms."""
WINDOW: Final = 400
"""Samples per frame: 25 ms."""
MELS: Final = 128
LOG_FLOOR: Final = -6.5
"""log10 of the power floor (settled): the floor of Whisper's rule for streams at the reference level."""
LEFT: Final = WINDOW - HOP
"""Samples of state: those a frame covers before its hop."""
CHUNK_FRAMES: Final = c.CHUNK_SAMPLES // HOP
BLOCK_FRAMES: Final = 20
"""Frames computed at a time, always the same number: libraries may round differently for other shapes."""
BLOCK_SAMPLES: Final = BLOCK_FRAMES * HOP

Audio = NDArray[np.float32]
"""Samples (n,) at 16 kHz."""
Mel = NDArray[np.float32]
"""Log-mel frames (128, frames), or chunks of them (T, 128, frames)."""


class CausalLogMel:
    """The front end of one live stream: takes pieces of any size, returns frames for every complete block of 200 ms."""

    def __init__(self, before: Audio | None = None) -> None:
        """Begin a stream; `before` are the LEFT samples that precede it, zeros by default."""
        self._held = np.zeros(LEFT, dtype=np.float32) if before is None else np.asarray(before, dtype=np.float32)

    def push(self, samples: Audio) -> Mel:
        """Take float32 samples (n,) at 16 kHz; return float32 frames (128, 20 k) of the k blocks they complete."""
        held = np.concatenate([self._held, np.asarray(samples, dtype=np.float32)])
        blocks = (len(held) - LEFT) // BLOCK_SAMPLES
        self._held = held[blocks * BLOCK_SAMPLES :]
        frames = np.empty((MELS, blocks * BLOCK_FRAMES), dtype=np.float32)
        for block in range(blocks):
            covered = held[block * BLOCK_SAMPLES : (block + 1) * BLOCK_SAMPLES + LEFT]
            frames[:, block * BLOCK_FRAMES : (block + 1) * BLOCK_FRAMES] = _block(covered)
        return frames


def log_mel(audio: Audio) -> Mel:
    """Return frames (128, n // 160) of samples (n,). Raises ValueError unless n is a multiple of 200 ms."""
    if len(audio) % BLOCK_SAMPLES:
        raise ValueError(f"{len(audio)} samples are not a whole number of blocks of {BLOCK_SAMPLES}")
    return CausalLogMel().push(audio)


def chunked(mel: Mel, frames: int = CHUNK_FRAMES) -> Mel:
    """Split frames (128, T * frames) into chunks (T, 128, frames)."""
    return np.ascontiguousarray(mel.reshape(MELS, -1, frames).transpose(1, 0, 2))


def _block(samples: Audio) -> Mel:
    """Compute frames (128, 20) of LEFT + 20 * 160 samples."""
    window, filters = _constants()
    step = samples.strides[0]  # as_strided: the checks of sliding_window_view take a quarter of the time
    frames = np.lib.stride_tricks.as_strided(samples, (BLOCK_FRAMES, WINDOW), (HOP * step, step)) * window
    parts = scipy.fft.rfft(frames, workers=1).view(np.float32).reshape(BLOCK_FRAMES, -1, 2)
    parts *= parts
    log = np.log10(np.maximum((parts[..., 0] + parts[..., 1]) @ filters, np.float32(10.0**LOG_FLOOR)))
    log += 4.0
    log *= 0.25
    return np.asarray(np.maximum(log.T, np.float32((LOG_FLOOR + 4.0) / 4.0)))


@functools.cache
def _constants() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the periodic Hann window (400,) and Slaney's mel filters (201, 128)."""
    from transformers.audio_utils import mel_filter_bank

    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    filters = mel_filter_bank(WINDOW // 2 + 1, MELS, 0.0, c.SAMPLE_RATE / 2, c.SAMPLE_RATE, norm="slaney", mel_scale="slaney")
    return window, np.ascontiguousarray(filters, dtype=np.float32)
