"""Files as people really have them: a table of bad ones with the reason they must be given, and of odd but good ones.

Built on the fly; `build(directory, table)` writes every entry. Used at the level of the clip index.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE: Final = 16_000
Write = Callable[[Path], None]


def burst(seconds: float = 1.0, rate: int = RATE, pitch: float = 440.0, seed: int = 0) -> NDArray[np.float32]:
    """Two decaying tones with a pause, over a little noise: something TFJP finds active and silent parts in."""
    t = np.arange(round(seconds * rate)) / rate
    envelope = np.exp(-6 * (t % (seconds / 2)) / seconds)
    noise = np.random.default_rng(seed).standard_normal(t.size)
    return np.asarray(0.3 * envelope * np.sin(2 * np.pi * pitch * t) + 0.001 * noise, dtype=np.float32)


def wav(samples: NDArray[np.floating], rate: int = RATE, subtype: str = "PCM_16", kind: str = "WAV") -> Write:
    """A writer of one file, whatever its name says."""
    return lambda path: soundfile.write(path, samples, rate, subtype=subtype, format=kind)


def raw(data: bytes) -> Write:
    """A writer of some bytes."""
    return lambda path: path.write_bytes(data) and None


def cut(share: float, writer: Write) -> Write:
    """A writer whose file lost its end."""

    def write(path: Path) -> None:
        writer(path)
        os.truncate(path, int(path.stat().st_size * share))

    return write


def _two_hours(path: Path) -> None:
    """A valid 8-bit 8 kHz WAV of two hours; a sparse file."""
    size = 2 * 3600 * 8000
    header = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    path.write_bytes(header + b"data" + struct.pack("<I", size))
    os.truncate(path, 44 + size)


def _undecodable_name(path: Path) -> None:
    Path(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9.wav")).write_bytes(b"RIFF")


BAD_FILES: Final[Mapping[str, tuple[Write, str]]] = {
    "empty.wav": (raw(b""), "empty"),
    "zero_length.wav": (wav(np.zeros(0, dtype=np.float32)), "empty"),
    "cut_in_its_header.wav": (cut(0.0009, wav(burst())), "truncated"),
    "lost_its_end.wav": (cut(0.7, wav(burst(2.0, pitch=430))), "truncated"),
    "cut_in_its_header.flac": (raw(b"fLaC\0\0\0"), "truncated"),
    "not_a_number.wav": (wav(np.full(RATE, np.nan, dtype=np.float32), subtype="FLOAT"), "not_finite"),
    "infinite.wav": (wav(np.where(np.arange(RATE) == 99, np.inf, 0.1), subtype="FLOAT"), "not_finite"),
    "dc_only.wav": (wav(np.full(RATE, 0.5)), "silent"),
    "all_silent.flac": (wav(np.zeros(RATE), kind="FLAC"), "silent"),
    "too_short.wav": (wav(burst(0.02)), "too_short"),
    "two_hours.wav": (_two_hours, "too_long"),
    "text.wav": (raw(b"This is a letter, not a recording.\n" * 99), "unreadable"),
    "picture.mp3": (raw(b"\x89PNG\r\n\x1a\n" + bytes(999)), "unreadable"),
    "phone.m4a": (raw(b"\0\0\0\x20ftypM4A " + bytes(99)), "truncated"),
    "loop.wav": (lambda path: path.symlink_to(path.name), "symlink_loop"),
    "dangling.wav": (lambda path: path.symlink_to("nowhere.wav"), "missing"),
    "pipe.wav": (os.mkfifo, "not_a_file"),
    "caf\\udce9.wav": (_undecodable_name, "name_not_utf8"),
}
"""File name → (writer, reason)."""

ODD_FILES: Final[Mapping[str, Write]] = {
    "8bit.wav": wav(burst(pitch=300), subtype="PCM_U8"),
    "24bit.wav": wav(burst(pitch=310), subtype="PCM_24"),
    "192kHz.wav": wav(burst(rate=192_000, pitch=320), rate=192_000),
    "surround.wav": wav(np.stack([burst(pitch=330 + 10 * channel) for channel in range(6)], axis=1)),
    "beyond_full_scale.wav": wav(burst(pitch=400) * 9, subtype="FLOAT"),
    "really_flac.wav": wav(burst(pitch=410), kind="FLAC"),
    "really_wav.mp3": wav(burst(pitch=420)),
    "song.mp3": wav(burst(pitch=450), subtype="MPEG_LAYER_III", kind="MP3"),
    "song.ogg": wav(burst(pitch=460), subtype="VORBIS", kind="OGG"),
    "song.AIFF": wav(burst(pitch=470), kind="AIFF"),
    "Ünïcödé ☂ 名前.wav": wav(burst(pitch=480)),
}
"""File name → writer of a file that must become a clip."""


def build(directory: Path, writers: Mapping[str, Write]) -> None:
    """Write the files of a table into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, write in writers.items():
        write(directory / name)
