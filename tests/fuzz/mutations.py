"""Damage to bytes, text and JSON documents, drawn from a seeded generator."""

from __future__ import annotations

import copy
import json
import random
import struct
from typing import Any, Final

EXTREMES: Final = (0, 1, -1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
SCRAPS: Final = (
    *(b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[2J", b"\r\n\r\n", b'"', b"'", b"\\"),
    *(b",", b"\t", b"{", b"]", b"NaN", b"1e999", b"-0", b"010", b"1:00", b"yes", b"null", b"\\ud800", b"%s%n", b"../../x"),
    *(b"&a *a", b"!!python/name:os.system", b"<script>", b"=1+1", b"\xe2\x80\xae", b"\xe2\x80\x8b", b"\xe9", b"A" * 70_000),
)
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 2**31, 2**63, -(2**70), 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan")),
    *(
        "",
        " ",
        "\0",
        "\ud800",
        "../../x",
        "/",
        "0",
        "yes",
        "<b>",
        "x" * 70_000,
        "\u202eabc",
        [],
        {},
        [[]],
        {"": ""},
        ["a"] * 3_000,
    ),
)


def damaged_bytes(data: bytes, rng: random.Random, header: int = 200) -> bytes:
    """Return a damaged copy; most of the damage lies in the first `header` bytes."""
    held = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        size = len(held)
        place = rng.randrange(min(size, header) if rng.random() < 0.8 else size) if size else 0
        match rng.randrange(8):
            case 0 if size:
                held[place] ^= 1 << rng.randrange(8)
            case 1:
                del held[rng.randrange(size + 1) :]
            case 2:
                value = rng.choice(EXTREMES) & 0xFFFFFFFF
                held[place : place + 4] = struct.pack(rng.choice("<>") + "I", value)
            case 3:
                held[place:place] = rng.randbytes(rng.randrange(1, 64))
            case 4:
                del held[place : place + rng.randrange(1, 64)]
            case 5:
                other = rng.randrange(size + 1)
                held[place:place] = held[other : other + rng.randrange(1, 400)]
            case 6:
                held[place : place + 8] = struct.pack(rng.choice("<>") + "q", rng.choice((-1, 2**62, 2**40, 0)))
            case _:
                held[place : place + 2] = struct.pack(rng.choice("<>") + "H", rng.choice(EXTREMES) & 0xFFFF)
    return bytes(held)


def damaged_text(text: bytes, rng: random.Random) -> bytes:
    """Return a damaged copy of a text file: scraps that parsers stumble over, lines lost, doubled or cut."""
    lines = text.splitlines(keepends=True)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(lines) + 1)
        line = lines[at] if at < len(lines) else b""
        place = rng.randrange(len(line) + 1)
        match rng.randrange(7):
            case 0:
                lines[at : at + 1] = [line[:place] + rng.choice(SCRAPS) + line[place:]]
            case 1:
                lines[at : at + 1] = [line[:place] + rng.choice(SCRAPS) + line[place + rng.randrange(1, 20) :]]
            case 2:
                lines[at:at] = [line]
            case 3:
                del lines[at : at + 1]
            case 4:
                lines[at : at + 1] = [line[:place]]
            case 5:
                key, colon, _ = line.partition(b":")
                lines[at : at + 1] = [key + (colon or b",") + b" " + rng.choice(SCRAPS) + b"\n"]
            case _:
                lines[at : at + 1] = [rng.choice((b"[" * 3_000, b"{" * 3_000, b"- " * 3_000, b"(" * 3_000)), b"\n"]
    return b"".join(lines)


def damaged_json(document: Any, rng: random.Random) -> bytes:
    """Return the bytes of a damaged JSON document: mostly another value in some place, sometimes damaged text."""
    if rng.random() < 0.3:
        return damaged_text(json.dumps(document, indent=1).encode(), rng)
    held = [copy.deepcopy(document)]
    for _ in range(rng.choice((1, 1, 2))):
        parent: Any = held
        key: Any = 0
        while isinstance(parent[key], dict | list) and parent[key] and rng.random() < 0.85:
            parent = parent[key]
            key = rng.choice(list(parent)) if isinstance(parent, dict) else rng.randrange(len(parent))
        if rng.random() < 0.2 and parent is not held:
            del parent[key]
            if not parent:
                break
        elif rng.random() < 0.1 and isinstance(parent, dict):
            parent[rng.choice(("", "\0", key + " ", key.upper(), "__class__"))] = parent[key]
        else:
            parent[key] = rng.choice(VALUES)
    return json.dumps(held[0]).encode()
