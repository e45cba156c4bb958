"""An embedder behind any server with OpenAI's `/embeddings`, among them CLAP-like models that embed sounds as well.

Sounds are sent as Infinity's server takes them: `"modality": "audio"`, each input a `data:audio/wav;base64,…` URI. The vector of
an input may depend on its batch and on the time; with an `AnswerStore` the first one is kept, and no input is sent twice.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from pydantic import Field

from soundflow.backends.calls.answers import AnswerStore
from soundflow.backends.calls.http_errors import HttpReply, ResponseModel, parsed
from soundflow.backends.calls.metered_call import BlockingCalls, Post
from soundflow.backends.calls.metering import CostLedger, Limits, Meter, ProcessMeter
from soundflow.backends.calls.service import openai_service
from soundflow.operators.protocols.embedding import Vectors, embed_worded, normalize
from soundflow.operators.protocols.faults import RequestRefused, ServerFault
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.llm import ServiceBroken, Usage
from soundflow.schemas.retrieval import RetrievalConfig

VERSION: Final = "1"
"""Raise it when the same text or sound would be sent to the server differently."""
SOUND_SECONDS: Final = 10
"""Of a sound that are sent: CLAP takes no more, and servers cut longer ones at random."""
BYTES_PER_INPUT: Final = 400_000
"""Limit of a response: 16,384 numbers as text for each input."""
LARGEST_DIMENSION: Final = 16_384
LEDGER_ROLE: Final = "embedding"
TOKENS_AROUND: Final = 16
"""The most tokens an input costs, besides one for each of its bytes."""
PROBE: Final = ("sound", "silence")
"""Inputs that any server embeds."""
Modality = Literal["text", "audio"]


class _Embedding(ResponseModel):
    index: int
    embedding: list[float] = Field(min_length=1, max_length=LARGEST_DIMENSION)


class _EmbeddingUsage(ResponseModel):
    prompt_tokens: int = Field(ge=0, le=100_000_000)


class _EmbeddingBody(ResponseModel):
    data: list[_Embedding]
    usage: _EmbeddingUsage | None = None


class EmbeddingError(OSError):
    """A server that works failed to embed these inputs."""


class ServerEmbedder:
    """`Embedder` behind a server. Asks the server for the dimension of its vectors when constructed."""

    def __init__(
        self,
        config: RetrievalConfig,
        store: AnswerStore | None = None,
        meter: Meter | None = None,
        ledger: CostLedger | None = None,
    ):
        assert config.model is not None
        self._config, self._model, self._store = config, config.model, store
        server = config.server
        service = openai_service("the embedding server", "retrieval.server", server.base_url, server.api_key_env)
        self.calls = BlockingCalls(service, server, meter or ProcessMeter(limits_of(config)), ledger)
        self._dimension: int = self._embed("text", PROBE[:1], lambda text: text, 0).shape[1]

    @property
    def name(self) -> str:
        """`server:` and the name of the model; the address shapes nothing."""
        return f"server:{self._model}"

    @property
    def version(self) -> str:
        """Our version, the model's dimension, and the sampling rate of sounds."""
        rate = "" if self._config.hears_hz is None else f"-{self._config.hears_hz}hz"
        return f"{VERSION}-{self._dimension}d{rate}"

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        return self._dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`.

        Raises ServiceBroken or EmbeddingError after the last try, InputError (key, model, address, quota), BudgetSpent.
        """
        return embed_worded(texts, lambda words: self._embed("text", words, lambda text: text, self._dimension), self._dimension)

    def _embed(self, modality: Modality, items: Sequence[Any], encode: Callable[[Any], str], dimension: int) -> Vectors:
        result = np.zeros((len(items), dimension), np.float32)
        for start in range(0, len(items), self._config.server.batch):
            batch = [encode(item) for item in items[start : start + self._config.server.batch]]
            vectors = self._stored(modality, batch)
            if dimension and vectors.shape[1] != dimension:
                service = self.calls.service.label()
                why = f"{service} returned {vectors.shape[1]}-dimensional vectors; earlier ones had {dimension} dimensions"
                raise InputError(why, field="retrieval.model", value=self._model, remedy="Serve one model at this address")
            result = vectors if not dimension else result
            result[start : start + len(batch)] = vectors
        return result

    def _stored(self, modality: Modality, inputs: Sequence[str]) -> Vectors:
        """Vectors of one batch: from the store, the missing ones from the server."""
        keys = [_key(self._model, modality, self._config.hears_hz, one) for one in inputs]
        stored = {key: self._store.get(key) if self._store else None for key in keys}
        missing = {key: one for key, one in zip(keys, inputs, strict=True) if stored[key] is None}
        if missing:
            for key, vector in zip(missing, self._fetched(modality, list(missing.values())), strict=True):
                data = vector.astype("<f4").tobytes()
                stored[key] = self._store.put(key, data) if self._store else data
        return np.stack([np.frombuffer(stored[key] or b"", "<f4") for key in keys])

    def _fetched(self, modality: Modality, inputs: list[str]) -> Vectors:
        try:
            return normalize(np.array(self.calls.send(self._post(modality, inputs))))
        except RequestRefused as refused:
            raise InputError(str(refused), field="retrieval.server", remedy="Try a smaller retrieval.server.batch") from None
        except ServerFault as fault:
            raise self._diagnosis(fault) from None

    def _diagnosis(self, fault: ServerFault) -> Exception:
        """What to raise after the last try: one probe tells whether the server or the request is at fault."""
        try:
            self.calls.send(self._post("text", list(PROBE)), retries=0)
        except ServerFault:
            return ServiceBroken(str(fault))
        return EmbeddingError(str(fault))

    def _post(self, modality: Modality, inputs: list[str]) -> Post[list[list[float]]]:
        """A request for the embeddings of `inputs`, in their order."""
        worst = self._priced(sum(len(one.encode()) + TOKENS_AROUND for one in inputs))
        request: dict[str, Any] = {"model": self._model, "input": inputs, "encoding_format": "float"}
        if self._config.hears_hz is not None:
            request["extra_body"] = {"modality": modality}

        def read(answer: HttpReply) -> tuple[list[list[float]], Usage]:
            body = parsed(_EmbeddingBody, answer.body, "a list of embeddings")
            vectors = [one.embedding for one in sorted(body.data, key=lambda one: one.index)]
            if sorted(one.index for one in body.data) != list(range(len(inputs))):
                raise ServerFault(f"{len(inputs)} inputs were sent, and {len(vectors)} embeddings came back")
            if len(set(map(len, vectors))) > 1:
                raise ServerFault("the embeddings differ in length")
            return vectors, worst if body.usage is None else self._priced(body.usage.prompt_tokens)

        largest = BYTES_PER_INPUT * len(inputs)
        return Post(LEDGER_ROLE, request, read, worst, largest, "/embeddings", f"model {self._model}")

    def _priced(self, tokens: int) -> Usage:
        return Usage(calls=1, input_tokens=tokens, money=tokens * self._config.price / 1e6)


class AudioServerEmbedder(ServerEmbedder):
    """`AudioEmbedder` behind a server."""

    def embed_audio(self, sounds: Sequence[NDArray[np.float32]]) -> Vectors:
        """See `AudioEmbedder`; the first 10 s of each sound count. Raises like `embed`."""
        return self._embed("audio", sounds, self._as_uri, self._dimension)

    def _as_uri(self, sound: NDArray[np.float32]) -> str:
        """The beginning of a sound as a WAV in a data URI, at the model's rate."""
        rate = self._config.hears_hz
        assert rate is not None
        resampled = soxr.resample(sound[: SOUND_SECONDS * c.SAMPLE_RATE], c.SAMPLE_RATE, rate, quality="HQ")
        file = io.BytesIO()
        soundfile.write(file, resampled, rate, format="WAV", subtype="PCM_16")
        return "data:audio/wav;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def limits_of(config: RetrievalConfig) -> Limits:
    """Return the limits that all calls for one clip index share."""
    return Limits(budget=config.budget, section="retrieval", call_seconds=config.server.timeout_seconds)


def _key(model: str, modality: Modality, rate: int | None, encoded: str) -> str:
    """Content address of the vector of one encoded input."""
    document = {"embedding": VERSION, "model": model, "modality": modality, "rate": rate, "input": encoded}
    return hashlib.sha256(canonical_json(document)).hexdigest()
