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
    """How an embedding model behind HTTP is reached; shapes nothing."""

    base_url: Annotated[str, AfterValidator(http_url)] | None = None
    """A server with OpenAI's `/embeddings`; default: $OPENAI_BASE_URL, else OpenAI."""
    api_key_env: Annotated[str, AfterValidator(environment_name)] = "OPENAI_API_KEY"
    """The environment variable that holds the key. Servers of your own may do without one."""
    batch: int = Field(64, ge=1, le=2048)
    """Inputs of one call."""
    timeout_seconds: float = Field(60.0, gt=0, le=3600)
    """Of one call."""
    retries: int = Field(6, ge=0, le=100)
    """After faults of the server or the line."""
    backoff_seconds: float = Field(1.0, gt=0, le=60)
    """Pause before the first retry; doubles each time, up to a minute. The server's own Retry-After goes first."""


class RetrievalConfig(Schema):
    """The recipe's `retrieval:` section."""

    embedder: Literal["auto", "minilm", "ngrams", "server"] = "auto"
    """`minilm`: all-MiniLM-L6-v2 (English), an asset; `ngrams`: hashed words and parts of words, any language, no model;
    `auto`: `minilm` where it has been fetched, else `ngrams`; `server`: a model behind HTTP."""
    model: ModelName | None = None
    """The server's model."""
    hears_hz: int | None = Field(None, ge=8_000, le=192_000)
    """Sampling rate at which the server's model takes sounds into one space with texts (CLAP: 48000): clips are then found by
    how they sound, not by their words. None: texts only."""
    top_k: int = Field(c.RETRIEVED, ge=1, le=100)
    """Candidates per event, best first."""
    oversampling: int = Field(8, ge=1, le=256)
    """Candidates looked at for each one wanted before filters; more are looked at where needed, the result is the same."""
    server: EmbeddingServer = EmbeddingServer()
    price: float = Field(0.0, ge=0)
    """Of the server's model: money per million tokens."""
    budget: LlmBudget = LlmBudget()
    """What the server's calls for one clip index may cost in all, whoever makes them: its vectors, and every query."""

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
