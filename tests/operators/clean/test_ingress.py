"""Ingress: a table of bad files, each with its reason, and what every accepted recording is like."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from soundflow.operators.clean.ingress import Ingested, ingress, read_audio
from soundflow.schemas.clip import IngressConfig
from soundflow.schemas.outcome import Ok, Rejected

RATE = 16_000


def tone(seconds: float = 1.0, rate: int = RATE, level: float = 0.3, channels: int = 1) -> np.ndarray:
    wave = level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return wave if channels == 1 else np.repeat(wave[:, None], channels, axis=1)


def written(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str | None = None, form: str = "WAV") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype, format=form)
    return path


def bytes_at(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    return bytes_at(path, data[: round(share * len(data))])


def with_nan(samples: np.ndarray, value: float) -> np.ndarray:
    samples[samples.size // 2] = value
    return samples


def symlink_loop(folder: Path) -> Path:
    (folder / "a.wav").symlink_to(folder / "b.wav")
    (folder / "b.wav").symlink_to(folder / "a.wav")
    return folder / "a.wav"


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.wav")
    return folder / "pipe.wav"


def two_hours(folder: Path) -> Path:
    """A real header over two hours of (sparse) zeros: reading it all would take seconds and 460 MB."""
    path = written(folder / "x.wav", np.zeros(8))
    size = 2 * 3600 * RATE * 2
    header = bytearray(path.read_bytes()[:44])
    struct.pack_into("<I", header, 4, 36 + size)
    struct.pack_into("<I", header, 40, size)
    path.write_bytes(header)
    os.truncate(path, 44 + size)
    return path


def lying_flac(folder: Path) -> Path:
    """A FLAC that announces all its samples and holds a third of them."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 5 * RATE)
    return cut(written(folder / "x.flac", noise, form="FLAC"), 0.33)


BAD: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "no bytes": ("empty", lambda folder: bytes_at(folder / "x.wav", b"")),
    "header only": ("empty", lambda folder: written(folder / "x.wav", np.zeros(0))),
    "truncated wav": ("truncated", lambda folder: cut(written(folder / "x.wav", tone(3)), 0.5)),
    "truncated header": ("truncated", lambda folder: cut(written(folder / "x.wav", tone(3)), 0.0002)),
    "truncated aiff": ("truncated", lambda folder: cut(written(folder / "x.aiff", tone(3), form="AIFF"), 0.5)),
    "truncated flac": ("truncated", lying_flac),
    "one sample": ("too_short", lambda folder: written(folder / "x.wav", tone(1 / RATE))),
    "under two frames": ("too_short", lambda folder: written(folder / "x.wav", tone(799 / RATE))),
    "NaN": ("not_finite", lambda folder: written(folder / "x.wav", with_nan(tone(), np.nan), subtype="FLOAT")),
    "infinity": ("not_finite", lambda folder: written(folder / "x.wav", with_nan(tone(), np.inf), subtype="FLOAT")),
    "DC only": ("silent", lambda folder: written(folder / "x.wav", np.full(RATE, 0.5))),
    "DC only, 44.1 kHz": ("silent", lambda folder: written(folder / "x.wav", np.full(44_100, 0.5), 44_100)),
    "all silent": ("silent", lambda folder: written(folder / "x.wav", np.zeros(RATE))),
    "silent 8 bit": ("silent", lambda folder: written(folder / "x.wav", np.zeros(RATE), subtype="PCM_U8")),
    "channels cancel": ("silent", lambda folder: written(folder / "x.wav", np.stack([tone(), -tone()], axis=1))),
    "two hours": ("too_long", two_hours),
    "rate of 1 Hz": ("bad_rate", lambda folder: written(folder / "x.wav", tone(), 1)),
    "text called wav": ("unreadable", lambda folder: bytes_at(folder / "x.wav", b"These are words, not audio. " * 50)),
    "zeros called flac": ("unreadable", lambda folder: bytes_at(folder / "x.flac", bytes(5000))),
    "raw, no header": ("unreadable", lambda folder: bytes_at(folder / "x.raw", bytes(range(250)) * 20)),
    "symlink loop": ("symlink_loop", symlink_loop),
    "dangling link": ("missing", lambda folder: (folder / "x.wav").symlink_to(folder / "gone") or folder / "x.wav"),
    "missing": ("missing", lambda folder: folder / "x.wav"),
    "under a file": ("missing", lambda folder: written(folder / "x.wav", tone()) / "y.wav"),
    "folder": ("not_a_file", lambda folder: folder),
    "pipe": ("not_a_file", fifo),
    "device": ("not_a_file", lambda folder: Path("/dev/zero")),
    "NUL in the name": ("unreadable", lambda folder: folder / "x\0.wav"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_rejected_with_its_reason(case: str, tmp_path: Path) -> None:
    reason, make = BAD[case]
    path = make(tmp_path)
    outcome: list[object] = []
    reader = threading.Thread(target=lambda: outcome.append(read_audio(path)), daemon=True)
    reader.start()
    reader.join(timeout=10)
    assert outcome, "reading hangs"
    assert isinstance(outcome[0], Rejected) and outcome[0].reason == reason


def test_a_file_without_permission_is_rejected(tmp_path: Path) -> None:
    path = written(tmp_path / "x.wav", tone())
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # root may read everything; nobody may not
    try:
        outcome = read_audio(path)
    finally:
        if root:
            os.seteuid(0)
    assert isinstance(outcome, Rejected) and outcome.reason == "permission_denied"


@pytest.mark.parametrize(
    ("name", "subtype", "form", "rate", "channels"),
    [
        ("x.wav", "PCM_U8", "WAV", 16_000, 1),
        ("x.wav", "PCM_24", "WAV", 48_000, 2),
        ("x.wav", "DOUBLE", "WAV", 16_000, 1),
        ("x.wav", "PCM_16", "WAV", 192_000, 1),
        ("x.wav", "PCM_16", "WAVEX", 48_000, 6),
        ("x.wav", "PCM_16", "WAV", 8_000, 1),
        ("x.wav", "PCM_16", "WAV", 11_025, 2),
        ("x.flac", "PCM_24", "FLAC", 96_000, 2),
        ("x.ogg", "VORBIS", "OGG", 44_100, 2),
        ("x.mp3", "MPEG_LAYER_III", "MP3", 44_100, 1),
        ("mislabelled.wav", "PCM_16", "FLAC", 16_000, 1),
        ("mislabelled.mp3", "PCM_16", "WAV", 16_000, 1),
        ("mislabelled.raw", "PCM_16", "WAV", 16_000, 1),
        ("no extension", "PCM_16", "AIFF", 22_050, 1),
    ],
)
def test_every_format_gives_the_same_tone(tmp_path: Path, name: str, subtype: str, form: str, rate: int, channels: int) -> None:
    path = written(tmp_path / name, tone(2.0, rate, channels=channels), rate, subtype, form)
    outcome = read_audio(path)
    assert isinstance(outcome, Ok)
    got = outcome.value
    assert (got.rate, got.channels) == (rate, channels)
    assert abs(got.samples.size - 2 * RATE) <= 0.1 * RATE  # mp3 pads
    middle = got.samples[RATE // 2 : RATE // 2 + RATE]
    spectrum = np.abs(np.fft.rfft(middle))
    assert abs(int(spectrum.argmax()) - 440) <= 1
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.03)


def test_a_link_to_a_recording_is_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(written(tmp_path / "x.wav", tone()))
    assert isinstance(read_audio(tmp_path / "link"), Ok)


def test_a_wav_written_to_a_pipe_has_no_length_and_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "x.wav", tone(2))
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 4, 0xFFFF_FFFF)
    struct.pack_into("<I", data, 40, 0xFFFF_FFFF)
    outcome = read_audio(bytes_at(path, bytes(data)))
    assert isinstance(outcome, Ok) and outcome.value.seconds == pytest.approx(2.0, abs=0.01)


