"""Labels and captions of rows: what is left out before a row becomes a clip."""

from __future__ import annotations

import pytest

from soundflow.operators.labels.maps import LabelMap
from soundflow.operators.sources.naming import name_clips
from soundflow.operators.sources.rows import SourceRow
from soundflow.schemas.clip import ClipRole


def row(label: str = "animal", caption: str = "", path: str = "/s/x.wav", label_source: str = "manifest") -> SourceRow:
    fields = {"id": "x", "path": path, "split": "train", "listed": True, "role": ClipRole.FOREGROUND, "label": label}
    return SourceRow.model_validate(fields | {"caption": caption, "label_source": label_source})


@pytest.mark.parametrize(
    ("caption", "path", "kept"),
    [
        ("dog barking 01", "/s/dog_barking_01.wav", False),
        ("dog-barking-01", "/s/dog_barking_01.wav", False),
        ("quuxuser dog barking", "/s/406087__quuxuser__dog-barking.wav", False),
        ("dog barking", "/s/406087__quuxuser__dog-barking.wav", True),
        ("dog barking", "/s/dog_barking.wav", True),
        ("dog barking", "/s/dog_barking_01.wav", True),
        ("a dog barks 2 times", "/s/a_dog_barks_2_times.wav", True),
    ],
)
def test_a_caption_that_is_the_name_of_its_file_is_left_out(caption: str, path: str, kept: bool) -> None:
    [named] = name_clips([row(caption=caption, path=path)])
    assert isinstance(named, SourceRow)
    assert (named.caption, named.unused_caption) == ((caption, "") if kept else ("", caption))


def test_a_label_that_names_nothing_is_left_out() -> None:
    [named] = name_clips([row(label="IMG_2034")])
    assert isinstance(named, SourceRow)
    assert (named.label, named.label_source, named.unused_label) == ("", "", "IMG_2034")


def test_the_first_map_that_has_a_label_renames_it() -> None:
    maps = [LabelMap({"Dog Bark": "dog"}), LabelMap({"dog_bark": "hound", "IMG_2034": "siren"})]
    named = [one for one in name_clips([row("dog bark"), row("IMG_2034"), row("owl")], maps) if isinstance(one, SourceRow)]
    assert [(one.label, one.label_source) for one in named] == [("dog", "map"), ("siren", "map"), ("owl", "manifest")]


def test_ids_of_audioset_are_replaced_without_a_map() -> None:
    [named] = name_clips([row("/m/0bt9lr")])
    assert isinstance(named, SourceRow) and (named.label, named.label_source) == ("dog", "map")
    [unknown] = name_clips([row("/m/0000000")])
    assert isinstance(unknown, SourceRow) and (unknown.label, unknown.unused_label) == ("", "/m/0000000")
