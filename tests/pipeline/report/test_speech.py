"""The voices section of the report: word error rates of the clips in use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundflow.pipeline.build.run import build
from soundflow.pipeline.clips.index import ClipIndex, index_clips
from soundflow.pipeline.report.page import write_report
from soundflow.pipeline.report.speech import speech_data
from tests.conftest import SENTENCES
from tests.pipeline.report.test_page import data_of
from tests.support.corpus import write_recipe

RATES = {"question": ("anna", 0.0), "request": ("anna", 0.1), "long": ("bert", 0.05), "short": ("", None)}


@pytest.fixture(scope="module")
def clips(sources: Path, real_audio: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of speech by two voices whose word error rates are known, and noise."""
    root = tmp_path_factory.mktemp("voices")
    shutil.copytree(sources / "noise", root / "noise")
    (root / "speech").mkdir()
    with (root / "speech" / "manifest.jsonl").open("w") as stream:
        for name, (voice, wer) in RATES.items():
            soundfile.write(root / "speech" / f"{name}.wav", real_audio[name], 16_000)
            row = {"path": f"{name}.wav", "transcript": SENTENCES[name], "voice": voice, "wer": wer}
            stream.write(json.dumps(row) + "\n")
    index_clips([root / "noise", root / "speech"], root / "clips", workers=1)
    return root / "clips"


def test_the_report_has_the_word_error_rates_of_each_voice(clips: Path, tmp_path: Path) -> None:
    change = {"tasks": {"streaming_asr": 1.0}, "streams": 2, "shards": 1, "scene": {"events": [4, 4], "distractor_share": 0.0}}
    build(write_recipe(tmp_path / "recipe.yaml", clips, **change), tmp_path / "out", executor="inline")
    anna, bert = data_of(write_report(tmp_path / "out"))["voices"]
    assert (anna["voice"], anna["clips"], anna["perfect"], anna["max"]) == ("anna", 2, 0.5, 0.1)
    assert anna["mean"] == pytest.approx(0.05) and sum(anna["counts"]) == 2 and len(anna["counts"]) == len(anna["edges"]) - 1
    assert (bert["voice"], bert["clips"], bert["p50"]) == ("bert", 1, 0.05)


def test_without_an_index_or_word_error_rates_there_are_no_voices(clips: Path, clips_dir: Path, tmp_path: Path) -> None:
    assert speech_data(tmp_path, "0" * 64, ["x"]) is None
    without_rates = ClipIndex.open(clips_dir).content_hash
    assert speech_data(clips_dir, without_rates, ["speech/long.wav", "made/generated/0123456789abcdef"]) is None
    assert speech_data(clips, ClipIndex.open(clips).content_hash, ["not there"]) is None
    assert speech_data(clips, "0" * 64, ["x"]) is None
