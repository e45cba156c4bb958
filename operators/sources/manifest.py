"""Read a clip manifest: CSV, JSON lines or parquet with one recording per row. Only `path` is required.

A manifest that cannot be read raises InputError. An invalid row becomes a rejection that names it, and reading continues. Rows
are streamed, so memory does not grow with their number. Empty cells are inferred from the path, as for a folder. Paths are
relative to the manifest and must stay below its folder or one of `roots`.
"""

from __future__ import annotations

import csv
import difflib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from soundflow.operators.sources.folder import RECORDINGS, row_of, walk
from soundflow.operators.sources.languages import parse_language
from soundflow.operators.sources.rows import (
    ID_LENGTH,
    RowOrRejection,
    SourceRow,
    is_storable,
    is_valid_id,
    parse_role,
    printable,
    tidy,
)
from soundflow.operators.sources.transcripts import has_words
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRejection, ClipRole

COLUMNS: Final = (
    "id", "path", "label", "caption", "role", "licence", "source", "transcript", "reply", "split", "attribution",
    "language", "dialogue", "turn", "voice", "translation", "translation_language", "wer", "emotion",
)  # fmt: skip
ALIASES: Final = {"license": "licence"}
_PATH_WORDS: Final = ("file", "filename", "file_name", "filepath", "file_path", "wav", "audio", "audio_path", "audio_filepath")
SUFFIXES: Final = (".csv", ".jsonl", ".parquet")
BATCH: Final = 4096
LINE_LIMIT: Final = 1 << 20
"""Maximum length of a line of a JSONL manifest, in bytes."""

Warn = Callable[[str], None]
Values = Mapping[str, Any]


def read_source(
    source: Path, *, skip: Path | None = None, roots: Sequence[Path] = (), warn: Warn = lambda text: None
) -> Iterator[RowOrRejection]:
    """Yield the rows of a manifest, of a folder (from its `manifest.csv|jsonl|parquet`, if it has one) or of one recording.

    `skip`: a directory to leave out; `roots`: further folders that manifests may refer to; `warn`: called with a message for
    each ignored column. Raises InputError when the source does not exist or its manifest cannot be read.
    """
    if os.path.isdir(source):  # noqa: PTH112 (pathlib raises where rights are missing)
        inside = [path for suffix in SUFFIXES if os.path.isfile(path := source / f"manifest{suffix}")]  # noqa: PTH113
        if len(inside) > 1:
            names = " and ".join(path.name for path in inside)
            raise InputError(f"contains several manifests: {names}", file=source, remedy="Pass one of them as SRC")
        return read_manifest(inside[0], roots, warn) if inside else walk(source, skip, warn)
    if not os.path.exists(source):  # noqa: PTH110
        raise InputError("no such file or folder", file=source, remedy="Check the path")
    suffix = source.suffix.lower()
    if suffix in SUFFIXES:
        return read_manifest(source, roots, warn)
    if suffix.removeprefix(".") in RECORDINGS:
        return iter([row_of(source.parent, (), source.name)])
    remedy = f"Pass a folder, a manifest ({', '.join(SUFFIXES)}) or a recording (wav, flac, ogg, mp3, …)"
    raise InputError("is neither a manifest nor a recording", file=source, remedy=remedy)


def read_manifest(path: Path, roots: Sequence[Path] = (), warn: Warn = lambda text: None) -> Iterator[RowOrRejection]:
    """Yield the rows and rejections of a manifest, in its order. Raises InputError when the manifest cannot be read."""
    base = Path(os.path.abspath(path)).parent  # noqa: PTH100 (lexical: keeps links in the user's path)
    allowed = tuple(os.path.abspath(folder).rstrip("/") + "/" for folder in (base, *roots))  # noqa: PTH100
    reader = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}[path.suffix.lower()]
    complete = seen = 0
    try:
        for number, values in reader(path, warn):
            seen = number
            if isinstance(values, str):
                reason, _, detail = values.partition(": ")
                yield ClipRejection(path=printable(f"{path}: row {number}"), reason=reason, detail=detail)
                continue
            complete += bool(values.get("path"))
            yield _row(path, number, values, base, allowed)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from None
    if not seen:
        raise InputError(
            "has no rows", file=path, remedy="Leave it out. For a manifest of `soundflow speak`, see its rejected.jsonl"
        )
    if not complete:
        raise InputError("no row has a path", file=path, field="path", remedy="Write the path of the recording into each row")


