"""Walk a folder of recordings: sorted, each real directory once, whatever symlinks do.

Files are chosen by suffix and opened by content later. A text file next to a recording is its transcript: `x.txt`,
`x.lab` or `x.normalized.txt` (LibriTTS), or a line of `*.trans.txt` in the same folder (LibriSpeech).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import soundfile

from soundflow.operators.sources.rows import Found, SourceRow, guess, printable, safe_id, storable, tidy
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRejection

READABLE: Final = frozenset(name.lower() for name in soundfile.available_formats()) - {"raw"} | frozenset(
    "aif aifc oga opus wave snd sph".split()
)
"""Suffixes that are tried; what the file really is, its content decides."""
UNREADABLE: Final = frozenset("m4a aac wma webm amr ape mp4 mka".split())
"""Recordings soundfile cannot open: listed, not passed over in silence."""
TRANSCRIPT_SUFFIXES: Final = (".normalized.txt", ".txt", ".lab")
TRANSCRIPT_BYTES: Final = 65_536


def walk(root: Path, skip: Path | None = None) -> Iterator[Found]:
    """Rows for every recording under `root` (hidden names and the directory `skip` are passed over).

    Real directories come before symlinked ones, so that a file behind a link keeps the name of the place it lives in; no
    directory is entered twice, so loops end. Raises InputError when `root` itself cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    stack: list[tuple[str, ...]] = [()]
    links: deque[tuple[str, ...]] = deque()
    while stack or links:
        folders = stack.pop() if stack else links.popleft()
        place = root.joinpath(*folders)
        if skip is not None and place == skip:
            continue
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(place) as listing:
                entries = sorted((entry for entry in listing if not entry.name.startswith(".")), key=lambda entry: entry.name)
        except OSError as error:
            if not folders:
                raise InputError(f"cannot be listed: {error.strerror}", file=root) from None
            reason = "permission_denied" if isinstance(error, PermissionError) else "unreadable"
            yield ClipRejection(path=str(place), reason=reason, detail=f"folder: {error.strerror}")
            continue
        files = []
        for entry in entries:
            if not storable(entry.name):
                detail = "rename it: the name is not UTF-8"
                yield ClipRejection(path=printable(entry.path), reason="name_not_utf8", detail=detail)
            elif entry.is_dir(follow_symlinks=False):
                files.append((*folders, entry.name))
            elif entry.is_symlink() and _links_to_folder(entry):
                links.append((*folders, entry.name))
        stack.extend(reversed(files))
        names = {entry.name for entry in entries}
        spoken = _libri_transcripts(place, names)
        for entry in entries:
            if storable(entry.name) and not entry.is_dir(follow_symlinks=False) and not _links_to_folder(entry):
                yield from _file(root, folders, entry.name, names, spoken)


def row_of(root: Path, folders: tuple[str, ...], name: str, transcript: str | None = None) -> SourceRow:
    """What is known of one recording from where it lies."""
    found = guess(folders, name.rpartition(".")[0] or name, root.name)
    source = "/".join((root.name or "unknown", *_speaker(folders, name))) if transcript else root.name
    return SourceRow(
        id=safe_id("/".join((*folders, name))),
        path="/".join((str(root).rstrip("/"), *folders, name)),
        role=found.role,
        label="speech" if transcript else found.label,
        caption="" if transcript else found.caption,
        transcript=transcript,
        source=tidy(source) or "unknown",
        split=found.split,
        listed=False,
    )


def _speaker(folders: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The folder a voice is told by: one that the file's name begins with (84/121123/84-121123-0001), else the nearest."""
    return next(((folder,) for folder in folders if name.startswith(folder)), folders[-1:])


def _file(root: Path, folders: tuple[str, ...], name: str, names: set[str], spoken: Mapping[str, str]) -> Iterator[Found]:
    stem, _, suffix = name.rpartition(".")
    if suffix.lower() in UNREADABLE and stem:
        detail = f".{suffix.lower()} is not a format of libsndfile: convert it to wav or flac"
        yield ClipRejection(path=str(root.joinpath(*folders, name)), reason="unsupported_format", detail=detail)
    if suffix.lower() not in READABLE or not stem:
        return
    transcript = spoken.get(stem)
    beside = next((stem + ending for ending in TRANSCRIPT_SUFFIXES if stem + ending in names), None)
    if beside is not None:
        text = _text(root.joinpath(*folders, beside))
        if text is None:
            detail = f"{beside} is not a short UTF-8 text"
            yield ClipRejection(path=str(root.joinpath(*folders, name)), reason="bad_transcript", detail=detail)
            return
        transcript = text or transcript
    yield row_of(root, folders, name, transcript)


def _links_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: reported as a file
        return False


def _text(path: Path) -> str | None:
    """The one-line text of a small file; None when it is not one."""
    try:
        if not path.is_file() or path.stat().st_size > TRANSCRIPT_BYTES:
            return None
        return tidy(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return None


def _libri_transcripts(place: Path, names: set[str]) -> dict[str, str]:
    """`ID WORDS…` lines of every `*.trans.txt` in one folder."""
    spoken: dict[str, str] = {}
    for name in sorted(name for name in names if name.endswith(".trans.txt")):
        try:
            with (place / name).open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    key, _, words = line.strip().partition(" ")
                    if key and words and "\ufffd" not in words:
                        spoken[key] = tidy(words)
        except OSError:
            continue
    return spoken
