"""Open the embedder of a recipe."""

from __future__ import annotations

from soundflow.backends.calls.answers import AnswerStore
from soundflow.backends.calls.metering import CostLedger, Meter
from soundflow.backends.embed import minilm
from soundflow.backends.embed.hashed_ngrams import HashedNgrams
from soundflow.operators.protocols.embedding import Embedder
from soundflow.schemas.retrieval import RetrievalConfig


def resolved(config: RetrievalConfig) -> RetrievalConfig:
    """Return `config` with `auto` resolved for this machine."""
    if config.embedder != "auto":
        return config
    return config.model_copy(update={"embedder": "minilm" if minilm.fetched() else "ngrams"})


def open_embedder(
    config: RetrievalConfig, store: AnswerStore | None = None, *, meter: Meter | None = None, ledger: CostLedger | None = None
) -> Embedder:
    """Return the embedder of a resolved `config`; InputError names what to fetch or install.

    `store` keeps the answers of a server; `meter` and `ledger` count their cost.
    """
    if config.embedder == "server":
        from soundflow.backends.embed.server import AudioServerEmbedder, ServerEmbedder

        return (ServerEmbedder if config.hears_hz is None else AudioServerEmbedder)(config, store, meter, ledger)
    return minilm.MiniLm.open() if config.embedder == "minilm" else HashedNgrams()
