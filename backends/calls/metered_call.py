"""Metered calls: the one path that every request to a service behind HTTP takes.

1. admit: the meter reserves the most the call can cost, or makes it wait (budget, rate limits, a pause).
2. call: one POST under one deadline, with a limit on the size of the response (`transport`). Redirects are not followed: they
   would carry the key to another server.
3. settle: the meter books the cost. A call that may have been charged without a bill counts in full.
4. ledger: the cost is added to the role's account.
5. pause: Retry-After holds back every caller of the meter, not only the one that received it.
6. retry: after a `ServerFault`, with doubling delays or after Retry-After.

`AsyncCalls` is for one event loop, `BlockingCalls` for threads.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import httpx2
import tenacity
from pydantic import SecretStr

from soundflow.backends.calls.http_errors import HttpReply, status_error
from soundflow.backends.calls.metering import CostLedger, Meter
from soundflow.backends.calls.service import Service, scrubbed
from soundflow.backends.calls.transport import LINE_ERRORS, AsyncTransport, BlockingTransport
from soundflow.operators.protocols.faults import ServerFault, Unreachable
from soundflow.schemas.llm import ServiceUnreachable, Usage

STARTING_SECONDS: Final = 10.0
"""How long an address that never answered is retried: the service may be starting, or the address may be wrong."""
LONGEST_BACKOFF: Final = 60.0
"""Seconds between two tries, unless the service asks for more."""
LONGEST_RETRY_AFTER: Final = 600.0
"""Seconds. A service that asks for a longer pause is not waited for."""

T = TypeVar("T")


class CallSettings(Protocol):
    """The `server` section of a config, as far as calls need it."""

    @property
    def timeout_seconds(self) -> float:
        """Deadline of one call, from connecting to the last byte."""

    @property
    def retries(self) -> int:
        """Tries after the first."""

    @property
    def backoff_seconds(self) -> float:
        """Delay before the first retry; doubles with each."""


@dataclass(frozen=True, slots=True)
class Post(Generic[T]):
    """One POST request."""

    role: str
    """Account in the ledger."""
    content: Mapping[str, Any]
    """Arguments of the SDK's `create`, or those of httpx2 if the service speaks plain HTTP: `json`, `data`, `files`, `params`."""
    read: Callable[[HttpReply], tuple[T, Usage]]
    """Result and cost from a 2xx response; raises ServerFault for a response that is damaged."""
    worst: Usage
    """The most the call can cost."""
    largest: int
    """Bytes of the response body."""
    path: str = ""
    """Appended to the base URL."""
    detail: str = ""
    """What an error message adds to the service's name and address."""


@dataclass(frozen=True, slots=True)
class _Success(Generic[T]):
    result: T
    usage: Usage


