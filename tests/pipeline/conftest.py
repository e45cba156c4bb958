"""The one Ray of the whole suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Two cores, in this process' name."""
    ray = pytest.importorskip("ray")
    options = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False, "configure_logging": False}
    root = str(Path(__file__).parent.parent.parent)
    ray.init("local", num_cpus=2, runtime_env={"env_vars": {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}}, **options)
    yield
    ray.shutdown()
