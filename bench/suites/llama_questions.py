"""Llama Questions (Nachmani et al. 2023): 300 spoken questions with a short answer.

Files: OpenAudioBench's `llama_questions.csv` {Questions, Answer, audio_filename} with `audios/`, or a parquet file with
recordings {question, answer, audio} in either spelling. Metric: contiguous tokens of the answer (`spoken_qa.has_answer`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.rows import Row
from bench.suites.item import Ask, Figures, Item, Mode, distinct, files, numbered, recording_of
from bench.suites.spoken_qa import ask_spoken, exist_match

QUESTION, ANSWER = ("Questions", "question", "Question"), ("Answer", "answer")


class LlamaQuestions:
    """Llama Questions."""

    name, title, judged = "llama-questions", "Llama Questions", False
    mode = Mode.AUDIO
    rubric = ""

    def read(self, source: Path, audio: Path | None) -> list[Item]:
        """See `Benchmark.read`."""
        rows = numbered(files(source, ".csv", ".parquet", inside="llama_questions"), (*QUESTION, *ANSWER))
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
    return Item(f"llama-{place:04d}", row.text(*QUESTION), row.texts(*ANSWER), recording, row.where)
