"""Identity is the framework's: sample ids and random generators come from (fingerprint, shard, index) alone."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from soundflow.schemas.base import InputError

_ID = re.compile(r"^sf-([0-9a-f]{12})-(\d{6})-(\d{5})$")


def sample_id(fingerprint: str, shard: int, index: int) -> str:
    """`sf-<12 hex of the fingerprint>-<shard, 6 digits>-<index in shard, 5 digits>`; safe as a WebDataset key."""
    return f"sf-{fingerprint[:12]}-{shard:06d}-{index:05d}"


def parse_sample_id(text: str) -> tuple[str, int, int]:
    """(first 12 hex digits of the fingerprint, shard, index); InputError when `text` is not a sample id."""
    match = _ID.match(text)
    if match is None:
        raise InputError("is not a sample id", value=text, remedy="Ids look like sf-0123456789ab-000000-00000")
    return match[1], int(match[2]), int(match[3])


def rng_for(fingerprint: str, shard: int, index: int, purpose: str, attempt: int = 0) -> np.random.Generator:
    """An independent PCG64 stream for one purpose of one sample; never depends on time, worker or order."""
    text = f"{fingerprint}/{shard}/{index}/{purpose}/{attempt}"
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
    return np.random.Generator(np.random.PCG64(seed))
