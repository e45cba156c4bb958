"""The base of every schema: strict, frozen, canonical JSON, errors that say file, field, value and remedy."""

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
"""Fields whose value is never shown: somebody may have pasted a key where its name belongs, or into an address."""


class InputError(ValueError):
    """Something the user gave is wrong. Shown without a traceback; the exit code is 2.

    Parameters are the parts of one sentence: where (`file`, `field`), what (`value`), why and what to do (`remedy`).
    """

    def __init__(self, why: str, *, file: object = None, field: str = "", value: object = None, remedy: str = ""):
        self.why, self.file, self.field, self.value, self.remedy = why, file, field, value, remedy
        where = ": ".join(part for part in (str(file) if file is not None else "", field) if part)
        shown = "" if value is None else f" (got {_shorten(value)})"
        super().__init__(f"{where + ': ' if where else ''}{why}{shown}{'. ' + remedy if remedy else ''}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_input_error, (self.why, self.file, self.field, self.value, self.remedy))


class Interrupted(BaseException):
    """SIGINT or SIGTERM asked the program to stop. Not an Exception: no operator's handler may swallow it."""


def _rebuild_input_error(why: str, file: object, field: str, value: object, remedy: str) -> InputError:
    return InputError(why, file=file, field=field, value=value, remedy=remedy)


def _shorten(value: object) -> str:
    """A value as it may stand in a sentence; never expands a huge or self-repeating one."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = 80
    brief.maxlevel = 3
    return brief.repr(value)


class Schema(BaseModel):
    """A frozen document that accepts no unknown field and no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def canonical_json(self) -> bytes:
        """UTF-8 JSON with sorted keys and no spaces: equal documents give equal bytes."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, data: bytes | str, *, file: object = None) -> Self:
        """Parse one JSON document; raises InputError naming `file`, field, value and remedy."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise explain(error, cls, file) from None

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read one YAML document; raises InputError naming `path`, field, value and remedy."""
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
        """Parse one YAML document; raises InputError naming `file`, field, value and remedy."""
        try:
            data = yaml.load(text, _OnceLoader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise InputError(f"is not valid YAML: {' '.join(str(error).split())}", file=file) from None
        if not isinstance(data, dict):
            raise InputError("must hold a YAML mapping at the top", file=file, value=data)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise explain(error, cls, file) from None


class _OnceLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a mapping with the same key twice, of which YAML would keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' stands there twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def canonical_json(data: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces; refuses NaN."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def explain(error: ValidationError, model: type[BaseModel], file: object = None) -> InputError:
    """Turn one of pydantic's findings into a sentence; the count of further findings is appended.

    A misspelt field comes before a missing one: it is usually the reason.
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
        remedy = did_you_mean(first["loc"][-1], known) or f"Known here: {', '.join(sorted(known)) or 'none'}"
    elif first["type"] == "missing":
        why, remedy = "required field is missing", f"Add '{first['loc'][-1]}'"
    if more:
        remedy = f"{remedy}{' ' if remedy else ''}(and {more} more)"
    hidden = first["type"] == "missing" or first["loc"][-1:] == ("[key]",) or _SECRET.search(place)
    value = None if hidden else first.get("input")
    return InputError(why, file=file, field=place, value=value, remedy=remedy)


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Field names of the sub-model that `loc` points into."""
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
    """What to tell somebody whose environment lacks an optional library."""
    return InputError(
        f"needs the package {package}", remedy=f"python -m pip install 'soundflow-audio[{extra}]', or {package} alone"
    )
