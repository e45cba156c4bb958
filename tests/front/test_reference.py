"""`soundflow tasks` and `soundflow schema`: the listing is complete, and the schemas accept the shipped documents only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from soundflow.schemas.taxonomy import SUB_TASKS, WHOLE, Capability
from tests.support import ROOT
from tests.support.commandline import soundflow

RECIPES = ("all-tasks", "authors_layout", "demo", "dialogue", "streamaudio-2m")
DOCUMENTS = [
    *(("recipe", ROOT / "examples" / f"{name}.yaml") for name in RECIPES),
    *(("speech", ROOT / "examples" / f"{name}.yaml") for name in ("speech", "all-tasks-speech")),
    *(("stage", path) for path in sorted((ROOT / "training" / "presets").rglob("*.yaml"))),
]


def schema(name: str) -> dict[str, Any]:
    done = soundflow("schema", name)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    jsonschema.Draft202012Validator.check_schema(document)
    return document


def test_tasks_lists_the_28_sub_tasks_and_7_capabilities_with_what_they_need() -> None:
    listing = json.loads(soundflow("tasks", "--json").stdout)
    assert [one["name"] for one in listing["capabilities"]] == list(Capability)
    assert [task["name"] for one in listing["capabilities"] for task in one["tasks"]] == [
        t for ts in SUB_TASKS.values() for t in ts
    ]
    assert [task["name"] for task in listing["general"]] == list(WHOLE)
    tasks = [task for one in listing["capabilities"] for task in one["tasks"]] + listing["general"]
    assert len(tasks) == 28 + 4
    for task in tasks:
        assert task["needs"] and task["summary"][0].isupper() and task["summary"].endswith(".")
    text = soundflow("tasks").stdout
    assert all(f"  {task['name']} " in text for task in tasks) and "Needs pieces of music." in text


@pytest.mark.parametrize(("name", "path"), DOCUMENTS, ids=lambda value: value if isinstance(value, str) else value.stem)
def test_the_schema_accepts_a_shipped_document(name: str, path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema(name))


@pytest.mark.parametrize(
    "change",
    [{"streems": 3}, {"tasks": {"voice_cht": 1}}, {"tasks": {}}, {"streams": 0}, {"scene": {"planner": "magic"}}],
    ids=str,
)
def test_the_schema_rejects_what_a_build_rejects(change: dict[str, Any]) -> None:
    recipe = yaml.safe_load((ROOT / "examples" / "demo.yaml").read_text(encoding="utf-8"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(recipe | change, schema("recipe"))


def test_an_editor_shows_the_meaning_of_a_field_and_completes_tasks() -> None:
    document = schema("recipe")
    assert "Relative weights" in document["properties"]["tasks"]["description"]
    assert "voice_chat" in document["properties"]["tasks"]["propertyNames"]["enum"]
    assert "voice_chat" not in json.dumps(schema("stage"))


def test_an_unknown_schema_is_a_usage_error() -> None:
    done = soundflow("schema", "corpus")
    assert done.returncode == 2 and "'recipe', 'stage', 'speech'" in done.stderr
