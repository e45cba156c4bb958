"""Run builds as jobs of a Ray cluster (Ray Jobs API): `soundflow submit`, `soundflow jobs status|logs|cancel|resume`.

A job is a driver process on the head node. The package `soundflow` is uploaded as a `py_module`; the recipe travels in an
environment variable, with paths as the nodes see them. A cluster with token authentication expects $RAY_AUTH_TOKEN (or Ray's own
token file). Submitting the same build again resumes it.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import re
import shlex
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ray.exceptions import RayError

from soundflow.pipeline.mechanics.ray_connection import shipped_code
from soundflow.schemas.base import InputError
from soundflow.schemas.documents import read_yaml, to_yaml
from soundflow.schemas.recipe import Recipe

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

RECIPE: Final = "SOUNDFLOW_RECIPE"
"""Environment variable that holds the recipe of a submitted build, in base64."""
STARTUP_SECONDS: Final = 90.0
"""How long to retry a cluster whose dashboard is up before its job agent."""
NO_AGENT: Final = "No available agent"
"""Part of Ray's error message while no job agent has registered."""
EXISTS: Final = "already exists"
"""Part of Ray's error message for the name of an existing job."""
DENIED: Final = re.compile(r"\b40[13]\b|Unauth|uthentication|InvalidAuthToken")
"""Matches Ray's error messages for a wrong token: Ray has no exception type for them."""
FORWARDED: Final = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "OPENAI_BASE_URL", "SOUNDFLOW_ANSWERS")
"""Environment variables passed on to the job. Secrets are not among them: they belong into the cluster's configuration."""
DASHBOARD_PORT: Final = 8265
JOB_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""The names that Ray's API can look up again: it puts them into the path of a URL without quoting them."""


