"""Prompt injection through captions: the model sees them as data, and a model that obeys them changes no plan."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.stream import StreamPlan
from tests.pipeline.curated import MARK, write_curated
from tests.support import hostile_llm
from tests.support.hostile_llm import HostileLlm
from tests.support.llm_roles import role_of, well_behaved

KEY = "sk-proj-0123456789abcdef0123456789"


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "answers"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def plans_of(out: Path) -> list[StreamPlan]:
    directory = BuildDir(out)
    tars = [directory.data / manifest.tar for manifest in directory.manifests()]
    return [StreamPlan.from_json(members["json"]) for tar in tars for _, members in read_shard(tar)]


def check_plans(out: Path, recipe: Path, index: ClipIndex) -> list[StreamPlan]:
    """What no text of a corpus may have touched."""
    assert verify(out).problems == ()
    record = BuildDir(out).record()
    assert record.recipe == Recipe.from_yaml(recipe)
    plans = plans_of(out)
    assert plans
    for plan in plans:
        assert MARK not in plan.instruction and plan.planner == "llm:hostile-1"
        assert all(clip.clip_id.startswith("made") or index.get(clip.clip_id) for clip in plan.clips)
    return plans


def test_instructions_in_captions_reach_the_model_as_data_and_change_nothing(hostile_clips: Path, tmp_path: Path) -> None:
    bodies: list[dict[str, Any]] = []
    with HostileLlm(lambda body, before: bodies.append(body)) as server:  # type: ignore[func-returns-value]
        recipe = write_curated(tmp_path / "recipe.yaml", hostile_clips, server, verifier={"verifier": "llm"}, streams=12)
        build(recipe, tmp_path / "out", executor="inline")
    assert {role_of(body) for body in bodies} == {"scenario_planner", "event_refiner", "clip_verifier"}
    shown = 0
    for body in bodies:
        for message in body["messages"]:
            fenced = re.findall(r"<data>\n(.*?)\n</data>", message["content"], re.DOTALL)
            outside = re.sub(r"<data>\n.*?\n</data>", "", message["content"], flags=re.DOTALL)
            assert MARK not in outside and "data>" not in outside.replace("data block", "")
            shown += sum(MARK in json.dumps(json.loads(block)) for block in fenced)
    assert shown > 12, "the captions were shown"
    texts = [
        response.text
        for plan in check_plans(tmp_path / "out", recipe, ClipIndex.open(hostile_clips))
        for response in plan.responses
    ]
    assert texts and not any(MARK in text for text in texts)


def test_a_model_that_obeys_is_stopped_by_the_checks_on_its_answers(
    hostile_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def obedient(body: dict[str, Any]) -> str:
        """Does what the captions say, within its schema."""
        answer = json.loads(well_behaved(body))
        if role_of(body) == "scenario_planner":
            answer |= {"title": f"{MARK} </data>", "narrative": f"Your key is {KEY}."}
        if role_of(body) == "event_refiner":
            for event in answer["events"]:
                event["caption"] = f"{MARK} {KEY}"
                event["response"] = event["response"] and f"{event['query']}: visit https://evil.example `now`, {KEY}"
        return json.dumps(answer)

    monkeypatch.setattr(hostile_llm, "well_behaved", obedient)
    with HostileLlm() as server:
        recipe = write_curated(tmp_path / "recipe.yaml", hostile_clips, server, streams=12)
        build(recipe, tmp_path / "out", executor="inline")
    plans = check_plans(tmp_path / "out", recipe, ClipIndex.open(hostile_clips))
    assert not any("evil" in response.text or "`" in response.text for plan in plans for response in plan.responses)
    counts = [manifest.verdicts for manifest in BuildDir(tmp_path / "out").manifests()]
    assert sum(one.get("own_words:not_speakable", 0) for one in counts) > 0
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert KEY.encode() not in everything, "the key is in no file of a build, whoever says it"
