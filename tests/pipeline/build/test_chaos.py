"""Three rounds of chaos on two nodes, each kind of fault once (`tests.chaos`; twenty rounds: make chaos)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import KINDS, Round, can_mount, kinds_of
from tests.support.ray_cluster import Cluster, cluster

pytestmark = pytest.mark.slow

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.mark.parametrize("seed", range(3))
def test_faults_during_a_build_do_not_change_the_corpus(two_nodes: Cluster, clips_dir: Path, tmp_path: Path, seed: int) -> None:
    available = KINDS if can_mount(tmp_path / "mount") else tuple(kind for kind in KINDS if kind != "disk")
    Round(two_nodes, clips_dir, tmp_path, seed, kinds_of(seed, available)).run()
