"""The hand-written tables of written and spoken text."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "operators" / "speech"
TABLES = {"en": "spoken_english.tsv", "zh": "spoken_mandarin.tsv"}


def read_table(language: str) -> list[tuple[str, str, str]]:
    """Return the pairs (language, written, spoken) of the hand-written table of a language."""
    lines = (FOLDER / TABLES[language]).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("\t") for line in lines if line and not line.startswith("# ")]
    assert all(len(pair) == 2 for pair in pairs)
    return [(language, written, spoken) for written, spoken in pairs]


PAIRS = read_table("en") + read_table("zh")
