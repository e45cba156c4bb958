"""What clients send, parsed strictly: the options in the URL and the text messages. Unknown and repeated names are errors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, Final, Literal

from multidict import MultiMapping
from pydantic import Field, ValidationError

from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.suggest import did_you_mean
from soundflow.streaming.events import ListenConfig
from soundflow.streaming.protocol import SAMPLE_RATE

CONFIG_FIELDS: Final = {
    "threshold": "threshold",
    "drain": "longest_drain",
    "longest": "longest_response",
    "remember": "remember_tokens",
}
"""Query parameter → field of ListenConfig."""
OPTIONS: Final = ("instruction", *CONFIG_FIELDS, "sample_rate", "speak", "session", "token")
"""Query parameters of /v1/listen."""
BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


class SessionOptions(Schema):
    """The options of a session, or the id of one to resume."""

    config: ListenConfig = ListenConfig()
    instruction: str = ""
    """Empty: that of the server."""
    speak: bool = False
    sample_rate: int = Field(SAMPLE_RATE, ge=8_000, le=192_000)
    """Hz of the audio the client sends; it is resampled to 16 kHz."""
    session: str | None = None


class SessionClose(Schema):
    """End the session."""

    type: Literal["session.close"]


class ResponseCancel(Schema):
    """End the open response (barge-in)."""

    type: Literal["response.cancel"]


ClientMessage = SessionClose | ResponseCancel
MESSAGES: Final[dict[str, type[ClientMessage]]] = {"session.close": SessionClose, "response.cancel": ResponseCancel}


def check_names(query: MultiMapping[str], known: Collection[str]) -> None:
    """Raise InputError for a query parameter that is unknown or given twice."""
    for name, count in Counter(name for name, _ in query.items()).items():  # keys() lists each name once
        if name not in known:
            raise InputError("unknown option", field=_quoted(name), remedy=_known("Options", name, known))
        if count > 1:
            raise InputError(f"is given {count} times", field=name, remedy="Give it once")


def parse_options(query: MultiMapping[str], threshold: float) -> SessionOptions:
    """Return the options of a query, with the server's `threshold` where it has none. Raises InputError naming the option."""
    check_names(query, OPTIONS)
    given = {name: value for name, value in query.items() if name != "token"}
    if "session" in given:
        if len(given) > 1:
            rest = ", ".join(sorted(set(given) - {"session"}))
            why = f"cannot be given together with {rest}: a resumed session keeps its options"
            raise InputError(why, field="session", remedy="Leave them out, or open a new session")
        return SessionOptions(session=given["session"])
    settings = {CONFIG_FIELDS[name]: value for name, value in given.items() if name in CONFIG_FIELDS}
    others = {name: value for name, value in given.items() if name in ("instruction", "sample_rate")}
    try:
        config = ListenConfig.model_validate_strings({"threshold": str(threshold), **settings})
        options = SessionOptions.model_validate_strings(others)
    except ValidationError as error:
        (field, *_), message = error.errors()[0]["loc"], error.errors()[0]["msg"]
        name = next((name for name, known in CONFIG_FIELDS.items() if known == field), str(field))
        raise InputError("is invalid", field=name, value=given[name], remedy=message) from None
    return options.model_copy(update={"config": config, "speak": _boolean("speak", given.get("speak", "false"))})


def parse_message(text: str) -> ClientMessage:
    """Parse a text message.

    Raises InputError for an unknown type or field, any other ValueError for what is not a JSON object with a `type`.
    """
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(document, dict) or not isinstance(kind := document.get("type"), str):
        raise ValueError("is not a JSON object with a type")
    if (message := MESSAGES.get(kind)) is None:
        raise InputError(f"unknown message type {_quoted(kind)}", remedy=_known("Types", kind, MESSAGES))
    if unknown := [name for name in document if name not in message.model_fields]:
        why = f"unknown field {_quoted(unknown[0])}"
        raise InputError(why, field=kind, remedy=_known("Fields", unknown[0], message.model_fields))
    return message.model_validate(document)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise InputError(f"is given {count} times", field=_quoted(name), remedy="Give it once")
    return dict(pairs)


def _boolean(name: str, value: str) -> bool:
    if (parsed := BOOLEANS.get(value.lower())) is None:
        raise InputError("is not a boolean", field=name, value=value, remedy="Write true or false, 1 or 0")
    return parsed


def _known(what: str, name: str, known: Iterable[str]) -> str:
    known = list(known)
    return f"{did_you_mean(name, known)} {what}: {', '.join(known)}".strip()


def _quoted(name: str) -> str:
    """Return a client's name for an error message: short, and printable whatever it contains."""
    return f"{name[:80]!a}"
