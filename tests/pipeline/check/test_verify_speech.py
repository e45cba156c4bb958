"""verify on spoken streams: words, dialogues and translations are checked against the index."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundflow.operators.tokens.tokenize import from_npz
from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.sample import SampleChecker
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.clips.align import align_clips
from soundflow.pipeline.clips.index import ClipIndex, index_clips
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.curate.scenes import scenes_of
from soundflow.schemas.base import canonical_json
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.taxonomy import Task
from soundflow.schemas.tokens import AUTHORS, LAYOUTS
from tests.conftest import SENTENCES
from tests.pipeline.check.test_verify import changed, leaves, tokens_for
from tests.support.corpus import write_recipe

TASKS = ("voice_chat", "streaming_asr", "simultaneous_interpretation")
CHINESE = {
    "question": "明天早上天气怎么样？",
    "request": "出门前请把暖气调低。",
    "long": "风暴从海上袭来，到了晚上，城里的每条街道都被水淹没了。",
    "short": "停止音乐。",
}


@pytest.fixture(scope="module")
def clips(real_audio: dict[str, np.ndarray], sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An aligned index of speech with every column about speech filled, and some sounds."""
    root = tmp_path_factory.mktemp("spoken")
    (root / "speech").mkdir()
    rows = []
    for number, name in enumerate(("question", "request", "long", "short")):
        soundfile.write(root / "speech" / f"{name}.wav", real_audio[name], 16_000)
        about = {"transcript": SENTENCES[name], "reply": f"reply {number}", "language": "en-GB", "dialogue": "d", "turn": number}
        about |= {
            "translation": CHINESE[name],
            "translation_language": "zh-CN",
            "voice": "heart",
            "licence": "CC0-1.0",
            "emotion": "happy",
        }
        rows.append({"path": f"{name}.wav", "label": "speech"} | about)
    (root / "speech" / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    index_clips([root / "speech", sources / "owl", sources / "noise"], root / "clips", workers=1)
    assert align_clips(root / "clips", workers=1).aligned == 4
    return root / "clips"


@pytest.fixture(scope="module")
def spoken(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A build of each sub-task about speech."""
    made = {}
    for task in TASKS:
        root = tmp_path_factory.mktemp(task)
        recipe = write_recipe(root / "r.yaml", clips, streams=2, shards=1, tasks={task: 1.0}, scene={"events": [2, 2]})
        build(recipe, root / "out", executor="inline")
        made[task] = root / "out"
    return made


def plans(directory: Path) -> list[tuple[StreamPlan, dict[str, bytes], int]]:
    found = []
    for manifest in BuildDir(directory).manifests():
        for _, members in read_shard(BuildDir(directory).data / manifest.tar):
            found.append((StreamPlan.from_json(members["json"]), members, manifest.shard))
    return found


def checker(directory: Path) -> SampleChecker:
    record = BuildDir(directory).record()
    index = ClipIndex.open(Path(record.clips))
    return SampleChecker(record, index, scenes_of(record.recipe, record.fingerprint, index, BuildDir(directory)))


@pytest.mark.parametrize("task", TASKS)
def test_each_sub_task_about_speech_is_built_and_verified(spoken: dict[str, Path], task: str) -> None:
    report = verify(spoken[task], sample=2)
    assert report.ok and report.streams == 2
    assert {plan.task.value for plan, _, _ in plans(spoken[task])} == {task}


def test_a_replys_emotion_is_a_tag_of_the_authors_layout(clips: Path, tmp_path: Path) -> None:
    layout = {"token_layout": "authors"}
    recipe = write_recipe(tmp_path / "r.yaml", clips, streams=2, shards=1, tasks={"voice_chat": 1.0}, output=layout)
    build(recipe, tmp_path / "out", executor="inline")
    assert verify(tmp_path / "out", sample=2).ok
    for plan, members, _ in plans(tmp_path / "out"):
        tags = [token for token in from_npz(members["tokens.npz"]).x.tolist() if token in AUTHORS.response_tags]
        assert tags == [AUTHORS.tag("happy")[0]] * len(plan.responses) and tags


def test_a_build_teaches_no_response_that_the_runtime_would_not_say(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soundflow.schemas.constants.LONGEST_RESPONSE_TOKENS", 1)
    recipe = write_recipe(tmp_path / "r.yaml", clips, streams=2, shards=1, tasks={"voice_chat": 1.0})
    assert build(recipe, tmp_path / "out", executor="inline").streams == 0
    [manifest] = BuildDir(tmp_path / "out").manifests()
    assert {one.reason for one in manifest.rejected} == {"response_too_long"}


@pytest.mark.parametrize(
    ("text", "why"), [("word " * 1200, "tokens, and the runtime ends a response after 1,024"), ("Hi.<|im_end|>", "<|im_end|>")]
)
def test_a_response_that_the_runtime_would_not_say_is_a_finding(spoken: dict[str, Path], text: str, why: str) -> None:
    plan, members, shard = next(found for found in plans(spoken["voice_chat"]) if found[0].responses)
    document = json.loads(members["json"])
    document["responses"][0]["pieces"][0]["text"] = document["responses"][0]["text"] = text
    forged = members | {"json": canonical_json(document), "tokens.npz": tokens_for(document)}
    _, found = checker(spoken["voice_chat"]).check(plan.sample_id, forged, shard)
    assert [detail for check, detail in found if check == "response" and why in detail]


def test_a_change_of_any_field_of_a_spoken_plan_is_reported(spoken: dict[str, Path]) -> None:
    words = {"task": [task.value for task in Task], "role": list(ClipRole), "kind": ["speech", "sound"]}
    words |= {"track": ["event", "ambient"], "token_layout": list(LAYOUTS), "language": ["", "fr"]}
    words |= {"translation_language": ["", "fr", "zh"]}
    unnoticed, tried = set(), 0
    for task in TASKS:
        holds = checker(spoken[task])
        plan, members, shard = min(plans(spoken[task]), key=lambda found: found[0].chunks)
        assert holds.check(plan.sample_id, members, shard)[1] == []
        only = set(json.loads(members["json"])) if task == TASKS[0] else {"clips", "responses", "task", "instruction"}
        for path, old in leaves(json.loads(members["json"])):
            for new in [value for value in words.get(path[-1], changed(old)[:1]) if value != old] if path[0] in only else ():
                document = json.loads(members["json"])
                node = document
                for name in path[:-1]:
                    node = node[name]
                node[path[-1]] = new
                tokens = members["tokens.npz"]
                with contextlib.suppress(Exception):
                    tokens = tokens_for(document) if document["chunks"] < 10_000 else tokens
                tried += 1
                forged = members | {"json": canonical_json(document), "tokens.npz": tokens}
                if not holds.check(plan.sample_id, forged, shard)[1]:
                    unnoticed.add((path, new))
    assert tried > 200 and unnoticed == set()


@pytest.mark.parametrize("how", ["earlier", "merged", "swapped", "dropped", "not running"])
def test_moved_words_are_reported_even_if_everything_else_agrees(spoken: dict[str, Path], how: str) -> None:
    plan, members, shard = plans(spoken["streaming_asr"])[0]
    document = json.loads(members["json"])
    responses = document["responses"]
    first, second = responses[0], responses[1]
    if how == "earlier":  # a word is written a chunk before it was heard
        moved = second["pieces"].pop(0)
        moved["evidence"] = first["chunk"] * 6_400
        first["pieces"].append(moved)
        responses[1:2] = [second] if second["pieces"] else []
    elif how == "merged":
        second["pieces"] = first["pieces"] + second["pieces"]
        del responses[0]
    elif how == "swapped":
        first["pieces"][-1]["text"], second["pieces"][0]["text"] = second["pieces"][0]["text"], first["pieces"][-1]["text"]
    elif how == "dropped":
        second["pieces"] = second["pieces"][1:] or second["pieces"]
        del responses[0]
    else:
        for piece in first["pieces"]:
            piece["joins"] = False
    for response in responses:
        response["text"] = " ".join(piece["text"] for piece in response["pieces"])
    forged = members | {"json": canonical_json(document), "tokens.npz": tokens_for(document)}
    assert checker(spoken["streaming_asr"]).check(plan.sample_id, forged, shard)[1]
