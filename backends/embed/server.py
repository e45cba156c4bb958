"""An embedder behind HTTP: any server with OpenAI's `/embeddings`, among them CLAP-like models that embed sounds as well.

Sounds go as Infinity's server takes them: `"modality": "audio"`, each input a `data:audio/wav;base64,…` URI. Which vector a
server gives may depend on the batch and the hour; with an `AnswerStore` the first one is kept and nothing is asked twice.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import httpx2
import numpy as np
import openai
import soundfile
import soxr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from soundflow.backends.calls.answers import AnswerStore
from soundflow.backends.calls.faults import key_in, may_pass, retry_after, scrubbed, tries_in_thread
from soundflow.backends.calls.metering import CostLedger, Limits, Meter, ProcessMeter
from soundflow.operators.protocols.embedding import Vectors, of_words, unit
from soundflow.operators.protocols.faults import ServerFault
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.llm import ServiceBroken, Usage
from soundflow.schemas.retrieval import RetrievalConfig

VERSION: Final = "1"
"""Raise it when the same text or sound would be put to the server differently."""
HEARD_SECONDS: Final = 10
"""Of a sound: CLAP hears no more, and servers cut longer ones at random."""
BYTES_PER_INPUT: Final = 400_000
"""A response is read so far: 16,384 numbers as text for each input."""
LARGEST_DIMENSION: Final = 16_384
LEDGER_ROLE: Final = "embedding"
TOKENS_AROUND: Final = 16
"""Of an input, beside one for each of its bytes: the most it can cost."""
PLAIN: Final = ("sound", "silence")
"""What any server embeds."""
Modality = Literal["text", "audio"]


class _Told(BaseModel):
    """What we read of a response; servers add what they like."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Vector(_Told):
    index: int
    embedding: list[float] = Field(min_length=1, max_length=LARGEST_DIMENSION)


class _Usage(_Told):
    prompt_tokens: int = Field(ge=0, le=100_000_000)


class _Body(_Told):
    data: list[_Vector]
    usage: _Usage | None = None


class EmbeddingError(OSError):
    """A server that works did not embed these."""


