"""Ingress: conversion of an audio file to mono, 16 kHz, finite samples without DC, or a typed rejection.

Reasons (stable): missing, not_a_file, symlink_loop, permission_denied, unreadable, unsupported_format, several_tracks, truncated,
damaged, empty, bad_rate, too_short, too_long, not_finite, silent. Formats are detected by content, not by file name. A recording
is read to its end whatever its header announces, or rejected: `truncated` holds less than announced, `damaged` cannot be read to
its end or has a wrong checksum, `several_tracks` leaves open which one is meant.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import soxr
from numpy.typing import NDArray

from soundflow.operators.clean.activity import hop_power, to_db
from soundflow.operators.clean.byte_view import Bytes
from soundflow.operators.clean.clipping import FlatTops
from soundflow.operators.clean.containers import survey
from soundflow.operators.clean.decoding import Block, RejectedError, decode
from soundflow.schemas import constants as c
from soundflow.schemas.clip import IngressConfig
from soundflow.schemas.outcome import Ok, Outcome, Rejected

INGRESS_VERSION: Final = "5"
RATES: Final = (1_000, 768_000)
"""Valid sampling rates in Hz. A rate outside indicates a broken header."""
LARGEST: Final = 1e30
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


@dataclass(frozen=True, slots=True)
class Ingested:
    """A converted recording."""

    samples: NDArray[np.float32]
    """Shape (n,), mono at 16 kHz, zero mean, |x| <= 1."""
    clipped_ratio: float
    """Share of the source's frames in flat tops at full scale or above."""
    peak: float
    """Peak of the source file, before scaling to at most 1."""
    rate: int
    channels: int
    seconds: float