class MeteredCalls:
    """What `AsyncCalls` and `BlockingCalls` share: everything but waiting and the socket."""

    def __init__(self, service: Service, settings: CallSettings, meter: Meter, ledger: CostLedger | None = None):
        self.service, self.settings, self.meter, self.ledger = service, settings, meter, ledger or CostLedger()
        self.is_reached = False
        """Whether the service ever accepted a connection."""
        self._unreachable_since: float | None = None
        self._key = SecretStr("")

    def _policy(self, retries: int | None) -> dict[str, Any]:
        """Arguments of tenacity's retrying."""
        first = self.settings.backoff_seconds
        backoff = tenacity.wait_exponential_jitter(first, LONGEST_BACKOFF, jitter=first)

        def delay(state: tenacity.RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            requested = fault.retry_after if isinstance(fault, ServerFault) else None
            return float(backoff(state)) if requested is None else requested

        most = self.settings.retries
        return {
            "retry": tenacity.retry_if_exception(self._is_worth_retrying),
            "stop": tenacity.stop_after_attempt(1 + (most if retries is None else min(retries, most))),
            "wait": delay,
            "reraise": True,
        }

    def _is_worth_retrying(self, error: BaseException) -> bool:
        if isinstance(error, Unreachable) and not self.is_reached:
            return time.monotonic() - (self._unreachable_since or 0.0) <= STARTING_SECONDS
        return isinstance(error, ServerFault) and (error.retry_after or 0.0) <= LONGEST_RETRY_AFTER

    def _answer(self, post: Post[T], response: httpx2.Response, body: bytearray) -> HttpReply | ServerFault:
        """The response without the key; a fault if it is too large."""
        if response.is_success and len(body) > post.largest:
            return ServerFault(f"{self._label(post)}: the response is larger than {post.largest:,} bytes", billed=True)
        if _is_encoded(response):
            return ServerFault(f"{self._label(post)}: the response is compressed, which was not requested", billed=True)
        headers = {name: scrubbed(value, self._key) for name, value in response.headers.items()}
        return HttpReply(response.status_code, httpx2.Headers(headers), scrubbed(bytes(body), self._key))

    def _line_fault(self, post: Post[T], error: Exception) -> ServerFault:
        """What broke between us and the service, and whether the request may have reached it."""
        label, cause = self._label(post), f"{type(error).__name__}: {error}".rstrip(": ")
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return Unreachable(scrubbed(f"{label} cannot be reached: {cause}", self._key))
        if isinstance(error, TimeoutError | httpx2.TimeoutException):
            return ServerFault(f"{label}: no complete response within {self.settings.timeout_seconds:g} s", billed=True)
        return ServerFault(scrubbed(f"{label}: connection lost: {cause}", self._key), billed=True)

    def _outcome(self, post: Post[T], answer: HttpReply | ServerFault) -> _Success[T] | Exception:
        if isinstance(answer, ServerFault):
            return answer
        if not 200 <= answer.status < 300:
            return status_error(self.service, self._label(post), answer)
        try:
            return _Success(*post.read(answer))
        except ServerFault as fault:
            return type(fault)(f"{self._label(post)}: {fault.what}", billed=True)

    def _settle(self, post: Post[T], ticket: str, outcome: _Success[T] | Exception | None) -> None:
        """Book an admitted call; `outcome` None: it was interrupted, and may have been charged."""
        used: Usage | None = None
        if isinstance(outcome, _Success):
            used = outcome.usage
        elif outcome is not None and not (isinstance(outcome, ServerFault) and outcome.billed):
            used = Usage()
        self.meter.settle(ticket, used)
        if outcome is None:
            return
        if not isinstance(outcome, Unreachable):
            self.is_reached = True
        elif self._unreachable_since is None:
            self._unreachable_since = time.monotonic()
        if isinstance(outcome, _Success):
            self.ledger.asked(post.role, outcome.usage)
            return
        self.ledger.fault(post.role, post.worst if used is None else Usage())
        requested = outcome.retry_after if isinstance(outcome, ServerFault) else None
        if requested is not None and 0 < requested <= LONGEST_RETRY_AFTER:
            self.meter.pause(requested)

    @contextmanager
    def _never_answered(self) -> Iterator[None]:
        """Raise ServiceUnreachable instead of Unreachable if the service was never reached."""
        why = ""
        try:
            yield
        except Unreachable as fault:
            if self.is_reached:
                raise
            why = str(fault)
        if why:
            where = f"{self.service.section}.base_url" + (" or $OPENAI_BASE_URL" if self.service.protocol == "openai" else "")
            answered = any(cost.asked.calls or cost.replayed.calls for cost in self.ledger.roles.values())
            raise ServiceUnreachable(why, where, answered or self.meter.state().spent.calls > 0)

    def _label(self, post: Post[T]) -> str:
        return self.service.label(post.detail)


def _is_encoded(response: httpx2.Response) -> bool:
    return response.headers.get("content-encoding", "identity") != "identity"


class AsyncCalls(MeteredCalls):
    """Calls from one event loop, at most `concurrency` at a time. Used inside `async with`; connects with the first call."""

    def __init__(
        self, service: Service, settings: CallSettings, concurrency: int, meter: Meter, ledger: CostLedger | None = None
    ):
        super().__init__(service, settings, meter, ledger)
        self._concurrency = concurrency
        self._slots: asyncio.Semaphore | None = None
        self._transport: AsyncTransport | None = None

    async def __aenter__(self) -> Self:
        self._slots = asyncio.Semaphore(self._concurrency)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        transport, self._transport, self._slots = self._transport, None, None
        if transport is not None:
            await transport.close()

    async def send(self, post: Post[T], retries: int | None = None) -> T:
        """Return the result of `post`. `retries` lowers the configured number.

        Raises ServerFault after the last try, RequestRefused, InputError (key, address, model), BudgetSpent, and
        ServiceUnreachable if the service has never been reached.
        """
        with self._never_answered():
            result: T = await tenacity.AsyncRetrying(**self._policy(retries))(self._once, post)
        return result

    async def _once(self, post: Post[T]) -> T:
        if self._slots is None:
            raise RuntimeError(f"calls to {self.service.name} are made inside `async with`")
        if self._transport is None:
            self._transport = AsyncTransport(self.service, self.settings.timeout_seconds)
            self._key = self._transport.key
        async with self._slots:
            ticket, outcome = uuid.uuid4().hex, None
            while wait := self.meter.admit(ticket, post.worst):
                await asyncio.sleep(wait)
            try:
                outcome = self._outcome(post, await self._exchange(self._transport, post))
            finally:
                self._settle(post, ticket, outcome)
        if isinstance(outcome, Exception):
            raise outcome  # raised here, where no frame or chained exception holds the request with its headers
        return outcome.result

    async def _exchange(self, transport: AsyncTransport, post: Post[T]) -> HttpReply | ServerFault:
        body = bytearray()
        try:
            async with (
                asyncio.timeout(self.settings.timeout_seconds),
                transport.post(post.path, post.content) as response,
            ):
                if not _is_encoded(response):
                    async for block in response.aiter_bytes():
                        body += block
                        if len(body) > post.largest:
                            break
            return self._answer(post, response, body)
        except LINE_ERRORS as error:
            return self._line_fault(post, error)


class BlockingCalls(MeteredCalls):
    """Calls from any number of threads."""

    def __init__(self, service: Service, settings: CallSettings, meter: Meter, ledger: CostLedger | None = None):
        super().__init__(service, settings, meter, ledger)
        self._transport: BlockingTransport | None = None
        self._connecting = threading.Lock()

    def send(self, post: Post[T], retries: int | None = None) -> T:
        """See `AsyncCalls.send`."""
        with self._never_answered():
            result: T = tenacity.Retrying(**self._policy(retries))(self._once, post)
        return result

    def _once(self, post: Post[T]) -> T:
        with self._connecting:
            if self._transport is None:
                self._transport = BlockingTransport(self.service, self.settings.timeout_seconds)
                self._key = self._transport.key
                weakref.finalize(self, self._transport.close)
        ticket, outcome = uuid.uuid4().hex, None
        while wait := self.meter.admit(ticket, post.worst):
            time.sleep(wait)
        try:
            outcome = self._outcome(post, self._exchange(self._transport, post))
        finally:
            self._settle(post, ticket, outcome)
        if isinstance(outcome, Exception):
            raise outcome  # see AsyncCalls
        return outcome.result

    def _exchange(self, transport: BlockingTransport, post: Post[T]) -> HttpReply | ServerFault:
        body, deadline = bytearray(), time.monotonic() + self.settings.timeout_seconds
        try:
            with transport.post(post.path, post.content) as response:
                if not _is_encoded(response):
                    for block in response.iter_bytes():
                        body += block
                        if time.monotonic() > deadline:
                            raise TimeoutError
                        if len(body) > post.largest:
                            break
            return self._answer(post, response, body)
        except LINE_ERRORS as error:
            return self._line_fault(post, error)
