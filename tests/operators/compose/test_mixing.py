"""Composition (paper, Algorithm 3): the invariants as properties, and what a hostile pool does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings

from soundflow.operators.clean.activity import active_power
from soundflow.operators.compose.mixing import compose, measure, render, stream_pcm16
from soundflow.schemas import constants as c
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.outcome import Failed, Ok, Rejected
from soundflow.schemas.recipe import MixingConfig
from soundflow.schemas.stream import PlannedClip, PlannedNoise, StreamPlan
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.scenes import IDENTITY, LAYOUT, QUIET, Case, burst, cases, composed, event, scene
from tests.support import ROOT

FG, BG, AMB = ClipRole.FOREGROUND, ClipRole.BACKGROUND, ClipRole.AMBIENT


def again(plan: StreamPlan) -> StreamPlan:
    """The plan as read back from its JSON."""
    return StreamPlan.from_json(plan.canonical_json())


def db(power: float) -> float:
    return 10 * float(np.log10(power))


@given(cases())
@settings(max_examples=120)
def test_every_invariant_of_composition_holds(case: Case) -> None:
    result = case.compose()
    if isinstance(result, Rejected):
        assert result.reason == "peaks_bury_stream" and result.metrics["active_dbfs"] < -65
        return
    assert isinstance(result, Ok)
    plan, audio = result.value

    # |y| <= 0.99 and length = T·c
    assert audio.dtype == np.float32 and np.isfinite(audio).all()
    assert float(np.abs(audio).max()) <= case.mixing.peak_limit
    assert audio.shape == (plan.samples,) == (plan.chunks * c.CHUNK_SAMPLES,)

    # offsets and roles are in the plan: the foreground in order without overlap, the others inside it
    end = 0
    for expected, placed in zip(case.scene.events, plan.clips, strict=True):
        clip = case.pool.get(expected.clip_id)
        assert (placed.clip_id, placed.role, placed.content_sha256) == (clip.id, expected.role, clip.content_sha256)
        if expected.role is ClipRole.FOREGROUND:
            assert (placed.offset, placed.start, placed.length) == (end + expected.gap, 0, clip.samples)
            end = placed.offset + placed.length
    for expected, placed in zip(case.scene.events, plan.clips, strict=True):
        if expected.role is not ClipRole.FOREGROUND:
            samples = case.pool.get(expected.clip_id).samples
            assert placed.length == min(samples, end) and placed.start + placed.length <= samples
            assert 0 <= placed.offset <= end - placed.length
    assert end <= plan.samples

    # the evidence is heard, and every response opens in its chunk or the next free one
    pieces = [piece for response in plan.responses for piece in response.pieces]
    assert [piece.evidence for piece in pieces] == sorted(piece.evidence for piece in pieces)
    for number, (expected, placed) in enumerate(zip(case.scene.events, plan.clips, strict=True)):
        placed_pieces = [piece for piece in pieces if piece.event == number]
        texts = [(response.text, response.joins) for response in expected.responses]
        assert [(piece.text, piece.joins) for piece in placed_pieces] == texts
        for piece, response in zip(placed_pieces, expected.responses, strict=True):
            assert placed.offset < piece.evidence <= placed.offset + placed.length
            assert piece.evidence - placed.offset == max(response.evidence - placed.start, 1)
    free = 1
    for response in plan.responses:
        dues = [int(np.ceil(piece.evidence / c.CHUNK_SAMPLES)) for piece in response.pieces]
        assert response.due_chunk == dues[-1] and response.chunk == max(free, dues[0]) >= dues[-1]
        assert len(dues) == 1 or all(piece.joins for piece in response.pieces)
        assert response.text == " ".join(piece.text for piece in response.pieces)
        free = response.chunk + 1
    for earlier, later in pairwise(plan.responses):  # what could have been response together was
        joinable = earlier.pieces[-1].joins and later.pieces[0].joins
        assert not joinable or np.ceil(later.pieces[0].evidence / c.CHUNK_SAMPLES) > earlier.chunk
    assert plan.chunks == max(int(np.ceil(end / c.CHUNK_SAMPLES)), free - 1)

    # noise: asked for, at its SNR, never an event of this stream nor the same recording twice
    assert [noise.track for noise in plan.noises] == ["event"] * case.mixing.event_noise + ["ambient"] * case.mixing.ambient_noise
    recorded = [noise.content_sha256 for noise in plan.noises if noise.content_sha256]
    assert len({*recorded, *(clip.content_sha256 for clip in plan.clips)}) == len(recorded) + len(
        {clip.content_sha256 for clip in plan.clips}
    )
    found = measure(again(plan), case.pool.planned)
    for noise, snr in zip(plan.noises, found.snr_db, strict=True):
        shift = 5.0 if noise.track == "ambient" else 0.0
        assert abs(snr - noise.snr_db) < 0.1 and 5.0 + shift <= noise.snr_db <= 20.0 + shift
    assert found.deviations == () and found.peak == float(np.abs(audio).max())
    assert found.audio.tobytes() == audio.tobytes()

    # a re-render is bit-equal, from the JSON too
    assert render(again(plan), case.pool.planned).tobytes() == audio.tobytes()
    assert again(plan).canonical_json() == plan.canonical_json()


@given(cases())
@settings(max_examples=25)
def test_the_order_in_which_a_pool_was_filled_does_not_matter(case: Case) -> None:
    other = MemoryPool()
    for brief in reversed(case.pool.briefs()):
        clip = case.pool.get(brief.id)
        other.add(clip.id, case.pool.audio(clip), clip.role)
    first = case.compose()
    second = Case(case.scene, other, case.mixing, case.seed).compose()
    if isinstance(first, Rejected):
        assert first == second
        return
    assert isinstance(first, Ok) and isinstance(second, Ok)
    assert first.value[0].canonical_json() == second.value[0].canonical_json()
    assert first.value[1].tobytes() == second.value[1].tobytes()


PROBE = """
import hashlib, numpy as np
from soundflow.schemas.recipe import MixingConfig
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.scenes import burst, composed, event
pool = MemoryPool()
for n in range(3):
    pool.add(f"e{n}", burst(20_000, n))
