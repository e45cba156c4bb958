"""Streaming readers for the tables of corpora: TSV, CSV, JSON lines, JSON arrays and parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from soundflow.operators.sources.corpora.corpus_folder import CorpusFolder, is_utf8
from soundflow.operators.sources.rows import tidy
from soundflow.schemas.base import InputError
from soundflow.schemas.documents import NotJsonError, json_value, repeated_name

TableRow = Mapping[str, Any]
NumberedRow = tuple[int, TableRow | str]
"""The number of a row (from 1; the line in text files) and its cells, or why it cannot be read."""
PARQUET_ROWS: Final = 32
"""Rows held in memory at once. Each may contain a recording."""
LINE_LIMIT: Final = 16 << 20
"""Maximum length of a line of JSON, in bytes."""
NOT_UTF8: Final = "the text is not UTF-8: convert the file (iconv)"


def read_separated(
    corpus: CorpusFolder, relative: str, columns: Sequence[str], delimiter: str = "\t", escape: str | None = None
) -> Iterator[NumberedRow]:
    """Yield the rows of a TSV (without quoting, as in Common Voice) or CSV. Raises InputError when a column is missing.

    `escape`: the character before a tab, quotation mark or itself within a cell, as in CoVoST 2.
    """
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    with corpus.open(relative) as raw:
        newline = "\n" if delimiter == "\t" else ""
        lines = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline=newline)
        stripped = (line.rstrip("\r\n") for line in lines) if delimiter == "\t" else lines
        reader = csv.reader(stripped, delimiter=delimiter, quoting=quoting, escapechar=escape)
        try:
            header = [name.strip() for name in next(reader, [])]
            _check_columns(corpus, relative, columns, header)
            for cells in reader:
                if not cells:
                    continue
                if not all(map(is_utf8, cells)):
                    yield reader.line_num, NOT_UTF8
                elif len(cells) != len(header):
                    yield reader.line_num, f"{len(cells)} cells in a table of {len(header)} columns"
                else:
                    yield reader.line_num, dict(zip(header, cells, strict=True))
        except csv.Error as error:
            where = corpus.display_path(relative)
            raise InputError(f"cannot be read after row {reader.line_num}: {error}", file=where) from None


def read_json(corpus: CorpusFolder, relative: str) -> Iterator[NumberedRow]:
    """Yield the objects of a JSON-lines file, or of a file that is one JSON array."""
    with corpus.open(relative) as raw:
        first = raw.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        raw.seek(0)
        if first == b"[":
            yield from _parse_array(corpus, relative, raw.read())
            return
        number = 0
        while line := raw.readline(LINE_LIMIT + 1):
            number += 1
            if len(line) > LINE_LIMIT:
                why = f"line {number} is longer than {LINE_LIMIT >> 20} MiB"
                raise InputError(why, file=corpus.display_path(relative), remedy="Write one object per line")
            if line.strip():
                yield number, _parse_object(line)


def _parse_array(corpus: CorpusFolder, relative: str, data: bytes) -> Iterator[NumberedRow]:
    try:
        rows = json_value(data)
    except NotJsonError as error:
        raise InputError(f"is not JSON: {error}", file=corpus.display_path(relative), remedy="Download it again") from None
    for number, row in enumerate(rows, 1):
        yield number, row if isinstance(row, dict) else f"expected an object, found {type(row).__name__}"


def _parse_object(line: bytes) -> TableRow | str:
    try:
        row = json_value(line)
    except NotJsonError as error:
        return f"not JSON: {error}"
    return row if isinstance(row, dict) else f"expected an object, found {type(row).__name__}"


def read_parquet(
    corpus: CorpusFolder, relative: str, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[NumberedRow]:
    """Yield the rows of a parquet file. An `audio` column is the struct {bytes, path} of `datasets`."""
    with corpus.open(relative) as raw:
        try:
            file = pq.ParquetFile(raw)
            names = file.schema_arrow.names
            _check_columns(corpus, relative, columns, names)
            present = [*columns, *(name for name in optional if name in names)]
            number = 0
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=present):
                for row in _decode(batch):
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError) as error:
            why = str(error).replace("\n", " ").strip(" .")
            where, remedy = corpus.display_path(relative), "Download it again: it is incomplete"
            raise InputError(f"is not a readable parquet file: {why}", file=where, remedy=remedy) from None


def _decode(batch: pa.RecordBatch) -> list[TableRow | str]:
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            return [NOT_UTF8]
        return [row for at in range(batch.num_rows) for row in _decode(batch.slice(at, 1))]


def _check_columns(corpus: CorpusFolder, relative: str, columns: Sequence[str], header: Sequence[str]) -> None:
    if twice := repeated_name(header):
        raise InputError("column is given twice", file=corpus.display_path(relative), field=twice, remedy="Download it again")
    missing = [name for name in columns if name not in header]
    if missing:
        remedy = f"Columns of the file: {', '.join(header) or 'none'}. Is it another release?"
        raise InputError("column is missing", file=corpus.display_path(relative), field=missing[0], remedy=remedy)


def cell_text(row: TableRow, name: str) -> str:
    """Return a cell as one line of text; empty when the cell is missing or no text."""
    value = row.get(name)
    return tidy(value) if isinstance(value, str) else ""


def cell_audio(row: TableRow) -> tuple[bytes | None, str]:
    """Return the bytes and file name of an `audio` cell ({bytes, path}, as in `datasets`); None without bytes."""
    cell = row.get("audio")
    if not isinstance(cell, Mapping) or not isinstance(cell.get("bytes"), bytes) or not cell["bytes"]:
        return None, ""
    return cell["bytes"], str(cell.get("path") or "").rpartition("/")[2]
