"""The checks of `soundflow verify` on the files beside the shards: build record, folders, records of failures and quarantine."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from soundflow.pipeline.corpus.build_dir import BuildDir, documents_in
from soundflow.pipeline.corpus.committed import rebuild_remedy
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.identity import parse_sample_id
from soundflow.schemas.recipe import fingerprint
from soundflow.schemas.shard import BuildRecord, Problem, QuarantineEntry, ShardFailure, ShardManifest, Stopped


def build_problem(check: str, detail: str, file: str = "", remedy: str = "") -> Problem:
    """Return a finding about the build as a whole."""
    return Problem(shard=-1, key="", check=check, detail=detail, file=file, remedy=remedy)


def record_problems(build: BuildDir) -> tuple[BuildRecord | None, list[Problem]]:
    """Read build.json. Return it, or None if it cannot be read or contradicts itself, and what is wrong.

    Raises InputError if the directory is not a build: it has neither a record nor a manifest.
    """
    name, remedy = build.record_path.name, rebuild_remedy(build)
    try:
        record = build.record()
    except InputError as error:
        if not build.record_path.is_symlink() and not build.record_path.exists() and not documents_in(build.manifest):
            raise
        return None, [build_problem("build", error.why, name, remedy)]
    derived = derived_fingerprint(record)
    if derived != record.fingerprint:
        detail = f"the fingerprint in build.json is {record.fingerprint[:12]}, its recipe and versions give {derived[:12]}"
        return record, [build_problem("fingerprint", detail, name, remedy)]
    if record.canonical_json() != build.record_path.read_bytes():
        return record, [build_problem("build", "build.json is not canonical JSON", name, remedy)]
    return record, []


def derived_fingerprint(record: BuildRecord) -> str:
    """Return the fingerprint that follows from the other fields of a build record."""
    return fingerprint(record.recipe, record.clip_index_hash, record.prompt_hash, record.operator_versions, record.curators)


def folder_problems(build: BuildDir, remedy: str) -> Iterator[Problem]:
    """Yield the folders of a build that are something else."""
    for folder in (build.data, build.manifest, build.failed, build.quarantined, build.scenes, build.clips):
        if (folder.is_symlink() or folder.exists()) and not folder.is_dir():
            yield build_problem("folder", f"{folder.name} is not a folder", folder.name, remedy)


def side_record_problems(build: BuildDir, remedy: str) -> Iterator[Problem]:
    """Yield what is wrong with the records of failures, of quarantined samples and of the last stop."""
    kinds: list[tuple[str, Path, type[Schema]]] = [
        *(("failed", path, ShardFailure) for path in documents_in(build.failed)),
        *(("quarantine", path, QuarantineEntry) for path in documents_in(build.quarantined)),
        *([("build", build.stopped_path, Stopped)] if build.stopped_path.exists() else []),
    ]
    for check, path, kind in kinds:
        try:
            document = kind.from_file(path)
        except (InputError, FileNotFoundError) as error:
            detail = f"{path.name} is not a valid record: {getattr(error, 'why', 'it was removed')}"
            yield build_problem(check, detail, str(path.relative_to(build.root)), remedy)
            continue
        named = f"{document.shard:06d}" if isinstance(document, ShardFailure) else getattr(document, "sample_id", path.stem)
        if path.stem != named:
            detail = f"{path.name} is the record of {named}"
            yield build_problem(check, detail, str(path.relative_to(build.root)), remedy)


def quarantine_finding(build: BuildDir, manifest: ShardManifest) -> Iterator[str]:
    """Yield which quarantined samples of a manifest have no record."""
    for key in manifest.quarantined:
        try:
            parse_sample_id(key)
            is_there = (build.quarantined / f"{key}.json").is_file()
        except InputError:
            is_there = False
        if not is_there:
            yield f"the quarantined sample {key} has no record in quarantine/"


def missing_problem(build: BuildDir, missing: list[int], planned: int, record: BuildRecord) -> Problem:
    """Return the finding that planned shards have no manifest."""
    spans = []
    for _, group in groupby(enumerate(missing), lambda pair: pair[1] - pair[0]):
        shards = [shard for _, shard in group]
        spans.append(str(shards[0]) if len(shards) == 1 else f"{shards[0]}-{shards[-1]}")
    listed = ", ".join(spans[:20]) + (" and more" if spans[20:] else "")
    detail = f"{len(missing)} of {planned} shards are missing: {listed}"
    return build_problem("missing", detail, build.manifest.name, rebuild_remedy(build, record, "make them"))
