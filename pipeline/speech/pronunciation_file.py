"""Read a pronunciation list: a CSV file with the columns `word` and `spoken as`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from soundflow.schemas.documents import csv_rows
from soundflow.schemas.errors import InputError
from soundflow.schemas.speech import pronunciation_fault

HEADER: Final = ("word", "spoken as")


def read_pronunciations(path: Path) -> dict[str, str]:
    """Return the words of a list and the spellings by which they are spoken. Raises InputError with the line of a bad row.

    The first row may be the header `word,spoken as`. Blank rows are skipped.
    """
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, cells in csv_rows(path):
        place, row = f"line {number}", ",".join(cells)
        if not lines and tuple(cell.lower().replace("_", " ") for cell in cells) == HEADER:
            continue
        if len(cells) != len(HEADER):
            remedy = "Write `word,spoken as`, and quotation marks around a cell that contains a comma"
            raise InputError(f"has {len(cells)} cells instead of 2", file=path, field=place, value=row, remedy=remedy)
        word, spoken = cells
        if fault := pronunciation_fault(word, spoken):
            raise InputError(fault, file=path, field=place, value=row)
        if word in found:
            why = f"the word is already in line {lines[word]}"
            raise InputError(why, file=path, field=place, value=word, remedy="Keep one of the two rows")
        found[word], lines[word] = spoken, number
    if not found:
        raise InputError("has no words", file=path, remedy="Write one word per row: `word,spoken as`")
    return found
