"""Raw PCM from speech servers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.protocols.faults import ServerFault
from soundflow.schemas.pcm16 import from_pcm16


def samples_of_int16(body: bytes) -> NDArray[np.float32]:
    """Decode little-endian int16 into float samples, shape (n,); raises ServerFault if a sample is cut off or none is there."""
    if not body or len(body) % 2:
        raise ServerFault(f"the response of {len(body)} bytes is not a whole int16 stream: it was cut off")
    return from_pcm16(body)
