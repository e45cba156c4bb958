"""verify on spoken streams: words, dialogues and translations are held against the index like everything else."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.build_dir import BuildDir
from pipeline.clip_align import align_clips
from pipeline.clip_index import ClipIndex, index_clips
from pipeline.run import build
from pipeline.scenes import scenes_of
from pipeline.shards import read_shard
from pipeline.verify import verify
from pipeline.verify_sample import SampleChecker
from schemas.base import canonical_json
from schemas.clip import ClipRole
from schemas.stream import StreamPlan
from schemas.taxonomy import Task
from schemas.tokens import LAYOUTS
from tests.conftest import SENTENCES
from tests.corpus import write_recipe
from tests.pipeline.test_verify import changed, leaves, tokens_for

TASKS = ("voice_chat", "streaming_asr", "simultaneous_interpretation")
CHINESE = {
    "question": "明天早上天气怎么样？",
    "request": "出门前请把暖气调低。",
    "long": "风暴从海上袭来，到了晚上，城里的每条街道都被水淹没了。",
    "short": "停止音乐。",
}


@pytest.fixture(scope="module")
def spoken(real_audio: dict[str, np.ndarray], sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of the three sub-tasks about speech; every column about speech is filled."""
    root = tmp_path_factory.mktemp("spoken")
    (root / "speech").mkdir()
    rows = []
    for number, name in enumerate(("question", "request", "long", "short")):
        soundfile.write(root / "speech" / f"{name}.wav", real_audio[name], 16_000)
        about = {"transcript": SENTENCES[name], "reply": f"reply {number}", "language": "en-GB", "dialogue": "d", "turn": number}
        about |= {"translation": CHINESE[name], "translation_language": "zh-CN", "voice": "heart", "licence": "CC0-1.0"}
        rows.append({"path": f"{name}.wav", "label": "speech"} | about)
    (root / "speech" / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    index_clips([root / "speech", sources / "owl", sources / "noise"], root / "clips", workers=1)
    assert align_clips(root / "clips", workers=1).aligned == 4
    recipe = write_recipe(
        root / "r.yaml", root / "clips", streams=6, shards=2, tasks=dict.fromkeys(TASKS, 1.0), scene={"events": [2, 2]}
    )
    build(recipe, root / "out", executor="inline")
    return root / "out"


def plans(directory: Path) -> list[tuple[StreamPlan, dict[str, bytes], int]]:
    found = []
    for manifest in BuildDir(directory).manifests():
        for _, members in read_shard(BuildDir(directory).data / manifest.tar):
            found.append((StreamPlan.from_json(members["json"]), members, manifest.shard))
    return found


@pytest.fixture(scope="module")
def checker(spoken: Path) -> SampleChecker:
    record = BuildDir(spoken).record()
    index = ClipIndex.open(Path(record.clips))
    return SampleChecker(record, index, scenes_of(record.recipe, record.fingerprint, index, BuildDir(spoken)))


def test_the_three_sub_tasks_about_speech_are_built_and_verified(spoken: Path) -> None:
    report = verify(spoken, sample=6)
    assert report.ok and report.streams == 6
    assert {plan.task.value for plan, _, _ in plans(spoken)} == set(TASKS)
    assert any(len(response.pieces) > 1 for plan, _, _ in plans(spoken) for response in plan.responses)


def test_no_field_of_a_spoken_plan_can_be_changed_untold(spoken: Path, checker: SampleChecker) -> None:
    words = {"task": [task.value for task in Task], "role": list(ClipRole), "kind": ["speech", "sound"]}
    words |= {"track": ["event", "ambient"], "token_layout": list(LAYOUTS), "language": ["", "fr"]}
    words |= {"translation_language": ["", "fr", "zh"]}
    seen, untold, tried = set(), set(), 0
    for plan, members, shard in sorted(plans(spoken), key=lambda found: found[0].chunks):
        if plan.task in seen:
            continue
        seen.add(plan.task)
        assert checker.check(plan.sample_id, members, shard)[1] == []
        only = {"clips", "responses", "task", "instruction"} if len(seen) > 1 else set(json.loads(members["json"]))
        for path, old in leaves(json.loads(members["json"])):
            if path[0] not in only:
                continue
            for new in [value for value in words.get(path[-1], changed(old)[:1]) if value != old]:
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
                if not checker.check(plan.sample_id, forged, shard)[1]:
                    untold.add((path, new))
    assert len(seen) == 3 and tried > 200 and untold == set()


@pytest.mark.parametrize("how", ["earlier", "merged", "swapped", "dropped", "not running"])
def test_words_moved_by_a_forger_who_makes_everything_agree_are_told(spoken: Path, checker: SampleChecker, how: str) -> None:
    plan, members, shard = next(found for found in plans(spoken) if found[0].task is Task.STREAMING_ASR)
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
    assert checker.check(plan.sample_id, forged, shard)[1]
