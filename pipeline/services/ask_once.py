"""`soundflow ask`: one role, one question, everything that was said."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jinja2
import yaml
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
"""Values of prompts that need not be in the input file."""


@dataclass(slots=True)
class RecordingChat:
    """A chat model that remembers what was said through it."""

    chat: CachedChat
    said: list[tuple[ChatRequest, Completion]] = field(default_factory=list)

    @property
    def config(self) -> LlmConfig:
        """How each role is answered."""
        return self.chat.config

    async def complete(self, request: ChatRequest) -> Completion:
        """The answer; raises what the chat model raises."""
        completion = await self.chat.complete(request)
        self.said.append((request, completion))
        return completion


@dataclass(frozen=True, slots=True)
class AskResult:
    """One question and what came of it."""

    role: str
    outcome: Outcome[Answer[Schema]]
    messages: tuple[dict[str, Any], ...]
    """As the server gets them, the answers among them, in order."""
    usage: Usage
    cached: bool

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return isinstance(self.outcome, Ok)

    def why(self) -> str:
        """Why there is no answer."""
        if isinstance(self.outcome, Ok):
            return ""
        return (
            f"{self.outcome.reason}: {self.outcome.metrics['detail']}"
            if isinstance(self.outcome, Rejected)
            else self.outcome.error
        )

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        document: dict[str, Any] = {"role": self.role, "ok": self.ok, "why": self.why(), "messages": list(self.messages)}
        answer = self.outcome.value if isinstance(self.outcome, Ok) else None
        return document | {
            "answer": answer.value.model_dump(mode="json") if answer else None,
            "model": answer.model if answer else None,
            "usage": self.usage.model_dump(),
            "cached": self.cached,
        }

    def lines(self) -> list[str]:
        """For people."""
        shown = []
        for message in self.messages:
            shown += [f"--- {message['role']} ---", _text(message["content"])]
        shown.append("---")
        shown.append(f"accepted as {type(self.outcome.value.value).__name__}" if isinstance(self.outcome, Ok) else self.why())
        shown.append(self.usage.describe() + (", all from the cache" if self.cached and self.usage.calls else ""))
        return shown


def ask_once(
    role: str, values: Mapping[str, object], config: LlmConfig, *, seed: int = 0, answers: AnswerCache | None = None
) -> AskResult:
    """Ask `role` once, as a build would. Raises InputError for an unknown role, missing values, or a key or model that fails."""
    if role not in ANSWERS:
        remedy = f"{did_you_mean(role, ANSWERS)} Roles: {', '.join(sorted(ANSWERS))}".strip()
        raise InputError("unknown role", value=role, remedy=remedy)
    filled = {"seed": seed, **DEFAULTS, **_rules(values.get("task")), **values}
    needed = prompts.role_variables(role)
    if missing := [name for name in needed if name not in filled]:
        raise InputError(f"the role {role} also needs {', '.join(missing)}", remedy=f"It is asked with {', '.join(needed)}")
    _look_at(role, filled)
    return asyncio.run(_ask(role, filled, config, seed, answers or AnswerCache()))


def _rules(task: object) -> dict[str, str]:
    """What the policy of a sub-task tells the model; nothing without one, InputError when there is no such."""
    if task is None:
        return {}
    policy = next((policy for name, policy in POLICIES.items() if name == task), None)
    if policy is None:
        raise InputError("unknown sub-task", field="task", value=task, remedy=f"Known: {', '.join(POLICIES)}")
    return {"task_rule": policy.task_rule, "response_rule": policy.response_rule}


def _look_at(role: str, values: dict[str, Any]) -> None:
    """Raises InputError for values whose answer could not be judged."""
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
        conversation = RecordingChat(chat)
        try:
            outcome = await ask(
                conversation,
                role,
                values,
                ANSWERS[role],
                seed=seed,
                check=lambda answer: _mismatch(answer, values),
                counts=_counts(role, values),
            )
        except jinja2.UndefinedError as error:
            raise InputError(f"the prompt of {role} cannot be filled: {error.message}", remedy="Check the input") from None
        except BudgetSpent as error:
            raise InputError(str(error)) from None  # which names its field
    messages: list[dict[str, Any]] = []
    for request, completion in conversation.said:
        messages += [message.wire() for message in request.messages[len(messages) :]]
        messages.append({"role": "assistant", "content": completion.text})
    usage = sum((completion.usage for _, completion in conversation.said), Usage())
    return AskResult(role, outcome, tuple(messages), usage, all(completion.cached for _, completion in conversation.said))


def _mismatch(answer: Schema, values: dict[str, Any]) -> str:
    """What a build would find wrong with an answer in view of the question."""
    if isinstance(answer, Scenario):
        return answer.mismatch(values["fewest"], values["most"])
    if isinstance(answer, Refinement):
        return answer.mismatch(Scenario.model_validate(values["scenario"]), worded=bool(values["response_rule"]))
    if isinstance(answer, HistoryQuestion):
        return answer.mismatch(len(values["turns"]), values["distance"])
    return ""


def _counts(role: str, values: dict[str, Any]) -> Counts:
    """How many entries a build would ask for."""
    if role == "scenario_planner":
        return {"events": (values["fewest"], values["most"])}
    return {"events": (len(values["scenario"]["events"]),) * 2} if role == "event_refiner" else {}


def read_values(path: Path) -> dict[str, object]:
    """The values of a prompt from a YAML or JSON file; InputError when it holds no mapping."""
    found = _read_yaml(path)
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise InputError("must hold a mapping of the prompt's values", file=path, value=found)
    return found


def read_llm(path: Path) -> LlmConfig:
    """The `llm:` section of a recipe; InputError when there is none or it is wrong."""
    found = _read_yaml(path)
    if not isinstance(found, dict) or not isinstance(found.get("llm"), dict):
        raise InputError("has no llm section", file=path, remedy="Add `llm: {model: NAME}`, or give --model")
    try:
        return LlmConfig.model_validate(found["llm"])
    except ValidationError as error:
        raise explain(error, LlmConfig, path) from None


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}", file=path) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"is not valid YAML: {' '.join(str(error).split())}", file=path) from None


def _text(content: Any) -> str:
    """The text of a message; what is not text is named."""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", f"[{part['type']}]") for part in content)
