"""What the documentation shows, typed as it stands there: from recordings to a corpus, what can be done with it, and its code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.docs.pages import Block, blocks, split
from tests.support import ROOT
from tests.support.commandline import soundflow
from tests.support.corpora_in_small import librispeech

SMALLER = {"--streams": "10", "--shards": "2", "--sample": "2", "--nodes": "1"}
"""Option → a value that costs less than the one that is shown."""


TYPED = {
    "corpus": ("README.md", "soundflow init"),
    "repair": ("docs/building.md", "soundflow replay"),
    "clean": ("docs/getting-started.md", "soundflow tfjp"),
    "search": ("docs/recordings.md", "clips search"),
    "virtual": ("docs/virtual.md", "materialize"),
    "hf": ("docs/export.md", "export hf"),
    "files": ("docs/export.md", "export moshi"),
    "estimate": ("docs/estimate.md", "soundflow estimate"),
    "import": ("docs/corpora.md", "sources import"),
}
"""The bash blocks that are run here: page, and a text in it."""


def shown(name: str) -> list[tuple[str, ...]]:
    """The commands of ours in a block of TYPED."""
    page, text = TYPED[name]
    block = next(block for block in blocks("bash") if block.page == page and text in block.text)
    return [words for words in split(block.text) if words[0] == "soundflow"]


def typed(words: tuple[str, ...]) -> list[str]:
    """A command of ours without `soundflow`, at a size for a test; builds run in this process."""
    line = list(words[1:])
    for place, word in enumerate(line[:-1]):
        line[place + 1] = SMALLER.get(word, line[place + 1])
    return [*line, "--executor", "inline"] if line[0] == "build" else line


@pytest.fixture(scope="module")
def folder(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a user typed the README's commands: recordings/, speech.csv, clips/, corpus.yaml, corpus/."""
    root = tmp_path_factory.mktemp("reader")
    shutil.copytree(sources, root / "recordings", ignore=shutil.ignore_patterns("speech"))
    shutil.copytree(sources / "speech", root / "spoken")
    rows = [f'spoken/{wav.name},"{wav.with_suffix(".txt").read_text()}"' for wav in sorted((root / "spoken").glob("*.wav"))]
    (root / "speech.csv").write_text("\n".join(["path,transcript", *rows, ""]))
    assert [words[1] for words in shown("corpus")] == ["clips", "init", "build", "verify", "report"]
    for words in shown("corpus"):
        done = soundflow(*typed(words), folder=root)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    return root


def test_the_readmes_corpus_is_there(folder: Path) -> None:
    assert json.loads(soundflow("status", "corpus", "--json", folder=folder).stdout)["streams"] == 10
    assert (folder / "corpus" / "report.html").stat().st_size > 100_000


def test_what_explains_and_repairs_a_corpus(folder: Path) -> None:
    key = json.loads((folder / "corpus" / "manifest" / "000000.json").read_bytes())["keys"][0]
    shutil.copytree(folder / "corpus", folder / "corpus.old-1")
    seen = []
    for words in shown("repair"):
        line = [key if word.startswith("sf-") else word for word in typed(words)]
        done = soundflow(*line, folder=folder)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        seen.append(line[0])
    assert seen == ["status", "verify", "replay", "report", "diff", "gc"] and (folder / "replayed" / f"{key}.flac").is_file()


def test_one_recording_is_cleaned_and_clips_are_found(folder: Path) -> None:
    for wav, name in (("question", "dog.wav"), ("long", "kitchen.wav")):
        shutil.copy(folder / "spoken" / f"{wav}.wav", folder / name)
    cleaned = soundflow(*typed(shown("clean")[0]), folder=folder)
    assert cleaned.returncode == 0 and soundfile.info(folder / "clean.wav").samplerate == 16_000
    found = soundflow(*typed(shown("search")[0]), folder=folder)
    assert found.returncode == 0 and len(found.stdout.splitlines()) >= 3


def test_a_virtual_corpus_becomes_a_stored_one(folder: Path) -> None:
    for words in (words for words in shown("virtual") if words[1] != "train"):
        line = [word.replace("corpus/", "stored/") for word in typed(words)]
        assert soundflow(*line, folder=folder).returncode == 0, words
    same = soundflow("diff", "corpus/", "stored/", folder=folder)
    assert same.returncode == 0, same.stdout


def test_a_corpus_is_exported(folder: Path) -> None:
    exports = [*shown("hf"), *shown("files")]
    assert [words[2] for words in exports] == ["hf", "moshi", "authors", "scaper"]
    for words in exports:
        extra = ["--any-licence"] if words[2] == "hf" else []
        done = soundflow(*typed(words), *extra, folder=folder)
        assert done.returncode == 0, (words, done.stdout, done.stderr)


def test_the_cost_is_estimated_and_the_choices_are_listed(folder: Path) -> None:
    estimated = soundflow(*typed(shown("estimate")[0]), folder=folder)
    assert estimated.returncode == 0 and "bottleneck" in estimated.stdout, estimated.stderr
    tasks = soundflow("tasks")
    assert tasks.returncode == 0 and "human_distress" in tasks.stdout
    assert soundflow("assets", "list").returncode == 0
    for name in ("recipe", "stage", "speech"):
        printed = soundflow("schema", name)
        assert printed.returncode == 0 and json.loads(printed.stdout)["properties"], printed.stderr


def test_a_corpus_of_the_paper_is_imported(folder: Path) -> None:
    librispeech(folder / "LibriSpeech")
    for words in shown("import"):
        line = [word.replace("/data/LibriSpeech", "LibriSpeech").replace("clips/", "in/clips") for word in typed(words)]
        done = soundflow(*line, folder=folder)
        assert done.returncode == 0, (words, done.stdout, done.stderr)


RUN = [block for block in blocks("python") if block.page in ("README.md", "docs/building.md", "docs/python-api.md")]
"""Code for the folder in which a user typed the README's commands."""


@pytest.mark.parametrize("block", [block for block in blocks("python") if block.page != "docs/reference/python.md"], ids=str)
def test_python_that_is_shown_compiles(block: Block) -> None:
    """The Python reference has signatures, which are no code."""
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", RUN, ids=str)
def test_python_that_is_shown_runs(block: Block, folder: Path) -> None:
    shutil.copy(folder / "spoken" / "question.wav", folder / "dog.wav")
    command, environment = [sys.executable, "-W", "ignore", "-c", block.text], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    if "for s" in block.text:
        assert sum(line.startswith("sf-") for line in done.stdout.splitlines()) == 10
    if "difference" in block.text:
        assert float(done.stdout.rpartition(" ")[2]) < 2 / 32_768
    if "verify" in block.text:
        assert done.stdout == "10 streams; no problems\n"
