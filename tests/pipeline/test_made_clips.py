"""Clips made during a build: found again by what was asked, whoever was first, whatever is lost."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from operators.backends.generation import Generated
from operators.clip_cache import CleanConfig
from pipeline.build_dir import BuildDir
from pipeline.clip_index import ClipIndex
from pipeline.made_clips import MADE_ANEW, MadeClips, PoolWithMade, is_made
from schemas.clip import Clip, ClipRole
from schemas.generation import MadeRequest, Maker
from schemas.outcome import Ok, Rejected

MAKER = Maker(backend="formula", model="1", licence="CC0-1.0")


def request(**changes: object) -> MadeRequest:
    told = {"kind": "generated", "maker": MAKER, "text": "a beep", "label": "beep", "role": "foreground", "seed": 3}
    return MadeRequest.model_validate(told | changes)


def beep(hz: float = 800.0, seconds: float = 1.0) -> Generated:
    time = np.arange(round(seconds * 16_000)) / 16_000
    return Generated((0.2 * np.sin(2 * np.pi * hz * time)).astype(np.float32), "a steady beep", {"hz": hz})


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


def test_an_id_follows_from_all_that_was_asked_and_nothing_else(made: MadeClips, tmp_path: Path) -> None:
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


def test_what_is_no_clip_is_rejected_and_not_kept(made: MadeClips) -> None:
    outcome = made.generated(request(), Generated(np.zeros(16_000, dtype=np.float32), "nothing"))
    assert isinstance(outcome, Rejected) and outcome.reason == "silent"
    assert made.find(request()) is None and list(made.rows()) == []


def test_a_pool_finds_made_clips_but_never_lists_them(made: MadeClips, clips_dir: Path) -> None:
    index = ClipIndex.open(clips_dir)
    pool = PoolWithMade(index, made)
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


def test_a_clip_cleaned_once_more_keeps_its_words_and_licence_and_names_its_parent(made: MadeClips, clips_dir: Path) -> None:
    index = ClipIndex.open(clips_dir)
    parent = next(clip for clip in index.clips() if clip.transcript)
    again = kept(made.reprocess(parent, index.audio(parent), ClipRole.FOREGROUND))
    assert again.id.startswith("made/reprocessed/")
    for name in set(Clip.model_fields) - MADE_ANEW:
        assert getattr(again, name) == getattr(parent, name), name
    assert made.row(again.id).details == {"parent": parent.id}
    assert made.row(again.id).request.parent == parent.clean_sha256
    assert kept(made.reprocess(parent, index.audio(parent), ClipRole.FOREGROUND)) == again


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


def test_audio_that_is_lost_for_good_is_an_error_with_clip_and_remedy(made: MadeClips) -> None:
    clip = kept(made.generated(request(), beep()))
    for path in [*(made.directory / "cache").glob("*/*.pcm"), *(made.directory / "audio").glob("*/*.wav")]:
        path.unlink()
    with pytest.raises(OSError, match=rf"clip {clip.id}.*run `soundflow build` again"):
        MadeClips(made.build, made.config).audio(clip)


def test_a_damaged_row_is_told_and_mended_by_making_the_clip_again(made: MadeClips) -> None:
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
