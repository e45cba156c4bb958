"""Ogg page by page: the logical streams that are chained in a file, and whether every page is there (RFC 3533)."""

from __future__ import annotations

import zlib
from typing import Final

from soundflow.operators.clean.byte_view import AudioPart, Bytes
from soundflow.schemas.outcome import Rejected

_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_AUDIO: Final = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
"""How the first page of a stream of audio begins."""
_FIRST: Final = 2
"""The flag of the first page of a logical stream."""


def ogg_parts(data: Bytes, base: int) -> list[AudioPart] | Rejected:
    """Return a part for each link of a chain: decoders read the first link only.

    A missing last page is accepted: programs that are stopped write none. Rejected: `truncated` if the last page is incomplete,
    `damaged` if a page is missing, its checksum is wrong or there are bytes between pages,
    `several_tracks` if two streams of audio are multiplexed.
    """
    starts: list[int] = []
    numbers: dict[int, int] = {}
    at, in_headers, tracks = base, False, 0
    while at < data.size:
        head = data.peek(at, 27)
        if head[:4] != b"OggS"[: len(head)]:
            if at + data.zeros(at) == data.size:
                break
            return Rejected("damaged", {"offset": at, "detail": f"the bytes at {at} are not part of an Ogg page"})
        lacing = data.peek(at + 27, head[26]) if len(head) == 27 else b""
        length = 27 + len(lacing) + sum(lacing)
        if len(head) < 27 or len(lacing) < head[26] or at + length > data.size:
            return Rejected(
                "truncated", {"missing_bytes": max(1, at + length - data.size), "detail": "the last page is incomplete"}
            )
        page = data.peek(at, length)
        if _checksum(page) != int.from_bytes(page[22:26], "little"):
            return Rejected("damaged", {"offset": at, "detail": f"the checksum of the Ogg page at byte {at} is wrong"})
        serial, number, first = int.from_bytes(head[14:18], "little"), int.from_bytes(head[18:22], "little"), head[5] & _FIRST
        if first:
            if not in_headers:
                starts.append(at)
                tracks = 0
            in_headers = True
            tracks += page[27 + len(lacing) :].startswith(_AUDIO)
            if tracks > 1:
                return Rejected("several_tracks", {"detail": "the Ogg file has several audio tracks at the same time"})
        else:
            in_headers = False
            if serial in numbers and number != numbers[serial] + 1:
                return Rejected("damaged", {"offset": at, "detail": f"an Ogg page is missing before byte {at}"})
        numbers[serial] = number
        at += length
    return (
        [AudioPart(start, stop) for start, stop in zip(starts, [*starts[1:], at], strict=True)]
        if starts
        else [AudioPart(base, data.size)]
    )


def _checksum(page: bytes) -> int:
    """Return the CRC-32 of a page: zlib's with the order of bits reversed, from 0, over the page with a checksum of 0."""
    value = zlib.crc32((page[:22] + bytes(4) + page[26:]).translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(value.to_bytes(4, "little").translate(_REVERSED))
