"""Native FLAC streams: whether the length in STREAMINFO is that of the stream (RFC 9639)."""

from __future__ import annotations

from typing import Final

from soundflow.operators.clean.byte_view import AudioPart, Bytes
from soundflow.schemas.outcome import Rejected

_MARK: Final = b"fLaC"
_INFO: Final = (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22")
"""Headers of a STREAMINFO block of 34 bytes: not the last block, the last block."""
_BLOCK_SIZES: Final = {
    1: 192,
    **{code: 576 << code - 2 for code in range(2, 6)},
    **{code: 256 << code - 8 for code in range(8, 16)},
}
_ENDLESS: Final = (1 << 36) - 1


def flac_parts(data: Bytes, base: int) -> list[AudioPart] | Rejected:
    """Return a part for each of the FLAC streams joined in a file.

    A stream whose STREAMINFO has no length, or less than its last frame reaches, is given the largest length: libFLAC then reads
    it to the end. Rejected: `truncated` if the last frame ends before the length.
    """
    starts, at = [base], base
    while (at := data.find(_MARK, at + 4)) >= 0:
        if data.read(at + 4, 4) in _INFO:
            starts.append(at)
    parts = []
    for start, stop in zip(starts, [*starts[1:], data.size], strict=True):
        part = _stream(data, start, _without_tags(data, start, stop))
        if isinstance(part, Rejected):
            return part
        parts.append(part)
    return parts


def _stream(data: Bytes, start: int, stop: int) -> AudioPart | Rejected:
    head = data.read(start, 42)
    if len(head) < 42:
        return Rejected("truncated", {"missing_bytes": 42 - len(head)})
    if head[4:8] not in _INFO:
        return AudioPart(start, stop)  # libFLAC requires STREAMINFO first, and reports it
    total = int.from_bytes(head[21:26]) & _ENDLESS
    if not total:
        return _unknown(head, start, stop)
    ends = _last_frames(data, head, start, stop)
    if not ends or total in ends:
        return AudioPart(start, stop, frames=total)
    if max(ends) > total:
        return _unknown(head, start, stop)
    rate = int.from_bytes(head[18:21]) >> 4
    return Rejected("truncated", {"announced_seconds": total / max(rate, 1), "seconds": max(ends) / max(rate, 1)})


def _unknown(head: bytes, start: int, stop: int) -> AudioPart:
    return AudioPart(start, stop, ((start + 21, (int.from_bytes(head[21:26]) | _ENDLESS).to_bytes(5)),))


def _last_frames(data: Bytes, head: bytes, start: int, stop: int) -> set[int]:
    """Return the sample numbers at which the frames in the last bytes of a stream end."""
    largest = int.from_bytes(head[15:18]) or 1 << 16
    fixed = int.from_bytes(head[10:12])
    tail = data.read(max(start + 42, stop - 2 * largest - 64), 2 * largest + 64)
    ends: set[int] = set()
    at = tail.find(b"\xff")
    while at >= 0:
        if tail[at + 1 : at + 2] in (b"\xf8", b"\xf9"):
            end = _frame_end(tail[at : at + 16], fixed)
            if end is not None:
                ends.add(end)
        at = tail.find(b"\xff", at + 1)
    return ends


def _frame_end(frame: bytes, fixed: int) -> int | None:
    """Return the number of the first sample after the frame that starts with these 16 bytes; None if it is not a frame header."""
    if len(frame) < 6 or frame[3] & 1 or frame[3] >> 4 > 10 or frame[2] >> 4 == 0 or frame[2] & 15 == 15:
        return None
    ones = 8 - (frame[4] ^ 0xFF).bit_length()
    length = max(ones, 1)
    if ones == 1 or ones == 8 or len(frame) < 4 + length:
        return None
    number = frame[4] & (0x7F >> ones)
    for byte in frame[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    at, code = 4 + length, frame[2] >> 4
    size = _BLOCK_SIZES.get(code, 0)
    if code in (6, 7):
        size = int.from_bytes(frame[at : at + code - 5]) + 1
        at += code - 5
    at += {12: 1, 13: 2, 14: 2}.get(frame[2] & 15, 0)
    if at >= len(frame) or _crc8(frame[:at]) != frame[at]:
        return None
    return number + size if frame[1] & 1 else number * fixed + size  # a variable block size counts samples, a fixed one frames


def _crc8(header: bytes) -> int:
    value = 0
    for byte in header:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x07 if value & 0x80 else 0)) & 0xFF
    return value


def _without_tags(data: Bytes, start: int, stop: int) -> int:
    """Return where a stream ends in front of ID3v1, ID3v2 and APE tags and zeros: libFLAC takes them for damaged frames."""
    while stop - start > 160:
        tail = data.read(stop - 32, 32)
        if data.read(stop - 128, 3) == b"TAG":
            stop -= 128
        elif tail[:8] == b"APETAGEX":
            size = int.from_bytes(tail[12:16], "little") + (32 if int.from_bytes(tail[20:24], "little") >> 31 else 0)
            stop = max(start, stop - size)
        elif tail == bytes(32):
            stop -= 32
        else:
            return stop
    return stop


def is_cut(data: Bytes, part: AudioPart) -> bool:
    """Return whether the last frame of a stream that cannot be decoded ends before its checksum."""
    head = data.read(part.start, 42)
    start = max(part.start + 42, part.stop - (int.from_bytes(head[15:18]) or 1 << 16) - 16)
    tail = data.read(start, part.stop - start)
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        if tail[at + 1 : at + 2] in (b"\xf8", b"\xf9") and _frame_end(tail[at : at + 16], 1) is not None:
            return _crc16(tail[at:]) != 0  # a frame and its checksum have the checksum 0
    return True


def _crc16(frame: bytes) -> int:
    value = 0
    for byte in frame:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ (0x8005 if value & 0x8000 else 0)) & 0xFFFF
    return value
