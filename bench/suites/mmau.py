"""MMAU (Sakshi et al. 2024): multiple-choice questions about sound, music and speech.

Files: `mmau-test-mini.json`, a list of {id, audio_id, question, choices, answer, task, …}, with recordings at the relative path
`audio_id`. Metric: the published string match. The published script skips rows without a prediction; here they are wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from soundflow import prompts
from soundflow.bench.harness.rows import Row
from soundflow.bench.suites.item import (
    Figures,
    Item,
    ItemPrompt,
    Mode,
    Spoken,
    find_files,
    mean_and_interval,
    numbered_rows,
    recording_of,
    unique_items,
)

TASKS = ("sound", "music", "speech")


class Mmau:
    """MMAU test-mini, or a file in its format with answers."""

    name, title = "mmau", "MMAU"
    mode = Mode.TEXT
    rubric = ""

    def read(self, source: Path, audio: Path | None) -> list[Item]:
        """See `Benchmark.read`."""
        rows = numbered_rows(find_files(source, ".json", inside="mmau-test-mini.json"), ())
        return unique_items(((_item(row, number, audio), row) for number, row in rows), source)

    def prompt(self, item: Item, mode: Mode) -> ItemPrompt:
        """Return the clip and the question with its choices, written or spoken."""
        if mode is Mode.TEXT:
            listed = "\n".join(f"- {choice}" for choice in item.choices)
            return ItemPrompt(f"{item.text}\nAnswer with one of these, word for word:\n{listed}", (item.recording,))
        *first, last = item.choices
        question = f"{item.text} Is it {', '.join(first)} or {last}?" if first else item.text
        text = "Answer the spoken question about the sound before it."
        return ItemPrompt(text, (item.recording, Spoken(question)), prompts.variants("instruction_voice_chat")[0])

    def score(self, items: Sequence[Item], answers: Mapping[str, str], verdicts: Mapping[str, list[str]]) -> Figures:
        """Return the accuracy in percent, by task and over all."""
        right = {item.id: string_match(item.references[0], answers.get(item.id, ""), item.choices) for item in items}
        values: dict[str, float | None] = {}
        for task in (*TASKS, *sorted({item.group for item in items} - set(TASKS))):
            group = [right[item.id] for item in items if item.group == task]
            values[task] = 100.0 * sum(group) / len(group) if group else None
        average, interval = mean_and_interval([100.0 * right[item.id] for item in items], "mmau")
        missing = sum(item.id not in answers for item in items)
        return Figures({**values, "average": average}, len(items), missing, {"average": interval})


def string_match(answer: str, prediction: str, choices: Sequence[str]) -> bool:
    """Return whether the prediction has all words of the answer and none that only wrong choices have (published rule)."""
    predicted, expected = _words(prediction), _words(answer)
    wrong = {word for choice in choices if (words := _words(choice)) != expected for word in words - expected}
    return bool(predicted) and expected <= predicted and not predicted & wrong


def _words(text: str) -> set[str]:
    return set(re.findall(r"\b\w+\b", text.lower()))


def _item(row: Row, number: int, audio: Path | None) -> Item:
    choices, answer = row.texts("choices"), row.text("answer")
    if answer not in choices:
        raise row.error("is not one of the choices", "answer", answer, "Use test-mini; the test split has no answers")
    recording = recording_of(row, number, audio, (".",), "audio_id")
    return Item(row.text("id"), row.text("question"), (answer,), recording, row.where, row.text("task").lower(), choices)
