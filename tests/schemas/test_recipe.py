"""Recipes: error messages, and what the fingerprint covers."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from soundflow.schemas.base import InputError
from soundflow.schemas.recipe import Recipe, fingerprint

GOOD = {"clips": "clips", "streams": 10, "shards": 3, "tasks": {"voice_chat": 1.0}}

BAD = [
    ({"streems": 3}, "streems", 'Did you mean "streams"?'),
    ({"mixing": {"snr_dbb": [5, 20]}}, "mixing.snr_dbb", 'Did you mean "snr_db"?'),
    ({"streams": "forty"}, "streams", "valid integer"),
    ({"streams": 0}, "streams", "greater than 0"),
    ({"shards": 11}, "", "use at most one per stream"),
    ({"tasks": {"voice_chatt": 1}}, "tasks.voice_chatt", '"voice_chat"'),
    ({"tasks": {}}, "tasks", "at least 1"),
    ({"tasks": {"voice_chat": 0}}, "", "at least one task"),
    ({"mixing": {"snr_db": [20, 5]}}, "mixing.snr_db", "[low, high]"),
    ({"mixing": {"snr_db": [5, 500]}}, "mixing.snr_db.1", "less than or equal to 60"),
    ({"mixing": {"snr_db": "5-20dB"}}, "mixing.snr_db", "tuple"),
    ({"mixing": {"snr_db": [float("nan"), 5]}}, "mixing.snr_db.0", "finite"),
    ({"scene": {"gap_seconds": [0, 800]}}, "scene.gap_seconds.1", "120"),
    ({"scene": {"events": [0, 3]}}, "scene.events.0", "greater than or equal to 1"),
    ({"scene": {"planner": "gpt"}}, "scene.planner", "'template', 'random' or 'llm'"),
    ({"scene": {"planner": "llm"}}, "scene.planner", "add an `llm` section"),
    ({"llm": {"model": "m", "server": {"api_key": "sk-1"}}}, "llm.server.api_key", "api_key_env"),
    ({"scene": {"benign_share": 50}}, "scene.benign_share", "less than or equal to 1"),
    ({"output": {"audio": "mp3"}}, "output.audio", "'flac' or 'wav'"),
    ({"version": 2}, "version", "1"),
    ({"seed": -1}, "seed", "greater than or equal to 0"),
]


@pytest.mark.parametrize(("change", "field", "hint"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_recipe_is_refused_with_file_field_and_remedy(change: dict, field: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(GOOD | change))
    with pytest.raises(InputError) as caught:
        Recipe.from_yaml(path)
    assert str(path) in str(caught.value) and field in str(caught.value) and hint in str(caught.value)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"streams: [1,\n", "not valid YAML"),
        (b"- a\n- b\n", "mapping"),
        (b"", "mapping"),
        (b"\xff\xfe\x00name", "UTF-8"),
        (b"streams: 3", "Add 'clips'"),
        (b"clips: x\nstreams: 2020-99-99", "is read as a date"),
        (
            b"a: &a [x,x,x,x,x,x,x,x]\n"
            + b"".join(b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (n, n, *[n - 1] * 7) for n in range(98, 110)),
            "unknown field",
        ),
    ],
)
def test_the_error_for_an_invalid_file_names_it(content: bytes, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=str(path)) as caught:
        Recipe.from_yaml(path)
    assert hint in str(caught.value)


def test_a_missing_recipe_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        Recipe.from_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match="directory"):
        Recipe.from_yaml(tmp_path)


def test_shards_share_the_streams_and_lose_none() -> None:
    assert Recipe.model_validate(GOOD).shard_sizes() == [4, 3, 3]


def mark(**change: object) -> str:
    return fingerprint(Recipe.model_validate(GOOD | change), "1" * 64, "2" * 64, {"tfjp": "1", "mixing": "1"})


def test_the_fingerprint_ignores_what_shapes_no_bytes() -> None:
    assert mark() == mark(name="other", description="words", clips="/elsewhere")
    bag, curated = {"bag": [6, 3, 2]}, {"planner": "llm"}
    assert mark(scene=bag) == mark() and mark(llm={"model": "m"}, scene=curated) != mark(llm={"model": "m"}, scene=curated | bag)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"streams": 11},
        {"shards": 2},
        {"tasks": {"voice_chat": 2.0}},
        {"mixing": {"peak_limit": 0.5}},
        {"split": "test"},
    ],
    ids=str,
)
def test_the_fingerprint_covers_what_shapes_bytes(change: dict) -> None:
    assert mark() != mark(**change)


def test_the_fingerprint_covers_index_prompts_and_operators() -> None:
    recipe = Recipe.model_validate(GOOD)
    marks = {
        fingerprint(recipe, "1" * 64, "2" * 64, {"mixing": "1"}),
        fingerprint(recipe, "3" * 64, "2" * 64, {"mixing": "1"}),
        fingerprint(recipe, "1" * 64, "3" * 64, {"mixing": "1"}),
        fingerprint(recipe, "1" * 64, "2" * 64, {"mixing": "2"}),
    }
    assert len(marks) == 4


@pytest.mark.parametrize("twice", ["seed: 1\nseed: 2\n", "scene:\n  events: [3, 5]\n  events: [4, 6]\n"])
def test_a_duplicate_key_is_refused(twice: str) -> None:
    with pytest.raises(InputError, match=r"duplicate key.*line"):
        Recipe.from_text("clips: x\nstreams: 2\nshards: 1\ntasks: {voice_chat: 1}\n" + twice, file="r.yaml")


@pytest.mark.parametrize("field", ["name", "description"])
@pytest.mark.parametrize("character", ["\0", "\x1b", "\x7f", "\x9b"])
def test_control_characters_in_texts_for_reports_are_rejected(field: str, character: str) -> None:
    document = {"clips": "c", "streams": 1, "shards": 1, "tasks": {"event_description": 1.0}}
    Recipe.model_validate(document | {field: "A caf\u00e9,\tand\nanother line \U0001f600"})
    with pytest.raises(ValidationError, match="contains the control character"):
        Recipe.model_validate(document | {field: f"a{character}b"})
