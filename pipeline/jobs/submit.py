"""Builds as jobs of a Ray cluster, over its Jobs API: `soundflow submit`, `soundflow jobs status|logs|cancel|resume`.

The checkout is shipped as the job's working directory, the recipe in its environment, with the paths the nodes see. A token, when
the cluster wants one, is $RAY_AUTH_TOKEN (or Ray's own token file). A job is a driver on the head node; a second submission
resumes what is missing.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import shlex
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from ray.exceptions import RayError

from soundflow.pipeline.mechanics.ray_connection import EXCLUDED, PACKAGE
from soundflow.schemas.base import InputError
from soundflow.schemas.recipe import Recipe

RECIPE: Final = "SOUNDFLOW_RECIPE"
"""Holds the recipe of a submitted build, base64."""
STARTING_SECONDS: Final = 90.0
NOBODY_YET: Final = "No available agent"
DENIED: Final = re.compile(r"\b40[13]\b|Unauth|uthentication|InvalidAuthToken")
"""What Ray says when the token is not the cluster's: it has no error of its own for that."""
SHIPPED: Final = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "OPENAI_BASE_URL", "SOUNDFLOW_ANSWERS")
"""Variables of the submitter that a build may need and that are no secrets; those belong into the cluster."""


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as the cluster tells it."""

    job: str
    status: str
    """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    message: str


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, address: str):
        """`address`: http(s)://HOST:8265. Raises InputError when nobody answers there, or the token is not the cluster's."""
        from ray.job_submission import JobSubmissionClient

        self.address = address
        logging.getLogger("ray").setLevel(logging.ERROR)
        token = os.environ.get("RAY_AUTH_TOKEN", "")
        headers = {"Authorization": f"Bearer {token}"} if token else None
        with self._told():
            self._client = JobSubmissionClient(address, headers=headers)

    def submit(self, recipe_path: Path, out: str, *, options: tuple[str, ...] = (), job: str | None = None) -> str:
        """Start a build; its name. `out` and the recipe's `clips` are paths as the nodes see them; `options` go to `build`."""
        recipe = Recipe.from_yaml(recipe_path)
        clips = Path(os.path.abspath(recipe_path.parent / recipe.clips))  # noqa: PTH100 - a path of the nodes, not resolved here
        document = yaml.safe_load(recipe_path.read_text(encoding="utf-8")) | {"clips": str(clips)}
        text = base64.b64encode(yaml.safe_dump(document, sort_keys=False).encode()).decode()
        command = ["python", "-m", "soundflow.pipeline.jobs.submitted", "-o", out, "--address", "auto", *options]
        environment = {RECIPE: text, "OMP_NUM_THREADS": "1"} | {name: os.environ[name] for name in SHIPPED if name in os.environ}
        with self._told():
            return self._submit(shlex.join(command), environment, job)

    def resume(self, job: str) -> str:
        """Start the build of a job that has ended once more, as it was submitted, with the checkout of today; the new job's name.

        Raises InputError when there is no such job, it has not ended, or it is no build.
        """
        with self._told():
            told = self._client.get_job_info(job)
        environment = (told.runtime_env or {}).get("env_vars", {})
        if RECIPE not in environment:
            raise InputError("is no build", field="JOB", value=job, remedy="`soundflow submit` begins builds")
        if not told.status.is_terminal():
            raise InputError("has not ended", field="JOB", value=job, remedy=f"`soundflow jobs cancel {job}` first")
        with self._told():
            return self._submit(told.entrypoint, environment, None)

    def _submit(self, entrypoint: str, environment: dict[str, str], job: str | None) -> str:
        """A cluster that is just starting has a dashboard before it has anybody who starts jobs."""
        runtime = {"py_modules": [str(PACKAGE)], "excludes": EXCLUDED, "env_vars": environment}
        deadline = time.monotonic() + STARTING_SECONDS
        while True:
            try:
                return str(self._client.submit_job(entrypoint=entrypoint, runtime_env=runtime, submission_id=job))
            except RuntimeError as error:
                if NOBODY_YET not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(1.0)

    def status(self, job: str) -> JobState:
        """How a job is; InputError when there is none of this name."""
        with self._told():
            told = self._client.get_job_info(job)
            return JobState(job, str(told.status.value), str(told.message or ""))

    def list(self) -> list[JobState]:
        """All jobs that were submitted, newest first."""
        with self._told():
            jobs = sorted(self._client.list_jobs(), key=lambda job: -(job.start_time or 0))
        ours = [job for job in jobs if job.submission_id]
        return [JobState(str(job.submission_id), str(job.status.value), str(job.message or "")) for job in ours]

    def logs(self, job: str) -> str:
        """What a job has said so far."""
        with self._told():
            return str(self._client.get_job_logs(job))

    def follow(self, job: str) -> AsyncIterator[str]:
        """What a job says, until it ends."""
        lines: AsyncIterator[str] = self._client.tail_job_logs(job)
        return lines

    def cancel(self, job: str) -> bool:
        """Stop a job; False when it had ended. What it committed stays: submitted again it resumes."""
        with self._told():
            return bool(self._client.stop_job(job))

    def _told(self) -> Any:
        return _Told(self.address)


class _Told:
    """Turns what the Jobs API raises into a sentence."""

    def __init__(self, address: str):
        self.address = address

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, (RayError, RuntimeError, ConnectionError, ValueError, OSError)) or isinstance(error, InputError):
            return
        text = " ".join(str(error).split())
        denied = DENIED.search(text)
        remedy = "Set $RAY_AUTH_TOKEN to the cluster's token" if denied else "Check address (http://HOST:8265) and name"
        raise InputError(f"the cluster says: {text[:300]}", field="--address", value=self.address, remedy=remedy) from None
