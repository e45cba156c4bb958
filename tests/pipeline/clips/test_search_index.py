"""Search in an index: queries find real clips; vectors are computed once, verified, and shared by processes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soundflow.backends.embed import minilm
from soundflow.backends.embed.hashed_ngrams import HashedNgrams
from soundflow.bench.speed.labels import QUERIES, demo_rows, recall, synthetic_rows, write_index
from soundflow.operators.curate.retrieval import Hit, Query, clip_text
from soundflow.pipeline.clips.search_index import SearchIndex
from soundflow.pipeline.clips.table import IndexReplacedError
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.retrieval import RetrievalConfig

NGRAMS = RetrievalConfig(embedder="ngrams")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's clips, as words. Shared: tests that change it copy it."""
    directory = tmp_path_factory.mktemp("search") / "demo"
    write_index(directory, demo_rows())
    return directory


def vectors_file(directory: Path) -> Path:
    (found,) = (directory / "search").glob("*.vectors")
    return found


@pytest.mark.parametrize(("embedder", "first", "among_five"), [("ngrams", 34, 38), ("minilm", 36, 39)])
def test_what_a_planner_asks_finds_real_labels(demo: Path, embedder: str, first: int, among_five: int) -> None:
    if embedder == "minilm" and not minilm.fetched():
        pytest.skip(f"the embedder minilm is not here. {minilm.FETCH}")
    search = SearchIndex.open(demo, RetrievalConfig(embedder=embedder))
    hits = search.search([Query(query, k=40) for query in QUERIES])
    found = {query: [hit.label for hit in best] for query, best in zip(QUERIES, hits, strict=True)}
    assert recall(found, 1) >= first and recall(found, 5) >= among_five


def some_facts(place: int) -> dict[str, object]:
    licence, split = ("CC0-1.0", "CC-BY-4.0")[place % 2], ("train", "test")[place % 3 == 0]
    return {"samples": 16_000 * (1 + place % 5), "licence": licence, "split": split}


def test_filters_hold_and_the_own_words_of_a_clip_find_it(tmp_path: Path) -> None:
    rows = [row | some_facts(place) for place, row in enumerate(demo_rows())]
    write_index(tmp_path, rows)
    search = SearchIndex.open(tmp_path, NGRAMS)
    for row in rows:
        role, seconds = ClipRole(row.get("role", "foreground")), row["samples"] / 16_000
        kind = "speech" if row.get("transcript") else "sound"
        text = clip_text(row["label"], row["caption"], row.get("transcript"))
        query = Query(
            text, 5, role, kind, (seconds, seconds), frozenset({row["licence"]}), row["split"], exclude=frozenset({"spoken/01"})
        )
        best = search.search([query])[0]
        assert row["id"] in {hit.id for hit in best} or row["id"] == "spoken/01"
        assert best == [] or best[0].score == 1.0 or row["id"] == "spoken/01"
        about = {one["id"]: one for one in rows}
        for hit in best:
            other = about[hit.id]
            assert other["samples"] == row["samples"] and other["licence"] == row["licence"] and other["split"] == row["split"]
            assert other.get("role", "foreground") == role and bool(other.get("transcript")) == (kind == "speech")


def test_there_are_never_fewer_than_k_where_k_may_be_used(demo: Path) -> None:
    search = SearchIndex.open(demo, NGRAMS)
    everything = search.search([Query("dog", k=1000)])[0]
    assert len(everything) == len(search) == len({hit.id for hit in everything})
    used: set[str] = set()
    for _ in range(len(search)):
        (hit,) = search.search([Query("dog", k=1, exclude=frozenset(used))])[0]
        assert hit == everything[len(used)]
        used.add(hit.id)
    assert search.search([Query("dog", k=3, exclude=frozenset(used))]) == [[]]


def test_the_second_opening_makes_nothing(demo: Path) -> None:
    first = SearchIndex.open(demo, NGRAMS).search([Query("owl")])
    calls: list[tuple[int, int]] = []
    again = SearchIndex.open(demo, NGRAMS, on_progress=lambda *results: calls.append(results))
    assert calls == [] and again.search([Query("owl")]) == first
    assert pickle.loads(pickle.dumps(again)).search([Query("owl")]) == first


def test_a_text_is_embedded_once_whatever_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    embed = HashedNgrams.embed
    monkeypatch.setattr(HashedNgrams, "embed", lambda self, texts: (seen.extend(texts), embed(self, texts))[1])
    write_index(tmp_path, synthetic_rows(clips=3000, texts=700))
    SearchIndex.open(tmp_path, NGRAMS)
    assert len(seen) == len(set(seen)) == 700
    write_index(tmp_path, [*synthetic_rows(clips=3000, texts=700), {"id": "zz", "label": "a new clip"}])
    search = SearchIndex.open(tmp_path, NGRAMS)
    assert seen[700:] == ["a new clip"]
    assert search.search([Query("new clip", k=1)]) == [[Hit("zz", "a new clip", pytest.approx(1.0, abs=0.2))]]
    assert len(list((tmp_path / "search").iterdir())) == 2  # the lock, and no vectors of the former content
    fresh = tmp_path / "fresh"
    write_index(fresh, [*synthetic_rows(clips=3000, texts=700), {"id": "zz", "label": "a new clip"}])
    SearchIndex.open(fresh, NGRAMS)
    assert vectors_file(fresh).read_bytes() == vectors_file(tmp_path).read_bytes()


