"""A sound service behind HTTP as a Generator: asked once per request, within limits, and believed only what is audio.

`elevenlabs_sounds` and `http_sounds` are the services. Their answers are kept as they came (`backends.calls.answers`): a
service that has no seed, or does not honour it, is asked once all the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import uuid
from collections.abc import AsyncIterator
from typing import Final, Protocol

import httpx
import numpy as np

from soundflow.backends.calls.answers import AnswerStore, answered_once
from soundflow.backends.calls.faults import PATIENCE, may_pass, retry_after, tries
from soundflow.backends.calls.guard import PROOF_RETRIES, Guard
from soundflow.backends.calls.metering import CostLedger, Limits, Meter, ProcessMeter
from soundflow.operators.clean.ingress import read_bytes
from soundflow.operators.protocols.faults import BackendError, RequestRefused, ServerFault, Unreachable
from soundflow.operators.protocols.generation import GeneratedSound
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.clip import IngressConfig
from soundflow.schemas.generation import GenerationConfig, Maker
from soundflow.schemas.llm import LlmBudget, Usage
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected

REQUEST_VERSION: Final = "1"
"""Raise it when the same request would be put to a service differently."""
LARGEST_SOUND: Final = 32 << 20
"""Bytes of a response; more is refused before it is read to the end. 60 s of 48 kHz stereo float are 23 MB."""
INGRESS: Final = IngressConfig(max_seconds=120.0)
NO_AUDIO: Final = frozenset({"empty", "truncated", "damaged", "unreadable", "bad_rate"})
"""Reasons of ingress that are the line's or the server's fault: the same request may get a whole answer."""
LEDGER_ROLE: Final = "sound_generation"
PLAIN: Final = "a bell rings once"


class SoundService(Protocol):
    """One way to put a request to a service."""

    @property
    def maker(self) -> Maker:
        """Who it is, with all that shapes a sound besides the request."""

    @property
    def seconds(self) -> tuple[float, float]:
        """Shortest and longest sound it makes."""

    @property
    def address(self) -> str:
        """Where it is, for people."""

    async def sound(self, caption: str, seconds: float, seed: int) -> bytes:
        """A whole audio file. Raises BackendError, or InputError when no other request will fare better."""


class RemoteGenerator:
    """A `Generator` that asks `service`. Used in one event loop."""

    def __init__(
        self,
        service: SoundService,
        config: GenerationConfig,
        answers: AnswerStore,
        *,
        meter: Meter | None = None,
        ledger: CostLedger | None = None,
    ):
        self.service, self.config, self.answers = service, config, answers
        self.meter, self.ledger = meter or ProcessMeter(limits_of(config)), ledger or CostLedger()
        self._slots = asyncio.Semaphore(config.server.concurrency)
        self._guard = Guard(f"the sound service {service.maker.backend} at {service.address}", config.server.retries)

    @property
    def maker(self) -> Maker:
        """The service."""
        return self.service.maker

    async def generate(self, caption: str, seconds: tuple[float, float], seed: int) -> Outcome[GeneratedSound]:
        """See `Generator`. The same request gives the same samples: the answer is kept, and found again by any process."""
        length = _length(seconds, self.service.seconds, seed)
        if length is None:
            return Rejected("cannot_last", {"seconds": list(self.service.seconds), "wanted": list(seconds)})
        usage = Usage(calls=1, money=self.config.price_per_second * length)

        async def ask() -> bytes:
            return await self._guard.ask(LEDGER_ROLE, lambda: self._tried(caption, length, seed, usage), self._plain)

        try:
            data, kept = await answered_once(self.answers, self._key(caption, length, seed), ask)
        except RequestRefused as error:
            return Rejected("refused", {"detail": str(error)})
        except BackendError as error:
            payload = {"caption": caption, "seconds": length, "seed": seed, "maker": self.maker.model_dump(mode="json")}
            payload["kind"] = type(error).__name__
            return Failed(f"{self.maker.backend}: {error}", "generation", payload, of_service=True)
        if kept:
            self.ledger.replayed(LEDGER_ROLE, usage)
        found = read_bytes(data, INGRESS)
        return Ok(GeneratedSound(found.value.samples, caption, {"asked_seconds": length})) if isinstance(found, Ok) else found

    async def _tried(self, caption: str, seconds: float, seed: int, usage: Usage, retries: int = 100) -> bytes:
        server = self.config.server
        sound: bytes = await tries(min(retries, server.retries), server.backoff_seconds)(
            self._once, caption, seconds, seed, usage
        )
        return sound

    async def _plain(self) -> bytes:
        """The plain request of `Guard`: a short sound that any service makes."""
        low, high = self.service.seconds
        seconds = min(max(low, 1.0), high)
        usage = Usage(calls=1, money=self.config.price_per_second * seconds)
        return await self._tried(PLAIN, seconds, 0, usage, PROOF_RETRIES)

    async def _once(self, caption: str, seconds: float, seed: int, usage: Usage) -> bytes:
        async with self._slots:
            ticket = uuid.uuid4().hex
            while wait := self.meter.admit(ticket, usage):
                await asyncio.sleep(wait)
            used: Usage | None = None  # if we are broken off: it may have been billed
            try:
                got = await self._call(caption, seconds, seed)
                if isinstance(got, bytes):
                    used = usage
                elif not (isinstance(got, ServerFault) and got.billed):
                    used = Usage()
            finally:
                self.meter.settle(ticket, used)
        if isinstance(got, bytes):
            self.ledger.asked(LEDGER_ROLE, usage)
            return got
        self.ledger.fault(LEDGER_ROLE, usage if used is None else Usage())
        if isinstance(got, ServerFault) and 0 < (got.retry_after or 0.0) <= PATIENCE:
            self.meter.pause(got.retry_after or 0.0)
        raise got  # here, not where it was found: no chain of causes holds the call with its headers

    async def _call(self, caption: str, seconds: float, seed: int) -> bytes | Exception:
        timeout = self.config.server.timeout_seconds
        try:
            async with asyncio.timeout(timeout):
                data = await self.service.sound(caption, seconds, seed)
        except TimeoutError:
            return ServerFault(f"no answer within {timeout:g} s", billed=True)
        except (BackendError, InputError) as error:
            return error
        found = read_bytes(data, INGRESS)
        if isinstance(found, Rejected) and found.reason in NO_AUDIO:
            return ServerFault(f"the answer is no whole audio file ({found.reason}, {len(data):,} bytes)", billed=True)
        return data

    def _key(self, caption: str, seconds: float, seed: int) -> str:
        document = [REQUEST_VERSION, self.maker.model_dump(mode="json", exclude={"licence"}), caption, seconds, seed]
        return hashlib.sha256(canonical_json(document)).hexdigest()


def limits_of(config: GenerationConfig) -> Limits:
    """What holds for all sounds of a build together."""
    budget = LlmBudget(calls=config.budget.calls, money=config.budget.money)
    return Limits(budget=budget, section="generation", requests_per_minute=config.server.requests_per_minute)


def _length(wanted: tuple[float, float], possible: tuple[float, float], seed: int) -> float | None:
    """A length in both ranges, drawn by the seed, in whole 10 ms; None when there is none."""
    low, high = math.ceil(max(wanted[0], possible[0]) * 100), math.floor(min(wanted[1], possible[1]) * 100)
    return float(np.random.Generator(np.random.PCG64(seed)).integers(low, high + 1)) / 100 if low <= high else None


class _Bounded(httpx.AsyncByteStream):
    """A response's bytes, as long as they are not too many."""

    def __init__(self, stream: httpx.AsyncByteStream):
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for block in self._stream:
            size += len(block)
            if size > LARGEST_SOUND:
                raise ServerFault(f"the answer is larger than {LARGEST_SOUND:,} bytes", billed=True)
            yield block

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx.Response) -> None:
    """An event hook: no response, nor an error, is read further than a sound is long."""
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > LARGEST_SOUND:
        raise ServerFault(f"the answer announces {int(announced):,} bytes", billed=True)
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ServerFault("the answer is encoded, its size unknown", billed=True)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = _Bounded(response.stream)


