"""Containers whose sizes are placeholders, as programs write them to a pipe, are read to their end."""

from __future__ import annotations

import struct

import pytest

from soundflow.operators.clean.ingress import read_bytes
from soundflow.schemas.outcome import Ok
from tests.support.encoded_audio import by_ffmpeg, encoded, patched


def seconds(data: bytes) -> float | str:
    """The length of a recording, or the reason of its rejection."""
    outcome = read_bytes(data)
    return outcome.value.seconds if isinstance(outcome, Ok) else getattr(outcome, "reason", str(outcome))


def test_aiff_that_sox_writes_to_a_pipe_is_whole() -> None:
    aiff = encoded(1.5, "AIFF")
    frames, ssnd = aiff.index(b"COMM") + 10, aiff.index(b"SSND") + 4
    piped = patched(patched(aiff, 4, (0x7F00_0050).to_bytes(4)), frames, (0x7F00_0000 // 2).to_bytes(4))
    assert seconds(patched(piped, ssnd, (0x7F00_0008).to_bytes(4))) == 1.5
    assert seconds(patched(patched(aiff, frames, (0x7F00_0000 // 2).to_bytes(4)), ssnd, (0x7E00_0008).to_bytes(4))) == "truncated"


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF])
def test_avi_written_to_a_pipe_is_whole(size: int) -> None:
    avi = by_ffmpeg(2, "avi", "pcm_s16le")
    movie = avi.index(b"movi")
    piped = patched(patched(avi, 4, struct.pack("<I", size)), movie - 4, struct.pack("<I", size))
    index = piped.rindex(b"idx1")
    for data in (avi, piped, piped[:index]):  # a program that is stopped writes no index
        assert seconds(data) == pytest.approx(2.0)
    assert seconds(piped[: index - 100]) == "truncated"
    assert seconds(patched(avi, 4, struct.pack("<I", len(avi)))) == "truncated"


def test_asf_written_to_a_pipe_is_whole() -> None:
    asf = by_ffmpeg(2, "asf", "aac")
    content = asf.index(bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c"))
    end = content + int.from_bytes(asf[content + 16 : content + 24], "little")
    for size in (50, 0):
        piped = patched(asf[:end], content + 16, struct.pack("<Q", size))
        assert seconds(piped) == pytest.approx(seconds(asf))
        assert seconds(piped + b"$E\x04\0" + bytes(8)) == pytest.approx(seconds(asf))
        assert seconds(piped[:-100]) == "truncated"
