"""`build`: resuming, changed recipes, quarantine, full disks, progress."""

from __future__ import annotations

import errno
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from soundflow.operators.compose.mixing import StreamIdentity
from soundflow.pipeline.build import produce, run, worker
from soundflow.pipeline.build.run import Progress, build
from soundflow.pipeline.check.replay import replay
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.curate.scenes import ATTEMPTS
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.outcome import Rejected
from tests.support.commandline import soundflow
from tests.support.corpus import corpus, write_recipe


@pytest.fixture
def recipe(clips_dir: Path, tmp_path: Path) -> Path:
    return write_recipe(tmp_path / "recipe.yaml", clips_dir)


def test_the_same_recipe_gives_the_same_corpus(built: Path, recipe: Path, tmp_path: Path) -> None:
    status = build(recipe, tmp_path / "again", executor="inline")
    assert corpus(tmp_path / "again") == corpus(built)
    assert (status.shards.planned, status.shards.committed, status.shards.failed, status.streams) == (4, 4, 0, 12)


def test_resume_makes_only_what_is_missing(built: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(built, tmp_path / "out"))
    before = {path: path.stat().st_mtime_ns for path in (out / "data").iterdir()}
    lost = BuildDir(out).manifests()[2]
    BuildDir(out).manifest_path(2).unlink()
    (out / "data" / lost.tar).write_bytes(b"half")
    build(built.parent / "recipe.yaml", out, executor="inline")
    assert corpus(out) == corpus(built)
    assert all(path.stat().st_mtime_ns == before[path] for path in before if path.name != lost.tar)


def test_a_finished_build_is_left_alone(built: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    events: list[Progress] = []
    assert build(built.parent / "recipe.yaml", built, executor="inline", on_event=events.append).shards.committed == 4
    assert {path: path.stat().st_mtime_ns for path in built.rglob("*")} == before and events == []


def test_an_unknown_split_is_reported_with_the_known_ones(clips_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"split: no clip belongs to this split \(got 'trian'\). Splits of the index: .*train"):
        build(write_recipe(tmp_path / "r.yaml", clips_dir, split="trian"), tmp_path / "out", executor="inline")


def test_a_changed_recipe_is_refused_with_the_difference(built: Path, clips_dir: Path, tmp_path: Path) -> None:
    changed = write_recipe(tmp_path / "changed.yaml", clips_dir, seed=4, mixing={"snr_db": [0, 10]})
    with pytest.raises(InputError) as caught:
        build(changed, built, executor="inline")
    message = str(caught.value)
    assert (
        "recipe.seed: 3 -> 4" in message
        and "recipe.mixing.snr_db: [5.0, 20.0] -> [0.0, 10.0]" in message
        and "--fresh" in message
    )
    assert "recipe.streams" not in message


def test_fresh_moves_the_old_build_aside_and_deletes_nothing(built: Path, clips_dir: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(built, tmp_path / "out"))
    old = corpus(out)
    changed = write_recipe(tmp_path / "changed.yaml", clips_dir, seed=4, streams=2, shards=1)
    for number in (1, 2):
        build(changed, out, executor="inline", fresh=True)
        assert (tmp_path / f"out.old-{number}").is_dir()
    assert corpus(tmp_path / "out.old-1") == old and len(corpus(out)) == 1


def test_fresh_does_not_move_a_running_build(built: Path, clips_dir: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(built, tmp_path / "out"))
    (out / "_tmp").mkdir(exist_ok=True)
    (out / "_tmp" / "elsewhere~1~shard-000001~00").write_bytes(b"")
    changed = write_recipe(tmp_path / "changed.yaml", clips_dir, seed=4, streams=2, shards=1)
    with pytest.raises(InputError, match="another process is building"):
        build(changed, out, executor="inline", fresh=True)
    assert corpus(out) == corpus(built) and not (tmp_path / "out.old-1").exists()


def test_a_build_that_was_moved_aside_adds_nothing_to_the_new_one(clips_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=4, shards=4)
    other = write_recipe(tmp_path / "other.yaml", clips_dir, seed=4, streams=2, shards=1)
    moved: list[bool] = []

    def move(progress: Progress) -> None:
        if progress.shards_done == 1 and not moved:
            moved.append(True)
            build(other, out, executor="inline", fresh=True)

    with pytest.raises(OSError, match="moved aside"):
        build(recipe, out, executor="inline", on_event=move)
    assert len(corpus(out)) == len(corpus(tmp_path / "out.old-1")) == 1 and verify(out).ok


def test_a_corpus_without_a_stream_is_a_failure(clips_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produce, "compose", lambda *_, **__: Rejected("planted"))
    empty = write_recipe(tmp_path / "empty.yaml", clips_dir, streams=2, shards=1)
    result = soundflow("build", empty, "-o", tmp_path / "out", "--executor", "inline")
    assert result.returncode == 3 and "no stream could be made" in result.stderr


def test_an_export_reports_missing_shards(built: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(built, tmp_path / "out"))
    sorted((out / "manifest").glob("*.json"))[0].unlink()
    result = soundflow("export", "hf", out, "--to", tmp_path / "to", "--dry-run")
    assert result.returncode == 0 and "shards; the export lacks the others" in result.stderr


def test_a_recipe_renamed_or_moved_is_the_same_recipe(built: Path, clips_dir: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(built, tmp_path / "out"))
    renamed = write_recipe(tmp_path / "other.yaml", Path(shutil.copytree(clips_dir, tmp_path / "moved")), name="other")
    assert build(renamed, out, executor="inline").shards.committed == 4


def test_a_directory_with_other_files_is_refused_untouched(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"not empty and not a build.*cat\.jpg"):
        build(recipe, tmp_path / "photos", executor="inline")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_an_output_path_that_cannot_be_a_directory_is_refused(recipe: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match="cannot be used as an output directory"):
        build(recipe, tmp_path / place, executor="inline")


def test_a_missing_index_names_recipe_field_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"recipe\.yaml: clips: .*soundflow clips index"):
        build(write_recipe(tmp_path / "recipe.yaml", tmp_path / "nowhere"), tmp_path / "out", executor="inline")