def client(timeout_seconds: float) -> httpx.AsyncClient:
    """An HTTP client for sounds. It follows no redirect: a key would go along to wherever it leads."""
    return httpx.AsyncClient(
        timeout=timeout_seconds,
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
        event_hooks={"response": [_bound]},
    )


def is_audio(content_type: str) -> bool:
    """Whether a response says it is a sound, or does not say what it is."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind.startswith("audio/") or kind in ("", "application/octet-stream")


def refusal(status: int, told: str, asked_pause: str | None, key_from: str, address: str) -> Exception:
    """What a status other than 2xx means; `told` is the server's own text without secrets."""
    said = f"{address}: {status}: {' '.join(told.split())[:300]}"
    if status == 401:
        remedy = f"Set {key_from} in the environment, and check the account" if key_from else "Set generation.server.api_key_env"
        return InputError(f"the service refuses the key ({said})", field="generation", remedy=remedy)
    if status in (402, 403):
        return InputError(f"the service does not serve this key ({said})", field="generation", remedy="Check the account")
    if status == 404 or 300 <= status < 400:
        return InputError(
            f"the service is not at this address ({said})",
            field="generation",
            remedy="Check generation.server.base_url and model",
        )
    if may_pass(status):
        return ServerFault(said, retry_after=retry_after(asked_pause))
    return RequestRefused(said)


def broken_line(error: httpx.HTTPError) -> ServerFault:
    """A line that broke, and whether the request may have reached the service."""
    never_out = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
    told = f"the line broke: {type(error).__name__}: {error}"
    return Unreachable(told) if never_out else ServerFault(told, billed=True)