@dataclass(frozen=True, slots=True)
class JobState:
    """The state of a job as the cluster reports it."""

    job: str
    status: str
    """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    message: str


class Jobs:
    """A client of one cluster's Jobs API."""

    def __init__(self, address: str):
        """`address`: [http[s]://]HOST[:PORT], contacted by the first request.

        Raises InputError for another address, and from every method if no cluster answers there or it rejects the token.
        """
        self.address = dashboard_url(address)

    @cached_property
    def _client(self) -> Any:
        from ray.job_submission import JobSubmissionClient

        logging.getLogger("ray").setLevel(logging.ERROR)
        token = os.environ.get("RAY_AUTH_TOKEN", "")
        headers = {"Authorization": f"Bearer {token}"} if token else None
        return JobSubmissionClient(self.address, headers=headers)

    def submit(self, recipe_path: Path, out: str, *, options: tuple[str, ...] = (), job: str | None = None) -> str:
        """Start a build and return the name of its job.

        `out` and the recipe's `clips` are paths on the nodes; `options` are passed to `soundflow build`; `job` names the job
        (default: Ray chooses a name).

        Raises InputError if a path cannot mean the same on the nodes, if `job` is not a name or if a job has this name.
        """
        if job is not None:
            _check_job_name(job)
        recipe = Recipe.from_yaml(recipe_path)
        _check_absolute(out, "--out")
        clips = _clips_on_nodes(recipe.clips, recipe_path)
        document = read_yaml(recipe_path) | {"clips": clips}
        text = base64.b64encode(to_yaml(document).encode()).decode()
        command = ["python", "-m", "soundflow.pipeline.jobs.submitted", "-o", out, "--address", "auto", *options]
        forwarded = {name: os.environ[name] for name in FORWARDED if name in os.environ}
        with self._input_errors(job):
            return self._submit(shlex.join(command), {RECIPE: text, "OMP_NUM_THREADS": "1"} | forwarded, job)

    def resume(self, job: str) -> str:
        """Submit the build of an ended job again with the current version of the code; return the name of the new job.

        Raises InputError if there is no such job, it has not ended, or it is not a build.
        """
        details = self._info(job)
        environment = (details.runtime_env or {}).get("env_vars", {})
        if RECIPE not in environment:
            raise InputError("is not a build", field="JOB", value=job, remedy="Only jobs of `soundflow submit` can be resumed")
        if not details.status.is_terminal():
            remedy = f"Wait until it ends or run `soundflow jobs cancel {job}`"
            raise InputError("the job has not ended", field="JOB", value=job, remedy=remedy)
        with self._input_errors():
            return self._submit(details.entrypoint, environment, None)

    def _submit(self, entrypoint: str, environment: dict[str, str], job: str | None) -> str:
        """Submit a job; retry while the cluster is starting and has no job agent yet."""
        deadline = time.monotonic() + STARTUP_SECONDS
        with shipped_code() as code:
            runtime = {**code, "env_vars": environment}
            while True:
                try:
                    return str(self._client.submit_job(entrypoint=entrypoint, runtime_env=runtime, submission_id=job))
                except RuntimeError as error:
                    if job and EXISTS in str(error):
                        remedy = "Choose another name, or run `soundflow jobs resume` to continue its build"
                        raise InputError("a job of this name exists", field="--job", value=job, remedy=remedy) from None
                    if NO_AGENT not in str(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(1.0)

    def status(self, job: str) -> JobState:
        """Return the state of a job; raises InputError if there is none of this name."""
        details = self._info(job)
        return JobState(job, str(details.status.value), str(details.message or ""))

    def _info(self, job: str) -> JobDetails:
        _check_job_name(job)
        with self._input_errors(job):
            details: JobDetails = self._client.get_job_info(job)
            return details

    def list(self) -> list[JobState]:
        """Return all submitted jobs, newest first."""
        with self._input_errors():
            jobs = sorted(self._client.list_jobs(), key=lambda job: -(job.start_time or 0))
        submitted = [job for job in jobs if job.submission_id]
        return [JobState(str(job.submission_id), str(job.status.value), str(job.message or "")) for job in submitted]

    def logs(self, job: str) -> str:
        """Return the output of a job so far."""
        _check_job_name(job)
        with self._input_errors(job):
            return str(self._client.get_job_logs(job))

    def follow(self, job: str) -> AsyncIterator[str]:
        """Yield the output of a job until it ends."""
        lines: AsyncIterator[str] = self._client.tail_job_logs(job)
        return lines

    def cancel(self, job: str) -> bool:
        """Stop a job and return True; False if it had ended. Committed shards are kept."""
        _check_job_name(job)
        with self._input_errors(job):
            return bool(self._client.stop_job(job))

    @contextlib.contextmanager
    def _input_errors(self, job: str | None = None) -> Iterator[None]:
        """Turn exceptions of a request to the Jobs API, which may be about a job, into InputError."""
        try:
            yield
        except InputError:
            raise
        except (RayError, RuntimeError, ConnectionError, ValueError, OSError) as error:
            shown = without_password(self.address)
            text = " ".join(str(error).replace(self.address, shown).split())[:300]
            check = f"Check the address (http://HOST:{DASHBOARD_PORT})" + (" and the job name" if job else "")
            remedy = "Set $RAY_AUTH_TOKEN to the cluster's token" if DENIED.search(text) else check
            raise InputError(f"request to the cluster failed: {text}", field="--address", value=shown, remedy=remedy) from None


def without_password(address: str) -> str:
    """Return an address as it may be printed, with `***` for a password: `http://user:***@head`."""
    return re.sub(r"^((?:\w+:)?/*[^/:@]*:).*@", r"\1***@", address, flags=re.DOTALL)


def dashboard_url(address: str) -> str:
    """Return the URL of a cluster's dashboard; http:// and, without a scheme, port 8265 may be left out.

    Raises InputError if the address is not one of a dashboard.
    """
    text = address.strip()
    has_scheme = "://" in text
    try:
        url = urlsplit(text if has_scheme else f"http://{text}")
        is_host = bool(url.hostname) and url.hostname not in ("auto", "http", "https") and not re.search(r"\s", text)
        is_valid = url.scheme in ("http", "https") and is_host and not (url.query or url.fragment or url.path.startswith("//"))
        port = url.port
    except ValueError:
        is_valid, port = False, None
    if not is_valid:
        remedy = f"Name the dashboard of the cluster: http://HOST:{DASHBOARD_PORT}"
        why = "is not the address of a Ray dashboard"
        raise InputError(why, field="--address", value=without_password(address), remedy=remedy)
    if not (port or has_scheme):
        url = url._replace(netloc=f"{url.netloc.removesuffix(':')}:{DASHBOARD_PORT}")
    return url.geturl().rstrip("/")


def _check_job_name(job: str) -> None:
    if not JOB_NAME.fullmatch(job):
        remedy = "Use 1 to 100 ASCII letters, digits, '.', '_' and '-', starting with a letter or digit"
        raise InputError("is not a job name", field="JOB", value=job, remedy=remedy)


def _check_absolute(path: str, field: str) -> None:
    if not path.startswith("/"):
        why = "is not an absolute path, but a job runs in a temporary directory of its node"
        raise InputError(why, field=field, value=path, remedy="Write the full path of a folder that all nodes share")


def _clips_on_nodes(clips: str, recipe: Path) -> str:
    """Return the path of the clip index on the nodes; a relative path is clear only if the index lies there on this machine."""
    path = os.path.abspath(recipe.parent / clips)  # noqa: PTH100 - a path of the nodes, whose links are not resolved here
    if not os.path.isabs(clips) and not os.path.isdir(path):  # noqa: PTH112, PTH117
        remedy = "Write the full path of the index as the nodes see it"
        raise InputError(f"no folder {path} on this machine", file=recipe, field="clips", value=clips, remedy=remedy)
    return path
