"""A corpus in an object store: on a real S3-protocol server, with conditional commits, races and a server that goes away."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.clip_store import ClipStore
from soundflow.pipeline.build.store_beside import fetch
from soundflow.pipeline.build.object_store import CONFLICT, ObjectStore
from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.verify import verify
from soundflow.schemas.base import InputError, Interrupted
from tests.support.corpus import corpus, write_recipe
from tests.support.hostile_llm import HostileLlm
from tests.pipeline.curated import write_curated

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of an empty bucket on a server of our own."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    told = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**told, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
            patch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield "s3://bucket"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_a_corpus_built_into_a_store_is_the_one_built_into_a_directory(s3: str, built: Path, tmp_path: Path) -> None:
    recipe, url = built.parent / "recipe.yaml", f"{s3}/same"
    status = build(recipe, tmp_path / "space", executor="inline", store=url)
    assert status == BuildDir(built).status()
    assert not list((tmp_path / "space" / "data").iterdir()), "a machine keeps nothing"
    assert fetch(ObjectStore(url), tmp_path / "corpus") == 4
    assert corpus(tmp_path / "corpus") == corpus(built)
    assert verify(tmp_path / "corpus", sample=1).ok
    assert fetch(ObjectStore(url), tmp_path / "corpus") == 0


def test_another_machine_goes_on_where_one_was_stopped(s3: str, built: Path, tmp_path: Path) -> None:
    recipe, url = built.parent / "recipe.yaml", f"{s3}/resumed"
    asked: list[int] = []
    with pytest.raises(Interrupted):
        stop = lambda: asked.append(1) or len(asked) > 8  # noqa: E731
        build(recipe, tmp_path / "one", executor="inline", store=url, should_stop=stop)
    done = len(list(ObjectStore(url).entries()))
    assert 0 < done < 4
    made: list[int] = []
    build(recipe, tmp_path / "two", executor="inline", store=url, on_event=lambda event: made.append(event.shards_done))
    assert made[0] == done and made[-1] == 4
    fetch(ObjectStore(url), tmp_path / "corpus")
    assert corpus(tmp_path / "corpus") == corpus(built)


def test_of_many_who_commit_a_shard_at_once_exactly_one_wins(s3: str, built: Path) -> None:
    store, there = ObjectStore(f"{s3}/race"), BuildDir(built)
    manifest = there.manifests()[0]

    def commit(number: int) -> bool:
        return store.commit(there, manifest.model_copy(update={"timings": {"worker": str(number)}}))

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(commit, range(8)))
    assert won.count(True) == 1 and len(list(store.entries())) == 1


def test_a_store_with_another_build_is_refused(s3: str, built: Path, clips_dir: Path, tmp_path: Path) -> None:
    url = f"{s3}/taken"
    build(built.parent / "recipe.yaml", tmp_path / "one", executor="inline", store=url)
    other = write_recipe(tmp_path / "other.yaml", clips_dir, seed=9)
    with pytest.raises(InputError, match="holds another build"):
        build(other, tmp_path / "two", executor="inline", store=url)
    with pytest.raises(InputError, match="holds no build"):
        ObjectStore(f"{s3}/nothing").record()
    with pytest.raises(InputError, match="no place fsspec can write to"):
        ObjectStore("nonsense://x")
    with pytest.raises(InputError, match="Name folders with -o"):
        ObjectStore(str(tmp_path))


def test_a_tar_that_does_not_arrive_whole_is_never_committed(s3: str, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, there = ObjectStore(f"{s3}/torn"), BuildDir(built)

    def torn(local: str, remote: str) -> None:
        store._fs.pipe_file(remote, Path(local).read_bytes()[:-100])

    monkeypatch.setattr(store._fs, "put_file", torn)
    with pytest.raises(OSError, match="bytes after it was put there"):
        store.commit(there, there.manifests()[0])
    monkeypatch.undo()
    assert list(store.entries()) == []


def test_a_conflict_is_tried_again_and_a_store_without_conditional_writes_is_refused(
    s3: str, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    store, record = ObjectStore(f"{s3}/conflict"), BuildDir(built).record()
    real, answers = store._fs.pipe_file, [CONFLICT, CONFLICT, "InternalError"]

    def busy(path: str, data: bytes, mode: str) -> None:
        if answers:
            raise OSError("no") from ClientError({"Error": {"Code": answers.pop(0)}}, "PutObject")
        real(path, data, mode=mode)

    monkeypatch.setattr(store._fs, "pipe_file", busy)
    with pytest.raises(OSError, match="no"):
        store.open(record)
    answers.append(CONFLICT)
    store.open(record)
    assert store.record() == record
    answers.append("PreconditionFailed")
    store.open(record)
    assert not answers
    careless = ObjectStore(f"{s3}/careless")
    monkeypatch.setattr(careless._fs, "pipe_file", lambda path, data, mode: real(path, data))
    with pytest.raises(InputError, match="takes no conditional writes"):
        careless.open(record)


def test_a_virtual_corpus_comes_back_from_a_store_with_its_clips_and_a_lost_or_altered_one_is_named(
    s3: str, built: Path, tmp_path: Path
) -> None:
    recipe, store = built.parent / "recipe.yaml", ObjectStore(f"{s3}/virtual")
    build(recipe, tmp_path / "here", executor="inline", virtual=True)
    build(recipe, tmp_path / "space", executor="inline", virtual=True, store=store.url)
    clips = store.names("clips")
    intact = store.read(clips[0])
    for damage, told in ((None, "missing from the store"), (bytes(len(intact)), "altered in the store")):
        store._fs.rm_file(store._at(clips[0]))
        if damage is not None:
            store._fs.pipe_file(store._at(clips[0]), damage)
        with pytest.raises(InputError, match=told):
            fetch(store, tmp_path / "corpus")
    store._fs.pipe_file(store._at(clips[0]), intact)
    assert fetch(store, tmp_path / "corpus") == 0
    assert corpus(tmp_path / "corpus") == corpus(tmp_path / "here")
    assert list(ClipStore(tmp_path / "corpus" / "clips")) == list(ClipStore(tmp_path / "here" / "clips"))
    assert verify(tmp_path / "corpus", sample=2).ok


def test_a_curated_corpus_goes_on_elsewhere_with_its_made_clips_and_comes_back_with_its_scenes(
    s3: str, clips_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "answers"))
    store = ObjectStore(f"{s3}/curated")
    with HostileLlm() as server:
        recipe = write_curated(tmp_path / "recipe.yaml", clips_dir, server, streams=12, shards=12, verifier={"verifier": "llm"})
        with pytest.raises(Interrupted):
            stop = lambda: bool(store.names("made"))  # noqa: E731
            build(recipe, tmp_path / "one", executor="inline", store=store.url, should_stop=stop)
        made = store.names("made")
        build(recipe, tmp_path / "two", executor="inline", store=store.url)
        asked = server.calls
        build(recipe, tmp_path / "here", executor="inline")
        assert server.calls == asked
    assert all((tmp_path / "two" / name).exists() for name in made)
    assert fetch(store, tmp_path / "corpus") == 12
    assert corpus(tmp_path / "corpus") == corpus(tmp_path / "here")
    assert verify(tmp_path / "corpus", sample=2).ok
    row = next(name for name in made if name.startswith("made/rows"))
    with pytest.raises(OSError, match="made otherwise by another machine"):
        store.keep(row, lambda: b"{}")


def test_a_store_that_does_not_answer_is_trouble_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> bytes:
        raise RuntimeError("Could not connect to the endpoint URL")

    store = ObjectStore("memory://nobody/corpus")
    monkeypatch.setattr(store._fs, "cat_file", silent)
    with pytest.raises(OSError, match="cannot be reached: Could not connect"):
        store.record()
