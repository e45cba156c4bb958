"""List the recordings of a folder in sorted order. Each real directory is entered once, so symlink loops end.

Files are chosen by suffix. A text file next to a recording is its transcript: `x.txt`, `x.wav.txt`, `x.lab`, `x.normalized.txt`
(LibriTTS) or subtitles, or a line of `*.trans.txt` (LibriSpeech) or `*transcript.txt` (AISHELL) in the same folder. Names are
compared in Unicode's form NFC, suffixes in any case. Annotations of other kinds are recognised by content
(`operators.sources.transcripts`) and not read.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import soundfile

from soundflow.operators.labels.maps import label_of_esc50_file
from soundflow.operators.sources.paths import FolderClasses, guess_from_path
from soundflow.operators.sources.rows import LabelSource, RowOrRejection, SourceRow, is_storable, printable, safe_id, tidy
from soundflow.operators.sources.transcripts import ANNOTATIONS, SUFFIXES, has_words, read_sidecar
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRejection
from soundflow.schemas.text import control_string

RECORDINGS: Final = frozenset(name.lower() for name in soundfile.available_formats()) - {"raw"} | frozenset(
    "8svx aif aifc bwf iff mp1 mp2 mpa mpga m2a oga opus snd sph wave "
    "3g2 3gp 3gpp aac ac3 adts amr ape asf avi awb dff dsf dts eac3 flv g722 gsm m2ts m4a m4b m4v mka mkv mov mp4 mpc mpeg mpg "
    "mpp mts ogv ogx pcm qt ra rm spx tak tta vox weba webm wma wv".split()
)
"""Suffixes of recordings. The format of a file is detected later, from its content; what cannot be read is then rejected."""
TRANSCRIPT_BYTES: Final = 65_536
_TRANSCRIPT_LIST: Final = re.compile(r".*\.trans\.txt|(.*[._-])?transcript(s|ion|ions)?\.txt")


ReadTables = Callable[[tuple[str, ...], Sequence[str]], Iterator[RowOrRejection] | None]
"""(folders below the root, files in the last of them) → the rows of tables among the files, or None when there are none."""


def walk(
    root: Path,
    skip: Path | None = None,
    warn: Callable[[str], None] = lambda text: None,
    read_tables: ReadTables = lambda folders, names: None,
) -> Iterator[RowOrRejection]:
    """Yield a row for each recording under `root`, without hidden names and the directory `skip`.

    `warn` is called with a message about annotations that are not read. A folder with tables (`read_tables`) is not entered.
    Real directories come before symlinked ones, so that a linked file keeps the id of its real path. Raises InputError when
    `root` cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    reader = _FolderReader(root)
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
        subfolders, linked = [], []
        for entry in entries:
            if not is_storable(entry.name):
                detail = "the name is not UTF-8: rename the file"
                yield ClipRejection(path=printable(entry.path), reason="name_not_utf8", detail=detail)
            elif entry.is_dir(follow_symlinks=False):
                subfolders.append((*folders, entry.name))
            elif entry.is_symlink() and _links_to_folder(entry):
                linked.append((*folders, entry.name))
        files = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False) and not _links_to_folder(entry)]
        names = [name for name in files if is_storable(name)]
        listed = read_tables(folders, names)
        yield from reader.read(folders, names) if listed is None else listed
        if listed is None:
            stack.extend(reversed(subfolders))
            links.extend(linked)
    if reader.annotations:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(reader.annotations.items()))
        remedy = "Write a manifest with one row per event if they matter"
        warn(f"{root}: annotations beside recordings are not read ({kinds}; first: {reader.first_annotation}). {remedy}")


def row_of(
    root: Path, folders: tuple[str, ...], name: str, transcript: str | None = None, classes: FolderClasses | None = None
) -> SourceRow:
    """Return the row of a recording with what its path says. `classes`: caches the listings of folders for several rows."""
    classes = classes or FolderClasses(RECORDINGS)
    stem = name.rpartition(".")[0] or name
    guess = guess_from_path(folders, stem, root.name, classes.of(root, folders))
    label, label_source = guess.label, guess.label_source if guess.label else ""
    number = label_of_esc50_file(stem)
    if number and (label_source != LabelSource.FOLDER or classes.is_mixed(root.joinpath(*folders))):
        label, label_source = number, LabelSource.MAP
    source = "/".join((root.name or "unknown", *_speaker(folders, name))) if transcript else root.name
    return SourceRow(
        id=safe_id("/".join((*folders, name))),
        path="/".join((str(root).rstrip("/"), *folders, name)),
        role=guess.role,
        label="speech" if transcript else label,
        label_source=LabelSource.TRANSCRIPT if transcript else label_source,
        transcript=transcript,
        source=tidy(source) or "unknown",
        split=guess.split,
        listed=False,
    )


