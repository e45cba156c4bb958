"""Compare what the headers of a recording announce with the bytes present.

Decoders trust a header: they read a cut file without an error, read nothing where a program wrote to a pipe and could not fill in
the length, and stop where the first of two joined files ends. `survey` walks the structure of a file without decoding it and
returns the parts to decode, with corrected sizes, or the reason why the file does not hold all of its sound.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from soundflow.operators.clean.byte_view import WINDOW, AudioPart, Bytes
from soundflow.operators.clean.chunks import chunk_parts, is_placeholder
from soundflow.operators.clean.flac import flac_parts
from soundflow.operators.clean.headers import header_bytes
from soundflow.operators.clean.mpeg import id3_length, is_mpeg, mpeg_parts, tag_length
from soundflow.operators.clean.ogg import ogg_parts
from soundflow.schemas.outcome import Rejected

_CHUNKED: Final = {
    **dict.fromkeys((b"RIFF", b"RIFX", b"RF64", b"BW64"), "wav"),
    b"FORM": "aiff",
    b"riff": "w64",
    b"caff": "caf",
    **dict.fromkeys((b".snd", b"dns."), "au"),
}
"""First bytes of containers made of chunks, and FFmpeg's names of them."""
_FOREIGN: Final = (
    (b"wvpk", "wv"),
    (b"#!AMR", "amr"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"MAC ", "ape"),
    (b"TTA1", "tta"),
    (b"tBaK", "tak"),
    (b"MPCK", "mpc8"),
    (b"MP+", "mpc"),
    (b"\x0b\x77", "ac3"),
    (b"DSD ", "dsf"),
)
"""First bytes of containers that libsndfile does not read, and FFmpeg's names of them."""
_AMR_BYTES: Final = {  # of a frame by its type, with the byte that names the type (RFC 4867)
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6),
}
_AC3_KBITS: Final = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_ASF_HEADER: Final = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATA: Final = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA_BYTES: Final = 50
"""Bytes of a data object in front of its packets."""
_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
"""Matroska elements that contain others."""
_CLUSTER_CHILDREN: Final = (0xE7, 0xA3, 0xA0, 0xA7, 0xAB, 0xAF, 0x5854, 0xEC, 0xBF)
"""Matroska elements of a cluster (RFC 9559, 5.1.3), padding and checksums."""
_TS_BYTES: Final = 188
"""Length of a packet of an MPEG transport stream."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The parts of a file, and which decoder reads them."""

    parts: list[AudioPart]
    demuxer: str = ""
    """FFmpeg's name of the container, empty where FFmpeg reads nothing that libsndfile does not."""
    sndfile: bool = True
    """Whether libsndfile reads the container; FFmpeg then only reads what libsndfile has no decoder for."""


def survey(data: Bytes, max_seconds: float) -> Survey | Rejected:
    """Return the parts of a recording and how to decode them, or Rejected with `truncated`, `damaged`, `empty` or `too_long`."""
    base = 0
    while length := id3_length(data.read(base, 10)):
        base += length
    head = data.read(base, 64)
    if not head:
        return Rejected("truncated" if base else "empty", {"detail": "no audio follows"})
    parts, demuxer = _sndfile_parts(data, base, head, max_seconds)
    if parts is not None:
        return parts if isinstance(parts, Rejected) else Survey(parts, demuxer)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"free", b"styp"):
        return _boxes(data, base) or Survey([AudioPart(base, data.size)], "mov", sndfile=False)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _matroska(data, base) or Survey([AudioPart(base, data.size)], "matroska", sndfile=False)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _avi(data, base) or Survey([AudioPart(base, data.size)], "avi", sndfile=False)
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            return _foreign(data, base, head, name) or Survey([AudioPart(base, data.size)], name, sndfile=False)
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return _adts(data, base) or Survey([AudioPart(base, data.size)], "aac", sndfile=False)
    if head[0] == 0x47 and data.read(base + 188, 1) == b"\x47":
        return _transport(data, base) or Survey([AudioPart(base, data.size)], "mpegts", sndfile=False)
    if head[:7] == b"NIST_1A":
        return _nist(data, base)
    if head[:19] == b"Creative Voice File":
        return _voc(data, base, head)
    return _cut(data, base + header_bytes(data, base, head)) or Survey([AudioPart(base, data.size)])


def _cut(data: Bytes, end: int) -> Rejected | None:
    """Return `truncated` if a file should reach to `end` and does not."""
    return Rejected("truncated", {"missing_bytes": end - data.size}) if end > data.size else None


