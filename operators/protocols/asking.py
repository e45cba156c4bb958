"""Requests to LLM roles: a prompt out, a validated document in. An invalid answer is corrected once, then rejected."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from pydantic import ValidationError

from soundflow import prompts
from soundflow.operators.protocols.chat import REQUEST_VERSION, AudioAttachment, ChatModel, ChatRequest, Completion, Message
from soundflow.operators.protocols.faults import BackendError, ServerFault
from soundflow.schemas.base import Schema, truth_as_number
from soundflow.schemas.documents import NotJsonError, json_value
from soundflow.schemas.llm import Usage
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from soundflow.schemas.text import without_thoughts

ASKING_VERSION: Final = f"5.{REQUEST_VERSION}"
"""Increase the first number when requests, or the conditions for accepting an answer, change."""
MAX_STARTS: Final = 32
"""Maximum number of opening braces that are tried in search of JSON."""
MAX_FINDINGS: Final = 6
"""Maximum number of errors in one correction."""
MAX_QUOTED: Final = 8_000
"""Maximum number of characters of an invalid answer that are sent back to the model."""
_UNNEEDED = frozenset({"title", "default"})
LENGTH_MODES: Final = ("json_lengths", "json_narrow")
_LENGTHS = frozenset({"minLength", "maxLength"})
"""Keywords that strict servers reject. Answers are validated against them here."""

T = TypeVar("T", bound=Schema)
Counts = Mapping[str, tuple[int, int]]
NO_COUNTS: Final[Counts] = {}
Narrow = Callable[[dict[str, Any]], None]
"""Function that restricts the schema of an answer, in place, to valid answers to one request."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A validated answer with its provenance and usage."""

    value: T
    model: str
    """Name of the model, as the server reports it."""
    usage: Usage
    """Usage of all calls. Answers from the cache count with their original cost."""
    calls: tuple[str, ...]
    """Content addresses of the calls, in order."""
    cached: bool
    """Whether all calls were answered from the cache. It varies between runs and must not enter a plan."""


@dataclass(frozen=True, slots=True)
class _InvalidAnswer:
    """The reason for not accepting an answer."""

    reason: str
    detail: str


async def ask(
    chat: ChatModel,
    role: str,
    values: Mapping[str, object],
    answer_type: type[T],
    *,
    seed: int,
    check: Callable[[T], str] | None = None,
    counts: Counts = NO_COUNTS,
    narrow: Narrow | None = None,
    sounds: Sequence[AudioAttachment] = (),
) -> Outcome[Answer[T]]:
    """Send the prompt of `role`, filled with `values`, and return the validated answer.

    `check` returns further errors of an answer that fits the schema, or an empty string. For servers that enforce the schema,
    `counts` limits the number of entries of lists, and `narrow` restricts the schema itself in mode `json_narrow`. `check` must
    cover both.

    Rejected if the second answer is invalid, too (`llm_no_json`, `llm_wrong_schema`, `llm_failed_check`, `llm_cut_off`,
    `llm_unclosed_thoughts`), or at the first refusal (`llm_refused`); metrics: role, detail, usage, calls. Failed (stage `llm`):
    no answer. Raises Halted and InputError, which end the run, and jinja2.UndefinedError for a missing value.
    """
    request = request_of(chat, role, values, answer_type, seed=seed, counts=counts, narrow=narrow, sounds=sounds)
    usage, calls, cached = Usage(), [], True
    invalid = _InvalidAnswer("llm_refused", "")
    for last in (False, True):
        calls.append(request.key())
        try:
            completion = await chat.complete(request)
        except BackendError as error:
            payload = {"role": role, "calls": calls, "kind": type(error).__name__}
            return Failed(f"{role}: {error}", "llm", payload, of_service=isinstance(error, ServerFault))
        usage, cached = usage + completion.usage, cached and completion.cached
        parsed = _parse(completion, answer_type, check)
        if not isinstance(parsed, _InvalidAnswer):
            return Ok(Answer(parsed, completion.model, usage, tuple(calls), cached))
        invalid = parsed
        if last or invalid.reason == "llm_refused":
            break
        request = _corrected(request, completion, invalid)
    return Rejected(invalid.reason, {"role": role, "detail": invalid.detail, "usage": usage.model_dump(), "calls": calls})


def request_of(
    chat: ChatModel,
    role: str,
    values: Mapping[str, object],
    answer_type: type[T],
    *,
    seed: int,
    counts: Counts = NO_COUNTS,
    narrow: Narrow | None = None,
    sounds: Sequence[AudioAttachment] = (),
) -> ChatRequest:
    """Return the first request of `ask`."""
    system, user = prompts.messages(role, **values)
    messages = (Message("system", system["content"]), Message("user", user["content"], tuple(sounds)))
    settings = chat.config.answering(role)
    schema = answer_schema(answer_type, tuple(sorted(counts.items())), settings.json_mode in LENGTH_MODES)
    if narrow is not None and settings.json_mode == "json_narrow":
        schema = copy.deepcopy(schema)
        narrow(schema)
    return ChatRequest(role, settings, messages, answer_type.__name__, schema, _role_hash(role), seed)