def read_audio(path: Path, config: IngressConfig = IngressConfig()) -> Outcome[Ingested]:  # noqa: B008 (frozen)
    """Read a file in any format of soundfile, or of FFmpeg where PyAV is installed.

    A file that cannot be used is Rejected with a reason; nothing is raised. The headers are checked before
    samples are decoded. Pipes, devices and folders are never read.
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
        return _read(Bytes(descriptor), config)
    except _UNREADABLE as error:
        return _unreadable(error)
    finally:
        os.close(descriptor)


def read_bytes(data: bytes, config: IngressConfig = IngressConfig()) -> Outcome[Ingested]:  # noqa: B008 (frozen)
    """Read an audio file from memory; otherwise like `read_audio`."""
    if not data:
        return Rejected("empty", {"detail": "the file has no bytes"})
    try:
        return _read(Bytes(data), config)
    except _UNREADABLE as error:
        return _unreadable(error)


def decode_bytes(data: bytes, config: IngressConfig = IngressConfig()) -> Outcome[tuple[NDArray[np.float32], int]]:  # noqa: B008
    """Return the mean of the channels of an audio file in memory and its rate in Hz, without conversion."""
    try:
        mixer = _mix(Bytes(data), config)
    except _UNREADABLE as error:
        return _unreadable(error)
    if isinstance(mixer, Rejected):
        return mixer
    return Ok((mixer.mono(), mixer.rate)) if mixer.seconds else Rejected("empty", {"detail": "the file has no samples"})


def ingress(samples: NDArray[np.floating], rate: int, config: IngressConfig = IngressConfig()) -> Outcome[Ingested]:  # noqa: B008
    """Convert samples of shape (n,) or (n, channels) at `rate` Hz to mono float32 at 16 kHz, or reject them."""
    frames = np.asarray(samples)
    frames = frames[:, None] if frames.ndim == 1 else frames
    if frames.size == 0:
        return Rejected("empty", {"detail": "there are no samples"})
    mixer = _Mixer(config)
    try:
        mixer.add(Block(frames, rate))
    except RejectedError as error:
        return error.rejection
    return _check_length(mixer.seconds, config) or _condition(mixer, config)


def _unreadable(error: Exception) -> Rejected:
    return Rejected("unreadable", {"detail": " ".join(str(getattr(error, "error_string", error)).split())})


def _read(data: Bytes, config: IngressConfig) -> Outcome[Ingested]:
    mixer = _mix(data, config)
    return mixer if isinstance(mixer, Rejected) else _check_length(mixer.seconds, config) or _condition(mixer, config)


def _mix(data: Bytes, config: IngressConfig) -> _Mixer | Rejected:
    found = survey(data, config.max_seconds)
    if isinstance(found, Rejected):
        return found
    mixer = _Mixer(config)
    try:
        for block in decode(data, found, mixer.admit):
            mixer.add(block)
    except RejectedError as error:
        return error.rejection
    return mixer


class _Mixer:
    """The mean of the channels of a recording at the rate of its first block, with measurements of the channels."""

    def __init__(self, config: IngressConfig):
        self.peak, self.rate, self.channels = 0.0, 0, 0
        self.tops = FlatTops()
        self._config = config
        self._runs: list[tuple[int, list[NDArray[np.float32]]]] = []
        self._frames: list[int] = []
        """Frames of each run of blocks with the same rate."""

    @property
    def seconds(self) -> float:
        """Length so far."""
        return sum(frames / rate for frames, (rate, _) in zip(self._frames, self._runs, strict=True))

    def admit(self, frames: int, rate: int) -> None:
        """Raise RejectedError if `frames` more frames at `rate` Hz are beyond the limits."""
        if not RATES[0] <= rate <= RATES[1]:
            raise RejectedError("bad_rate", rate=rate, limits=list(RATES))
        seconds = self.seconds + frames / rate
        if seconds > self._config.max_seconds + 1e-9:  # a sum of blocks may round
            raise RejectedError("too_long", seconds=seconds, limit=self._config.max_seconds)

    def add(self, block: Block) -> None:
        """Append a block. Raises RejectedError if it is not finite or beyond the limits."""
        samples, rate = block
        self.admit(samples.shape[0], rate)
        peak = float(np.abs(samples).max())
        if not peak < LARGEST:  # also NaN
            raise RejectedError("not_finite", detail="the samples contain NaN, infinity or values above 1e30")
        self.peak = max(self.peak, peak)
        self.tops.add(samples, peak)
        self.rate, self.channels = self.rate or rate, max(self.channels, samples.shape[1])
        if not self._runs or self._runs[-1][0] != rate:
            self._runs.append((rate, []))
            self._frames.append(0)
        self._runs[-1][1].append(samples.mean(axis=1, dtype=np.float64).astype(np.float32))
        self._frames[-1] += samples.shape[0]

    def mono(self) -> NDArray[np.float32]:
        """Return all samples at `rate`, those of joined recordings with another rate resampled."""
        runs = [(rate, np.concatenate(blocks)) for rate, blocks in self._runs]
        if len(runs) == 1:
            return runs[0][1]
        return np.concatenate(
            [run if rate == self.rate else soxr.resample(run, rate, self.rate, quality="HQ") for rate, run in runs]
        )


def _condition(mixer: _Mixer, config: IngressConfig) -> Outcome[Ingested]:
    """Remove DC, resample to 16 kHz and scale to |x| <= 1; reject short or silent recordings."""
    mono, rate = mixer.mono(), mixer.rate
    mono = mono - np.float32(mono.mean(dtype=np.float64))  # before resampling, whose filter rings at the ends of a DC offset
    mono /= max(1.0, float(np.abs(mono).max()))  # float files may exceed full scale, even by 1e29
    if rate != c.SAMPLE_RATE:
        mono = soxr.resample(mono, rate, c.SAMPLE_RATE, quality="HQ")
    if mono.size < 2 * c.STFT_SIZE:
        return Rejected("too_short", {"seconds": mixer.seconds, "limit": 2 * c.STFT_SIZE / c.SAMPLE_RATE})
    exact = mono.astype(np.float64)
    exact -= exact.mean()
    samples = (exact / max(1.0, float(np.abs(exact).max()))).astype(np.float32)
    loudest = float(to_db(hop_power(samples)).max())
    if loudest < config.silence_dbfs:
        metrics: dict[str, Any] = {"loudest_dbfs": round(loudest, 1), "limit": config.silence_dbfs, "source_peak": mixer.peak}
        if mixer.channels > 1 and mixer.peak > 10.0 ** (config.silence_dbfs / 20.0):
            metrics["detail"] = "the channels may cancel each other out"
        return Rejected("silent", metrics)
    return Ok(Ingested(samples, mixer.tops.ratio(), mixer.peak, rate, mixer.channels, mixer.seconds))


def _check_length(seconds: float, config: IngressConfig) -> Rejected | None:
    if seconds <= 0:
        return Rejected("empty", {"detail": "the file has no samples"})
    if seconds < config.min_seconds:
        return Rejected("too_short", {"seconds": seconds, "limit": config.min_seconds})
    return None
