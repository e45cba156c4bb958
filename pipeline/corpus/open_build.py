"""Open the output directory of a new or existing build. A directory of another build is refused with what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import find_writer, sweep, write_file
from soundflow.pipeline.corpus.output_dir import changed_fields, claim_directory
from soundflow.schemas.base import InputError
from soundflow.schemas.shard import BuildRecord


def open_build(out: Path, record: BuildRecord, fresh: bool = False) -> BuildDir:
    """Create or reopen the output directory of a build; `fresh` moves an existing build aside first.

    Raises InputError if the directory contains something else, is being built, or cannot be written.
    """
    build_dir = BuildDir(out)
    elsewhere = "Choose another directory with -o"
    if fresh and build_dir.record_path.exists():
        sweep(build_dir)
        if busy := find_writer(build_dir):  # it would continue to write, into the new build
            remedy = "Wait until that build has ended, or stop it. If its machine no longer exists, delete this file from _tmp"
            raise InputError("another process is building in this directory", file=out, value=busy, remedy=remedy)
    claim_directory(build_dir, build_dir.record_path, record.canonical_json(), fresh, "not a build", elsewhere)
    old = build_dir.record()
    if old.fingerprint != record.fingerprint:
        lines = "".join(f"\n  {line}" for line in differences(old, record))
        remedy = f"{elsewhere}, or move the existing build aside with --fresh. Differences (existing -> new):{lines}"
        raise InputError("contains a build of another recipe", file=out, remedy=remedy)
    if old.virtual != record.virtual:
        existing, requested = ("virtual", "stored") if old.virtual else ("stored", "virtual")
        remedy = "Add --virtual, or make a stored copy with `soundflow materialize`" if old.virtual else elsewhere
        raise InputError(f"contains a {existing} build, but a {requested} build was requested", file=out, remedy=remedy)
    if old.clips != record.clips:  # the same clips at another path
        write_file(build_dir, build_dir.record_path, record.canonical_json())
    return build_dir


def differences(old: BuildRecord, new: BuildRecord) -> list[str]:
    """Return the fields in which two fingerprints differ, as `field: old -> new`."""
    return changed_fields(_shaping(old), _shaping(new))


def _shaping(record: BuildRecord) -> dict[str, Any]:
    return {
        "recipe": record.recipe.shaping(),
        "clip index": record.clip_index_hash[:12],
        "prompts": record.prompt_hash[:12],
        "operators": record.operator_versions,
        "curators": record.curators,
    }
