"""Web Questions (Berant et al. 2013), spoken: questions with several acceptable answers.

Files: OpenAudioBench's `web_questions.csv` {question, answers, audio_filename} with `audios/`, or a parquet file with recordings
{question, answers, audio}. In CSV the answers are `a;b` or a list as Python writes it. Metric: `spoken_qa.has_answer` of any.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.rows import Row
from bench.suites.item import Ask, Figures, Item, Mode, distinct, files, numbered, recording_of
from bench.suites.spoken_qa import ask_spoken, exist_match


class WebQuestions:
    """Web Questions with recordings."""

    name, title, judged = "web-questions", "Web Questions", False
    mode = Mode.AUDIO
    rubric = ""

    def read(self, source: Path, audio: Path | None) -> list[Item]:
        """See `Benchmark.read`."""
        rows = numbered(files(source, ".csv", ".parquet", inside="web_questions"), ("question", "answers"))
        pairs = ((_item(row, number, place, audio), row) for place, (number, row) in enumerate(rows, 1))
        return distinct(pairs, source)

    def ask(self, item: Item, mode: Mode) -> Ask:
        """See `spoken_qa`."""
        return ask_spoken(item, mode)

    def score(self, items: Sequence[Item], answers: Mapping[str, str], verdicts: Mapping[str, list[str]]) -> Figures:
        """Accuracy in percent."""
        return exist_match(items, answers, self.name)


def _item(row: Row, number: int, place: int, audio: Path | None) -> Item:
    recording = recording_of(row, number, audio, ("audios", "."), "audio_filename", "audio")
    return Item(f"web-{place:04d}", row.text("question"), _answers(row), recording, row.where)


def _answers(row: Row) -> tuple[str, ...]:
    if not isinstance(text := row.values.get("answers"), str):
        return row.texts("answers")
    try:
        listed = ast.literal_eval(text.strip()) if text.strip().startswith("[") else text.split(";")
    except (ValueError, SyntaxError):
        raise row.wrong("is no list of answers", "answers", text, "Write a;b or ['a', 'b']") from None
    found = tuple(one.strip() for one in listed if isinstance(one, str) and one.strip()) if isinstance(listed, list) else ()
    if not found:
        raise row.wrong("holds no answer", "answers", text, "Write a;b or ['a', 'b']")
    return found
