"""Rows and headers of manifests that would be read otherwise than they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from soundflow.operators.sources.manifest import read_manifest
from soundflow.schemas.base import InputError
from tests.operators.sources.test_readers import rejections


@pytest.mark.parametrize(
    ("name", "line", "detail"),
    [
        ("m.jsonl", '{"path": "x.wav", "label": "dog", "label": "cat"}', "the key 'label' is given twice in one object"),
        ("m.jsonl", '{"path": "x.wav", "label": "dog", "meta": {"a": 1, "a": 1}}', "the key 'a' is given twice"),
        ("m.jsonl", '{"path": "x.wav", "duration": NaN}', "NaN is not a JSON number"),
        ("m.jsonl", '{"path": "x.wav", "label": "a\\udc00"}', "half of a surrogate pair"),
        ("m.jsonl", '{"path": "x.wav", "offset": true}', "column offset"),
        ("m.jsonl", '{"path": "x.wav", "duration": "1_0"}', "column duration: '1_0' is not a number of seconds"),
        ("m.jsonl", '{"path": "x.wav", "duration": "0x10"}', "column duration"),
        ("m.jsonl", '{"path": "x.wav", "duration": "1:30"}', "column duration"),
    ],
)
def test_a_row_that_is_read_otherwise_than_written_is_rejected(tmp_path: Path, name: str, line: str, detail: str) -> None:
    (tmp_path / name).write_text(f'{{"path": "a.wav"}}\n{line}\n')
    (rejection,) = rejections(list(read_manifest(tmp_path / name)))
    assert rejection.path == f"{tmp_path / name}: row 2" and detail in rejection.detail, rejection


@pytest.mark.parametrize("header", ["path,label,label", "path,label,Label ", "path,mood,mood", "path,licence,license"])
def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path, header: str) -> None:
    (tmp_path / "m.csv").write_text(f"{header}\na.wav,x,y\n")
    with pytest.raises(InputError, match=r"m\.csv: (?i:label|mood|licence): column is given twice"):
        list(read_manifest(tmp_path / "m.csv"))


def test_a_json_array_with_a_key_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('[\n {"path": "a.wav"},\n {"path": "b.wav",\n  "path": "c.wav"}\n]')
    with pytest.raises(InputError, match=r"m\.json: is not JSON: line 3: the key 'path' is given twice"):
        list(read_manifest(tmp_path / "m.json"))
