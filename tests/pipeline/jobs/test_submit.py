"""Submit, cancel and resume builds on a real Ray cluster of this machine with token authentication."""

from __future__ import annotations

import base64
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.jobs import submit
from soundflow.pipeline.jobs.submit import Jobs, dashboard_url
from soundflow.schemas.base import InputError
from soundflow.schemas.recipe import Recipe
from tests.support import ROOT
from tests.support.bare_python import bare_python
from tests.support.commandline import soundflow
from tests.support.corpus import corpus, write_recipe

pytest.importorskip("ray")
TOKEN = "a-token-of-this-test-that-is-long-enough-to-be-one"


def test_a_recipe_is_sent_as_it_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sent: dict[str, str] = {}
    monkeypatch.setattr(Jobs, "_submit", lambda self, entry, environment, job: sent.update(environment) or "job")
    path, jobs = tmp_path / "r.yaml", Jobs.__new__(Jobs)
    lines = [
        "version: 1",
        'name: "1e3"',
        "clips: /clips",
        "seed: 7",
        "streams: 10",
        "shards: 1",
        "tasks: {event_description: 1.0}",
    ]
    path.write_text("\n".join(lines))
    assert jobs.submit(path, "/out") == "job"
    recipe = Recipe.from_text(base64.b64decode(sent[submit.RECIPE]).decode())
    assert (recipe.name, recipe.streams) == ("1e3", 10)
    for line, why in (
        ("streams: 010", "`010` in line 8"),
        ("seed: 1", "duplicate key 'seed'"),
        ("streams: yes", "`yes` in line 8"),
    ):
        path.write_text("\n".join([*lines, line]) if "dup" in why else "\n".join([*lines[:4], *lines[5:], "", line]))
        with pytest.raises(InputError, match=rf"r\.yaml: .*{why}"):
            jobs.submit(path, "/out")


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


class FakeClient:
    """A `Jobs` whose cluster records what is submitted, or rejects it with an error."""

    def __init__(self, error: str = ""):
        self.calls: list[dict[str, Any]] = []
        self.error = error
        self.jobs = object.__new__(Jobs)
        self.jobs.address, self.jobs._client = "http://head:8265", self

    def submit_job(self, **sent: Any) -> str:
        if self.error:
            raise RuntimeError(self.error)
        self.calls.append(sent)
        return str(sent["submission_id"])


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


@pytest.mark.parametrize("name", ["run?1", "run#2", "team/run", "..", "", "a b", "50%", "job\n", "-o", "é", "x" * 101])
def test_a_name_that_cannot_be_looked_up_is_refused_before_anything_is_sent(name: str, built: Path, tmp_path: Path) -> None:
    never = FakeClient()
    for call in (
        lambda: never.jobs.submit(tmp_path / "recipe.yaml", str(tmp_path), job=name),
        lambda: never.jobs.status(name),
        lambda: never.jobs.logs(name),
        lambda: never.jobs.cancel(name),
        lambda: never.jobs.resume(name),
    ):
        with pytest.raises(InputError, match="is not a job name") as refused:
            call()
        assert "letters, digits" in refused.value.remedy
    assert never.calls == []


def test_a_path_that_would_mean_another_folder_on_the_nodes_is_refused(clips_dir: Path, tmp_path: Path) -> None:
    client = FakeClient()
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=4, shards=1)
    for out in ("corpus", "./corpus", "~/corpus", "", "C:\\corpus"):
        with pytest.raises(InputError, match="not an absolute path"):
            client.jobs.submit(recipe, out)
    recipe.write_text(recipe.read_text().replace(str(clips_dir), "not-here/clips"))
    with pytest.raises(InputError, match=r"no folder .*not-here/clips"):
        client.jobs.submit(recipe, str(tmp_path / "out"))
    assert client.calls == []
    recipe.write_text(recipe.read_text().replace("not-here/clips", "/nodes/only/clips"))
    assert client.jobs.submit(recipe, "/nodes/it's here", job="run-1.2_b") == "run-1.2_b"
    (sent,) = client.calls
    assert shlex.split(sent["entrypoint"])[3:5] == ["-o", "/nodes/it's here"]
    shipped = yaml.safe_load(base64.b64decode(sent["runtime_env"]["env_vars"]["SOUNDFLOW_RECIPE"]))
    assert shipped["clips"] == "/nodes/only/clips"


