"""The examples for newcomers, run as they are shown: a first corpus, and a look inside it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

import soundflow as sf
from tests.support import ROOT

EXAMPLES = ROOT / "examples" / "python"


def run(name: str, *arguments: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.fixture(scope="module")
def work(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `first_corpus.py` has run."""
    folder = tmp_path_factory.mktemp("work")
    run("first_corpus.py", sources, folder)
    return folder


def test_the_first_corpus_is_built_verified_and_read(
    work: Path, sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("first_corpus.py", sources, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    corpus = sf.open_corpus(tmp_path / "corpus")
    assert "verified" in lines and lines[1].startswith("8 streams, ") and len(corpus) == 8 and corpus.complete
    assert sum("instruction: " in line for line in lines) == 8
    assert sum(len(stream.timeline) for stream in corpus) == sum(" s: " in line for line in lines) > 0
    assert corpus.keys == sf.open_corpus(work / "corpus").keys, "another folder, the same corpus"


def test_a_look_inside_renders_and_tokenizes_what_is_stored(
    work: Path, sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("look_inside.py", sources / "speech" / "long.wav", work / "corpus")
    text = capsys.readouterr().out
    assert "silence_cut: " in text and "(one decision per 400 ms)" in text
    difference = float(text.partition("largest difference to the stored audio: ")[2].split()[0])
    assert difference <= 2**-14
    stream = next(iter(sf.open_corpus(work / "corpus")))
    decisions = next(line for line in text.splitlines() if line.endswith("(one decision per 400 ms)")).split()[0]
    assert len(decisions) == stream.plan.chunks
    assert [place for place, decision in enumerate(decisions, 1) if decision == "R"] == [chunk for chunk, _ in stream.timeline]
