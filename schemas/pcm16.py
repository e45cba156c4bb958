"""Float samples to 16-bit PCM and back: the only conversion in the code base.

The unit is 2^-15, a power of two, so int16 → float32 → int16 is lossless for all 65,536 values.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

FULL_SCALE: Final = 32_768.0
"""The integer that 1.0 stands for. 1.0 itself is clipped to 32,767."""


def to_pcm16(samples: NDArray[np.floating], full_scale: float = FULL_SCALE) -> NDArray[np.int16]:
    """Convert samples in [-1, 1] to int16 of the same shape: rounded half to even, values out of range clipped.

    Raises ValueError for NaN. Only the audio of composed streams has another `full_scale` (`operators.compose.mixing`).
    """
    scaled = samples * np.float32(full_scale)
    if np.isnan(scaled.min(initial=0.0)):
        raise ValueError("samples contain NaN and cannot be converted to PCM16")
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -32_768.0, 32_767.0, out=scaled).astype("<i2")


def from_pcm16(pcm: NDArray[np.int16] | bytes) -> NDArray[np.float32]:
    """Convert int16 samples, or little-endian bytes of them, to float32 in [-1, 1)."""
    values = np.frombuffer(pcm, dtype="<i2") if isinstance(pcm, bytes | bytearray | memoryview) else pcm
    return np.multiply(values, np.float32(1.0 / FULL_SCALE), dtype=np.float32)


def round_to_pcm16(samples: NDArray[np.floating]) -> NDArray[np.float32]:
    """Round samples in [-1, 1) to the nearest 16-bit value, as float32. Keeps the sign of zero, unlike a round trip."""
    return np.asarray(np.rint(samples * FULL_SCALE) / FULL_SCALE, dtype=np.float32)
