"""The paper's ablations as one command, at a hundredth of their size: what comes out says nothing, how it comes out does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from soundflow.bench.experiments.ablations import REFERENCE, VARIANTS, Scale, difference, main
from soundflow.schemas.base import InputError
from soundflow.training.trainer import RunRecord

pytestmark = pytest.mark.slow

SMALL = ["--scale", "0.01", "--workers", "0"]
CELLS = ["reference", "without event selection", "chunk 0.8 s"]


@pytest.fixture(scope="module")
def ablated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ablations")
    assert main(["-o", str(root), *SMALL, "--seeds", "1", "--only", *CELLS]) == 0
    return root


def test_each_variant_changes_one_thing_and_hears_the_same_held_out_streams(ablated: Path) -> None:
    found = json.loads((ablated / "summary.json").read_bytes())
    assert list(found["variants"]) == sorted(CELLS) and found["f1_less_reference"]["reference"] == [0.0]
    stages = {
        name: RunRecord.from_json(
            (ablated / name.replace(" ", "-").replace(".", "_") / "seed-0" / "stream" / "run.json").read_bytes()
        )
        for name in CELLS
    }
    windows = {name: record.stage.window_chunks for name, record in stages.items()}
    assert windows == {"reference": 60, "without event selection": 60, "chunk 0.8 s": 30}, "24 s, whatever a chunk is"
    corpora = {name: record.corpus for name, record in stages.items()}
    assert corpora["chunk 0.8 s"] == corpora["reference"] != corpora["without event selection"]
    minutes = {name: cells["0"]["minutes"] for name, cells in found["variants"].items()}
    assert minutes["reference"] == minutes["without event selection"] == pytest.approx(minutes["chunk 0.8 s"], abs=0.02)


def test_the_tables_stand_beside_the_papers_and_say_how_small_they_are(ablated: Path) -> None:
    page = (ablated / "report.html").read_text(encoding="utf-8")
    expected = ("88.51 % (from 92.42 %)", "MMAU 59.13, 786 ms", "831 ms, 5.2 %", "these figures have no meaning")
    assert all(text in page for text in expected)


def test_the_same_command_goes_on_with_the_cells_that_are_missing(ablated: Path) -> None:
    kept = ablated / "reference" / "seed-0" / "result.json"
    before = kept.stat().st_mtime_ns
    assert main(["-o", str(ablated), *SMALL, "--seeds", "2", "--only", "reference"]) == 0
    found = json.loads((ablated / "summary.json").read_bytes())["variants"]["reference"]
    assert set(found) == {"0", "1"} and kept.stat().st_mtime_ns == before


def test_results_of_another_task_are_rejected_and_not_mixed(ablated: Path) -> None:
    kept = ablated / "reference" / "seed-0" / "result.json"
    kept.write_text(json.dumps(json.loads(kept.read_bytes()) | {"task": "other"}))
    with pytest.raises(InputError, match="contains the result of another task"):
        main(["-o", str(ablated), *SMALL, "--seeds", "1", "--only", "reference"])


def test_the_variants_are_those_of_the_papers_tables() -> None:
    names = {variant.name for variant in VARIANTS}
    assert names > {"without TFJP", "without event selection", "without silence mix", "lambda 0.5", "lambda 2"}
    assert {variant.chunk_ms for variant in VARIANTS} == {200, 400, 600, 800}
    stages = {variant.name: Scale().stages(variant.loss_weight, variant.chunk_ms)["stream"] for variant in VARIANTS}
    assert {stage.loss_weight for stage in stages.values()} == {0.5, 1.0, 2.0}
    assert len({stage.steps for stage in stages.values()}) == 1 and stages[REFERENCE.name].loss_weight == 1.0


def test_differences_are_of_seeds_both_have() -> None:
    variant, reference = {0: {"f1": 0.5}, 1: {"f1": 0.7}, 2: {"f1": 0.1}}, {0: {"f1": 0.6}, 1: {"f1": 0.7}}
    mean, low, high = difference(variant, reference) or []
    assert mean == pytest.approx(-0.05) and low < mean < high
    assert difference({3: {"f1": 1.0}}, reference) is None
