"""`soundflow gc`: what no manifest names is garbage: tars of those who lost a race or were killed, packs without a table."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import being_written, garbage, sweep
from soundflow.schemas.base import InputError

YOUNG_SECONDS: Final = 3600.0
"""Younger garbage may be a commit in the making, on another machine: a tar is moved into place before its manifest."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What was found, and whether it was removed."""

    files: tuple[str, ...]
    bytes: int
    young: int
    """Files left alone because somebody may just be committing them."""
    removed: bool


def collect_garbage(directory: Path, *, remove: bool = False, young_seconds: float = YOUNG_SECONDS) -> Collected:
    """List, or remove, what a build holds for nothing. Raises InputError when `directory` is no build or is being built."""
    build = BuildDir(directory)
    build.record()
    sweep(build)
    if remove and (busy := being_written(build)):
        remedy = "Wait until the build has ended, or stop it"
        raise InputError("is being built by another process", file=directory, value=busy, remedy=remedy)
    packs = build.clips.glob("pack-*.pcm") if build.clips.is_dir() else ()
    found = [*garbage(build), *(path for path in sorted(packs) if not path.with_suffix(".npy").exists())]
    now = time.time()
    old = [path for path in found if abs(now - path.stat().st_mtime) >= young_seconds]
    size = sum(path.stat().st_size for path in old)
    if remove:
        for path in old:
            path.unlink(missing_ok=True)
    return Collected(tuple(str(path.relative_to(directory)) for path in old), size, len(found) - len(old), remove)
