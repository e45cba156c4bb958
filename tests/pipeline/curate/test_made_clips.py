"""Clips made during a build: found by their request, first writer wins, lost files are restored."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soundflow.operators.clean.clip_cache import CleanConfig
from soundflow.operators.protocols.generation import GeneratedSound
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.curate.made_clips import NOT_INHERITED, MadeClips, PoolWithMade, is_made
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.decision import DecisionRules
from soundflow.schemas.generation import MadeRequest, Maker
from soundflow.schemas.outcome import Ok, Rejected
from tests.support import ROOT

MAKER = Maker(backend="formula", model="1", licence="CC0-1.0")


def request(**changes: object) -> MadeRequest:
    fields = {"kind": "generated", "maker": MAKER, "text": "a beep", "label": "beep", "role": "foreground", "seed": 3}
    return MadeRequest.model_validate(fields | changes)


def beep(hz: float = 800.0, seconds: float = 1.0) -> GeneratedSound:
    time = np.arange(round(seconds * 16_000)) / 16_000
    return GeneratedSound((0.2 * np.sin(2 * np.pi * hz * time)).astype(np.float32), "a steady beep", {"hz": hz})


@pytest.fixture
def made(tmp_path: Path) -> MadeClips:
    return MadeClips(BuildDir(tmp_path / "build"), CleanConfig())


def kept(outcome: object) -> Clip:
    assert isinstance(outcome, Ok), outcome
    assert isinstance(outcome.value, Clip)
    return outcome.value


def test_a_made_clip_is_a_clip_like_any_other_and_says_who_made_it(made: MadeClips) -> None:
    assert made.find(request()) is None
    clip = kept(made.generated(request(), beep()))
    assert is_made(clip.id) and clip.id.startswith("made/generated/")
    assert (clip.label, clip.caption, clip.licence, clip.source) == ("beep", "a steady beep", "CC0-1.0", "formula:1")
    assert clip.cleaning is not None and clip.samples % 3200 == 0
    assert made.find(request()) == clip
    samples = made.audio(clip)
    assert samples.shape == (clip.samples,) and not samples.flags.writeable
    row = made.row(clip.id)
    assert (row.request, row.details, row.clip) == (request(), {"hz": 800.0}, clip)
    assert [one.clip for one in made.rows()] == [clip]


def test_an_id_depends_on_the_request_alone(made: MadeClips, tmp_path: Path) -> None:
    others = [
        request(text="a honk"), request(seed=4), request(seconds=(0.5, 3.0)), request(role="ambient"), request(label="honk"),
        request(kind="spoken"), request(maker=MAKER.model_copy(update={"model": "2"})), request(parent="0" * 64),
    ]  # fmt: skip
    ids = {made.id_of(one) for one in [request(), *others]}
    assert len(ids) == len(others) + 1
    elsewhere = MadeClips(BuildDir(tmp_path / "elsewhere"), CleanConfig())
    assert elsewhere.id_of(request()) == made.id_of(request())
    here, there = kept(made.generated(request(), beep())), kept(elsewhere.generated(request(), beep()))
    assert here.path != there.path
    assert there == here.model_copy(update={"path": there.path})


def test_the_first_answer_to_a_request_is_the_clip(made: MadeClips) -> None:
    first = kept(made.generated(request(), beep(800)))
    second = kept(made.generated(request(), beep(500)))
    assert second == first and made.row(first.id).details == {"hz": 800}


def test_unusable_audio_is_rejected_and_not_stored(made: MadeClips) -> None:
    outcome = made.generated(request(), GeneratedSound(np.zeros(16_000, dtype=np.float32), "nothing"))
    assert isinstance(outcome, Rejected) and outcome.reason == "silent"
    assert made.find(request()) is None and list(made.rows()) == []


def test_a_pool_finds_made_clips_but_never_lists_them(made: MadeClips, clips_dir: Path) -> None:
    index = ClipIndex.open(clips_dir)
    pool = PoolWithMade(index, made, DecisionRules())
    clip = kept(made.generated(request(), beep()))
    for one in (pool, pickle.loads(pickle.dumps(pool))):
        assert one.get(clip.id) == clip
        assert np.array_equal(one.audio(clip), made.audio(clip))
        assert one.briefs() == index.briefs()
        assert clip.id not in one.ids(ClipRole.FOREGROUND)
        known = index.briefs()[0].id
        assert one.get(known) == index.get(known)
        assert np.array_equal(one.audio(one.get(known)), index.audio(index.get(known)))
        with pytest.raises(KeyError):
            one.get(made.id_of(request(seed=99)))


def test_a_reprocessed_clip_keeps_its_words_and_licence_and_names_its_parent(made: MadeClips, clips_dir: Path) -> None:
    index = ClipIndex.open(clips_dir)
    parent = next(clip for clip in index.clips() if clip.transcript)
    again = kept(made.reprocess(parent, index.audio(parent), ClipRole.FOREGROUND))
    assert again.id.startswith("made/reprocessed/")
    for name in set(Clip.model_fields) - NOT_INHERITED:
        assert getattr(again, name) == getattr(parent, name), name
    assert made.row(again.id).details == {"parent": parent.id}
    moved = parent.model_copy(update={"path": "/elsewhere"})
    assert kept(made.reprocess(moved, index.audio(parent), ClipRole.FOREGROUND)) == again
    owned = parent.model_copy(update={"attribution": "somebody else"})  # the same recording in another's collection
    assert kept(made.reprocess(owned, index.audio(parent), ClipRole.FOREGROUND)).attribution == "somebody else"


@pytest.mark.parametrize("loss", ["pcm gone", "pcm changed", "entry gone"])
def test_lost_audio_is_made_again_from_what_the_maker_gave(made: MadeClips, loss: str) -> None:
    clip = kept(made.generated(request(), beep()))
    before = made.audio(clip)
    [pcm] = (made.directory / "cache").glob("*/*.pcm")
    if loss == "pcm gone":
        pcm.unlink()
    elif loss == "pcm changed":
        pcm.write_bytes(bytes(pcm.stat().st_size))
    else:
        pcm.with_suffix(".json").unlink()
    assert np.array_equal(MadeClips(made.build, made.config).audio(clip), before)


@pytest.mark.parametrize("again", [beep(), beep(500)], ids=["the same", "another"])
def test_lost_audio_is_reported_and_restored_by_making_the_clip_again(made: MadeClips, again: GeneratedSound) -> None:
    clip = kept(made.generated(request(), beep()))
    for path in [*(made.directory / "cache").glob("*/*.pcm"), *(made.directory / "audio").glob("*/*.wav")]:
        path.unlink()
    later = MadeClips(made.build, made.config)
    with pytest.raises(OSError, match=rf"clip {clip.id}.*run `soundflow build` again"):
        later.audio(clip)
    assert later.find(request()) is None
    mended = kept(later.generated(request(), again))
    assert mended == later.find(request()) and mended.id == clip.id
    assert (mended == clip) == (again.details == {"hz": 800.0})


def test_changed_raw_audio_is_detected(made: MadeClips) -> None:
    clip = kept(made.generated(request(), beep()))
    [wav], [pcm] = (made.directory / "audio").glob("*/*.wav"), (made.directory / "cache").glob("*/*.pcm")
    wav.write_bytes(wav.read_bytes()[:-2] + b"xx")
    assert np.array_equal(MadeClips(made.build, made.config).audio(clip), made.audio(clip))
    pcm.unlink()
    with pytest.raises(OSError, match="has changed"):
        MadeClips(made.build, made.config).audio(clip)


def test_a_damaged_row_is_reported_and_repaired_by_making_the_clip_again(made: MadeClips) -> None:
    clip = kept(made.generated(request(), beep()))
    [path] = (made.directory / "rows").glob("*/*/*.json")
    path.write_bytes(path.read_bytes()[:50])
    assert made.find(request()) is None
    with pytest.raises(OSError, match="its row is damaged"):
        made.row(clip.id)
    assert kept(made.generated(request(), beep())) == clip
    assert made.find(request()) == clip


def test_a_build_directory_may_be_moved(made: MadeClips, tmp_path: Path) -> None:
    clip = kept(made.generated(request(), beep()))
    before = made.audio(clip)
    made.build.root.rename(tmp_path / "moved")
    moved = MadeClips(BuildDir(tmp_path / "moved"), made.config)
    found = moved.find(request())
    assert found is not None and found.path.startswith(str(tmp_path / "moved"))
    [pcm] = (moved.directory / "cache").glob("*/*.pcm")
    pcm.unlink()
    assert np.array_equal(moved.audio(found), before)


MAKER_OF_MANY = """
import sys
from pathlib import Path
import numpy as np
from soundflow.operators.protocols.generation import GeneratedSound
from soundflow.operators.clean.clip_cache import CleanConfig
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.curate.made_clips import MadeClips
from soundflow.schemas.generation import MadeRequest, Maker
made, me = MadeClips(BuildDir(Path(sys.argv[1])), CleanConfig()), int(sys.argv[2])
print("go", flush=True)
for number in range(int(sys.argv[3])):
    fields = dict(kind="generated", maker=Maker(backend="x", model="1"), text=str(number), role="foreground")
    samples = 0.2 * np.sin((0.1 + 0.01 * me) * np.arange(8_000))  # no two makers give the same for one request
    clip = made.generated(MadeRequest(**fields), GeneratedSound(samples.astype(np.float32), "x")).value
    assert made.audio(clip).size == clip.samples
    print(clip.id, clip.clean_sha256, flush=True)
