"""`clips list` and `clips stats`: labels with their numbers, decisions and sources, and the filters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from soundflow.cli.app import app
from soundflow.pipeline.clips.index import index_clips
from soundflow.pipeline.clips.overview import table_lines
from soundflow.pipeline.clips.table import ClipIndex
from soundflow.schemas.documents import to_yaml
from soundflow.schemas.recipe import Recipe
from tests.support.bad_audio import build, burst, wav

MANIFEST = """path,label,caption,role,split,decision,transcript
1.wav,dog bark,a dog barks twice,foreground,train,,
2.wav,Dog_Bark,IMG_2034,foreground,test,,
3.wav,siren,,foreground,train,,
4.wav,siren,,foreground,train,ignore,
5.wav,kettle,,background,train,,
6.wav,,,foreground,train,,Where is the station?
7.wav,d41d8cd98f00b204,,foreground,train,,
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("overview")
    build(root / "recordings", {f"{number}.wav": wav(burst(0.5, pitch=200 + 60 * number)) for number in range(1, 8)})
    (root / "recordings/m.csv").write_text(MANIFEST)
    index_clips([root / "recordings/m.csv"], root / "clips", workers=1)
    return root / "clips"


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def seconds(index: Path) -> float:
    return sum(clip.samples for clip in ClipIndex.open(index).clips()) / 16_000


def listed(index: Path, *options: str | Path) -> list[tuple[Any, ...]]:
    document = json.loads(run("clips", "list", index, "--json", *options))
    names = ("label", "clips", "role", "decision", "decision_source", "label_source")
    return [tuple(row[name] for name in names) for row in document["labels"]]


DOG = ("dog bark", 1, "foreground", "borderline", "taxonomy", "manifest")
DOG_2 = ("Dog_Bark", 1, "foreground", "borderline", "taxonomy", "manifest")
SIREN = ("siren", 1, "foreground", "respond", "taxonomy", "manifest")
IGNORED_SIREN = ("siren", 1, "foreground", "ignore", "manifest", "manifest")
KETTLE = ("kettle", 1, "background", "borderline", "taxonomy", "manifest")
SPEECH = ("speech", 1, "foreground", "", "", "transcript")
NAMELESS = ("", 1, "foreground", "borderline", "taxonomy", "")


def test_labels_are_listed_with_number_role_decision_and_source(index: Path) -> None:
    assert sorted(listed(index)) == sorted([DOG, DOG_2, SIREN, IGNORED_SIREN, KETTLE, SPEECH, NAMELESS])
    total = json.loads(run("clips", "list", index, "--json"))["total"]
    assert (total["clips"], total["labels"]) == (7, 5) and total["seconds"] == pytest.approx(seconds(index))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--label", "dog bark"), [DOG, DOG_2]),
        (("--label", "*bark", "--label", "kettle"), [DOG, DOG_2, KETTLE]),
        (("--role", "background"), [KETTLE]),
        (("--decision", "respond"), [SIREN]),
        (("--decision", "ignore"), [IGNORED_SIREN]),
        (("--split", "test"), [DOG_2]),
        (("--label-source", "transcript"), [SPEECH]),
        (("--text", "TWICE"), [DOG]),
        (("--text", "station"), [SPEECH]),
        (("--min-count", "2"), [SIREN, IGNORED_SIREN]),
        (("--max-count", "1", "--role", "background"), [KETTLE]),
        (("--source", "nowhere"), []),
    ],
)
def test_filters_select_labels(index: Path, options: tuple[str, ...], expected: list[tuple[Any, ...]]) -> None:
    assert sorted(listed(index, *options)) == sorted(expected)


