"""Corpora in an object store (an S3-protocol server): conditional commits, races, incomplete uploads, an unreachable server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from soundflow.pipeline.build.object_store import CONFLICT, ObjectStore, clip_name
from soundflow.pipeline.build.run import build
from soundflow.pipeline.build.store_download import download_corpus
from soundflow.pipeline.build.virtual import clips_of
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.clip_store import ClipStore
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.shard import ShardManifest
from tests.pipeline.curated import write_curated
from tests.support.corpus import corpus, write_recipe
from tests.support.hostile_llm import HostileLlm

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of an empty bucket on a server of our own."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**credentials, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
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
    assert not list((tmp_path / "space" / "data").iterdir()), "no shard is kept in the work space"
    assert download_corpus(ObjectStore(url), tmp_path / "corpus") == 4
    assert corpus(tmp_path / "corpus") == corpus(built)
    assert verify(tmp_path / "corpus", sample=1).ok
    assert download_corpus(ObjectStore(url), tmp_path / "corpus") == 0


def test_a_second_machine_resumes_a_stopped_build(s3: str, built: Path, tmp_path: Path) -> None:
    recipe, url = built.parent / "recipe.yaml", f"{s3}/resumed"
    checks: list[int] = []
    with pytest.raises(Interrupted):
        stop = lambda: checks.append(1) or len(checks) > 8  # noqa: E731
        build(recipe, tmp_path / "one", executor="inline", store=url, should_stop=stop)
    done = len(list(ObjectStore(url).entries()))
    assert 0 < done < 4
    made: list[int] = []
    build(recipe, tmp_path / "two", executor="inline", store=url, on_event=lambda event: made.append(event.shards_done))
    assert made[0] == done and made[-1] == 4
    download_corpus(ObjectStore(url), tmp_path / "corpus")
    assert corpus(tmp_path / "corpus") == corpus(built)


def test_of_concurrent_commits_of_a_shard_exactly_one_wins(s3: str, built: Path) -> None:
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
    with pytest.raises(InputError, match="contains another build"):
        build(other, tmp_path / "two", executor="inline", store=url)
    with pytest.raises(InputError, match="contains no build"):
        ObjectStore(f"{s3}/nothing").record()
    with pytest.raises(InputError, match="fsspec cannot open this URL"):
        ObjectStore("nonsense://x")
    with pytest.raises(InputError, match="Use -o for directories"):
        ObjectStore(str(tmp_path))


def test_an_incomplete_upload_is_never_committed(s3: str, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, there = ObjectStore(f"{s3}/torn"), BuildDir(built)

    def torn(local: str, remote: str) -> None:
        store._fs.pipe_file(remote, Path(local).read_bytes()[:-100])

    monkeypatch.setattr(store._fs, "put_file", torn)
    with pytest.raises(OSError, match=r"the upload is incomplete \(\d+ of \d+ bytes\)"):
        store.commit(there, there.manifests()[0])
    monkeypatch.undo()
    assert list(store.entries()) == []


def test_a_conflict_is_retried_and_a_store_without_conditional_writes_is_refused(
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
    with pytest.raises(InputError, match="ignores conditional writes"):
        careless.open(record)


def test_a_virtual_corpus_is_downloaded_with_its_clips_and_a_missing_or_altered_one_is_named(
    s3: str, built: Path, tmp_path: Path
) -> None:
    recipe, store = built.parent / "recipe.yaml", ObjectStore(f"{s3}/virtual")
    build(recipe, tmp_path / "here", executor="inline", virtual=True)
    build(recipe, tmp_path / "space", executor="inline", virtual=True, store=store.url)
    clips = store.names("clips")
    intact = store.read(clips[0])
    for damage, message in ((None, "missing from the store"), (bytes(len(intact)), "altered in the store")):
        store._fs.rm_file(store._at(clips[0]))
        if damage is not None:
            store._fs.pipe_file(store._at(clips[0]), damage)
        with pytest.raises(InputError, match=message):
            download_corpus(store, tmp_path / "corpus")
    store._fs.pipe_file(store._at(clips[0]), intact)
    assert download_corpus(store, tmp_path / "corpus") == 0
    assert corpus(tmp_path / "corpus") == corpus(tmp_path / "here")
    assert list(ClipStore(tmp_path / "corpus" / "clips")) == list(ClipStore(tmp_path / "here" / "clips"))
    assert verify(tmp_path / "corpus", sample=2).ok


def test_a_manifest_is_written_after_everything_its_shard_refers_to(
    s3: str, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, space = ObjectStore(f"{s3}/order"), BuildDir(tmp_path / "space")
    create, put_once = ObjectStore._create, ObjectStore.put_once
    committed: list[str] = []
    failures = ["the first upload of a clip"]

    def checked_create(self: ObjectStore, name: str, data: bytes) -> bool:
        if name.startswith("manifest/"):
            manifest = ShardManifest.from_json(data)
            clips = {clip_name(sha256) for sha256 in clips_of(space, [manifest])}
            assert clips and clips <= set(self.names("clips")) and f"data/{manifest.tar}" in self.names("data")
            committed.append(name)
        return create(self, name, data)

    def failing_put_once(self: ObjectStore, name: str, read: Callable[[], bytes]) -> None:
        if failures:
            raise OSError(failures.pop())
        put_once(self, name, read)

    monkeypatch.setattr(ObjectStore, "_create", checked_create)
    monkeypatch.setattr(ObjectStore, "put_once", failing_put_once)
    recipe = built.parent / "recipe.yaml"
    assert build(recipe, space.root, executor="inline", virtual=True, store=store.url).shards.committed == 3
    assert committed == [f"manifest/{shard:06d}.json" for shard in (1, 2, 3)], "a failed upload leaves its shard uncommitted"
    assert build(recipe, space.root, executor="inline", virtual=True, store=store.url).shards.committed == 4


def test_a_curated_build_resumes_elsewhere_with_its_made_clips_and_is_downloaded_with_its_scenes(
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
        calls = server.calls
        build(recipe, tmp_path / "here", executor="inline")
        assert server.calls == calls
    assert all((tmp_path / "two" / name).exists() for name in made)
    assert download_corpus(store, tmp_path / "corpus") == 12
    assert corpus(tmp_path / "corpus") == corpus(tmp_path / "here")
    assert verify(tmp_path / "corpus", sample=2).ok
    row = next(name for name in made if name.startswith("made/rows"))
    with pytest.raises(OSError, match="another machine has stored different content"):
        store.put_once(row, lambda: b"{}")


def test_an_unreachable_store_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> bytes:
        raise RuntimeError("Could not connect to the endpoint URL")

    store = ObjectStore("memory://nobody/corpus")
    monkeypatch.setattr(store._fs, "cat_file", silent)
    with pytest.raises(OSError, match="cannot be reached: Could not connect"):
        store.record()
