"""The bill of a recipe against what a build of it really makes, at any size, and the budget a build keeps to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from soundflow.pipeline.build.calibrate import calibrate
from soundflow.pipeline.build.run import build
from soundflow.pipeline.clips.table import TABLE, ClipIndex, read_footer, write_table
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.estimate.estimate import Machines, passed, plan
from soundflow.pipeline.estimate.pool import PlanPool
from soundflow.schemas.base import InputError
from soundflow.schemas.bill import BuildBudget
from tests.support.corpus import write_recipe


def test_the_bill_agrees_with_the_build(clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=160, shards=4)
    bill = plan(recipe, Machines(nodes=1, cores=1))
    build(recipe, tmp_path / "out", executor="inline")
    manifests = BuildDir(tmp_path / "out").manifests()
    hours = sum(manifest.seconds for manifest in manifests) / 3600
    streams = sum(len(manifest.keys) for manifest in manifests)
    assert streams > 150
    assert bill.hours == pytest.approx(hours * 160 / streams, rel=0.12)
    assert bill.responses == pytest.approx(sum(manifest.responses for manifest in manifests) * 160 / streams, rel=0.15)
    assert sum(bill.items.values()) == 160 and set(bill.items.values()) == {40}
    assert bill.fingerprint == BuildDir(tmp_path / "out").record().fingerprint


def test_measured_rates_say_what_the_same_machine_then_needs(clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=120, shards=2)
    rates = calibrate(recipe)
    assert rates.origin.startswith("measured on this machine with 24 streams")
    bill = plan(recipe, rates=rates)
    build(recipe, tmp_path / "out", executor="inline")
    size = sum(manifest.bytes for manifest in BuildDir(tmp_path / "out").manifests())
    assert bill.gigabytes * 1e9 == pytest.approx(size, rel=0.2)
    assert bill.virtual_gigabytes < bill.gigabytes and rates.virtual_bytes_per_audio_second < rates.bytes_per_audio_second / 5


def test_what_is_reckoned_with_are_the_briefs_of_the_index(clips_dir: Path) -> None:
    index = ClipIndex.open(clips_dir)
    assert PlanPool(clips_dir, len(index)).briefs() == index.briefs()


def test_the_paper_s_size_costs_no_more_to_reckon_than_twenty_streams(clips_dir: Path, tmp_path: Path) -> None:
    small = plan(write_recipe(tmp_path / "small.yaml", clips_dir, streams=20_000, shards=100))
    large = plan(write_recipe(tmp_path / "large.yaml", clips_dir, streams=2_600_000, shards=45_000), Machines(64, 32))
    assert large.planned == small.planned == 300
    assert large.hours == pytest.approx(small.hours * 130, rel=0.1) and large.streams_per_shard == 58
    assert large.wall_hours["cores"] == pytest.approx(large.core_hours / 2048)
    assert sum(large.items.values()) == 2_600_000


def test_a_part_of_a_large_index_has_every_source_and_reads_as_the_index_does(clips_dir: Path, tmp_path: Path) -> None:
    rows = list(ClipIndex.open(clips_dir).rows())
    sizes = {"a-large": 6000, "b-small": 20, "c-middle": 2000, "d-last": 7}

    def many() -> Iterator[dict]:
        for source, size in sizes.items():  # as `sources import` names them: sorted by source
            for number in range(size):
                yield rows[number % len(rows)] | {"id": f"{source}/{number:06d}", "source": source}

    write_table(tmp_path / TABLE, many(), read_footer(clips_dir).config)
    part = PlanPool(tmp_path, 2000)
    found = Counter(brief.source for brief in part.briefs())
    assert set(found) == set(sizes) and len(part) < 4000
    assert found["b-small"] == 20 and found["d-last"] == 7 and found["a-large"] > found["c-middle"]
    whole = {brief.id: brief for brief in ClipIndex.open(tmp_path).briefs()}
    assert all(brief == whole[brief.id] for brief in part.briefs())


def test_a_part_of_a_large_index_has_dialogues_whole_however_their_turns_are_sorted(clips_dir: Path, tmp_path: Path) -> None:
    row = next(row for row in ClipIndex.open(clips_dir).rows() if row["transcript"])

    def many() -> Iterator[dict]:
        for number in range(6000):  # first all first turns, then all second ones
            turn, dialogue = divmod(number, 1500)
            yield row | {"id": f"{turn}/{dialogue:04d}", "dialogue": f"d{dialogue}", "turn": turn, "voice": "v"}

    write_table(tmp_path / TABLE, many(), read_footer(clips_dir).config)
    turns = Counter(str(brief.dialogue) for brief in PlanPool(tmp_path, 2000).briefs())
    assert len(turns) < 600 and Counter(turns.values())[4] > 0.95 * len(turns)


def test_a_recipe_without_clips_is_reckoned_with_those_of_another(clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path)
    with pytest.raises(InputError, match="clip index"):
        plan(recipe, planned=20)
    assert plan(recipe, planned=20, clips=clips_dir).planned == 12


def test_a_language_model_is_billed_by_role_and_names_the_bottleneck(clips_dir: Path, tmp_path: Path) -> None:
    llm = {"model": "m", "prices": {"m": {"input": 1.0, "output": 2.0}}, "server": {"requests_per_minute": 60.0}}
    scene = {"planner": "llm", "events": [3, 4]}
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=1000, shards=10, scene=scene, llm=llm)
    bill = plan(recipe, Machines(8, 64))
    planner = bill.llm["scenario_planner"]
    assert planner.calls == 1100 and planner.input_tokens == 1100 * 1600
    assert planner.money == pytest.approx((planner.input_tokens + 2 * planner.output_tokens) / 1e6)
    assert bill.money == pytest.approx(sum(usage.money for usage in bill.llm.values()))
    assert bill.bottleneck == "language model"
    assert bill.wall_hours["language model"] == pytest.approx(sum(usage.calls for usage in bill.llm.values()) / 3600)


def test_a_build_over_its_budget_is_refused_before_anything_is_made_unless_told(clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, budget={"hours": 0.001, "money": 5.0})
    with pytest.raises(InputError, match=r"budget: the build would take more than this.*hours 0\.0\d+ of 0\.001"):
        build(recipe, tmp_path / "out", executor="inline")
    assert not (tmp_path / "out").exists()
    free = write_recipe(tmp_path / "free.yaml", clips_dir)
    assert build(recipe, tmp_path / "out", executor="inline", over_budget=True).shards.committed == 4
    assert build(free, tmp_path / "out", executor="inline").shards.committed == 4, "a budget shapes nothing"


def test_limits_that_are_passed_are_named_with_both_numbers(clips_dir: Path, tmp_path: Path) -> None:
    bill = plan(write_recipe(tmp_path / "recipe.yaml", clips_dir))
    assert passed(BuildBudget(gigabytes=0.0, core_hours=0.0, hours=1e6), bill) == [
        f"gigabytes {bill.gigabytes:.4g} of 0",
        f"core_hours {bill.core_hours:.4g} of 0",
    ]


def test_a_recipe_the_clips_cannot_serve_is_refused(clips_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too few clips"):
        plan(write_recipe(tmp_path / "recipe.yaml", clips_dir, scene={"events": [40, 50]}))
    with pytest.raises(InputError, match="clip index"):
        plan(write_recipe(tmp_path / "other.yaml", tmp_path))
