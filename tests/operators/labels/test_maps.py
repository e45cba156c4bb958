"""Label maps: those in the package, and files of users with their errors."""

from __future__ import annotations

import csv
import os
from importlib import resources
from pathlib import Path

import pytest

from soundflow.operators.labels.maps import SHIPPED, LabelMap, label_of_esc50_file, label_of_id
from soundflow.operators.labels.words import has_no_name
from soundflow.schemas.base import InputError


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("audioset", "/m/0bt9lr", "dog"),
        ("audioset", "/m/05tny_", "bark"),
        ("audioset", "/t/dd00125", "inside a small room"),
        ("audioset", "Dog", "dog"),
        ("audioset", "Male speech, man speaking", "man speaking"),
        ("audioset", "Ambulance (siren)", "ambulance siren"),
        ("audioset", "chirp, tweet", "chirp"),
        ("esc50", "0", "dog"),
        ("esc50", "45", "train"),
        ("esc50", "49", "hand saw"),
        ("esc50", "door_wood_knock", "door knock"),
        ("esc50", "Crackling fire", "crackling fire"),
        ("fsd50k", "Walk_and_footsteps", "footsteps"),
        ("fsd50k", "Zipper_(clothing)", "zipper"),
        ("fsd50k", "hi-hat", "hi hat"),
        ("fsd50k", "Fixed-wing_aircraft_and_airplane", "airplane"),
    ],
)
def test_shipped_maps_know_the_classes_of_their_datasets(name: str, old: str, new: str) -> None:
    assert LabelMap.open(name).find(old) == new


@pytest.mark.parametrize(("name", "rows"), [("audioset", 1200), ("esc50", 100), ("fsd50k", 200)])
def test_shipped_maps_are_complete_and_give_names(name: str, rows: int) -> None:
    text = resources.files("soundflow.operators.labels").joinpath(f"{name}.csv").read_text(encoding="utf-8")
    pairs = list(csv.DictReader(text.splitlines()))
    assert len(pairs) >= rows and name in SHIPPED
    assert not [pair for pair in pairs if has_no_name(pair["new"]) or pair["new"] != pair["new"].lower().strip()]
    labels = LabelMap.open(name)
    assert not [pair for pair in pairs if labels.find(pair["old"]) != pair["new"]]


@pytest.mark.parametrize(
    ("stem", "label"),
    [
        ("1-100032-A-0", "dog"),
        ("5-9032-B-49", "hand saw"),
        ("3-1-A-45", "train"),
        ("1-100032-A-50", None),
        ("6-1-A-0", None),
        ("1-100032-A-007", None),
        ("dog-1", None),
    ],
)
def test_the_class_in_a_file_name_of_esc50(stem: str, label: str | None) -> None:
    assert label_of_esc50_file(stem) == label


def test_ids_of_audioset_are_known_in_the_forms_of_file_systems() -> None:
    assert [label_of_id(text) for text in ("/m/0bt9lr", "m_0bt9lr", "_m_0bt9lr", "m.0bt9lr")] == ["dog"] * 4
    assert [label_of_id(text) for text in ("/m/0", "m_dog", "dog", "")] == [None] * 4


def test_a_map_compares_labels_without_case_and_separators(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("New,OLD\ndog,Dog_Bark\n\ncafé,Café-noise\n", encoding="utf-8-sig")
    labels = LabelMap.open(tmp_path / "map.csv")
    assert [labels.find(text) for text in ("dog bark", "DOG-BARK", "cafe\u0301 noise", "dog", "bark")] == [
        "dog",
        "dog",
        "café",
        None,
        None,
    ]
    assert labels.unused == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("old,new\na,b\nc,\n", "map.csv: row 2: column new is empty"),
        ("old,new\n,b\n", "map.csv: row 1: column old is empty"),
        ("old,new\na,b,c\n", "map.csv: row 1: expected 2 cells, found 3"),
        ("old,new\nChirp, tweet,chirp\n", "Quote labels that contain commas"),
        ("old,new\na b,c\nA_B,d\n", "map.csv: row 2: 'A_B' is renamed to 'd', and to 'c' in row 1"),
        ("old,new\na,17\n", "map.csv: row 1: column new: not a name (got '17')"),
        ("from,to\na,b\n", "a label map has the columns old and new (got 'from,to')"),
        ("old;new\na;b\n", "Separate the columns by commas"),
        ("", "The first line must be: old,new"),
        ("old,new\n", "has no rows"),
        ('old,new\n"a,b\n', "is not CSV"),
    ],
)
def test_errors_name_the_file_and_the_row(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(InputError) as raised:
        LabelMap.open(tmp_path / "map.csv")
    assert message in str(raised.value)


def test_a_named_pipe_is_rejected_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "map.csv")
    with pytest.raises(InputError, match=r"map\.csv: cannot be read"):
        LabelMap.open(tmp_path / "map.csv")


def test_a_misspelt_map_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='Did you mean "audioset"'):
        LabelMap.open("audioest")
    (tmp_path / "map.csv").write_bytes("old,new\ncafé,a".encode("latin-1"))
    with pytest.raises(InputError, match="is not UTF-8 text"):
        LabelMap.open(tmp_path / "map.csv")
