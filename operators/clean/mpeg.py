"""MPEG audio (MP3, MP2, MP1) frame by frame: how much sound a file holds, and the parts that one decoder reads.

A file has no length of its own: a Xing, Info or VBRI header counts the frames of the stream that was encoded with it, and without
one decoders estimate from the first bit rate. Both fail for joined files and for variable bit rates, so all frames are counted
here (ISO/IEC 11172-3, 2.4.2.3; the Xing and LAME tags have no standard).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from soundflow.operators.clean.byte_view import AudioPart, Bytes
from soundflow.schemas.outcome import Rejected

_BITRATES: Final = {  # kbit/s by (MPEG-1, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_DELAY: Final = 2_304
"""Samples that decoders may drop at the start of a stream: their own delay (529), and a frame without its bit reservoir."""
_ID3: Final = b"ID3\x03\0\0\0\0\0\x0a" + bytes(10)
"""An ID3v2 tag of padding. Without one, libsndfile looks for a resource fork (`._NAME`) before it tests for MPEG frames, and it
takes a file `._` in the working directory for the one of a file without a name."""
_LONGEST: Final = 5_760
"""Bytes of the longest frame in free format that decoders accept."""


class Kind(NamedTuple):
    """What stays the same in all frames of one stream."""

    version: int
    layer: int
    rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The header of one frame."""

    kind: Kind
    length: int
    """Bytes; 0 in free format, whose frames do not state it."""
    samples: int
    side_info: int
    """Bytes from the start of the frame to the end of its side information (layer III)."""