def _row(manifest: Path, number: int, values: Values, base: Path, allowed: tuple[str, ...]) -> RowOrRejection:
    """Return a row, or the rejection of an invalid one."""

    def reject(reason: str, detail: str) -> ClipRejection:
        return ClipRejection(path=printable(f"{manifest}: row {number}"), reason=reason, detail=printable(detail))

    cells: dict[str, str] = {}
    for name, value in values.items():
        if value is None or value != value:  # pandas writes NaN where text is missing
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return reject("bad_value", f"column {name}: expected text, found {type(value).__name__}")
        text = str(value)
        if not is_storable(text):
            return reject("not_utf8", f"column {name}: {text!r} is not UTF-8; save the manifest as UTF-8")
        cells[name] = text.strip() if name in ("id", "path") else tidy(text)
    path = cells.get("path", "")
    if not path:
        return reject("missing_path", "column path: empty; it is required")
    if "\0" in path:
        return reject("bad_value", "column path: contains a NUL character")
    if "\n" in path or "\r" in path:
        return reject("bad_row", "column path: contains a line break; close the quotation mark")
    audio = os.path.normpath(path if path.startswith("/") else allowed[0] + path)  # lexical: keeps the user's links
    if not audio.startswith(allowed):
        remedy = "move the manifest to a folder above its recordings, or allow their folder with --root"
        return reject("path_escapes", f"column path: {path!r} leaves the manifest's folder; {remedy}")
    role = parse_role(cells["role"]) if cells.get("role") else None
    if isinstance(role, str) and not isinstance(role, ClipRole):
        return reject("bad_role", f"column role: {role}")
    if cells.get("id") and not is_valid_id(cells["id"]):
        rule = f"an id has 1 to {ID_LENGTH} characters, no line breaks, and does not start with a slash"
        return reject("bad_id", f"column id: {cells['id']!r} is no id; {rule}")
    problem = _check_speech(cells)
    if problem:
        return reject(*problem)
    relative = audio.removeprefix(allowed[0]) if audio.startswith(allowed[0]) else "/".join(audio.split("/")[-2:])
    return _fill_in(cells, role, base, audio, relative)


def _check_speech(cells: dict[str, str]) -> tuple[str, str] | None:
    """Return what is wrong with the columns about speech, as (reason, detail). Normalises language codes in place."""
    for name in ("language", "translation_language"):
        if cells.get(name):
            code = parse_language(cells[name])
            if code is None:
                return "bad_language", f"column {name}: {cells[name]!r} is not a language, such as en, zh-CN or English"
            cells[name] = code
    for name in ("transcript", "translation", "reply"):
        if cells.get(name) and not has_words(cells[name]):
            return f"{name}_without_words", f"column {name}: {cells[name]!r} has no word"
    turn = cells.get("turn", "").removesuffix(".0")  # pandas writes integers as floats if one is missing
    if turn and not (turn.isascii() and turn.isdigit() and len(turn) < 10):
        return "bad_turn", f"column turn: {turn!r} is not an integer of 0 or more"
    if bool(cells.get("dialogue")) != bool(turn):
        return "bad_turn", "columns dialogue and turn: one of them is empty; set both or neither"
    if cells.get("wer") and not _is_rate(cells["wer"]):
        return "bad_wer", f"column wer: {cells['wer']!r} is not a word error rate such as 0.05"
    return None


def _is_rate(text: str) -> bool:
    try:
        return 0.0 <= float(text) < float("inf")
    except ValueError:
        return False


