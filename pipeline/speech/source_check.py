"""`soundflow sources check`: is a corpus there as it is published, and do its first rows read well?"""

from __future__ import annotations

import io
from collections import Counter
from itertools import islice

import soundfile
from pydantic import Field

from soundflow.operators.sources.corpora import READERS, CorpusFolder, Recording
from soundflow.pipeline.speech.source_import import find_source
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.clip import ClipRejection


class Found(Schema):
    """A group of files a corpus needs."""

    patterns: tuple[str, ...]
    about: str
    example: str = ""
    """One of them; empty when there is none."""


class SourceCheck(Schema):
    """What was found."""

    name: str
    title: str
    home: str
    licence: str
    files: tuple[Found, ...]
    rows: int = 0
    """Rows looked at, from the beginning."""
    accepted: int = 0
    rejected: dict[str, int] = Field(default_factory=dict)
    """By reason."""
    problems: tuple[str, ...] = ()
    """What is wrong, and what to do about it."""
    examples: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it can be imported."""
        return not self.problems


def check_source(name: str, url: str, rows: int = 100) -> SourceCheck:
    """Look for the files, read the first `rows` rows, open the first recordings. InputError: no such folder."""
    source, corpus = find_source(name), CorpusFolder.of(url)
    reader = READERS[name]
    files, problems, examples = [], [], []
    for need in reader.required_files:
        example = next((path for pattern in need.patterns for path in corpus.find(pattern)), "")
        files.append(Found(patterns=need.patterns, about=need.description, example=example))
        if not example:
            problems.append(f"no file {' or '.join(need.patterns)} in {url}: {need.description}")
    outcomes: Counter[str] = Counter()
    seen = accepted = 0
    if not problems:
        try:
            every = (found for unit in reader.units(corpus) for found in reader.read(corpus, unit, source))
            for found in islice(every, rows):
                seen += 1
                if isinstance(found, ClipRejection):
                    outcomes[found.reason] += 1
                    if outcomes[found.reason] == 1:
                        examples.append(f"{found.path}: {found.reason}: {found.detail}")
                    continue
                accepted += 1
                if isinstance(found, Recording) and accepted <= 3 and (fault := _fault(found, corpus)):
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


def _fault(found: Recording, corpus: CorpusFolder) -> str:
    """What is wrong with a recording's file; empty when it opens."""
    if found.data is None and not corpus.has_file(found.audio):
        return f"{corpus.display_path(found.audio)}: the recording is not there; unpack the corpus's audio too"
    if found.data is None:
        with corpus.open(found.audio) as file:
            return _unreadable(file, found.audio)
    return _unreadable(io.BytesIO(found.data), found.audio)


def _unreadable(file: object, name: str) -> str:
    try:
        soundfile.info(file)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        why = str(getattr(error, "error_string", error)).strip(" .")
        return f"{name}: no recording libsndfile opens ({why}); is it whole? Unpack or download it again"
    return ""
