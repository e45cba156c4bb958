"""Scenes, pools and streams for the tests of composition."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from soundflow.operators.compose.mixing import StreamIdentity, compose
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.outcome import Ok, Outcome
from soundflow.schemas.recipe import MixingConfig
from soundflow.schemas.scene import Scene, SceneEvent, SceneResponse
from soundflow.schemas.stream import StreamPlan
from tests.operators.compose.pool import MemoryPool

LAYOUT = "soundflow/1"
QUIET = MixingConfig(event_noise=False, ambient_noise=False)
IDENTITY = StreamIdentity("sf-000000000000-000000-00000", "0" * 64, 0, 0)


def burst(samples: int, seed: int = 0, dbfs: float = -20.0) -> np.ndarray:
    """Smoothed noise with a slow envelope: a sound, unlike any other seed's."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal(samples + 7)
    coloured = np.convolve(white, np.hanning(8), mode="valid")
    coloured *= 1.0 + 0.8 * np.sin(np.arange(samples) * 2 * np.pi * rng.uniform(1, 4) / 16_000 + rng.uniform(0, 6))
    return (coloured / max(np.sqrt(np.mean(coloured**2)), 1e-9) * 10 ** (dbfs / 20)).astype(np.float32)


def event(
    clip_id: str, role: ClipRole = ClipRole.FOREGROUND, *said: tuple[str, int], joins: bool = False, gap: int = 0
) -> SceneEvent:
    """An event answered with (text, evidence)…"""
    responses = [SceneResponse(text=text, source="test", evidence=evidence, joins=joins) for text, evidence in said]
    return SceneEvent(clip_id=clip_id, role=role, responses=tuple(responses), gap=gap)


def scene(*events: SceneEvent) -> Scene:
    return Scene(task="event_description", planner="random", title="a test", instruction="Name what you hear.", events=events)


def composed(
    pool: MemoryPool, events: Sequence[SceneEvent], mixing: MixingConfig = QUIET, seed: int = 0
) -> tuple[StreamPlan, np.ndarray]:
    result = compose(scene(*events), IDENTITY, pool, mixing, LAYOUT, np.random.default_rng(seed))
    assert isinstance(result, Ok), result
    return result.value


@dataclasses.dataclass
class Case:
    """What hypothesis draws: a scene, the pool it lives in, and the seed of the composer."""

    scene: Scene
    pool: MemoryPool
    mixing: MixingConfig
    seed: int

    def compose(self) -> Outcome[tuple[StreamPlan, np.ndarray]]:
        return compose(self.scene, IDENTITY, self.pool, self.mixing, LAYOUT, np.random.default_rng(self.seed))


LENGTHS = st.one_of(st.integers(1, 700), st.integers(701, 30_000), st.sampled_from([200, 640, 6_400, 12_800]))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One to six events of any role, length and level; noise clips that are fine, silent, tiny or an event of the stream."""
    pool = MemoryPool()
    events = []
    for number in range(draw(st.integers(1, 6))):
        length = draw(LENGTHS)
        role = ClipRole.FOREGROUND if number == 0 else draw(st.sampled_from(["foreground", "background", "ambient"]))
        name = f"event {number}"
        pool.add(name, burst(length, draw(st.integers(0, 9)), draw(st.sampled_from([-55.0, -26.0, -9.0]))), role)
        times = sorted(draw(st.lists(st.integers(1, length), max_size=3)))
        said = [(f"answer {number}.{turn} \N{BELL}", at) for turn, at in enumerate(times)]
        events.append(event(name, role, *said, joins=draw(st.booleans()), gap=draw(st.integers(0, 4_000))))
    for number in range(draw(st.integers(0, 4))):
        role = draw(st.sampled_from([ClipRole.NOISE_EVENT, ClipRole.NOISE_AMBIENT, ClipRole.AMBIENT]))
        kind = draw(st.sampled_from(["noise", "silent", "event"]))
        length = draw(LENGTHS)
        samples = np.zeros(length) if kind == "silent" else burst(length, 100 + number)
        if kind == "event":
            samples = pool.audio(pool.get("event 0"))
        pool.add(f"noise {number}", samples, role)
    mixing = MixingConfig(event_noise=draw(st.booleans()), ambient_noise=draw(st.booleans()))
    order = draw(st.permutations(events))
    return Case(scene(*order), pool, mixing, draw(st.integers(0, 2**32)))