def test_too_few_clips_are_reported_before_anything_is_written(clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, scene={"events": [40, 50]})
    with pytest.raises(InputError, match="too few clips"):
        build(recipe, tmp_path / "out", executor="inline")
    assert not (tmp_path / "out").exists()


def test_a_failed_sample_is_quarantined_and_the_others_are_kept(
    built: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = produce.compose

    def breaks(scene: object, identity: StreamIdentity, *rest: object) -> object:
        if (identity.shard, identity.index) == (1, 2):
            raise ZeroDivisionError("planted")
        return real(scene, identity, *rest)

    monkeypatch.setattr(produce, "compose", breaks)
    out = tmp_path / "out"
    status = build(recipe, out, executor="inline")
    assert (status.quarantined, status.streams, status.shards.committed) == (1, 11, 4)
    (entry,) = BuildDir(out).quarantine()
    assert entry.stage == "mixing" and "planted" in entry.error and "breaks" in entry.traceback and "scene" in entry.payload
    whole = {manifest.shard: manifest for manifest in BuildDir(built).manifests()}
    assert set(BuildDir(out).manifests()[1].keys) == set(whole[1].keys) - {entry.sample_id}
    assert verify(out).ok
    broken = replay(out, entry.sample_id, tmp_path / "replayed")
    assert not broken.ok and "ZeroDivisionError" in broken.state
    monkeypatch.undo()
    mended = replay(out, entry.sample_id, tmp_path / "replayed")
    assert mended.ok and len(mended.files) == 3 and "quarantined in stage mixing" in mended.trace[0]


def test_a_shard_whose_samples_mostly_fail_is_not_committed(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(produce, "encode", lambda *_: 1 / 0)
        status = build(recipe, tmp_path / "out", executor="inline")
    assert (status.shards.committed, status.shards.failed) == (0, 4)
    assert "3 of 3 samples failed" in BuildDir(tmp_path / "out").failures()[0].error
    status = build(recipe, tmp_path / "out", executor="inline")
    assert (status.shards.committed, status.shards.failed, status.quarantined) == (4, 0, 0)
    assert BuildDir(tmp_path / "out").failures() == []


def test_rejected_draws_are_repeated_and_rejected_samples_listed(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = produce.compose

    def gate(scene: object, identity: StreamIdentity, *rest: object) -> object:
        if identity.shard == 0 and (identity.index == 1 or identity.attempt < identity.index):
            return Rejected("planted")
        return real(scene, identity, *rest)

    monkeypatch.setattr(produce, "compose", gate)
    build(recipe, tmp_path / "out", executor="inline")
    manifest = BuildDir(tmp_path / "out").manifests()[0]
    assert [(entry.reason, entry.attempts) for entry in manifest.rejected] == [("planted", ATTEMPTS)]
    assert manifest.redraws == {"planted": 2} and len(manifest.keys) == 2
    assert verify(tmp_path / "out").ok


def test_a_full_disk_stops_the_build_and_loses_nothing_that_was_committed(
    built: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = worker.ShardWriter.add
    left = [7]

    def full(self: object, key: str, members: dict[str, bytes]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, key, members)

    with monkeypatch.context() as patched:
        patched.setattr(worker.ShardWriter, "add", full)
        with pytest.raises(OSError, match=r"No space left.*2 of 4 shards are committed"):
            build(recipe, tmp_path / "out", executor="inline")
    assert list((tmp_path / "out" / "_tmp").iterdir()) == []
    build(recipe, tmp_path / "out", executor="inline")
    assert corpus(tmp_path / "out") == corpus(built)


def test_progress_counts_up_to_the_whole(recipe: Path, tmp_path: Path) -> None:
    events: list[Progress] = []
    build(recipe, tmp_path / "out", executor="inline", on_event=events.append)
    assert events[-1].shards_done == events[-1].shards_total == 4 and events[-1].streams == 12
    assert [event.streams for event in events] == sorted(event.streams for event in events)
    assert "12 streams" in events[-1].describe()


def test_the_time_left_counts_only_what_this_run_makes(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path(shutil.copytree(built, tmp_path / "out"))
    for shard in (1, 3):
        BuildDir(out).manifest_path(shard).unlink()
    clock = [100.0]
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    events: list[Progress] = []

    def tell(event: Progress) -> None:
        events.append(event)
        clock[0] += 1.0

    build(built.parent / "recipe.yaml", out, executor="inline", on_event=tell)
    assert [event.streams for event in events] == [7, 8, 9, 9, 10, 11, 12, 12]
    # streams 7, 8, 9 at 0, 1, 2 s: the first is made "at once", and from then on 5, 4, 3 of them are left
    assert [event.eta_seconds for event in events[:3]] == [pytest.approx(5e-3), 2.0, 2.0]
    assert events[-1].eta_seconds == 0


def test_progress_is_reported_every_two_seconds(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = BuildDir(built).record()
    clock = [0.0]
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    events: list[Progress] = []
    tracker = run._Tracker(BuildDir(built), record, [], events.append, print, lambda: False)
    for _ in range(20):
        clock[0] += 0.5
        tracker.pulse()
    assert len(events) == 5


def test_a_stopped_build_leaves_nothing_unfinished_and_resumes(built: Path, recipe: Path, tmp_path: Path) -> None:
    made: list[Progress] = []
    with pytest.raises(Interrupted):
        build(recipe, tmp_path / "out", executor="inline", on_event=made.append, should_stop=lambda: len(made) == 5)
    assert BuildDir(tmp_path / "out").status().shards.committed == 1
    assert list((tmp_path / "out" / "_tmp").iterdir()) == []
    build(recipe, tmp_path / "out", executor="inline")
    assert corpus(tmp_path / "out") == corpus(built)


def test_signal_handlers_are_restored_after_a_build(recipe: Path, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    during: list[object] = []
    build(recipe, tmp_path / "out", executor="inline", on_event=lambda _: during.append(signal.getsignal(signal.SIGINT)))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert before[0] not in during


def test_a_machine_out_of_memory_fails_the_shard_and_not_the_sample(
    built: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = produce.encode
    calls = [0]

    def hungry(*arguments: object) -> bytes:
        calls[0] += 1
        if calls[0] == 5:
            raise MemoryError
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(produce, "encode", hungry)
    status = build(recipe, tmp_path / "out", executor="inline")
    assert (status.shards.committed, status.shards.failed, status.quarantined) == (3, 1, 0)
    assert "MemoryError" in BuildDir(tmp_path / "out").failures()[0].error
    build(recipe, tmp_path / "out", executor="inline")
    assert corpus(tmp_path / "out") == corpus(built)


def test_a_sample_that_succeeds_later_leaves_the_quarantine(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(produce, "encode", lambda *_: 1 / 0)
        build(recipe, tmp_path / "out", executor="inline")
    assert len(BuildDir(tmp_path / "out").quarantine()) == 12
    build(recipe, tmp_path / "out", executor="inline")
    assert BuildDir(tmp_path / "out").quarantine() == []


def test_fresh_does_not_move_a_directory_that_is_not_a_build(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="not empty and not a build"):
        build(recipe, tmp_path / "photos", executor="inline", fresh=True)
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_manifests_of_another_recipe_in_the_directory_do_not_count_and_are_replaced(
    built: Path, clips_dir: Path, recipe: Path, tmp_path: Path
) -> None:
    other = write_recipe(tmp_path / "other.yaml", clips_dir, seed=9)
    build(other, tmp_path / "other", executor="inline")
    out = Path(shutil.copytree(built, tmp_path / "out"))
    shutil.rmtree(out / "manifest")
    shutil.copytree(tmp_path / "other" / "manifest", out / "manifest")
    assert BuildDir(out).status().shards.committed == 0
    build(recipe, out, executor="inline")
    assert corpus(out) == corpus(built)


@pytest.mark.parametrize(("workers", "address"), [(2, None), (None, "auto")])
def test_the_inline_executor_refuses_several_workers(
    recipe: Path, tmp_path: Path, workers: int | None, address: str | None
) -> None:
    with pytest.raises(InputError, match="--executor ray"):
        build(recipe, tmp_path / "out", executor="inline", workers=workers, address=address)


def test_wav_and_the_authors_layout_build_and_verify(clips_dir: Path, tmp_path: Path) -> None:
    output = {"audio": "wav", "token_layout": "authors"}
    recipe = write_recipe(
        tmp_path / "recipe.yaml", clips_dir, streams=3, shards=1, output=output, scene={"planner": "random", "events": [1, 3]}
    )
    build(recipe, tmp_path / "out", executor="inline")
    report = verify(tmp_path / "out", sample=3)
    assert report.ok and report.streams == 3
