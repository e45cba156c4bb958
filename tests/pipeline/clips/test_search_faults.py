"""Search vectors after kill -9, races, damage and a full disk are the same bytes as those of an undisturbed run."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundflow.backends.embed.hashed_ngrams import HashedNgrams
from soundflow.bench.speed.labels import synthetic_rows, write_index
from soundflow.operators.curate.retrieval import Query
from soundflow.pipeline.clips import search_build
from soundflow.pipeline.clips.index import index_clips
from soundflow.pipeline.clips.search_file import DamagedError, open_vector_index, read_info
from soundflow.pipeline.clips.search_index import SearchIndex
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.llm import ServiceBroken
from soundflow.schemas.retrieval import RetrievalConfig
from tests.support.embedding_server import PITCHES, EmbeddingServer, status

NGRAMS = RetrievalConfig(embedder="ngrams")
TEXTS = 4_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index and its vectors, made without disturbance. Shared: tests copy it."""
    directory = tmp_path_factory.mktemp("search") / "undisturbed"
    write_index(directory, synthetic_rows(clips=6_000, texts=TEXTS))
    SearchIndex.open(directory, NGRAMS)
    return directory


def copied(made: Path, tmp_path: Path, *, vectors: bool) -> tuple[Path, Path]:
    """A copy of the index; and where its vectors are, or will be."""
    directory = tmp_path / "clips"
    shutil.copytree(made, directory)
    (path,) = (directory / "search").glob("*.vectors")
    if not vectors:
        shutil.rmtree(directory / "search")
    return directory, path


def vectors_of(directory: Path) -> bytes:
    (path,) = (directory / "search").glob("*.vectors")
    return path.read_bytes()


