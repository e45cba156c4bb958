"""A hundred things a user might say, in writing: short and long, with numbers, money, dates, names. `|` parts clauses."""

from __future__ import annotations

from importlib import resources
from typing import Final

SENTENCES: Final = tuple(
    (resources.files("soundflow.bench.experiments") / "sentences.txt").read_text(encoding="utf-8").splitlines()
)


def whole(sentence: str) -> str:
    """Without the marks."""
    return sentence.replace("|", "")


def clauses(sentence: str) -> list[str]:
    """Its clauses, in order; one when there is no mark."""
    return [clause.strip() for clause in sentence.split("|")]
