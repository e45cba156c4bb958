"""Exports as a dataset: stock `datasets` streams it, no recording is in two splits, licences are checked, exports resume."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from soundflow.pipeline.build.run import build
from soundflow.pipeline.build.virtual import Samples
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.curate.scenes import split_of
from soundflow.pipeline.export.card import generated_by_rules, write_card
from soundflow.pipeline.export.hf import MARK, export_hf
from soundflow.pipeline.export.licences import hub_licence
from soundflow.pipeline.report.data import Statistics
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.taxonomy import Task
from tests.support.corpus import Members, rewrite, write_recipe

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def split_build(clips_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual build in three splits of sounds alone: the world has too little speech for three."""
    root = tmp_path_factory.mktemp("splits")
    splits = {"train": 2.0, "validation": 1.0, "test": 1.0}
    change = {"tasks": {"event_description": 1.0}, "splits": splits, "scene": {"events": [1, 2]}, "seed": 4}
    build(
        write_recipe(root / "recipe.yaml", clips_dir, streams=30, shards=3, **change),
        root / "out",
        executor="inline",
        virtual=True,
    )
    return root / "out"


@pytest.fixture(scope="module")
def exported(split_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "dataset"
    export_hf(split_build, str(folder), any_licence=True, file_bytes=400_000)
    return folder


def plans_of(out: Path) -> list[StreamPlan]:
    build_dir = BuildDir(out)
    return [
        StreamPlan.from_json(members["json"])
        for manifest in build_dir.manifests()
        for _, members in read_shard(build_dir.data / manifest.tar)
    ]


def test_stock_datasets_streams_every_row_and_its_audio_is_the_corpus_s(
    split_build: Path, exported: Path, tmp_path: Path
) -> None:
    build_dir = BuildDir(split_build)
    samples = Samples(build_dir, build_dir.record())
    stored = {plan.sample_id: members for manifest in build_dir.manifests() for plan, members in samples.read_all(manifest)}
    loaded = datasets.load_dataset(str(exported), "understanding", streaming=True)
    assert set(loaded) == {"train", "validation", "test"}
    assert loaded["train"].features["audio"] == datasets.Audio(sampling_rate=16_000)
    seen = set()
    for split, rows in loaded.items():
        for row in rows.cast_column("audio", datasets.Audio(decode=False)):
            seen.add(row["id"])
            plan = StreamPlan.from_json(row["plan"])
            assert row["audio"]["bytes"] == stored[row["id"]]["flac"] and split_of(plan) == split
            audio, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))
            assert rate == 16_000 and audio.size == plan.samples and row["seconds"] == audio.size / rate
            assert [(response["chunk"], response["text"]) for response in row["responses"]] == plan.timeline()
            assert [event["clip"] for event in row["events"]] == [clip.clip_id for clip in plan.clips]
    assert seen == set(stored)
    whole = datasets.load_dataset(str(exported), "understanding", split="test", cache_dir=str(tmp_path))
    assert 0 < len(whole) < len(stored)


def test_no_recording_is_used_in_two_splits_noise_included(split_build: Path) -> None:
    splits_of: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for plan in plans_of(split_build):
        counts[split_of(plan)] = counts.get(split_of(plan), 0) + 1
        for item in (*plan.clips, *plan.noises):
            if item.content_sha256 is not None:
                splits_of.setdefault(item.content_sha256, set()).add(split_of(plan))
    assert len(counts) == 3 and len(splits_of) > 10
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert verify(split_build, sample=3).ok


def test_files_are_few_and_the_card_names_every_one(split_build: Path, exported: Path) -> None:
    card = (exported / "README.md").read_text()
    header = yaml.safe_load(card.split("---\n")[1])
    (config,) = header["configs"]
    assert config["config_name"] == "understanding" and header["license"] == "other"
    for part in config["data_files"]:
        files = sorted(exported.glob(part["path"]))
        assert files and all(path.name.endswith(f"-of-{len(files):05d}.parquet") for path in files)
    assert len(list(exported.rglob("*.parquet"))) < 10
    record = BuildDir(split_build).record()
    assert record.fingerprint in card and "No recording is used in two splits" in card
    assert "planned by `template`" in card and "| event_description |" in card
    assert json.loads((exported / "recipe.json").read_bytes())["splits"] == record.recipe.splits
    assert (exported / "statistics.png").read_bytes().startswith(b"\x89PNG")
    with (exported / "attribution.csv").open() as stream:
        assert {row["licence"] for row in csv.DictReader(stream)} >= {"unknown"}


def test_the_card_and_its_table_show_an_attribution_as_text(split_build: Path, tmp_path: Path) -> None:
    hostile = "=cmd|' /C calc'!A0 [Ann](https://evil.example) <b>"
    statistics = Statistics()
    for plan in plans_of(split_build):
        clips = tuple(clip.model_copy(update={"attribution": hostile, "source": "@s"}) for clip in plan.clips)
        statistics.add(plan.model_copy(update={"clips": clips}))
    write_card(tmp_path, BuildDir(split_build).record(), statistics, {"understanding": {"train": []}}, {"event_description": {}})
    card = (tmp_path / "README.md").read_text()
    assert r"| =cmd\|' /C calc'!A0 \[Ann\](https://evil.example) &lt;b&gt; |" in card
    with (tmp_path / "attribution.csv").open(newline="") as stream:
        rows = {row["source"]: row["attribution"] for row in csv.DictReader(stream)}
    assert rows["'@s"] == f"'{hostile}"


