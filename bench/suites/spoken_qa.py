"""What the benchmarks of spoken questions share: the question is the recording, in text mode it is read instead.

`has_answer` is the match that Llama Questions and Web Questions are scored with: a reference's tokens stand in the answer one
after the other (DPR's rule, as published with UltraEval-Audio). Tokens are runs of letters, digits and marks, or single
other signs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from soundflow import prompts
from soundflow.bench.suites.item import Item, ItemPrompt, Mode


class SpokenQuestions:
    """How they are asked."""

    mode = Mode.AUDIO

    def prompt(self, item: Item, mode: Mode) -> ItemPrompt:
        """The question, read or heard."""
        if mode is Mode.TEXT:
            return ItemPrompt(item.text)
        return ItemPrompt(
            "Answer what is asked in the recording.", (item.recording,), prompts.variants("instruction_voice_chat")[0]
        )


def has_answer(references: Sequence[str], text: str) -> bool:
    """Whether the tokens of one of the references stand in `text`, one after the other."""
    said = tokens(text)
    for reference in references:
        wanted = tokens(reference)
        if wanted and any(said[at : at + len(wanted)] == wanted for at in range(len(said) - len(wanted) + 1)):
            return True
    return False


def tokens(text: str) -> list[str]:
    """Lower-case tokens of the canonically decomposed text."""
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