"""


def make_many(build: Path, me: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKER_OF_MANY, str(build), str(me), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_concurrent_makers_agree_on_every_clip(tmp_path: Path) -> None:
    makers = [make_many(tmp_path, me, 25) for me in range(3)]
    outputs = [maker.communicate(timeout=120)[0] for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0, 0]
    assert len(set(outputs)) == 1 and len(outputs[0].splitlines()) == 26


def test_a_maker_killed_anywhere_leaves_whole_clips_or_none(tmp_path: Path) -> None:
    for number in range(3):
        maker = make_many(tmp_path, number, 10_000)
        assert maker.stdout is not None
        for _ in range(3 + 11 * number):
            maker.stdout.readline()
        maker.kill()
        maker.communicate()
    made = MadeClips(BuildDir(tmp_path), CleanConfig())
    rows = list(made.rows())
    assert len(rows) >= 20
    for row in rows:
        assert made.find(row.request) == row.clip


def test_a_kill_between_any_two_file_operations_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    """What a kill leaves is the directory as it is at that moment: every such state is kept, and worked on from."""
    made = MadeClips(BuildDir(tmp_path / "build"), CleanConfig())
    states: list[Path] = []
    watching = [True]

    def keep(event: str, arguments: tuple[object, ...]) -> None:
        changes = event in ("open", "os.rename", "os.link", "os.remove", "os.mkdir")
        if watching[0] and changes and made.build.root.exists() and str(arguments[0]).startswith(str(made.build.root)):
            watching[0] = False
            states.append(Path(shutil.copytree(made.build.root, tmp_path / f"state-{len(states):02d}")))
            watching[0] = True

    sys.addaudithook(keep)
    first = kept(made.generated(request(), beep()))
    second = kept(made.reprocess(first, made.audio(first), ClipRole.FOREGROUND))
    watching[0] = False
    assert len(states) > 15
    counts = set()
    for state in states:
        then = MadeClips(BuildDir(state), CleanConfig())
        counts.add(len(list(then.rows())))
        assert all(then.find(row.request) == row.clip for row in then.rows())
        again = kept(then.generated(request(), beep()))
        assert again.clean_sha256 == first.clean_sha256
        assert kept(then.reprocess(again, then.audio(again), ClipRole.FOREGROUND)).clean_sha256 == second.clean_sha256
    assert counts == {0, 1, 2}


def test_a_full_disk_is_an_error_that_commits_nothing(made: MadeClips, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*unused: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as broken:
        broken.setattr(os, "link", full)
        with pytest.raises(OSError, match="no space"):
            made.generated(request(), beep())
    assert made.find(request()) is None and list(made.build.unfinished.iterdir()) == []
    assert kept(made.generated(request(), beep())) == made.find(request())
