"""Recipes, pages of configuration and answers of language models."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from soundflow.schemas.recipe import Recipe
from tests.fuzz.harness import command, throw
from tests.fuzz.mutations import damaged_json, damaged_text
from tests.support import ROOT
from tests.support.corpus import write_recipe

pytestmark = pytest.mark.timeout(method="thread")  # the harness uses the alarm


def test_recipes(clips_dir: Path, tmp_path: Path) -> None:
    recipes = [path.read_bytes() for path in sorted((ROOT / "examples").glob("*.yaml"))]
    small = write_recipe(tmp_path / "small.yaml", clips_dir, streams=2, shards=1)
    import yaml

    documents = [yaml.safe_load(text) for text in recipes if b"tasks:" in text]

    def attempt(rng: random.Random) -> str:
        data = damaged_text(rng.choice(recipes), rng) if rng.random() < 0.5 else damaged_json(rng.choice(documents), rng)
        path = tmp_path / "recipe.yaml"
        path.write_bytes(data)
        Recipe.from_yaml(path)
        return "accepted"

    outcomes = throw("recipes", 100, attempt)
    assert outcomes["named error"] and outcomes["accepted"], outcomes
    assert command("estimate", small) == "accepted"


def test_a_recipe_at_the_command_line(clips_dir: Path, tmp_path: Path) -> None:
    small = write_recipe(tmp_path / "small.yaml", clips_dir, streams=2, shards=1).read_bytes()

    def attempt(rng: random.Random) -> str:
        path = tmp_path / "recipe.yaml"
        path.write_bytes(damaged_text(small, rng))
        return command("estimate", path)

    assert throw("recipes, on the command line", 30, attempt)["named error"]
