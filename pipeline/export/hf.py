"""`soundflow export hf`: a build as a dataset folder that stock `datasets` streams, with a card; then, if asked, onto the hub.

`PATH/<capability>/<split>-NNNNN-of-NNNNN.parquet`, few and big; audio bytes lie in the rows. A folder is made beside its place
and moved there whole. Splits are the recipe's (`splits`); that no clip, noise included, is heard in two is checked here.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

from soundflow.pipeline.build.virtual import Samples
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.curate.scenes import split_of
from soundflow.pipeline.export.card import write_card
from soundflow.pipeline.export.licences import objection
from soundflow.pipeline.export.rows import SCHEMA, row
from soundflow.pipeline.mechanics.stopping import noted_signals
from soundflow.pipeline.report.data import Statistics
from soundflow.schemas.base import InputError, Interrupted, canonical_json
from soundflow.schemas.estimate import Rates
from soundflow.schemas.shard import BuildRecord, ShardManifest
from soundflow.schemas.stream import PlannedClip, PlannedNoise, StreamPlan

HUB: Final = "hf://"
FILE_BYTES: Final = 1 << 30
ROWS: Final = 32
"""Rows of a row group: what a streaming reader fetches at once, some 20 MB."""
MARK: Final = "soundflow.json"
"""What an exported folder is an export of."""


@dataclass(slots=True)
class Exported:
    """What was, or would be, exported."""

    to: str
    streams: int = 0
    hours: float = 0.0
    bytes: int = 0
    """Written; before that what the build holds, and what the audio of a virtual one will be, more or less."""
    splits: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    """Sub-task → split → streams."""
    objections: dict[str, int] = field(default_factory=dict)
    """Why streams may not be published → how many."""
    uploaded: bool = False

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


class _Writer:
    """The parquet files of one capability and split; `finish` gives them their names."""

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
            # Plans repeat themselves and audio is compressed already: one codec a column.
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
) -> Exported:
    """Export the committed streams of a build to the folder `to`, or, when that is `hf://OWNER/NAME`, onto the hub.

    The hub's upload starts from `DIR/export`, goes on where it was broken off, and the folder stays until it is through.
    `dry_run` reads the plans and writes nothing. Raises InputError when nothing is committed, `to` is taken by something else, a
    clip is heard in two splits, or (unless `any_licence`) licences do not allow streams to be published; OSError; Interrupted.
    """
    build = BuildDir(directory)
    record = build.record()
    manifests = list(build.committed(record.fingerprint).values())
    if not any(manifest.keys for manifest in manifests):
        raise InputError("has no committed stream yet", file=directory, remedy="Run `soundflow build` first")
    repository = to.removeprefix(HUB) if to.startswith(HUB) else ""
    folder = build.root / "export" / repository.replace("/", "--") if repository else Path(to)
    mark = canonical_json({"build": record.fingerprint, "shards": [manifest.sha256 for manifest in manifests]})
    with noted_signals() as signalled:
        export = _Export(build, record, manifests, should_stop or signalled, on_event)
        exported, objected = export.survey(to)
        if objected and not any_licence and not dry_run:
            why = "; ".join(f"{reason} ({count} streams)" for reason, count in exported.objections.items())
            remedy = "Give licences in the clips' manifest, leave such clips out, or --any-licence when you know better"
            raise InputError(f"may not be published: {why}", file=directory, value=objected, remedy=remedy)
        if dry_run:
            return exported
        if (folder / MARK).is_file() and (folder / MARK).read_bytes() == mark:
            on_event(exported.streams, exported.streams)
        elif folder.exists():
            raise InputError("is there already", file=folder, remedy="Choose another place, or remove it")
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

    def survey(self, to: str) -> tuple[Exported, list[str]]:
        """Totals, and the licences of streams that may not be published. InputError when a clip is heard in two splits."""
        exported, heard = Exported(to), dict[str, str]()
        objected: set[str] = set()
        for manifest in self.manifests:
            exported.bytes += manifest.bytes
            for key, members in read_shard(self.build.data / manifest.tar, only=("json",)):
                self._tick()
                plan = StreamPlan.from_json(members["json"], file=f"{manifest.tar}:{key}.json")
                self.statistics.add(plan)
                split = split_of(plan)
                exported.streams += 1
                exported.hours += plan.seconds / 3600
                if self.record.virtual:
                    exported.bytes += round(plan.seconds * Rates().bytes_per_audio_second)
                exported.splits[plan.task.value][split] += 1
                why = objection(plan.licences())
                if why:
                    exported.objections[why] = exported.objections.get(why, 0) + 1
                    objected |= set(plan.licences())
                heard_here: tuple[PlannedClip | PlannedNoise, ...] = (*plan.clips, *plan.noises)
                for item in heard_here:
                    source = item.content_sha256
                    if source is not None and heard.setdefault(source, split) != split:
                        why = f"the clip {item.clip_id} is heard in {heard[source]} and in {split}"
                        raise InputError(why, file=self.build.root, remedy="`soundflow verify` tells more")
        return exported, sorted(objected)

    def write(self, folder: Path, mark: bytes, file_bytes: int, counts: dict[str, dict[str, int]]) -> None:
        """The folder, made beside its place; a started one is begun anew."""
        aside = folder.with_name(f"_tmp-{folder.name}")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            self._fill(aside, file_bytes, counts)
            (aside / MARK).write_bytes(mark)
            aside.replace(folder)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise

    def _fill(self, folder: Path, file_bytes: int, counts: dict[str, dict[str, int]]) -> None:
        writers: dict[tuple[str, str], _Writer] = {}
        samples = Samples(self.build, self.record)
        total, done = sum(len(manifest.keys) for manifest in self.manifests), 0
        for manifest in self.manifests:
            for _, members in samples.read(manifest):
                self._tick()
                plan = StreamPlan.from_json(members["json"])
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
    """Put an exported folder onto the hub; called again it goes on. InputError when the hub refuses."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(repository, repo_type="dataset", exist_ok=True)
        api.upload_large_folder(repo_id=repository, folder_path=folder, repo_type="dataset")
    except (HfHubHTTPError, ValueError) as error:
        remedy = "Log in with `hf auth login`, check the name; the same command goes on"
        raise InputError(f"the hub refuses: {error}", field="--to", value=f"{HUB}{repository}", remedy=remedy) from None