def test_a_name_that_is_taken_is_named(clips_dir: Path, tmp_path: Path) -> None:
    client = FakeClient("Job with submission_id run already exists. Please use a different submission_id.")
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=4, shards=1)
    with pytest.raises(InputError, match="a job of this name exists"):
        client.jobs.submit(recipe, "/out", job="run")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("head", "http://head:8265"),
        ("head:8265", "http://head:8265"),
        ("10.0.0.7:9000", "http://10.0.0.7:9000"),
        ("[::1]:8265", "http://[::1]:8265"),
        ("http://head:8265/", "http://head:8265"),
        ("https://ray.example.org", "https://ray.example.org"),
        ("https://ray.example.org/cluster/7", "https://ray.example.org/cluster/7"),
        ("ray.example.org/cluster/7", "http://ray.example.org:8265/cluster/7"),
        ("http://user:word@head:1", "http://user:word@head:1"),
        *((wrong, None) for wrong in "auto ray://head:10001 http:// head:port head:99999 os://x ftp://head http//x:8265".split()),
        *((wrong, None) for wrong in ("", "a head", "http:/x", "https:x", "http://http://x", "http:8265", "http://head//x")),
    ],
)
def test_a_dashboard_is_named_with_or_without_a_scheme(address: str, url: str | None) -> None:
    if url:
        assert dashboard_url(address) == url
    else:
        with pytest.raises(InputError, match="not the address of a Ray dashboard"):
            dashboard_url(address)


@pytest.mark.parametrize("address", ["http://u:secret@127.0.0.1:{}", "u:secret@127.0.0.1:{}", "http://u:sec:ret@x@127.0.0.1:{}"])
def test_passwords_of_addresses_are_not_printed(address: str, clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=4, shards=1)
    with pytest.raises(InputError, match=r"request to the cluster failed.*u:\*\*\*@127") as refused:
        Jobs(address.format(free_port())).submit(recipe, "/out")
    assert "sec" not in str(refused.value) and "job name" not in str(refused.value)
    with pytest.raises(InputError, match=r"not the address.*u:\*\*\*@127") as refused:
        dashboard_url(address.format("port"))
    assert "sec" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("-o", "out"), "not an absolute path"),
        (("-o", "/out", "--job", "a b"), "is not a job name"),
        (("-o", "/out", "--store", "s3://"), "is not the URL of an object store"),
        (("-o", "/out", "--store", ""), "is not the URL of an object store"),
    ],
)
def test_options_are_checked_before_the_cluster_is_contacted(
    options: tuple[str, ...], why: str, clips_dir: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=4, shards=1)
    refused = soundflow("submit", recipe, *options, "--address", f"127.0.0.1:{free_port()}")
    assert refused.returncode == 2 and why in refused.stderr, refused.stderr


def test_the_job_name_is_suspected_only_where_one_is_given() -> None:
    jobs = Jobs(f"127.0.0.1:{free_port()}")
    with pytest.raises(InputError, match=r"Check the address \(http://HOST:8265\) and the job name"):
        jobs.status("run")
    with pytest.raises(InputError, match=r"Check the address \(http://HOST:8265\)$"):
        jobs.list()


def test_the_printed_command_can_be_pasted_as_it_is(monkeypatch: pytest.MonkeyPatch, clips_dir: Path, tmp_path: Path) -> None:
    client = FakeClient()
    monkeypatch.setattr(submit, "Jobs", lambda address: client.jobs)
    client.jobs.address = "https://ray.example.org/team's cluster"
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=4, shards=1)
    printed = soundflow("submit", recipe, "-o", "/out", "--address", "x", "--job", "run")
    assert printed.returncode == 0, printed.stderr
    words = shlex.split(printed.stdout.split("Follow it: ")[1])
    assert words == ["soundflow", "jobs", "logs", "run", "--address", "https://ray.example.org/team's cluster", "--follow"]


def test_a_store_that_is_no_url_is_refused(clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=4, shards=1)
    refused = soundflow("submit", recipe, "-o", "/out", "--address", "head", "--store", "bucket/path")
    assert refused.returncode == 2 and "--store: is not the URL" in refused.stderr.replace("error: ", ""), refused.stderr


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