def _foreign(data: Bytes, base: int, head: bytes, name: str) -> Rejected | None:
    """Return why a file in one of the smaller containers does not hold all of its sound; None if it does or FFmpeg checks it."""
    if name not in ("wv", "ac3") and data.find(head[:8], base + 8) >= 0:
        return Rejected("damaged", {"detail": f"several files are joined; FFmpeg's {name} reader reads the first one only"})
    at = base
    if name == "asf":
        at = _asf_end(data, base)
    elif name == "amr":
        magic = next((magic for magic in _AMR_BYTES if head.startswith(magic)), b"")
        sizes, at = _AMR_BYTES.get(magic, ()), base + len(magic)
        while magic and at < data.size:
            kind = data.peek(at, 1)[0] >> 3 & 15
            at += sizes[kind] if kind < len(sizes) else 1
    elif name == "ac3":
        while at < data.size:
            length = _ac3_bytes(data.peek(at, 6))
            if not length and data.size - at >= 6 and at + data.zeros(at) < data.size:
                return Rejected("damaged", {"offset": at, "detail": f"the bytes at {at} are not part of an AC-3 frame"})
            at += length or data.size - at
    return _cut(data, at)


def _sndfile_parts(data: Bytes, base: int, head: bytes, max_seconds: float) -> tuple[list[AudioPart] | Rejected | None, str]:
    """Return the parts of containers whose structure is checked and which libsndfile reads, with FFmpeg's name."""
    form = head[8:12]
    chunked = {b"RIFF": (b"WAVE",), b"RIFX": (b"WAVE",), b"FORM": (b"AIFF", b"AIFC", b"8SVX", b"16SV")}.get(head[:4], ())
    if head[:4] in _CHUNKED and (not chunked or form in chunked or len(head) < 12):
        return chunk_parts(data, base, max_seconds), _CHUNKED[head[:4]]
    if head[:4] == b"fLaC":
        return flac_parts(data, base), ""
    if head[:4] == b"OggS":
        return ogg_parts(data, base), "ogg"
    first = base + (data.zeros(base) if head[0] == 0 else 0)
    if is_mpeg(data, first):
        return mpeg_parts(data, first, data.size, max_seconds), ""
    return None, ""


def _asf_end(data: Bytes, at: int) -> int:
    """Return where the objects of an ASF file end: each begins with a GUID of 16 bytes and a size of 8.

    What is streamed has packets up to the end of the file, and FFmpeg writes a mark behind them.
    """
    packet = 0
    while at < data.size:
        name, size = data.read(at, 16), int.from_bytes(data.read(at + 16, 8), "little")
        if name == _ASF_HEADER:
            properties = data.read(at, min(size, 1 << 20)).find(_ASF_PROPERTIES)
            packet = int.from_bytes(data.read(at + properties + 92, 4), "little") if properties >= 0 else 0
        if name == _ASF_DATA and packet and (size == _ASF_DATA_BYTES or is_placeholder(size, 64)):
            missing = -(data.size - at - _ASF_DATA_BYTES) % packet
            return data.size + (0 if data.read(data.size + missing - packet, 2) == b"$E" else missing)
        if size < 24:
            break
        at += size
    return at


def _avi(data: Bytes, at: int) -> Rejected | None:
    """Return why an AVI file does not hold all of its sound; None if it does. Lists of unknown size last to the end."""
    limit = 0  # the end of the list of sound and pictures
    while at + 8 <= data.size:
        limit = 0 if at >= limit else limit
        head = data.peek(at, 12)
        name, size = head[:4], int.from_bytes(head[4:8], "little")
        is_open = name in (b"RIFF", b"LIST") and is_placeholder(size, 32)
        end = at + 12 if is_open else at + 8 + size
        if not any(name) and at + data.zeros(at) == data.size:
            break
        if not all(32 <= byte < 127 for byte in name) or (limit and end > limit):
            return Rejected("damaged", {"offset": at, "detail": f"the bytes at {at} are not part of an AVI chunk"})
        if end > data.size:
            return _cut(data, end)
        if name == b"LIST" and head[8:] == b"movi" and not is_open:
            limit = end
        is_walked = is_open or (name in (b"RIFF", b"LIST") and head[8:] in (b"AVI ", b"AVIX", b"movi", b"rec "))
        at = at + 12 if is_walked else end + size % 2
    return None


