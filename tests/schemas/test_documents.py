"""What is written is what is read: YAML, JSON and JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.documents import (
    NotJsonError,
    json_value,
    parse_json,
    parse_yaml,
    read_json_lines,
    read_yaml,
    repeated_name,
)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("10", 10),
        ("-3", -3),
        ("+5", 5),
        ("0", 0),
        ("2_600_000", 2600000),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e-4", 0.0001),
        ("1.0e-4", 0.0001),
        ("2E3", 2000.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("'010'", "010"),
        ('"yes"', "yes"),
        ("08", "08"),
        ("y", "y"),
        ("1:ab", "1:ab"),
        ("v1.2.3", "v1.2.3"),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\U0001F600"', "😀"),
        ("[1, [2, x]]", [1, [2, "x"]]),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_yaml_that_both_versions_read_alike_is_read(written: str, value: object) -> None:
    found = parse_yaml(f"key: {written}")
    assert found == {"key": value} and type(found["key"]) is type(value)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("010", "is read as the number 8"),
        ("-017", "is read as the number -15"),
        ("00", "is read as the number 0"),
        ("0x1F", "is read as the number 31"),
        ("0b11", "is read as the number 3"),
        ("1:00", "is read as the number 60"),
        ("12:30:45", "is read as the number 45045"),
        ("-1:30", "is read as the number -90"),
        ("1:30.5", "is read as the number 90.5"),
        ("1_0", "is read as the number 10"),
        ("1_0.5", "is read as the number 10.5"),
        ("yes", "is read as true"),
        ("No", "is read as false"),
        ("ON", "is read as true"),
        ("off", "is read as false"),
        ("2024-01-01", "is read as a date"),
        ("2024-01-01 10:00:00", "is read as a date"),
        (".inf", "is not a finite number"),
        ("-.INF", "is not a finite number"),
        (".nan", "is not a finite number"),
        ("1e400", "is not a finite number"),
        ('"\\ud800"', "contains half of a surrogate pair"),
        ('"a\\udc00b"', "contains half of a surrogate pair"),
        ('"\\ude00\\ud83d"', "contains half of a surrogate pair"),
        ("!!int 010", "is read as the number 8"),
        ("!!float 1:00", "is read as the number 60.0"),
    ],
)
@pytest.mark.parametrize(
    ("document", "field"),
    [("a: 1\nkey: {}", "key"), ("a: 1\nb: {{c: [1, {}]}}", r"b\.c\.1"), ("a: 1\nb: [{{c: {}}}]", r"b\.0\.c")],
)
def test_yaml_that_is_read_as_something_else_is_refused_with_file_field_and_line(
    written: str, why: str, document: str, field: str
) -> None:
    with pytest.raises(InputError, match=rf"^corpus\.yaml: {field}: .* in line 2 {why}.*\. (Write|Put) "):
        parse_yaml(document.format(written), file="corpus.yaml")


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2", "b: {a: 1, 'a': 2}", "- {a: 1, a: 1}", "{yes: 1}", "010: 1", "a: [1", "!!python/tuple [1]"]
)
def test_other_yaml_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(InputError, match=r"line [12]"):
        parse_yaml(text, file="corpus.yaml")


def test_yaml_merge_keys_and_aliases_are_read() -> None:
    assert parse_yaml("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}") == {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, -2.5, 1e3, true, null]}', {"a": [1, -2.5, 1000.0, True, None]}),
        ('"\\ud83d\\ude00 é"', "😀 é"),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('{"a": {"a": 1}, "b": {"a": 2}}', {"a": {"a": 1}, "b": {"a": 2}}),
    ],
)
def test_json_is_read(text: str | bytes, value: object) -> None:
    assert json_value(text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1, "a": 1}', "^the key 'a' is given twice in one object"),
        ('[{"b": {\n"c": [\n{"a": 1,\n "\\u0061": 2}]}}]', "^line 3: the key 'a' is given twice"),
        ('{"a": 1e400}', "the number 1e400 is too large"),
        ("[NaN]", "NaN is not a JSON number"),
        ("-Infinity", "-Infinity is not a JSON number"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        ('{"\\udfff": 1}', "half of a surrogate pair"),
        ('["\\uDC00\\uD800"]', "half of a surrogate pair"),
        ('["\ud800"]', "half of a surrogate pair"),
        (b"\xff", "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        ("[" * 100_000, "nested too deeply"),
        ("010", "Extra data"),
        ("0x1F", "Extra data"),
        ("{'a': 1}", "Expecting property name"),
        ("1" * 5000, "digits"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_not_what_it_seems_is_refused(text: str | bytes, why: str) -> None:
    with pytest.raises(NotJsonError, match=why):
        json_value(text)
    with pytest.raises(InputError, match=r"^x\.json: line 4: is not JSON: "):
        parse_json(text, file="x.json", field="line 4")


def test_json_lines_are_read_with_the_line_of_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes('\ufeff{"a": "x\u2028y"}\r\n\n{"a": 2}\n'.encode())
    assert list(read_json_lines(path)) == [(1, {"a": "x\u2028y"}), (3, {"a": 2})]
    for line in ('{"a": 1, "a": 2}', "[1]", "x", '{"a": "\\ud800"}'):
        path.write_text(f'{{"a": 1}}\n{line}\n')
        with pytest.raises(InputError, match=r"rows\.jsonl: line 2: "):
            list(read_json_lines(path))


@pytest.mark.parametrize(
    ("header", "twice"),
    [("a,b", ""), ("a,b,a", "a"), ("Label,x,label ", "label"), (",,a", ""), ("a,,", "")],
)
def test_a_column_that_is_named_twice_is_found(header: str, twice: str) -> None:
    assert repeated_name(header.split(",")) == twice


class Numbers(Schema):
    """Fields of every kind of number."""

    count: int = 0
    ratio: float = 0.0
    is_on: bool = False
    either: int | bool = 0
    events: tuple[int, int] = (0, 0)
    shares: dict[str, float] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"count": True}, "count"),
        ({"ratio": False}, "ratio"),
        ({"events": [1, True]}, "events.1"),
        ({"shares": {"a": 1.0, "b": True}}, "shares.b"),
    ],
)
def test_true_is_not_the_number_one(document: dict[str, Any], field: str) -> None:
    text = str(document).replace("'", '"').replace("True", "true").replace("False", "false")
    for read in (Numbers.from_text, Numbers.from_json):
        with pytest.raises(InputError, match=rf"^f: {field}: must be a number, not true or false"):
            read(text, file="f")


def test_true_where_it_belongs_is_read() -> None:
    assert Numbers.from_text("{is_on: true, either: true}") == Numbers(is_on=True, either=True)
    assert Numbers.from_json('{"is_on": true, "either": true}').either is True


def test_a_key_given_twice_in_stored_json_is_refused() -> None:
    with pytest.raises(InputError, match=r"^m\.json: is not JSON: the key 'count' is given twice"):
        Numbers.from_json(b'{"count": 1, "count": 2}', file="m.json")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: caf\xe9")
    for name, why in (("none.yaml", "no such file"), ("latin.yaml", "is not UTF-8 text"), (".", "cannot be read")):
        with pytest.raises(InputError, match=f"{tmp_path / name}: {why}"):
            read_yaml(tmp_path / name)