def test_a_replaced_index_is_rejected_by_readers_of_the_old_one(tmp_path: Path) -> None:
    old = write_index(tmp_path, demo_rows())
    search = SearchIndex.open(tmp_path, NGRAMS, content_hash=old)
    frozen, before = pickle.dumps(search), search.search([Query("dog")])
    write_index(tmp_path, synthetic_rows(50, 50))
    for reopen in (lambda: pickle.loads(frozen), lambda: SearchIndex.open(tmp_path, NGRAMS, content_hash=old)):
        with pytest.raises(IndexReplacedError, match="expected content hash"):
            reopen()
    assert len(SearchIndex.open(tmp_path, NGRAMS)) == 50
    assert search.search([Query("dog")]) == before  # what is mapped stays


def test_an_index_of_no_clips_has_no_answers(tmp_path: Path) -> None:
    write_index(tmp_path, [])
    search = SearchIndex.open(tmp_path, NGRAMS)
    assert search.search([Query("dog"), Query("cat", role=ClipRole.AMBIENT)]) == [[], []] and search.search([]) == []


def test_clips_without_words_are_never_a_reason_to_fail(tmp_path: Path) -> None:
    write_index(tmp_path, [{"id": "a", "label": ""}, {"id": "b", "label": "!!!"}, {"id": "c", "label": "dog"}])
    hits = SearchIndex.open(tmp_path, NGRAMS).search([Query("dog")])[0]
    assert [(hit.id, hit.score) for hit in hits] == [("c", 1.0), ("a", 0.0), ("b", 0.0)]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ({"text": ""}, "contains no word"),
        ({"text": " ?! "}, "contains no word"),
        ({"text": "x" * 1_000_000}, "1,000,000 characters"),
        ({"text": "x", "k": 0}, "k must be at least 1"),
        ({"text": "x", "seconds": (3, 1)}, "Swap the two values"),
        ({"text": "x", "seconds": (float("nan"), 1)}, "Swap the two values"),
    ],
)
def test_a_query_that_asks_nothing_is_rejected(query: dict[str, object], why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        Query(**query)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 300


def test_a_read_only_index_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    write_index(tmp_path, demo_rows())
    (tmp_path / "search").write_text("in the way")
    with pytest.raises(InputError, match="make the directory writable"):
        SearchIndex.open(tmp_path, NGRAMS)


WORKER = """
import sys, pathlib
from soundflow.operators.curate.retrieval import Query
from soundflow.pipeline.clips.search_index import SearchIndex
from soundflow.schemas.retrieval import RetrievalConfig

def memory():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmHWM", "RssAnon"))}

SearchIndex.open(pathlib.Path(sys.argv[2]), RetrievalConfig(embedder="ngrams")).search([Query("dog")] * 20)  # libraries warm up
before = memory()
search = SearchIndex.open(pathlib.Path(sys.argv[1]), RetrievalConfig(embedder="ngrams"))
for batch in (1, 20):
    hits = search.search([Query("a distant dog barking in a garden", tie_seed=seed) for seed in range(batch)])
after = memory()
print(after["RssAnon"] - before["RssAnon"], after["VmHWM"] - before["VmHWM"], [hit.id for hit in hits[0]], flush=True)
sys.stdin.read()
"""


def test_four_processes_that_search_hold_one_copy(tmp_path: Path, demo: Path) -> None:
    write_index(tmp_path, synthetic_rows(clips=24_000, texts=24_000))
    SearchIndex.open(tmp_path, NGRAMS)
    SearchIndex.open(demo, NGRAMS)
    path = vectors_file(tmp_path)
    size = path.stat().st_size // 1024
    command = [sys.executable, "-c", WORKER, str(tmp_path), str(demo)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        results = [worker.stdout.readline().split(maxsplit=2) for worker in workers if worker.stdout]
        shares = [mapped(worker.pid, path) for worker in workers]
    finally:
        for worker in workers:
            worker.communicate("")
    assert size > 45_000 and len({ids for _, _, ids in results}) == 1
    assert all(resident > 0.9 * size for resident, _ in shares), "each reads it"
    assert sum(proportional for _, proportional in shares) < 1.1 * size, "and all of them hold one copy"
    assert all(int(own) < 0.4 * size and int(peak) < 1.6 * size for own, peak, _ in results), "no process builds its own copy"


def mapped(pid: int, path: Path) -> tuple[int, int]:
    """(Rss, Pss) in KiB of a file's mapping in a process."""
    resident = proportional = 0
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            resident += int(line.split()[1])
        elif inside and line.startswith("Pss:"):
            proportional += int(line.split()[1])
    return resident, proportional


def test_what_is_mapped_cannot_be_written(demo: Path) -> None:
    index = SearchIndex.open(demo, NGRAMS).vectors
    with pytest.raises(ValueError, match="read-only"):
        index.vectors[0] = np.zeros(512)
