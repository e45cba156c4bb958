"""The base class of all schemas: strict, frozen, canonical JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from soundflow.schemas.documents import parse_json, parse_yaml, read_text
from soundflow.schemas.errors import InputError as InputError
from soundflow.schemas.errors import Interrupted as Interrupted
from soundflow.schemas.errors import missing_library as missing_library
from soundflow.schemas.regular_file import read_regular
from soundflow.schemas.suggest import did_you_mean

_SECRET = re.compile(r"api_?key|secret|password|url", re.IGNORECASE)
"""Fields whose value is never shown in an error: users paste API keys into them by mistake."""


class Schema(BaseModel):
    """A frozen model that rejects unknown fields, NaN and infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def canonical_json(self) -> bytes:
        """Return UTF-8 JSON with sorted keys and no spaces. Equal documents give equal bytes."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, data: bytes | str, *, file: object = None, field: str = "") -> Self:
        """Parse a JSON document. Raises InputError; `field` is the place in the file, such as `line 3`."""
        document = parse_json(data, file=file, field=field)
        try:
            value = cls.model_validate_json(data)
        except ValidationError as error:
            raise explain(error, cls, file) from None
        value._check_numbers(document, file)
        return value

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a JSON file. Raises FileNotFoundError, and InputError if it is invalid, unreadable or not a regular file."""
        try:
            data = read_regular(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(error.errno, error.strerror, str(path)) from None
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", file=path) from None
        return cls.from_json(data, file=path)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a YAML file. Raises InputError, also for a missing or unreadable file."""
        return cls.from_text(read_text(path), file=path)

    @classmethod
    def from_text(cls, text: str, *, file: object = None) -> Self:
        """Parse a YAML document. Raises InputError."""
        return cls.from_document(parse_yaml(text, file=file), file=file)

    @classmethod
    def from_document(cls, document: Any, *, file: object = None) -> Self:
        """Validate what `parse_yaml` or `parse_json` returned. Raises InputError."""
        if not isinstance(document, dict):
            raise InputError("must be a mapping at the top level", file=file, value=document)
        try:
            value = cls.model_validate(document)
        except ValidationError as error:
            raise explain(error, cls, file) from None
        value._check_numbers(document, file)
        return value

    def _check_numbers(self, document: Any, file: object) -> None:
        """Raise InputError where `document` has true or false and the field is a number: pydantic reads them as 1 and 0."""
        place = truth_as_number(document, self.model_dump())
        if place is not None:
            why = "must be a number, not true or false"
            raise InputError(why, file=file, field=".".join(place), remedy="Write the number that is meant")


def truth_as_number(document: Any, value: Any) -> list[str] | None:
    """Return the path of the first truth value of `document` that is something else in `value`; None if there is none."""
    if isinstance(document, bool):
        return None if isinstance(value, bool) or not isinstance(value, int | float) else []
    pairs: list[tuple[Any, Any, Any]] = []
    if isinstance(document, dict) and isinstance(value, dict):
        pairs = [(key, item, value[key]) for key, item in document.items() if key in value]
    elif isinstance(document, list) and isinstance(value, list | tuple) and len(document) == len(value):
        pairs = [(number, item, value[number]) for number, item in enumerate(document)]
    for key, item, found in pairs:
        if (place := truth_as_number(item, found)) is not None:
            return [str(key), *place]
    return None


def canonical_json(data: Any) -> bytes:
    """Return UTF-8 JSON with sorted keys and no spaces. Raises ValueError for NaN and infinity."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def explain(error: ValidationError, model: type[BaseModel], file: object = None) -> InputError:
    """Convert a pydantic error to an InputError about its first finding, with the number of further ones.

    An unknown field takes precedence over a missing one, since a misspelt name is usually the cause of both.
    """
    first = min(error.errors(), key=lambda finding: finding["type"] != "extra_forbidden")
    more = error.error_count() - 1
    place = ".".join(str(part) for part in first["loc"] if part != "[key]")
    why, remedy = first["msg"].removeprefix("Value error, "), ""
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        why, remedy = cause.why, cause.remedy
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1])
        why = "unknown field"
        remedy = did_you_mean(first["loc"][-1], known) or f"Known fields: {', '.join(sorted(known)) or 'none'}"
    elif first["type"] == "missing":
        why, remedy = "required field is missing", f"Add '{first['loc'][-1]}'"
    if more:
        remedy = f"{remedy}{' ' if remedy else ''}(and {more} more {'error' if more == 1 else 'errors'})"
    hidden = first["type"] == "missing" or first["loc"][-1:] == ("[key]",) or _SECRET.search(place)
    value = None if hidden else first.get("input")
    return InputError(why, file=file, field=place, value=value, remedy=remedy)


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Return the field names of the sub-model at `loc`."""
    current: Any = model
    for part in loc:
        if isinstance(part, int):
            continue
        field = getattr(current, "model_fields", {}).get(part)
        if field is None:
            return []
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        current = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return list(getattr(current, "model_fields", {}))
