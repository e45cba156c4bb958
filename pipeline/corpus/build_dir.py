"""The output directory of a build: its paths and what is committed there. Readers list manifests, never tar files."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.regular_file import read_regular
from soundflow.schemas.shard import (
    BuildRecord,
    BuildStatus,
    QuarantineEntry,
    ShardCounts,
    ShardEntry,
    ShardFailure,
    ShardManifest,
    Stopped,
)
from soundflow.schemas.sheet import SceneSheet

Document = TypeVar("Document", bound=Schema)


class BuildDir:
    """The paths and contents of a build directory (layout: `schemas.shard`)."""

    def __init__(self, root: Path):
        self.root = root
        self.data, self.manifest, self.failed = root / "data", root / "manifest", root / "failed"
        self.quarantined, self.unfinished, self.scenes = root / "quarantine", root / "_tmp", root / "scenes"
        self.damaged = root / "damaged"
        """Files that `build --recheck` found damaged and moved aside."""
        self.clips = root / "clips"
        """The clip store of a virtual build (`pipeline.corpus.clip_store`)."""
        self.spent_path = root / "spent.json"
        """The meter of the language model (`pipeline.services.shared_meter`)."""
        self.spent_on_sounds_path = root / "spent_on_sounds.json"
        """The meter of the sound generator."""
        self.record_path, self.stopped_path = root / "build.json", root / "stopped.json"

    def record(self) -> BuildRecord:
        """Return what is being built; raises InputError if `root` is not a build directory."""
        try:
            return BuildRecord.from_file(self.record_path)
        except FileNotFoundError:
            remedy = "Pass the output directory of `soundflow build`"
            raise InputError("is not a build directory (it has no build.json)", file=self.root, remedy=remedy) from None
        except InputError as error:
            restore = f"soundflow build RECIPE -o {shlex.quote(str(self.root))} --recheck"
            remedy = f"Run `{restore}` with the recipe of this build to write it again"
            raise InputError(f"the record of the build is damaged: {error}", file=self.root, remedy=remedy) from None

    def manifest_path(self, shard: int) -> Path:
        """Return the path of the commit of a shard."""
        return self.manifest / f"{shard:06d}.json"

    def sheet_path(self, shard: int) -> Path:
        """Return the path of the scene sheet of a shard."""
        return self.scenes / f"{shard:06d}.json"

    def sheet(self, shard: int, fingerprint: str) -> SceneSheet | None:
        """Return the scene sheet of a shard, or None if it is missing, damaged or of another fingerprint."""
        path = self.sheet_path(shard)
        try:
            sheet = SceneSheet.from_file(path)
        except (InputError, FileNotFoundError):
            return None
        return sheet if (sheet.fingerprint, sheet.shard) == (fingerprint, shard) else None

    def failure_path(self, shard: int) -> Path:
        """Return the path of the record of a shard's last failure."""
        return self.failed / f"{shard:06d}.json"

    def manifest_paths(self) -> list[Path]:
        """Return the paths of all commits in shard order."""
        return documents_in(self.manifest)

    def manifests(self) -> list[ShardManifest]:
        """Read all commits in shard order; raises InputError with the name of a file that is invalid."""
        try:
            return [ShardManifest.from_file(path) for path in self.manifest_paths()]
        except InputError as error:
            remedy = f"Run `soundflow verify {shlex.quote(str(self.root))}`, which prints the command that repairs the build"
            raise InputError(error.why, file=error.file, field=error.field, value=error.value, remedy=remedy) from None

    def committed(self, fingerprint: str) -> dict[int, ShardManifest]:
        """Return shard → manifest of all committed shards, in order."""
        found = (self.commit_of(number, fingerprint) for path in self.manifest_paths() if (number := number_of(path.name)) >= 0)
        return {manifest.shard: manifest for manifest in found if manifest is not None}

    def commit_of(self, shard: int, fingerprint: str) -> ShardManifest | None:
        """Return the manifest of a committed shard, else None.

        A shard is committed if its manifest is intact and of this fingerprint and its tar has the size that the manifest states.
        """
        path = self.manifest_path(shard)
        try:
            manifest = ShardManifest.from_file(path)
            is_complete = (self.data / manifest.tar).stat().st_size == manifest.bytes
        except (InputError, OSError):
            return None
        return manifest if is_complete and (manifest.fingerprint, manifest.shard) == (fingerprint, shard) else None

    def ledger(self, fingerprint: str) -> Iterator[ShardEntry]:
        """Yield the entries of all committed shards in order, like `committed` but faster: about 1 s for 45,000 shards.

        It lists each folder once and parses only part of each manifest.
        """
        sizes = _sizes(self.data)
        names = sorted(entry.name for entry in os.scandir(self.manifest)) if self.manifest.is_dir() else []
        for name in names:
            number = number_of(name)
            if number < 0:
                continue
            try:
                entry = ShardEntry.model_validate_json(read_regular(self.manifest / name))
            except (ValidationError, OSError):
                continue
            if sizes.get(entry.tar) == entry.bytes and (entry.fingerprint, entry.shard) == (fingerprint, number):
                yield entry

    def pending(self, record: BuildRecord) -> tuple[list[int], list[ShardEntry]]:
        """Return the numbers of the shards that are not committed, in order, and the entries of those that are."""
        entries = list(self.ledger(record.fingerprint))
        committed = {entry.shard for entry in entries}
        return [shard for shard in range(record.recipe.shards) if shard not in committed], entries

    def failures(self) -> list[ShardFailure]:
        """Return the records of shards whose last attempt failed, in order. Damaged records are left out: `verify` lists them."""
        return list(_intact(documents_in(self.failed), ShardFailure))

    def quarantine(self) -> list[QuarantineEntry]:
        """Return the samples that failed, sorted by id. Damaged records are left out: `verify` lists them."""
        return list(_intact(documents_in(self.quarantined), QuarantineEntry))

    def status(self) -> BuildStatus:
        """Return the state of the build on disk."""
        record = self.record()
        committed, streams, seconds, rejected, quarantined = set[int](), 0, 0.0, 0, 0
        for entry in self.ledger(record.fingerprint):
            committed.add(entry.shard)
            streams += len(entry.keys)
            seconds += entry.seconds
            rejected += len(entry.rejected)
            quarantined += len(entry.quarantined)
        failed = [failure for failure in self.failures() if failure.shard not in committed]
        return BuildStatus(
            fingerprint=record.fingerprint,
            shards=ShardCounts(planned=record.recipe.shards, committed=len(committed), failed=len(failed)),
            streams=streams,
            hours=seconds / 3600,
            rejected=rejected,
            quarantined=quarantined,
            stopped=self._stopped() if len(committed) < record.recipe.shards else "",
        )

    def _stopped(self) -> str:
        try:
            return Stopped.from_file(self.stopped_path).why
        except (InputError, FileNotFoundError):
            return ""


def _sizes(folder: Path) -> dict[str, int]:
    """Return file name → size in bytes; files that are removed meanwhile are left out."""
    sizes: dict[str, int] = {}
    for entry in os.scandir(folder) if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            sizes[entry.name] = entry.stat().st_size
    return sizes


def documents_in(folder: Path) -> list[Path]:
    """Return the JSON files of a folder, sorted by name; none if it is not a folder."""
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith(".")) if folder.is_dir() else []


def number_of(name: str) -> int:
    """Return the shard number of a manifest by its file name (`000003.json`), or -1 for other names."""
    number = name.removesuffix(".json")
    is_number = number.isascii() and number.isdecimal() and len(number) < 10
    return int(number) if is_number and name == f"{int(number):06d}.json" else -1


def _intact(paths: list[Path], kind: type[Document]) -> Iterator[Document]:
    for path in paths:
        with contextlib.suppress(InputError, FileNotFoundError):
            yield kind.from_file(path)
