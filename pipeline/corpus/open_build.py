"""Opening the output directory of a build: is it new, the same build, or another one? What differs is told, nothing is mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import being_written, sweep, write_file
from soundflow.pipeline.corpus.output_dir import changed_fields, claim_directory
from soundflow.schemas.base import InputError
from soundflow.schemas.shard import BuildRecord


def open_build(out: Path, record: BuildRecord, fresh: bool = False) -> BuildDir:
    """The output directory of a build, made when it is new. InputError when it holds something else, or cannot be written."""
    build_dir = BuildDir(out)
    elsewhere = "Choose another directory with -o"
    if fresh and build_dir.record_path.exists():
        sweep(build_dir)
        if busy := being_written(build_dir):  # it would go on writing, into the new build
            remedy = "Wait until that build has ended, or stop it; if its machine is gone, remove this file from _tmp"
            raise InputError("is being built by another process", file=out, value=busy, remedy=remedy)
    claim_directory(build_dir, build_dir.record_path, record.canonical_json(), fresh, "not a build", elsewhere)
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
        write_file(build_dir, build_dir.record_path, record.canonical_json())
    return build_dir


def differences(old: BuildRecord, new: BuildRecord) -> list[str]:
    """What makes two fingerprints differ, one line each: `field: old -> new`."""
    return changed_fields(_shaping(old), _shaping(new))


def _shaping(record: BuildRecord) -> dict[str, Any]:
    return {
        "recipe": record.recipe.shaping(),
        "clip index": record.clip_index_hash[:12],
        "prompts": record.prompt_hash[:12],
        "operators": record.operator_versions,
        "curators": record.curators,
    }