plan, audio = composed(pool, [event("e0", "foreground", ("a", 9_000)), event("e1", "ambient"), event("e2")], MixingConfig(), 7)
print(hashlib.sha256(plan.canonical_json() + audio.tobytes()).hexdigest())
"""


def test_bytes_depend_neither_on_hash_seed_nor_on_threads() -> None:
    root = ROOT
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROBE],
            cwd=root,
            env=os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads, "LC_ALL": "C", "TZ": zone},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, threads, zone in (("1", "1", "UTC"), ("2", "2", "Asia/Tokyo"))
    ]
    digests = [run.communicate(timeout=60)[0] for run in runs]
    assert digests[0] == digests[1] and len(digests[0]) == 65


@pytest.mark.parametrize("seed", range(5))
def test_a_background_clip_is_found_at_its_offset(real_audio: dict[str, np.ndarray], seed: int) -> None:
    pool = MemoryPool()
    pool.add("talk", real_audio["long"])
    pool.add("call", real_audio["short"], BG)
    plan, audio = composed(pool, [event("talk"), event("call", BG)], seed=seed)
    match = scipy.signal.correlate(audio, real_audio["short"], mode="valid", method="fft")
    assert int(np.argmax(match)) == plan.clips[1].offset


def test_every_clip_is_brought_to_the_reference_level_before_its_role_gain() -> None:
    pool = MemoryPool()
    for number, dbfs in enumerate((-6.0, -40.0, -30.0)):
        pool.add(str(number), burst(16_000, number, dbfs))
    plan, _ = composed(pool, [event("0"), event("1", BG), event("2", AMB)])
    for clip, level in zip(plan.clips, (-26.0, -32.0, -38.0), strict=True):
        alone = render(plan.model_copy(update={"clips": (clip,), "scale": 1.0}), pool.planned)
        assert db(active_power(alone[clip.offset : clip.offset + clip.length])) == pytest.approx(level, abs=0.01)


def test_a_whole_clip_is_not_faded_and_a_crop_only_at_its_cuts() -> None:
    pool = MemoryPool()
    pool.add("short", burst(8_000, 1))
    pool.add("long", burst(50_000, 2), BG)
    seen = set()
    for seed in range(12):
        plan, _ = composed(pool, [event("short"), event("long", BG)], seed=seed)
        crop = plan.clips[1]
        alone = [render(plan.model_copy(update={"clips": (clip,), "scale": 1.0}), pool.planned)[:8_000] for clip in plan.clips]
        source = [pool.planned(clip) * np.float32(clip.amplitude) for clip in plan.clips]
        np.testing.assert_array_equal(alone[0], source[0])
        kept = source[1][crop.start : crop.start + 8_000]
        np.testing.assert_array_equal(alone[1][320:-320], kept[320:-320])
        rise = np.sin(np.arange(320) * np.pi / 640) ** 2
        np.testing.assert_allclose(alone[1][:320], kept[:320] * rise, atol=1e-7)
        np.testing.assert_allclose(alone[1][-320:], kept[-320:] * rise[::-1], atol=1e-7)
        seen.add(crop.start)
    assert len(seen) == 12, "crops begin anywhere"
    pool.add("just longer", burst(8_001, 3), BG)
    made = [composed(pool, [event("short"), event("just longer", BG)], seed=seed)[0] for seed in range(12)]
    assert {plan.clips[1].start for plan in made} == {0, 1}


def test_background_offsets_reach_every_place_and_snrs_are_uniform_and_independent() -> None:
    pool = MemoryPool()
    pool.add("talk", burst(1_003, 1))
    pool.add("beep", burst(1_000, 2), BG)
    for name, role in (("knocks", ClipRole.NOISE_EVENT), ("wind", ClipRole.NOISE_AMBIENT)):
        pool.add(name, burst(9_000, len(name)), role)
    offsets: defaultdict[int, int] = defaultdict(int)
    snrs = []
    for seed in range(400):
        plan, _ = composed(pool, [event("talk"), event("beep", BG)], MixingConfig(), seed)
        offsets[plan.clips[1].offset] += 1
        snrs.append([noise.snr_db for noise in plan.noises])
    assert sorted(offsets) == [0, 1, 2, 3] and min(offsets.values()) > 70
    first, second = np.array(snrs).T
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1
    for values, low in ((first, 5.0), (second, 10.0)):
        counts, _ = np.histogram(values, bins=5, range=(low, low + 15.0))
        assert counts.sum() == 400 and counts.min() > 55
    assert pool.get("knocks").content_sha256 == plan.noises[0].content_sha256


def test_silent_noise_is_skipped_and_recorded_in_the_plan() -> None:
    pool = MemoryPool()
    pool.add("talk", burst(10_000, 1))
    for number in range(5):
        pool.add(f"silence {number}", np.zeros(100 + number), ClipRole.NOISE_EVENT)
    pool.add("rain", burst(5_000, 2), ClipRole.NOISE_EVENT)
    passed = set()
    for seed in range(10):
        plan, _ = composed(pool, [event("talk")], MixingConfig(ambient_noise=False), seed)
        assert plan.noises[0].clip_id == "rain"
        assert all(draw.what == "event noise passed over, silent" for draw in plan.draws)
        assert len({draw.value for draw in plan.draws}) == len(plan.draws), "each is tried once"
        passed |= {draw.value for draw in plan.draws}
    assert passed == {f"silence {number}" for number in range(5)}


def test_eight_silent_noise_clips_are_enough() -> None:
    pool = MemoryPool()
    pool.add("talk", burst(10_000, 1))
    for number in range(40):
        pool.add(f"silence {number}", np.zeros(100 + number), ClipRole.NOISE_EVENT)
    plan, _ = composed(pool, [event("talk")], MixingConfig(ambient_noise=False))
    assert plan.noises[0].procedural is not None and len(plan.draws) == 8


def test_one_recording_is_never_both_noise_tracks() -> None:
    pool = MemoryPool()
    pool.add("talk", burst(10_000, 1))
    rain = burst(9_000, 2)
    pool.add("rain", rain, ClipRole.NOISE_EVENT)
    pool.add("rain again", rain, ClipRole.NOISE_AMBIENT)
    plan, _ = composed(pool, [event("talk")], MixingConfig())
    assert plan.noises[0].clip_id == "rain" and plan.noises[1].clip_id is None


def test_noise_falls_back_from_recordings_to_unused_ambience_to_procedural() -> None:
    pool = MemoryPool()
    pool.add("talk", burst(10_000, 1))
    pool.add("street", burst(9_000, 2), AMB)
    with_street, _ = composed(pool, [event("talk")], MixingConfig())
    assert [noise.clip_id for noise in with_street.noises] == [None, "street"]
    used, audio = composed(pool, [event("talk"), event("street", AMB)], MixingConfig())
    assert [noise.clip_id for noise in used.noises] == [None, None]
    assert [str(noise.procedural).rsplit(":", 1)[0] for noise in used.noises] == ["procedural:brown", "procedural:pink"]
    assert all(noise.source == "procedural" and noise.licence == "CC0-1.0" for noise in used.noises)
    assert "ambient noise passed over, already in this stream" in {draw.what for draw in used.draws}
    assert render(again(used), pool.planned).tobytes() == audio.tobytes()


def test_loud_overlaps_scale_the_whole_stream_and_are_never_clipped() -> None:
    pool = MemoryPool()
    pool.add("talk", burst(20_000, 1))
    for number in range(6):
        pool.add(f"loud {number}", burst(20_000, 10 + number), BG)
    loud = MixingConfig(reference_level_dbfs=-6.0, background_gain_db=6.0, event_noise=False, ambient_noise=False)
    plan, audio = composed(pool, [event("talk"), *(event(f"loud {n}", BG) for n in range(6))], loud)
    assert plan.scale < 0.5 and 0.98 < float(np.abs(audio).max()) <= 0.99
    unscaled = render(plan.model_copy(update={"scale": 1.0}), pool.planned)
    np.testing.assert_array_equal(audio, unscaled * np.float32(plan.scale))


def test_a_click_whose_scaling_would_make_the_stream_silent_is_rejected() -> None:
    pool = MemoryPool()
    pool.add("talk", burst(1_280_000, 1))
    click = np.zeros(1_280_320, dtype=np.float32)
    click[700_000] = 0.9
    pool.add("click", click, ClipRole.NOISE_EVENT)
    mixing = MixingConfig(snr_db=(-15.0, -15.0), ambient_noise=False)
    result = compose(scene(event("talk")), IDENTITY, pool, mixing, LAYOUT, np.random.default_rng(0))
    assert isinstance(result, Rejected) and result.reason == "peaks_bury_stream" and result.metrics["scale"] < 0.011


def test_impossible_scenes_are_rejected_and_damage_is_a_failure() -> None:
    class Broken(MemoryPool):
        def audio(self, clip: object) -> np.ndarray:
            raise OSError("cached clip is torn")

    pool, broken = MemoryPool(), Broken()
    for each in (pool, broken):
        each.add("talk", burst(10_000, 1))
        each.add("silence", np.zeros(10_000))
        each.add("lies", np.zeros(9_000), active_level_db=-20.0)
        each.add("hiss", burst(10_000, 2), ClipRole.NOISE_EVENT)

    def outcome(*events: object, where: MemoryPool = pool) -> object:
        return compose(scene(*events), IDENTITY, where, MixingConfig(), LAYOUT, np.random.default_rng(0))  # type: ignore[arg-type]

    for events, reason in (
        ([event("talk", BG)], "no_foreground"),
        ([event("silence")], "silent_clip"),
        ([event("talk"), event("silence", BG, ("?", 1))], "silent_clip"),
        ([event("lies")], "silent_main"),
    ):
        result = outcome(*events)
        assert isinstance(result, Rejected) and result.reason == reason
    torn, holed = MemoryPool(), MemoryPool()
    torn.add("talk", burst(10_000, 1), samples=10_001)
    holed.add("talk", np.where(np.arange(10_000) == 5_000, np.nan, burst(10_000, 1)), active_level_db=-20.0, peak=0.5)
    for result, words in (
        (outcome(event("talk"), where=torn), "10001 samples according to its row"),
        (outcome(event("talk"), where=holed), "NaN or infinity"),
        (outcome(event("nobody")), "nobody"),
        (outcome(event("talk"), where=broken), "cached clip is torn"),
        (outcome(event("hiss", ClipRole.NOISE_EVENT)), "is not a role of events"),
        (outcome(event("talk", FG, ("late", 10_001))), "evidence at sample 10001"),
    ):
        assert isinstance(result, Failed) and words in result.error and result.stage == "mixing"


def test_a_clip_shorter_than_its_place_is_named() -> None:
    pool = MemoryPool()
    pool.add("talk", burst(10_000, 1))
    plan, _ = composed(pool, [event("talk")])
    with pytest.raises(ValueError, match="clip talk has 9000 samples, but its place requires 10000"):
        render(plan, lambda item: pool.planned(item)[:9_000])


@pytest.mark.parametrize("change", ["noise amplitude", "stated SNR", "clip amplitude", "other audio", "peak"])
def test_measuring_finds_deviations_from_the_plan(change: str) -> None:
    pool = MemoryPool()
    pool.add("talk", burst(30_000, 1))
    pool.add("rain", burst(9_000, 2), ClipRole.NOISE_EVENT)
    plan, _ = composed(pool, [event("talk")], MixingConfig(ambient_noise=False))
    clip, noise = plan.clips[0], plan.noises[0]
    audio = pool.planned
    if change == "noise amplitude":
        plan = plan.model_copy(update={"noises": (noise.model_copy(update={"amplitude": noise.amplitude * 1.03}),)})
    elif change == "stated SNR":
        plan = plan.model_copy(update={"noises": (noise.model_copy(update={"snr_db": noise.snr_db + 0.2}),)})
    elif change == "clip amplitude":
        plan = plan.model_copy(update={"clips": (clip.model_copy(update={"amplitude": clip.amplitude * 0.97}),)})
    elif change == "peak":
        loud = clip.model_copy(update={"amplitude": clip.amplitude * 20})
        plan = plan.model_copy(update={"main_power": plan.main_power * 400, "clips": (loud,), "noises": ()})
    else:

        def audio(item: PlannedClip | PlannedNoise) -> np.ndarray:
            return pool.planned(item) * np.float32(1.05 if isinstance(item, PlannedNoise) else 1.0)

    assert measure(plan, audio).deviations


def test_pcm16_rounds_half_to_even_and_reaches_full_scale() -> None:
    steps = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.0], dtype=np.float64) / 32_767
    assert stream_pcm16(np.array([*steps, 1.0, -1.0], dtype=np.float32)).tolist() == [0, 2, 2, 0, -2, 0, 32_767, -32_767]
    assert int(np.abs(stream_pcm16(np.full(9, 0.99, dtype=np.float32))).max()) == 32_439
    assert QUIET.peak_limit == c.PEAK_LIMIT