class ServerEmbedder:
    """`Embedder` behind a server, asked at once for the dimension of its vectors."""

    def __init__(
        self,
        config: RetrievalConfig,
        store: AnswerStore | None = None,
        meter: Meter | None = None,
        ledger: CostLedger | None = None,
    ):
        assert config.model is not None
        self._config, self._model, self._store = config, config.model, store
        self._meter, self._ledger = meter or ProcessMeter(limits_of(config)), ledger or CostLedger()
        self._key = key_in(config.server.api_key_env, "retrieval.server.api_key_env")
        self._client = _client(config, self._key)
        self._dimension: int = self._embed("text", PLAIN[:1], lambda text: text, 0).shape[1]

    @property
    def name(self) -> str:
        """`server:` and the model's name; where it runs shapes nothing."""
        return f"server:{self._model}"

    @property
    def version(self) -> str:
        """Ours, the model's dimension, and how it hears."""
        hears = "" if self._config.hears_hz is None else f"-{self._config.hears_hz}hz"
        return f"{VERSION}-{self._dimension}d{hears}"

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        return self._dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`; raises ServiceBroken or EmbeddingError after the last try, InputError when no other will
        fare better (key, model, quota), and BudgetSpent."""
        return of_words(texts, lambda said: self._embed("text", said, lambda text: text, self._dimension), self._dimension)

    def _embed(self, modality: Modality, items: Sequence[Any], wire: Callable[[Any], str], dimension: int) -> Vectors:
        found = np.zeros((len(items), dimension), np.float32)
        for start in range(0, len(items), self._config.server.batch):
            part = [wire(item) for item in items[start : start + self._config.server.batch]]
            vectors = self._kept(modality, part)
            if dimension and vectors.shape[1] != dimension:
                told = f"the server gave vectors of {vectors.shape[1]} numbers, and of {dimension} before"
                raise InputError(told, field="retrieval.model", value=self._model, remedy="Use one model behind this address")
            found = vectors if not dimension else found
            found[start : start + len(part)] = vectors
        return found

    def _kept(self, modality: Modality, inputs: Sequence[str]) -> Vectors:
        """Vectors of one batch: those that are kept, and the rest from the server."""
        keys = [_address(self._model, modality, self._config.hears_hz, one) for one in inputs]
        kept = {key: self._store.get(key) if self._store else None for key in keys}
        missing = {key: one for key, one in zip(keys, inputs, strict=True) if kept[key] is None}
        if missing:
            server = self._config.server
            again = tries_in_thread(server.retries, server.backoff_seconds)
            try:
                fresh = unit(np.array(again(self._paid, modality, list(missing.values()))))
            except ServerFault as fault:
                raise self._why_not(fault) from None
            for key, vector in zip(missing, fresh, strict=True):
                data = vector.astype("<f4").tobytes()
                kept[key] = self._store.put(key, data) if self._store else data
        return np.stack([np.frombuffer(kept[key] or b"", "<f4") for key in keys])

    def _why_not(self, fault: ServerFault) -> Exception:
        """What to raise after the last try: two plain words tell whether it is the server or the request."""
        told = f"the embedding server at {self._client.base_url} fails: {fault}"
        try:
            self._paid("text", list(PLAIN))
        except ServerFault:
            return ServiceBroken(told)
        return EmbeddingError(told)

    def _paid(self, modality: Modality, inputs: list[str]) -> list[list[float]]:
        """One call, admitted by the meter and billed."""
        ticket, worst = uuid.uuid4().hex, self._priced(sum(len(one.encode()) + TOKENS_AROUND for one in inputs))
        while wait := self._meter.admit(ticket, worst):
            time.sleep(wait)
        used: Usage | None = None  # if we are broken off: it may have been billed
        try:
            body = self._ask(modality, inputs)
            used = worst if body.usage is None else self._priced(body.usage.prompt_tokens)
            self._ledger.asked(LEDGER_ROLE, used)
            return [vector.embedding for vector in body.data]
        except (ServerFault, InputError) as error:
            used = None if isinstance(error, ServerFault) and error.billed else Usage()
            self._ledger.fault(LEDGER_ROLE, worst if used is None else used)
            raise
        finally:
            self._meter.settle(ticket, used)

    def _priced(self, tokens: int) -> Usage:
        return Usage(calls=1, input_tokens=tokens, money=tokens * self._config.price / 1e6)

    def _ask(self, modality: Modality, inputs: list[str]) -> _Body:
        """One call; the embeddings are in the order of the inputs."""
        more = {"modality": modality} if self._config.hears_hz is not None else {}
        until = time.monotonic() + self._config.server.timeout_seconds
        try:
            with self._client.embeddings.with_streaming_response.create(
                model=self._model, input=inputs, encoding_format="float", extra_body=more
            ) as response:
                content = bytearray()
                for block in response.iter_bytes():
                    content += block
                    if len(content) > BYTES_PER_INPUT * len(inputs) or time.monotonic() > until:
                        raise ServerFault("the response does not end", billed=True)
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except (openai.OpenAIError, httpx2.HTTPError) as error:
            never_out = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
            raise ServerFault(self._told(f"{type(error).__name__}: {error.__cause__ or error}"), billed=not never_out) from None
        return _read(bytes(content), len(inputs))

    def _refusal(self, error: openai.APIStatusError) -> Exception:
        """What a status other than 2xx means."""
        status, told = error.status_code, self._told(f"{error.status_code}: {error.message}")
        server = self._config.server
        if status in (401, 402, 403) or error.code == "insufficient_quota":
            remedy = f"Check {server.api_key_env} in the environment and the account's quota"
            return InputError(f"the server does not serve this key ({told})", field="retrieval.server", remedy=remedy)
        if status == 404:
            remedy = "Check retrieval.model and retrieval.server.base_url (it usually ends in /v1)"
            why = f"the server does not know this address or model ({told})"
            return InputError(why, field="retrieval.model", value=self._model, remedy=remedy)
        if may_pass(status):
            return ServerFault(told, retry_after=retry_after(error.response.headers.get("retry-after")))
        return InputError(f"the server refuses the request ({told})", field="retrieval.server", remedy="Try a smaller batch")

    def _told(self, text: str) -> str:
        return scrubbed(text, self._key)[:500]


class HearingServerEmbedder(ServerEmbedder):
    """`HearingEmbedder` behind a server."""

    def embed_sounds(self, sounds: Sequence[NDArray[np.float32]]) -> Vectors:
        """See `HearingEmbedder`; their first 10 s are heard. Raises like `embed`."""
        return self._embed("audio", sounds, self._as_uri, self._dimension)

    def _as_uri(self, sound: NDArray[np.float32]) -> str:
        """The beginning of a sound as a WAV in a data URI, at the model's rate."""
        rate = self._config.hears_hz
        assert rate is not None
        heard = soxr.resample(sound[: HEARD_SECONDS * c.SAMPLE_RATE], c.SAMPLE_RATE, rate, quality="HQ")
        file = io.BytesIO()
        soundfile.write(file, heard, rate, format="WAV", subtype="PCM_16")
        return "data:audio/wav;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def limits_of(config: RetrievalConfig) -> Limits:
    """What holds for all calls for one clip index together."""
    return Limits(budget=config.budget, section="retrieval", call_seconds=config.server.timeout_seconds)


def _client(config: RetrievalConfig, key: SecretStr) -> openai.OpenAI:
    base_url = config.server.base_url or os.environ.get("OPENAI_BASE_URL") or None
    if not key.get_secret_value() and base_url is None:
        remedy = "Set it in the environment, or retrieval.server.base_url for a server that needs none"
        raise InputError(f"no API key: {config.server.api_key_env} is not set", field="retrieval", remedy=remedy)
    return openai.OpenAI(
        api_key=key.get_secret_value() or "none",
        base_url=base_url,
        max_retries=0,
        timeout=config.server.timeout_seconds,
        default_headers={"Accept-Encoding": "identity"},
    )


def _address(model: str, modality: Modality, rate: int | None, wired: str) -> str:
    document = {"embedding": VERSION, "model": model, "modality": modality, "rate": rate, "input": wired}
    return hashlib.sha256(canonical_json(document)).hexdigest()


def _read(content: bytes, wanted: int) -> _Body:
    """A response with its vectors in the order of the inputs; ServerFault when it is not a good one."""
    try:
        body = _Body.model_validate_json(content)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "body"
        raise ServerFault(f"the response holds no embeddings ({where})", billed=True) from None
    if sorted(vector.index for vector in body.data) != list(range(wanted)):
        raise ServerFault(f"{wanted} inputs were sent, {len(body.data)} embeddings came back", billed=True)
    if len({len(vector.embedding) for vector in body.data}) > 1:
        raise ServerFault("the embeddings differ in length", billed=True)
    return body.model_copy(update={"data": sorted(body.data, key=lambda vector: vector.index)})
