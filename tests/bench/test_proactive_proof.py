"""The proactive proof in small: set, both tiers, every N, report; a checkpoint that says nothing scores what silence gets."""

from __future__ import annotations

from pathlib import Path

import yaml

from bench.learning.recordings import write_recordings
from bench.proactive.build import build
from bench.proactive.proof import RECIPE, prove
from bench.report import write_report
from bench.results import read_results
from pipeline.clip_index import index_clips


def test_both_tiers_every_n_and_the_report(checkpoint: Path, tmp_path: Path) -> None:
    write_recordings(tmp_path / "recordings", seed=0, per_class={"test": 1})
    index_clips([tmp_path / "recordings" / "manifest.csv"], tmp_path / "clips", workers=1)
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8")) | {"clips": "clips", "split": "test", "per_side": 1}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert build(tmp_path / "recipe.yaml", tmp_path / "run" / "set")["sounds"] > 6
    scores = prove(tmp_path / "run", checkpoint, threshold=0.999999)
    assert set(scores) == {"single", "multiple"}
    for found in scores.values():
        assert found.counts.balanced_accuracy == 0.5 and found.counts == found.baselines["never respond"]
        assert {"always respond", "never respond", "energy threshold"} == set(found.baselines)
    write_report(tmp_path / "report.html", read_results([tmp_path / "run"]))
    text = (tmp_path / "report.html").read_text()
    assert "proactive-set (not the published sounds), multiple" in text
    assert '</td><td class="number">100.00 (n=' not in text, "another set fills no cell of the paper's table"
    assert text.count("<svg") == 2, "domains and N"
    assert text.count("energy threshold") >= 2 and text.count("never respond") >= 2