def test_clipping_is_counted_and_peaks_are_limited() -> None:
    outcome = ingress(np.clip(3 * tone(level=1.0), -1, 1), RATE)
    assert isinstance(outcome, Ok) and outcome.value.clipped_ratio == pytest.approx(0.78, abs=0.02)
    loud = ingress(1e20 * tone(), RATE)
    assert isinstance(loud, Ok) and loud.value.peak == pytest.approx(0.3e20, rel=1e-3)
    assert np.abs(loud.value.samples).max() == pytest.approx(1.0, rel=1e-3)


def test_length_limits_come_from_the_configuration() -> None:
    assert isinstance(ingress(tone(2.0), RATE, IngressConfig(max_seconds=1.0)), Rejected)
    assert isinstance(ingress(tone(2.0), RATE, IngressConfig(min_seconds=3.0)), Rejected)


def test_real_speech_passes_unharmed(real_audio: dict[str, np.ndarray]) -> None:
    for speech in real_audio.values():
        outcome = ingress(speech, RATE)
        assert isinstance(outcome, Ok)
        scale = max(1.0, float(np.abs(speech - speech.mean()).max()))
        assert np.allclose(outcome.value.samples * scale, speech - speech.mean(), atol=1e-6)


SHAPES = st.one_of(st.integers(0, 3000), st.tuples(st.integers(0, 2000), st.integers(1, 8)))
VALUES = st.one_of(
    st.floats(width=32, allow_nan=True, allow_infinity=True),
    st.floats(-1, 1, width=32),
    st.sampled_from([0.0, 1.0, -1.0, 1e-30, 3e38]),
)


@given(
    samples=hnp.arrays(np.float32, SHAPES, elements=VALUES, fill=st.sampled_from([0.0, 0.5, 1e-3])),
    rate=st.sampled_from([1, 999, 8000, 16_000, 44_100, 192_000, 10**9]),
)
def test_hostile_arrays_are_rejected_or_converted(samples: np.ndarray, rate: int) -> None:
    outcome = ingress(samples, rate)
    if isinstance(outcome, Rejected):
        assert outcome.reason in {"empty", "bad_rate", "too_short", "too_long", "not_finite", "silent"}
        return
    assert isinstance(outcome, Ok)
    got: Ingested = outcome.value
    assert got.samples.dtype == np.float32 and got.samples.ndim == 1
    assert np.isfinite(got.samples).all() and np.abs(got.samples).max() <= 1.0
    assert abs(got.samples.mean(dtype=np.float64)) < 1e-8
    assert 0.0 <= got.clipped_ratio <= 1.0


def test_an_mp3_is_decoded_as_one_not_in_blocks(tmp_path: Path) -> None:
    """soundfile seeks after every read; in blocks an MP3 lost its bit reservoir and came out up to 0.9 full scale wrong."""
    rng = np.random.default_rng(1)
    sound = np.clip(np.cumsum(rng.standard_normal(16_000 * 20)) * 0.004, -0.9, 0.9) + 0.2 * rng.standard_normal(16_000 * 20)
    path = tmp_path / "long.mp3"
    soundfile.write(path, sound * 0.4, 16_000, format="MP3", bitrate_mode="VARIABLE", compression_level=0.9)
    whole, _ = soundfile.read(path, dtype="float32")
    outcome = read_audio(path)
    assert isinstance(outcome, Ok)
    expected = whole - whole.mean()
    assert outcome.value.samples.size == expected.size and np.abs(outcome.value.samples - expected).max() < 1e-4
