"""Suggestions for misspelt names: the one place where an error message says "Did you mean …?"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return `Did you mean "x"?` for the closest of the `known` names, or an empty string when none is close.

    Letter case and the difference between `-` and `_` are ignored.
    """
    folded = {_fold(candidate): candidate for candidate in known}
    close = difflib.get_close_matches(_fold(str(name)), folded, n=1)
    return f'Did you mean "{folded[close[0]]}"?' if close else ""


def _fold(name: str) -> str:
    return name.strip().lower().replace("-", "_")
