"""The example of a source of one's own: its manifest is indexed with labels, licences and attribution."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundflow.pipeline.clips.index import ClipIndex
from tests.support import ROOT
from tests.support.commandline import soundflow

EXAMPLE = ROOT / "examples" / "python" / "own_source.py"


def test_a_corpus_of_its_layout_becomes_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "corpus"
    table = "species,number,recordist,licence\nStrix aluco,0001,Ada,CC-BY-4.0\nBubo bubo,0001,Émile,CC0-1.0\n"
    for number, species in enumerate(("Strix aluco", "Bubo bubo")):
        (root / species).mkdir(parents=True)
        noise = np.random.default_rng(number).standard_normal(16_000)
        soundfile.write(root / species / "0001.wav", 0.1 * noise, 16_000)
    (root / "recordists.csv").write_text(table, encoding="utf-8")
    monkeypatch.setattr("sys.argv", [str(EXAMPLE), str(root)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    done = soundflow("clips", "index", root / "manifest.jsonl", "-o", tmp_path / "clips", "--workers", 1)
    assert done.returncode == 0, done.stderr
    index = ClipIndex.open(tmp_path / "clips")
    clips = [index.get(brief.id) for brief in index.briefs()]
    assert [(clip.label, clip.licence, clip.attribution, clip.source) for clip in clips] == [
        ("Bubo bubo call", "CC0-1.0", "Émile", "bird-calls"),
        ("Strix aluco call", "CC-BY-4.0", "Ada", "bird-calls"),
    ]
