"""Being connected to Ray: one of this machine alone, a cluster, or the one this process has already."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayError

from soundflow.pipeline.mechanics.stopping import interrupt, signals_handled_by
from soundflow.schemas.base import InputError, Interrupted

PACKAGE: Final = Path(__file__).parents[2]
"""The folder `soundflow/`, in a checkout or in site-packages. Ray ships it whole, through the links, and nothing else."""
EXCLUDED: Final = ["__pycache__"]
OF_A_JOB: Final = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it in the driver of a submitted job."""


@contextlib.contextmanager
def connected(address: str | None, cores: int | None) -> Iterator[int]:
    """Within the block Ray can be used; the number of its cores.

    `address` None: a Ray of this machine alone with `cores` (None: all there are), started quietly and stopped at the end; else
    a cluster, to which our code is shipped. A Ray this process is already connected to is used as it is. Raises InputError
    when there is no such cluster.
    """
    ours = not ray.is_initialized()
    try:
        if ours:
            _connect(address, cores)
        yield int(ray.cluster_resources().get("CPU", 0))
    finally:
        if ours:
            ray.shutdown()


def _connect(address: str | None, cores: int | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    threads = {"OMP_NUM_THREADS": "1"}
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False, "configure_logging": False}
    if address is None:
        path = os.pathsep.join(part for part in (str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")) if part)
        options |= {"include_dashboard": False, "num_cpus": cores or os.cpu_count()}
        options["runtime_env"] = {"env_vars": threads | {"PYTHONPATH": path}}
    elif OF_A_JOB not in os.environ:  # whose code has been shipped with it
        options["runtime_env"] = {"py_modules": [str(PACKAGE)], "env_vars": threads, "excludes": EXCLUDED}
    try:
        with signals_handled_by(interrupt):  # connecting takes long and has nothing to lose; Ray leaves a handler of its own
            ray.init(address=address or "local", **options)
    except SystemExit:  # that handler
        raise Interrupted from None
    except (ConnectionError, RayError, ValueError, RuntimeError) as error:
        raise InputError(f"no Ray there: {error}", field="--address", value=address, remedy="Check the cluster") from None
