"""LibriSpeech (Panayotov et al. 2015): word error rate on test-clean and test-other.

Files: the published tree (`test-clean/SPEAKER/CHAPTER/*.flac` with `*.trans.txt`), or parquet files {id, text, audio} in folders
whose names contain clean or other. Metrics: corpus WER of jiwer in percent, in lower case without punctuation, and WER with
Whisper's English normalizer, which most published tables use. A missing transcript counts as deletions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from soundflow import prompts
from soundflow.bench.harness.rows import Row
from soundflow.bench.suites.item import (
    Figures,
    Item,
    ItemPrompt,
    Mode,
    Spoken,
    find_files,
    no_rows,
    numbered_rows,
    recording_of,
    unique_items,
)
from soundflow.schemas.base import missing_library

SPLITS = ("clean", "other")
WRITTEN = "Transcribe the English speech word for word. Answer with the transcript only."
SPOKEN = "Write down what is said now."
NOT_WHISPERS = (r"\bkinda\b", r"\bsorta\b", r"\bdunno\b", r"\bcause\b")
"""Rules that the package whisper-normalizer adds to those of Whisper: `cause` would become `because`."""


class LibriSpeech:
    """LibriSpeech's test sets."""

    name, title = "librispeech", "LibriSpeech"
    mode = Mode.TEXT
    rubric = ""

    def read(self, source: Path, audio: Path | None) -> list[Item]:
        """See `Benchmark.read`."""
        paths = find_files(source, ".txt", ".parquet")
        return unique_items(_items(paths, audio), source)

    def prompt(self, item: Item, mode: Mode) -> ItemPrompt:
        """Return the instruction, written or spoken before the recording."""
        audio = (item.recording,) if mode is Mode.TEXT else (Spoken(SPOKEN), item.recording)
        return ItemPrompt(WRITTEN, audio, prompts.variants("instruction_streaming_asr")[0])

    def score(self, items: Sequence[Item], answers: Mapping[str, str], verdicts: Mapping[str, list[str]]) -> Figures:
        """Return the word error rates in percent."""
        values: dict[str, float | None] = {}
        notes = []
        for split in (*SPLITS, *sorted({item.group for item in items} - set(SPLITS))):
            group = [item for item in items if item.group == split]
            hypotheses = [answers.get(item.id, "") for item in group]
            values[split] = word_error_rate([item.references[0] for item in group], hypotheses) if group else None
            values[f"{split}, whisper"] = (
                whisper_error_rate([item.references[0] for item in group], hypotheses) if group else None
            )
            if group and values[f"{split}, whisper"] is None:
                notes.append(f"{split}, whisper: undefined, since Whisper's normalizer leaves no word of the transcripts")
        return Figures(values, len(items), sum(item.id not in answers for item in items), notes=tuple(notes))


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Return the corpus WER in percent: edits of all utterances over all reference words."""
    jiwer = _library("jiwer")
    steps = (jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.RemoveMultipleSpaces(), jiwer.Strip())
    as_compared = jiwer.Compose([*steps, jiwer.ReduceToListOfListOfWords()])
    texts = [text if text.strip() else "" for text in hypotheses]
    return 100.0 * float(jiwer.process_words(list(references), texts, as_compared, as_compared).wer)


def whisper_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float | None:
    """Return the WER with Whisper's English normalizer; None if it leaves no word of any reference."""
    jiwer, normalize = _library("jiwer"), _library("whisper_normalizer.english").EnglishTextNormalizer()
    for rule in NOT_WHISPERS:
        normalize.replacers.pop(rule, None)
    expected, found = [normalize(text) for text in references], [normalize(text) for text in hypotheses]
    return 100.0 * float(jiwer.wer(expected, found)) if any(text.strip() for text in expected) else None


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise missing_library(name.partition(".")[0].replace("_", "-"), "benchmarks") from None


def _items(paths: Sequence[Path], audio: Path | None) -> Iterator[tuple[Item, Row]]:
    for path in paths:
        if path.suffix.lower() == ".parquet":
            for number, row in numbered_rows([path], ("id", "text")):
                recording = recording_of(row, number, audio, (), "audio")
                yield Item(row.text("id"), "", (row.text("text"),), recording, row.where, _split(path)), row
        elif path.name.endswith(".trans.txt"):
            yield from _transcripts(path)


def _transcripts(path: Path) -> Iterator[tuple[Item, Row]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise Row(path, "line 1", {}).error(f"is not UTF-8 text ({error.reason})", remedy="Download the archive again") from None
    if not any(line.strip() for line in lines):
        raise no_rows(path)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, _, text = line.strip().partition(" ")
        row = Row(path, f"line {number}", {"id": name, "text": text, "audio": f"{name}.flac"})
        yield Item(name, "", (row.text("text"),), recording_of(row, number, None, (".",), "audio"), row.where, _split(path)), row


def _split(path: Path) -> str:
    for part in reversed(path.parts):
        for split in SPLITS:
            if split in part.lower():
                return split
    return "all"
