"""A `Generator` behind an HTTP service. Every request is sent once, and only whole audio files are accepted.

`backends.sounds.elevenlabs` and `backends.sounds.http` are the services. Their answers are stored as they came
(`backends.calls.answers`), so a request has one answer even if the service takes no seed or ignores it.
"""

from __future__ import annotations

import hashlib
import math
from types import TracebackType
from typing import Any, Final, Protocol, Self

import numpy as np

from soundflow.backends.calls.answers import AnswerStore, answered_once
from soundflow.backends.calls.guard import PROBE_RETRIES, Guard
from soundflow.backends.calls.http_errors import HttpReply
from soundflow.backends.calls.metered_call import AsyncCalls, Post
from soundflow.backends.calls.metering import CostLedger, Limits, Meter, ProcessMeter
from soundflow.backends.calls.service import Service
from soundflow.operators.clean.ingress import read_bytes
from soundflow.operators.protocols.faults import BackendError, RequestRefused, ServerFault
from soundflow.operators.protocols.generation import GeneratedSound
from soundflow.schemas.base import canonical_json
from soundflow.schemas.clip import IngressConfig
from soundflow.schemas.generation import GenerationConfig, Maker
from soundflow.schemas.llm import LlmBudget, Usage
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected

REQUEST_VERSION: Final = "1"
"""Raise it when the same request would be sent to a service differently."""
LARGEST_SOUND: Final = 32 << 20
"""Bytes of a response. 60 s of 48 kHz stereo float are 23 MB."""
INGRESS: Final = IngressConfig(max_seconds=120.0)
NO_AUDIO: Final = frozenset({"empty", "truncated", "damaged", "unreadable", "several_tracks", "bad_rate"})
"""Reasons of ingress that the connection or the service causes: a retry may get a whole file."""
LEDGER_ROLE: Final = "sound_generation"
PROBE: Final = "a bell rings once"


class SoundService(Protocol):
    """How a request for a sound is sent to one service."""

    @property
    def maker(self) -> Maker:
        """The service and its model, with all that shapes a sound besides the request."""

    @property
    def seconds(self) -> tuple[float, float]:
        """Shortest and longest sound it makes."""

    @property
    def service(self) -> Service:
        """Address and key."""

    @property
    def path(self) -> str:
        """Appended to the address."""

    def content(self, caption: str, seconds: float, seed: int) -> dict[str, Any]:
        """Return the arguments of httpx2 for one request; the response is an audio file."""


class RemoteGenerator:
    """A `Generator` behind a `SoundService`. Used inside `async with`, in one event loop."""

    def __init__(
        self,
        sounds: SoundService,
        config: GenerationConfig,
        answers: AnswerStore,
        *,
        meter: Meter | None = None,
        ledger: CostLedger | None = None,
    ):
        self.sounds, self.config, self.answers = sounds, config, answers
        server = config.server
        self.calls = AsyncCalls(sounds.service, server, server.concurrency, meter or ProcessMeter(limits_of(config)), ledger)
        self._guard = Guard(sounds.service.label(), server.retries)

    @property
    def maker(self) -> Maker:
        """The service and its model."""
        return self.sounds.maker

    async def __aenter__(self) -> Self:
        await self.calls.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.calls.__aexit__(kind, error, trace)

    async def generate(self, caption: str, seconds: tuple[float, float], seed: int) -> Outcome[GeneratedSound]:
        """See `Generator`. Equal requests give equal samples: the answer is stored, and any process finds it."""
        length = _draw_length(seconds, self.sounds.seconds, seed)
        if length is None:
            return Rejected("cannot_last", {"seconds": list(self.sounds.seconds), "wanted": list(seconds)})
        post = self._post(caption, length, seed)

        async def request() -> bytes:
            return await self._guard.run(LEDGER_ROLE, lambda: self.calls.send(post), self._probe)

        try:
            data, is_stored = await answered_once(self.answers, self._key(caption, length, seed), request)
        except RequestRefused as error:
            return Rejected("refused", {"detail": str(error)})
        except BackendError as error:
            payload = {"caption": caption, "seconds": length, "seed": seed, "maker": self.maker.model_dump(mode="json")}
            payload["kind"] = type(error).__name__
            return Failed(f"{self.maker.backend}: {error}", "generation", payload, of_service=True)
        if is_stored:
            self.calls.ledger.replayed(LEDGER_ROLE, post.worst)
        clip = read_bytes(data, INGRESS)
        return Ok(GeneratedSound(clip.value.samples, caption, {"asked_seconds": length})) if isinstance(clip, Ok) else clip

    async def _probe(self) -> bytes:
        """The probe of `Guard`: a short sound that any service makes."""
        low, high = self.sounds.seconds
        return await self.calls.send(self._post(PROBE, min(max(low, 1.0), high), 0), PROBE_RETRIES)

    def _post(self, caption: str, seconds: float, seed: int) -> Post[bytes]:
        usage = Usage(calls=1, money=self.config.price_per_second * seconds)
        return Post(
            role=LEDGER_ROLE,
            content=self.sounds.content(caption, seconds, seed),
            read=lambda answer: (_audio_file(answer), usage),
            worst=usage,
            largest=LARGEST_SOUND,
            path=self.sounds.path,
            detail=f"model {self.maker.model}",
        )

    def _key(self, caption: str, seconds: float, seed: int) -> str:
        document = [REQUEST_VERSION, self.maker.model_dump(mode="json", exclude={"licence"}), caption, seconds, seed]
        return hashlib.sha256(canonical_json(document)).hexdigest()


def limits_of(config: GenerationConfig) -> Limits:
    """Return the limits that all sounds of a build share."""
    budget = LlmBudget(calls=config.budget.calls, money=config.budget.money)
    return Limits(
        budget=budget,
        section="generation",
        requests_per_minute=config.server.requests_per_minute,
        call_seconds=config.server.timeout_seconds,
    )


def _draw_length(wanted: tuple[float, float], possible: tuple[float, float], seed: int) -> float | None:
    """A length within both ranges, drawn by the seed, in whole 10 ms; None if the ranges do not overlap."""
    low, high = math.ceil(max(wanted[0], possible[0]) * 100), math.floor(min(wanted[1], possible[1]) * 100)
    return float(np.random.Generator(np.random.PCG64(seed)).integers(low, high + 1)) / 100 if low <= high else None


def _audio_file(answer: HttpReply) -> bytes:
    """The body; raises ServerFault if it is not a whole audio file."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("audio/") and kind not in ("", "application/octet-stream"):
        raise ServerFault(f"the response is {kind[:100]}, not audio")
    clip = read_bytes(answer.body, INGRESS)
    if isinstance(clip, Rejected) and clip.reason in NO_AUDIO:
        raise ServerFault(f"the response is not a whole audio file ({clip.reason}, {len(answer.body):,} bytes)")
    return answer.body