def _fill_in(cells: Mapping[str, str], role: ClipRole | None, base: Path, audio: str, relative: str) -> SourceRow:
    """Return the row with empty cells inferred from the path."""
    *folders, name = relative.split("/")
    inferred = row_of(base, tuple(folders), name, cells.get("transcript") or None)
    extra = {
        name: text
        for name in COLUMNS
        if name not in ("path", "role", "transcript", "reply", "turn", "wer") and (text := cells.get(name))
    }
    if "label" in extra and "caption" not in cells and not inferred.transcript:
        extra["caption"] = ""  # the file name adds nothing to a label that was chosen by hand
    turn = int(float(cells["turn"])) if cells.get("turn") else None
    wer = float(cells["wer"]) if cells.get("wer") else None
    reply = cells.get("reply") or None
    stated = {"path": audio, "role": role or inferred.role, "reply": reply, "listed": True, "turn": turn, "wer": wer}
    return inferred.model_copy(update=stated | extra)


def _columns(path: Path, names: Sequence[str], warn: Warn) -> dict[str, str]:
    """Return header name → column. Raises InputError when `path` is missing or a column is given twice."""
    known: dict[str, str] = {}
    for name in names:
        column = name.strip().lower()
        column = ALIASES.get(column, column)
        if column in known.values():
            raise InputError("column is given twice", file=path, field=column, remedy="Keep one of them")
        if column in COLUMNS:
            known[name] = column
        elif warning := _unknown_column(path, name):
            warn(warning)
    if "path" not in known.values():
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


def _csv_rows(path: Path, warn: Warn) -> Iterator[tuple[int, Values | str]]:
    """Yield (row number from 1, cells or `reason: detail`)."""
    with path.open("rb") as raw:
        if raw.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise InputError("is not UTF-8 text (it looks like UTF-16)", file=path, remedy="Save it as CSV UTF-8")
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        lines = csv.reader(text)
        try:
            header = next(lines, [])
            if not header:
                raise InputError(
                    "is empty", file=path, remedy="Write the column names into the first line; only path is required"
                )
            columns = _columns(path, header, warn)
            indexed = [(index, columns[name]) for index, name in enumerate(header) if name in columns]
            for number, cells in enumerate(lines, start=1):
                if len(cells) > len(header):
                    yield (
                        number,
                        f"bad_row: {len(cells)} cells in a table of {len(header)} columns; quote cells that contain commas",
                    )
                elif cells:
                    yield number, {name: cells[index] for index, name in indexed if index < len(cells)}
        except csv.Error as error:
            remedy = "Close every quotation mark"
            raise InputError(f"is not CSV: {error}", file=path, field=f"line {lines.line_num}", remedy=remedy) from None


def _jsonl_rows(path: Path, warn: Warn) -> Iterator[tuple[int, Values | str]]:
    reported: set[str] = set()
    with path.open("rb") as lines:
        for number, line in enumerate(_bounded(lines), start=1):
            if line is None:
                yield number, f"bad_row: the line is longer than {LINE_LIMIT} bytes"
            elif line.strip():
                values = _json_row(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
                if not isinstance(values, str):
                    cells: dict[str, Any] = {ALIASES.get(name, name): value for name, value in values.items()}
                    for name in sorted(cells.keys() - set(COLUMNS) - reported) if len(reported) < 20 else ():
                        reported.add(name)
                        warn(_unknown_column(path, name))
                    values = {name: value for name, value in cells.items() if name in COLUMNS}
                yield number, values


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
        values = json.loads(line.decode())
    except UnicodeDecodeError:
        return "not_utf8: the line is not UTF-8; save the manifest as UTF-8"
    except (ValueError, RecursionError) as error:
        return f"bad_row: not JSON: {error}"
    return values if isinstance(values, dict) else "bad_row: not a JSON object"


def _parquet_rows(path: Path, warn: Warn) -> Iterator[tuple[int, Values | str]]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        columns = _columns(path, file.schema_arrow.names, warn)
        number = 0
        for batch in file.iter_batches(batch_size=BATCH, columns=list(columns)):
            rows: Iterable[Values] = batch.rename_columns([columns[name] for name in batch.schema.names]).to_pylist()
            for values in rows:
                number += 1
                yield number, values
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"is not a readable parquet file: {error}", file=path, remedy="Write it again") from None
