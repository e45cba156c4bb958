"""Recordings of benchmarks as mono 16 kHz samples without any cut, and their levels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundflow.operators.clean.activity import EMPTY_DB, active_power
from soundflow.operators.clean.ingress import read_audio, read_bytes
from soundflow.operators.compose.noise import procedural
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import IngressConfig
from soundflow.schemas.outcome import Ok
from soundflow.schemas.pcm16 import to_pcm16

Audio = NDArray[np.float32]
AS_IT_IS: Final = IngressConfig(min_seconds=0.025, max_seconds=36_000.0, silence_dbfs=-1e9)
"""Accepts recordings of any length and level: every row of a benchmark counts."""
ROOM_TONE_DBFS: Final = -50.0
"""Level between recordings: 24 dB below the reference level, quieter than any noise track of a corpus. Digital silence does not
occur in real recordings; a model that ignored other sounds responded to it."""
_TONE: Final = "procedural:pink:0"
REMEDY: Final = "Download the recording again, or remove its row from the metadata"


def load(source: Path | bytes, where: object = None) -> Audio:
    """Decode a file or its bytes to samples (n,), float32 at 16 kHz. Raises InputError, located at `where` if given."""
    found = read_audio(source, AS_IT_IS) if isinstance(source, Path) else read_bytes(source, AS_IT_IS)
    if isinstance(found, Ok):
        return found.value.samples
    why = f"unusable recording: {getattr(found, 'reason', found)}"
    raise InputError(why, file=where if where is not None else source, value=None if where is None else source, remedy=REMEDY)


def append_room_tone(samples: Audio, pause: int, multiple: int) -> Audio:
    """Append at least `pause` samples of room tone, until the length is a multiple of `multiple` samples."""
    room = procedural(_TONE) * np.float32(10.0 ** (ROOM_TONE_DBFS / 20.0) / 0.1)
    length = -(-(len(samples) + pause) // multiple) * multiple
    return np.concatenate([samples, np.resize(room, length - len(samples))])


def encode_wav(samples: Audio) -> bytes:
    """Encode samples as a WAV file (PCM16, 16 kHz)."""
    buffer = io.BytesIO()
    soundfile.write(buffer, to_pcm16(samples), c.SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def level_db(samples: Audio) -> float:
    """Return the RMS (dBFS) of the loudest 400 ms chunk, the input of the energy baseline."""
    size = c.CHUNK_SAMPLES
    if not samples.size:
        return EMPTY_DB
    padded = np.pad(samples, (0, -samples.size % size)).reshape(-1, size).astype(np.float64)
    return float(10.0 * np.log10(max(float((padded**2).mean(axis=1).max()), 1e-20)))


def at_reference_level(samples: Audio) -> Audio:
    """Scale `samples` to the active level of clips in corpora, without clipping. Digital silence is returned unchanged."""
    power = active_power(samples)
    if power <= 0.0:
        return samples
    gain = 10.0 ** (c.REFERENCE_LEVEL_DBFS / 20.0) / np.sqrt(power)
    return np.asarray(samples * min(gain, c.PEAK_LIMIT / float(np.abs(samples).max())), dtype=np.float32)
