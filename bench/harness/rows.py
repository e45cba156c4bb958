"""Rows of third-party files (JSON lines, JSON, CSV, TSV, parquet), each with its position in the file.

Every error is an InputError with file, row, field, value and remedy. A byte-order mark and Windows line ends are accepted;
other encodings, NaN and rows of many megabytes are rejected.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from soundflow.schemas.base import InputError
from soundflow.schemas.documents import parse_json

LONGEST_LINE: Final = 1 << 24
"""Maximum length of a line in bytes."""
LONGEST_CELL: Final = 1 << 22
BATCH: Final = 64
"""Number of parquet rows in memory at a time: each may contain a recording."""
UTF8: Final = "Save it as UTF-8"
GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its values and its position. An empty CSV cell is null."""

    file: Path
    place: str
    """`line 3` or `row 7`, from 1. A header is line 1 and does not count as a row."""
    values: Mapping[str, Any]

    @property
    def where(self) -> str:
        """File and position, for messages."""
        return f"{self.file}, {self.place}"

    def error(self, why: str, field: str = "", value: object = None, remedy: str = "") -> InputError:
        """Return the error to raise about this row."""
        return InputError(why, file=self.where, field=field, value=value, remedy=remedy)

    def has(self, *names: str) -> bool:
        """Return whether one of the fields is present and not null."""
        return any(self.values.get(name) is not None for name in names)

    def text(self, *names: str) -> str:
        """Return the first of these fields that is present, stripped; raises InputError if there is none, or no text in it."""
        name = next((name for name in names if self.values.get(name) is not None), None)
        if name is None:
            known = ", ".join(str(key) for key, value in list(self.values.items())[:20] if value is not None) or "nothing"
            raise self.error("required field is missing", names[0], remedy=f"The row has: {known}")
        value = self.values[name]
        if not isinstance(value, str) or not (text := storable(value).strip()):
            what = "is empty" if isinstance(value, str) else "is not a string"
            raise self.error(what, name, value, "Fill in the field, or remove the row")
        return text

    def texts(self, *names: str) -> tuple[str, ...]:
        """Return a list of non-empty strings; a single string becomes a list of one."""
        name = next((name for name in names if self.values.get(name) is not None), names[0])
        value = self.values.get(name)
        if not isinstance(value, list | tuple):
            return (self.text(*names),)
        if not value or not all(isinstance(one, str) and one.strip() for one in value):
            raise self.error("is not a list of strings", name, value, "Every entry must be a non-empty string")
        return tuple(storable(one).strip() for one in value)