def die(*unused: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_child(directory: Path, fatal: object = None) -> int:
    """Makes the vectors in a fork and returns its pid; `fatal`: it kills itself (-9) after so many texts, or instead of a call.

    Its exit code is 0 when it found them made, else 1 plus the number of blocks it found done.
    """
    pid = os.fork()
    if pid:
        return pid
    begun: list[int] = []

    def progress(done: int, total: int) -> None:
        begun.append(done)
        if done == fatal:
            die()

    if fatal == "fsync":
        os.fsync = die
    elif fatal == "rename":
        Path.replace = die  # type: ignore[method-assign, assignment]
    code = 255
    try:
        SearchIndex.open(directory, NGRAMS, on_progress=progress)
        code = 1 + begun[0] // search_build.BLOCK if begun else 0
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """Exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_killed_run_goes_on_where_it_was(made: Path, tmp_path: Path) -> None:
    directory, path = copied(made, tmp_path, vectors=False)
    for fatal in (0, 1_024, 3_072, "fsync", "rename"):
        assert ended(in_a_child(directory, fatal)) == -signal.SIGKILL and not path.exists()
    assert ended(in_a_child(directory)) == 1 + TEXTS // search_build.BLOCK
    assert vectors_of(directory) == vectors_of(made)


def test_builders_that_race_agree(made: Path, tmp_path: Path) -> None:
    directory, _ = copied(made, tmp_path, vectors=False)
    racers = [in_a_child(directory) for _ in range(4)]
    assert sorted(map(ended, racers)) == [0, 0, 0, 1]
    assert vectors_of(directory) == vectors_of(made)


@pytest.mark.parametrize("what", ["a hole", "garbage", "too much", "nothing"])
def test_what_a_power_cut_left_is_not_trusted(what: str, made: Path, tmp_path: Path) -> None:
    directory, path = copied(made, tmp_path, vectors=False)
    whole = bytearray(vectors_of(made))
    begun: list[int] = []
    if what == "a hole":
        whole[512 * 4 * 700 : 512 * 4 * 800] = bytes(512 * 4 * 100)
    elif what == "garbage":
        whole[512 * 4 * 300 : 512 * 4 * 301] = b"\xff" * 512 * 4
    path.parent.mkdir()
    path.with_suffix(".partial").write_bytes(b"" if what == "nothing" else whole)
    SearchIndex.open(directory, NGRAMS, on_progress=lambda done, total: begun.append(done))
    assert begun[0] == {"a hole": 700, "garbage": 300, "too much": TEXTS, "nothing": 0}[what]
    assert vectors_of(directory) == vectors_of(made)


def test_a_flipped_bit_is_noticed_and_the_file_made_again(made: Path, tmp_path: Path) -> None:
    directory, path = copied(made, tmp_path, vectors=True)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    SearchIndex.open(directory, NGRAMS)
    assert path.read_bytes() == vectors_of(made)


def test_a_change_of_any_byte_of_a_file_is_noticed(tmp_path: Path) -> None:
    content_hash = write_index(tmp_path, synthetic_rows(clips=5, texts=3))
    SearchIndex.open(tmp_path, NGRAMS)
    (path,) = (tmp_path / "search").glob("*.vectors")
    whole, identity = path.read_bytes(), read_info(path).identity
    for place in [*range(0, len(whole), 13), *range(len(whole) - 500, len(whole))]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x01]) + whole[place + 1 :])
        with pytest.raises(DamagedError):
            open_vector_index(path, content_hash, identity)


@pytest.mark.parametrize("left", [0, 7, 8, 5000, -1])
def test_a_file_that_is_cut_off_is_made_again(left: int, made: Path, tmp_path: Path) -> None:
    directory, path = copied(made, tmp_path, vectors=True)
    os.truncate(path, path.stat().st_size + left if left < 0 else left)
    SearchIndex.open(directory, NGRAMS)
    assert path.read_bytes() == vectors_of(made)


def test_the_vectors_of_another_index_are_not_taken_for_ours(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_index(other, synthetic_rows(clips=500, texts=500))
    SearchIndex.open(other, NGRAMS)
    directory, path = copied(made, tmp_path, vectors=False)
    path.parent.mkdir()
    path.write_bytes(vectors_of(other))
    SearchIndex.open(directory, NGRAMS)
    assert vectors_of(directory) == vectors_of(made)


def test_a_full_disk_leaves_what_was_done(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, path = copied(made, tmp_path, vectors=False)

    def full(*unused: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    begun: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(search_build, "finish", full)
        with pytest.raises(OSError, match="No space"):
            SearchIndex.open(directory, NGRAMS)
    assert not path.exists()
    SearchIndex.open(directory, NGRAMS, on_progress=lambda done, total: begun.append(done))
    assert begun[0] == TEXTS and vectors_of(directory) == vectors_of(made)


def test_a_server_that_fails_half_way_is_not_asked_again_for_what_it_gave(tmp_path: Path) -> None:
    directory, store = tmp_path / "clips", AnswerCache(tmp_path / "answers")
    rows = list(synthetic_rows(clips=60, texts=40))
    write_index(directory, rows)
    with EmbeddingServer(None, None, None, *[status(500)] * 50) as server:
        config = server.config(server=server.config().server.model_dump() | {"retries": 0})
        with pytest.raises(ServiceBroken, match="embedding server"):
            SearchIndex.open(directory, config, store=store)
        assert server.answered.total() == 1 + 2 * 8
        server.faults = []
        search = SearchIndex.open(directory, config, store=store)
        assert server.answered.total() == 1 + 40 and max(server.answered.values()) == 1
        calls = len(server.calls)
        for _ in range(2):  # the second time nobody is asked
            assert search.search([Query(rows[0]["caption"], k=1)])[0][0].id == rows[0]["id"]
        assert len(server.calls) == calls + 1


def test_with_a_model_that_hears_clips_are_found_by_their_sound(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    times = np.arange(24_000) / 16_000
    for number, pitch in enumerate(PITCHES):
        soundfile.write(folder / f"take{number}.wav", 0.3 * np.sin(2 * np.pi * pitch * times) * np.hanning(times.size), 16_000)
    shutil.copyfile(folder / "take0.wav", folder / "again.wav")
    (folder / "names.csv").write_text(
        "path,label\n" + "".join(f"take{n}.wav,unheard {n}\n" for n in range(3)) + "again.wav,same\n"
    )
    index_clips([folder / "names.csv"], tmp_path / "clips", workers=1)
    with EmbeddingServer() as server:
        search = SearchIndex.open(tmp_path / "clips", server.config(hears_hz=48_000), store=AnswerCache(tmp_path / "answers"))
        sounds = [call for call in server.calls if call["modality"] == "audio"]
        assert sum(len(call["input"]) for call in sounds) == 3, "the same sound is heard once"
        hits = search.search([Query(words, k=1, role=ClipRole.FOREGROUND) for words in PITCHES.values()])
    assert [best[0].label for best in hits[1:]] == ["unheard 1", "unheard 2"] and hits[0][0].label in ("unheard 0", "same")
    assert search.identity.startswith("server:m/1-512d-48000hz of sounds")


def test_embedding_stops_on_request(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, _ = copied(made, tmp_path, vectors=False)
    done: list[int] = []

    def impatient(count: int, total: int) -> None:
        done.append(count)
        if count >= 2_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SearchIndex.open(directory, NGRAMS, on_progress=impatient)
    embedded: list[str] = []
    embed = HashedNgrams.embed
    monkeypatch.setattr(HashedNgrams, "embed", lambda self, texts: (embedded.extend(texts), embed(self, texts))[1])
    SearchIndex.open(directory, NGRAMS)
    assert len(embedded) == TEXTS - done[-1] and vectors_of(directory) == vectors_of(made)
