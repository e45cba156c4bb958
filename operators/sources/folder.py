"""List the recordings of a folder in sorted order. Each real directory is entered once, so symlink loops end.

Files are chosen by suffix. A text file next to a recording is its transcript: `x.txt`, `x.lab` or `x.normalized.txt` (LibriTTS),
or a line of `*.trans.txt` in the same folder (LibriSpeech).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import soundfile

from soundflow.operators.sources.rows import RowOrRejection, SourceRow, guess_from_path, is_storable, printable, safe_id, tidy
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRejection

RECORDINGS: Final = frozenset(name.lower() for name in soundfile.available_formats()) - {"raw"} | frozenset(
    "8svx aif aifc bwf iff mp1 mp2 mpa mpga m2a oga opus snd sph wave "
    "3g2 3gp 3gpp aac ac3 adts amr ape asf avi awb dff dsf dts eac3 flv g722 gsm m2ts m4a m4b m4v mka mkv mov mp4 mpc mpeg mpg "
    "mpp mts ogv ogx pcm qt ra rm spx tak tta vox weba webm wma wv".split()
)
"""Suffixes of recordings. The format of a file is detected later, from its content; what cannot be read is then rejected."""
TRANSCRIPT_SUFFIXES: Final = (".normalized.txt", ".txt", ".lab")
TRANSCRIPT_BYTES: Final = 65_536


def walk(root: Path, skip: Path | None = None) -> Iterator[RowOrRejection]:
    """Yield a row for each recording under `root`, without hidden names and the directory `skip`.

    Real directories come before symlinked ones, so that a linked file keeps the id of its real path. Raises InputError when
    `root` cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    stack: list[tuple[str, ...]] = [()]
    links: deque[tuple[str, ...]] = deque()
    while stack or links:
        folders = stack.pop() if stack else links.popleft()
        directory = root.joinpath(*folders)
        if skip is not None and directory == skip:
            continue
        try:
            status = directory.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(directory) as listing:
                entries = sorted((entry for entry in listing if not entry.name.startswith(".")), key=lambda entry: entry.name)
        except OSError as error:
            if not folders:
                remedy = "Check the permissions of the folder"
                raise InputError(f"cannot be listed: {error.strerror}", file=root, remedy=remedy) from None
            reason = "permission_denied" if isinstance(error, PermissionError) else "unreadable"
            yield ClipRejection(path=str(directory), reason=reason, detail=f"the folder cannot be listed: {error.strerror}")
            continue
        subfolders = []
        for entry in entries:
            if not is_storable(entry.name):
                detail = "the name is not UTF-8: rename the file"
                yield ClipRejection(path=printable(entry.path), reason="name_not_utf8", detail=detail)
            elif entry.is_dir(follow_symlinks=False):
                subfolders.append((*folders, entry.name))
            elif entry.is_symlink() and _links_to_folder(entry):
                links.append((*folders, entry.name))
        stack.extend(reversed(subfolders))
        names = {entry.name for entry in entries}
        transcripts = _libri_transcripts(directory, names)
        for entry in entries:
            if is_storable(entry.name) and not entry.is_dir(follow_symlinks=False) and not _links_to_folder(entry):
                yield from _file(root, folders, entry.name, names, transcripts)


def row_of(root: Path, folders: tuple[str, ...], name: str, transcript: str | None = None) -> SourceRow:
    """Return the row of a recording with what its path says."""
    guess = guess_from_path(folders, name.rpartition(".")[0] or name, root.name)
    source = "/".join((root.name or "unknown", *_speaker(folders, name))) if transcript else root.name
    return SourceRow(
        id=safe_id("/".join((*folders, name))),
        path="/".join((str(root).rstrip("/"), *folders, name)),
        role=guess.role,
        label="speech" if transcript else guess.label,
        caption="" if transcript else guess.caption,
        transcript=transcript,
        source=tidy(source) or "unknown",
        split=guess.split,
        listed=False,
    )


def _speaker(folders: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return the folder of the speaker: one that the file name begins with (84/121123/84-121123-0001), else the nearest."""
    return next(((folder,) for folder in folders if name.startswith(folder)), folders[-1:])


def _file(
    root: Path, folders: tuple[str, ...], name: str, names: set[str], transcripts: Mapping[str, str]
) -> Iterator[RowOrRejection]:
    stem, _, suffix = name.rpartition(".")
    if suffix.lower() not in RECORDINGS or not stem:
        return
    transcript = transcripts.get(stem)
    text_file = next((stem + ending for ending in TRANSCRIPT_SUFFIXES if stem + ending in names), None)
    if text_file is not None:
        text = _read_text(root.joinpath(*folders, text_file))
        if text is None:
            detail = f"{text_file}: the transcript is not UTF-8 text of at most {TRANSCRIPT_BYTES >> 10} KiB"
            yield ClipRejection(path=str(root.joinpath(*folders, name)), reason="bad_transcript", detail=detail)
            return
        transcript = text or transcript
    yield row_of(root, folders, name, transcript)


def _links_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, which is then reported as a file
        return False


def _read_text(path: Path) -> str | None:
    """Return the text of a small file as one line; None when it is no such file."""
    try:
        if not path.is_file() or path.stat().st_size > TRANSCRIPT_BYTES:
            return None
        return tidy(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return None


def _libri_transcripts(directory: Path, names: set[str]) -> dict[str, str]:
    """Return the transcripts by id, from the `ID WORDS…` lines of every `*.trans.txt` in one folder."""
    transcripts: dict[str, str] = {}
    for name in sorted(name for name in names if name.endswith(".trans.txt")):
        try:
            with (directory / name).open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    key, _, words = line.strip().partition(" ")
                    if key and words and "\ufffd" not in words:
                        transcripts[key] = tidy(words)
        except OSError:
            continue
    return transcripts
