"""The files of manifests: CSV, TSV, JSON lines, JSON and parquet, with the columns of SoundFlow or of other tools.

Columns of Hugging Face audio folders (`file_name`, `transcription`), NeMo (`audio_filepath`, `text`, `offset`) and Common Voice
are renamed. The lines of lhotse manifests are converted by `operators.sources.lhotse`. Rows are streamed.
"""

from __future__ import annotations

import csv
import difflib
import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from soundflow.operators.sources import lhotse
from soundflow.operators.sources.rows import printable, undo_quoting
from soundflow.schemas.base import InputError
from soundflow.schemas.documents import NotJsonError, NotTextError, json_value, repeated_name

COLUMNS: Final = (
    "id", "path", "label", "caption", "role", "licence", "source", "transcript", "reply", "split", "attribution",
    "language", "dialogue", "turn", "voice", "translation", "translation_language", "wer", "emotion", "offset", "duration",
    "label_source", "decision",
)  # fmt: skip
ALIASES: Final = {"license": "licence"}
FOREIGN: Final = {
    "audio_filepath": "path", "file_name": "path", "transcription": "transcript", "sentence": "transcript", "text": "transcript",
    "category": "label", "class": "label", "command": "label", "lang": "language", "locale": "language",
    "source_lang": "language", "speaker": "voice", "speaker_id": "voice", "client_id": "voice",
}  # fmt: skip
"""Columns of other tools. Each counts only where neither SoundFlow's column nor an earlier one of these is given."""
_PATH_WORDS: Final = ("file", "filename", "filepath", "file_path", "wav", "audio", "audio_path")
SUFFIXES: Final = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".jsonl.gz", ".json.gz")
BATCH: Final = 4096
LINE_LIMIT: Final = 1 << 20
"""Maximum length of a line of a JSONL manifest, in bytes."""
ARRAY_LIMIT: Final = 256 << 20
"""Maximum size of a JSON array, in bytes; it is read as a whole."""

Warn = Callable[[str], None]
Values = Mapping[str, Any]
NumberedValues = tuple[int, Values | str]
"""The number of a row from 1, and its cells by column, or `reason: detail` when it cannot be read."""


def suffix_of(name: str) -> str:
    """Return the suffix of a manifest in lower case; empty for any other file."""
    lower = name.lower()
    return max((suffix for suffix in SUFFIXES if lower.endswith(suffix)), key=len, default="")


def read_rows(path: Path, warn: Warn) -> Iterator[NumberedValues]:
    """Yield the rows of a manifest. Raises InputError when it cannot be read as a whole, and OSError."""
    suffix = suffix_of(path.name)
    if suffix in (".csv", ".tsv"):
        return _separated_rows(path, warn, "\t" if suffix == ".tsv" else ",")
    return _parquet_rows(path, warn) if suffix == ".parquet" else _json_rows(path, warn)


def peek(path: Path) -> Values:
    """Return the first row of a table as it is written, with SoundFlow's columns besides; empty when it cannot be read."""
    try:
        if suffix_of(path.name) in (".csv", ".tsv", ".parquet"):
            _, values = next(read_rows(path, lambda text: None))
            return values if isinstance(values, dict) else {}
        _, values = next(_json_objects(path))
        if isinstance(values, str):
            return {}
        return {**values, **{column: values[name] for name, column in _columns(values).items()}}
    except (InputError, OSError, StopIteration):
        return {}


def _columns(names: Iterable[str]) -> dict[str, str]:
    """Return name → column for the names that are known; a column may be given twice by SoundFlow's names only."""
    known: dict[str, str] = {}
    lowered = {name: name.strip().lower() for name in names}
    for name, lower in lowered.items():
        if ALIASES.get(lower, lower) in COLUMNS:
            known[name] = ALIASES.get(lower, lower)
    for foreign, column in FOREIGN.items():
        given = [name for name, lower in lowered.items() if lower == foreign]
        if given and column not in known.values():
            known[given[0]] = column
    return known


def _header_columns(path: Path, names: Sequence[str], warn: Warn) -> dict[str, str]:
    """Return header name → column. Raises InputError when `path` is missing or a column is given twice."""
    known = _columns(names)
    used = [known[name] for name in names if name in known]
    twice = next((column for at, column in enumerate(used) if column in used[:at]), repeated_name(names))
    if twice:
        raise InputError("column is given twice", file=path, field=twice, remedy="Keep one of them")
    for name in names:
        if name not in known and (warning := _unknown_column(path, name)):
            warn(warning)
    if "path" not in used:
        close = [name for name in names if name.strip().lower() in _PATH_WORDS]
        hint = (
            f"Rename the column {close[0]!r} to 'path'"
            if close
            else f"Columns of the file: {', '.join(map(printable, names)) or 'none'}"
        )
        if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
            hint = "Separate the columns by commas"
        raise InputError("required column is missing", file=path, field="path", remedy=hint)
    return known


