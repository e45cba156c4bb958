"""The strict loaders of YAML, JSON, JSON lines and CSV, and the check of a table's header.

Duplicate keys, unpaired surrogates and numbers that are not finite are errors in every format. In YAML, so are values that
YAML 1.1 does not read as they are written: `010` as 8, `1:00` as 60, `no` as false.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator
from json import decoder, scanner
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from soundflow.schemas.errors import InputError
from soundflow.schemas.regular_file import read_regular

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*|[1-9][0-9]{0,2}(_[0-9]{3})+)")
_FLOAT: Final = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE: Final = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")
NUMBER_REMEDY: Final = "Write a decimal number without leading zeros, or quotation marks around a text"


class NotJsonError(ValueError):
    """The reason why a text is not the JSON that this module reads."""


class NotTextError(NotJsonError):
    """A JSON document has bytes that are not UTF-8, or half of a surrogate pair."""


def read_text(path: str | Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark. Raises InputError, also for a missing or unreadable file."""
    try:
        return read_regular(Path(path)).decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError("no such file", file=path, remedy="Check the path") from None
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", file=path, remedy=f"Save it as UTF-8 ({error.reason})") from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from None


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file. Raises InputError."""
    return parse_yaml(read_text(path), file=path)


def parse_yaml(text: str, *, file: object = None) -> Any:
    """Parse a YAML document. Raises InputError, with the line."""
    try:
        return yaml.load(text, _StrictLoader)
    except _MisreadError as error:
        raise InputError(error.why, file=file, field=error.field, remedy=error.remedy) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"is not valid YAML: {' '.join(str(error).split())}", file=file) from None


def read_json(path: str | Path) -> Any:
    """Read a JSON file. Raises InputError."""
    return parse_json(read_text(path), file=path)


def parse_json(
    data: bytes | str, *, file: object = None, field: str = "", remedy: str = "", half_surrogates: bool = False
) -> Any:
    """Parse a JSON document. Raises InputError; `field` is the place in the file, such as `line 3`."""
    try:
        return json_value(data, half_surrogates=half_surrogates)
    except NotJsonError as error:
        raise InputError(f"is not JSON: {error}", file=file, field=field, remedy=remedy) from None


def json_value(data: bytes | str, *, half_surrogates: bool = False) -> Any:
    """Parse a JSON document. Raises NotJsonError, for readers that reject single rows.

    `half_surrogates`: accept halves of surrogate pairs, which the caller must replace before it encodes a text.
    """
    text = ""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_reject_constant)
        if not half_surrogates and _SURROGATE_ESCAPE.search(text):
            _check_surrogates(value)
        return value
    except _RepeatedKeyError as error:
        place = f"line {_line_of_object(text)}: " if "\n" in text.strip() else ""
        raise NotJsonError(f"{place}the key {error.key!r} is given twice in one object; keep one of them") from None
    except UnicodeDecodeError as error:
        raise NotTextError(f"the text is not UTF-8 ({error.reason})") from None
    except NotJsonError:
        raise
    except RecursionError:
        raise NotJsonError("it is nested too deeply") from None
    except ValueError as error:
        raise NotJsonError(str(error)) from None


def to_yaml(document: Any) -> str:
    """Return YAML that `parse_yaml` reads as `document`."""
    return yaml.dump(document, Dumper=_StrictDumper, sort_keys=False, allow_unicode=True)


def is_decimal(text: str) -> bool:
    """Return whether a cell of a table is a decimal number. Python's `float` takes `1_0`, `nan` and other digits, too."""
    return bool(_FLOAT.fullmatch(text))


def read_json_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each line that is not empty, and its object. Raises InputError with the line."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            row = parse_json(line, file=path, field=f"line {number}", remedy="Write one JSON object per line")
            if not isinstance(row, dict):
                raise InputError("is not a JSON object", file=path, field=f"line {number}", value=row)
            yield number, row


