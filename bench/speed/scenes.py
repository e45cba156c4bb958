"""Speed of curating scenes with replayed answers: bag, requests, retrieval, verifier and the committed sheet."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import soundfile

from soundflow.backends.calls.answers import CachedChat
from soundflow.backends.calls.metering import CostLedger
from soundflow.backends.sounds.procedural import plan_sound, render
from soundflow.backends.sounds.procedural.catalogue import SOUNDS
from soundflow.bench.harness import measure as bench
from soundflow.operators.protocols.chat import ChatRequest, Completion
from soundflow.pipeline.build.curator import curating
from soundflow.pipeline.build.run import plan_build
from soundflow.pipeline.build.worker import Job
from soundflow.pipeline.clips.index import index_clips
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.schemas import constants as c
from soundflow.schemas.documents import json_value
from soundflow.schemas.llm import LlmConfig, Usage
from soundflow.schemas.outcome import Ok

SCENES: Final = 64
TAKES: Final = 3
"""Clips per procedural sound."""
STEADY: Final = frozenset("rain wind stream waves fire crickets hum fan engine_idle".split())
SECTION: Final = {"model": "none", "server": {"base_url": "http://127.0.0.1:9/v1", "retries": 0}}
"""No server listens at this address, so any call that is not replayed fails."""


class ScriptedPlanner:
    """Stand-in for the model that fills the cache: plans the first sounds of its bag."""

    def __init__(self, config: LlmConfig):
        self.config = config

    async def complete(self, request: ChatRequest) -> Completion:
        """Return a scenario of up to five events, or its refinement."""
        found = re.search(r"<data>\n(.*?)\n</data>", request.messages[-1].text, re.DOTALL)
        assert found is not None
        data = json_value(found[1])
        answer = _scenario(data) if request.role == "scenario_planner" else _refinement(data["events"])
        return Completion(json.dumps(answer), "stop", "none", Usage(calls=1, input_tokens=900, output_tokens=600))


def _scenario(bag: list[dict[str, Any]]) -> dict[str, Any]:
    events = [
        {"order": order, "role": "foreground", "sound": one["sound"], "responds": True, "why": "It happens next."}
        for order, one in enumerate(bag[:5], 1)
    ]
    return {"title": "A day", "setting": "a house, in the morning", "narrative": "One thing after the other.", "events": events}


def _refinement(events: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "events": [
            {
                "order": event["order"],
                "query": event["sound"],
                "caption": f"{event['sound']} close by",
                "min_seconds": 0.3,
                "max_seconds": 10.0,
                "response": f"That was {event['sound']}.",
            }
            for event in events
        ]
    }


def scenes(runs: int) -> bench.Part:
    """Measure scenes per second and milliseconds per scene, with all answers replayed."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        recipe = _recipe(root)
        record, index = plan_build(recipe)

        def job(name: str) -> Job:
            return Job(root / name, index.reference, record.recipe, record.fingerprint, record.curators, root / "answers")

        asyncio.run(_sheet(job("filled"), ScriptedPlanner(LlmConfig.model_validate(SECTION))))
        sheets = iter(range(1_000_000))
        candidates = {f"scenes: a sheet of {SCENES}": lambda: asyncio.run(_sheet(job(f"run-{next(sheets)}")))}
        medians = bench.compare("scenes", candidates, runs)["medians"]
        latencies, made = asyncio.run(_one_by_one(job("single")))
    (seconds,) = medians.values()
    notes = {"scenes_per_second": round(SCENES / seconds, 1), "scenes_with_a_scene": f"{made}/{SCENES}"}
    notes |= {f"scene_p{100 * share:g}_ms": round(1000 * bench.quantile(latencies, share), 2) for share in (0.5, 0.99)}
    return bench.Part((), medians, notes)


async def _sheet(job: Job, model: ScriptedPlanner | None = None) -> None:
    """Curate and commit the only sheet of a job."""
    async with curating(job) as curator:
        if model is not None:
            curator.chat = CachedChat(model, AnswerCache(job.answers), CostLedger())
        sheet = await curator.sheet(0)
    if any(sample.failed for sample in sheet.samples):
        raise RuntimeError(f"a scene failed: {next(sample.failed for sample in sheet.samples if sample.failed)}")


async def _one_by_one(job: Job) -> tuple[list[float], int]:
    """Return the seconds of each scene, and the number of scenes that were planned."""
    taken, made = [], 0
    async with curating(job) as curator:
        for place in range(SCENES):
            begin = time.perf_counter()
            (sample,) = await curator.samples([(0, place)])
            taken.append(time.perf_counter() - begin)
            made += sample.curations[-1].scene is not None
    return taken, made


def _recipe(root: Path) -> Path:
    """Write a recipe over an index of procedural sounds."""
    rows = []
    for number, name in enumerate(SOUNDS):
        for take in range(TAKES):
            planned = plan_sound(name.replace("_", " "), (1.0, 4.0), 100 * number + take)
            if isinstance(planned, Ok):
                path = root / "sounds" / f"{name}-{take}.wav"
                path.parent.mkdir(exist_ok=True)
                soundfile.write(path, render(planned.value), c.SAMPLE_RATE)
                role = "ambient" if name in STEADY else "foreground"
                rows.append({"path": str(path.relative_to(root)), "label": name.replace("_", " "), "role": role})
    manifest = root / "sounds.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    index_clips([manifest], root / "clips", workers=1)
    document = {
        "clips": "clips",
        "streams": SCENES,
        "shards": 1,
        "tasks": {"event_description": 1.0},
        "scene": {"planner": "llm", "events": [3, 5]},
        "llm": SECTION,
        "retrieval": {"embedder": "ngrams"},
        "generation": {"backend": "procedural"},
    }
    path = root / "recipe.yaml"
    path.write_text(json.dumps(document))
    return path
