"""A clip index or its audio that changes during a build: two corpora never get one fingerprint."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from soundflow.pipeline.build import executors
from soundflow.pipeline.build.run import Progress, build
from soundflow.pipeline.build.worker import Worker
from soundflow.pipeline.clips import audio as clip_audio
from soundflow.pipeline.clips.table import FOOTER_KEY, TABLE, ClipIndex, IndexReplacedError, write_table
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.schemas.base import InputError
from tests.support.commandline import soundflow
from tests.support.corpus import corpus, write_recipe


@pytest.fixture
def clips(clips_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clips_dir, tmp_path / "clips"))


@pytest.fixture
def recipe(clips: Path, tmp_path: Path) -> Path:
    return write_recipe(tmp_path / "recipe.yaml", clips)


def relabel(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"label": "cow"} if row["label"] == "owl" else row


def replace_index(clips: Path) -> None:
    """Put an index with other labels in place, as `clips index` does after labels were edited."""
    index = ClipIndex.open(clips)
    write_table(clips / TABLE, [relabel(row) for row in index.rows()], index.footer.config)


def tamper(clips: Path) -> None:
    """Change labels and keep the footer with the old content hash."""
    before = ClipIndex.open(clips).content_hash
    table = parquet.read_table(clips / TABLE)
    rows = [relabel(row) for row in table.to_pylist()]
    footer = {name: value for name, value in parquet.read_metadata(clips / TABLE).metadata.items() if name == FOOTER_KEY}
    changed = pa.Table.from_pylist(rows, schema=table.schema.with_metadata(footer))
    parquet.write_table(changed, clips / TABLE)
    assert changed != table and ClipIndex.open(clips).content_hash == before


def before_workers_start(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    def start(job: Any) -> Worker:
        change()
        return Worker(job)

    monkeypatch.setattr(executors, "Worker", start)


@pytest.mark.parametrize("change", [replace_index, tamper])
def test_an_index_replaced_before_a_worker_loads_it_ends_the_build(
    recipe: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    expected = ClipIndex.open(clips).content_hash
    before_workers_start(monkeypatch, lambda: change(clips))
    with pytest.raises(IndexReplacedError) as caught:
        build(recipe, tmp_path / "out", executor="inline")
    message = str(caught.value)
    assert str(clips / TABLE) in message and expected[:12] in message and "soundflow clips index" in message
    assert not (tmp_path / "out" / "manifest").exists()


def test_the_command_names_the_file_and_both_hashes(recipe: Path, clips: Path, tmp_path: Path) -> None:
    tamper(clips)
    ended = soundflow("build", recipe, "-o", tmp_path / "out", "--executor", "inline")
    expected = ClipIndex.open(clips).content_hash
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert f"{clips / TABLE}: the clip index was replaced: expected content hash {expected[:12]}, found " in ended.stderr


def test_the_same_rows_in_another_file_are_accepted(
    recipe: Path, clips: Path, tmp_path: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rewrite() -> None:
        before = (clips / TABLE).read_bytes()
        index = ClipIndex.open(clips)
        write_table(clips / TABLE, [row | {"path": f"/moved{row['path']}"} for row in index.rows()], index.footer.config)
        assert (clips / TABLE).read_bytes() != before

    before_workers_start(monkeypatch, rewrite)
    build(recipe, tmp_path / "out", executor="inline")
    assert corpus(tmp_path / "out") == corpus(built)


def test_an_index_replaced_between_two_runs_is_refused(recipe: Path, clips: Path, tmp_path: Path, built: Path) -> None:
    out = Path(shutil.copytree(built, tmp_path / "out"))
    BuildDir(out).manifest_path(2).unlink()
    committed = corpus(out)
    replace_index(clips)
    with pytest.raises(InputError, match=r"clip index: [0-9a-f]{12} -> [0-9a-f]{12}"):
        build(recipe, out, executor="inline")
    assert corpus(out) == committed


def test_an_index_replaced_during_a_build_changes_no_byte(recipe: Path, clips: Path, tmp_path: Path, built: Path) -> None:
    def replace(progress: Progress) -> None:
        if progress.shards_done == 1:
            replace_index(clips)

    build(recipe, tmp_path / "out", executor="inline", on_event=replace)
    assert corpus(tmp_path / "out") == corpus(built)


def damage_audio(clips: Path) -> None:
    for path in (clips / "cache").rglob("*.pcm"):
        path.write_bytes(bytes(path.stat().st_size))


def test_audio_replaced_during_a_build_is_cleaned_again(
    recipe: Path, clips: Path, tmp_path: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_audio, "DECODED_BYTES", 0)  # so that later shards read again what the first one has read

    def replace(progress: Progress) -> None:
        if progress.shards_done == 1:
            damage_audio(clips)

    build(recipe, tmp_path / "out", executor="inline", on_event=replace)
    assert corpus(tmp_path / "out") == corpus(built)


def test_replaced_audio_whose_source_is_gone_ends_in_the_name_of_the_clip(
    recipe: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage_audio(clips)
    monkeypatch.setattr(clip_audio, "file_sha256", lambda path: "0" * 64)  # every source has changed, too
    status = build(recipe, tmp_path / "out", executor="inline")
    assert status.shards.committed == 0 and status.shards.failed == 4
    error = BuildDir(tmp_path / "out").failures()[0].error
    assert "the cleaned audio in" in error and "has changed; run `soundflow clips index`" in error
