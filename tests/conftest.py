"""Fixtures of the whole suite: real speech, and hypothesis without luck."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell script starts its background jobs so, and children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "soundflow",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("soundflow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that ask a real language model, unless -m names them."""
    if "llm_server" not in config.option.markexpr:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("llm_server")])
        items[:] = [item for item in items if not item.get_closest_marker("llm_server")]


SENTENCES = {
    "question": "What is the weather going to be like tomorrow morning?",
    "request": "Please turn the heating down before you leave the house.",
    "long": "The storm came in from the sea, and by the evening every street in the town was under water.",
    "short": "Stop the music.",
}


@pytest.fixture(scope="session")
def real_audio() -> dict[str, np.ndarray]:
    """Spoken sentences (float32, 16 kHz) of the embedded voice; the texts are in SENTENCES."""
    import soxr
    from hibari import SAMPLE_RATE, Hibari

    voice = Hibari()
    spoken = {name: np.asarray(voice(text, seed=1), dtype=np.float32) for name, text in SENTENCES.items()}
    return {name: soxr.resample(audio, SAMPLE_RATE, 16_000) for name, audio in spoken.items()}


@pytest.fixture(scope="session")
def sources(real_audio: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings: speech with transcripts, labelled sounds, noise."""
    from tests.support.corpus import write_sources

    return write_sources(tmp_path_factory.mktemp("world") / "sources", real_audio, SENTENCES)


@pytest.fixture(scope="session")
def clips_dir(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip index of `sources`. Shared: tests only read it."""
    from soundflow.pipeline.clips.index import index_clips

    out = tmp_path_factory.mktemp("world") / "clips"
    index_clips([sources], out, workers=1)
    return out


@pytest.fixture(scope="session")
def built(clips_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build (4 shards, 12 streams). Shared: tests that damage one copy it first. Its recipe lies beside it."""
    from soundflow.pipeline.build.run import build
    from tests.support.corpus import write_recipe

    root = tmp_path_factory.mktemp("built")
    build(write_recipe(root / "recipe.yaml", clips_dir), root / "out", executor="inline")
    return root / "out"
