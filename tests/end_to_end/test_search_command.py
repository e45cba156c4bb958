"""`soundflow clips search` as people and scripts use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from soundflow.bench.speed.labels import demo_rows, write_index
from soundflow.cli import app
from tests.support.embedding_server import EmbeddingServer


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's clips, as words."""
    directory = tmp_path_factory.mktemp("search") / "clips"
    write_index(directory, demo_rows())
    return directory


@pytest.fixture
def search(clips: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs the command; returns (exit code, stdout, stderr). No model is on this machine."""
    monkeypatch.setenv("SOUNDFLOW_ASSETS", str(tmp_path))
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "answers"))

    def run(*arguments: object, index: Path = clips) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            app.main(["clips", "search", str(index), *map(str, arguments)])
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, printed.err

    return run


def test_json_is_a_list_of_id_label_and_score_best_first(search) -> None:
    code, out, _ = search("a dog barking", "-k", 4, "--json")
    hits = json.loads(out)
    assert code == 0 and len(hits) == 4 and all(set(hit) == {"id", "label", "score"} for hit in hits)
    assert hits[0]["label"] == hits[1]["label"] == "dog bark" and hits[0]["id"] == "scratch/Animal/Dog1.wav"
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True) and all(-1 <= score <= 1 for score in scores)


def test_three_are_found_unless_said_otherwise_and_people_see_who_found_them(search) -> None:
    code, out, _ = search("rain on a window")
    assert code == 0 and len(out.splitlines()) == 4
    assert out.endswith("3 of 123 clips, embedded by hashed-ngrams/1 of texts 1, search 1\n")


def test_role_and_split_filter(search) -> None:
    code, out, _ = search("wind", "--role", "noise_ambient", "-k", 50, "--json")
    assert code == 0 and {hit["label"] for hit in json.loads(out)} >= {"wind", "vinyl hiss"} and len(json.loads(out)) == 5
    assert json.loads(search("wind", "--split", "no-such-split", "--json")[1]) == []
    code, out, _ = search("wind", "--split", "no-such-split")
    assert code == 0 and out.startswith("0 of 123 clips")


def test_any_language_may_be_asked(search) -> None:
    for query in ("狗叫声", "собака лает", "🐕 dog", "kläffender Hund", "ドアの音"):
        code, out, _ = search(query, "--json")
        assert code == 0 and len(json.loads(out)) == 3


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("",), "the query contains no word"),
        (("?! 🐕",), "the query contains no word"),
        (("dog " * 250_000,), "1,000,000 characters"),
        (("dog", "--role", "drummer"), "drummer"),
        (("dog", "-k", "0"), "-k"),
        (("dog", "--embedder", "minilm"), "soundflow assets fetch minilm"),
        ((), "QUERY"),
    ],
)
def test_what_cannot_be_asked_is_a_mistake_of_the_user(search, arguments: tuple[str, ...], why: str) -> None:
    code, out, err = search(*arguments)
    assert code == 2 and out == "" and why in err and len(err) < 1200 and "Traceback" not in err


def test_a_recipe_says_which_embedder_is_used(search, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    tasks = "clips: clips\nstreams: 1\nshards: 1\ntasks: {event_description: 1}\n"
    recipe.write_text(tasks + "retrieval: {embedder: minilm}\n")
    code, _, err = search("dog", "--recipe", recipe)
    assert code == 2 and "soundflow assets fetch minilm" in err
    with EmbeddingServer() as server:
        section = server.config().model_dump_json(include={"embedder", "model", "server"})
        recipe.write_text(f"{tasks}retrieval: {section}\n")
        code, out, _ = search("a dog barking", "--recipe", recipe, "-k", 1)
    assert code == 0 and "dog bark" in out and "server:m/1-512d" in out


def test_no_index_is_told_with_the_way_to_make_one(search, tmp_path: Path) -> None:
    code, _, err = search("dog", index=tmp_path / "nothing")
    assert code == 2 and "is not a clip index" in err and "soundflow clips index" in err


def test_an_index_without_clips_has_no_hits(search, tmp_path: Path) -> None:
    write_index(tmp_path / "empty", [])
    assert search("dog", "--json", index=tmp_path / "empty")[:2] == (0, "[]\n")
