"""HTTP statuses as errors: one mapping for every service.

| status | error | consequence |
|---|---|---|
| 401, 402, 403, or a code of an exhausted quota | `InputError` | the work ends: key or account |
| 3xx, 404, 405 | `InputError` | the work ends: address or model |
| 408, 409, 425, 429, 5xx | `ServerFault` | retried, after Retry-After if the service sends it |
| any other | `RequestRefused` | this request fails, others may succeed |
"""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from soundflow.backends.calls.service import Service
from soundflow.operators.protocols.faults import RequestRefused, ServerFault
from soundflow.schemas.base import InputError
from soundflow.schemas.documents import json_value

TRANSIENT: Final = frozenset({408, 409, 425, 429})
"""Statuses below 500 that a retry may get over."""
NO_QUOTA: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Error codes of OpenAI that come with status 429 although no retry helps."""
DETAIL_CHARACTERS: Final = 300
"""Of the response body that an error message quotes."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A response that was read; the API key is removed from its body."""

    status: int
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes


class ResponseModel(BaseModel):
    """Base of the JSON bodies we read. Services add fields of their own, which are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


R = TypeVar("R", bound=ResponseModel)


def parsed(model: type[R], body: bytes, expected: str) -> R:
    """Parse a JSON body; raises ServerFault naming what was `expected` and the first field that does not fit."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"])) or "body"
    raise ServerFault(f"the response is not {expected} (invalid field: {field}): {_quoted(body)}")


def status_error(service: Service, label: str, answer: HttpReply) -> Exception:
    """Return the error for a status other than 2xx. `label` names the service and the request."""
    status, where = answer.status, service.section
    message, code = _openai_error(answer.body)
    problem = f"HTTP {status}: {message or _quoted(answer.body)}"
    if status in (401, 402, 403) or code in NO_QUOTA:
        why = "rejects the API key" if status == 401 else "does not serve this account"
        remedy = f"Check {service.key_variable} in the environment, and the access and quota of its account"
        if not service.key_variable:
            remedy = f"Set {where}.api_key_env, or use a server that needs no API key"
        return InputError(f"{label} {why}: {problem}", field=where, remedy=remedy)
    if 300 <= status < 400:
        target = answer.headers.get("location", "another address")[:DETAIL_CHARACTERS]
        why = "redirects are not followed, since they would carry the API key to another server"
        remedy = f"Set {where}.base_url to the final address"
        return InputError(f"{label} redirects to {target} (HTTP {status}); {why}", field=where, remedy=remedy)
    if status in (404, 405):
        model = f"{where.removesuffix('.server')}.model" if where.endswith(".server") else "the name of the model"
        remedy = f"Check {where}.base_url (it usually ends in /v1 for OpenAI-compatible servers) and {model}"
        return InputError(f"{label} does not know this address or model: {problem}", field=where, remedy=remedy)
    if status in TRANSIENT or status >= 500:
        pause = retry_after(answer.headers.get("retry-after"))
        return ServerFault(f"{label}: {problem}" + ("" if pause is None else f" (Retry-After: {pause:g} s)"), retry_after=pause)
    hint = f". {service.refusal_hint}" if service.refusal_hint else ""
    return RequestRefused(f"{label} refuses the request: {problem}{hint}")


def retry_after(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header (a number or an HTTP date); None if there is none or it is invalid."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            until = email.utils.parsedate_to_datetime(header)
        except ValueError:
            return None
        if until.tzinfo is None:
            until = until.replace(tzinfo=datetime.UTC)
        seconds = (until - datetime.datetime.now(datetime.UTC)).total_seconds()
    return max(0.0, seconds) if seconds == seconds and seconds < 1e9 else None


def _quoted(body: bytes | str) -> str:
    """The beginning of a body on one line."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    return " ".join(text.split())[:DETAIL_CHARACTERS] or "(empty body)"


def _openai_error(body: bytes) -> tuple[str, str]:
    """`error.message` and `error.code` of an error in OpenAI's format; empty if it has another one."""
    try:
        error = json_value(body)["error"]
        message, code = error.get("message"), error.get("code")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", ""
    return _quoted(message) if isinstance(message, str) else "", code if isinstance(code, str) else ""
