"""Rows of the tables corpora come with, streamed: TSV and CSV, JSON lines (also as one array), parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from soundflow.operators.sources.corpora.place import Place, is_utf8
from soundflow.operators.sources.rows import tidy
from soundflow.schemas.base import InputError

Row = Mapping[str, Any]
Numbered = tuple[int, Row | str]
"""A row with its number (1-based; of the line in text files), or what is wrong with it."""
PARQUET_ROWS: Final = 32
"""Rows held at once: each may carry a recording."""
LINE_LIMIT: Final = 16 << 20
NOT_UTF8: Final = "the text is not UTF-8: convert the file (iconv)"


def separated(place: Place, relative: str, columns: Sequence[str], mark: str = "\t") -> Iterator[Numbered]:
    """Rows of a TSV (no quoting, as Common Voice writes it) or a CSV. Raises InputError when a column is missing."""
    quoting: Literal[0, 3] = csv.QUOTE_NONE if mark == "\t" else csv.QUOTE_MINIMAL
    with place.open(relative) as raw:
        lines = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="" if mark == "," else "\n")
        reader = csv.reader((line.rstrip("\r\n") for line in lines) if mark == "\t" else lines, delimiter=mark, quoting=quoting)
        try:
            header = [name.strip() for name in next(reader, [])]
            _expect(place, relative, columns, header)
            for cells in reader:
                if cells:
                    fits = len(cells) == len(header)
                    wrong = f"{len(cells)} cells under {len(header)} columns"
                    if not all(map(is_utf8, cells)):
                        fits, wrong = False, NOT_UTF8
                    yield reader.line_num, dict(zip(header, cells, strict=True)) if fits else wrong
        except csv.Error as error:
            raise InputError(f"cannot be read after row {reader.line_num}: {error}", file=place.shown(relative)) from None


def json_rows(place: Place, relative: str) -> Iterator[Numbered]:
    """Objects of a JSON-lines file, or of one whose only content is an array of objects."""
    with place.open(relative) as raw:
        first = raw.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        raw.seek(0)
        if first == b"[":
            yield from _array(place, relative, raw.read())
            return
        number = 0
        while line := raw.readline(LINE_LIMIT + 1):
            number += 1
            if len(line) > LINE_LIMIT:
                raise InputError(f"line {number} is longer than {LINE_LIMIT >> 20} MiB", file=place.shown(relative))
            if line.strip():
                yield number, _object(line)


def _array(place: Place, relative: str, data: bytes) -> Iterator[Numbered]:
    try:
        rows = json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", file=place.shown(relative)) from None
    for number, row in enumerate(rows, 1):
        yield number, row if isinstance(row, dict) else f"{type(row).__name__} where an object belongs"


def _object(line: bytes) -> Row | str:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        return f"not JSON: {error}"
    return row if isinstance(row, dict) else f"{type(row).__name__} where an object belongs"


def parquet_rows(place: Place, relative: str, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Numbered]:
    """Rows of a parquet file with these columns; an `audio` column is the struct {bytes, path} of `datasets`."""
    with place.open(relative) as raw:
        try:
            file = pq.ParquetFile(raw)
            names = file.schema_arrow.names
            _expect(place, relative, columns, names)
            wanted = [*columns, *(name for name in optional if name in names)]
            number = 0
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=wanted):
                for row in _rows(batch):
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError) as error:
            why = str(error).replace("\n", " ").strip(" .")
            remedy = "Download it again: it is not whole"
            raise InputError(f"is not a readable parquet file: {why}", file=place.shown(relative), remedy=remedy) from None


def _rows(batch: pa.RecordBatch) -> list[Row | str]:
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            return [NOT_UTF8]
        return [row for at in range(batch.num_rows) for row in _rows(batch.slice(at, 1))]


def _expect(place: Place, relative: str, columns: Sequence[str], header: Sequence[str]) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        has = ", ".join(header) or "nothing"
        raise InputError(
            "column is missing", file=place.shown(relative), field=missing[0], remedy=f"It has: {has}. Is it another release?"
        )


def text(row: Row, name: str) -> str:
    """A cell as one tidy line; empty when it is missing or no text."""
    value = row.get(name)
    return tidy(value) if isinstance(value, str) else ""


def embedded(row: Row) -> tuple[bytes | None, str]:
    """Bytes and file name of an `audio` cell ({bytes, path}, as `datasets` writes it)."""
    cell = row.get("audio")
    if not isinstance(cell, Mapping) or not isinstance(cell.get("bytes"), bytes) or not cell["bytes"]:
        return None, ""
    return cell["bytes"], str(cell.get("path") or "").rpartition("/")[2]
