"""The chat model behind any server with OpenAI's `/chat/completions`."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from pydantic import Field

from soundflow.backends.calls.http_errors import HttpReply, ResponseModel, parsed
from soundflow.backends.calls.metered_call import AsyncCalls, Post
from soundflow.backends.calls.metering import CostLedger, Limits, Meter, ProcessMeter
from soundflow.backends.calls.service import openai_service
from soundflow.operators.protocols.chat import ChatRequest, Completion, Finish
from soundflow.operators.protocols.faults import EmptyAnswer, ServerFault
from soundflow.schemas.llm import LlmConfig, Usage
from soundflow.schemas.text import without_thoughts

LARGEST_ANSWER: Final = 1_000_000
"""Bytes of a response."""
REFUSAL_HINT: Final = "If the server does not support response_format, set llm.json_mode to json_object or none"


class _ChatMessage(ResponseModel):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: object = None
    reasoning: object = None
    """Thoughts that the server has separated from the answer. Servers use one of these two names, for a string."""

    @property
    def text(self) -> str:
        """The whole text of the model: separated thoughts stand in front of the answer again."""
        content, thoughts = self.content or "", self.reasoning_content or self.reasoning
        if not isinstance(thoughts, str) or not thoughts.strip():
            return content
        return f"<think>{thoughts}</think>{content}" if content.strip() else f"<think>{thoughts}"


class _ChatChoice(ResponseModel):
    message: _ChatMessage
    finish_reason: str | None = None


class _ChatUsage(ResponseModel):
    prompt_tokens: int = Field(ge=0, le=100_000_000)
    completion_tokens: int = Field(ge=0, le=100_000_000)


class _ChatBody(ResponseModel):
    choices: list[_ChatChoice]
    model: str = ""
    usage: _ChatUsage | None = None


class OpenAiChat:
    """A chat model behind an OpenAI-compatible server. Cheap to construct; used inside `async with`, in one event loop."""

    def __init__(self, config: LlmConfig, *, meter: Meter | None = None, ledger: CostLedger | None = None):
        self._config = config
        server = config.server
        service = openai_service("the language model", "llm.server", server.base_url, server.api_key_env, REFUSAL_HINT)
        meter = meter or ProcessMeter(Limits.of(config.budget, server))
        self.calls = AsyncCalls(service, server, server.concurrency, meter, ledger)

    @property
    def config(self) -> LlmConfig:
        """How each role is answered."""
        return self._config

    @property
    def meter(self) -> Meter:
        """What was spent."""
        return self.calls.meter

    @property
    def ledger(self) -> CostLedger:
        """What each role cost."""
        return self.calls.ledger

    async def __aenter__(self) -> Self:
        await self.calls.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.calls.__aexit__(kind, error, trace)

    async def complete(self, request: ChatRequest, retries: int | None = None) -> Completion:
        """Return the completion. `retries` lowers the configured number.

        Raises what `AsyncCalls.send` raises.
        """
        model = request.answering.model
        worst = self._config.priced(model, request.worst())

        def read(answer: HttpReply) -> tuple[Completion, Usage]:
            body = parsed(_ChatBody, answer.body, "a chat completion")
            usage = worst  # a server that states no usage is assumed to have used the most
            if body.usage is not None:
                stated = Usage(calls=1, input_tokens=body.usage.prompt_tokens, output_tokens=body.usage.completion_tokens)
                usage = self._config.priced(model, stated)
            text, finish = _first_choice(body)
            if without_thoughts(text).has_thoughts:
                self.ledger.had_thoughts(request.role)
            return Completion(text, finish, (body.model or model)[:200], usage), usage

        post = Post(
            role=request.role,
            content=request.wire(),
            read=read,
            worst=worst,
            largest=LARGEST_ANSWER,
            path="/chat/completions",
            detail=f"model {model}, role {request.role}",
        )
        return await self.calls.send(post, retries)


def _first_choice(body: _ChatBody) -> tuple[str, Finish]:
    """The text and how it ended; raises ServerFault if there is none."""
    if not body.choices:
        raise ServerFault("the response has no choices")
    choice = body.choices[0]
    text = choice.message.text
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return choice.message.refusal or text, "refused"
    if choice.finish_reason == "length":
        return text, "length"
    if not (choice.message.content or "").strip():
        raise EmptyAnswer("the completion is empty")
    return text, "stop"
