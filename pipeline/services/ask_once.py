"""`soundflow ask`: run one role of the language model once, as a build does, and show the whole exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jinja2
from pydantic import ValidationError

from soundflow import prompts
from soundflow.backends.calls.answers import CachedChat
from soundflow.operators.protocols.asking import Answer, Counts, ask
from soundflow.operators.protocols.chat import ChatRequest, Completion
from soundflow.operators.tasks import POLICIES
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.chat import open_chat
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, Schema, explain
from soundflow.schemas.documents import read_yaml
from soundflow.schemas.llm import BudgetSpent, LlmConfig, Usage
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.scenario import ANSWERS, HistoryQuestion, Refinement, Scenario
from soundflow.schemas.suggest import did_you_mean

DEFAULTS: Final[dict[str, object]] = {
    "fewest": c.EVENTS_RANGE[0],
    "most": c.EVENTS_RANGE[1],
    "distance": c.HISTORY_TURNS,
    "audible": False,
}
"""Default values of prompt variables."""


@dataclass(slots=True)
class RecordingChat:
    """A chat model that records its requests and completions."""

    chat: CachedChat
    exchanges: list[tuple[ChatRequest, Completion]] = field(default_factory=list)

    @property
    def config(self) -> LlmConfig:
        """The configuration of the chat model."""
        return self.chat.config

    async def complete(self, request: ChatRequest) -> Completion:
        """Return the completion of the chat model; raises what that raises."""
        completion = await self.chat.complete(request)
        self.exchanges.append((request, completion))
        return completion


@dataclass(frozen=True, slots=True)
class AskResult:
    """The exchange with the language model and its outcome."""

    role: str
    outcome: Outcome[Answer[Schema]]
    messages: tuple[dict[str, Any], ...]
    """All messages in order, as sent to the server, including its answers."""
    usage: Usage
    cached: bool
    """Whether every answer came from the cache."""

    @property
    def ok(self) -> bool:
        """Whether the answer was accepted."""
        return isinstance(self.outcome, Ok)

    def why(self) -> str:
        """Return why no answer was accepted; empty if one was."""
        if isinstance(self.outcome, Ok):
            return ""
        return (
            f"{self.outcome.reason}: {self.outcome.metrics['detail']}"
            if isinstance(self.outcome, Rejected)
            else self.outcome.error
        )

    def to_json(self) -> dict[str, Any]:
        """Return the document for `--json`."""
        document: dict[str, Any] = {"role": self.role, "ok": self.ok, "why": self.why(), "messages": list(self.messages)}
        answer = self.outcome.value if isinstance(self.outcome, Ok) else None
        return document | {
            "answer": answer.value.model_dump(mode="json") if answer else None,
            "model": answer.model if answer else None,
            "usage": self.usage.model_dump(),
            "cached": self.cached,
        }

    def lines(self) -> list[str]:
        """Return the exchange, the outcome and the usage as lines of text."""
        lines = []
        for message in self.messages:
            lines += [f"--- {message['role']} ---", _text(message["content"])]
        outcome = f"accepted as {type(self.outcome.value.value).__name__}" if isinstance(self.outcome, Ok) else self.why()
        usage = self.usage.describe() + (", all from the cache" if self.cached and self.usage.calls else "")
        return [*lines, "---", outcome, usage]


def ask_once(
    role: str, values: Mapping[str, object], config: LlmConfig, *, seed: int = 0, answers: AnswerCache | None = None
) -> AskResult:
    """Run `role` once with the prompt variables `values`.

    Raises InputError for an unknown role, missing or invalid values, or a key or model that the server rejects.
    """
    if role not in ANSWERS:
        remedy = f"{did_you_mean(role, ANSWERS)} Roles: {', '.join(sorted(ANSWERS))}".strip()
        raise InputError("unknown role", value=role, remedy=remedy)
    filled = {"seed": seed, **DEFAULTS, **_rules(values.get("task")), **values}
    needed = prompts.role_variables(role)
    if missing := [name for name in needed if name not in filled]:
        why = f"the prompt of {role} has no value for {', '.join(missing)}"
        raise InputError(why, remedy=f"Add it to the input. All variables: {', '.join(needed)}")
    _check_values(role, filled)
    return asyncio.run(_ask(role, filled, config, seed, answers or AnswerCache()))


def _rules(task: object) -> dict[str, str]:
    """Return the prompt variables that a sub-task sets (none without one); raises InputError if it is unknown."""
    if task is None:
        return {}
    policy = next((policy for name, policy in POLICIES.items() if name == task), None)
    if policy is None:
        remedy = f"{did_you_mean(task, POLICIES)} List all: soundflow tasks".strip()
        raise InputError("unknown sub-task", field="task", value=task, remedy=remedy)
    return {"task_rule": policy.task_rule, "response_rule": policy.response_rule}


def _check_values(role: str, values: dict[str, Any]) -> None:
    """Raise InputError for values that answers could not be checked against."""
    if role == "event_refiner":
        try:
            Scenario.model_validate(values["scenario"])
        except ValidationError as error:
            found = explain(error, Scenario)
            raise InputError(found.why, field=f"scenario.{found.field}", value=found.value, remedy=found.remedy) from None
    if role == "history_question" and not isinstance(values["turns"], list):
        raise InputError("must be a list", field="turns", value=values["turns"])


async def _ask(role: str, values: dict[str, object], config: LlmConfig, seed: int, answers: AnswerCache) -> AskResult:
    async with open_chat(config, answers) as chat:
        recording = RecordingChat(chat)
        try:
            outcome = await ask(
                recording,
                role,
                values,
                ANSWERS[role],
                seed=seed,
                check=lambda answer: _mismatch(answer, values),
                counts=_counts(role, values),
            )
        except jinja2.UndefinedError as error:
            remedy = "Check the values in the input"
            raise InputError(f"the prompt of {role} cannot be filled: {error.message}", remedy=remedy) from None
        except BudgetSpent as error:
            raise InputError(str(error)) from None  # the message names the field
    messages: list[dict[str, Any]] = []
    for request, completion in recording.exchanges:
        messages += [message.wire() for message in request.messages[len(messages) :]]
        messages.append({"role": "assistant", "content": completion.text})
    usage = sum((completion.usage for _, completion in recording.exchanges), Usage())
    return AskResult(role, outcome, tuple(messages), usage, all(completion.cached for _, completion in recording.exchanges))


def _mismatch(answer: Schema, values: dict[str, Any]) -> str:
    """Return why a build would reject an answer to this request; empty if it would accept it."""
    if isinstance(answer, Scenario):
        return answer.mismatch(values["fewest"], values["most"])
    if isinstance(answer, Refinement):
        return answer.mismatch(Scenario.model_validate(values["scenario"]), worded=bool(values["response_rule"]))
    if isinstance(answer, HistoryQuestion):
        return answer.mismatch(len(values["turns"]), values["distance"])
    return ""


def _counts(role: str, values: dict[str, Any]) -> Counts:
    """Return the numbers of entries that a build would allow."""
    if role == "scenario_planner":
        return {"events": (values["fewest"], values["most"])}
    return {"events": (len(values["scenario"]["events"]),) * 2} if role == "event_refiner" else {}


def read_values(path: Path) -> dict[str, object]:
    """Read prompt variables from a YAML or JSON file; raises InputError if it is not a mapping."""
    found = read_yaml(path)
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise InputError("is not a mapping of prompt variables to values", file=path, value=found)
    return found


def read_llm(path: Path) -> LlmConfig:
    """Read the `llm:` section of a recipe; raises InputError if it is missing or invalid."""
    found = read_yaml(path)
    if not isinstance(found, dict) or not isinstance(found.get("llm"), dict):
        raise InputError("has no llm section", file=path, remedy="Add `llm: {model: NAME}` or pass --model")
    return LlmConfig.from_document(found["llm"], file=path)


def _text(content: Any) -> str:
    """Return the text of a message, with a placeholder for each part that is not text."""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", f"[{part['type']}]") for part in content)
