"""The size that a fixed header announces, for formats of libsndfile without chunks. libsndfile reads what is there instead."""

from __future__ import annotations

from soundflow.operators.clean.byte_view import Bytes

_MAT4_BYTES = (8, 4, 4, 2, 2, 1)
"""Bytes of a number by the precision digit of a MAT4 matrix."""


def header_bytes(data: Bytes, base: int, head: bytes) -> int:
    """Return the length of the file at `base` that its first 64 bytes announce; 0 if they are of another format."""
    if head[:4] == b"2BIT":  # AVR: bits and frames
        channels = 1 if head[12:14] == b"\0\0" else 2
        return 128 + int.from_bytes(head[26:30]) * channels * -(-int.from_bytes(head[14:16]) // 8)
    if head[:16] == b"ALawSoundFile**\0":  # WVE
        return 32 + int.from_bytes(head[18:22])
    if head[:2] == b"\x01\x04" and len(head) >= 42:  # MPC2K: frames, behind a name of 17 bytes
        return 42 + int.from_bytes(head[30:34], "little") * (2 if head[21] == 0 else 4)
    if head[:2] == b"\xf0\x7e" and head[3:4] == b"\x01":  # SDS: bits and words, in packets of 120 bytes
        words = head[10] | head[11] << 7 | head[12] << 14
        return 21 + 127 * -(-words // (120 // max(2, -(-head[6] // 7))))
    if head[8:12] == b"\0\x02\0\0" and 0 < int.from_bytes(head[4:8]) < 1 << 20:  # HTK waveforms: samples
        return 12 + 2 * int.from_bytes(head[:4])
    if head[:7] == b"MATLAB ":
        return _mat5_bytes(data, base)
    return _mat4_bytes(data, base, head)


def _mat5_bytes(data: Bytes, base: int) -> int:
    """Return the end of the last element of a MATLAB 5 file, relative to `base`."""
    order = "little" if data.read(base + 126, 2) == b"IM" else "big"
    at = base + 128
    while at + 8 <= data.size:
        kind, size = data.read(at, 4), int.from_bytes(data.read(at + 4, 4), order)  # type: ignore[arg-type]
        if not any(kind):
            break
        at += 8 + size
    return at - base - 8  # libsndfile announces 8 bytes too many


def _mat4_bytes(data: Bytes, base: int, head: bytes) -> int:
    """Return the end of the second matrix of a MATLAB 4 file as libsndfile writes it, relative to `base`; 0 for other files."""
    order = {b"\0\0\0\0": "little", b"\0\0\x03\xe8": "big"}.get(head[:4])
    if order is None or head[20:31] != b"samplerate\0":
        return 0
    at = base
    for _ in range(2):
        kind, rows, columns, _, name = (
            int.from_bytes(data.read(at + offset, 4), order)  # type: ignore[arg-type]
            for offset in range(0, 20, 4)
        )
        at += 20 + name + rows * columns * _MAT4_BYTES[min(kind // 10 % 10, 5)]
    return at - base
