"""The output directory of a build: its paths and what is committed in it. Readers list manifests, never tars."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from soundflow.schemas.base import InputError, Schema
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
    """Paths and contents of a build directory (layout: `schemas.shard`)."""

    def __init__(self, root: Path):
        self.root = root
        self.data, self.manifest, self.failed = root / "data", root / "manifest", root / "failed"
        self.quarantined, self.unfinished, self.scenes = root / "quarantine", root / "_tmp", root / "scenes"
        self.clips = root / "clips"
        """Of a virtual build: the cleaned clips its streams are rendered from (`pipeline.corpus.clip_store`)."""
        self.spent_path = root / "spent.json"
        """What the build's calls of a language model cost so far (`pipeline.services.shared_meter`)."""
        self.spent_on_sounds_path = root / "spent_on_sounds.json"
        self.record_path, self.stopped_path = root / "build.json", root / "stopped.json"

    def record(self) -> BuildRecord:
        """What is being built; InputError when `root` is no build directory."""
        try:
            return BuildRecord.from_json(self.record_path.read_bytes(), file=self.record_path)
        except (FileNotFoundError, NotADirectoryError):
            remedy = "Name the directory given to `soundflow build -o`"
            raise InputError("is not a build directory (no build.json)", file=self.root, remedy=remedy) from None

    def manifest_path(self, shard: int) -> Path:
        """Where the commit of a shard is."""
        return self.manifest / f"{shard:06d}.json"

    def sheet_path(self, shard: int) -> Path:
        """Where the curated scenes of a shard are."""
        return self.scenes / f"{shard:06d}.json"

    def sheet(self, shard: int, fingerprint: str) -> SceneSheet | None:
        """The scenes of a shard, when they are there, whole and of this fingerprint."""
        path = self.sheet_path(shard)
        try:
            sheet = SceneSheet.from_json(path.read_bytes(), file=path)
        except (InputError, OSError):
            return None
        return sheet if (sheet.fingerprint, sheet.shard) == (fingerprint, shard) else None

    def failure_path(self, shard: int) -> Path:
        """Where the last failure of a shard is told."""
        return self.failed / f"{shard:06d}.json"

    def manifest_paths(self) -> list[Path]:
        """Commits, in shard order."""
        return _documents(self.manifest)

    def manifests(self) -> list[ShardManifest]:
        """Commits in shard order; InputError naming the file when one cannot be read."""
        return list(_read(self.manifest_paths(), ShardManifest))

    def committed(self, fingerprint: str) -> dict[int, ShardManifest]:
        """Shards that count, in order."""
        found = (self.commit_of(int(path.stem), fingerprint) for path in self.manifest_paths() if path.stem.isdecimal())
        return {manifest.shard: manifest for manifest in found if manifest is not None}

    def commit_of(self, shard: int, fingerprint: str) -> ShardManifest | None:
        """The manifest of a shard that counts: it is whole, of this fingerprint, and its tar is there in full size."""
        path = self.manifest_path(shard)
        try:
            manifest = ShardManifest.from_json(path.read_bytes(), file=path)
            there = (self.data / manifest.tar).stat().st_size == manifest.bytes
        except (InputError, OSError):
            return None
        return manifest if there and (manifest.fingerprint, manifest.shard) == (fingerprint, shard) else None

    def ledger(self, fingerprint: str) -> Iterator[ShardEntry]:
        """What counts, in order, as `committed`; 45,000 shards in about a second, since folders are listed once."""
        sizes = _sizes(self.data)
        names = sorted(entry.name for entry in os.scandir(self.manifest)) if self.manifest.is_dir() else []
        for name in names:
            number = name.removesuffix(".json")
            if not number.isdecimal() or number == name:
                continue
            try:
                entry = ShardEntry.model_validate_json((self.manifest / name).read_bytes())
            except (ValidationError, OSError):
                continue
            there = sizes.get(entry.tar) == entry.bytes
            if there and (entry.fingerprint, entry.shard) == (fingerprint, int(number)):
                yield entry

    def pending(self, record: BuildRecord) -> tuple[list[int], list[ShardEntry]]:
        """Shards that are still to be made, in order, and those that count."""
        counted = list(self.ledger(record.fingerprint))
        there = {entry.shard for entry in counted}
        return [shard for shard in range(record.recipe.shards) if shard not in there], counted

    def failures(self) -> list[ShardFailure]:
        """Shards whose last attempt failed, in order."""
        return list(_read(_documents(self.failed), ShardFailure))

    def quarantine(self) -> list[QuarantineEntry]:
        """Samples that broke, by id."""
        return list(_read(_documents(self.quarantined), QuarantineEntry))

    def status(self) -> BuildStatus:
        """What is on disk."""
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
            return Stopped.from_json(self.stopped_path.read_bytes()).why
        except (InputError, OSError):
            return ""


def _sizes(folder: Path) -> dict[str, int]:
    """File name → bytes; what goes away while it is looked at has none."""
    sizes: dict[str, int] = {}
    for entry in os.scandir(folder) if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            sizes[entry.name] = entry.stat().st_size
    return sizes


def _documents(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith(".")) if folder.is_dir() else []


def _read(paths: list[Path], kind: type[Document]) -> Iterator[Document]:
    for path in paths:
        yield kind.from_json(path.read_bytes(), file=path)
