"""Escape untrusted text (licences, attributions, names) in the Markdown and CSV files of an export."""

from __future__ import annotations

import re
from typing import Final

_MARKDOWN: Final = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
_HTML: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
FORMULA_STARTS: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "|", "%")
"""First characters of a cell that a spreadsheet may execute."""


def markdown_text(text: str) -> str:
    """Return Markdown, also for a cell of a table, that shows `text` on one line: no links, images, emphasis, code or HTML."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()).translate(_HTML))


def csv_cell(value: object) -> object:
    """Return the cell of a CSV file for a value. A text that a spreadsheet would read as a formula gets an apostrophe in front.

    Source: OWASP, "CSV Injection". Numbers are left alone.
    """
    if not isinstance(value, str):
        return value
    is_formula = value.lstrip().startswith(FORMULA_STARTS) or value[:1] in ("\t", "\r", "\n")
    return f"'{value}" if is_formula else value
