"""Text files of a folder that name recordings without a transcript but are not read, such as the TSV files of Common Voice."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Final

from soundflow.operators.sources.folder import RECORDINGS, nfc, sidecar_keys
from soundflow.operators.sources.rows import SourceRow
from soundflow.operators.sources.transcripts import SUFFIXES

_TEXTS: Final = (".txt", ".tsv", ".csv", ".jsonl", ".json", ".lab", ".srt", ".vtt", ".trn")
_STEMS: Final = 65_536
"""Maximum number of recordings whose names are kept."""
_HEADS: Final = 1_000
"""Maximum number of files whose beginning is read."""
_HEAD_BYTES: Final = 4_096


class UnreadTexts:
    """Collects the recordings without a transcript, then finds the text files that name some of them."""

    def __init__(self, root: Path, skip: Path | None = None) -> None:
        self.root, self.skip = root, skip
        self._stems: set[str] = set()

    def add(self, row: SourceRow) -> None:
        """Note the name of a recording that has no transcript."""
        if not row.transcript and len(self._stems) < _STEMS:
            self._stems.add(_stem(row.path))

    def find(self, known: Set[Path]) -> list[Path]:
        """Return the files, without those in `known` and those that lie beside the recording of their name."""
        found, heads = [], 0
        for path, stems in self._candidates() if self._stems else ():
            if path in known:
                continue
            is_named = not stems.isdisjoint(self._stems)
            if not is_named and heads < _HEADS:
                heads += 1
                is_named = any(name in self._stems for name in _names(path))
            if is_named:
                found.append(path)
        return found

    def _candidates(self) -> Iterator[tuple[Path, Set[str]]]:
        """Yield (text file that is not beside its recording, names of the recording that it may belong to)."""
        for folder, subfolders, names in os.walk(self.root):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and Path(folder, name) != self.skip)
            beside = {stem for name in names if _is_recording(name) for stem in (nfc(name), _stem(name))}
            for name in sorted(names):
                if name.lower().endswith(_TEXTS) and not name.startswith("."):
                    stems = {_stem(stem) for stem, suffix in sidecar_keys(name) if suffix in SUFFIXES}
                    if beside.isdisjoint(stems):
                        yield Path(folder, name), stems


def _is_recording(name: str) -> bool:
    return name.rpartition(".")[2].lower() in RECORDINGS


def _stem(path: str) -> str:
    """Return the name of a recording without folders and suffix."""
    name = nfc(re.split(r"[/\\]", path)[-1])
    return name.rpartition(".")[0] if _is_recording(name) and "." in name else name


def _names(path: Path) -> Iterator[str]:
    """Yield what may be names of recordings at the beginning of a text: names with a suffix, and first words with a digit."""
    try:
        with path.open("rb") as file:
            text = file.read(_HEAD_BYTES).decode("utf-8-sig", "replace")
    except OSError:
        return
    for line in text.splitlines():
        for at, word in enumerate(re.split(r"[\s,;|\"'{}\[\]]+", line.strip())):
            if (_is_recording(word) and "." in word) or (at == 0 and len(word) > 1 and re.search(r"\d", word)):
                yield _stem(word)
