"""The base class of all schemas (strict, frozen, canonical JSON) and the error for invalid input."""

from __future__ import annotations

import json
import re
import reprlib
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from soundflow.schemas.suggest import did_you_mean

_SECRET = re.compile(r"api_?key|secret|password|url", re.IGNORECASE)
"""Fields whose value is never shown in an error: users paste API keys into them by mistake."""


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


class Schema(BaseModel):
    """A frozen model that rejects unknown fields, NaN and infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def canonical_json(self) -> bytes:
        """Return UTF-8 JSON with sorted keys and no spaces. Equal documents give equal bytes."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, data: bytes | str, *, file: object = None) -> Self:
        """Parse a JSON document. Raises InputError."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise explain(error, cls, file) from None

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a YAML file. Raises InputError, also for a missing or unreadable file."""
        try:
            return cls.from_text(Path(path).read_text(encoding="utf-8"), file=path)
        except FileNotFoundError:
            raise InputError("no such file", file=path, remedy="Check the path") from None
        except UnicodeDecodeError as error:
            raise InputError("is not UTF-8 text", file=path, remedy=f"Save it as UTF-8 ({error.reason})") from None
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", file=path) from None

    @classmethod
    def from_text(cls, text: str, *, file: object = None) -> Self:
        """Parse a YAML document. Raises InputError."""
        try:
            data = yaml.load(text, _UniqueKeyLoader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise InputError(f"is not valid YAML: {' '.join(str(error).split())}", file=file) from None
        if not isinstance(data, dict):
            raise InputError("must be a YAML mapping at the top level", file=file, value=data)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise explain(error, cls, file) from None


class _UniqueKeyLoader(yaml.SafeLoader):
    """A SafeLoader that rejects duplicate keys, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"duplicate key '{key.value}'", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


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


def missing_library(package: str, extra: str) -> InputError:
    """Return the error for an optional library that is not installed."""
    return InputError(
        f"requires the package {package}, which is not installed",
        remedy=f"Run `python -m pip install 'soundflow-audio[{extra}]'`, or install {package} alone",
    )
