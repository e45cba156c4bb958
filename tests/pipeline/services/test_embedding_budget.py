"""Paid embeddings: metered beside the index, never over the budget, resumed with a larger one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from soundflow.backends.calls.metering import CostLedger, MeterState
from soundflow.pipeline.clips.search_index import SearchIndex
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.report.curation import curation_data
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.schemas.llm import BudgetSpent
from soundflow.schemas.retrieval import RetrievalConfig
from tests.pipeline.curated import write_curated
from tests.support.commandline import soundflow
from tests.support.embedding_server import EmbeddingServer, status
from tests.support.hostile_llm import HostileLlm


@pytest.fixture
def clips(clips_dir: Path, tmp_path: Path) -> Path:
    """An index of the test's own: its vectors, and what they cost, are kept in it."""
    return Path(shutil.copytree(clips_dir, tmp_path / "clips", ignore=shutil.ignore_patterns("search")))


def config_of(server: EmbeddingServer, **changes: object) -> RetrievalConfig:
    config = server.config()
    settings = config.server.model_copy(update={"batch": 1})
    return RetrievalConfig.model_validate(config.model_dump() | {"server": settings.model_dump()} | changes)


def spent(clips: Path) -> MeterState:
    return MeterState.from_json((clips / "search" / "spent.json").read_bytes())


def test_vectors_are_made_up_to_the_budget_and_a_larger_one_resumes(clips: Path, tmp_path: Path) -> None:
    store = AnswerCache(tmp_path / "answers")
    with EmbeddingServer() as server:
        for calls in (2, 4):
            with pytest.raises(BudgetSpent, match=f"retrieval.budget: .* of calls {calls}; spent so far: {calls} calls"):
                SearchIndex.open(clips, config_of(server, budget={"calls": calls}), store=store)
            assert len(server.calls) == calls
        SearchIndex.open(clips, config_of(server, budget={"calls": 500}), store=store)
        assert max(server.answered.values()) == 1 and spent(clips).spent.calls == len(server.calls)


def test_calls_cost_what_the_server_reports_or_the_maximum_without_a_report(clips: Path, tmp_path: Path) -> None:
    with EmbeddingServer(None, status(500), lambda good: (200, {}, b"{")) as server:
        ledger = CostLedger()
        config = config_of(server, price=1_000_000, budget={"money": 100_000})
        search = SearchIndex.open(clips, config, store=AnswerCache(tmp_path / "answers"), ledger=ledger)
        search.embed(["dogs and cats"])
        state, cost = spent(clips), ledger.roles["embedding"]
        assert state.spent.money == state.spent.tokens > 0 and state.open == {}
        assert state.spent.calls == len(server.answered) and cost.asked == state.spent
        assert cost.faults == 2 and cost.unbilled == state.unbilled and state.unbilled.calls == 1
        assert state.unbilled.tokens > state.spent.tokens / len(server.answered)


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({"embedder": "ngrams", "budget": {"calls": 1}}, "apply to embedder `server` only"),
        ({"embedder": "server", "model": "m", "budget": {"money": 1}}, "budget.money requires `price`"),
    ],
)
def test_a_budget_that_cannot_be_enforced_is_refused(section: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RetrievalConfig.model_validate(section)


def test_a_build_ends_cleanly_when_the_embedding_budget_is_spent_and_resumes_with_a_larger_one(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "answers"))
    with HostileLlm() as llm, EmbeddingServer() as server:
        recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"

        def command(calls: int) -> subprocess.CompletedProcess[str]:
            section = config_of(server, budget={"calls": calls}, price=1.0).model_dump(mode="json", exclude_unset=True)
            write_curated(recipe, clips, llm, retrieval=section, verifier={"similarity": [0.3, 0.6]}, streams=4, shards=2)
            return soundflow("build", recipe, "-o", out, "--executor", "inline")

        first = command(3)  # not enough for the index
        assert first.returncode == 3 and "stopped: retrieval.budget" in first.stderr and not out.exists()
        SearchIndex.open(clips, config_of(server))  # without a budget; what it costs counts all the same
        indexed = len(server.calls)
        second = command(indexed + 1)  # enough for one query
        assert second.returncode == 3 and "Raise the budget" in second.stderr and "Traceback" not in second.stderr
        assert len(server.calls) == indexed + 1 == spent(clips).spent.calls
        assert command(10_000).returncode == 0
        assert max(server.answered.values()) == 1
    manifests = BuildDir(out).manifests()
    curation = curation_data(BuildDir(out), manifests)
    (row,) = [row for row in (curation or {})["costs"] if row["role"] == "embedding"]
    assert row["calls"] > 0 and row["money"] > 0
    assert all(len(one.keys) + len(one.rejected) == one.planned for one in manifests)
