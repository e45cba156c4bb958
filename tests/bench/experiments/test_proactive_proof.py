"""The proactive proof in small: set, both tiers, every N, analyses, report; who says nothing scores what silence gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from soundflow.bench.experiments import proactive_proof as proof
from soundflow.bench.experiments.learning.corpora import CORPORA, Spec, make_corpus
from soundflow.bench.experiments.learning.recordings import write_recordings
from soundflow.pipeline.clips.index import index_clips

pytestmark = pytest.mark.slow


def test_both_tiers_every_n_analyses_and_the_report(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = tmp_path / "learn"
    write_recordings(learn / "recordings", seed=0, per_class={"train": 1, "test": 1})
    index_clips([learn / "recordings" / "manifest.csv"], learn / "clips", workers=1)
    scene = {"events": [2, 3], "max_seconds": 12, "planner": "random"}
    made = {
        split: make_corpus(learn, split, Spec(split, 3, {"event_description": 1.0}, scene), seed=1) for split in ("train", "test")
    }
    corpora = {name: made[spec.split] for name, spec in CORPORA.items()}
    monkeypatch.setattr(proof, "trained", lambda root, seed: (corpora, checkpoint))
    out = tmp_path / "run"
    assert proof.main(["-o", str(out), "--learn", str(learn), "--threshold", "0.999999"]) == 0
    built = json.loads((out / "set" / "build.json").read_text())
    assert built["sounds"] == 12 and built["left_out"]["of another split"] == 15 and built["not_in"]
    for tier in ("single", "multiple"):
        details = json.loads((out / tier / "result.json").read_text())["details"]
        assert details["score"]["balanced_accuracy"] == 0.5
        assert details["score"]["accuracy"] == details["baselines"]["never respond"]["accuracy"]
        assert set(details["baselines"]) == {"always respond", "never respond", "energy threshold"}
    assert set(json.loads((out / "stability" / "result.json").read_text())["curve"]) == set("12345")
    text = (out / "report.html").read_text()
    assert text.count("<svg") == 4, "domains, N, continuity, heads"
    assert text.count("energy threshold") >= 2 and text.count("never respond") >= 2
    assert "proactive-set (not the published sounds), multiple" in text
    assert '</td><td class="number">100.00 (n=' not in text, "another set fills no cell of the paper's table"
    assert "encoder      continuity" in capsys.readouterr().out
