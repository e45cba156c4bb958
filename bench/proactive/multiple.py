"""The tier Multiple: streams of several sounds of one sub-category. The paper publishes no manifest of it; this one is ours.

In the paper a domain's score on Multiple has the domain's number of Single sounds as its denominator (45 of 156, 77 of 181, 25 of
140, …), so every sound occurs once. Here the sounds of a sub-category are shuffled by a seeded generator and grouped into streams
of 2 to 5; a sub-category with one sound is a stream of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from soundflow.bench.harness.rows import read_rows, unique_rows
from soundflow.bench.proactive.metadata import Sound
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError, Schema, explain
from soundflow.schemas.identity import rng_for

MULTIPLE_VERSION: Final = "1"
"""Increase it when the same sounds and seed would give other streams."""
SHORTEST, LONGEST = 2, 5
"""Sounds per stream; the stability study of the paper ends at N = 5."""
GAP_SECONDS: Final = 1.0
"""Room tone between two sounds: two and a half chunks, in which a late response still belongs to the sound before."""


class Stream(Schema):
    """A stream of a tier, one row of its manifest."""

    id: str = Field(min_length=1)
    tier: str = "multiple"
    version: str = MULTIPLE_VERSION
    seed: int = Field(ge=0)
    domain: str
    category: str
    sounds: tuple[str, ...] = Field(min_length=1)
    """Ids in the order of the stream."""
    gap_seconds: float = Field(GAP_SECONDS, ge=0, le=60)


def single(sounds: Sequence[Sound]) -> list[Stream]:
    """Return the tier Single: streams of one sound."""
    return [
        Stream(id=sound.id, tier="single", seed=0, domain=sound.domain, category=sound.category, sounds=(sound.id,))
        for sound in sounds
    ]


def multiple(sounds: Sequence[Sound], seed: int = 0) -> list[Stream]:
    """Return the tier Multiple. It depends on ids and seed, not on the order of `sounds`."""
    groups: dict[tuple[str, str], list[str]] = {}
    for sound in sorted(sounds, key=lambda sound: sound.id):
        groups.setdefault((sound.domain, sound.category), []).append(sound.id)
    streams: list[Stream] = []
    for (domain, category), ids in sorted(groups.items()):
        rng = rng_for(f"proactive-multiple/{MULTIPLE_VERSION}/{seed}/{domain}/{category}", 0, 0, "deal")
        order = [ids[place] for place in rng.permutation(len(ids))]
        while order:
            left = len(order)
            count = left if left <= SHORTEST + 1 else int(rng.integers(SHORTEST, min(LONGEST, left) + 1))
            count -= left - count == 1  # leave no single sound behind
            taken, order = order[:count], order[count:]
            name = f"multiple-{seed}-{len(streams):04d}"
            streams.append(Stream(id=name, seed=seed, domain=domain, category=category, sounds=tuple(taken)))
    return streams


def write_manifest(path: Path, sequences: Sequence[Stream]) -> Path:
    """Write one JSON object per line, atomically. Equal tiers give equal bytes."""
    write_atomic(path, b"".join(one.canonical_json() + b"\n" for one in sequences))
    return path


def read_manifest(path: Path, sounds: Sequence[Sound]) -> list[Stream]:
    """Read the streams of a manifest; raises InputError for an invalid row, an unknown sound or a repeated one."""
    known, seen, found = {sound.id for sound in sounds}, set(), []
    for _, row in unique_rows((row.text("id"), row) for row in read_rows(path)):
        try:
            one = Stream.model_validate(row.values)
        except ValidationError as error:
            wrong = explain(error, Stream)
            raise row.error(wrong.why, wrong.field, wrong.value, wrong.remedy) from None
        for name in one.sounds:
            if name not in known:
                raise row.error(
                    "is not a sound of the metadata", "sounds", name, "Name the metadata that the manifest belongs to"
                )
            if name in seen:
                raise row.error("occurs twice", "sounds", name, "Put every sound into one stream only")
            seen.add(name)
        found.append(one)
    if not found:
        raise InputError("contains no rows", file=path, remedy="Write one with `soundflow bench proactive run --tier multiple`")
    return found
