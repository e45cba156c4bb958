"""Virtual builds: audio rendered on demand equals that of a stored build, and a missing clip is named."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundflow.pipeline.build.materialize import materialize
from soundflow.pipeline.build.run import build
from soundflow.pipeline.build.virtual import Renderer, Samples, clips_of
from soundflow.pipeline.check.replay import replay
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.clip_store import ClipStore, add_clips
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.report.data import collect
from soundflow.schemas.base import InputError, Interrupted
from soundflow.training.corpus import StoredCorpus
from tests.support.corpus import corpus


@pytest.fixture(scope="module")
def virtual(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The virtual build of `built`'s recipe. Shared: tests that damage one copy it."""
    out = tmp_path_factory.mktemp("virtual") / "out"
    build(built.parent / "recipe.yaml", out, executor="inline", virtual=True)
    return out


def copied(virtual: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(virtual, tmp_path / "copy"))


def flip(out: Path) -> None:
    """Change the loudest sample of a pack by its top bit."""
    (pack,) = (out / "clips").glob("*.pcm")
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0x80
    pack.write_bytes(data)


def test_plans_and_tokens_are_those_of_the_stored_build_and_no_audio_is_stored(built: Path, virtual: Path) -> None:
    pairs = list(zip(BuildDir(built).manifests(), BuildDir(virtual).manifests(), strict=True))
    assert len(pairs) == 4
    for stored, ours in pairs:
        there = dict(read_shard(built / "data" / stored.tar))
        for key, members in read_shard(virtual / "data" / ours.tar):
            assert members == {name: there[key][name] for name in ("json", "tokens.npz")}
        assert ours.keys == stored.keys and ours.virtual and not stored.virtual


def test_a_virtual_build_materialized_is_the_stored_build_byte_for_byte(built: Path, virtual: Path, tmp_path: Path) -> None:
    status = materialize(virtual, tmp_path / "out")
    assert status.shards.committed == 4
    assert corpus(tmp_path / "out") == corpus(built)
    assert verify(tmp_path / "out", sample=2).ok
    again = materialize(virtual, tmp_path / "out")
    assert again == status


def test_a_stopped_materialize_resumes(built: Path, virtual: Path, tmp_path: Path) -> None:
    checks: list[int] = []
    with pytest.raises(Interrupted):
        materialize(virtual, tmp_path / "out", should_stop=lambda: checks.append(1) or len(checks) > 5)
    assert 0 < len(corpus(tmp_path / "out")) < 4
    materialize(virtual, tmp_path / "out")
    assert corpus(tmp_path / "out") == corpus(built)


def test_the_loader_gets_equal_samples_for_every_window(built: Path, virtual: Path) -> None:
    stored = StoredCorpus(built)
    ours = pickle.loads(pickle.dumps(StoredCorpus(virtual, renderer=Renderer())))
    rng = np.random.default_rng(5)
    assert stored.shard_sizes == ours.shard_sizes
    for shard, size in enumerate(stored.shard_sizes):
        for index in range(size):
            assert stored.turns(shard, index) == ours.turns(shard, index)
            samples = stored.plan(shard, index).samples
            marks = [0, 1, samples - 1, samples, samples + 700, *rng.integers(0, samples, 12).tolist()]
            for start, stop in zip(marks, marks[::-1], strict=True):
                span = min(start, stop), max(start, stop)
                samples, expected = ours.audio(shard, index, *span), stored.audio(shard, index, *span)
                assert samples.dtype == expected.dtype == np.float32 and np.array_equal(samples, expected)


def test_verify_and_replay_render_from_the_build_s_own_clips(virtual: Path, tmp_path: Path) -> None:
    report = verify(virtual, sample=3)
    assert report.ok and report.streams == 12, report.problems
    key = BuildDir(virtual).manifests()[0].keys[0]
    result = replay(virtual, key, tmp_path / "again")
    assert result.ok and result.state == "same bytes as committed"
    assert (tmp_path / "again" / f"{key}.flac").exists()
    assert all(stream["audio"].startswith("data:audio/flac") for stream in collect(BuildDir(virtual), 3)["samples"])


def test_a_virtual_build_renders_without_index_or_sources(built: Path, virtual: Path, tmp_path: Path) -> None:
    out = copied(virtual, tmp_path)
    record = out / "build.json"
    record.write_bytes(record.read_bytes().replace(BuildDir(out).record().clips.encode(), b"/gone"))
    materialize(out, tmp_path / "stored")
    assert corpus(tmp_path / "stored") == corpus(built)


