"""`soundflow sources check`: check that a corpus has its published layout, and read its first rows."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Final

from pydantic import Field

from soundflow.operators.clean.clip_cache import detail_of
from soundflow.operators.clean.ingress import read_bytes
from soundflow.operators.sources.corpora import READERS, CorpusFolder, Recording
from soundflow.pipeline.speech.source_import import find_source
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.clip import ClipRejection
from soundflow.schemas.outcome import Rejected

UNUSABLE: Final = ("unreadable", "truncated", "damaged", "empty", "unsupported_format", "several_tracks")
"""Rejection reasons that mean a broken file; other reasons concern the recorded sound."""


class FilesFound(Schema):
    """A group of files that a corpus needs."""

    patterns: tuple[str, ...]
    about: str
    example: str = ""
    """Path of one of them; empty if there is none."""


class SourceCheck(Schema):
    """Result of the check."""

    name: str
    title: str
    home: str
    licence: str
    files: tuple[FilesFound, ...]
    rows: int = 0
    """Rows that were read, from the beginning."""
    accepted: int = 0
    rejected: dict[str, int] = Field(default_factory=dict)
    """Reason → number of rows."""
    problems: tuple[str, ...] = ()
    """What is wrong and what to do; empty if the corpus can be imported."""
    examples: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the corpus can be imported."""
        return not self.problems


def check_source(name: str, url: str, rows: int = 100) -> SourceCheck:
    """Look for the files, read the first `rows` rows and open the first recordings. Raises InputError when `url` is missing."""
    source, corpus = find_source(name), CorpusFolder.of(url)
    reader = READERS[name]
    files, problems, examples = [], [], []
    for need in reader.required_files:
        example = next((path for pattern in need.patterns for path in corpus.find(pattern)), "")
        files.append(FilesFound(patterns=need.patterns, about=need.description, example=example))
        if not example:
            problems.append(f"{url} has no file {' or '.join(need.patterns)}: {need.description}")
    outcomes: Counter[str] = Counter()
    seen = accepted = 0
    if not problems:
        try:
            results = (result for unit in reader.units(corpus) for result in reader.read(corpus, unit, source))
            for result in islice(results, rows):
                seen += 1
                if isinstance(result, ClipRejection):
                    outcomes[result.reason] += 1
                    if outcomes[result.reason] == 1:
                        examples.append(f"{result.path}: {result.reason}: {result.detail}")
                    continue
                accepted += 1
                if isinstance(result, Recording) and accepted <= 3 and (fault := _fault(result, corpus)):
                    problems.append(fault)
        except InputError as error:
            problems.append(str(error))
        if not accepted and not problems:
            problems.append(f"none of the first {seen} rows can be used" + (f": {examples[0]}" if examples else ""))
    return SourceCheck(
        name=name,
        title=source.title,
        home=source.home,
        licence=source.licence,
        files=tuple(files),
        rows=seen,
        accepted=accepted,
        rejected=dict(outcomes),
        problems=tuple(problems),
        examples=tuple(examples),
    )


def _fault(recording: Recording, corpus: CorpusFolder) -> str:
    """Return what is wrong with the file of a recording; empty if it can be opened."""
    if recording.data is None and not corpus.has_file(recording.audio):
        return f"{corpus.display_path(recording.audio)}: the recording is missing. Unpack the audio of the corpus too"
    data = recording.data
    if data is None:
        with corpus.open(recording.audio) as file:
            data = file.read()
    outcome = read_bytes(data)
    if not isinstance(outcome, Rejected) or outcome.reason not in UNUSABLE:
        return ""
    why = detail_of(outcome).rstrip(". ")
    return f"{recording.audio}: the recording cannot be read: {outcome.reason} ({why}). Unpack or download it again"
