"""`clips interpret`: segments are written into the index, each clip costs one call, faults and budgets lose nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.clips.align import align_clips
from soundflow.pipeline.clips.index import ClipIndex, index_clips
from soundflow.pipeline.clips.interpret import InterpretSummary, interpret_clips
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import BudgetSpent, LlmConfig
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.text import join_texts
from tests.conftest import SENTENCES
from tests.operators.curate.chats import key as key
from tests.support.commandline import soundflow
from tests.support.corpus import write_recipe
from tests.support.hostile_llm import Fault, HostileLlm, always, once

CHINESE = "风暴从海上袭来，到了晚上，城里的每条街道都被水淹没了。"


@pytest.fixture(scope="module")
def aligned(real_audio: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An aligned index: one clip with a translation, three without."""
    root = tmp_path_factory.mktemp("interpreted")
    (root / "speech").mkdir()
    rows: list[dict[str, Any]] = []
    for name, samples in real_audio.items():
        soundfile.write(root / "speech" / f"{name}.wav", samples, 16_000)
        rows.append({"path": f"{name}.wav", "id": name, "label": "speech", "transcript": SENTENCES[name], "language": "en"})
        if name == "long":
            rows[-1] |= {"translation": CHINESE, "translation_language": "zh"}
    (root / "speech" / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    index_clips([root / "speech"], root / "clips", workers=1)
    align_clips(root / "clips", workers=1)
    return root


@pytest.fixture
def clips(aligned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(aligned / "clips", tmp_path / "clips"))


def run(clips: Path, server: HostileLlm, into: str = "", **llm: Any) -> InterpretSummary:
    config = LlmConfig.model_validate({"model": "m", "server": server.settings(), **llm})
    return interpret_clips(clips, config, into=into, answers=AnswerCache(clips.parent / "answers"))


def test_a_translation_is_cut_by_the_model_and_what_has_none_is_left_alone(clips: Path) -> None:
    with HostileLlm() as server:
        summary = run(clips, server)
    index = ClipIndex.open(clips)
    long = index.get("long")
    assert (summary.clips, summary.interpreted, summary.new) == (1, 1, 1) and summary.content_hash == index.content_hash
    assert len(long.segments) > 1 and join_texts(segment.text for segment in long.segments) == CHINESE == long.translation
    assert long.interpreter == "cut:llm:m" and index.get("question").translation is None and index.check() == []


def test_with_a_language_every_clip_is_interpreted_and_the_stream_says_who_did(clips: Path, tmp_path: Path) -> None:
    with HostileLlm() as server:
        assert run(clips, server, "fr").interpreted == 4
    assert ClipIndex.open(clips).get("short").translation == "[Stop the music.]"
    recipe = write_recipe(
        tmp_path / "r.yaml", clips, streams=12, shards=1, tasks={"simultaneous_interpretation": 1.0}, scene={"events": [1, 3]}
    )
    build(recipe, tmp_path / "out", executor="inline")
    assert verify(tmp_path / "out", sample=2).ok
    (manifest,) = BuildDir(tmp_path / "out").manifests()
    plans = [StreamPlan.from_json(members["json"]) for _, members in read_shard(tmp_path / "out" / "data" / manifest.tar)]
    pieces = [piece for plan in plans for response in plan.responses for piece in response.pieces]
    assert {piece.source for piece in pieces} <= {"llm:m", "cut:llm:m"} and "llm:m" in {piece.source for piece in pieces}


def test_nothing_is_asked_twice_and_indexing_again_keeps_the_segments(aligned: Path, clips: Path) -> None:
    with HostileLlm() as server:
        first = run(clips, server, "fr")
        before = sum(server.seen.values())
        again = run(clips, server, "fr")
        assert sum(server.seen.values()) == before and again.new == 0 and again.content_hash == first.content_hash
    assert index_clips([aligned / "speech"], clips, workers=1).content_hash == first.content_hash
    assert align_clips(clips, workers=1).content_hash == first.content_hash
    (clips / "working.sqlite").unlink()
    align_clips(clips, workers=1)
    with HostileLlm(always(Fault.ERROR_500)) as dead:  # answers are kept: no server is needed
        assert run(clips, dead, "fr").content_hash == first.content_hash


def test_bad_answers_are_listed_the_rest_goes_on_and_another_model_is_asked_again(clips: Path) -> None:
    def script(body: dict[str, Any], before: int) -> Fault | None:
        return Fault.WRONG_SCHEMA if "Stop the music" in json.dumps(body) else None

    with HostileLlm(script) as server:
        summary = run(clips, server, "fr")
    assert summary.interpreted == 3 and summary.uninterpreted == {"llm_wrong_schema": 1}
    (line,) = map(json.loads, (clips / "uninterpreted.jsonl").read_text().splitlines())
    assert line["id"] == "short" and not ClipIndex.open(clips).get("short").segments
    with HostileLlm() as server:
        assert run(clips, server, "fr", model="other").new == 4
    assert ClipIndex.open(clips).get("short").interpreter == "llm:other"


def test_network_faults_are_retried_and_a_dead_server_by_the_next_run(clips: Path) -> None:
    settings = {"retries": 2, "backoff_seconds": 0.01, "timeout_seconds": 5.0}
    with HostileLlm(once(Fault.ERROR_500)) as server:
        config = LlmConfig.model_validate({"model": "m", "server": server.settings(**settings)})
        assert interpret_clips(clips, config, answers=AnswerCache(clips.parent / "a")).interpreted == 1
    with HostileLlm(always(Fault.RESET)) as server:
        config = LlmConfig.model_validate({"model": "m2", "server": server.settings(**settings)})
        summary = interpret_clips(clips, config, answers=AnswerCache(clips.parent / "a"))
    assert summary.uninterpreted == {"failed": 1} and not ClipIndex.open(clips).get("long").segments
    with HostileLlm() as server:
        config = LlmConfig.model_validate({"model": "m2", "server": server.settings(**settings)})
        assert interpret_clips(clips, config, answers=AnswerCache(clips.parent / "a")).interpreted == 1


def test_a_spent_budget_keeps_what_was_answered_and_the_index_as_it_was(clips: Path) -> None:
    older = ClipIndex.open(clips).content_hash
    with HostileLlm() as server:
        with pytest.raises(BudgetSpent):
            run(clips, server, "fr", budget={"calls": 2})
        assert ClipIndex.open(clips).content_hash == older
        before = sum(server.seen.values())
        assert run(clips, server, "fr", budget={"calls": 9}).interpreted == 4
        assert sum(server.seen.values()) - before <= 2


def test_the_command_says_what_is_missing_and_what_was_done(clips: Path, clips_dir: Path, tmp_path: Path) -> None:
    with HostileLlm() as server:
        settings = json.loads(LlmConfig.model_validate({"model": "m", "server": server.settings()}).model_dump_json())
        (tmp_path / "r.yaml").write_text(yaml.safe_dump({"llm": {"model": "m", "server": settings["server"]}}))
        refused = soundflow("clips", "interpret", clips_dir, "--recipe", tmp_path / "r.yaml")
        assert refused.returncode == 2 and "clips align" in refused.stderr
        done = soundflow("clips", "interpret", clips, "--recipe", tmp_path / "r.yaml", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["interpreted"] == 1


def test_an_index_that_is_not_aligned_is_rejected(clips_dir: Path) -> None:
    with HostileLlm() as server, pytest.raises(InputError, match="clips align"):
        run(clips_dir, server, "fr")
