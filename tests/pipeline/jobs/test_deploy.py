"""`ray_cluster.yaml` and `deploy/` are valid for Ray, Kubernetes and our metrics."""

from __future__ import annotations

import json
import re
import warnings
from typing import Any

import pytest
import yaml

from tests.support import ROOT

MANIFESTS = ("kuberay_cluster.yaml", "kuberay_job.yaml")


def cluster_spec(name: str) -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "deploy" / name).read_text())
    return document["spec"] if document["kind"] == "RayCluster" else document["spec"]["rayClusterSpec"]


def pods(name: str) -> list[dict[str, Any]]:
    spec = cluster_spec(name)
    return [spec["headGroupSpec"]["template"], *(group["template"] for group in spec["workerGroupSpecs"])]


def test_ray_accepts_the_cluster_file() -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    config = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    util.validate_config(util.prepare_config(config))
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert all(types[pool]["min_workers"] <= types[pool]["max_workers"] for pool in ("cpu", "gpu"))
    assert config["max_workers"] >= types["cpu"]["max_workers"] + types["gpu"]["max_workers"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_accepts_the_pods(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for template in pods(name):
        about = {"name": "x", **template.get("metadata", {})}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": template["spec"]}
        kubernetes_validate.validate(pod, "1.30", strict=True)


@pytest.mark.parametrize("name", MANIFESTS)
def test_versions_replicas_and_start_parameters_are_sound(name: str) -> None:
    spec = cluster_spec(name)
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert pinned and spec["rayVersion"] == pinned[1]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_the_image_copies_the_package_and_every_room_it_links_to() -> None:
    docker = (ROOT / "deploy" / "Dockerfile").read_text()
    for name in ("soundflow", *(path.name for path in (ROOT / "soundflow").iterdir() if path.is_symlink())):
        assert f"COPY {name} {name}\n" in docker, name


def test_the_dashboard_shows_exactly_the_metrics_of_a_build() -> None:
    metrics = pytest.importorskip("soundflow.pipeline.build.ray_metrics")
    drawn = set(re.findall(r"ray_(soundflow_[a-z_]+?)(?:_total|_bucket)\b", (ROOT / "deploy" / "grafana.json").read_text()))
    assert drawn == {*metrics.COUNTERS, metrics.HISTOGRAM}
    board = json.loads((ROOT / "deploy" / "grafana.json").read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
