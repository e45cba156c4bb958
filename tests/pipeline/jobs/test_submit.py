"""Submit, cancel and resume builds on a real Ray cluster of this machine with token authentication."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.jobs.submit import Jobs
from soundflow.schemas.base import InputError
from tests.support import ROOT
from tests.support.bare_python import bare_python
from tests.support.commandline import soundflow
from tests.support.corpus import corpus, write_recipe

pytest.importorskip("ray")
TOKEN = "a-token-of-this-test-that-is-long-enough-to-be-one"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """The address of a head node with a dashboard, where SoundFlow is not installed."""
    port, dashboard = free_port(), free_port()
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory(prefix="sf") as folder, pytest.MonkeyPatch.context() as patch:
        python = bare_python(Path(folder) / "bare")
        environment["PATH"] = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", TOKEN)
        command = [
            python, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2", f"--port={port}",
            "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--temp-dir={folder}/ray",
            f"--ray-client-server-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}", "--disable-usage-stats",
            "--node-ip-address=127.0.0.1",
        ]  # fmt: skip
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        address = f"http://127.0.0.1:{dashboard}"
        try:
            deadline = time.monotonic() + 120
            while True:
                assert process.poll() is None, process.stdout.read() if process.stdout else ""
                try:
                    Jobs(address).list()
                    break
                except InputError:
                    assert time.monotonic() < deadline
                    time.sleep(0.5)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)


def wait_until_ended(jobs: Jobs, job: str) -> str:
    deadline = time.monotonic() + 180
    while (state := jobs.status(job)).status in ("PENDING", "RUNNING"):
        assert time.monotonic() < deadline, jobs.logs(job)
        time.sleep(0.3)
    return state.status


def test_a_cancelled_job_resumes_to_the_identical_corpus(head: str, clips_dir: Path, tmp_path: Path) -> None:
    from soundflow.pipeline.build.run import build

    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=400, shards=20)
    build(recipe, tmp_path / "undisturbed", executor="inline")
    jobs, out = Jobs(head), tmp_path / "out"
    job = jobs.submit(recipe, str(out), options=("--workers", "2"), job="first")
    assert job == "first"
    deadline = time.monotonic() + 120
    while not list((out / "manifest").glob("0*.json")):
        assert time.monotonic() < deadline and jobs.status(job).status in ("PENDING", "RUNNING"), jobs.logs(job)
        time.sleep(0.05)
    with pytest.raises(InputError, match="has not ended"):
        jobs.resume(job)
    assert jobs.cancel(job)
    assert wait_until_ended(jobs, job) == "STOPPED"
    assert 0 < len(BuildDir(out).manifests()) < 20
    recipe.unlink()  # the job carries its own copy
    completed = soundflow("jobs", "resume", job, "--address", head, "--json")
    assert completed.returncode == 0, completed.stderr
    resumed = json.loads(completed.stdout)["job"]
    assert wait_until_ended(jobs, resumed) == "SUCCEEDED" and "20/20 shards" in jobs.logs(resumed), jobs.logs(resumed)
    assert corpus(out) == corpus(tmp_path / "undisturbed")
    assert jobs.cancel(resumed) is False, "the job had already ended"


def test_errors_of_the_cluster_are_one_sentence(head: str, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs(head)
    with pytest.raises(InputError, match="nonsense"):
        jobs.status("nonsense")
    bad = tmp_path / "bad.yaml"
    bad.write_text("clips: x\n")
    with pytest.raises(InputError, match="required field"):
        jobs.submit(bad, str(tmp_path))
    with pytest.raises(InputError, match="Check the address"):
        Jobs(f"http://127.0.0.1:{free_port()}").list()
    command = [sys.executable, "-m", "soundflow", "jobs", "status", "--address", head, "--json"]
    root = {"PYTHONPATH": str(ROOT)}
    refused = subprocess.run(
        command, env=os.environ | root | {"RAY_AUTH_TOKEN": "wrong" * 10}, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 2 and "RAY_AUTH_TOKEN" in refused.stderr and "Traceback" not in refused.stderr
    listed = subprocess.run(command, env=os.environ | root, capture_output=True, text=True, timeout=60)
    assert listed.returncode == 0 and isinstance(json.loads(listed.stdout), list)