_role_hash = functools.cache(prompts.role_hash)


def _corrected(request: ChatRequest, completion: Completion, invalid: _InvalidAnswer) -> ChatRequest:
    """Return the request extended by the invalid answer, without its thoughts, and its correction."""
    answer = without_thoughts(completion.text).answer or "(no answer)"
    added = (Message("assistant", answer[:MAX_QUOTED]), Message("user", prompts.correction(invalid.detail)))
    return replace(request, messages=(*request.messages, *added))


def _parse(completion: Completion, answer_type: type[T], check: Callable[[T], str] | None) -> T | _InvalidAnswer:
    # The details are sent to the model: to change a word is to change requests and their cache keys.
    if completion.finish == "refused":
        return _InvalidAnswer("llm_refused", completion.text[:300])
    try:
        document = find_json(completion.text)
        value = answer_type.model_validate(document)
    except NotJsonError as error:
        return _InvalidAnswer("llm_wrong_schema", f"answer: {error}")
    except ValidationError as error:
        if completion.finish == "length":
            return _InvalidAnswer("llm_cut_off", "the answer was too long and was cut off; answer more briefly")
        if document is None and without_thoughts(completion.text).answer is None:
            return _InvalidAnswer("llm_unclosed_thoughts", "the thoughts do not end; close them and answer after them")
        if document is None:
            return _InvalidAnswer("llm_no_json", "there is no JSON object in the answer")
        return _InvalidAnswer("llm_wrong_schema", _findings(error))
    place = truth_as_number(document, value.model_dump())
    if place is not None:
        return _InvalidAnswer("llm_wrong_schema", f"{'.'.join(place)}: must be a number, not true or false")
    wrong = check(value) if check else ""
    return _InvalidAnswer("llm_failed_check", wrong) if wrong else value


def _findings(error: ValidationError) -> str:
    """Return the errors field by field, as text for the model, without quoting its input."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    places = [".".join(map(str, one["loc"])) or "answer" for one in found[:MAX_FINDINGS]]
    lines = [f"{place}: {one['msg'].removeprefix('Value error, ')}" for place, one in zip(places, found, strict=False)]
    return "; ".join(lines) + (f"; and {len(found) - MAX_FINDINGS} more" if len(found) > MAX_FINDINGS else "")


def find_json(text: str) -> dict[str, Any] | None:
    """Return the first JSON object in the answer of a model, also in a code fence or after prose; None if there is none.

    Objects in the thoughts of the model do not count, and neither do marks of thoughts within an object. Raises NotJsonError
    for an object with a key that is given twice, half of a surrogate pair, or a number that is not finite.
    """
    answer = without_thoughts(text, list(_objects(text))).answer or ""
    place = next(_objects(answer), None)
    if place is None:
        return None
    found: dict[str, Any] = json_value(answer[place.start : place.stop])
    return found


def _objects(text: str) -> Iterator[range]:
    """Yield the places of the outermost JSON objects of a text."""
    decoder, start = json.JSONDecoder(), 0
    for _ in range(MAX_STARTS):
        start = text.find("{", start)
        if start < 0:
            return
        try:
            _, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start += 1
        else:
            yield range(start, end)
            start = end


@functools.cache
def answer_schema(
    answer_type: type[Schema], counts: tuple[tuple[str, tuple[int, int]], ...] = (), lengths: bool = False
) -> dict[str, Any]:
    """Return the JSON schema of an answer for strict servers: all properties required, no others allowed.

    `counts`: (minimum, maximum) number of entries of lists by name. `lengths`: whether to include the length limits of texts.
    """
    schema: dict[str, Any] = _strict(answer_type.model_json_schema(), _UNNEEDED if lengths else _UNNEEDED | _LENGTHS)
    for name, (fewest, most) in counts:
        schema["properties"][name] |= {"minItems": fewest, "maxItems": most}
    return schema


def _strict(node: Any, without: frozenset[str]) -> Any:
    if isinstance(node, list):
        return [_strict(item, without) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _strict(value, without) for key, value in node.items() if key not in without}
    if "properties" in node:
        kept["properties"] = {name: _strict(value, without) for name, value in node["properties"].items()}
        kept |= {"required": list(node["properties"]), "additionalProperties": False}
    if "$defs" in node:
        kept["$defs"] = {name: _strict(value, without) for name, value in node["$defs"].items()}
    return kept
