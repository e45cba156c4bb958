"""Recordings of benchmarks as streams want them: mono at 16 kHz, nothing cut away, and how loud they are."""

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
"""A benchmark's recording counts however short, long or quiet it is."""
ROOM_TONE_DBFS: Final = -50.0
"""Of what is heard between recordings: 24 dB below the reference level, quieter than any noise track of a corpus. Digital silence
is heard by no microphone, and measured to be answered by a model that answers nothing else."""
_TONE: Final = "procedural:pink:0"
REMEDY: Final = "Fetch the recording again, or take its row out of the metadata"


def load(source: Path | bytes, where: object = None) -> Audio:
    """Samples (n,), float32 at 16 kHz, of a file or of its bytes; InputError (at `where`) naming what is wrong with it."""
    found = read_audio(source, AS_IT_IS) if isinstance(source, Path) else read_bytes(source, AS_IT_IS)
    if isinstance(found, Ok):
        return found.value.samples
    why = f"the recording cannot be used: {getattr(found, 'reason', found)}"
    raise InputError(why, file=where if where is not None else source, value=None if where is None else source, remedy=REMEDY)


def followed(samples: Audio, pause: int, whole: int) -> Audio:
    """`samples`, then room tone for at least `pause` samples and until the length is a multiple of `whole`."""
    room = procedural(_TONE) * np.float32(10.0 ** (ROOM_TONE_DBFS / 20.0) / 0.1)
    length = -(-(len(samples) + pause) // whole) * whole
    return np.concatenate([samples, np.resize(room, length - len(samples))])


def wav(samples: Audio) -> bytes:
    """A WAV file (PCM16, 16 kHz) of samples, for models behind HTTP."""
    held = io.BytesIO()
    soundfile.write(held, to_pcm16(samples), c.SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return held.getvalue()


def level_db(samples: Audio) -> float:
    """RMS (dBFS) of the loudest 400 ms: what a detector by energy goes by."""
    size = c.CHUNK_SAMPLES
    if not samples.size:
        return EMPTY_DB
    padded = np.pad(samples, (0, -samples.size % size)).reshape(-1, size).astype(np.float64)
    return float(10.0 * np.log10(max(float((padded**2).mean(axis=1).max()), 1e-20)))


def at_reference_level(samples: Audio) -> Audio:
    """`samples` with the active level that corpora bring every clip to, never clipped; digital silence stays."""
    power = active_power(samples)
    if power <= 0.0:
        return samples
    gain = 10.0 ** (c.REFERENCE_LEVEL_DBFS / 20.0) / np.sqrt(power)
    return np.asarray(samples * min(gain, c.PEAK_LIMIT / float(np.abs(samples).max())), dtype=np.float32)
