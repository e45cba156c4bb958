"""`soundflow export hf`: write a build as a Hugging Face dataset with a card, and upload it if `--to` names a repository.

Files are `<capability>/<split>-NNNNN-of-NNNNN.parquet`, few and large, with the audio bytes in the rows. The folder is written
under a temporary name and renamed when it is complete. Splits are those of the recipe (`splits`); the export checks that no clip,
noise included, is used in two of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

from soundflow.pipeline.build.virtual import Samples
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.committed import committed_shards
from soundflow.pipeline.curate.scenes import split_of
from soundflow.pipeline.export.card import write_card
from soundflow.pipeline.export.licences import REMEDY, LicenceSurvey
from soundflow.pipeline.export.rows import SCHEMA, row
from soundflow.pipeline.mechanics.stopping import deferred_signals
from soundflow.pipeline.report.data import Statistics
from soundflow.schemas.atomic_file import atomic_folder
from soundflow.schemas.base import InputError, Interrupted, canonical_json
from soundflow.schemas.estimate import Rates
from soundflow.schemas.shard import BuildRecord, ShardManifest
from soundflow.schemas.stream import PlannedClip, PlannedNoise

HUB: Final = "hf://"
FILE_BYTES: Final = 1 << 30
ROWS: Final = 32
"""Rows per row group, which a streaming reader fetches at once (about 20 MB)."""
MARK: Final = "soundflow.json"
"""File that records which build and shards an exported folder has."""


@dataclass(slots=True)
class ExportResult:
    """What an export wrote, or would write with `dry_run`."""

    to: str
    streams: int = 0
    hours: float = 0.0
    bytes: int = 0
    """Bytes written; with `dry_run` an estimate from the build's shards."""
    splits: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    """Sub-task → split → streams."""
    objections: dict[str, int] = field(default_factory=dict)
    """Reason against publication → number of streams."""
    objected_clips: dict[str, int] = field(default_factory=dict)
    """Reason against publication → number of clips."""
    uploaded: bool = False

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


class _Writer:
    """Writes the parquet files of one capability and split; `finish` gives them their final names."""

    def __init__(self, folder: Path, split: str, limit: int):
        self.folder, self.split, self.limit = folder, split, limit
        self.files: list[Path] = []
        self._writer: Any = None
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def add(self, values: dict[str, Any]) -> None:
        self._rows.append(values)
        self._bytes += len(values["audio"]["bytes"])
        if len(self._rows) == ROWS:
            self._flush()
        if self._bytes >= self.limit:
            self._close()

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.files.append(self.folder / f"{self.split}-{len(self.files):05d}.unfinished")
            # Plans compress well, audio is compressed already: choose the codec per column.
            codec = {name: "zstd" for name in SCHEMA.names if name != "audio"} | {
                "audio.bytes": "NONE",
                "audio.path": "NONE",
            }
            self._writer = parquet.ParquetWriter(self.files[-1], SCHEMA, compression=codec)
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
        self._rows = []

    def _close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._bytes = 0

    def finish(self) -> list[Path]:
        self._close()
        return [
            path.rename(path.with_name(f"{self.split}-{number:05d}-of-{len(self.files):05d}.parquet"))
            for number, path in enumerate(self.files)
        ]


def export_hf(
    directory: Path,
    to: str,
    *,
    any_licence: bool = False,
    dry_run: bool = False,
    file_bytes: int = FILE_BYTES,
    on_event: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] | None = None,
) -> ExportResult:
    """Export the committed streams of a build to the folder `to`, or upload them when `to` is `hf://OWNER/NAME`.

    An upload is prepared in `DIR/export`, which is kept, and resumes when the same call is made again. `dry_run` reads the plans
    and writes nothing.

    Raises ShardError when a shard is damaged; InputError when nothing is committed, `to` has other content, a clip is used in
    two splits, or (unless `any_licence`) licences forbid publication; OSError when `to` cannot be written; Interrupted.
    """
    build = BuildDir(directory)
    record = build.record()
    manifests = committed_shards(build, record)
    if not any(manifest.keys for manifest in manifests):
        raise InputError("has no committed stream yet", file=directory, remedy="Run `soundflow build` first")
    repository = to.removeprefix(HUB) if to.startswith(HUB) else ""
    folder = build.root / "export" / repository.replace("/", "--") if repository else Path(to)
    mark = canonical_json({"build": record.fingerprint, "shards": [manifest.sha256 for manifest in manifests]})
    with deferred_signals() as signalled:
        export = _Export(build, record, manifests, should_stop or signalled, on_event)
        exported, objected = export.survey(to)
        if objected.streams and not any_licence and not dry_run:
            why = "; ".join(objected.describe())
            raise InputError(f"may not be published: {why}", file=directory, value=objected.licences, remedy=REMEDY)
        if dry_run:
            return exported
        if (folder / MARK).is_file() and (folder / MARK).read_bytes() == mark:
            on_event(exported.streams, exported.streams)
        elif folder.exists():
            raise InputError("already exists", file=folder, remedy="Choose another folder, or remove this one")
        else:
            export.write(folder, mark, file_bytes, exported.splits)
    exported.bytes = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    if repository:
        upload(folder, repository)
        exported.uploaded = True
    return exported


