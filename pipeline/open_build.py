"""Opening the output directory of a build: is it new, the same build, or another one? What differs is told, nothing is mixed."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from operators.atomic_file import NO_SPACE
from pipeline.build_dir import BuildDir
from pipeline.commit import put, put_first
from pipeline.output_dir import differing, move_aside
from schemas.base import InputError
from schemas.shard import BuildRecord


def open_build(out: Path, record: BuildRecord, fresh: bool = False) -> BuildDir:
    """The output directory of a build, made when it is new. InputError when it holds something else, or cannot be written."""
    build_dir = BuildDir(out)
    elsewhere = "Choose another directory with -o"
    try:
        if fresh and build_dir.record_path.exists():
            move_aside(out)
        out.mkdir(parents=True, exist_ok=True)
        if not build_dir.record_path.exists():
            strangers = sorted(path.name for path in out.iterdir() if path.name != "_tmp")
            if strangers:
                raise InputError("is not empty and not a build", file=out, value=strangers[:5], remedy=elsewhere)
            put_first(build_dir, build_dir.record_path, record.canonical_json())
        if not os.access(out, os.W_OK | os.X_OK):
            raise InputError("cannot be written", file=out, remedy=elsewhere)
    except OSError as error:
        if error.errno in NO_SPACE - {errno.EROFS}:
            raise
        raise InputError(f"cannot be an output directory: {error.strerror}", file=out, remedy=elsewhere) from None
    old = build_dir.record()
    if old.fingerprint != record.fingerprint:
        lines = "".join(f"\n  {line}" for line in differences(old, record))
        raise InputError(
            f"holds a build of another recipe. What differs (there -> now):{lines}\n",
            file=out,
            remedy="Choose another directory, or --fresh to move the old build aside",
        )
    if old.virtual != record.virtual:
        there, asked = ("virtual", "stored") if old.virtual else ("stored", "virtual")
        remedy = "Add --virtual, or `soundflow materialize` it" if old.virtual else elsewhere
        raise InputError(f"holds a {there} build, a {asked} one is asked for", file=out, remedy=remedy)
    if old.clips != record.clips:  # the same clips in another place
        put(build_dir, build_dir.record_path, record.canonical_json())
    return build_dir


def differences(old: BuildRecord, new: BuildRecord) -> list[str]:
    """What makes two fingerprints differ, one line each: `field: old -> new`."""
    return differing(_shaping(old), _shaping(new))


def _shaping(record: BuildRecord) -> dict[str, Any]:
    return {
        "recipe": record.recipe.shaping(),
        "clip index": record.clip_index_hash[:12],
        "prompts": record.prompt_hash[:12],
        "operators": record.operator_versions,
        "curators": record.curators,
    }
