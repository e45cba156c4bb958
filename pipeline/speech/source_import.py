"""`soundflow sources import`: convert a published corpus into a clip manifest, or into dialogues to be spoken.

`DIR/import.json` is the commit: the number of imported parts of the corpus, and the length of each output after the last one. A
run truncates the outputs to these lengths and resumes there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import Field

from soundflow.operators.sources.corpora import READERS, CorpusFolder, Recording
from soundflow.operators.sources.rows import safe_id
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError, Schema, canonical_json
from soundflow.schemas.clip import ClipRejection
from soundflow.schemas.sources import SOURCES, Gives, Source
from soundflow.schemas.speech import Dialogue

STATE: Final = "import.json"
OUTPUTS: Final = {Gives.CLIPS: "manifest.jsonl", Gives.DIALOGUES: "dialogues.jsonl"}
REJECTED: Final = "rejected.jsonl"
Progress = Callable[[int, int, str], None]


class ImportState(Schema):
    """Progress of an import."""

    format: str = "soundflow.import/1"
    source: str
    place: str
    pieces: int = 0
    """Parts of the corpus that are imported."""
    last: str = ""
    """Name of the last imported part."""
    accepted: int = 0
    rejected: int = 0
    sizes: dict[str, int] = Field(default_factory=dict)
    """Length in bytes of each output after that part."""
    limit: int | None = None
    complete: bool = False


def find_source(name: str) -> Source:
    """Return the source with this name. Raises InputError with the list of names."""
    if name not in SOURCES:
        raise InputError("no such source", field="NAME", value=name, remedy=f"Known: {', '.join(SOURCES)}")
    return SOURCES[name]


def import_source(
    name: str, url: str, out: Path, *, limit: int | None = None, on_progress: Progress = lambda *_: None
) -> ImportState:
    """Write the rows of a corpus to `out` and resume an interrupted import. `limit`: maximum number of accepted rows.

    The rows refer to local recordings by path. Remote recordings, and those inside tables, are copied to `out/audio`. Raises
    InputError when the corpus does not have its published layout, or `out` has the import of another corpus.
    """
    source, corpus = find_source(name), CorpusFolder.of(url)
    reader, output = READERS[name], OUTPUTS[source.gives]
    missing = [
        need.description
        for need in reader.required_files
        if not any(True for pattern in need.patterns for _ in corpus.find(pattern))
    ]
    if missing:
        raise InputError(
            f"does not have the published layout of {source.title}", file=url, remedy=f"Missing: {'; '.join(missing)}"
        )
    out.mkdir(parents=True, exist_ok=True)
    state = _state(out, source, url, limit)
    if state.complete:
        return state
    units = list(reader.units(corpus))
    if state.pieces and (state.pieces > len(units) or units[state.pieces - 1] != state.last):
        raise InputError("the corpus has changed since this import started", file=url, remedy=f"Remove {out} and import again")
    with ExitStack() as stack:
        files = {part: stack.enter_context(_cut(out / part, state.sizes.get(part, 0))) for part in (output, REJECTED)}
        for at, unit in enumerate(units[state.pieces :], state.pieces + 1):
            accepted, rejected = state.accepted, state.rejected
            for found in reader.read(corpus, unit, source):
                if (
                    isinstance(found, Recording)
                    and found.data is None
                    and not corpus.is_local
                    and not corpus.has_file(found.audio)
                ):
                    detail = "the recording is missing; unpack the audio of the corpus too"
                    found = ClipRejection(path=corpus.display_path(found.audio), reason="missing_audio", detail=detail)
                if isinstance(found, ClipRejection):
                    rejected += 1
                    files[REJECTED].write(canonical_json(found.model_dump(mode="json")) + b"\n")
                else:
                    accepted += 1
                    files[output].write(_line(found, source, corpus, out))
                if limit is not None and accepted >= limit:
                    break
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())
            done = at == len(units) or (limit is not None and accepted >= limit)
            sizes = {part: file.tell() for part, file in files.items()}
            state = state.model_copy(
                update={"pieces": at, "last": unit, "accepted": accepted, "rejected": rejected, "sizes": sizes, "complete": done}
            )
            write_atomic(out / STATE, state.canonical_json())
            on_progress(at, len(units), f"{accepted} rows, {rejected} rejected")
            if done:
                break
    return state


def _state(out: Path, source: Source, url: str, limit: int | None) -> ImportState:
    path = out / STATE
    if not path.exists():
        return ImportState(source=source.name, place=url, limit=limit)
    state = ImportState.from_json(path.read_bytes(), file=path)
    if (state.source, state.place, state.limit) != (source.name, url, limit):
        held = f"{state.source} from {state.place}" + (f", limited to {state.limit} rows" if state.limit else "")
        raise InputError(f"has an import of {held}", file=out, remedy="Choose another directory")
    return state


def _cut(path: Path, size: int) -> BinaryIO:
    """Open a file for appending after its first `size` bytes; later bytes of a killed run are removed."""
    file = path.open("ab")
    file.truncate(size)
    file.seek(size)
    return file


def _line(found: Recording | Dialogue, source: Source, corpus: CorpusFolder, out: Path) -> bytes:
    if isinstance(found, Dialogue):
        return found.canonical_json() + b"\n"
    row = {
        "id": safe_id(f"{source.name}/{found.id}"),
        "path": _sound(found, corpus, out),
        "role": found.role.value,
        "label": found.label or ("speech" if found.transcript else ""),
        "caption": found.caption,
        "transcript": found.transcript,
        "language": (found.language or source.language) if found.transcript else "",
        "voice": found.voice,
        "translation": found.translation,
        "translation_language": found.translation_language,
        "licence": found.licence or source.licence,
        "attribution": "; ".join(part for part in (found.attribution, source.attribution) if part),
        "source": f"{source.name}/{found.voice}" if found.voice else source.name,
        "split": found.split,
    }
    return canonical_json({name: value for name, value in row.items() if value}) + b"\n"


def _sound(found: Recording, corpus: CorpusFolder, out: Path) -> str:
    """Return the path of a recording: its own, or that of a copy in `out/audio` with a name derived from its id."""
    if found.data is None and corpus.is_local:
        return corpus.full_path(found.audio)
    name = hashlib.sha256(found.id.encode()).hexdigest()[:24]
    suffix = found.audio.rpartition(".")[2].lower() or "wav"
    target = out / "audio" / name[:2] / f"{name}.{suffix}"
    if found.data is not None:
        if not target.exists() or target.stat().st_size != len(found.data):
            write_atomic(target, found.data)
    elif not target.exists():
        write_atomic(target, _blocks(corpus, found.audio))
    return str(target.absolute())


def _blocks(corpus: CorpusFolder, relative: str) -> Iterator[bytes]:
    with corpus.open(relative) as file:
        while block := file.read(1 << 20):
            yield block