class _Export:
    def __init__(
        self,
        build: BuildDir,
        record: BuildRecord,
        manifests: list[ShardManifest],
        should_stop: Callable[[], bool],
        on_event: Callable[[int, int], None],
    ):
        self.build, self.record, self.manifests = build, record, manifests
        self.should_stop, self.on_event = should_stop, on_event
        self.statistics = Statistics()
        self.samples = Samples(build, record)

    def survey(self, to: str) -> tuple[ExportResult, LicenceSurvey]:
        """Return totals, and the streams that may not be published. InputError when a clip is in two splits."""
        exported, split_by_source = ExportResult(to), dict[str, str]()
        objected = LicenceSurvey()
        for manifest in self.manifests:
            exported.bytes += manifest.bytes
            for plan in self.samples.plans(manifest):
                self._tick()
                self.statistics.add(plan)
                split = split_of(plan)
                exported.streams += 1
                exported.hours += plan.seconds / 3600
                if self.record.virtual:
                    exported.bytes += round(plan.seconds * Rates().bytes_per_audio_second)
                exported.splits[plan.task.value][split] += 1
                objected.add(plan)
                items: tuple[PlannedClip | PlannedNoise, ...] = (*plan.clips, *plan.noises)
                for item in items:
                    source = item.content_sha256
                    if source is not None and split_by_source.setdefault(source, split) != split:
                        why = f"clip {item.clip_id} is used in the splits {split_by_source[source]} and {split}"
                        raise InputError(why, file=self.build.root, remedy="Run `soundflow verify` for details")
        exported.objections, exported.objected_clips = dict(objected.streams), objected.clips
        return exported, objected

    def write(self, folder: Path, mark: bytes, file_bytes: int, counts: dict[str, dict[str, int]]) -> None:
        """Write the folder under a temporary name and rename it; the remains of an earlier attempt are removed."""
        with atomic_folder(folder) as aside:
            self._fill(aside, file_bytes, counts)
            (aside / MARK).write_bytes(mark)

    def _fill(self, folder: Path, file_bytes: int, counts: dict[str, dict[str, int]]) -> None:
        writers: dict[tuple[str, str], _Writer] = {}
        samples, total, done = self.samples, sum(len(manifest.keys) for manifest in self.manifests), 0
        for manifest in self.manifests:
            for plan, members in samples.read_all(manifest):
                self._tick()
                samples.pcm(manifest, plan, members[samples.audio])
                name = plan.task.capability.value, split_of(plan)
                if name not in writers:
                    writers[name] = _Writer(folder / name[0], name[1], file_bytes)
                writers[name].add(row(plan, members[samples.audio], samples.audio))
                done += 1
                self.on_event(done, total)
        files: dict[str, dict[str, list[Path]]] = defaultdict(dict)
        for (capability, split), writer in sorted(writers.items()):
            files[capability][split] = writer.finish()
        (folder / "recipe.json").write_bytes(self.record.recipe.canonical_json())
        write_card(folder, self.record, self.statistics, files, counts)

    def _tick(self) -> None:
        if self.should_stop():
            raise Interrupted


def upload(folder: Path, repository: str) -> None:
    """Upload an exported folder to the hub; a second call resumes. Raises InputError when the hub rejects it."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(repository, repo_type="dataset", exist_ok=True)
        api.upload_large_folder(repo_id=repository, folder_path=folder, repo_type="dataset")
    except (HfHubHTTPError, ValueError) as error:
        remedy = "Log in with `hf auth login` and check the name; run the same command again to resume"
        raise InputError(
            f"the hub rejected the upload: {error}", field="--to", value=f"{HUB}{repository}", remedy=remedy
        ) from None
