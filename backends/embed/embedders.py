"""Which embedder a recipe means."""

from __future__ import annotations

from soundflow.backends.calls.answers import AnswerStore
from soundflow.backends.calls.metering import CostLedger, Meter
from soundflow.backends.embed import minilm
from soundflow.backends.embed.hashed_ngrams import HashedNgrams
from soundflow.operators.protocols.embedding import Embedder
from soundflow.schemas.retrieval import RetrievalConfig


def resolved(config: RetrievalConfig) -> RetrievalConfig:
    """`config` with what `auto` stands for on this machine."""
    if config.embedder != "auto":
        return config
    return config.model_copy(update={"embedder": "minilm" if minilm.fetched() else "ngrams"})


def open_embedder(
    config: RetrievalConfig, store: AnswerStore | None = None, *, meter: Meter | None = None, ledger: CostLedger | None = None
) -> Embedder:
    """The embedder of a resolved `config`; InputError when it cannot be had, with what to fetch or install.

    `store` keeps what a server answers; `meter` and `ledger` count what that costs.
    """
    if config.embedder == "server":
        from soundflow.backends.embed.server import HearingServerEmbedder, ServerEmbedder  # its client takes a second to import

        return (ServerEmbedder if config.hears_hz is None else HearingServerEmbedder)(config, store, meter, ledger)
    return minilm.MiniLm.open() if config.embedder == "minilm" else HashedNgrams()
