"""Sets of one's own: the recipe decides, training is kept out by content, recordings are as they were; the example is whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from typer.testing import CliRunner

from soundflow.bench.experiments.learning.corpora import Spec, make_corpus
from soundflow.bench.experiments.learning.recordings import write_recordings
from soundflow.bench.proactive.build import Category, ProactiveRecipe, build, classify
from soundflow.bench.proactive.metadata import Decision, read_sounds
from soundflow.bench.proactive.multiple import read_manifest
from soundflow.cli.app import app
from soundflow.pipeline.clips.index import index_clips
from soundflow.schemas.base import InputError
from tests.bench.proactive_world import PUBLISHED
from tests.support import ROOT

EXAMPLE = ROOT / "examples" / "proactive_bench.yaml"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("proactive")
    write_recordings(root / "recordings", seed=0, per_class={"train": 1, "test": 1})
    index_clips([root / "recordings" / "manifest.csv"], root / "clips", workers=1)
    return root / "clips"


def recipe(root: Path, clips: Path, **changes: Any) -> Path:
    document = yaml.safe_load(EXAMPLE.read_text()) | {"clips": str(clips)} | changes
    path = root / "recipe.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_example_has_the_benchmarks_six_domains_and_seventeen_sub_categories() -> None:
    example = ProactiveRecipe.from_yaml(EXAMPLE)
    named = {(one.domain, one.category) for one in example.categories}
    assert named == {(domain, category) for domain, inner in PUBLISHED.items() for category in inner}
    assert all(one.about and one.respond for one in example.categories)


def test_the_longest_phrase_decides_and_what_fits_two_places_is_borderline() -> None:
    rail = Category(domain="Traffic", category="Large Traffic", respond=("train horn",), ignore=("train",))
    road = Category(domain="Traffic", category="Traffic", respond=("horn",), ignore=("bell",))
    assert classify("train_horn", "", [rail, road]) == (rail, Decision.RESPOND)
    assert classify("Train", "a train passes", [rail, road]) == (rail, Decision.IGNORE)
    assert classify("horn", "a car horn", [rail, road]) == (road, Decision.RESPOND)
    assert classify("bell horn", "", [rail, road]) == "borderline" and classify("cat", "", [rail, road]) == "unmatched"


def test_a_set_is_the_recipes_clips_as_they_were_recorded(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    record = build(recipe(tmp_path, clips, split="test"), out)
    sounds = read_sounds(out / "meta.jsonl", out / "responses.jsonl")
    assert record["sounds"] == len(sounds) == 12 and record["respond"] == record["ignore"] == 6
    assert all(bool(sound.standard_answers) == (sound.decision is Decision.RESPOND) for sound in sounds)
    provenance = {row["id"]: row for row in map(json.loads, (out / "provenance.jsonl").read_text().splitlines())}
    for sound in sounds:
        source = clips.parent / "recordings" / provenance[sound.id]["clip"]
        made, rate = soundfile.read(sound.file(out), dtype="float32")
        taken, _ = soundfile.read(source, dtype="float32")
        assert rate == 16_000 and len(made) == len(taken)
        assert np.abs((made - made.mean()) - (taken - taken.mean())).max() < 2e-3, "no cleaning, no level"
    names = [name for stream in read_manifest(out / "multiple.jsonl", sounds) for name in stream.sounds]
    assert sorted(names) == sorted(sound.id for sound in sounds)


def test_the_same_recipe_gives_the_same_bytes_and_another_is_refused(clips: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for out in (first, second):
        build(recipe(tmp_path, clips), out)
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files and all((first / path).read_bytes() == (second / path).read_bytes() for path in files)
    next((first / "proactive-sound-effect").rglob("*.wav")).unlink()
    (first / "meta.jsonl").write_text("half")
    build(recipe(tmp_path, clips), first)  # as after a kill
    assert all((first / path).read_bytes() == (second / path).read_bytes() for path in files)
    with pytest.raises(InputError, match="contains another test set"):
        build(recipe(tmp_path, clips, seed=8), first)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="is not empty"):
        build(recipe(tmp_path, clips), tmp_path / "mine")


def test_what_a_corpus_was_made_of_is_kept_out_by_content(clips: Path, tmp_path: Path) -> None:
    spec = Spec("train", 12, {"proactive_respond": 1.0}, {"events": [4, 6], "max_seconds": 24})
    corpus = make_corpus(tmp_path, "corpus", spec, seed=1, clips=str(clips))
    record = build(recipe(tmp_path, clips), tmp_path / "set", [corpus])
    assert record["left_out"]["heard in training"] >= 6 and record["not_in"]
    plans = [json.loads(line)["content_sha256"] for line in (tmp_path / "set" / "provenance.jsonl").read_text().splitlines()]
    from soundflow.training.corpus import StoredCorpus

    source = StoredCorpus(corpus)
    used = {clip.content_sha256 for index in range(12) for clip in source.plan(0, index).clips}
    assert not used & set(plans)


def test_a_sound_under_two_labels_is_borderline_where_they_disagree(clips: Path, tmp_path: Path) -> None:
    recordings = clips.parent / "recordings"
    for label, source in (("siren", "siren"), ("rain", "siren"), ("wind", "wind"), ("drizzle", "wind")):
        (tmp_path / "mine" / label).mkdir(parents=True)
        shutil.copy(recordings / f"{source}-test-000.wav", tmp_path / "mine" / label / "a.wav")
    index_clips([tmp_path / "mine"], tmp_path / "index", workers=1)
    record = build(EXAMPLE, tmp_path / "set", clips=tmp_path / "index")
    assert record["sounds"] == 1 and record["left_out"] == {"borderline": 2, "doubled": 1}


def test_a_recording_that_changed_or_went_is_rejected(clips: Path, tmp_path: Path) -> None:
    copied = tmp_path / "world"
    shutil.copytree(clips.parent / "recordings", copied / "recordings")
    index_clips([copied / "recordings" / "manifest.csv"], copied / "clips", workers=1)
    victim = copied / "recordings" / "siren-test-000.wav"
    victim.write_bytes((copied / "recordings" / "rain-test-000.wav").read_bytes())
    with pytest.raises(InputError, match=r"siren-test-000\.wav.*has changed"):
        build(recipe(tmp_path, copied / "clips"), tmp_path / "set")
    victim.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        build(recipe(tmp_path, copied / "clips"), tmp_path / "other")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": []}, "categories"),
        ({"categories": [{"domain": "A", "category": "B"}] * 2}, "duplicate sub-category"),
        ({"categories": [{"domain": "A/..", "category": "B"}]}, "domain"),
        ({"per_sides": 3}, 'Did you mean "per_side"'),
        ({"split": "dev"}, "no clip is left: 30 of another split"),
    ],
)
def test_a_bad_recipe_is_rejected(changes: dict[str, Any], message: str, clips: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        build(recipe(tmp_path, clips, **changes), tmp_path / "set")


def test_the_command_says_what_was_left_out(clips: Path, tmp_path: Path) -> None:
    command = ["bench", "proactive", "build", str(recipe(tmp_path, clips, per_side=1)), "-o", str(tmp_path / "set")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0 and "above per_side" in result.output and "--not-in" in result.output
    assert json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["sounds"] < 24
