"""The error for invalid input, and the interruption by a signal."""

from __future__ import annotations

import reprlib
from typing import Any


class InputError(ValueError):
    """Invalid input from the user. Commands print it without a traceback and exit with code 2.

    The message is `FILE: FIELD: WHY (got VALUE). REMEDY`; parts that are not given are left out.
    """

    def __init__(self, why: str, *, file: object = None, field: str = "", value: object = None, remedy: str = ""):
        self.why, self.file, self.field, self.value, self.remedy = why, file, field, value, remedy
        where = ": ".join(part for part in (str(file) if file is not None else "", field) if part)
        shown = "" if value is None else f" (got {_shorten(value)})"
        super().__init__(f"{where + ': ' if where else ''}{why}{shown}{'. ' + remedy if remedy else ''}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_input_error, (type(self), self.why, self.file, self.field, self.value, self.remedy))


class Interrupted(BaseException):
    """Raised after SIGINT or SIGTERM. Not an `Exception`, so that no handler catches it by accident."""


def _rebuild_input_error(kind: type[InputError], why: str, file: object, field: str, value: object, remedy: str) -> InputError:
    return kind(why, file=file, field=field, value=value, remedy=remedy)


def _shorten(value: object) -> str:
    """Return a short representation of a value, also of a huge or self-referencing one."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = 80
    brief.maxlevel = 3
    return brief.repr(value)


def missing_library(package: str, extra: str) -> InputError:
    """Return the error for an optional library that is not installed."""
    return InputError(
        f"requires the package {package}, which is not installed",
        remedy=f"Run `python -m pip install 'soundflow-audio[{extra}]'`, or install {package} alone",
    )
