"""A hundred user sentences: short and long, with numbers, money, dates and names. `|` separates clauses."""

from __future__ import annotations

from importlib import resources
from typing import Final

SENTENCES: Final = tuple(
    (resources.files("soundflow.bench.experiments") / "sentences.txt").read_text(encoding="utf-8").splitlines()
)


def whole(sentence: str) -> str:
    """Return the sentence without clause marks."""
    return sentence.replace("|", "")


def clauses(sentence: str) -> list[str]:
    """Return the clauses of a sentence in order."""
    return [clause.strip() for clause in sentence.split("|")]
