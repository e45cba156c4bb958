"""Sample ids and random generators, derived only from (fingerprint, shard, index)."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from soundflow.schemas.base import InputError

_ID = re.compile(r"^sf-([0-9a-f]{12})-(\d{6})-(\d{5})$")


def sample_id(fingerprint: str, shard: int, index: int) -> str:
    """Return `sf-<12 hex digits of the fingerprint>-<shard, 6 digits>-<index in shard, 5 digits>`, a valid WebDataset key."""
    return f"sf-{fingerprint[:12]}-{shard:06d}-{index:05d}"


def parse_sample_id(text: str) -> tuple[str, int, int]:
    """Return (first 12 hex digits of the fingerprint, shard, index). Raises InputError if `text` is not a sample id."""
    match = _ID.match(text)
    if match is None:
        raise InputError("is not a sample id", value=text, remedy="Sample ids look like sf-0123456789ab-000000-00000")
    return match[1], int(match[2]), int(match[3])


def rng_for(fingerprint: str, shard: int, index: int, purpose: str, attempt: int = 0) -> np.random.Generator:
    """Return an independent PCG64 generator for one purpose of one sample. It does not depend on time, worker or order."""
    text = f"{fingerprint}/{shard}/{index}/{purpose}/{attempt}"
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
    return np.random.Generator(np.random.PCG64(seed))
