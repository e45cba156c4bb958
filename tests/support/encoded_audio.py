"""Recordings in many containers, with lengths known by construction, and what is done to their bytes."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import soundfile

RATE = 16_000


def sound(seconds: float, rate: int = RATE, channels: int = 1, pitch: float = 440.0) -> np.ndarray:
    """A tone with some noise; shape (n,) or (n, channels)."""
    count = round(seconds * rate)
    wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(count) / rate)
    wave += 0.05 * np.random.default_rng(count).standard_normal(count)
    return wave if channels == 1 else np.repeat(wave[:, None], channels, axis=1)


def encoded(seconds: float, form: str, subtype: str | None = None, rate: int = RATE, channels: int = 1, **options: Any) -> bytes:
    """Encode a sound with libsndfile."""
    held = io.BytesIO()
    soundfile.write(held, sound(seconds, rate, channels), rate, format=form, subtype=subtype, **options)
    return held.getvalue()


def by_ffmpeg(seconds: float, muxer: str, codec: str, rate: int = RATE, **options: str) -> bytes:
    """Encode a mono sound with PyAV."""
    import av

    held = io.BytesIO()
    with av.open(held, "w", format=muxer, options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound(seconds, rate).astype(np.float32)[None, :], format="fltp", layout="mono")
        frame.rate = rate
        queue = av.AudioFifo()
        for converted in av.AudioResampler(format=stream.format, layout="mono", rate=rate).resample(frame):
            converted.pts = None
            queue.write(converted)
        while (piece := queue.read(stream.codec_context.frame_size or 1024, partial=True)) is not None:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return held.getvalue()


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    """Replace the bytes at an offset."""
    return data[:offset] + value + data[offset + len(value) :]


def wav_sizes(data: bytes, group: int, size: int) -> bytes:
    """Write the sizes of a canonical WAV file of 44 bytes before its samples."""
    return patched(patched(data, 4, struct.pack("<I", group)), 40, struct.pack("<I", size))


def flac_total(data: bytes, total: int) -> bytes:
    """Write the number of samples in STREAMINFO, 0 for unknown."""
    return patched(data, 21, (int.from_bytes(data[21:26]) >> 36 << 36 | total).to_bytes(5))


def first_mp3_frame(data: bytes) -> int:
    """The length of the first frame of an MPEG-2 layer III file at 16 kHz (ISO/IEC 13818-3): the one with the Xing header."""
    bitrates = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    return 72 * 1000 * bitrates[data[2] >> 4] // RATE + (data[2] >> 1 & 1)