def test_a_recipe_decides_where_the_manifest_does_not(index: Path, tmp_path: Path) -> None:
    run("init", tmp_path / "r.yaml", "--clips", index)
    recipe = Recipe.from_yaml(tmp_path / "r.yaml").model_dump(mode="json", exclude={"taxonomy"})
    recipe["taxonomy"] = {"kettle": "respond", "siren": "borderline"}
    (tmp_path / "r.yaml").write_text(to_yaml(recipe))
    found = listed(index, "--recipe", tmp_path / "r.yaml", "--label", "kettle", "--label", "siren")
    assert sorted((row[0], *row[3:5]) for row in found) == [
        ("kettle", "respond", "recipe"),
        ("siren", "borderline", "recipe"),
        ("siren", "ignore", "manifest"),
    ]


def test_the_list_is_a_table_with_a_total(index: Path) -> None:
    lines = run("clips", "list", index, "--role", "background").splitlines()
    assert lines[0].split() == ["label", "clips", "seconds", "role", "decision", "label", "source"]
    assert lines[1].split() == ["kettle", "1", "0.6", "background", "borderline", "manifest"]
    assert lines[2:] == ["1 label, 1 clip, 0.00 h"]
    assert run("clips", "list", index, "--source", "nowhere") == "0 labels, 0 clips, 0.00 h\n"


def test_left_out_texts_are_listed_and_counted(index: Path) -> None:
    output = run("clips", "list", index, "--unused")
    assert 'caption "IMG_2034"' in output and 'label "d41d8cd98f00b204"' in output and "0 labels" not in output
    stats = json.loads(run("clips", "stats", index, "--json"))
    assert stats["unused_captions"] == {"clips": 1, "examples": ["IMG_2034"]}
    assert stats["unused_labels"] == {"clips": 1, "examples": ["d41d8cd98f00b204"]}
    assert stats["unlabelled"] == 1 and stats["labels"] == 5
    text = run("clips", "stats", index)
    assert (
        '1 caption left out, because there are no words in it: "IMG_2034"' in text
        and "without a label: 1 foreground clip," in text
    )


def test_statistics_count_clips_by_property(index: Path) -> None:
    by = json.loads(run("clips", "stats", index, "--json"))["by"]
    counts = {name: {value: row["clips"] for value, row in values.items()} for name, values in by.items()}
    assert counts["role"] == {"background": 1, "foreground": 6}
    assert counts["decision"] == {"": 1, "borderline": 4, "ignore": 1, "respond": 1}
    assert counts["label_source"] == {"": 1, "manifest": 5, "transcript": 1}
    assert counts["split"] == {"test": 1, "train": 6}
    assert json.loads(run("clips", "stats", index, "--json", "--role", "background"))["clips"] == 1


def test_clips_are_listed_one_by_one_up_to_a_limit(index: Path) -> None:
    document = json.loads(run("clips", "list", index, "--json", "--clips", "--limit", "2"))
    assert [clip["id"] for clip in document["clips"]] == ["1.wav", "2.wav"] and document["total"]["clips"] == 7
    assert document["clips"][1]["unused_caption"] == "IMG_2034" and document["clips"][0]["caption"] == "a dog barks twice"


def test_columns_are_aligned_for_wide_and_combining_characters() -> None:
    rows = [("犬の鳴き声", "1"), ("कुत्ता", "20"), ("x" * 60, "3")]
    lines = table_lines(("label", "clips"), rows, right=(1,))
    assert lines[0] == "label" + " " * 43 + "  clips"
    assert lines[1] == "犬の鳴き声" + " " * 38 + "      1"
    assert lines[3] == "x" * 47 + "…" + "      3"


@pytest.mark.parametrize("command", ["list", "stats"])
def test_an_unknown_value_of_a_filter_is_reported_with_the_known_ones(index: Path, command: str) -> None:
    options = ("--label-source", "bogus", "--split", "tset")
    result = CliRunner().invoke(app, ["clips", command, str(index), *options])
    assert result.exit_code == 0 and result.stderr.splitlines() == [
        "note: --split: no clip of the index has 'tset'. Values: test, train",
        "note: --label-source: no clip of the index has 'bogus'. Values: manifest, transcript",
    ]
    assert CliRunner().invoke(app, ["clips", command, str(index), "--split", "test"]).stderr == ""