def test_an_altered_clip_is_named_wherever_it_is_rendered(virtual: Path, tmp_path: Path) -> None:
    out = copied(virtual, tmp_path)
    flip(out)
    problems = verify(out, sample=12).problems
    assert problems and {problem.check for problem in problems} == {"clips"}
    assert all("has been altered in the clip store" in problem.detail for problem in problems)
    with pytest.raises(InputError, match=r"pack-.*altered in the clip store.*got '.+ \([0-9a-f]{12}\)'"):
        materialize(out, tmp_path / "stored")
    loader = StoredCorpus(out, renderer=Renderer())
    with pytest.raises(InputError, match="altered in the clip store"):
        for shard, size in enumerate(loader.shard_sizes):
            for index in range(size):
                loader.audio(shard, index, 0, loader.plan(shard, index).samples)


def test_a_missing_clip_is_named_and_restored_by_the_next_build(built: Path, virtual: Path, tmp_path: Path) -> None:
    out = copied(virtual, tmp_path)
    for path in (out / "clips").iterdir():
        path.unlink()
    assert {problem.check for problem in verify(out).problems} == {"clips"}
    with pytest.raises(InputError, match="missing from the clip store"):
        StoredCorpus(out, renderer=Renderer()).audio(0, 0, 0, 6400)
    with pytest.raises(InputError, match="missing from the clip store"):
        materialize(out, tmp_path / "stored")
    build(built.parent / "recipe.yaml", out, executor="inline", virtual=True)
    assert verify(out).ok


@pytest.mark.parametrize("spoil", ["truncated pack", "pack gone", "table torn", "another table"])
def test_a_damaged_store_is_refused_with_the_file_s_name(virtual: Path, tmp_path: Path, spoil: str) -> None:
    out = copied(virtual, tmp_path)
    (pack,), (table,) = (out / "clips").glob("*.pcm"), (out / "clips").glob("*.npy")
    if spoil == "truncated pack":
        pack.write_bytes(pack.read_bytes()[:-2])
    elif spoil == "pack gone":
        pack.unlink()
    elif spoil == "table torn":
        table.write_bytes(table.read_bytes()[:-7])
    else:
        np.save(table, np.arange(3))
    with pytest.raises(InputError, match=pack.stem):
        ClipStore(out / "clips")
    assert "clips" in {problem.check for problem in verify(out).problems}


def test_stored_and_virtual_builds_are_not_mixed_in_one_directory(built: Path, virtual: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains a virtual build, but a stored build was requested"):
        build(built.parent / "recipe.yaml", virtual, executor="inline")
    with pytest.raises(InputError, match="contains a stored build, but a virtual build"):
        build(built.parent / "recipe.yaml", built, executor="inline", virtual=True)
    with pytest.raises(InputError, match="is already a stored build"):
        materialize(built, tmp_path / "out")
    with pytest.raises(InputError, match="it has no audio"):
        StoredCorpus(virtual).audio(0, 0, 0, 100)


def test_clips_are_stored_once_in_few_packs_and_an_interrupted_store_is_completed(virtual: Path, tmp_path: Path) -> None:
    made, whole = BuildDir(tmp_path / "made"), ClipStore(virtual / "clips")
    record = BuildDir(virtual).record()
    wanted = clips_of(BuildDir(virtual), record, BuildDir(virtual).committed(record.fingerprint).values())
    assert sorted(wanted) == list(whole)

    def read(clip_id: str, sha256: str) -> bytes:
        return whole.pcm(sha256).tobytes()

    def stop(done: int, total: int) -> None:
        if done == 11:
            raise Interrupted

    with pytest.raises(Interrupted):
        add_clips(made, wanted, read, stop, pack_bytes=100_000)
    assert 0 < len(ClipStore(made.clips)) < 11
    assert add_clips(made, wanted, read, pack_bytes=100_000) < len(wanted)
    assert list(ClipStore(made.clips)) == list(whole) and ClipStore(made.clips).size == whole.size
    assert len(list(made.clips.glob("*.npy"))) > 3 and not list(made.unfinished.iterdir())


def test_a_curated_build_can_be_rendered_from_its_clips_too(curated: Path, tmp_path: Path) -> None:
    from soundflow.pipeline.build.virtual import store_clips
    from soundflow.pipeline.clips.index import ClipIndex
    from soundflow.pipeline.curate.scenes import pool_of

    out = copied(curated, tmp_path)
    there = BuildDir(out)
    record = there.record()
    store_clips(there, record, pool_of(there, ClipIndex.open(Path(record.clips)), record.recipe))
    samples = Samples(there, record)
    for manifest in there.manifests():
        for key, members in samples.read(manifest):
            plan = StoredCorpus(out).plan(manifest.shard, manifest.keys.index(key))
            audio, _ = soundfile.read(io.BytesIO(members["flac"]), dtype="float32")
            assert np.array_equal(Renderer()(out, plan, 0, plan.samples), audio)