def _boxes(data: Bytes, at: int) -> Rejected | None:
    """Return why an MP4, MOV or 3GP file does not hold all of its sound (ISO/IEC 14496-12, 4.2); None if it does."""
    movies = 0
    while at < data.size:
        head = data.peek(at, 16)
        size, name = int.from_bytes(head[:4]), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:16])
        elif size == 0:
            size = data.size - at
        if size < 8 or len(head) < 8 or not all(32 <= byte < 127 or byte == 0xA9 for byte in name):
            if at + data.zeros(at) == data.size:
                break
            return Rejected("damaged", {"offset": at, "detail": f"the bytes at {at} are not part of an MP4 box"})
        if cut := _cut(data, at + size):
            return cut
        movies += name == b"moov"
        at += size
    if not movies:
        return Rejected("truncated", {"detail": "the MP4 file has no moov box: its recording was not finished"})
    return (
        Rejected("damaged", {"detail": "several MP4 files are joined; decoders read the first one only"}) if movies > 1 else None
    )


def _matroska(data: Bytes, at: int) -> Rejected | None:
    """Return why a Matroska or WebM file does not hold all of its sound (RFC 9559); None if it does.

    FFmpeg searches for the next cluster where elements do not follow each other, and ignores their checksums. A segment or
    cluster of unknown size, which browsers record, lasts to the end.
    """
    headers, is_sized, segment_end, cluster_end = 0, False, 0, 0
    while at < data.size:
        name, name_bytes = _vint(data.peek(at, 12), keep_marker=True)
        size, size_bytes = _vint(data.peek(at + name_bytes, 8), keep_marker=False)
        is_unknown = size == (1 << 7 * size_bytes) - 1
        content, limit = at + name_bytes + size_bytes, cluster_end or segment_end
        end = content if is_unknown else content + size
        if not name_bytes or not size_bytes or (limit and end > limit) or (cluster_end and name not in _CLUSTER_CHILDREN):
            return Rejected("damaged", {"offset": at, "detail": f"the bytes at {at} are not part of a Matroska element"})
        if end > data.size:
            return _cut(data, end)
        headers += name == _EBML
        is_sized |= name == _SEGMENT and not is_unknown
        if name > 0xFF_FFFF and name not in (_EBML, _SEGMENT) and not is_unknown and not _has_right_crc(data, content, end):
            return Rejected("damaged", {"offset": at, "detail": f"the checksum of the Matroska element at byte {at} is wrong"})
        if name == _SEGMENT and not is_unknown:
            segment_end = end
        elif name == _CLUSTER and not is_unknown:
            cluster_end = end
        at = content if name in (_SEGMENT, _CLUSTER) else end
        cluster_end = 0 if at == cluster_end else cluster_end
        segment_end = 0 if at == segment_end else segment_end
    if headers > 1 and is_sized:
        return Rejected("damaged", {"detail": "several Matroska files are joined; decoders read the first one only"})
    return None


def _has_right_crc(data: Bytes, start: int, end: int) -> bool:
    """Return whether the content of an EBML element agrees with the checksum it begins with, or has none (RFC 8794, 11.3.1)."""
    head = data.peek(start, 6)
    if head[:2] != b"\xbf\x84" or end - start < 6:
        return True
    value, at = 0, start + 6
    while at < end and (block := data.read(at, min(WINDOW, end - at))):
        value, at = zlib.crc32(block, value), at + len(block)
    return value == int.from_bytes(head[2:], "little")


def _vint(head: bytes, keep_marker: bool) -> tuple[int, int]:
    """Return the value and the length of a variable-size integer; a length of 0 if there is none."""
    length = 9 - head[0].bit_length() if head and head[0] else 0
    if not length or len(head) < length:
        return 0, 0
    value = int.from_bytes(head[:length])
    return (value if keep_marker else value & (1 << 7 * length) - 1), length


def _adts(data: Bytes, at: int) -> Rejected | None:
    """Return why AAC frames (ISO/IEC 14496-3, 1.A.2) do not follow each other to the end of a file; None if they do."""
    while at < data.size:
        head = data.peek(at, 10)
        length = (int.from_bytes(head[3:6]) >> 5) & 0x1FFF
        if head[0] == 0xFF and (len(head) == 1 or head[1] & 0xF6 == 0xF0):
            at += max(length, 7)
        elif skipped := tag_length(data, at, data.size):
            at += skipped
        else:
            return Rejected("damaged", {"offset": at, "detail": f"the bytes at {at} are not part of an AAC frame or a tag"})
    return _cut(data, at)