def frame_header(word: int) -> FrameHeader | None:
    """Return the header that the first four bytes of a frame encode, or None if they are not one."""
    version, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    bitrate, rate = word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer == 4 or bitrate == 15 or rate == 3:
        return None
    first, channels = version == 3, 1 if word >> 6 & 3 == 3 else 2
    hertz, bits, padding = _RATES[version][rate], 1000 * _BITRATES[first, layer][bitrate], word >> 9 & 1
    samples = 384 if layer == 1 else 1152 if first or layer == 2 else 576
    length = 0 if not bits else (12 * bits // hertz + padding) * 4 if layer == 1 else samples // 8 * bits // hertz + padding
    side_info = 4 + (0 if word >> 16 & 1 else 2) + ((32, 17) if first else (17, 9))[channels == 1]
    return FrameHeader(Kind(version, layer, hertz, channels), length, samples, side_info)


@dataclass(slots=True)
class MpegStream:
    """A run of frames of one kind, with at most one header that counts them."""

    kind: Kind
    samples: int
    start: int
    stop: int = 0
    frames: int = 0
    """Frames of sound: without the frame that carries the Xing, Info or VBRI header."""
    tag: int | None = None
    """Offset of the Xing or Info header."""
    announced: int | None = None
    """Frames that the header counts."""
    trimmed: int = 0
    """Samples of the encoder's delay and padding, which decoders drop."""
    sound: int = 0
    """Offset of the first frame of sound."""
    free: bool = False
    """Free format: the frames do not state their length."""


def is_mpeg(data: Bytes, offset: int) -> bool:
    """Return whether an MPEG audio stream begins at `offset`: a frame that another of its kind or the end follows."""
    head = frame_header(int.from_bytes(data.peek(offset, 4)))
    if head is None:
        return False
    length = head.length or _free_length(data, offset, head, data.size)
    following = data.peek(offset + length, 4)
    after = frame_header(int.from_bytes(following)) if len(following) == 4 else None
    return bool(length) and (offset + length >= data.size or (after is not None and after.kind[:3] == head.kind[:3]))


def mpeg_parts(data: Bytes, start: int, stop: int, max_seconds: float) -> list[AudioPart] | Rejected:
    """Return a part for every stream in the bytes from `start` to `stop`, each with a header that counts its frames.

    Rejected: `truncated` if a frame is incomplete or a header counts more frames than follow, `damaged` if bytes between frames
    are not part of a known tag, `too_long` as soon as the frames exceed `max_seconds`.
    """
    streams = _streams(data, start, stop, max_seconds)
    if isinstance(streams, Rejected):
        return streams
    return [replace(part, prefix=_ID3 + part.prefix) for part in (_part(data, stream) for stream in streams)]


def _streams(data: Bytes, start: int, stop: int, max_seconds: float) -> list[MpegStream] | Rejected:
    streams: list[MpegStream] = []
    headers: dict[int, FrameHeader | None] = {}
    at, seconds, free = start, 0.0, 0
    while at + 4 <= stop:
        word = int.from_bytes(data.peek(at, 4))
        key = word & 0xFFFF_FFC0
        if key not in headers:
            headers[key] = frame_header(key)
        head = headers[key]
        if head is None:
            skipped = tag_length(data, at, stop)
            if not skipped:
                return Rejected("damaged", {"offset": at, "detail": f"the bytes at {at} are not part of an MPEG frame or a tag"})
            at += skipped
            continue
        length = head.length
        if not length:
            free = free or _free_length(data, at, head, stop) - (word >> 9 & 1)
            length = max(free, 1) + (word >> 9 & 1)
        if at + length > stop:
            return Rejected("truncated", {"missing_bytes": at + length - stop, "detail": "the last frame is incomplete"})
        counter = _counter(data, at, head)
        if counter is not None or not streams or streams[-1].kind != head.kind:
            streams.append(MpegStream(head.kind, head.samples, at, sound=at, free=not head.length))
        stream = streams[-1]
        if counter is not None:
            stream.tag, stream.announced, stream.trimmed = counter
            stream.sound = at + length
        else:
            stream.frames += 1
            seconds += head.samples / head.kind.rate
            if seconds > max_seconds + 1.0:  # tags may trim a part of a frame at both ends
                return Rejected("too_long", {"seconds": seconds, "limit": max_seconds})
        at += length
        stream.stop = at
    for stream in streams:
        announced = stream.announced or 0
        if announced > stream.frames + 1:  # some encoders count the frame with the header
            each = stream.samples / stream.kind.rate
            return Rejected("truncated", {"announced_seconds": announced * each, "seconds": stream.frames * each})
    return [stream for stream in streams if stream.frames]


def _part(data: Bytes, stream: MpegStream) -> AudioPart:
    frames = stream.frames * stream.samples
    if stream.tag is not None and stream.announced == stream.frames:
        return AudioPart(stream.start, stream.stop, frames=frames - stream.trimmed, tolerance=_DELAY)
    if stream.tag is not None and stream.announced is not None:  # the header describes the first of several joined streams
        size = stream.stop - stream.start
        patches = [(stream.tag + 8, stream.frames.to_bytes(4))]
        if int.from_bytes(data.read(stream.tag + 4, 4)) & 2:
            patches.append((stream.tag + 12, size.to_bytes(4)))
        lame = _lame(data, stream.tag)
        if lame is not None:  # 12 bits of delay, 12 bits of padding
            delay = data.read(lame, 2)
            patches.append((lame + 1, bytes((delay[1] & 0xF0, 0))))
        return AudioPart(stream.start, stream.stop, tuple(patches), frames=frames, tolerance=_DELAY + stream.trimmed)
    if stream.free:
        return AudioPart(stream.sound, stream.stop, frames=frames, tolerance=_DELAY)
    prefix = _first_frame(int.from_bytes(data.read(stream.sound, 4)), stream.frames)
    skip = 0 if stream.kind.layer == 3 else stream.samples
    return AudioPart(stream.sound, stream.stop, prefix=prefix, frames=frames, tolerance=_DELAY, skip=skip)


def _first_frame(word: int, frames: int) -> bytes:
    """Return a frame that makes decoders read all `frames` frames of a stream that begins with the header `word`.

    In layer III it has an Info header that counts them and no sound. The others have no such header and decoders estimate their
    length from the first bit rate: there it is a silent frame of the lowest.
    """
    layer_3 = 4 - (word >> 17 & 3) == 3
    word = (word | 1 << 16) & ~(1 << 9) & ~(15 << 12) | (12 if layer_3 else 1) << 12  # without checksum and padding
    head = frame_header(word)
    assert head is not None
    frame = bytearray(head.length)
    frame[:4] = word.to_bytes(4)
    if layer_3:
        frame[head.side_info : head.side_info + 12] = b"Info" + (1).to_bytes(4) + frames.to_bytes(4)
    return bytes(frame)


def _counter(data: Bytes, at: int, head: FrameHeader) -> tuple[int | None, int | None, int] | None:
    """Return the offset of a Xing or Info header, the frames that it or a VBRI header counts, and the samples it trims."""
    if head.kind.layer != 3:
        return None
    tag = at + head.side_info
    name = data.peek(tag, 4)
    if name in (b"Xing", b"Info"):
        flags = int.from_bytes(data.read(tag + 4, 4))
        lame = _lame(data, tag)
        trimmed = int.from_bytes(data.read(lame, 3)) if lame is not None else 0
        return tag, int.from_bytes(data.read(tag + 8, 4)) if flags & 1 else None, (trimmed >> 12) + (trimmed & 0xFFF)
    if data.peek(at + 36, 4) == b"VBRI":
        return None, int.from_bytes(data.read(at + 36 + 14, 4)), 0
    return None


def _lame(data: Bytes, tag: int) -> int | None:
    """Return the offset of the three bytes with encoder delay and padding behind a Xing header, or None without them."""
    flags = int.from_bytes(data.read(tag + 4, 4))
    extension = tag + 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    return extension + 21 if data.read(extension, 4) in (b"LAME", b"Lavc", b"Lavf", b"L3.9", b"GOGO") else None


def _free_length(data: Bytes, at: int, head: FrameHeader, stop: int) -> int:
    """Return the length of a frame in free format: the distance to the next one of its kind."""
    block = data.read(at, min(_LONGEST, stop - at) + 4)
    for distance in range(head.side_info, len(block) - 3):
        following = frame_header(int.from_bytes(block[distance : distance + 4])) if block[distance] == 0xFF else None
        if following is not None and following.kind == head.kind and not following.length:
            return distance
    return stop - at


def tag_length(data: Bytes, at: int, stop: int) -> int:
    """Return the length of the tag or of the run of zeros at `at`; 0 if there is neither."""
    head = data.read(at, 32)
    if id3 := id3_length(head):
        return id3
    if head[:4] == b"TAG+":
        return 227
    if head[:3] == b"TAG":
        return 128
    if head[:8] == b"APETAGEX":
        return 32 + int.from_bytes(head[12:16], "little") * (int.from_bytes(head[20:24], "little") >> 29 & 1)
    if head[:11] == b"LYRICSBEGIN":
        ends = [end + 9 for mark in (b"LYRICSEND", b"LYRICS200") if (end := data.find(mark, at)) >= 0]
        return min(ends, default=at) - at
    for back in (32, 160):  # an APE tag without a header, at the end or in front of an ID3v1 tag
        footer = data.read(max(at, stop - back), 32)
        if footer[:8] == b"APETAGEX" and stop - back + 32 - int.from_bytes(footer[12:16], "little") == at:
            return stop - back + 32 - at
    return min(data.zeros(at), stop - at)


def id3_length(head: bytes) -> int:
    """Return the length of the ID3v2 tag that begins with the 10 bytes `head`; 0 if there is none."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = (head[6] & 127) << 21 | (head[7] & 127) << 14 | (head[8] & 127) << 7 | head[9] & 127
    return 10 + size + (10 if head[5] & 0x10 else 0)
