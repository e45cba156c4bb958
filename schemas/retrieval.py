"""Retrieval of a recipe (`retrieval:`): what shapes which clips are found, apart from what only operates it.

Which embedder `auto` stands for is decided where the index is; its identity, not the word `auto`, belongs in a fingerprint.
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
    """`minilm`: all-MiniLM-L6-v2 (English), an asset. `ngrams`: hashed words and parts of words, any language, no model. `auto`:
    `minilm` if it has been fetched, else `ngrams`. `server`: a model behind HTTP."""
    model: ModelName | None = None
    """Embedder `server`: name of the model."""
    hears_hz: int | None = Field(None, ge=8_000, le=192_000)
    """Embedder `server`: sampling rate at which the model embeds sounds into the space of texts (CLAP: 48000). Clips are then
    found by their sound instead of their words. Null: texts only."""
    top_k: int = Field(c.RETRIEVED, ge=1, le=100)
    """Number of candidates per event, best first."""
    oversampling: int = Field(8, ge=1, le=256)
    """Candidates examined per requested one before filters. More are examined if needed, and the result is the same."""
    server: EmbeddingServer = EmbeddingServer()
    """How the server is reached."""
    price: float = Field(0.0, ge=0)
    """Embedder `server`: price per million tokens."""
    budget: LlmBudget = LlmBudget()
    """Embedder `server`: limits on all calls for one clip index, its vectors and all queries together."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.embedder == "server" and self.model is None:
            raise ValueError("embedder `server` needs the name of its model; add `model`")
        if self.embedder != "server" and (self.model is not None or self.hears_hz is not None):
            raise ValueError("`model` and `hears_hz` belong to embedder `server`; leave them out or choose it")
        if self.embedder != "server" and (self.price or self.budget != LlmBudget()):
            raise ValueError("`price` and `budget` belong to embedder `server`; what runs here costs nothing")
        if self.budget.money is not None and not self.price:
            raise ValueError("budget.money cannot be kept without a price; add `price`")
        return self

    def shaping(self) -> dict[str, object]:
        """The part that shapes what is found, for the fingerprint; `Retriever.identity` goes with it in place of `embedder`."""
        return self.model_dump(mode="json", exclude={"embedder", "oversampling", "server", "price", "budget"})