def storable(text: str) -> str:
    """Return `text` with lone surrogates replaced, so that it can be encoded as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def read_rows(path: Path, columns: Sequence[str] | None = None, otherwise: str = "") -> Iterator[Row]:
    """Read the rows of a file in the format of its suffix: .jsonl, .json (a list of objects), .csv, .tsv or .parquet.

    Of a parquet file only `columns` are read, if given; absent ones are ignored. `otherwise` is the suffix assumed for an unknown
    one; without it an unknown suffix raises InputError.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path, columns)
    readers = {".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _tsv}
    suffix = suffix if suffix in readers else otherwise or suffix
    if suffix not in readers:
        raise InputError("unknown file format", file=path, remedy=f"Convert the file to one of {', '.join(readers)}, .parquet")
    return _readable(path, readers[suffix])


def require_rows(path: Path, form: str) -> None:
    """Raise InputError if a file of answers has no rows, which would score 0. `form` shows the fields of a row."""
    if next(read_rows(path, otherwise=".jsonl"), None) is None:
        raise InputError(
            "contains no rows", file=path, remedy=f"Name the file that contains the answers, with rows such as {form}"
        )


def unique_rows(rows: Iterator[tuple[str, Row]]) -> Iterator[tuple[str, Row]]:
    """Pass (id, row) pairs through; raises InputError at a duplicate id."""
    seen: dict[str, str] = {}
    for name, row in rows:
        if name in seen:
            raise row.error("is a duplicate", "id", name, f"Keep one of the rows; the other is at {seen[name]}")
        seen[name] = row.place
        yield name, row


def _readable(path: Path, reader: Callable[[Path], Iterator[Row]]) -> Iterator[Row]:
    try:
        with path.open("rb") as file:
            if file.read(2) == GZIP:
                raise InputError("is compressed (gzip)", file=path, remedy="Decompress it with gunzip")
        yield from reader(path)
    except FileNotFoundError:
        raise InputError("no such file", file=path, remedy="Check the path") from None
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text ({error.reason})", file=path, remedy=UTF8) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from None


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            place = f"line {number}"
            if len(line) == LONGEST_LINE:
                raise InputError(
                    f"is longer than {LONGEST_LINE:,} bytes", file=f"{path}, {place}", remedy="Write one JSON object per line"
                )
            text = _decoded(line, path, place, first=number == 1)
            if text.strip():
                yield _object(_parsed(text, f"{path}, {place}", "Write one JSON object per line"), path, place)


def _json(path: Path) -> Iterator[Row]:
    data = path.read_bytes()
    document = _parsed(_decoded(data, path, "", first=True), str(path), "Write one JSON list of objects")
    if not isinstance(document, list):
        raise InputError("is not a JSON list", file=path, value=document, remedy="Write one JSON list of objects")
    for number, one in enumerate(document, 1):
        yield _object(one, path, f"row {number}")


def _decoded(data: bytes, path: Path, place: str, first: bool) -> str:
    where = f"{path}, {place}" if place else str(path)
    if first and data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError("is not UTF-8 text (it looks like UTF-16)", file=path, remedy=UTF8)
    try:
        return data.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text ({error.reason})", file=where, remedy=UTF8) from None


def _parsed(text: str, where: str, remedy: str) -> Any:
    return parse_json(text, file=where, remedy=remedy, half_surrogates=True)  # `storable` replaces them


def _object(document: Any, path: Path, place: str) -> Row:
    if not isinstance(document, dict):
        raise InputError("is not a JSON object", file=f"{path}, {place}", value=document, remedy="Every row must be an object")
    return Row(path, place, document)


def _csv(path: Path) -> Iterator[Row]:
    return _separated(path, csv.excel)


def _tsv(path: Path) -> Iterator[Row]:
    class Tabs(csv.excel_tab):
        quoting = csv.QUOTE_NONE

    return _separated(path, Tabs)


def _separated(path: Path, dialect: type[csv.Dialect]) -> Iterator[Row]:
    with path.open("rb") as raw:
        if raw.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise InputError("is not UTF-8 text (it looks like UTF-16)", file=path, remedy=UTF8)
    before = csv.field_size_limit(LONGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, dialect)
        try:
            head = next(lines, [])
            if len(set(head)) != len(head) or not any(head):
                raise InputError(
                    "column names are empty or repeated",
                    file=path,
                    value=head,
                    remedy="Give each column a name in the first line",
                )
            for number, cells in enumerate(lines, 1):
                if not cells:
                    continue
                if len(cells) != len(head):
                    why = f"{len(cells)} cells for {len(head)} columns"
                    raise InputError(
                        why, file=f"{path}, row {number}", remedy="Quote cells that contain the separator or line breaks"
                    )
                yield Row(path, f"row {number}", {name: cell or None for name, cell in zip(head, cells, strict=True)})
        except csv.Error as error:
            why = f"is not {'TSV' if dialect is not csv.excel else 'CSV'}: {error}"
            raise InputError(why, file=f"{path}, line {lines.line_num}", remedy="Check for an unclosed quotation mark") from None
        finally:  # the limit is global
            csv.field_size_limit(before)


def _parquet(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            selected = names if columns is None else [name for name in names if name in columns]
            number = 0
            for batch in file.iter_batches(batch_size=BATCH, columns=selected):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(path, f"row {number}", values)
    except FileNotFoundError:
        raise InputError("no such file", file=path, remedy="Check the path") from None
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        raise unreadable_parquet(path, error) from None


def unreadable_parquet(path: Path, error: Exception) -> InputError:
    """Return the error to raise about a file that pyarrow cannot read."""
    why = str(error).strip().partition("\n")[0].rstrip(".")
    return InputError(
        f"is not a readable parquet file: {why}",
        file=path,
        remedy="Download it again; it may be a Git LFS pointer or an incomplete file",
    )
