"""Connections to Ray: a local instance, a cluster, or the connection that this process already has."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayError

from soundflow.pipeline.mechanics.stopping import raise_interrupted, signal_handler
from soundflow.schemas.base import InputError, Interrupted

PACKAGE: Final = Path(__file__).parents[2]
"""The folder `soundflow/` of a checkout or of site-packages. Ray follows its links and ships nothing else."""
REACH_SECONDS: Final = 10.0
"""How long to wait for a cluster's port. Ray itself would try for many minutes."""
CLIENT_PORT: Final = 10001
"""The default port of ray:// addresses."""
JOB_VARIABLE: Final = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the driver of a submitted job."""


@contextlib.contextmanager
def connected(address: str | None, cores: int | None) -> Iterator[int]:
    """Connect to Ray for the length of the block and yield its number of cores.

    `address` None starts a quiet Ray instance of this machine with `cores` (None: all cores) and stops it in the end. Otherwise
    `address` names a cluster, to which our code is shipped. If this process is already connected, that connection is used.

    Raises InputError if there is no such cluster.
    """
    if address is not None and address.startswith(("http://", "https://")):
        remedy = "Pass it to `soundflow submit`, or give auto, HOST:6379 or ray://HOST:10001"
        raise InputError("is the address of a dashboard", field="--address", value=address, remedy=remedy)
    is_ours = not ray.is_initialized()
    try:
        if is_ours:
            _connect(address, cores)
        yield int(ray.cluster_resources().get("CPU", 0))
    finally:
        if is_ours:
            ray.shutdown()


@contextlib.contextmanager
def shipped_code() -> Iterator[dict[str, Any]]:
    """Yield the part of a runtime environment that ships this code. Ray uploads it when it receives the environment.

    Without a working directory Ray would put the driver's current directory, where a node may have another checkout, before the
    shipped package in `sys.path`, and a job would start in the directory of its node. So an empty one is shipped, too.
    """
    with tempfile.TemporaryDirectory(prefix="soundflow-") as empty:
        yield {"py_modules": [str(PACKAGE)], "working_dir": empty, "excludes": ["__pycache__"]}


def _connect(address: str | None, cores: int | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    threads = {"OMP_NUM_THREADS": "1"}
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False, "configure_logging": False}
    with contextlib.ExitStack() as stack:
        if address is None:
            path = os.pathsep.join(part for part in (str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")) if part)
            options |= {"include_dashboard": False, "num_cpus": cores or os.cpu_count()}
            options["runtime_env"] = {"env_vars": threads | {"PYTHONPATH": path}}
        elif JOB_VARIABLE not in os.environ:  # the code of a submitted job has been shipped with it
            options["runtime_env"] = {"env_vars": threads, **stack.enter_context(shipped_code())}
        try:
            with signal_handler(raise_interrupted):  # connecting takes seconds and leaves nothing behind when it is interrupted
                _check_reachable(address or "")
                ray.init(address=address or "local", **options)
        except SystemExit:  # raised by Ray's own signal handler
            raise Interrupted from None
        except (OSError, RayError, ValueError, RuntimeError) as error:
            why = " ".join(str(error).split())
            remedy = "Start a Ray cluster there or correct the address: auto, HOST:6379 or ray://HOST:10001"
            raise InputError(f"cannot connect to Ray: {why}", field="--address", value=address, remedy=remedy) from None


def _check_reachable(address: str) -> None:
    """Raise OSError if nothing listens at `[ray://]HOST:PORT`; Ray checks other addresses, such as `auto`, itself."""
    if match := re.fullmatch(r"(?:ray://)?([^:/]+):(\d{1,5})|ray://([^:/]+)", address):
        host, port = match[1] or match[3], int(match[2] or CLIENT_PORT)
        socket.create_connection((host, port), REACH_SECONDS).close()
