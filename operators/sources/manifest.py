"""Read a clip manifest: a table with one recording per row (`operators.sources.manifest_files`), or a Kaldi data directory.

A manifest that cannot be read raises InputError. An invalid row becomes a rejection that names it, and reading continues. Rows
are streamed, so memory does not grow with their number. Empty cells are inferred from the path, as for a folder. Paths are
relative to the manifest and must stay below its folder or one of `roots`.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Final

from soundflow.operators.sources import kaldi, lhotse
from soundflow.operators.sources.dataset_tables import DatasetTables
from soundflow.operators.sources.folder import RECORDINGS, nfc, row_of, walk
from soundflow.operators.sources.languages import parse_language
from soundflow.operators.sources.manifest_files import COLUMNS, SUFFIXES, Values, Warn, peek, read_rows, suffix_of
from soundflow.operators.sources.paths import FolderClasses
from soundflow.operators.sources.rows import (
    ID_LENGTH,
    LabelSource,
    RowOrRejection,
    SourceRow,
    is_storable,
    is_valid_id,
    parse_role,
    printable,
    safe_id,
    tidy,
)
from soundflow.operators.sources.transcripts import has_words
from soundflow.operators.sources.unread_texts import UnreadTexts
from soundflow.operators.tokens.replies import read_reply
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRejection, ClipRole
from soundflow.schemas.documents import is_decimal
from soundflow.schemas.licences import licence_id
from soundflow.schemas.outcome import Ok
from soundflow.schemas.suggest import did_you_mean
from soundflow.schemas.taxonomy import Urgency
from soundflow.schemas.text import control_string, counted, without_thoughts

__all__ = ["COLUMNS", "find_tables", "read_manifest", "read_source"]

_TEXTS: Final = tuple(
    name
    for name in COLUMNS
    if name not in ("path", "role", "transcript", "reply", "turn", "wer", "offset", "duration", "decision")
)
"""Columns that are copied as they are."""


def read_source(
    source: Path, *, skip: Path | None = None, roots: Sequence[Path] = (), warn: Warn = lambda text: None
) -> Iterator[RowOrRejection]:
    """Yield the rows of a manifest, of a folder (from its `manifest.csv|jsonl|…`, if it has one) or of one recording.

    Below a folder without a manifest, tables of other tools take the place of a walk through their folder (`find_tables`).
    `skip`: a directory to leave out; `roots`: further folders that manifests may refer to; `warn`: called with a message for
    each ignored column. Raises InputError when the source does not exist or its manifest cannot be read.
    """
    if os.path.isdir(source):  # noqa: PTH112 (pathlib raises where rights are missing)
        inside = _own_manifests(source)
        if len(inside) > 1:
            names = " and ".join(path.name for path in inside)
            raise InputError(f"contains several manifests: {names}", file=source, remedy="Pass one of them as SRC")

        def read_tables(folders: tuple[str, ...], names: Sequence[str]) -> Iterator[RowOrRejection] | None:
            directory = source.joinpath(*folders)
            tables = [directory / name for name in find_tables(directory, names)]
            return read_all(directory, tables) if tables else None

        def read_all(directory: Path, tables: Sequence[Path]) -> Iterator[RowOrRejection]:
            listed: set[str] = set()
            for row in (row for table in tables for row in read_manifest(table, roots, warn, source)):
                if isinstance(row, SourceRow):
                    listed.add(row.path)
                yield row
            unlisted = _unlisted(directory, listed, skip)
            if unlisted:
                names = " and ".join(table.name for table in tables)
                warn(
                    f"{directory}: recordings without a valid row in {names} are left out"
                    f" ({len(unlisted)}; first: {printable(unlisted[0])}). Add rows for them, or move them to another folder"
                )

        return (
            read_manifest(inside[0], roots, warn)
            if inside
            else _described(source, walk(source, skip, warn, read_tables), warn, skip)
        )
    if not os.path.exists(source):  # noqa: PTH110
        raise InputError("no such file or folder", file=source, remedy="Check the path")
    if suffix_of(source.name) or source.name == kaldi.LIST:
        return read_manifest(source, roots, warn)
    if source.suffix.lower().removeprefix(".") in RECORDINGS:
        return iter([row_of(source.parent, (), source.name)])
    remedy = f"Pass a folder, a manifest ({', '.join(SUFFIXES)}, {kaldi.LIST}) or a recording (wav, flac, ogg, mp3, …)"
    raise InputError("is neither a manifest nor a recording", file=source, remedy=remedy)


def _described(source: Path, found: Iterator[RowOrRejection], warn: Warn, skip: Path | None) -> Iterator[RowOrRejection]:
    """Yield the rows of a folder with the labels of the tables in it; report which tables were used and which texts were not."""
    tables, texts = DatasetTables(source), UnreadTexts(source, skip)
    for row in found:
        if isinstance(row, SourceRow) and not row.listed:
            texts.add(row)
            yield tables.apply(row)
        else:
            yield row
    unread = texts.find(set(tables.paths))
    if unread:
        remedy = "Put each text beside its recording, or pass a table with the columns path and transcript as SRC"
        warn(
            f"{source}: texts that name recordings without a transcript are not read"
            f" ({len(unread)}; first: {printable(str(unread[0]))}). {remedy}"
        )
    if tables.matched:
        names = ", ".join(str(path) for path in tables.paths)
        warn(f"{source}: labels of {counted(tables.matched, 'recording')} are from {names}")


def _unlisted(directory: Path, listed: Set[str], skip: Path | None) -> list[str]:
    """Return the recordings in a folder that are not among `listed`, relative to the folder; without hidden names and `skip`."""
    found = []
    for folder, subfolders, names in os.walk(directory):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and Path(folder, name) != skip)
        for name in sorted(names):
            path = os.path.abspath(os.path.join(folder, name))  # noqa: PTH100, PTH118 (lexical, as in rows)
            if not name.startswith(".") and name.rpartition(".")[2].lower() in RECORDINGS and path not in listed:
                found.append(os.path.relpath(path, directory))
    return found


def _own_manifests(directory: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208
    except OSError:
        return []
    return [directory / name for name in names if suffix_of(name) and name.lower() == f"manifest{suffix_of(name)}"]


def find_tables(directory: Path, names: Sequence[str]) -> list[str]:
    """Return the files in a folder, of `names`, that other tools list its recordings in.

    These are `metadata.csv|jsonl|parquet` of Hugging Face (with the column `file_name`) or LJSpeech, Kaldi's `wav.scp`, manifests
    of NeMo (`*manifest*.json|jsonl`) and of lhotse (cuts, else supervisions, else recordings).
    """
    tables = [name for name in names if suffix_of(name)]
    metadata = [name for name in tables if name.lower() == f"metadata{suffix_of(name)}" and "path" in peek(directory / name)]
    if metadata:
        return metadata[:1]
    if kaldi.LIST in names:
        return [kaldi.LIST]
    lines = [name for name in tables if ".json" in suffix_of(name)]
    nemo = [name for name in lines if "manifest" in name.lower() and "audio_filepath" in peek(directory / name)]
    if nemo:
        return nemo
    for kind in ("cuts", "supervisions", "recordings"):
        found = [name for name in lines if kind in name.lower() and lhotse.is_lhotse(peek(directory / name))]
        if found:
            return found
    return []


def read_manifest(
    path: Path, roots: Sequence[Path] = (), warn: Warn = lambda text: None, source: Path | None = None
) -> Iterator[RowOrRejection]:
    """Yield the rows and rejections of a manifest, in its order. Raises InputError when the manifest cannot be read.

    `source`: a folder above the manifest that its paths may also be relative to, and that ids are relative to.
    """
    folders = [Path(os.path.abspath(folder)) for folder in (path.parent, *([source] if source else []), *roots)]  # noqa: PTH100
    places = _Places(folders[1] if source else folders[0], tuple(f"{str(folder).rstrip('/')}/" for folder in folders))
    complete = seen = rejected = thoughts = 0
    try:
        for number, values in kaldi.read_rows(path) if path.name == kaldi.LIST else read_rows(path, warn):
            seen += 1
            if isinstance(values, str):
                rejected += 1
                reason, _, detail = values.partition(": ")
                yield ClipRejection(path=printable(f"{path}: row {number}"), reason=reason, detail=printable(detail))
                continue
            complete += bool(values.get("path"))
            thoughts += without_thoughts(str(values.get("reply") or "")).has_thoughts
            yield _row(path, number, values, places)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from None
    if thoughts:
        warn(f"{path}: column reply: thoughts of a reasoning model are left out (rows: {thoughts})")
    if not seen:
        raise InputError(
            "has no rows", file=path, remedy="Leave it out. For a manifest of `soundflow speak`, see its rejected.jsonl"
        )
    if not complete and rejected < seen:
        raise InputError("no row has a path", file=path, field="path", remedy="Write the path of the recording into each row")


class _Places:
    """The folders that the paths of a manifest may point into; the first one is tried first."""

    def __init__(self, base: Path, allowed: tuple[str, ...]) -> None:
        self.base, self.allowed = base, allowed
        self.classes = FolderClasses(RECORDINGS)

    def locate(self, path: str) -> str | None:
        """Return the absolute path of a recording; None when it is in no allowed folder.

        A file may be stored under another Unicode form of its name, and written with backslashes on Windows.
        """
        tried = [path] if path.startswith("/") else [folder + path for folder in self.allowed]
        allowed = [plain for candidate in tried if (plain := os.path.normpath(candidate)).startswith(self.allowed)]  # lexical
        if not path.isascii() or "\\" in path or len(allowed) > 1:
            spelled = [form for plain in allowed for form in _spellings(plain)]
            return next((form for form in spelled if os.path.exists(form)), allowed[0] if allowed else None)  # noqa: PTH110
        return allowed[0] if allowed else None

    def relative(self, audio: str) -> list[str]:
        """Return the names on the path of a recording below the base; the last two when it is elsewhere."""
        base = f"{str(self.base).rstrip('/')}/"
        return audio.removeprefix(base).split("/") if audio.startswith(base) else audio.split("/")[-2:]


def _spellings(path: str) -> Iterator[str]:
    for slashed in (path, path.replace("\\", "/")):
        yield from (slashed, nfc(slashed), unicodedata.normalize("NFD", slashed))


def _row(manifest: Path, number: int, values: Values, places: _Places) -> RowOrRejection:
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
        cells[name] = text.strip() if name in ("id", "path", "reply") else tidy(text)
    path = cells.get("path", "")
    if not path:
        return reject("missing_path", "column path: empty; it is required")
    if "\0" in path:
        return reject("bad_value", "column path: contains a NUL character")
    if "\n" in path or "\r" in path:
        return reject("bad_row", "column path: contains a line break; close the quotation mark")
    audio = places.locate(path)
    if audio is None:
        remedy = "move the manifest to a folder above its recordings, or allow their folder with --root"
        return reject("path_escapes", f"column path: {path!r} leaves the manifest's folder; {remedy}")
    role = parse_role(cells["role"]) if cells.get("role") else None
    if isinstance(role, str) and not isinstance(role, ClipRole):
        return reject("bad_role", f"column role: {role}")
    if cells.get("id") and not is_valid_id(cells["id"]):
        rule = f"an id has 1 to {ID_LENGTH} characters, no line breaks, and does not start with a slash"
        return reject("bad_id", f"column id: {cells['id']!r} is no id; {rule}")
    if "licence" in cells:
        cells["licence"] = licence_id(cells["licence"])
    decision = cells.get("decision", "").lower()
    if decision and decision not in set(Urgency):
        close = did_you_mean(decision, tuple(Urgency)) or f"Known: {', '.join(Urgency)}"
        return reject("bad_decision", f"column decision: {cells['decision']!r} is not a decision. {close}")
    problem = _check_speech(cells)
    if problem:
        return reject(*problem)
    return _fill_in(cells, role, places, audio)


def _check_speech(cells: dict[str, str]) -> tuple[str, str] | None:
    """Return what is wrong with the columns about speech, as (reason, detail). Normalises language codes in place."""
    for name in ("language", "translation_language"):
        if cells.get(name):
            code = parse_language(cells[name])
            if code is None:
                return "bad_language", f"column {name}: {cells[name]!r} is not a language, such as en, zh-CN or English"
            cells[name] = code
    reply = read_reply(cells.get("reply", ""))
    if not isinstance(reply, Ok):
        return reply.reason, f"column reply: {reply.metrics['detail']}"
    cells["reply"] = reply.value.text
    for name in ("transcript", "translation", "reply"):
        if cells.get(name) and not has_words(cells[name]):
            return f"{name}_without_words", f"column {name}: {cells[name]!r} has no word"
    for name in ("transcript", "translation"):
        if mark := control_string(cells.get(name, "")):
            return "control_string", f"column {name}: contains {mark}, a control string of chat templates; remove it"
    turn = cells.get("turn", "").removesuffix(".0")  # pandas writes integers as floats if one is missing
    if turn and not (turn.isascii() and turn.isdigit() and len(turn) < 10):
        return "bad_turn", f"column turn: {turn!r} is not an integer of 0 or more"
    if bool(cells.get("dialogue")) != bool(turn):
        return "bad_turn", "columns dialogue and turn: one of them is empty; set both or neither"
    for name in ("offset", "duration"):
        if cells.get(name) and not _is_rate(cells[name]):
            return "bad_value", f"column {name}: {cells[name]!r} is not a number of seconds"
    if cells.get("duration") and float(cells["duration"]) == 0:
        return "bad_value", "column duration: 0 seconds; leave it empty for the rest of the recording"
    if cells.get("wer") and not _is_rate(cells["wer"]):
        return "bad_wer", f"column wer: {cells['wer']!r} is not a word error rate such as 0.05"
    return None


def _is_rate(text: str) -> bool:
    return is_decimal(text) and 0.0 <= float(text) < float("inf")


def _excerpt(cells: Mapping[str, str]) -> str:
    """Return the part of the recording that a row is about, as `START+SECONDS` or `START+`; empty for the whole recording."""
    start, seconds = float(cells.get("offset") or 0), cells.get("duration")
    return f"{start!r}+{float(seconds)!r}" if seconds else f"{start!r}+" if start else ""


def _fill_in(cells: Mapping[str, str], role: ClipRole | None, places: _Places, audio: str) -> SourceRow:
    """Return the row with empty cells inferred from the path."""
    *folders, name = places.relative(audio)
    inferred = row_of(places.base, tuple(folders), name, cells.get("transcript") or None, places.classes)
    extra = {name: text for name in _TEXTS if (text := cells.get(name))}
    if "label" in extra:
        extra.setdefault("label_source", LabelSource.MANIFEST)
    else:
        extra.pop("label_source", None)
    excerpt = _excerpt(cells)
    if excerpt and "id" not in extra and float(cells.get("offset") or 0):
        extra["id"] = safe_id(f"{inferred.id}#{cells['offset']}")
    turn = int(float(cells["turn"])) if cells.get("turn") else None
    wer = float(cells["wer"]) if cells.get("wer") else None
    reply = cells.get("reply") or None
    decision = Urgency(cells["decision"].lower()) if cells.get("decision") else None
    stated = {"path": audio, "role": role or inferred.role, "reply": reply, "listed": True, "turn": turn, "wer": wer}
    stated["decision"] = decision
    return inferred.model_copy(update=stated | extra | {"excerpt": excerpt})
