"""examples/dialogue.yaml, small: dialogues in writing and recorded speech become three kinds of spoken streams."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from soundflow.pipeline.clips.index import ClipIndex
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.schemas.asset_dir import asset_dir
from soundflow.schemas.stream import StreamPlan
from tests.conftest import SENTENCES
from tests.support.commandline import ROOT, soundflow

EXAMPLES = ROOT / "examples"
PROMPTS = asset_dir() / "asterisk-prompts"
HEARD_BADLY = {"recogniser": {"backend": "pocketsphinx"}, "gate": {"wer_limit": 0.7}}
"""The default's recogniser is an asset; this one is in a wheel, and hears badly."""


def recorded(dest: Path, real_audio: dict[str, np.ndarray]) -> None:
    """A person over the telephone where the asset is here, else the embedded voice; transcripts and translations."""
    chosen = yaml.safe_load((resources.files("soundflow.pipeline.start") / "demo_data.yaml").read_text(encoding="utf-8"))
    rows = []
    dest.mkdir()
    if PROMPTS.is_dir():
        phrases = {name: text for name, text in chosen["asterisk-prompts"].items() if text in chosen["translations"]}
        for name, text in list(phrases.items())[:6]:
            shutil.copyfile(next(PROMPTS.glob(f"*/{name}.wav")), dest / f"{name}.wav")
            rows.append((name, text, chosen["translations"][text]))
    else:
        for name, samples in real_audio.items():
            soundfile.write(dest / f"{name}.wav", samples, 16_000)
            rows.append((name, SENTENCES[name], "这是一句话，用来测试同声传译。"))
    with (dest / "manifest.jsonl").open("w", encoding="utf-8") as stream:
        for name, text, translation in rows:
            row = {"path": f"{name}.wav", "label": "speech", "transcript": text, "language": "en", "source": "recorded"}
            stream.write(json.dumps(row | {"translation": translation, "translation_language": "zh"}) + "\n")


@pytest.fixture(scope="module")
def made(sources: Path, real_audio: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user types for the example, at small size."""
    root = tmp_path_factory.mktemp("dialogue")
    recorded(root / "recorded", real_audio)
    shutil.copytree(sources / "owl", root / "sounds" / "owl")
    shutil.copytree(sources / "noise", root / "sounds" / "noise")
    lines = (EXAMPLES / "dialogues.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (root / "dialogues.jsonl").write_text("".join(lines[:2]), encoding="utf-8")
    (root / "speech.yaml").write_text(yaml.safe_dump(HEARD_BADLY))
    recipe = yaml.safe_load((EXAMPLES / "dialogue.yaml").read_text(encoding="utf-8"))
    (root / "dialogue.yaml").write_text(yaml.safe_dump(recipe | {"clips": "clips", "streams": 40, "shards": 1}))
    for step in (
        ("speak", "dialogues.jsonl", "--out", "spoken", "--config", "speech.yaml", "--executor", "inline"),
        ("clips", "index", "spoken", "recorded", "sounds", "-o", "clips"),
        ("clips", "align", "clips"),
        ("build", "dialogue.yaml", "-o", "corpus", "--executor", "inline"),
    ):
        done = soundflow(*step, folder=root)
        assert done.returncode == 0, done.stderr
    return root


def plans(root: Path) -> Iterator[StreamPlan]:
    build = BuildDir(root / "corpus")
    for manifest in build.manifests():
        for _, members in read_shard(build.data / manifest.tar):
            yield StreamPlan.from_json(members["json"])


def test_the_example_makes_all_three_kinds_of_streams_and_they_verify(made: Path) -> None:
    assert {plan.task.value for plan in plans(made)} == set(yaml.safe_load((EXAMPLES / "dialogue.yaml").read_text())["tasks"])
    verified = soundflow("verify", "corpus", "--sample", "2", "--json", folder=made)
    assert verified.returncode == 0 and json.loads(verified.stdout)["problems"] == []


def test_dialogues_play_in_order_and_are_answered_where_the_turns_end(made: Path) -> None:
    chats = [plan for plan in plans(made) if plan.task == "voice_chat"]
    assert chats
    for plan in chats:
        speech = [clip for clip in plan.clips if clip.kind == "speech"]
        assert len({clip.dialogue for clip in speech}) == 1 and [clip.turn for clip in speech] == list(range(len(speech)))
        assert [response.text for response in plan.responses] == [clip.reply for clip in speech if clip.reply]


def test_speech_is_written_and_interpreted_while_it_is_spoken(made: Path) -> None:
    index = ClipIndex.open(made / "clips")
    assert all(clip.words for clip in index.clips() if clip.transcript)
    for plan in plans(made):
        for response in plan.responses:
            for piece in response.pieces if plan.task == "streaming_asr" else ():
                place = plan.clips[piece.event]
                ends = [place.offset + word.end for word in index.get(place.clip_id).words if word.text == piece.text]
                assert piece.evidence in ends and response.chunk == -(-piece.evidence // 6_400)
        if plan.task == "simultaneous_interpretation":
            assert "Chinese" in plan.instruction
    interpreted = [plan for plan in plans(made) if plan.task == "simultaneous_interpretation"]
    played = {clip.source for plan in interpreted for clip in plan.clips if clip.kind == "speech"}
    assert played == {"recorded", "soundflow-examples"}  # from recordings, and from text
