"""Ingress: conversion of an audio file to mono, 16 kHz, finite samples without DC, or a typed rejection.

Reasons (stable): missing, not_a_file, symlink_loop, permission_denied, unreadable, truncated, damaged, empty, bad_rate,
too_short, too_long, not_finite, silent. Formats are detected by content, not by file name. A truncated MP3 or Ogg file cannot be
distinguished from a shorter one and is accepted as such.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from soundflow.operators.clean.activity import hop_power, to_db
from soundflow.schemas import constants as c
from soundflow.schemas.clip import IngressConfig
from soundflow.schemas.outcome import Ok, Outcome, Rejected

INGRESS_VERSION: Final = "3"
FULL_SCALE: Final = 0.999
"""Absolute value from which a sample counts as clipped."""
RATES: Final = (1_000, 768_000)
"""Valid sampling rates in Hz. A rate outside indicates a broken header."""
BLOCK: Final = 1 << 16
"""Frames per read, so that files with many channels are not held in memory as a whole."""
LARGEST: Final = 1e30
ENDLESS_FORMATS: Final = ("MPEG", "MP3", "OGG")
"""Formats whose stated length is an estimate."""
_ERRNO_REASONS: Final = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.ELOOP: "symlink_loop",
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
    errno.ENXIO: "not_a_file",
}
_UNREADABLE: Final = (OSError, RuntimeError, ValueError, TypeError)
"""Errors of soundfile for unreadable files; LibsndfileError is a RuntimeError."""
_UNKNOWN_SIZE: Final = 0x7FFF_0000
"""Smallest RIFF size that programs write as a placeholder for an unknown length."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """A converted recording."""

    samples: NDArray[np.float32]
    """Shape (n,), mono at 16 kHz, zero mean, |x| <= 1."""
    clipped_ratio: float
    """Share of full-scale samples in the source file."""
    peak: float
    """Peak of the source file, before scaling to at most 1."""
    rate: int
    channels: int
    seconds: float


def read_audio(path: Path, config: IngressConfig = IngressConfig()) -> Outcome[Ingested]:  # noqa: B008 (frozen)
    """Read a file in any format of soundfile. A file that cannot be used is Rejected with a reason; nothing is raised.

    The length is checked in the header before samples are read. Pipes, devices and folders are never read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        return Rejected(_ERRNO_REASONS.get(error.errno or 0, "unreadable"), {"detail": error.strerror or str(error)})
    except ValueError as error:  # a NUL in the path
        return Rejected("unreadable", {"detail": str(error)})
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return Rejected("not_a_file", {"detail": "the path is a folder, pipe or device"})
        if status.st_size == 0:
            return Rejected("empty", {"detail": "the file has no bytes"})
        missing = _missing_bytes(os.read(descriptor, 12), status.st_size)
        if missing > 0:
            return Rejected("truncated", {"missing_bytes": missing})
        os.lseek(descriptor, 0, os.SEEK_SET)
        with soundfile.SoundFile(descriptor, closefd=False) as file:
            return _from_file(file, config)
    except _UNREADABLE as error:
        return _unreadable(error)
    finally:
        os.close(descriptor)


def read_bytes(data: bytes, config: IngressConfig = IngressConfig()) -> Outcome[Ingested]:  # noqa: B008 (frozen)
    """Read an audio file from memory; otherwise like `read_audio`."""
    if not data:
        return Rejected("empty", {"detail": "the file has no bytes"})
    missing = _missing_bytes(data[:12], len(data))
    if missing > 0:
        return Rejected("truncated", {"missing_bytes": missing})
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            return _from_file(file, config)
    except _UNREADABLE as error:
        return _unreadable(error)


def ingress(samples: NDArray[np.floating], rate: int, config: IngressConfig = IngressConfig()) -> Outcome[Ingested]:  # noqa: B008
    """Convert samples of shape (n,) or (n, channels) at `rate` Hz to mono float32 at 16 kHz, or reject them."""
    frames = np.asarray(samples)
    frames = frames[:, None] if frames.ndim == 1 else frames
    if frames.size == 0:
        return Rejected("empty", {"detail": "there are no samples"})
    rejected = _check_length(frames.shape[0], rate, config)
    if rejected:
        return rejected
    mixed = _mix([frames])
    return mixed if isinstance(mixed, Rejected) else _condition(mixed, frames.shape[1], rate, config)


def _unreadable(error: Exception) -> Rejected:
    return Rejected("unreadable", {"detail": " ".join(str(getattr(error, "error_string", error)).split())})


