"""WAV, RF64, W64, AIFF, 8SVX, CAF and AU: where the sound is, and how much of what the header announces.

A size of 0 or close to the largest number is a placeholder of a program that writes to a pipe: the sound lasts to the end of the
file. Sizes are only trusted as far as chunks really follow each other: bytes that no chunk describes are an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from soundflow.operators.clean.byte_view import AudioPart, Bytes
from soundflow.operators.clean.mpeg import id3_length, mpeg_parts
from soundflow.schemas.outcome import Rejected

STRAY_BYTES: Final = 512
"""Bytes after the last chunk that may be outside any chunk: padding to a sector."""
_MPEG: Final = (0x50, 0x55)
"""WAV format tags of MPEG audio (RFC 2361)."""
_FIXED: Final = (1, 3, 6, 7)
"""WAV format tags with a fixed number of bytes per frame: PCM, float, A-law, mu-law."""
_UNCOMPRESSED: Final = (b"", b"NONE", b"twos", b"sowt", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64")


_MOST_CHUNKS: Final = 1 << 16
"""Chunks after which a file is not walked any further."""


class ChunkLayout(NamedTuple):
    """How a family of containers writes the header of a chunk."""

    name_bytes: int
    size_bytes: int
    order: Literal["little", "big"]
    align: int
    counts_header: bool = False


class FileChunk(NamedTuple):
    """A chunk of a container."""

    name: bytes
    at: int
    """Offset of its content."""
    size: int
    """Bytes of content that its header announces."""
    size_at: int
    """Offset of the size field."""


class FileInside(NamedTuple):
    """One file: the part that a decoder reads, and from where to where its sound is MPEG audio."""

    part: AudioPart
    mpeg: tuple[int, int] | None = None


@dataclass(slots=True)
class Walked:
    """The chunks of one file, the last one cut to the bytes that are there."""

    chunks: dict[bytes, FileChunk]
    end: int
    """Offset behind the last chunk."""
    unknown: bool
    """Whether the size of the sound is a placeholder."""


_RIFF: Final = ChunkLayout(4, 4, "little", 2)
_IFF: Final = ChunkLayout(4, 4, "big", 2)
_W64: Final = ChunkLayout(16, 8, "little", 8, counts_header=True)
_CAF: Final = ChunkLayout(4, 8, "big", 1)


def chunk_parts(data: Bytes, base: int, max_seconds: float) -> list[AudioPart] | Rejected:
    """Return a part for each of the files joined in one, or for each stream of the MPEG audio in a WAV file.

    Rejected: `truncated` if there is less sound than a header announces, `damaged` if bytes follow that no header describes.
    """
    parts: list[AudioPart] = []
    form = _READERS[data.read(base, 4)]
    while True:
        found = form(data, base)
        if isinstance(found, Rejected):
            return found
        if found.mpeg is not None:
            streams = mpeg_parts(data, *found.mpeg, max_seconds)
            if isinstance(streams, Rejected):
                return streams
            parts += streams
        else:
            parts.append(found.part)
        base = found.part.stop
        if _READERS.get(data.read(base, 4)) is not form:
            return _stray(data, base) or parts


def _wave(data: Bytes, base: int) -> FileInside | Rejected:
    kind = data.read(base, 4)
    layout = _IFF if kind == b"RIFX" else _RIFF
    group = int.from_bytes(data.read(base + 4, 4), layout.order)
    sizes = base + 20 if data.read(base + 12, 4) == b"ds64" and kind in (b"RF64", b"BW64") else None
    walked = _walk(data, base + 12, layout, b"data", (b"RIFF", b"RIFX", b"RF64", b"BW64"), sizes + 8 if sizes else None)
    if isinstance(walked, Rejected):
        return walked
    missing = base + 8 + group - data.size
    if not is_placeholder(group, 32) and missing > (8 if b"data" in walked.chunks else 0):  # some writers count the header
        return _truncated(missing)
    if b"data" not in walked.chunks or b"fmt " not in walked.chunks:
        return _truncated(1) if walked.end >= data.size else Rejected("damaged", {"detail": "there is no fmt or no data chunk"})
    sound = walked.chunks[b"data"]
    fields = data.read(walked.chunks[b"fmt "].at, 26)
    tag, block = int.from_bytes(fields[:2], layout.order), int.from_bytes(fields[12:14], layout.order)
    tag = int.from_bytes(fields[24:26], layout.order) if tag == 0xFFFE else tag
    patches: tuple[tuple[int, bytes], ...] = ()
    if walked.unknown and sizes is not None:
        patches = ((sizes, (data.size - base - 8).to_bytes(8, "little")), (sizes + 8, sound.size.to_bytes(8, "little")))
        patches += ((sound.size_at, b"\xff" * 4),)
    elif walked.unknown:
        patches = (_size(base + 4, data.size - base - 8, layout), _size(sound.size_at, sound.size, layout))
    frames = sound.size // block if tag in _FIXED and block else None
    return FileInside(
        AudioPart(base, walked.end, patches, frames=frames), (sound.at, sound.at + sound.size) if tag in _MPEG else None
    )


def _iff(data: Bytes, base: int) -> FileInside | Rejected:
    form = data.read(base + 8, 4)
    group = int.from_bytes(data.read(base + 4, 4))
    name = b"SSND" if form[:3] == b"AIF" else b"BODY"
    walked = _walk(data, base + 12, _IFF, name, (b"FORM",))
    if isinstance(walked, Rejected):
        return walked
    missing = base + 8 + group - data.size
    if not is_placeholder(group, 32) and missing > (8 if name in walked.chunks else 0):
        return _truncated(missing)
    if name not in walked.chunks:
        return Rejected("empty", {"detail": "the file has no samples"}) if form[:3] == b"AIF" else _truncated(1)
    sound, patches = walked.chunks[name], []
    common = walked.chunks.get(b"COMM")
    if common is not None:
        fields = data.read(common.at, min(common.size, 22))
        frames = int.from_bytes(fields[2:6])
        block = int.from_bytes(fields[:2]) * -(-int.from_bytes(fields[6:8]) // 8)
        held = max(0, sound.size - 8) // block if block else 0
        if block and fields[18:22] in _UNCOMPRESSED and frames > held and not walked.unknown and not is_placeholder(frames, 32):
            return _truncated((frames - held) * block)
        if walked.unknown:
            patches = [_size(base + 4, data.size - base - 8, _IFF), (common.at + 2, held.to_bytes(4))]
    if walked.unknown:
        patches.append(_size(sound.size_at, sound.size, _IFF))
    return FileInside(AudioPart(base, walked.end, tuple(sorted(patches))))


def _w64(data: Bytes, base: int) -> FileInside | Rejected:
    walked = _walk(data, base + 40, _W64, b"data", (b"riff",))
    if isinstance(walked, Rejected):
        return walked
    group = int.from_bytes(data.read(base + 16, 8), "little")
    if not is_placeholder(group, 64) and base + group > data.size + 8:
        return _truncated(base + group - data.size)
    if b"data" not in walked.chunks:
        return _truncated(1)
    sound, patches = walked.chunks[b"data"], tuple[tuple[int, bytes], ...]()
    if walked.unknown:
        patches = (_size(base + 16, data.size - base, _W64), _size(sound.size_at, sound.size + 24, _W64))
    return FileInside(AudioPart(base, walked.end, patches))


def _caf(data: Bytes, base: int) -> FileInside | Rejected:
    walked = _walk(data, base + 8, _CAF, b"data", (b"caff",))
    if isinstance(walked, Rejected):
        return walked
    if b"data" not in walked.chunks:
        return _truncated(1)
    sound = walked.chunks[b"data"]
    patches: tuple[tuple[int, bytes], ...] = (_size(sound.size_at, sound.size, _CAF),) if walked.unknown else ()
    table = walked.chunks.get(b"pakt")
    if table is not None and data.read(walked.chunks[b"desc"].at + 8 if b"desc" in walked.chunks else 0, 4) == b"alac":
        patches += ((table.at + 20, bytes(4)),)  # FFmpeg drops the frames that the last packet does not have once more
    return FileInside(AudioPart(base, walked.end, patches))


def _au(data: Bytes, base: int) -> FileInside | Rejected:
    layout = _IFF if data.read(base, 4) == b".snd" else _RIFF
    fields = data.read(base, 12)
    if len(fields) < 12:
        return _truncated(12 - len(fields))
    start, size = int.from_bytes(fields[4:8], layout.order), int.from_bytes(fields[8:12], layout.order)
    left = data.size - base - start
    if left < 0:
        return _truncated(-left)
    if size > left or size == 0:
        if not is_placeholder(size, 32):
            return _truncated(size - left)
        return FileInside(AudioPart(base, data.size, (_size(base + 8, left, layout),)))
    return FileInside(AudioPart(base, base + start + size))


def _walk(
    data: Bytes, at: int, layout: ChunkLayout, sound: bytes, joined: tuple[bytes, ...], long_size_at: int | None = None
) -> Walked | Rejected:
    """Walk the chunks from `at` to the end of the file, or to a chunk named in `joined` that follows the chunk `sound`.

    `long_size_at` is the offset of the 64-bit size of the sound (RF64). Rejected: a chunk is cut, or there are two of sound.
    """
    walked = Walked({}, at, False)
    for chunk in _chunks(data, at, layout):
        name, size, bits = chunk.name[:4], chunk.size, 8 * layout.size_bytes
        left = data.size - chunk.at
        if sound in walked.chunks and name in joined:
            break
        if name == sound:
            if sound in walked.chunks:
                return Rejected("damaged", {"offset": chunk.at, "detail": f"there is a second chunk of sound at byte {chunk.at}"})
            if long_size_at is not None and size == 0xFFFF_FFFF:
                size, bits = int.from_bytes(data.read(long_size_at, 8), "little"), 64
            if is_placeholder(size, bits) and (size > left or (left > 0 and not _is_chunks(data, chunk.at, layout))):
                walked.chunks[name], walked.end, walked.unknown = chunk._replace(size=left), data.size, True
                return walked
        if size > left + 1:  # some writers count a pad byte that is not there
            return _truncated(size - left)
        walked.chunks[name] = chunk._replace(size=min(size, left))
        walked.end = min(chunk.at + size + -size % layout.align, data.size)
    return walked


def _chunks(data: Bytes, at: int, layout: ChunkLayout) -> Iterator[FileChunk]:
    """Yield the chunks from `at` on, of which the last may be cut. Stops at the first invalid header."""
    header = layout.name_bytes + layout.size_bytes
    for _ in range(_MOST_CHUNKS):
        if at + header > data.size:
            return
        head = data.peek(at, header)
        size = int.from_bytes(head[layout.name_bytes :], layout.order)
        if not all(32 <= byte < 127 for byte in head[:4]):
            return
        size = max(0, size - header) if layout.counts_header else size
        yield FileChunk(head[: layout.name_bytes], at + header, size, at + layout.name_bytes)
        at += header + size + -size % layout.align


def _is_chunks(data: Bytes, at: int, layout: ChunkLayout) -> bool:
    """Return whether the bytes from `at` to the end of the file are chunks."""
    end = at
    for chunk in _chunks(data, at, layout):
        end = chunk.at + chunk.size
    return end > at and abs(data.size - end) <= 1


def is_placeholder(size: int, bits: int) -> bool:
    """Return whether a size is one that programs write while they do not know it.

    It is 0 or close to the largest number; SoX writes 0x7f000000 and the size of the headers.
    """
    if bits == 64:
        return size == 0 or size >= 1 << 62
    return size == 0 or abs(size - (1 << 31)) <= 1 << 16 or 0 <= size - 0x7F00_0000 <= 1 << 16 or size >= (1 << 32) - (1 << 16)


def _stray(data: Bytes, at: int) -> Rejected | None:
    """Return `damaged` if the bytes from `at` to the end of the file are more than padding or a tag."""
    left = data.size - at
    if left <= STRAY_BYTES or data.zeros(at) == left or id3_length(data.read(at, 10)) or data.read(at, 8) == b"APETAGEX":
        return None
    return Rejected("damaged", {"offset": at, "detail": f"from byte {at} on, {left} bytes follow that no header describes"})


def _truncated(missing: int) -> Rejected:
    return Rejected("truncated", {"missing_bytes": missing})


def _size(at: int, size: int, layout: ChunkLayout) -> tuple[int, bytes]:
    return at, min(size, (1 << 8 * layout.size_bytes) - 1).to_bytes(layout.size_bytes, layout.order)


_READERS: Final = {
    **dict.fromkeys((b"RIFF", b"RIFX", b"RF64", b"BW64"), _wave),
    b"FORM": _iff,
    b"riff": _w64,
    b"caff": _caf,
    **dict.fromkeys((b".snd", b"dns."), _au),
}