def test_the_card_does_not_count_a_model_s_work_as_generated_by_rules() -> None:
    planners, sources = {"llm:m": 3, "template": 2}, {"llm:m": 5, "label": 1, "template": 4}
    assert generated_by_rules(planners, sources) == "2 streams planned by `template`; 4 responses from `template`"
    assert generated_by_rules({"llm:m": 3}, {"llm:m": 5}) == ""


def test_unknown_licences_are_rejected_unless_allowed(split_build: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"may not be published: a licence is unknown \(30 streams, \d+ clips\)"):
        export_hf(split_build, str(tmp_path / "dataset"))
    dry = export_hf(split_build, str(tmp_path / "dataset"), dry_run=True)
    assert dry.streams == 30 and dry.objections == {"a licence is unknown": 30} and not list(tmp_path.iterdir())


def test_streams_of_licences_that_forbid_it_are_rejected_with_names_and_counts(built: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "copy"))
    no_derivatives = iter(["CC BY-NC-ND 4.0", "http://creativecommons.org/licenses/by-nc-nd/4.0/", "Attribution"])

    def relicense(number: int, key: str, members: Members) -> Members:
        plan = json.loads(members["json"])
        first = next(no_derivatives, "CC0")
        for place, item in enumerate([*plan["clips"], *plan["noises"]]):
            item["licence"] = "MIT" if place else first
            item["clip_id"] = item["clip_id"] and f"{number}/{place}"
        return members | {"json": json.dumps(plan).encode()}

    for shard in range(4):
        rewrite(copy, shard, relicense)
    refused = r"may not be published: CC-BY-NC-ND-4.0 permits no derivative works \(2 streams, 2 clips\)"
    with pytest.raises(InputError, match=refused) as caught:
        export_hf(copy, str(tmp_path / "dataset"))
    assert "--any-licence" in caught.value.remedy and not (tmp_path / "dataset").exists()


def test_the_card_s_licence_is_the_strictest_of_simple_cases() -> None:
    assert hub_licence(["CC0-1.0"]) == "cc0-1.0" and hub_licence(["CC0-1.0", "CC-BY-4.0"]) == "cc-by-4.0"
    assert hub_licence(["CC-BY-SA-3.0", "CC-BY-4.0"]) == "cc-by-sa-3.0" and hub_licence(["CC-BY-NC-4.0"]) == "other"
    assert hub_licence(["CC-BY-SA-3.0", "CC-BY-SA-4.0"]) == "cc-by-sa-4.0" and hub_licence(["Public Domain"]) == "cc0-1.0"
    assert hub_licence(["CC-BY-3.0", "CC-BY-4.0"]) == hub_licence(["CC-BY"]) == hub_licence(["MIT"]) == "other"


def test_an_interrupted_export_leaves_nothing_and_a_finished_one_is_not_repeated(split_build: Path, tmp_path: Path) -> None:
    calls: list[int] = []
    folder = tmp_path / "dataset"
    with pytest.raises(Interrupted):
        export_hf(split_build, str(folder), any_licence=True, should_stop=lambda: calls.append(1) or len(calls) > 40)
    assert not list(tmp_path.iterdir())
    export_hf(split_build, str(folder), any_licence=True)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    export_hf(split_build, str(folder), any_licence=True)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    (folder / MARK).write_text("something else")
    with pytest.raises(InputError, match="already exists"):
        export_hf(split_build, str(folder), any_licence=True)


def test_a_clip_in_two_splits_is_found_even_if_the_build_denies_it(split_build: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(split_build, tmp_path / "out"))

    def lie(number: int, key: str, members: Members) -> Members:
        return members | {"json": members["json"].replace(b'"value":"test","what":"split"', b'"value":"train","what":"split"')}

    for shard in (0, 1):
        rewrite(out, shard, lie)
    with pytest.raises(InputError, match="is used in the splits"):
        export_hf(out, str(tmp_path / "dataset"), any_licence=True)


def test_splits_that_leave_too_few_clips_are_refused_before_anything_is_made(clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, splits={"train": 0.99, "test": 0.01})
    with pytest.raises(InputError, match="too few clips"):
        build(recipe, tmp_path / "out", executor="inline")
    assert not (tmp_path / "out").exists()


def test_recipes_without_splits_keep_their_fingerprint_and_export_one(built: Path, tmp_path: Path) -> None:
    assert "splits" not in BuildDir(built).record().recipe.shaping()
    done = export_hf(built, str(tmp_path / "dataset"), any_licence=True)
    assert all(set(splits) == {"train"} for splits in done.splits.values())
    capability = Task(next(iter(done.splits))).capability.value
    loaded = datasets.load_dataset(str(tmp_path / "dataset"), capability, split="train", streaming=True)
    row = next(iter(loaded.cast_column("audio", datasets.Audio(decode=False))))
    assert np.isclose(row["silence"], 1 - len(row["responses"]) / row["chunks"])
