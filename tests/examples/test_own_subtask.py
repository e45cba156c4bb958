"""The example of a sub-task of one's own: it plans streams, and two edits register it."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundflow.operators.compose.clips import Palette
from soundflow.operators.compose.mixing import StreamIdentity, compose
from soundflow.operators.curate.planning import plan_scene
from soundflow.operators.tasks.supervision import find_disagreements
from soundflow.schemas.outcome import Ok
from soundflow.schemas.recipe import Recipe
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.scenes import LAYOUT, QUIET
from tests.support import ROOT
from tests.support.commandline import soundflow

EXAMPLE = ROOT / "examples" / "python" / "own_subtask.py"
LABELS = ("owl", "cow")


def burst(number: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(number).standard_normal(8_000)).astype(np.float32)


def test_the_script_prints_a_stream_of_an_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(6):
        path = tmp_path / "sounds" / LABELS[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, burst(number), 16_000)
    done = soundflow("clips", "index", tmp_path / "sounds", "-o", tmp_path / "clips", "--workers", 1)
    assert done.returncode == 0, done.stderr
    runpy.run_path(str(EXAMPLE))["main"](tmp_path / "clips")
    instruction, *events = capsys.readouterr().out.splitlines()
    assert "new kind of sound" in instruction or "first time" in instruction
    named = [line.partition("That is new: ")[2].removesuffix(".") for line in events if line.startswith("foreground")]
    assert len(named) >= 3 and sorted(filter(None, named)) == sorted({line.split(": ")[1].removesuffix(":") for line in events})


def test_its_streams_follow_from_their_clips_and_forged_ones_do_not() -> None:
    pool, policy = MemoryPool(), runpy.run_path(str(EXAMPLE))["NewSounds"]()
    for number in range(8):
        pool.add(f"clip-{number}", burst(number), label=LABELS[number % 2])
    document = {"clips": "x", "streams": 1, "shards": 1, "tasks": {policy.task.value: 1}, "scene": {"events": [4, 6]}}
    scene = plan_scene(Recipe.model_validate(document), Palette.of(pool), pool, np.random.default_rng(1), policy)
    assert isinstance(scene, Ok)
    mixed = compose(
        scene.value, StreamIdentity("sf-000000000000-000000-00000", "0" * 64, 0, 0), pool, QUIET, LAYOUT, np.random.default_rng(1)
    )
    assert isinstance(mixed, Ok)
    plan = mixed.value[0]
    assert len(plan.responses) == len({clip.label for clip in plan.clips}) and find_disagreements(plan, policy) == []
    assert find_disagreements(plan.model_copy(update={"responses": plan.responses[1:]}), policy)
    assert find_disagreements(plan), "the registered policy of the task must not accept it"


def test_two_edits_register_it(tmp_path: Path) -> None:
    (tmp_path / "soundflow").mkdir()
    shutil.copy(ROOT / "soundflow" / "__init__.py", tmp_path / "soundflow")
    for room in ("schemas", "prompts", "operators"):
        shutil.copytree(ROOT / room, tmp_path / "soundflow" / room, ignore=shutil.ignore_patterns("__pycache__"))
    own = EXAMPLE.read_text().partition("def main")[0].replace("Task.EVENT_DESCRIPTION", "Task.NEW_SOUNDS")
    own = "\n".join(line for line in own.splitlines() if "pipeline" not in line and "plan_scene" not in line)
    (tmp_path / "soundflow/operators/tasks/new_sounds.py").write_text(own)
    edit(tmp_path / "soundflow/schemas/taxonomy.py", "class Task(StrEnum):", '    NEW_SOUNDS = "new_sounds"', after='"""')
    edit(tmp_path / "soundflow/schemas/taxonomy.py", "_C.UNDERSTANDING: (", "            _T.NEW_SOUNDS,")
    registry = tmp_path / "soundflow/operators/tasks/__init__.py"
    edit(registry, "from soundflow.operators.tasks.music", "from soundflow.operators.tasks.new_sounds import NewSounds")
    edit(registry, "_ALL: Final", "    NewSounds(),")
    program = """
import numpy as np
from soundflow.operators.compose.clips import Palette
from soundflow.operators.curate.planning import plan_scene
from soundflow.schemas.recipe import Recipe
from tests.operators.compose.pool import MemoryPool
pool = MemoryPool()
for number in range(6):
    pool.add(str(number), np.random.default_rng(number).standard_normal(8_000) * 0.1, label="owl")
recipe = Recipe.model_validate({"clips": "x", "streams": 1, "shards": 1, "tasks": {"new_sounds": 1}})
scene = plan_scene(recipe, Palette.of(pool), pool, np.random.default_rng(0)).value
assert scene.task.capability == "understanding"
print(scene.task, sum(len(event.responses) for event in scene.events))
"""
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.returncode) == ("new_sounds 1\n", 0), done.stderr


def edit(path: Path, anchor: str, line: str, after: str = "") -> None:
    """Insert `line` behind the first line that has `anchor`, or behind the next one that has `after`."""
    lines = path.read_text().splitlines()
    place = next(number for number, text in enumerate(lines) if anchor in text)
    place = next(number for number in range(place + bool(after), len(lines)) if after in lines[number])
    path.write_text("\n".join([*lines[: place + 1], line, *lines[place + 1 :]]) + "\n")