def csv_rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of each row of a CSV file that is not blank; cells are stripped. Raises InputError, with the line."""
    lines = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        for row in lines:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield lines.line_num, cells
    except csv.Error as error:
        place, remedy = f"line {lines.line_num}", "Close every quotation mark"
        raise InputError(f"is not CSV: {error}", file=path, field=place, remedy=remedy) from None


def repeated_name(names: Iterable[str]) -> str:
    """Return the first column name of a table that is given twice; empty if there is none. Unnamed columns do not count."""
    seen: set[str] = set()
    for name in names:
        key = name.strip().lower()
        if key and key in seen:
            return name.strip()
        seen.add(key)
    return ""


class _RepeatedKeyError(ValueError):
    """An object of a JSON document has a key twice."""

    def __init__(self, key: str):
        super().__init__(key)
        self.key = key


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        raise _RepeatedKeyError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return found


def _line_of_object(text: str) -> int:
    """Return the line where the innermost object with a repeated key begins. Only json's Python scanner has positions."""
    starts: list[int] = []

    def parse_object(at: tuple[str, int], *rest: Any) -> Any:
        try:
            return decoder.JSONObject(at, *rest)  # type: ignore[attr-defined]
        except _RepeatedKeyError:
            starts.append(at[1] - 1)
            raise

    python = json.JSONDecoder(object_pairs_hook=_unique)
    python.parse_object = parse_object  # type: ignore[attr-defined]
    python.scan_once = scanner.py_make_scanner(python)  # type: ignore[attr-defined]
    with contextlib.suppress(ValueError, RecursionError):
        python.decode(text)
    return text.count("\n", 0, starts[0] if starts else 0) + 1


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text} is too large")
    return number


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number; write null if there is no value")


def _check_surrogates(value: Any) -> None:
    for text in _strings(value):
        if _SURROGATE.search(text):
            raise NotTextError(f"the text {text[:80]!a} contains half of a surrogate pair, which is not a character")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


class _MisreadError(yaml.YAMLError):
    """Raised for a value that YAML 1.1 does not read as it is written."""

    def __init__(self, why: str, field: str, remedy: str):
        super().__init__(why)
        self.why, self.field, self.remedy = why, field, remedy


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader for what YAML 1.1 and 1.2 read alike, without duplicate keys, of which YAML would silently keep the last."""

    def __init__(self, stream: str):
        super().__init__(stream)
        self._fields: dict[int, str] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                    raise yaml.constructor.ConstructorError(None, None, f"duplicate key '{key.value}'", key.start_mark)
                seen.add(key.value)
                self._name(node, key.value, value)
        return super().construct_mapping(node, deep)

    def construct_sequence(self, node: yaml.SequenceNode, deep: bool = False) -> list[Any]:
        for number, value in enumerate(node.value):
            self._name(node, str(number), value)
        return super().construct_sequence(node, deep)

    def _name(self, parent: yaml.Node, key: str, node: yaml.Node) -> None:
        """Remember the place of a node in the document, as `scene.events.0`. A parent is constructed before its children."""
        self._fields[id(node)] = f"{self._fields.get(id(parent), '')}.{key}".removeprefix(".")

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if not _INTEGER.fullmatch(node.value):
            self._reject(node, f"is read as the number {super().construct_yaml_int(node)}", NUMBER_REMEDY)
        return int(node.value)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        value = float(super().construct_yaml_float(node))
        if not math.isfinite(value):
            self._reject(node, "is not a finite number", NUMBER_REMEDY)
        if not _FLOAT.fullmatch(node.value):
            self._reject(node, f"is read as the number {value}", NUMBER_REMEDY)
        return value

    def construct_yaml_bool(self, node: yaml.ScalarNode) -> bool:
        value = bool(super().construct_yaml_bool(node))
        if node.value.lower() not in ("true", "false"):
            remedy = f"Write {str(value).lower()}, a number, or quotation marks around a text"
            self._reject(node, f"is read as {str(value).lower()}", remedy)
        return value

    def construct_yaml_timestamp(self, node: yaml.ScalarNode) -> NoReturn:
        self._reject(node, "is read as a date", "Put it into quotation marks if it is text")

    def construct_yaml_str(self, node: yaml.ScalarNode) -> str:
        """Join the halves of surrogate pairs, which escapes may write as two characters, as in JSON."""
        text = str(node.value)
        try:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le") if _SURROGATE.search(text) else text
        except UnicodeDecodeError:
            self._reject(node, "contains half of a surrogate pair, which is not a character", "Write the character itself")

    def _reject(self, node: yaml.ScalarNode, why: str, remedy: str) -> NoReturn:
        shown = ascii(node.value[:80]) if _SURROGATE.search(node.value) else f"`{node.value[:80]}`"
        raise _MisreadError(f"{shown} in line {node.start_mark.line + 1} {why}", self._fields.get(id(node), ""), remedy)


class _StrictDumper(yaml.SafeDumper):
    """A SafeDumper that puts texts into quotation marks which `_StrictLoader` would read as numbers."""


for _kind in ("int", "float", "bool", "timestamp", "str"):
    _StrictLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", getattr(_StrictLoader, f"construct_yaml_{_kind}"))
for _class in (_StrictLoader, _StrictDumper):  # YAML 1.1 lacks these numbers
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?([0-9]+|[0-9]*\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
    )
