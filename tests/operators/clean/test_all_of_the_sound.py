"""All of the sound, or a rejection: whatever the headers of a file announce. Lengths are known by construction."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from soundflow.operators.clean.clip_cache import CleanConfig, ClipCache, Treatment, file_sha256
from soundflow.operators.clean.ingress import decode_bytes, read_audio, read_bytes
from soundflow.schemas.clip import IngressConfig
from soundflow.schemas.outcome import Ok, Rejected
from tests.support.encoded_audio import RATE, by_ffmpeg, encoded, first_mp3_frame, flac_total, patched, sound, wav_sizes

MP3_DELAY = 0.15
"""Seconds that an encoder and a decoder of MPEG audio may add or drop."""


def seconds(data: bytes) -> float | str:
    """The length of a recording, or the reason of its rejection."""
    outcome = read_bytes(data)
    return outcome.value.seconds if isinstance(outcome, Ok) else getattr(outcome, "reason", str(outcome))


def containers() -> list[tuple[str, str]]:
    """All formats of libsndfile whose headers or frames determine a length."""
    endless = {"RAW", "SD2", "PAF", "PVF", "IRCAM", "XI"}
    return [
        (form, subtype)
        for form in soundfile.available_formats()
        if form not in endless
        for subtype in soundfile.available_subtypes(form)
        if not subtype.startswith(("NMS", "MPEG", "DWVW_12")) or (form, subtype) == ("MP3", "MPEG_LAYER_III")
    ]


@pytest.mark.parametrize(("form", "subtype"), containers())
def test_a_cut_file_is_truncated_in_every_container(form: str, subtype: str) -> None:
    rate = (
        8000 if form == "WVE" or subtype in ("GSM610", "G721_32", "G723_24", "G723_40") else 48_000 if subtype == "OPUS" else RATE
    )
    whole = encoded(1.5, form, subtype, rate)
    assert seconds(whole) == pytest.approx(1.5, abs=0.1)  # codecs with blocks pad the last one
    for share in (0.2, 0.5, 0.9):
        cut = whole[: int(share * len(whole))]
        assert seconds(cut) == "truncated" or (form == "OGG" and _ends_between_pages(cut))


def _ends_between_pages(data: bytes) -> bool:
    at = data.rfind(b"OggS")
    return at + 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]]) == len(data)


PLACEHOLDERS = (0, 0xFFFF_FFFF, 0xFFFF_FFFF - 36, 0x7FFF_FFFF, 0x7FFF_F000, 0x8000_0000, 0x8000_0024)


@pytest.mark.parametrize("size", PLACEHOLDERS)
@pytest.mark.parametrize("group", [*PLACEHOLDERS, 48_036])
def test_a_wav_written_to_a_pipe_is_whole(group: int, size: int) -> None:
    assert seconds(wav_sizes(encoded(1.5, "WAV"), group, size)) == 1.5


def test_a_size_that_is_no_placeholder_is_trusted() -> None:
    wave = encoded(1.5, "WAV")
    for size in (48_002, 1_000_000, 0x6000_0000, 0xB2D0_5E2C):
        assert seconds(wav_sizes(wave, size + 36, size)) == "truncated"
    assert seconds(wav_sizes(wave, len(wave) - 8, 16_000)) == "damaged"  # samples follow that no header describes
    tagged = wave + b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"a program 1.0\0"
    assert seconds(wav_sizes(tagged, len(tagged) - 8, 48_000)) == 1.5
    empty = wave[:44] + tagged[len(wave) :]
    assert seconds(wav_sizes(empty, len(empty) - 8, 0)) == "empty"  # a real length of 0: chunks follow


def test_files_of_other_containers_written_to_a_pipe_are_whole() -> None:
    au = encoded(1.5, "AU")
    aiff = encoded(1.5, "AIFF")
    w64 = encoded(1.5, "W64")
    rf64 = encoded(1.5, "RF64")
    caf = encoded(1.5, "CAF")
    data = w64.index(b"data\xf3\xac")
    frames, ssnd = aiff.index(b"COMM") + 10, aiff.index(b"SSND") + 4
    for size in (0, 0xFFFF_FFFF):
        raw = size.to_bytes(4)
        assert seconds(patched(au, 8, raw)) == 1.5
        assert seconds(patched(patched(patched(aiff, 4, raw), frames, bytes(4)), ssnd, raw)) == 1.5
    for long in (bytes(8), b"\xff" * 7 + b"\x7f", b"\xff" * 8):
        assert seconds(patched(patched(w64, 16, long), data + 16, long)) == 1.5
        for short in (b"\xff" * 4, bytes(4)):
            assert seconds(patched(patched(patched(rf64, 20, long), 28, long), rf64.index(b"data") + 4, short)) == 1.5
    assert seconds(patched(caf, caf.index(b"data") + 4, b"\xff" * 8)) == 1.5


def test_flac_of_unknown_or_wrong_length_is_read_to_its_end() -> None:
    flac = encoded(3, "FLAC")
    tag = b"TAG" + bytes(125)
    id3 = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    for total in (0, RATE):  # unknown; of the first second only
        assert seconds(flac_total(flac, total)) == 3.0
        assert seconds(id3 + flac_total(flac, total) + tag) == 3.0
    assert seconds(flac + tag) == 3.0
    assert seconds(flac_total(flac, 4 * RATE)) == "truncated"
    assert seconds(flac[:-5]) == "truncated"
    assert seconds(flac_total(flac, 0)[:-5]) in ("truncated", "damaged")
    middle = len(flac) // 2
    assert seconds(patched(flac, middle, bytes(byte ^ 0x55 for byte in flac[middle : middle + 40]))) == "damaged"


JOINED: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    "wav": lambda: (encoded(2, "WAV"), encoded(1, "WAV", rate=44_100, channels=2)),
    "rf64": lambda: (encoded(2, "RF64"), encoded(1, "WAV")),
    "w64": lambda: (encoded(2, "W64"), encoded(1, "W64")),
    "aiff": lambda: (encoded(2, "AIFF"), encoded(1, "AIFF")),
    "au": lambda: (encoded(2, "AU"), encoded(1, "AU", "ULAW")),
    "caf": lambda: (encoded(2, "CAF"), encoded(1, "CAF")),
    "flac": lambda: (encoded(2, "FLAC"), encoded(1, "FLAC", rate=48_000)),
    "vorbis": lambda: (encoded(2, "OGG", "VORBIS"), encoded(1, "OGG", "VORBIS", rate=44_100, channels=2)),
    "opus": lambda: (encoded(2, "OGG", "OPUS"), encoded(1, "OGG", "OPUS", rate=48_000)),
    "vorbis, opus": lambda: (encoded(2, "OGG", "VORBIS"), encoded(1, "OGG", "OPUS")),
    "mp3": lambda: (encoded(2, "MP3"), encoded(1, "MP3")),
    "mp3 of other rate and channels": lambda: (encoded(2, "MP3"), encoded(1, "MP3", rate=44_100, channels=2)),
    "mp2": lambda: (by_ffmpeg(2, "mp2", "mp2"), by_ffmpeg(1, "mp2", "mp2")),
    "aac": lambda: (by_ffmpeg(2, "adts", "aac"), by_ffmpeg(1, "adts", "aac")),
}


@pytest.mark.parametrize("form", JOINED)
def test_joined_files_become_one_recording(form: str) -> None:
    first, second = JOINED[form]()
    alone = sum(length for data in (first, second) if isinstance(length := seconds(data), float))
    assert alone == pytest.approx(3.0, abs=2 * MP3_DELAY)
    assert seconds(first + second) == pytest.approx(alone, abs=0.01)
    assert seconds(first + second + first) == pytest.approx(alone + seconds(first), abs=0.01)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("muxer", "codec"), [("ipod", "aac"), ("matroska", "flac"), ("tta", "tta"), ("wv", "wavpack"), ("asf", "aac")]
)
def test_joined_files_that_decoders_read_in_part_are_damaged(muxer: str, codec: str) -> None:
    file = by_ffmpeg(1, muxer, codec)
    assert seconds(file) == pytest.approx(1.0, abs=0.13)
    assert seconds(file + file) == "damaged"


def test_the_sound_of_joined_files_is_that_of_each() -> None:
    low, high = sound(1.0, pitch=300), sound(1.0, 48_000, pitch=3000)
    for form in ("WAV", "FLAC"):
        files = []
        for samples, rate in ((low, RATE), (high, 48_000)):
            held = io.BytesIO()
            soundfile.write(held, samples, rate, format=form)
            files.append(held.getvalue())
        outcome = read_bytes(b"".join(files))
        assert isinstance(outcome, Ok) and (outcome.value.rate, outcome.value.samples.size) == (RATE, 2 * RATE)
        for start, pitch in ((0, 300), (RATE, 3000)):
            assert abs(int(np.abs(np.fft.rfft(outcome.value.samples[start : start + RATE])).argmax()) - pitch) <= 1


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("level", [0.0, 0.4, 0.7])
def test_an_mp3_without_a_header_is_read_to_its_end(mode: str, level: float) -> None:
    whole = encoded(5, "MP3", bitrate_mode=mode, compression_level=level)
    bare = whole[first_mp3_frame(whole) :]
    assert seconds(whole) == pytest.approx(5.0, abs=1e-9)
    assert seconds(bare) == pytest.approx(5.0, abs=MP3_DELAY)
    assert seconds(bare + bare) == pytest.approx(10.0, abs=2 * MP3_DELAY)
    assert seconds(whole + bare) == pytest.approx(10.0, abs=2 * MP3_DELAY)  # the header counts the first part only
    assert seconds(bare + whole) == pytest.approx(10.0, abs=2 * MP3_DELAY)
    assert seconds(bare[: len(bare) // 2]) == "truncated"
    frames = int.from_bytes(whole[21:25])
    assert frames == -(-(5 * RATE + 1105) // 576)  # LAME's delay of 576 samples and the decoder's of 529
    assert seconds(patched(whole, 21, (frames // 2).to_bytes(4))) == pytest.approx(5.0, abs=MP3_DELAY)
    assert seconds(patched(whole, 21, (2 * frames).to_bytes(4))) == "truncated"


def test_headers_that_do_not_count_frames_are_no_sound() -> None:
    whole = encoded(3, "MP3", bitrate_mode="VARIABLE")
    size = first_mp3_frame(whole)
    frames = (len(whole), int.from_bytes(whole[21:25]))
    vbri = b"VBRI" + struct.pack(">HHHII", 1, 0, 75, *frames)
    for header in (b"Xing" + bytes(4), b"Info" + (8).to_bytes(4) + bytes(4)):
        assert seconds(patched(whole, 13, header)) == pytest.approx(3.0, abs=0.08)
    assert seconds(patched(whole[:13] + bytes(size - 13) + whole[size:], 36, vbri)) == pytest.approx(3.0, abs=0.08)
    cut = size + (len(whole) - size) // 3
    while cut < len(whole) and seconds(whole[:4] + bytes(size - 4) + whole[size:cut]) == "truncated":
        cut += 1  # the end of a frame
    assert seconds(patched(whole[:13] + bytes(size - 13) + whole[size:cut], 36, vbri)) == "truncated"


def test_bytes_that_begin_like_mpeg_audio_are_rejected() -> None:
    mp3 = encoded(2, "MP3")
    assert isinstance(seconds(mp3[:40] + b"nothing" * 20 + mp3[40:]), str)
    assert isinstance(seconds(mp3[7:]), str)


def test_tags_around_mpeg_frames_are_no_sound_and_other_bytes_are_damage() -> None:
    mp3 = encoded(2, "MP3")
    id3 = b"ID3\x04\0\0\0\0\x01\x00" + bytes(128)
    ape = (
        b"APETAGEX"
        + struct.pack("<IIII", 2000, 50, 1, 1 << 31 | 1 << 29)
        + bytes(26)
        + b"APETAGEX"
        + struct.pack("<IIII", 2000, 50, 1, 1 << 31)
    )
    tags = (id3, b"TAG" + b"x" * 125, ape + bytes(8), bytes(3000), b"LYRICSBEGIN words 000020LYRICS200")
    for tag in tags:
        assert seconds(mp3 + tag) == 2.0
        assert seconds(mp3 + tag + mp3) == pytest.approx(4.0)
        assert seconds(id3 + mp3 + tag + id3 + mp3) == pytest.approx(4.0)
    assert seconds(mp3 + b"these bytes belong to nothing" * 9) == "damaged"
    assert seconds(mp3 + b"these bytes belong to nothing" * 9 + mp3) == "damaged"


def _in_wav(payload: bytes, tag: int, rate: int = RATE) -> bytes:
    extra = struct.pack("<HIHHH", 1, 2, 288, 1, 0)
    fmt = struct.pack("<HHIIHHH", tag, 1, rate, 4000, 1, 0, len(extra)) + extra
    chunks = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(payload)) + payload
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def test_mpeg_audio_inside_wav_is_read() -> None:
    mp3 = encoded(2, "MP3")
    bare = mp3[first_mp3_frame(mp3) :]
    mp2 = by_ffmpeg(2, "mp2", "mp2")
    assert seconds(_in_wav(mp3, 0x55)) == 2.0
    assert seconds(_in_wav(bare, 0x55)) == pytest.approx(2.0, abs=MP3_DELAY)
    assert seconds(_in_wav(mp2, 0x50)) == pytest.approx(2.0, abs=MP3_DELAY)
    assert seconds(_in_wav(bare, 0x55)[:-4000]) == "truncated"
    assert seconds(wav_sizes(_in_wav(bare, 0x55), 0, 0)[:44] + _in_wav(bare, 0x55)[44:]) == pytest.approx(2.0, abs=MP3_DELAY)


def test_mp2_of_a_variable_bit_rate_is_read_to_its_end() -> None:
    def at(bits: int) -> bytes:
        import av

        held = io.BytesIO()
        with av.open(held, "w", format="mp2") as container:
            stream = container.add_stream("mp2", rate=44_100, layout="mono")
            stream.bit_rate = bits
            for start in range(0, 44_100, 1152):
                samples = (32_000 * sound(1, 44_100)[start : start + 1152]).astype(np.int16)[None, :]
                frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                frame.rate = 44_100
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return held.getvalue()

    assert seconds(at(160_000) + at(32_000)) == pytest.approx(2.0, abs=MP3_DELAY)
    assert seconds(at(32_000) + at(160_000)) == pytest.approx(2.0, abs=MP3_DELAY)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_without_pages(subtype: str) -> None:
    ogg = encoded(4, "OGG", subtype)
    pages = [at for at in range(len(ogg)) if ogg.startswith(b"OggS", at)]
    assert seconds(ogg) == pytest.approx(4.0)
    without_last = seconds(ogg[: pages[-1]])
    assert isinstance(without_last, float) and 2.0 < without_last < 4.0  # a program that was stopped writes no last page
    assert seconds(ogg[: pages[-2]] + ogg[pages[-1] :]) == "damaged"
    assert (
        seconds(patched(ogg, pages[-2] + 300, bytes(byte ^ 0x55 for byte in ogg[pages[-2] + 300 : pages[-2] + 310]))) == "damaged"
    )
    assert seconds(ogg + bytes(5000)) == pytest.approx(4.0)
    assert seconds(ogg + b"these bytes belong to nothing" * 9) == "damaged"


FOREIGN: dict[str, tuple[str, str, dict[str, str], int]] = {
    "m4a": ("ipod", "aac", {}, RATE),
    "alac": ("ipod", "alac", {}, RATE),
    "fragmented": ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "300000"}, RATE),
    "mov": ("mov", "pcm_s16le", {}, RATE),
    "3gp": ("3gp", "aac", {}, RATE),
    "webm": ("webm", "libopus", {}, 48_000),
    "webm of a browser": ("webm", "libopus", {"live": "1"}, 48_000),
    "mka": ("matroska", "flac", {}, RATE),
    "wv": ("wv", "wavpack", {}, RATE),
    "tta": ("tta", "tta", {}, RATE),
    "aac": ("adts", "aac", {}, RATE),
    "wma": ("asf", "aac", {}, RATE),
    "avi": ("avi", "pcm_s16le", {}, RATE),
    "g722": ("wav", "adpcm_g722", {}, RATE),
    "alac in caf": ("caf", "alac", {}, RATE),
    "flac in ogg": ("ogg", "flac", {}, RATE),
}


@pytest.mark.parametrize("form", FOREIGN)
def test_what_ffmpeg_reads_is_whole_or_rejected(form: str) -> None:
    muxer, codec, options, rate = FOREIGN[form]
    whole = by_ffmpeg(2, muxer, codec, rate, **options)
    assert seconds(whole) == pytest.approx(2.0, abs=0.15)
    for share in (0.2, 0.5, 0.9):
        assert seconds(whole[: int(share * len(whole))]) in ("truncated", "damaged")


def test_amr_frames_are_counted() -> None:
    amr = b"#!AMR\n" + (b"\x3c" + bytes(31)) * 100  # 12.2 kbit/s, 20 ms a frame
    assert seconds(amr[:-5]) == "truncated"
    assert seconds(amr + amr) == "damaged"
    assert decode_bytes(amr).value[0].size == 100 * 160  # type: ignore[union-attr]


def test_without_pyav_foreign_formats_are_rejected_with_a_remedy_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.m4a"
    path.write_bytes(by_ffmpeg(1, "ipod", "aac"))
    cache = ClipCache(tmp_path / "cache", CleanConfig())
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "av", None)
        outcome = read_audio(path)
        assert isinstance(outcome, Rejected) and outcome.reason == "unsupported_format"
        assert "soundflow-audio[formats]" in str(outcome.metrics["detail"])
        assert isinstance(cache.clean(path, Treatment.TFJP, file_sha256(path)), Rejected)
        assert isinstance(read_bytes(encoded(1, "MP3")), Ok)
    entry = cache.clean(path, Treatment.TFJP, file_sha256(path))
    assert isinstance(entry, Ok) and entry.value.clip is not None


def test_a_recording_of_unknown_length_ends_at_the_limit() -> None:
    for data in (flac_total(encoded(3, "FLAC"), 0), encoded(3, "MP3")[288:], by_ffmpeg(3, "adts", "aac")):
        outcome = read_bytes(data, IngressConfig(max_seconds=2.0))
        assert isinstance(outcome, Rejected) and outcome.reason == "too_long"


def test_a_speech_service_may_stream_its_answer() -> None:
    """OpenAI's servers send WAV with placeholder sizes and MP3 without a header."""
    streamed, mp3 = wav_sizes(encoded(2, "WAV"), 0xFFFF_FFFF, 0xFFFF_FFFF), encoded(2, "MP3", bitrate_mode="VARIABLE")
    for body in (streamed, mp3[first_mp3_frame(mp3) :]):
        outcome = decode_bytes(body)
        assert isinstance(outcome, Ok) and outcome.value[1] == RATE
        assert outcome.value[0].size / RATE == pytest.approx(2.0, abs=MP3_DELAY)
    assert isinstance(decode_bytes(encoded(2, "WAV")[:-1000]), Rejected)


SEEDS = [
    encoded(0.3, form, subtype)
    for form, subtype in (
        *(("WAV", "PCM_16"), ("WAV", "IMA_ADPCM"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("CAF", "ALAC_16")),
        *(
            ("AU", "PCM_16"),
            ("FLAC", "PCM_16"),
            ("OGG", "VORBIS"),
            ("MP3", "MPEG_LAYER_III"),
            ("NIST", "PCM_16"),
            ("VOC", "PCM_16"),
        ),
        *(("MAT5", "PCM_16"), ("SDS", "PCM_16"), ("AVR", "PCM_16")),
    )
] + [by_ffmpeg(0.3, muxer, codec) for muxer, codec in (("ipod", "aac"), ("matroska", "flac"), ("wv", "wavpack"), ("asf", "aac"))]


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=8)), max_size=4),
    st.floats(0, 1),
)
@settings(max_examples=300, deadline=10_000)
def test_damaged_bytes_end_in_a_recording_or_a_reason(data: bytes, damage: list[tuple[int, bytes]], share: float) -> None:
    for offset, value in damage:
        data = patched(data, offset, value)
    outcome = read_bytes(data[: int(share * len(data)) + 1])
    assert isinstance(outcome, Rejected) or outcome.value.seconds <= 600
