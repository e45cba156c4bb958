"""The models of the speech chain in Ray actors: pools of processes that all dialogues share and that may die.

A call holds one seat of one process until it is answered; who finds none waits, so nothing queues up inside Ray. A process that
dies, or takes longer over a call than it may, is replaced and the call made again, at most `ATTEMPTS` times.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import threading
from collections.abc import Iterator
from typing import Any, Final

import ray
from ray.exceptions import GetTimeoutError, RayError

from soundflow.operators.protocols.faults import BackendError
from soundflow.pipeline.mechanics.ray_connection import connected
from soundflow.pipeline.speech.models import Call, Models, ModelSpec, answer, result_of, specs
from soundflow.schemas.base import InputError
from soundflow.schemas.speech import SpeechConfig

ATTEMPTS: Final = 3
"""Processes a call may take down with it before it counts as failed."""
LOOK_SECONDS: Final = 0.5
"""How often who waits for a seat looks whether the pool was closed."""
SPEAKERS_PER_RECOGNISER: Final = {"hibari": 0.25}
"""How many processes of a fast speaker keep one recogniser busy; of others one."""


@ray.remote(num_cpus=0, max_restarts=0)
class _ModelActor:
    """A model in a process of its own. Loads it with its first call; dies with the driver."""

    def __init__(self, spec: ModelSpec):
        self._spec, self._model, self._opening = spec, None, threading.Lock()

    def answer(self, call: Call) -> Any:
        with self._opening:
            if self._model is None:
                try:
                    self._model = self._spec.open()
                except (BackendError, InputError) as error:
                    return error
        return answer(self._model, call)

    def pid(self) -> int:
        return os.getpid()


class _ActorSlot:
    """The process that is there now; replaced once by whoever first finds that it is gone."""

    def __init__(self, spec: ModelSpec):
        self._spec, self._lock = spec, threading.Lock()
        self.process = self._start()

    def replace(self, gone: Any) -> None:
        with self._lock:
            if self.process is gone:
                with contextlib.suppress(Exception):
                    ray.kill(gone)
                self.process = self._start()

    def _start(self) -> Any:
        local = self._spec.server is None
        gpu = local and getattr(self._spec.config, "device", "cpu") == "cuda"
        options = {"num_cpus": int(local), "num_gpus": int(gpu), "max_concurrency": self._spec.at_once}
        return _ModelActor.options(**options).remote(self._spec)  # type: ignore[attr-defined]


class RayPool:
    """`size` processes of one model, each answering `spec.at_once` calls at a time."""

    def __init__(self, spec: ModelSpec, size: int):
        self.spec = spec
        self._actors = [_ActorSlot(spec) for _ in range(size)]
        self._seats: queue.SimpleQueue[_ActorSlot] = queue.SimpleQueue()
        self._closed = threading.Event()
        for _ in range(spec.at_once):
            for actor in self._actors:
                self._seats.put(actor)

    def call(self, call: Call) -> Any:
        """See `Pool.call`."""
        why = ""
        for _ in range(ATTEMPTS):
            actor = self._seat()
            process = actor.process
            try:
                return result_of(ray.get(process.answer.remote(call), timeout=self.spec.timeout))
            except GetTimeoutError:
                why = f"no answer within {self.spec.timeout:g} s"
            except RayError as error:
                why = " ".join(str(error).split())[:300]
            finally:
                if why and not self._closed.is_set():
                    actor.replace(process)
                self._seats.put(actor)
        raise BackendError(f"{self.spec.name}: {ATTEMPTS} processes died or hung over one call, the last: {why}")

    def _seat(self) -> _ActorSlot:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Empty):
                return self._seats.get(timeout=LOOK_SECONDS)
        raise BackendError(f"{self.spec.name}: closed")

    def pids(self) -> list[int]:
        """Of its processes."""
        return [ray.get(actor.process.pid.remote()) for actor in self._actors]

    def close(self) -> None:
        """See `Pool.close`."""
        self._closed.set()
        for actor in self._actors:
            with contextlib.suppress(Exception):
                ray.kill(actor.process)


@contextlib.contextmanager
def ray_models(config: SpeechConfig, workers: int | None, address: str | None) -> Iterator[tuple[Models, int]]:
    """The models of a config in actors, and how many dialogues keep them busy. `workers`: recognisers, None one per core.

    Raises InputError when the cluster is too small: an actor that fits nowhere would wait for ever.
    """
    speakers, recogniser = specs(config)
    wanted = workers or os.cpu_count() or 1

    def size(spec: ModelSpec, recognisers: int) -> int:
        if spec.server is not None:
            return 1
        return math.ceil(recognisers * SPEAKERS_PER_RECOGNISER.get(spec.config.backend, 1.0)) if spec.speaks else recognisers

    every = [*speakers.values(), recogniser]
    local = [spec for spec in every if spec.server is None]
    cores = max(os.cpu_count() or 1, sum(size(spec, wanted) for spec in local))
    with connected(address, cores) as there:
        if address is not None and workers is None:
            wanted = max(1, there - sum(size(spec, 1) for spec in local if spec.speaks))
        needed = sum(size(spec, wanted) for spec in local)
        if needed > there:
            raise InputError(
                f"the Ray cluster has {there} cores, {needed} processes want one each",
                field="--workers",
                remedy="Ask for fewer workers or add nodes",
            )
        models = Models(config, lambda spec: RayPool(spec, size(spec, wanted)))
        try:
            yield models, 2 * sum(size(spec, wanted) * spec.at_once for spec in every)
        finally:
            models.close()
