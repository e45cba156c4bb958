"""Blocks of samples of the parts of a recording, decoded by libsndfile, or by FFmpeg (PyAV) where libsndfile has no decoder.

A format has one decoder: whether PyAV is installed decides whether a file is read, never which samples come out.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundflow.operators.clean.byte_view import AudioPart, Bytes, PartFile
from soundflow.operators.clean.containers import Survey
from soundflow.operators.clean.flac import is_cut
from soundflow.schemas.outcome import Rejected

BLOCK: Final = 1 << 16
"""Frames per read, so that files with many channels are not held in memory as a whole."""
REMEDY: Final = 'Install FFmpeg\'s decoders (pip install "soundflow-audio[formats]"), or convert the file to WAV or FLAC'
_SLACK: Final = 0.25
"""Seconds by which FFmpeg may yield less than the duration in a header, which counts the encoder's delay."""
_ESTIMATES: Final = ("aac", "amr", "ac3", "dts", "mpegts", "mpeg", "ogg", "mpc", "mpc8")
"""FFmpeg's containers whose duration is estimated from the bit rate, or counts what decoders drop."""
_GAP: Final = 0.1
"""Seconds between two frames from which on sound is missing. Containers round their timestamps to milliseconds."""
_STRICT: Final = {"err_detect": "crccheck+explode"}
"""FFmpeg's decoders by default ignore wrong checksums."""
_UNKNOWN: Final = 1 << 35
"""Number of frames from which on a length is a placeholder."""

Admit = Callable[[int, int], None]
"""Checks a length in frames at a sampling rate before it is decoded. Raises RejectedError."""


class Block(NamedTuple):
    """Decoded samples."""

    samples: NDArray[np.float32]
    """Shape (frames, channels)."""
    rate: int


class RejectedError(Exception):
    """Decoding ends with a rejection."""

    def __init__(self, reason: str, **metrics: Any):
        super().__init__(reason)
        self.rejection = Rejected(reason, metrics)


class ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is read once from its first frame to its last.

    After every read, soundfile seeks in a seekable file. At an unknown length libFLAC cannot, and an MP3 decoder loses its bit
    reservoir.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


def decode(data: Bytes, survey: Survey, admit: Admit) -> Iterator[Block]:
    """Yield the samples of all parts in blocks.

    Raises RejectedError: `unreadable`, `unsupported_format`, `several_tracks`, `damaged`, or `truncated` if a part holds less
    than it announces.
    """
    for part in survey.parts:
        file: ForwardSoundFile | None = None
        if survey.sndfile:
            try:
                file = _open(data, part)
            except soundfile.LibsndfileError as error:
                if not survey.demuxer:
                    raise RejectedError("unreadable", detail=error.error_string) from None
        if file is None:
            yield from _by_ffmpeg(data, part, survey.demuxer, admit)
        else:
            with file:
                yield from _by_sndfile(data, part, file, admit)


def _open(data: Bytes, part: AudioPart) -> ForwardSoundFile:
    if (part.start, part.stop, part.patches, part.prefix) != (0, data.size, (), b""):
        return ForwardSoundFile(PartFile(data, part))
    if isinstance(data.source, bytes):
        return ForwardSoundFile(io.BytesIO(data.source))
    os.lseek(data.source, 0, os.SEEK_SET)
    return ForwardSoundFile(data.source, closefd=False)


def _by_sndfile(data: Bytes, part: AudioPart, file: ForwardSoundFile, admit: Admit) -> Iterator[Block]:
    left, rate, skip, got = file.frames, file.samplerate, part.skip, 0
    expected = part.frames if part.frames is not None else left if left < _UNKNOWN else 0
    if part.frames is None and file.subtype.startswith("MPEG"):  # its length is an estimate
        raise RejectedError("damaged", detail="the file begins like MPEG audio, but its frames do not follow each other")
    admit(expected, rate)
    try:
        while left > 0:
            samples = file.read(min(BLOCK, left), dtype="float32", always_2d=True)
            if not samples.size:
                break
            left -= samples.shape[0]
            samples, skip = samples[skip:], max(0, skip - samples.shape[0])
            got += samples.shape[0]
            if samples.size:
                yield Block(samples, rate)
    except soundfile.LibsndfileError as error:
        cut = file.format == "FLAC" and is_cut(data, part)
        raise RejectedError("truncated" if cut else "damaged", detail=error.error_string) from None
    if got < expected - part.tolerance:
        reason = "damaged" if part.tolerance else "truncated"
        raise RejectedError(reason, announced_seconds=expected / rate, seconds=got / rate)


def _by_ffmpeg(data: Bytes, part: AudioPart, demuxer: str, admit: Admit) -> Iterator[Block]:
    try:
        import av
    except ImportError:
        detail = f"libsndfile does not decode it and FFmpeg's {demuxer} reader is not installed. {REMEDY}"
        raise RejectedError("unsupported_format", detail=detail) from None
    try:
        container = av.open(PartFile(data, part), format=demuxer, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise RejectedError("unreadable", detail=f"FFmpeg's {demuxer} reader: {error}") from None
    with container:
        if not container.streams.audio:
            raise RejectedError("unreadable", detail="the file has no audio track")
        if (tracks := len(container.streams.audio)) > 1:
            remedy = "Write the one to use to a file of its own: ffmpeg -i FILE -map 0:a:0 OUT.wav"
            raise RejectedError("several_tracks", detail=f"the file has {tracks} audio tracks. {remedy}")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise RejectedError("unsupported_format", detail=f"FFmpeg has no decoder for its audio. {REMEDY}")
        stream.codec_context.thread_count = 1
        stream.codec_context.options = _STRICT
        announced = 0.0
        if demuxer not in _ESTIMATES and stream.duration is not None and stream.time_base is not None:
            announced = float(stream.duration * stream.time_base)
        elif demuxer not in _ESTIMATES and container.duration is not None and len(container.streams) == 1:
            announced = container.duration / av.time_base
        rate = stream.codec_context.sample_rate
        admit(round(announced * rate), rate)
        seconds, following = 0.0, None
        try:
            for packet in container.demux(stream):
                frames = packet.decode()
                if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
                    raise RejectedError("damaged", detail=f"a packet is damaged or missing at {seconds:.3f} s")
                for frame in frames:
                    samples = _float(frame.to_ndarray(), frame.format.is_planar, len(frame.layout.channels))
                    length = samples.shape[0] / frame.sample_rate
                    if frame.time is not None:
                        if following is not None and frame.time > following + _GAP:
                            missing = frame.time - following
                            raise RejectedError("damaged", detail=f"{missing:.3f} s of sound are missing at {seconds:.3f} s")
                        following = frame.time + length
                    seconds += length
                    yield Block(samples, frame.sample_rate)
        except (av.error.FFmpegError, ValueError) as error:
            raise RejectedError("damaged", detail=f"FFmpeg's {demuxer} reader: {error}", seconds=seconds) from None
    if seconds < announced - _SLACK:
        raise RejectedError("truncated", announced_seconds=announced, seconds=seconds)


def _float(samples: NDArray[Any], planar: bool, channels: int) -> NDArray[np.float32]:
    """Return samples of shape (frames, channels) and |x| <= 1 from one of FFmpeg's sample formats."""
    frames = samples.T if planar else samples.reshape(-1, channels)
    if frames.dtype == np.uint8:
        return ((frames.astype(np.float32) - 128.0) / 128.0).astype(np.float32)
    if np.issubdtype(frames.dtype, np.integer):
        return (frames / -float(np.iinfo(frames.dtype).min)).astype(np.float32)
    return np.ascontiguousarray(frames, dtype=np.float32)
