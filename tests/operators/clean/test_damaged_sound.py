"""Damage that a decoder passes over without an error, and what else must not change how a file is read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from soundflow.operators.clean.ingress import read_audio, read_bytes
from soundflow.schemas.outcome import Ok, Rejected
from tests.support.encoded_audio import by_ffmpeg, encoded, patched

MP3_DELAY = 0.15
"""Seconds that an encoder and a decoder of MPEG audio may add or drop."""


def seconds(data: bytes) -> float | str:
    """The length of a recording, or the reason of its rejection."""
    outcome = read_bytes(data)
    return outcome.value.seconds if isinstance(outcome, Ok) else getattr(outcome, "reason", str(outcome))


CHECKSUMS: dict[str, tuple[str, str, dict[str, str]]] = {
    "wavpack": ("wv", "wavpack", {}),
    "tta": ("tta", "tta", {}),
    "ac3": ("ac3", "ac3", {}),
    "eac3": ("eac3", "eac3", {}),
    "flac in matroska": ("matroska", "flac", {}),
    "ac3 in matroska": ("matroska", "ac3", {}),
    "wavpack in matroska": ("matroska", "wavpack", {}),
    "tta in matroska": ("matroska", "tta", {}),
    "flac in mp4": ("mp4", "flac", {}),
}


@pytest.mark.parametrize("form", CHECKSUMS)
def test_sound_with_a_wrong_checksum_is_damaged(form: str) -> None:
    muxer, codec, options = CHECKSUMS[form]
    whole = by_ffmpeg(3, muxer, codec, 48_000, **options)
    assert seconds(whole) == pytest.approx(3.0, abs=0.05)
    for share in (0.3, 0.5, 0.7):
        at = int(share * len(whole))
        assert seconds(patched(whole, at, bytes(byte ^ 0x55 for byte in whole[at : at + 8]))) == "damaged"
        assert seconds(patched(whole, at, bytes(1500))) == "damaged"


@pytest.mark.parametrize("codec", ["aac", "mp2"])
@pytest.mark.parametrize("lost", [1, 16, 20, 32])
def test_a_transport_stream_that_lost_packets_is_damaged(codec: str, lost: int) -> None:
    """Its continuity counters are numbers of 4 bits: after 16 lost packets only the timestamps show a gap."""
    whole = by_ffmpeg(3, "mpegts", codec, pes_payload_size="0")
    assert seconds(whole) == pytest.approx(3.0, abs=0.15)
    middle = 188 * (len(whole) // 376)
    at = next(at for at in range(middle, len(whole), 188) if whole[at + 1 : at + 3] in (b"\x01\0", b"\x41\0"))  # PID 256
    assert seconds(whole[:at] + whole[at + 188 * lost :]) == "damaged"
    assert seconds(patched(whole, at, b"\0")) == "damaged"  # no sync byte
    assert seconds(patched(whole, at + 1, bytes([whole[at + 1] | 0x80]))) == "damaged"  # transport_error_indicator
    assert seconds(whole[: at + 188] + whole[at:]) == "damaged"  # the packet is there twice
    table = whole.index(b"G@", at + 188)
    assert seconds(whole[:table] + whole[table + 188 :]) == pytest.approx(3.0, abs=0.15)  # only a table is missing


@pytest.mark.parametrize(("form", "subtype"), [("MP3", "MPEG_LAYER_III"), ("mp2", "mp2")])
def test_files_in_the_working_directory_are_not_taken_for_resource_forks(
    form: str, subtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = by_ffmpeg(2, form, subtype) if form == "mp2" else encoded(2, form)
    id3 = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    for name, content in (("bare", data), ("tagged", id3 + data)):
        (tmp_path / name).write_bytes(content)
    before = [read_audio(tmp_path / name) for name in ("bare", "tagged")]
    (tmp_path / "._").touch()
    (tmp_path / ".AppleDouble").mkdir()
    for name in ("bare", "tagged"):
        (tmp_path / f"._{name}").write_bytes(b"\0\x05\x16\x07" + bytes(78))
    monkeypatch.chdir(tmp_path)
    after = [read_audio(tmp_path / name) for name in ("bare", "tagged")]
    for one, other in zip(before, after, strict=True):
        assert isinstance(one, Ok) and isinstance(other, Ok)
        assert one.value.seconds == pytest.approx(2.0, abs=MP3_DELAY)
        assert np.array_equal(one.value.samples, other.value.samples)


@pytest.mark.parametrize("codec", ["ac3", "eac3"])
@pytest.mark.parametrize("rate", [48_000, 44_100, 32_000])
def test_frames_of_ac3_are_counted(codec: str, rate: int) -> None:
    whole = by_ffmpeg(2, codec, codec, rate)
    assert seconds(whole) == pytest.approx(2.0, abs=0.05)
    assert seconds(whole + whole) == pytest.approx(4.0, abs=0.1)
    for missing in (1, 3, 64):
        assert seconds(whole[:-missing]) == "truncated"
    assert seconds(whole + b"these bytes belong to nothing") == "damaged"


@pytest.mark.parametrize("codec", ["libopus", "flac", "pcm_s16le", "libmp3lame", "aac"])
def test_elements_of_matroska_follow_each_other_and_agree_with_their_checksums(codec: str) -> None:
    whole = by_ffmpeg(3, "matroska", codec, 48_000)
    assert seconds(whole) == pytest.approx(3.0, abs=0.1)
    cluster = whole.index(b"\x1f\x43\xb6\x75")
    for share in (0.3, 0.5, 0.7):
        at = cluster + int(share * (len(whole) - cluster))
        assert seconds(patched(whole, at, bytes([whole[at] ^ 1]))) == "damaged"
        assert seconds(whole[:at]) == "truncated"


@pytest.mark.parametrize("live", ["0", "1"])
def test_a_block_of_matroska_without_checksum_has_a_header(live: str) -> None:
    whole = by_ffmpeg(3, "webm", "libopus", 48_000, live=live)
    block = whole.index(b"\xa3", len(whole) // 2)
    while whole[block + 3 : block + 4] != b"\x81" and whole[block + 2 : block + 3] != b"\x81":  # of track 1
        block = whole.index(b"\xa3", block + 1)
    plain = whole.replace(b"\xbf\x84", b"\xec\x84")  # padding in place of the checksums
    assert seconds(plain) == pytest.approx(3.0, abs=0.1)
    for damage in (b"\xa3\x20\x00", bytes(4), b"\xff" * 4):
        assert seconds(patched(plain, block, damage)) in ("damaged", "truncated")


def _two_tracks(muxer: str, codec: str) -> bytes:
    import av

    held = io.BytesIO()
    with av.open(held, "w", format=muxer) as container:
        streams = [container.add_stream(codec, rate=48_000, layout="mono") for _ in range(2)]
        for stream in streams:
            size = stream.codec_context.frame_size or 1024
            for start in range(0, 96_000, size):
                samples = np.zeros((1, size), np.int16) + np.int16(start % 1000)
                frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                frame.rate, frame.pts = 48_000, start
                converted = av.AudioResampler(format=stream.format, layout="mono", rate=48_000).resample(frame)
                container.mux([packet for piece in converted for packet in stream.encode(piece)])
            container.mux(stream.encode(None))
    return held.getvalue()


@pytest.mark.parametrize(
    ("muxer", "codec"), [("mp4", "aac"), ("matroska", "libopus"), ("mpegts", "mp2"), ("avi", "pcm_s16le"), ("ogg", "flac")]
)
def test_a_file_with_two_audio_tracks_is_rejected(muxer: str, codec: str) -> None:
    outcome = read_bytes(_two_tracks(muxer, codec))
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "several_tracks", outcome


@pytest.mark.parametrize("codec", ["pcm_s16le", "libmp3lame"])
def test_chunks_of_avi_follow_each_other(codec: str) -> None:
    whole = by_ffmpeg(3, "avi", codec)
    chunk = whole.index(b"00wb", len(whole) // 2)
    assert seconds(whole) == pytest.approx(3.0, abs=0.15)
    for damage in (bytes(8), b"\xff" * 8, b"00wb\x03\0\0\0", b"00wb\xff\xff\xff\0"):
        assert seconds(patched(whole, chunk, damage)) == "damaged"
