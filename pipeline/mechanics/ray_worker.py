"""Ray actors that load their work in a call of its own, and the nodes on which loading failed.

This module imports nothing of ours. So a node without a library or a file still starts the actor, and the actor reports what is
missing.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ray
from ray.exceptions import RaySystemError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@dataclass(frozen=True, slots=True)
class ActorPlace:
    """Where an actor runs."""

    node: str
    """Ray's id of the node."""
    host: str
    pid: int

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """Why an actor could not load its work."""

    place: ActorPlace
    why: str
    traceback: str
    error: Exception | None = None
    """The error, if it is an InputError, which every process can read."""

    @classmethod
    def of(cls, error: Exception) -> LoadFailure:
        """Describe an error that is being handled in an actor."""
        is_ours = hasattr(error, "remedy")  # an InputError: its message is complete
        if isinstance(error, RaySystemError):  # what Ray makes of an import error, with the traceback behind the first line
            why = str(error).split("\n", 1)[0]
        else:
            why = str(error) if is_ours else f"{type(error).__name__}: {error}"
        return cls(current_place(), why, traceback.format_exc(), error if is_ours else None)


class Runner(Protocol):
    """The work that an actor loads."""

    def run(self, item: int, /) -> Any:
        """Process one item."""
        ...


@ray.remote(num_cpus=1, max_restarts=0)
class LoadingActor:
    """Loads a `Runner` and runs it on one core. Dies with the driver."""

    def __init__(self, load: list[Any]):
        """`load` holds the reference of a function that makes the runner. Ray does not resolve references inside lists itself."""
        (self._load,) = load
        self._runner: Runner | None = None

    def place(self) -> ActorPlace:
        """Return where this actor runs."""
        return current_place()

    def load(self) -> LoadFailure | None:
        """Load the runner; return what went wrong."""
        try:
            self._runner = ray.get(self._load)()
        except Exception as error:
            return LoadFailure.of(error)
        return None

    def run(self, item: int) -> Any:
        """Run the loaded runner on one item."""
        assert self._runner is not None
        return self._runner.run(item)


def current_place() -> ActorPlace:
    """Return where this actor runs."""
    return ActorPlace(ray.get_runtime_context().get_node_id(), platform.node(), os.getpid())


def end_hung(actor: Any, place: ActorPlace | None) -> None:
    """End an actor that does not answer, such as one stopped by a signal.

    `ray.kill` asks the process to exit. Ray 2.60 does not always kill a stopped process afterwards; it then holds its core. A
    task on its node kills it.
    """
    ray.kill(actor)
    if place is not None:
        strategy = NodeAffinitySchedulingStrategy(place.node, soft=False)
        ray.remote(_end_process).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy).remote(place.pid)


def _end_process(pid: int) -> None:
    with contextlib.suppress(OSError):  # it has ended
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):  # the number may have been given to another process
            os.kill(pid, signal.SIGKILL)


class Nodes:
    """The nodes of a run: those that could not load its work are retired and get no further actors."""

    def __init__(self) -> None:
        self._retired: dict[str, str] = {}  # node id → reason

    def retire(self, place: ActorPlace, why: str) -> bool:
        """Retire the node of an actor; return False if it was retired before."""
        is_first = place.node not in self._retired
        self._retired.setdefault(place.node, f"node {place.host}: {why}")
        return is_first

    def placement(self) -> dict[str, Any]:
        """Return the options of an actor that keep it off the retired nodes."""
        return {"label_selector": {"ray.io/node-id": f"!in({','.join(self._retired)})"}} if self._retired else {}

    def are_all_retired(self) -> bool:
        """Return whether every node of the cluster is retired."""
        return bool(self._retired) and all(node["NodeID"] in self._retired for node in ray.nodes() if node["Alive"])

    def reasons(self) -> str:
        """Return the retired nodes with the reason of each."""
        return "; ".join(sorted(set(self._retired.values())))
