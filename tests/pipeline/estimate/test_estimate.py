"""Compare estimates with what builds make, at any size; check that a build respects its budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from soundflow.pipeline.build.calibrate import calibrate
from soundflow.pipeline.build.run import build
from soundflow.pipeline.clips.table import TABLE, ClipIndex, read_footer, write_table
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.estimate.estimate import Machines, estimate, exceeded_limits
from soundflow.pipeline.estimate.index_sample import IndexSample
from soundflow.schemas.base import InputError
from soundflow.schemas.estimate import BuildBudget
from tests.support.corpus import write_recipe


def test_the_estimate_agrees_with_the_build(clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=160, shards=4)
    estimated = estimate(recipe, Machines(nodes=1, cores=1))
    build(recipe, tmp_path / "out", executor="inline")
    manifests = BuildDir(tmp_path / "out").manifests()
    hours = sum(manifest.seconds for manifest in manifests) / 3600
    streams = sum(len(manifest.keys) for manifest in manifests)
    assert streams > 150
    assert estimated.hours == pytest.approx(hours * 160 / streams, rel=0.12)
    assert estimated.responses == pytest.approx(sum(manifest.responses for manifest in manifests) * 160 / streams, rel=0.15)
    assert sum(estimated.items.values()) == 160 and set(estimated.items.values()) == {40}
    assert estimated.fingerprint == BuildDir(tmp_path / "out").record().fingerprint


def test_calibrated_rates_predict_what_this_machine_needs(clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=120, shards=2)
    rates = calibrate(recipe)
    assert rates.origin.startswith("measured on this machine with 24 streams")
    estimated = estimate(recipe, rates=rates)
    build(recipe, tmp_path / "out", executor="inline")
    size = sum(manifest.bytes for manifest in BuildDir(tmp_path / "out").manifests())
    assert estimated.gigabytes * 1e9 == pytest.approx(size, rel=0.2)
    assert (
        estimated.virtual_gigabytes < estimated.gigabytes
        and rates.virtual_bytes_per_audio_second < rates.bytes_per_audio_second / 5
    )


def test_a_sample_of_all_rows_has_the_briefs_of_the_index(clips_dir: Path) -> None:
    index = ClipIndex.open(clips_dir)
    assert IndexSample(clips_dir, len(index)).briefs() == index.briefs()


def test_the_paper_s_size_takes_no_longer_to_estimate_than_a_small_recipe(clips_dir: Path, tmp_path: Path) -> None:
    small = estimate(write_recipe(tmp_path / "small.yaml", clips_dir, streams=20_000, shards=100))
    large = estimate(write_recipe(tmp_path / "large.yaml", clips_dir, streams=2_600_000, shards=45_000), Machines(64, 32))
    assert large.planned == small.planned == 300
    assert large.hours == pytest.approx(small.hours * 130, rel=0.1) and large.streams_per_shard == 58
    assert large.wall_hours["cores"] == pytest.approx(large.core_hours / 2048)
    assert sum(large.items.values()) == 2_600_000


def test_a_sample_of_a_large_index_has_every_source_and_equal_briefs(clips_dir: Path, tmp_path: Path) -> None:
    rows = list(ClipIndex.open(clips_dir).rows())
    sizes = {"a-large": 6000, "b-small": 20, "c-middle": 2000, "d-last": 7}

    def many() -> Iterator[dict]:
        for source, size in sizes.items():  # the order of `sources import`: sorted by source
            for number in range(size):
                yield rows[number % len(rows)] | {"id": f"{source}/{number:06d}", "source": source}

    write_table(tmp_path / TABLE, many(), read_footer(clips_dir).config)
    part = IndexSample(tmp_path, 2000)
    found = Counter(brief.source for brief in part.briefs())
    assert set(found) == set(sizes) and len(part) < 4000
    assert found["b-small"] == 20 and found["d-last"] == 7 and found["a-large"] > found["c-middle"]
    whole = {brief.id: brief for brief in ClipIndex.open(tmp_path).briefs()}
    assert all(brief == whole[brief.id] for brief in part.briefs())


def test_a_sample_of_a_large_index_has_whole_dialogues_in_any_sort_order(clips_dir: Path, tmp_path: Path) -> None:
    row = next(row for row in ClipIndex.open(clips_dir).rows() if row["transcript"])

    def many() -> Iterator[dict]:
        for number in range(6000):  # first all first turns, then all second ones
            turn, dialogue = divmod(number, 1500)
            yield row | {"id": f"{turn}/{dialogue:04d}", "dialogue": f"d{dialogue}", "turn": turn, "voice": "v"}

    write_table(tmp_path / TABLE, many(), read_footer(clips_dir).config)
    turns = Counter(str(brief.dialogue) for brief in IndexSample(tmp_path, 2000).briefs())
    assert len(turns) < 600 and Counter(turns.values())[4] > 0.95 * len(turns)


def test_a_recipe_without_clips_is_estimated_with_the_clips_of_another(clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path)
    with pytest.raises(InputError, match="clip index"):
        estimate(recipe, planned=20)
    assert estimate(recipe, planned=20, clips=clips_dir).planned == 12


def test_language_model_cost_is_per_role_and_may_be_the_bottleneck(clips_dir: Path, tmp_path: Path) -> None:
    llm = {"model": "m", "prices": {"m": {"input": 1.0, "output": 2.0}}, "server": {"requests_per_minute": 60.0}}
    scene = {"planner": "llm", "events": [3, 4]}
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=1000, shards=10, scene=scene, llm=llm)
    estimated = estimate(recipe, Machines(8, 64))
    planner = estimated.llm["scenario_planner"]
    assert planner.calls == 1100 and planner.input_tokens == 1100 * 1600
    assert planner.money == pytest.approx((planner.input_tokens + 2 * planner.output_tokens) / 1e6)
    assert estimated.money == pytest.approx(sum(usage.money for usage in estimated.llm.values()))
    assert estimated.bottleneck == "language model"
    assert estimated.wall_hours["language model"] == pytest.approx(sum(usage.calls for usage in estimated.llm.values()) / 3600)


def test_a_build_over_its_budget_is_refused_before_anything_is_made(clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, budget={"hours": 0.001, "money": 5.0})
    with pytest.raises(InputError, match=r"budget: the estimate exceeds the budget.*hours 0\.0\d+ \(limit 0\.001\)"):
        build(recipe, tmp_path / "out", executor="inline")
    assert not (tmp_path / "out").exists()
    free = write_recipe(tmp_path / "free.yaml", clips_dir)
    assert build(recipe, tmp_path / "out", executor="inline", over_budget=True).shards.committed == 4
    assert build(free, tmp_path / "out", executor="inline").shards.committed == 4, "a budget does not change the fingerprint"


def test_exceeded_limits_are_named_with_both_numbers(clips_dir: Path, tmp_path: Path) -> None:
    estimated = estimate(write_recipe(tmp_path / "recipe.yaml", clips_dir))
    assert exceeded_limits(BuildBudget(gigabytes=0.0, core_hours=0.0, hours=1e6), estimated) == [
        f"gigabytes {estimated.gigabytes:.4g} (limit 0)",
        f"core_hours {estimated.core_hours:.4g} (limit 0)",
    ]


def test_a_recipe_the_clips_cannot_serve_is_refused(clips_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too few clips"):
        estimate(write_recipe(tmp_path / "recipe.yaml", clips_dir, scene={"events": [40, 50]}))
    with pytest.raises(InputError, match="clip index"):
        estimate(write_recipe(tmp_path / "other.yaml", tmp_path))
