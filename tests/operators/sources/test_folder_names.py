"""Which names of folders and files are labels, and which are splits, formats or remains of file names."""

from __future__ import annotations

from pathlib import Path

import pytest

from soundflow.operators.sources.folder import walk
from soundflow.operators.sources.naming import are_classes, label_by_source
from soundflow.operators.sources.paths import guess_from_path
from soundflow.operators.sources.rows import LabelSource, SourceRow
from soundflow.schemas.clip import ClipRole
from tests.operators.sources.test_readers import rows, touch


def labels(root: Path) -> dict[str, str]:
    return {row.id: row.label for row in rows(walk(root))}


def test_a_folder_word_is_a_label_where_its_folder_lies_beside_classes(tmp_path: Path) -> None:
    touch(tmp_path, "esc/dog/1.wav", "esc/train/2.wav", "esc/clips/3.wav", "esc/wav/in/4.wav", "esc/noise/fan.wav")
    assert labels(tmp_path / "esc") == {
        "clips/3.wav": "clips",
        "dog/1.wav": "dog",
        "noise/fan.wav": "fan",
        "train/2.wav": "train",
        "wav/in/4.wav": "in",
    }
    touch(tmp_path, "deep/audio/dog/wav/1.wav", "deep/audio/train/wav/2.wav")
    assert set(labels(tmp_path / "deep").values()) == {"dog", "train"}
    [row] = [row for row in rows(walk(tmp_path / "deep")) if row.label == "train"]
    assert row.split == "train"
    touch(tmp_path, "test_class/bell/1.wav", "test_class/test/2.wav")
    assert {(row.label, row.split) for row in rows(walk(tmp_path / "test_class"))} == {("bell", "train"), ("test", "train")}


def test_a_folder_word_is_no_label_where_it_holds_a_split_or_stands_alone(tmp_path: Path) -> None:
    touch(tmp_path, "a/train/siren.wav", "a/test/bell.wav", "a/extra/horn.wav", "b/clips/owl.wav", "c/train/dog/1.wav")
    touch(tmp_path, "d/audio/owl.wav", "d/docs/readme.md")
    assert labels(tmp_path / "a") == {"extra/horn.wav": "horn", "test/bell.wav": "bell", "train/siren.wav": "siren"}
    assert {row.id: row.split for row in rows(walk(tmp_path / "a"))} == {
        "extra/horn.wav": "train",
        "test/bell.wav": "test",
        "train/siren.wav": "train",
    }
    assert labels(tmp_path / "b") == {"clips/owl.wav": "owl"}
    assert labels(tmp_path / "c") == {"train/dog/1.wav": "dog"}
    assert labels(tmp_path / "d") == {"audio/owl.wav": "owl"}


def test_splits_beside_classes_are_classes_and_splits_alone_are_splits(tmp_path: Path) -> None:
    touch(tmp_path, "mixed/dog/1.wav", "mixed/train/2.wav", "mixed/test/3.wav", "mixed/val/wav/4.wav")
    found = {(row.label, row.split, row.label_source) for row in rows(walk(tmp_path / "mixed"))}
    assert found == {(label, "train", "folder") for label in ("dog", "train", "test", "val")}
    touch(tmp_path, "splits/train/dog/1.wav", "splits/train/train/2.wav", "splits/test/dog/3.wav", "splits/test/train/4.wav")
    found = {(row.label, row.split, row.label_source) for row in rows(walk(tmp_path / "splits"))}
    assert found == {(label, split, "folder") for label in ("dog", "train") for split in ("train", "test")}
    touch(tmp_path, "roles/train/siren.wav", "roles/test/bell.wav", "roles/noise/fan.wav")
    assert set(labels(tmp_path / "roles").values()) == {"siren", "bell", "fan"}
    touch(tmp_path, "half/train/dog/1.wav", "half/dog/2.wav", "half/test/dog/3.wav")
    assert {(row.label, row.split) for row in rows(walk(tmp_path / "half"))} == {("dog", "train"), ("dog", "test")}


def test_folders_of_folds_and_formats_are_no_labels(tmp_path: Path) -> None:
    touch(tmp_path, "src/horn.wav", "fold1/siren.wav", "fold10/bell.wav", "wavs16k/owl.wav")
    assert set(labels(tmp_path).values()) == {"siren", "bell", "owl", "horn"}


@pytest.mark.parametrize(
    "stem", ["IMG_2034", "recording_1", "VID_20200101_123456", "d41d8cd98f00b204", "Voice 001", "0001", "录音001"]
)
def test_a_file_name_without_words_is_no_label(stem: str) -> None:
    assert guess_from_path((), stem, "recordings") == (ClipRole.FOREGROUND, "", "train", LabelSource.FILE_NAME)
    assert guess_from_path((), stem, "my files 2024").label == "", "the source names a collection, not a sound"


def test_sources_side_by_side_are_classes_but_one_source_is_a_collection(tmp_path: Path) -> None:
    touch(tmp_path, "sounds/dog_bark/1.wav", "sounds/siren/loud_noise.wav", "sounds/noise/2.wav", "my files/3.wav")
    dog, siren, noise = (tmp_path / "sounds" / name for name in ("dog_bark", "siren", "noise"))
    assert are_classes([dog, siren]) and not are_classes([dog]) and not are_classes([dog, noise])
    assert not are_classes([dog, tmp_path / "my files"]), "they lie in two folders"
    assert not are_classes([dog, dog]), "the same folder twice"
    touch(tmp_path, "sounds/freesound/IMG_1.wav", "sounds/field_trip/dog bark.wav", "sounds/2024/3.wav")
    for collection in ("freesound", "field_trip", "2024"):
        assert not are_classes([dog, tmp_path / "sounds" / collection]), "a collection is no class"
    [row] = label_by_source(walk(siren), siren)
    assert isinstance(row, SourceRow) and (row.label, row.label_source) == ("siren", LabelSource.FOLDER)
