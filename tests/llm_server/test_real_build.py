"""A whole build whose scenes a real language model plans (llama.cpp, 0.5 B parameters): the machinery is judged, not the taste.

What came of every question is shown at the end of `make test-llm` and kept in build/test-llm.json.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from soundflow.operators.tasks.supervision import MODEL_PREFIX
from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.clips.index import index_clips
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.start.demo_data import prepare_demo
from soundflow.schemas.llm import RoleCost
from soundflow.schemas.sheet import Curation
from tests.llm_server.conftest import KEY
from tests.llm_server.conftest import MODEL as WEIGHTS
from tests.support.corpus import corpus, write_recipe

pytestmark = pytest.mark.llm_server
STREAMS, SHARDS = 4, 1


@pytest.fixture(autouse=True)
def _answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "answers"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the demo's recordings (assets; what cannot be had is procedural and says so)."""
    root = tmp_path_factory.mktemp("demo")
    index_clips([prepare_demo(root / "recordings").manifest], root / "clips", workers=1)
    return root / "clips"


def write_real(path: Path, clips: Path, url: str) -> Path:
    """Short scenes of small bags, narrowed answers; questions one after the other, as the server answers them. Clips are judged
    by rules: so small a model is no judge."""
    server = {"base_url": url, "concurrency": 1, "timeout_seconds": 600, "retries": 1}
    llm = {
        "model": WEIGHTS.stem,
        "max_tokens": 800,
        "send_seed": True,
        "json_mode": "json_narrow",
        "server": server,
        "budget": {"calls": 200},
    }
    scene = {"planner": "llm", "events": [3, 4], "bag": [6, 3, 2]}
    tasks = dict.fromkeys(("event_description", "proactive_respond", "voice_chat"), 1.0)
    more = {"generation": {"backend": "procedural"}, "retrieval": {"embedder": "auto"}}
    return write_recipe(path, clips, streams=STREAMS, shards=SHARDS, scene=scene, tasks=tasks, llm=llm, **more)


def curations(out: Path) -> list[Curation]:
    """Every attempt at a scene, in order."""
    directory = BuildDir(out)
    sheets = [directory.sheet(shard, directory.record().fingerprint) for shard in range(SHARDS)]
    return [attempt for sheet in sheets if sheet for sample in sheet.samples for attempt in sample.curations]


def test_a_build_of_a_real_model_accounts_for_every_sample_and_asks_nothing_twice(
    real_llm: str, recordings: Path, figures: list[dict[str, Any]], tmp_path: Path
) -> None:
    recipe, out = write_real(tmp_path / "recipe.yaml", recordings, real_llm), tmp_path / "out"
    begin = time.perf_counter()
    status = build(recipe, out, executor="inline")
    seconds = time.perf_counter() - begin
    assert status.shards.committed == SHARDS and status.shards.failed == 0

    manifests = BuildDir(out).manifests()
    assert all(len(one.keys) + len(one.rejected) == one.planned and not one.quarantined for one in manifests)
    assert all(entry.reason for one in manifests for entry in one.rejected)
    assert verify(out).problems == ()

    attempts = curations(out)
    planned = [attempt for attempt in attempts if attempt.title]
    refined = [attempt for attempt in planned if not attempt.refused.startswith("llm_")]
    cost = sum((one for manifest in manifests for one in manifest.cost.values()), RoleCost())
    assert cost.asked.calls >= len(attempts) and cost.replayed.calls == 0
    assert any(attempt.scene is not None for attempt in attempts), [(one.refused, one.detail) for one in attempts]
    said = [answer for one in attempts if one.scene for event in one.scene.events for answer in event.responses]
    worded = sum(answer.source.startswith(MODEL_PREFIX) for answer in said)
    events = [event for attempt in refined for event in attempt.events]
    figures.append(
        {
            "build": f"{STREAMS} streams",
            "committed": sum(len(one.keys) for one in manifests),
            "rejected": sum(len(one.rejected) for one in manifests),
            "attempts": len(attempts),
            "planned": f"{len(planned)}/{len(attempts)}",
            "refined": f"{len(refined)}/{len(planned)}",
            "grounded": sum(attempt.scene is not None for attempt in attempts),
            "words of the model": f"{worded}/{len(said)}",
            "refused": dict(Counter(attempt.refused for attempt in attempts if attempt.refused)),
            "events": dict(Counter(event.how for event in events)),
            "calls": cost.asked.calls,
            "input tokens": cost.asked.input_tokens,
            "output tokens": cost.asked.output_tokens,
            "seconds": round(seconds),
        }
    )

    again = build(recipe, tmp_path / "again", executor="inline")
    assert again.shards.committed == SHARDS and corpus(tmp_path / "again") == corpus(out)
    costs = [one for manifest in BuildDir(tmp_path / "again").manifests() for one in manifest.cost.values()]
    assert sum(one.asked.calls for one in costs) == 0
    assert sum(one.replayed.calls for one in costs) == cost.asked.calls
