"""Continuity and head ablation: values that follow by construction, any checkpoint, plots."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from soundflow.bench.experiments.analyses.continuity import continuity, similarities
from soundflow.bench.experiments.analyses.heads import head_importance, zeroed
from soundflow.bench.experiments.analyses.windows import Reading, readings
from soundflow.bench.report.analyses import Analysis
from soundflow.bench.report.plots import analysis_plots
from soundflow.cli.app import app
from soundflow.model.thinker import StreamingThinker
from soundflow.schemas.base import InputError
from soundflow.training.corpus import StoredCorpus


@pytest.fixture(scope="module")
def read(thinker: StreamingThinker, built: Path) -> list[Reading]:
    return list(readings(thinker, StoredCorpus(built), 5))


def test_similarities_by_hand() -> None:
    # two chunks of two slots: within both chunks parallel (1 and 1), across the boundary at 60 degrees
    states = torch.tensor([[[1.0, 0.0], [2.0, 0.0]], [[1.0, 3**0.5], [2.0, 2 * 3**0.5]]])
    across, inside = similarities([states])
    assert across == pytest.approx(0.5) and inside == pytest.approx(1.0)


def test_continuity_has_a_ratio_from_the_encoder_to_the_last_layer(thinker: StreamingThinker, read: list[Reading]) -> None:
    found = continuity(thinker, read)
    layers = thinker.config.text_config.num_hidden_layers
    assert [one.layer for one in found] == ["encoder", "projector", *(f"layer {number}" for number in range(layers))]
    assert all(abs(one.ratio - one.boundary / one.within) < 1e-3 for one in found)
    assert continuity(thinker, read) == found, "no hook is left behind"


def test_a_zeroed_head_says_nothing_and_speaks_again_afterwards(thinker: StreamingThinker, read: list[Reading]) -> None:
    attention = thinker.model.language_model.layers[1].self_attn.o_proj
    given = torch.randn(1, 3, attention.in_features)
    size = attention.in_features // thinker.config.text_config.num_attention_heads
    with torch.inference_mode():
        whole = attention(given)
        with zeroed(thinker, 1, 2):
            cut = attention(given)
        silent = given.clone()
        silent[..., 2 * size : 3 * size] = 0
        assert torch.equal(cut, attention(silent)) and not torch.equal(cut, whole) and torch.equal(attention(given), whole)


def test_a_head_that_matters_is_found(thinker: StreamingThinker, read: list[Reading]) -> None:
    found = head_importance(thinker, read)
    layers, heads = thinker.config.text_config.num_hidden_layers, thinker.config.text_config.num_attention_heads
    assert len(found.drop) == layers and {len(row) for row in found.drop} == {heads}
    assert found.top.drop == max(max(row) for row in found.drop) == found.drop[found.top.layer][found.top.head]
    assert 0.0 <= found.base <= 1.0 and set(found.by_task) == {one.task for one in read}
    silent = [Reading(one.task, one.rows, one.mel, one.audio_at, one.control_at, torch.zeros_like(one.responds)) for one in read]
    with pytest.raises(InputError, match="no stream of the corpus has a response"):
        head_importance(thinker, silent)


def test_the_command_analyses_any_checkpoint_and_the_report_draws_it(checkpoint: Path, built: Path, tmp_path: Path) -> None:
    out = tmp_path / "analysis.json"
    done = CliRunner().invoke(app, ["bench", "analyse", str(checkpoint), str(built), "--streams", "3", "-o", str(out)])
    assert done.exit_code == 0 and "balanced token match" in done.output, done.output
    document = Analysis.from_json(out.read_bytes())
    plots = analysis_plots(document)
    assert all(plot.svg.startswith("<svg") for plot in plots)
    assert len(plots) == 2 + len(document.tasks)  # continuity, all heads, and heads by task
    page = CliRunner().invoke(app, ["bench", "report", "--analysis", str(out), "-o", str(tmp_path / "bench.html")])
    assert page.exit_code == 0, page.output
    (tmp_path / "no.json").write_text('{"model": "m", "heads": {}}')
    refused = CliRunner().invoke(app, ["bench", "report", "--analysis", str(tmp_path / "no.json")])
    assert "no.json" in str(refused.exception) and refused.exit_code
    text = (tmp_path / "bench.html").read_text()
    assert text.count("<svg") == len(plots) and "no model (here)" in text