def _speaker(folders: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return the folder of the speaker: one that the file name begins with (84/121123/84-121123-0001), else the nearest."""
    return next(((folder,) for folder in folders if name.startswith(folder)), folders[-1:])


class _FolderReader:
    """Reads the files of one folder after the other, and counts the annotations beside recordings."""

    def __init__(self, root: Path) -> None:
        self.root, self.classes = root, FolderClasses(RECORDINGS)
        self.annotations: Counter[str] = Counter()
        self.first_annotation = ""

    def read(self, folders: tuple[str, ...], names: Sequence[str]) -> Iterator[RowOrRejection]:
        """Yield the rows and rejections of the recordings among the files of a folder."""
        directory = self.root.joinpath(*folders)
        listed = _listed_transcripts(directory, names)
        texts = {key: name for name in names for key in sidecar_keys(name)}
        for name in names:
            stem, _, suffix = name.rpartition(".")
            if suffix.lower() in RECORDINGS and stem:
                found = self._transcript(directory, nfc(name), texts, listed)
                if isinstance(found, tuple):
                    yield ClipRejection(path=str(directory / name), reason=found[0], detail=found[1])
                else:
                    yield row_of(self.root, folders, name, found, self.classes)

    def _transcript(
        self, directory: Path, recording: str, texts: Mapping[tuple[str, str], str], listed: Mapping[str, str]
    ) -> str | tuple[str, str] | None:
        """Return the transcript of a recording, None when it has none, or (reason, detail) when it cannot be used."""
        stem = recording.rpartition(".")[0]
        transcript, place = listed.get(stem), "list of transcripts"
        for suffix in SUFFIXES:
            name = texts.get((stem, suffix)) or texts.get((recording, suffix))
            if name is None:
                continue
            text = _read_text(directory / name)
            if text is None:
                return "bad_transcript", f"{name}: the transcript is not UTF-8 text of at most {TRANSCRIPT_BYTES >> 10} KiB"
            sidecar = read_sidecar(text, name, stem)
            if sidecar.annotation:
                self._count_annotation(sidecar.annotation, directory / name)
                continue
            transcript, place = sidecar.transcript or transcript or "", name
            break
        for suffix in ANNOTATIONS:
            if (stem, suffix) in texts and transcript is None:
                self._count_annotation(suffix, directory / texts[stem, suffix])
        if transcript is not None and not has_words(transcript):
            return "transcript_without_words", f"{place}: {transcript!r} has no word" if transcript else f"{place} is empty"
        if mark := control_string(transcript or ""):
            return "control_string", f"{place}: contains {mark}, a control string of chat templates; remove it"
        return transcript

    def _count_annotation(self, kind: str, path: Path) -> None:
        self.annotations[kind] += 1
        self.first_annotation = self.first_annotation or printable(str(path))


def nfc(name: str) -> str:
    """Return a name in Unicode's form NFC; macOS stores names in NFD."""
    return unicodedata.normalize("NFC", name)


def sidecar_keys(name: str) -> Iterator[tuple[str, str]]:
    """Yield (stem, suffix) for each suffix of a transcript or annotation that a file name ends in."""
    lower = name.lower()
    for suffix in (*SUFFIXES, *ANNOTATIONS):
        if lower.endswith(suffix) and len(name) > len(suffix):
            yield nfc(name[: -len(suffix)]), suffix


def _links_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, which is then reported as a file
        return False


def _read_text(path: Path) -> str | None:
    """Return the text of a file; None if it is not a small, readable UTF-8 file."""
    try:
        if not path.is_file() or path.stat().st_size > TRANSCRIPT_BYTES:
            return None
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None


def _listed_transcripts(directory: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the transcripts by stem, from the `ID WORDS…` lines of the lists of transcripts in one folder."""
    transcripts: dict[str, str] = {}
    own = {f"{stem.lower()}.txt" for stem, _, suffix in (name.rpartition(".") for name in names) if suffix.lower() in RECORDINGS}
    for name in names:
        if not _TRANSCRIPT_LIST.fullmatch(name.lower()) or name.lower() in own:
            continue
        try:
            with (directory / name).open(encoding="utf-8-sig", errors="replace") as lines:
                for line in lines:
                    key, *words = line.split(maxsplit=1) or ("",)
                    stem, _, suffix = key.rpartition(".")
                    if words and "\ufffd" not in words[0]:
                        transcripts[nfc(stem if suffix.lower() in RECORDINGS and stem else key)] = tidy(words[0])
        except OSError:
            continue
    return transcripts
