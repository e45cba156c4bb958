"""Retrieval of a recipe (`retrieval:`).

The embedder that `auto` stands for is resolved on the machine with the index. Its identity, not the word `auto`, is part of the
fingerprint.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from soundflow.schemas import constants as c
from soundflow.schemas.base import Schema
from soundflow.schemas.llm import LlmBudget, ModelName, environment_name, http_url


class EmbeddingServer(Schema):
    """How the embedding server is reached. These settings do not shape results."""

    base_url: Annotated[str, AfterValidator(http_url)] | None = None
    """Address of a server with OpenAI's `/embeddings` (default: $OPENAI_BASE_URL, else OpenAI)."""
    api_key_env: Annotated[str, AfterValidator(environment_name)] = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key. A server of your own may need none."""
    batch: int = Field(64, ge=1, le=2048)
    """Maximum number of inputs of one call."""
    timeout_seconds: float = Field(60.0, gt=0, le=3600)
    """Timeout of one call in seconds."""
    retries: int = Field(6, ge=0, le=100)
    """Retries after faults of the server or the connection."""
    backoff_seconds: float = Field(1.0, gt=0, le=60)
    """Pause before the first retry, in seconds. It doubles with each retry, up to a minute; the server's Retry-After takes
    precedence."""


class RetrievalConfig(Schema):
    """How clips are found for planned events."""

    embedder: Literal["auto", "minilm", "ngrams", "server"] = "auto"
    """Embedder of texts. `minilm`: all-MiniLM-L6-v2 (English), an asset. `ngrams`: hashed words and character n-grams, for any
    language, without a model. `auto`: `minilm` if it has been fetched, else `ngrams`. `server`: a model behind HTTP."""
    model: ModelName | None = None
    """Embedder `server`: name of the model."""
    hears_hz: int | None = Field(None, ge=8_000, le=192_000)
    """Embedder `server`: sampling rate in Hz of a model that embeds audio and text into one space (CLAP: 48000). Clips are then
    retrieved by their audio instead of their texts. Null: texts only."""
    top_k: int = Field(c.RETRIEVED, ge=1, le=100)
    """Number of candidates per event, best first."""
    oversampling: int = Field(8, ge=1, le=256)
    """Number of candidates examined per requested one before filters; more if needed. It does not change results."""
    server: EmbeddingServer = EmbeddingServer()
    """How the server is reached."""
    price: float = Field(0.0, ge=0)
    """Embedder `server`: price per million tokens."""
    budget: LlmBudget = LlmBudget()
    """Embedder `server`: limits on all calls for one clip index, its vectors and all queries together."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.embedder == "server" and self.model is None:
            raise ValueError("embedder `server` requires the name of its model; add `model`")
        if self.embedder != "server" and (self.model is not None or self.hears_hz is not None):
            raise ValueError("`model` and `hears_hz` apply to embedder `server` only; remove them or set embedder to server")
        if self.embedder != "server" and (self.price or self.budget != LlmBudget()):
            raise ValueError("`price` and `budget` apply to embedder `server` only; remove them")
        if self.budget.money is not None and not self.price:
            raise ValueError("budget.money requires `price`; add it")
        return self

    def shaping(self) -> dict[str, object]:
        """Return the settings that shape results, for the fingerprint; `Retriever.identity` replaces `embedder` there."""
        return self.model_dump(mode="json", exclude={"embedder", "oversampling", "server", "price", "budget"})
