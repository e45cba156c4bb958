"""Search in a clip index. Its vectors are computed once, stored in the index, and shared by all processes of a machine.

`DIR/search/<key>.vectors` (`pipeline.clips.search_file`) belongs to one content of the index and one embedder. The first process
that needs it computes it (`pipeline.clips.search_build`); other processes wait.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from soundflow.backends.calls.answers import AnswerStore
from soundflow.backends.calls.metering import CostLedger
from soundflow.backends.embed.embedders import open_embedder, resolved
from soundflow.operators.curate.retrieval import Hit, Query
from soundflow.operators.curate.vector_search import SEARCH_VERSION, VectorIndex
from soundflow.operators.protocols.embedding import Embedder, Vectors
from soundflow.pipeline.clips.search_build import FOLDER, OnProgress, vector_index_of, vectors_identity
from soundflow.pipeline.clips.table import read_footer, require_content
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.shared_meter import SharedMeter
from soundflow.schemas.llm import LlmBudget
from soundflow.schemas.retrieval import RetrievalConfig


class SearchIndex:
    """A clip index opened for searching: a `Retriever`.

    Its vectors are a memory map; the rows of the index are not read. It pickles as its path, configuration and content hash.
    """

    def __init__(
        self,
        directory: Path,
        config: RetrievalConfig,
        content_hash: str,
        store: AnswerStore,
        embedder: Embedder,
        vectors: VectorIndex,
    ):
        self.directory, self.config, self.content_hash, self.store = directory, config, content_hash, store
        self.embedder, self.vectors = embedder, vectors

    @classmethod
    def open(
        cls,
        directory: Path,
        config: RetrievalConfig = RetrievalConfig(),  # noqa: B008 (frozen)
        *,
        content_hash: str | None = None,
        store: AnswerStore | None = None,
        ledger: CostLedger | None = None,
        on_progress: OnProgress = lambda done, total: None,
    ) -> Self:
        """Open the index in `directory` for searching. Vectors that are missing, damaged or out of date are computed first.

        `content_hash`: the content hash that the index must have. `store`: cache for the answers of an embedding server, by
        default the answer cache. `ledger`: records what they cost.

        Raises InputError when there is no index, the content hash differs, the embedder is not available or the directory cannot
        be written; OSError when the disk is full; Halted when a server fails or the budget is used up.
        """
        directory = Path(directory).absolute()
        found = read_footer(directory).content_hash
        if content_hash is not None:
            require_content(directory, found, content_hash)
        config = resolved(config)
        store = store or AnswerCache()
        embedder = _opened(directory, config, store, ledger)
        return cls(directory, config, found, store, embedder, vector_index_of(directory, found, embedder, on_progress))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopen, (self.directory, self.config, self.content_hash, self.store))

    def __len__(self) -> int:
        return len(self.vectors.ids)

    @property
    def identity(self) -> str:
        """Identity of the results: embedder, versions of texts and search."""
        return f"{vectors_identity(self.embedder)}, search {SEARCH_VERSION}"

    def search(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """Return the k best clips of each query, best first; fewer if fewer clips match its filters."""
        if not queries:
            return []
        return self.vectors.search(self.embed([query.text for query in queries]), queries, self.config.oversampling)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of texts, float32, shape (n, d)."""
        return self.embedder.embed(texts)


def _opened(directory: Path, config: RetrievalConfig, store: AnswerStore, ledger: CostLedger | None) -> Embedder:
    """Open the embedder. Processes that search this index share the budget and the pauses of an embedding server in a file.

    If there is no budget, the directory may be read-only.
    """
    if config.embedder != "server" or (config.budget == LlmBudget() and not os.access(directory, os.W_OK)):
        return open_embedder(config, store, ledger=ledger)
    from soundflow.backends.embed.server import limits_of

    return open_embedder(config, store, meter=SharedMeter(directory / FOLDER / "spent.json", limits_of(config)), ledger=ledger)


def _reopen(directory: Path, config: RetrievalConfig, content_hash: str, store: AnswerStore) -> SearchIndex:
    return SearchIndex.open(directory, config, content_hash=content_hash, store=store)
