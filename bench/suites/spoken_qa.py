"""Shared parts of the benchmarks of spoken questions. The question is the recording; text mode uses its text.

`has_answer` scores Llama Questions and Web Questions: the tokens of a reference occur contiguously in the answer (rule of DPR, as
published with UltraEval-Audio). Tokens are runs of letters, digits and marks, or other single characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from soundflow import prompts
from soundflow.bench.suites.item import Item, ItemPrompt, Mode


class SpokenQuestions:
    """Base of these benchmarks: their prompt."""

    mode = Mode.AUDIO

    def prompt(self, item: Item, mode: Mode) -> ItemPrompt:
        """Return the question as text or as its recording."""
        if mode is Mode.TEXT:
            return ItemPrompt(item.text)
        return ItemPrompt(
            "Answer what is asked in the recording.", (item.recording,), prompts.variants("instruction_voice_chat")[0]
        )


def has_answer(references: Sequence[str], text: str) -> bool:
    """Return whether the tokens of a reference occur contiguously in `text`."""
    answer = tokens(text)
    for reference in references:
        expected = tokens(reference)
        if expected and any(answer[at : at + len(expected)] == expected for at in range(len(answer) - len(expected) + 1)):
            return True
    return False


def tokens(text: str) -> list[str]:
    """Split the canonically decomposed text into lower-case tokens."""
    found: list[str] = []
    joins = False
    for sign in unicodedata.normalize("NFD", text):
        kind = unicodedata.category(sign)[0]
        if kind in "LNM":
            found = [*found[:-1], found[-1] + sign] if joins else [*found, sign]
            joins = True
            continue
        joins = False
        if kind not in "ZC":
            found.append(sign)
    return [token.lower() for token in found]
