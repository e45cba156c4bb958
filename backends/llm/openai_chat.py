"""The real chat model: any server that speaks OpenAI's chat completions.

One call is: a slot, admission by the meter, the call itself under one deadline, the bill. Faults are told apart by type and
status and retried by tenacity; the SDK's own retries are off. The key is in the client and the environment, nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

import httpx2
import openai
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from soundflow.backends.calls.faults import PATIENCE, key_in, may_pass, retry_after, scrubbed, tries
from soundflow.backends.calls.metering import CostLedger, Limits, Meter, ProcessMeter
from soundflow.operators.protocols.chat import ChatRequest, Completion, Finish
from soundflow.operators.protocols.faults import BackendError, EmptyAnswer, RequestRefused, ServerFault, Unreachable
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import LlmConfig, Usage

LARGEST_ANSWER: Final = 1_000_000
"""Bytes of a response; more is refused before it is read to the end."""
STARTING_SECONDS: Final = 10.0
"""A server that never answered is waited for so long: it may be starting, or the address may be wrong."""
NO_QUOTA: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Codes of a 429 that no waiting helps."""


class _Told(BaseModel):
    """What we read of a response; servers add what they like."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Message(_Told):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Told):
    message: _Message
    finish_reason: str | None = None


class _Usage(_Told):
    prompt_tokens: int = Field(ge=0, le=100_000_000)
    completion_tokens: int = Field(ge=0, le=100_000_000)


class _Body(_Told):
    choices: list[_Choice]
    model: str = ""
    usage: _Usage | None = None


class AnswerTooLargeError(Exception):
    """A response passes LARGEST_ANSWER, or hides its size behind an encoding nobody asked for."""


class _Bounded(httpx2.AsyncByteStream):
    """A response's bytes, as long as they are not too many."""

    def __init__(self, stream: httpx2.AsyncByteStream):
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for block in self._stream:
            size += len(block)
            if size > LARGEST_ANSWER:
                raise AnswerTooLargeError
            yield block

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx2.Response) -> None:
    """An event hook: every response, also an error, is read only so far."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise AnswerTooLargeError
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Bounded(response.stream)


class OpenAiChat:
    """A chat model behind an OpenAI-compatible server. Cheap to make; used inside `async with`, in one event loop."""

    def __init__(self, config: LlmConfig, *, meter: Meter | None = None, ledger: CostLedger | None = None):
        self._config = config
        self.meter = meter or ProcessMeter(Limits.of(config.budget, config.server))
        self.ledger = ledger or CostLedger()
        self._key = SecretStr("")
        self._client: openai.AsyncOpenAI | None = None
        self._open = self._answered = False
        self._first_silence: float | None = None

    @property
    def config(self) -> LlmConfig:
        """How each role is answered."""
        return self._config

    async def __aenter__(self) -> Self:
        self._slots, self._open = asyncio.Semaphore(self._config.server.concurrency), True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        client, self._client, self._open = self._client, None, False
        if client is not None:
            await client.close()

    def _connected(self) -> openai.AsyncOpenAI:
        """The client, made for the first question: whoever asks nothing needs neither key nor server."""
        if not self._open:
            raise RuntimeError("OpenAiChat is used inside `async with`")
        if self._client is None:
            self._key, base_url = _credentials(self._config)
            self._client = openai.AsyncOpenAI(
                api_key=self._key.get_secret_value() or "none",
                base_url=base_url,
                max_retries=0,
                timeout=self._config.server.timeout_seconds,
                http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [_bound]}),
                default_headers={"Accept-Encoding": "identity"},
            )
        return self._client

    @property
    def address(self) -> str:
        """Where the server is, for people."""
        return self._config.server.base_url or os.environ.get("OPENAI_BASE_URL") or "OpenAI"

    async def complete(self, request: ChatRequest, retries: int | None = None) -> Completion:
        """The answer. `retries`: fewer than are configured.

        Raises ServerFault after the last try, RequestRefused, BudgetSpent, InputError (address, key, model).
        """
        server = self._config.server
        again = tries(server.retries if retries is None else min(retries, server.retries), server.backoff_seconds)
        try:
            return await again(self._once, request)
        except Unreachable as fault:
            raise fault if self._answered else self._nobody_there(fault) from None

    async def _once(self, request: ChatRequest) -> Completion:
        self._connected()
        async with self._slots:
            ticket, worst = uuid.uuid4().hex, self._config.priced(request.answering.model, request.worst())
            while wait := self.meter.admit(ticket, worst):
                await asyncio.sleep(wait)
            used: Usage | None = None  # if we are broken off: it may have been billed
            try:
                got = await self._call(request, worst)
                if isinstance(got, Completion):
                    used = got.usage
                elif not (isinstance(got, ServerFault) and got.billed):
                    used = Usage()
            finally:
                self.meter.settle(ticket, used)
        if isinstance(got, Completion):
            self._answered = True
            self.ledger.asked(request.role, got.usage)
            return got
        self._answered = self._answered or not isinstance(got, Unreachable)
        if isinstance(got, Unreachable) and not self._answered:
            now = time.monotonic()
            self._first_silence = now if self._first_silence is None else self._first_silence
            if now - self._first_silence > STARTING_SECONDS:
                raise self._nobody_there(got)
        self.ledger.fault(request.role, worst if used is None else Usage())
        if isinstance(got, ServerFault) and 0 < (got.retry_after or 0.0) <= PATIENCE:
            self.meter.pause(got.retry_after or 0.0)
        raise got  # here, not where it was found: no chain of causes holds the call with its headers

    async def _call(self, request: ChatRequest, worst: Usage) -> Completion | Exception:
        client, seconds = self._connected(), self._config.server.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                raw = await client.chat.completions.with_raw_response.create(**request.wire())
            return self._answer(raw.content, request, worst)
        except (TimeoutError, openai.APITimeoutError):
            return ServerFault(f"no answer within {seconds:g} s", billed=True)
        except AnswerTooLargeError:
            return ServerFault(f"the answer is larger than {LARGEST_ANSWER:,} bytes, or encoded", billed=True)
        except openai.APIStatusError as error:
            return self._refusal(error, request)
        except openai.APIConnectionError as error:
            never_out = isinstance(error.__cause__, (httpx2.ConnectError, httpx2.ConnectTimeout))
            what = f"{type(error.__cause__ or error).__name__}: {error.__cause__ or error}"
            told = self._scrubbed(f"the line to {client.base_url} broke: {what}")
            return Unreachable(told) if never_out else ServerFault(told, billed=True)
        except openai.OpenAIError as error:
            return ServerFault(self._scrubbed(f"{type(error).__name__}: {error}"), billed=True)

    @staticmethod
    def _nobody_there(fault: Unreachable) -> InputError:
        remedy = "Check the address (llm.server.base_url or $OPENAI_BASE_URL) and that the server runs"
        return InputError(f"nobody answers: {fault}", field="llm.server.base_url", remedy=remedy)

    def _answer(self, content: bytes, request: ChatRequest, worst: Usage) -> Completion | BackendError:
        try:
            body = _Body.model_validate_json(content)
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"])) or "body"
            return ServerFault(f"the response is no chat completion ({where})", billed=True)
        if not body.choices:
            return ServerFault("the response has no choices", billed=True)
        choice = body.choices[0]
        text = choice.message.content or ""
        finish: Finish = "length" if choice.finish_reason == "length" else "stop"
        if choice.message.refusal or choice.finish_reason == "content_filter":
            finish, text = "refused", choice.message.refusal or text
        elif not text.strip() and finish == "stop":
            return EmptyAnswer("the answer is empty", billed=True)
        usage = worst  # a server that states no usage is taken to have used the most
        if body.usage is not None:
            stated = Usage(calls=1, input_tokens=body.usage.prompt_tokens, output_tokens=body.usage.completion_tokens)
            usage = self._config.priced(request.answering.model, stated)
        return Completion(self._scrubbed(text), finish, self._scrubbed(body.model or request.answering.model)[:200], usage)

    def _refusal(self, error: openai.APIStatusError, request: ChatRequest) -> Exception:
        """What a status other than 2xx means."""
        status, model = error.status_code, request.answering.model
        told = self._scrubbed(f"{self.address}, asked as {request.role}: {status}: {error.message}")[:500]
        where = self._config.server.api_key_env
        if status == 401:
            return InputError(f"the server refuses the key ({told})", field="llm", remedy=f"Set {where} in the environment")
        if status in (402, 403) or error.code in NO_QUOTA:
            return InputError(f"the server does not serve this key ({told})", field="llm", remedy="Check the account's quota")
        if status == 404:
            return InputError(
                f"the server does not know this address or model ({told})",
                field="llm",
                value=model,
                remedy="Check llm.model and llm.server.base_url (it usually ends in /v1)",
            )
        if may_pass(status):
            return ServerFault(told, retry_after=retry_after(error.response.headers.get("retry-after")))
        return RequestRefused(f"{told}. If the server does not know response_format: llm.json_mode json_object or none")

    def _scrubbed(self, text: str) -> str:
        """`text` without the key, whoever put it there."""
        return scrubbed(text, self._key)


def _credentials(config: LlmConfig) -> tuple[SecretStr, str | None]:
    """(key, address); InputError when OpenAI itself is to be asked without a key."""
    key = key_in(config.server.api_key_env, "llm")
    base_url = config.server.base_url or os.environ.get("OPENAI_BASE_URL") or None
    if not key.get_secret_value() and base_url is None:
        raise InputError(
            f"no API key: {config.server.api_key_env} is not set",
            field="llm",
            remedy="Set it in the environment, or llm.server.base_url for a server that needs none",
        )
    return key, base_url