def _unknown_column(path: Path, name: str) -> str:
    close = difflib.get_close_matches(name.strip().lower(), COLUMNS, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{path}: unknown column {printable(name)!r} is ignored{hint}" if name else ""


def _separated_rows(path: Path, warn: Warn, delimiter: str) -> Iterator[NumberedValues]:
    with path.open("rb") as raw:
        if raw.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise InputError("is not UTF-8 text (it looks like UTF-16)", file=path, remedy="Save it as CSV UTF-8")
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
        lines = csv.reader(text, delimiter=delimiter, quoting=quoting)
        try:
            header = next(lines, [])
            if len(header) >= 1 and header[0].count("|") in (1, 2) and path.name.lower() == "metadata.csv":
                text.seek(0)
                yield from _ljspeech_rows(path, text)
                return
            if not header:
                raise InputError(
                    "is empty", file=path, remedy="Write the column names into the first line; only path is required"
                )
            columns = _header_columns(path, header, warn)
            indexed = [(index, columns[name]) for index, name in enumerate(header) if name in columns]
            for number, cells in enumerate(lines, start=1):
                if len(cells) > len(header):
                    remedy = "remove the tabs from cells" if delimiter == "\t" else "quote cells that contain commas"
                    yield number, f"bad_row: {len(cells)} cells in a table of {len(header)} columns; {remedy}"
                elif cells:
                    if delimiter == "\t":
                        cells = [undo_quoting(cell) for cell in cells]
                    yield number, {name: cells[index] for index, name in indexed if index < len(cells)}
        except csv.Error as error:
            remedy = "Close every quotation mark"
            raise InputError(f"is not CSV: {error}", file=path, field=f"line {lines.line_num}", remedy=remedy) from None


def _ljspeech_rows(path: Path, lines: Iterable[str]) -> Iterator[NumberedValues]:
    """Yield the rows of LJSpeech's `metadata.csv`: `ID|TEXT|NORMALIZED TEXT` without a header, recordings in `wavs/`."""
    for number, line in enumerate(lines, start=1):
        key, *texts = line.lstrip("\ufeff").strip().split("|")
        name = key if key.lower().endswith(".wav") else f"{key}.wav"
        below = "" if (path.parent / name).exists() else "wavs/"
        if texts and "file_name" not in key:
            yield number, {"path": f"{below}{name}", "transcript": next(filter(None, reversed(texts)), "")}


def _json_rows(path: Path, warn: Warn) -> Iterator[NumberedValues]:
    reported: set[str] = set()
    manifest = lhotse.LhotseManifest(path)
    for number, values in _json_objects(path):
        if isinstance(values, str):
            yield number, values
            continue
        if lhotse.is_lhotse(values):
            yield from ((number, converted) for converted in manifest.rows(values))
            continue
        columns = _columns(values)
        for name in sorted(values.keys() - columns.keys() - reported) if len(reported) < 20 else ():
            reported.add(name)
            warn(_unknown_column(path, name))
        # NeMo writes null for what is not given, and `shard_id` where the recordings are inside tar files
        row = {column: values[name] for name, column in columns.items()}
        if "shard_id" in values and not (path.parent / str(row.get("path", ""))).exists():
            yield number, "audio_in_tar: the recording is in a tar file (shard_id); unpack the tar files and remove shard_id"
        else:
            yield number, row


def _json_objects(path: Path) -> Iterator[NumberedValues]:
    """Yield the objects of a JSON-lines file, or of a `.json` file that is one array."""
    suffix = suffix_of(path.name)
    with gzip.open(path, "rb") if suffix.endswith(".gz") else path.open("rb") as lines:
        try:
            if ".json" in suffix and ".jsonl" not in suffix and _first_byte(lines) == b"[":
                yield from _array(path, lines.read(ARRAY_LIMIT + 1))
                return
            for number, line in enumerate(_bounded(lines), start=1):
                if line is None:
                    yield number, f"bad_row: the line is longer than {LINE_LIMIT} bytes"
                elif line.strip():
                    yield number, _json_row(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
        except (EOFError, gzip.BadGzipFile) as error:
            raise InputError(f"is not a complete gzip file: {error}", file=path, remedy="Write or download it again") from None


def _first_byte(lines: Any) -> bytes:
    head: bytes = lines.read(64)
    lines.seek(0)
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]


def _array(path: Path, data: bytes) -> Iterator[NumberedValues]:
    if len(data) > ARRAY_LIMIT:
        raise InputError(f"is a JSON array of more than {ARRAY_LIMIT >> 20} MiB", file=path, remedy="Write JSON lines instead")
    try:
        rows = json_value(data)
    except NotJsonError as error:
        raise InputError(f"is not JSON: {error}", file=path, remedy="Write it again") from None
    for number, row in enumerate(rows, start=1):
        yield number, row if isinstance(row, dict) else "bad_row: not a JSON object"


def _bounded(lines: Any) -> Iterator[bytes | None]:
    """Yield the lines of a binary file, or None for a line above LINE_LIMIT."""
    while line := lines.readline(LINE_LIMIT):
        if line.endswith(b"\n") or len(line) < LINE_LIMIT:
            yield line
            continue
        while (rest := lines.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
            pass
        yield None


def _json_row(line: bytes) -> Values | str:
    try:
        values = json_value(line)
    except NotTextError as error:
        return f"not_utf8: {error}; save the manifest as UTF-8"
    except NotJsonError as error:
        return f"bad_row: not JSON: {error}"
    return values if isinstance(values, dict) else "bad_row: not a JSON object"


def _parquet_rows(path: Path, warn: Warn) -> Iterator[NumberedValues]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        columns = _header_columns(path, file.schema_arrow.names, warn)
        number = 0
        for batch in file.iter_batches(batch_size=BATCH, columns=list(columns)):
            rows: Iterable[Values] = batch.rename_columns([columns[name] for name in batch.schema.names]).to_pylist()
            for values in rows:
                number += 1
                yield number, values
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"is not a readable parquet file: {error}", file=path, remedy="Write it again") from None
