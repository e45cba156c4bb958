"""Asking a role: messages out, one validated document in. A bad answer is told once what is wrong with it, then rejected."""

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
from soundflow.schemas.base import Schema
from soundflow.schemas.llm import Usage
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected

ASKING_VERSION: Final = f"3.{REQUEST_VERSION}"
"""Raise its first number when what is asked, or what is accepted as an answer, changes."""
STARTS: Final = 32
"""So many opening braces are tried before an answer counts as holding no JSON."""
FINDINGS: Final = 6
"""So many things wrong with an answer are told."""
QUOTED: Final = 8_000
"""Characters of a bad answer that are shown to the model again."""
THOUGHT: Final = "</think>"
"""Ends what a reasoning model says to itself; the beginning may be in the prompt."""
_UNNEEDED = frozenset({"title", "default"})
LENGTH_MODES: Final = ("json_lengths", "json_narrow")
_LENGTHS = frozenset({"minLength", "maxLength"})
"""Keywords that strict servers refuse; the answer is checked against them by us."""

T = TypeVar("T", bound=Schema)
Counts = Mapping[str, tuple[int, int]]
NO_COUNTS: Final[Counts] = {}
Narrow = Callable[[dict[str, Any]], None]
"""Takes from the schema of an answer, in place, what would be no good answer to this very question."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A validated answer and what is to be known of it."""

    value: T
    model: str
    """Who answered, in the server's words."""
    usage: Usage
    """All calls it took, at what they cost when they were asked: a replay costs the same on paper and nothing in fact."""
    calls: tuple[str, ...]
    """Content addresses of the calls, in order."""
    cached: bool
    """Whether every call was answered from the cache: differs from run to run, so it has no place in a plan."""


@dataclass(frozen=True, slots=True)
class _Bad:
    """Why an answer is not accepted."""

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
    """Ask `role`, whose prompt is filled with `values`; `check` says what else is wrong with a valid answer ("" = nothing).

    `counts` narrows how many entries a list of the answer may have, for servers that enforce its schema; `narrow` the schema
    itself, where the recipe says `json_narrow`; `check` still has to.

    Rejected when the second answer is bad too: `llm_no_json`, `llm_wrong_schema`, `llm_failed_check`, `llm_cut_off`, or at once
    `llm_refused`; metrics: role, detail, usage, calls. Failed (stage `llm`) when no answer could be had. Raises Halted
    and InputError, which end the work, and jinja2.UndefinedError when a value is missing.
    """
    request = request_of(chat, role, values, answer_type, seed=seed, counts=counts, narrow=narrow, sounds=sounds)
    usage, calls, cached = Usage(), [], True
    bad = _Bad("llm_refused", "")
    for last in (False, True):
        calls.append(request.key())
        try:
            completion = await chat.complete(request)
        except BackendError as error:
            payload = {"role": role, "calls": calls, "kind": type(error).__name__}
            return Failed(f"{role}: {error}", "llm", payload, of_service=isinstance(error, ServerFault))
        usage, cached = usage + completion.usage, cached and completion.cached
        read = _read(completion, answer_type, check)
        if not isinstance(read, _Bad):
            return Ok(Answer(read, completion.model, usage, tuple(calls), cached))
        bad = read
        if last or bad.reason == "llm_refused":
            break
        request = _again(request, completion, bad)
    return Rejected(bad.reason, {"role": role, "detail": bad.detail, "usage": usage.model_dump(), "calls": calls})


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
    """The first request that `ask` makes."""
    system, user = prompts.messages(role, **values)
    messages = (Message("system", system["content"]), Message("user", user["content"], tuple(sounds)))
    how = chat.config.answering(role)
    schema = answer_schema(answer_type, tuple(sorted(counts.items())), how.json_mode in LENGTH_MODES)
    if narrow is not None and how.json_mode == "json_narrow":
        schema = copy.deepcopy(schema)
        narrow(schema)
    return ChatRequest(role, how, messages, answer_type.__name__, schema, _role_hash(role), seed)


_role_hash = functools.cache(prompts.role_hash)


def _again(request: ChatRequest, completion: Completion, bad: _Bad) -> ChatRequest:
    told = (Message("assistant", completion.text[:QUOTED]), Message("user", prompts.correction(bad.detail)))
    return replace(request, messages=(*request.messages, *told))


def _read(completion: Completion, answer_type: type[T], check: Callable[[T], str] | None) -> T | _Bad:
    if completion.finish == "refused":
        return _Bad("llm_refused", completion.text[:300])
    document = find_json(completion.text)
    try:
        value = answer_type.model_validate(document)
    except ValidationError as error:
        if completion.finish == "length":
            return _Bad("llm_cut_off", "the answer was too long and was cut off; answer more briefly")
        if document is None:
            return _Bad("llm_no_json", "there is no JSON object in the answer")
        return _Bad("llm_wrong_schema", _findings(error))
    wrong = check(value) if check else ""
    return _Bad("llm_failed_check", wrong) if wrong else value


def _findings(error: ValidationError) -> str:
    """What is wrong, field by field, in words a model can use; quotes no input."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    places = [".".join(map(str, one["loc"])) or "answer" for one in found[:FINDINGS]]
    lines = [f"{place}: {one['msg'].removeprefix('Value error, ')}" for place, one in zip(places, found, strict=False)]
    return "; ".join(lines) + (f"; and {len(found) - FINDINGS} more" if len(found) > FINDINGS else "")


def find_json(text: str) -> dict[str, Any] | None:
    """The JSON object in a model's answer: alone, in a code fence, or after prose or a `</think>`; None when there is none.

    Of several the first one counts that stands behind all thinking.
    """
    found: dict[str, Any] | None = None
    for document, end in _objects(text):
        found = document
        if THOUGHT not in text[end:]:
            break
    return found


def _objects(text: str) -> Iterator[tuple[dict[str, Any], int]]:
    """The JSON objects in a text, outermost ones, and where each ends."""
    decoder, start = json.JSONDecoder(), 0
    for _ in range(STARTS):
        start = text.find("{", start)
        if start < 0:
            return
        try:
            document, start = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start += 1
        else:
            yield document, start


@functools.cache
def answer_schema(
    answer_type: type[Schema], counts: tuple[tuple[str, tuple[int, int]], ...] = (), lengths: bool = False
) -> dict[str, Any]:
    """JSON schema of an answer as strict servers want it: every property required, nothing else allowed.

    `counts`: list → (fewest, most) of its entries; `lengths`: whether it says how long texts may be.
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
