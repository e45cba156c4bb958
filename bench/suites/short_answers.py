"""Llama Questions (Nachmani et al. 2023) and Web Questions (Berant et al. 2013), spoken: questions with short answers.

Files: OpenAudioBench's CSV with `audios/`, `llama_questions.csv` {Questions, Answer, audio_filename} and `web_questions.csv`
{question, answers, audio_filename}, or parquet files with recordings. Several answers are a list; in CSV they are `a;b` or a
Python list (Web Questions). Metric: `spoken_qa.has_answer` of any reference.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from soundflow.bench.harness.rows import Row
from soundflow.bench.suites.item import Figures, Item, find_files, mean_and_interval, numbered_rows, recording_of, unique_items
from soundflow.bench.suites.spoken_qa import SpokenQuestions, has_answer

QUESTION, ANSWER = ("Questions", "question", "Question"), ("Answer", "answer", "answers")


@dataclass(slots=True)
class ShortAnswers(SpokenQuestions):
    """One of the two benchmarks."""

    name: str
    title: str
    folder: str
    """Name of the folder and the file in OpenAudioBench."""
    several: bool
    """Whether a text can contain several answers."""
    rubric: str = ""

    def read(self, source: Path, audio: Path | None) -> list[Item]:
        """See `Benchmark.read`."""
        rows = numbered_rows(find_files(source, ".csv", ".parquet", inside=self.folder), (*QUESTION, *ANSWER))
        pairs = ((self._item(row, number, place, audio), row) for place, (number, row) in enumerate(rows, 1))
        return unique_items(pairs, source)

    def score(self, items: Sequence[Item], answers: Mapping[str, str], verdicts: Mapping[str, list[str]]) -> Figures:
        """Return the share of answers, in percent, that contain one of the references."""
        scores = [100.0 * has_answer(item.references, answers.get(item.id, "")) for item in items]
        accuracy, interval = mean_and_interval(scores, self.name)
        return Figures({"accuracy": accuracy}, len(items), sum(item.id not in answers for item in items), {"accuracy": interval})

    def _item(self, row: Row, number: int, place: int, audio: Path | None) -> Item:
        recording = recording_of(row, number, audio, ("audios", "."), "audio_filename", "audio")
        answers = _separated(row) if self.several else row.texts(*ANSWER)
        return Item(f"{self.name.partition('-')[0]}-{place:04d}", row.text(*QUESTION), answers, recording, row.where)


def _separated(row: Row) -> tuple[str, ...]:
    if not isinstance(text := row.values.get("answers"), str):
        return row.texts("answers")
    try:
        listed = ast.literal_eval(text.strip()) if text.strip().startswith("[") else text.split(";")
    except (ValueError, SyntaxError):
        raise row.error("is not a list of answers", "answers", text, "Write a;b or ['a', 'b']") from None
    found = tuple(one.strip() for one in listed if isinstance(one, str) and one.strip()) if isinstance(listed, list) else ()
    if not found:
        raise row.error("contains no answer", "answers", text, "Write a;b or ['a', 'b']")
    return found
