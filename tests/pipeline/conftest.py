"""The one Ray of the whole suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Two cores, in this process' name."""
    ray = pytest.importorskip("ray")
    options = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False, "configure_logging": False}
    root = str(ROOT)
    ray.init("local", num_cpus=2, runtime_env={"env_vars": {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}}, **options)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def curated(clips_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build (4 shards, 16 streams) whose scenes a language model planned. Shared: tests that damage one copy it."""
    from soundflow.pipeline.build.run import build
    from tests.pipeline.curated import write_curated
    from tests.support.hostile_llm import HostileLlm

    root = tmp_path_factory.mktemp("curated")
    with pytest.MonkeyPatch.context() as patch, HostileLlm() as server:
        patch.setenv("SOUNDFLOW_ANSWERS", str(root / "answers"))
        build(write_curated(root / "recipe.yaml", clips_dir, server, streams=16), root / "out", executor="inline")
    return root / "out"


@pytest.fixture(scope="session")
def hostile_clips(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of `sources` with captions that give orders (tests.pipeline.curated). Shared: tests only read it."""
    from soundflow.pipeline.clips.index import index_clips
    from tests.pipeline.curated import write_hostile_manifest

    root = tmp_path_factory.mktemp("hostile")
    index_clips([write_hostile_manifest(root / "clips.jsonl", sources)], root / "clips", roots=[sources], workers=1)
    return root / "clips"
