"""Kaldi data directories (`wav.scp`, `text`, `utt2spk`, `segments`, `utt2lang`) as rows of a clip manifest.

Commands in `wav.scp` are never run. Those that only decode a file (`flac -c -d -s x.flac |`, `sph2pipe … x.sph |`, `cat x |`) are
replaced by the file. Format: https://kaldi-asr.org/doc/data_prep.html.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

LIST: Final = "wav.scp"
_DECODERS: Final = frozenset({"cat", "flac", "sph2pipe"})


def read_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """Yield (number, cells or `reason: detail`) for each utterance of the directory of `wav.scp`."""
    folder = path.parent
    recordings = dict(_lines(path))
    words, speakers, languages = (dict(_lines(folder / name)) for name in ("text", "utt2spk", "utt2lang"))
    segments = list(_lines(folder / "segments")) or [(key, "") for key in recordings]
    for number, (utterance, segment) in enumerate(segments, start=1):
        key, *times = segment.split() if segment else (utterance,)
        audio = _file_of(recordings.get(key, ""))
        if key not in recordings:
            yield number, f"missing_recording: {utterance}: wav.scp has no recording {key!r}"
        elif not audio:
            detail = "wav.scp runs a command or points into an archive; write the audio to files"
            yield number, f"audio_from_command: {utterance}: {detail}"
        elif words and utterance not in words:
            yield number, f"missing_transcript: {utterance}: the file text has no line for it"
        else:
            cells: dict[str, Any] = {"id": utterance, "path": audio, "transcript": words.get(utterance, "")}
            if segment:
                try:
                    start, end = (float(time) for time in times[:2])
                except ValueError:
                    yield number, f"bad_row: segments: {utterance}: expected RECORDING START END"
                    continue
                cells |= {"offset": start} | ({"duration": end - start} if end >= 0 else {})  # -1: to the end
            yield number, cells | {"voice": speakers.get(utterance), "language": languages.get(utterance)}


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (key, rest) for the lines of a file; nothing when it does not exist."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        for line in lines:
            key, *rest = line.split(maxsplit=1) or ("",)
            if key:
                yield key, rest[0].strip() if rest else ""


def _file_of(entry: str) -> str:
    """Return the file of an entry of `wav.scp`; empty for a command that does more than decode, or an offset in an archive."""
    if not entry.endswith("|"):
        archive, _, offset = entry.rpartition(":")
        return "" if archive.endswith(".ark") and offset.isdigit() else entry
    try:
        command, *arguments = shlex.split(entry[:-1])
    except ValueError:
        return ""
    files = [word for word in arguments if not word.startswith("-") and "." in word]
    if command.rpartition("/")[2] not in _DECODERS or len(files) != 1 or "|" in arguments:
        return ""
    return files[0]