def _from_file(file: soundfile.SoundFile, config: IngressConfig) -> Outcome[Ingested]:
    announced, rate = file.frames, file.samplerate
    rejected = _check_length(announced, rate, config)
    if rejected:
        return rejected
    try:
        mixed = _mix(_blocks(file, announced))
    except soundfile.LibsndfileError as error:  # the header is valid but the data is truncated or corrupt
        return Rejected("damaged", {"detail": error.error_string})
    if isinstance(mixed, Rejected):
        return mixed
    got = mixed.mono.size
    if got < announced and file.format not in ENDLESS_FORMATS:
        return Rejected("truncated", {"announced_seconds": announced / rate, "seconds": got / rate})
    return _check_length(got, rate, config) or _condition(mixed, file.channels, rate, config)


def _blocks(file: soundfile.SoundFile, announced: int) -> Iterator[NDArray[np.float32]]:
    # soundfile seeks after every read, and a seek loses the bit reservoir of an MP3 decoder: read MP3 files in one call.
    size = announced if file.format == "MP3" or "MPEG" in file.subtype else BLOCK
    while announced > 0:
        block = file.read(min(size, announced), dtype="float32", always_2d=True)
        if not block.size:
            return
        announced -= block.shape[0]
        yield block


@dataclass(frozen=True, slots=True)
class _Mixed:
    """The mean of the channels of a recording at its own rate, with measurements of the channels."""

    mono: NDArray[np.float32]
    peak: float
    clipped: int


def _mix(blocks: Iterable[NDArray[np.floating]]) -> _Mixed | Rejected:
    """Return the mean of the channels."""
    mono, peak, clipped = [], 0.0, 0
    for block in blocks:
        size = np.abs(block).max(axis=1)
        if not np.all(size < LARGEST):
            return Rejected("not_finite", {"detail": "the samples contain NaN, infinity or values above 1e30"})
        peak = max(peak, float(size.max()))
        clipped += int(np.count_nonzero(size >= FULL_SCALE))
        mono.append(block.mean(axis=1, dtype=np.float64).astype(np.float32))
    return _Mixed(np.concatenate(mono) if mono else np.zeros(0, dtype=np.float32), peak, clipped)


def _condition(mixed: _Mixed, channels: int, rate: int, config: IngressConfig) -> Outcome[Ingested]:
    """Remove DC, resample to 16 kHz and scale to |x| <= 1; reject short or silent recordings."""
    frames = mixed.mono.size
    mono = mixed.mono - np.float32(
        mixed.mono.mean(dtype=np.float64)
    )  # before resampling, whose filter rings at the ends of a DC offset
    mono /= max(1.0, float(np.abs(mono).max()))  # float files may exceed full scale, even by 1e29
    if rate != c.SAMPLE_RATE:
        mono = soxr.resample(mono, rate, c.SAMPLE_RATE, quality="HQ")
    if mono.size < 2 * c.STFT_SIZE:
        return Rejected("too_short", {"seconds": frames / rate, "limit": 2 * c.STFT_SIZE / c.SAMPLE_RATE})
    exact = mono.astype(np.float64)
    exact -= exact.mean()
    samples = (exact / max(1.0, float(np.abs(exact).max()))).astype(np.float32)
    loudest = float(to_db(hop_power(samples)).max())
    if loudest < config.silence_dbfs:
        metrics: dict[str, Any] = {"loudest_dbfs": round(loudest, 1), "limit": config.silence_dbfs, "source_peak": mixed.peak}
        if channels > 1 and mixed.peak > 10.0 ** (config.silence_dbfs / 20.0):
            metrics["detail"] = "the channels may cancel each other out"
        return Rejected("silent", metrics)
    return Ok(Ingested(samples, mixed.clipped / frames, mixed.peak, rate, channels, frames / rate))


def _check_length(frames: int, rate: int, config: IngressConfig) -> Rejected | None:
    if not RATES[0] <= rate <= RATES[1]:
        return Rejected("bad_rate", {"rate": rate, "limits": list(RATES)})
    if frames <= 0:
        return Rejected("empty", {"detail": "the file has no samples"})
    seconds = frames / rate
    if seconds > config.max_seconds:
        return Rejected("too_long", {"seconds": seconds, "limit": config.max_seconds})
    if seconds < config.min_seconds:
        return Rejected("too_short", {"seconds": seconds, "limit": config.min_seconds})
    return None


def _missing_bytes(head: bytes, size: int) -> int:
    """Return the number of bytes missing from a RIFF or AIFF file; libsndfile would silently read the rest."""
    order: Literal["little", "big"] | None = {b"RIFF": "little", b"RIFX": "big", b"FORM": "big"}.get(head[:4])  # type: ignore[assignment]
    if order is None or len(head) < 8:
        return 0
    announced = int.from_bytes(head[4:8], order)
    return 0 if announced >= _UNKNOWN_SIZE else announced + 8 - size - 1  # some writers do not count the last pad byte