def _transport(data: Bytes, base: int) -> Rejected | None:
    """Return why a transport stream does not hold all of its sound (ISO/IEC 13818-1, 2.4.3); None if it does.

    The packets of a stream are counted modulo 16. FFmpeg passes over missing ones and reads repeated ones twice. Lost
    packets of video do not matter.
    """
    counters: dict[int, int | None] = {}  # of the streams of audio
    at = base
    while at + _TS_BYTES <= data.size:
        block = data.read(at, _TS_BYTES * 2048)
        packets = np.frombuffer(block, np.uint8, len(block) // _TS_BYTES * _TS_BYTES).reshape(-1, _TS_BYTES)
        if (wrong := np.flatnonzero(packets[:, 0] != 0x47)).size:
            offset = at + int(wrong[0]) * _TS_BYTES
            return Rejected("damaged", {"offset": offset, "detail": f"no packet of the transport stream begins at byte {offset}"})
        streams = (packets[:, 1].astype(int) & 31) << 8 | packets[:, 2]
        for row in np.flatnonzero(packets[:, 1] & 0x40).tolist():
            if _begins_audio(packets[row].tobytes()):
                counters.setdefault(int(streams[row]), None)
        for row in np.flatnonzero(np.isin(streams, list(counters))).tolist():
            packet, stream = packets[row].tobytes(), int(streams[row])
            has_payload, counter, previous = packet[3] & 0x10, packet[3] & 15, counters[stream]
            if packet[3] & 0x20 and packet[4] and packet[5] & 0x80:  # a discontinuity that the sender announces
                previous = None
            is_next = previous is None or counter == (previous + 1) % 16
            if packet[1] & 0x80 or (has_payload and not is_next):
                offset = at + row * _TS_BYTES
                return Rejected("damaged", {"offset": offset, "detail": f"packets are damaged or missing at byte {offset}"})
            if has_payload:
                counters[stream] = counter
        at += packets.size
    return _cut(data, data.size + -(data.size - base) % _TS_BYTES)


def _begins_audio(packet: bytes) -> bool:
    """Return whether a packet of a transport stream begins a packet of audio (ISO/IEC 13818-1, 2.4.3.7)."""
    start = packet[4 + (1 + packet[4] if packet[3] & 0x20 else 0) :][:4]
    return start[:3] == b"\0\0\1" and len(start) == 4 and (0xC0 <= start[3] <= 0xDF or start[3] in (0xBD, 0xFD))


def _ac3_bytes(head: bytes) -> int:
    """Return the length of a frame of AC-3 or E-AC-3 (ETSI TS 102 366, 4.4.1 and E.1.3.1); 0 if there is none."""
    if head[:2] != b"\x0b\x77" or len(head) < 6:
        return 0
    if head[5] >> 3 > 10:
        return 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    rate, code = head[4] >> 6, head[4] & 63
    if rate == 3 or code >> 1 >= len(_AC3_KBITS):
        return 0
    kbits = _AC3_KBITS[code >> 1]
    return (4 * kbits, 2 * (kbits * 96_000 // 44_100 + (code & 1)), 6 * kbits)[rate]


def _voc(data: Bytes, base: int, head: bytes) -> Survey | Rejected:
    """Return the survey of a Creative Voice file: libsndfile reads one block of sound, FFmpeg all."""
    at, sounds = base + int.from_bytes(head[20:22], "little"), 0
    while at < data.size and (block := data.read(at, 4)) and block[0]:
        sounds += block[0] in (1, 2, 9)
        at += 4 + int.from_bytes(block[1:4], "little")
    return _cut(data, at) or Survey([AudioPart(base, data.size)], "voc", sndfile=sounds <= 1)


def _nist(data: Bytes, base: int) -> Survey | Rejected:
    """Return the survey of a NIST SPHERE file: `sample_count` counts samples per channel."""
    size = data.read(base + 8, 8).strip()
    header = int(size) if size.isdigit() else 1024
    fields: dict[str, str] = {}
    for line in data.read(base, min(header, 1 << 16)).decode("latin-1").splitlines():
        name, _, value = line.strip().partition(" ")
        fields[name] = value.rpartition(" ")[2]
    counts = [fields.get(name, "") for name in ("sample_count", "channel_count", "sample_n_bytes")]
    compressed = "shorten" in fields.get("sample_coding", "") or "wavpack" in fields.get("sample_coding", "")
    if not compressed and all(count.isdigit() for count in counts):
        samples, channels, width = (int(count) for count in counts)
        if cut := _cut(data, base + header + samples * channels * width):
            return cut
    return Survey([AudioPart(base, data.size)], "nistsphere", sndfile=not compressed)
