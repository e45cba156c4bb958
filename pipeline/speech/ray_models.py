"""The models of the speech chain in pools of Ray actors, which all dialogues share.

A call occupies one slot of one actor until it returns. Calls without a slot wait in this process, so that no queue builds up in
Ray. An actor that dies or exceeds the timeout of a call is replaced; a call gets at most `ATTEMPTS` attempts.
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
from soundflow.pipeline.speech.models import Call, Models, ModelSpec, execute, specs, unwrap
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import Halted
from soundflow.schemas.speech import SpeechConfig

ATTEMPTS: Final = 3
"""Attempts per call, each in another process if the one before it died or hung."""
POLL_SECONDS: Final = 0.5
"""Interval at which a waiting call checks whether the pool was closed."""
SPEAKERS_PER_RECOGNISER: Final = {"hibari": 0.25}
"""Processes of a speaker that keep one recogniser busy; 1 for backends that are not listed."""


@ray.remote(num_cpus=0, max_restarts=0)
class _ModelActor:
    """A model in its own process. The first call loads it; the process ends with the driver."""

    def __init__(self, spec: ModelSpec):
        self._spec, self._model, self._opening = spec, None, threading.Lock()

    def answer(self, call: Call) -> Any:
        with self._opening:
            if self._model is None:
                try:
                    self._model = self._spec.open()
                except (BackendError, InputError, Halted) as error:
                    return error
        return execute(self._model, call)

    def pid(self) -> int:
        return os.getpid()


class _ActorSlot:
    """A place in a pool for one actor. The first caller that finds the actor dead replaces it."""

    def __init__(self, spec: ModelSpec):
        self._spec, self._lock = spec, threading.Lock()
        self.actor = self._start()

    def replace(self, failed: Any) -> None:
        with self._lock:
            if self.actor is failed:
                with contextlib.suppress(Exception):
                    ray.kill(failed)
                self.actor = self._start()

    def _start(self) -> Any:
        local = self._spec.server is None
        gpu = local and getattr(self._spec.config, "device", "cpu") == "cuda"
        options = {"num_cpus": int(local), "num_gpus": int(gpu), "max_concurrency": self._spec.concurrency}
        return _ModelActor.options(**options).remote(self._spec)  # type: ignore[attr-defined]


class RayPool:
    """`size` actors of one model, each with `spec.concurrency` concurrent calls."""

    def __init__(self, spec: ModelSpec, size: int):
        self.spec = spec
        self._slots = [_ActorSlot(spec) for _ in range(size)]
        self._free: queue.SimpleQueue[_ActorSlot] = queue.SimpleQueue()
        self._closed = threading.Event()
        for _ in range(spec.concurrency):
            for slot in self._slots:
                self._free.put(slot)

    def call(self, call: Call) -> Any:
        """See `Pool.call`."""
        why = ""
        for _ in range(ATTEMPTS):
            slot = self._free_slot()
            actor = slot.actor
            try:
                return unwrap(ray.get(actor.answer.remote(call), timeout=self.spec.timeout))
            except GetTimeoutError:
                why = f"no answer within {self.spec.timeout:g} s"
            except RayError as error:
                why = " ".join(str(error).split())[:300]
            finally:
                if why and not self._closed.is_set():
                    slot.replace(actor)
                self._free.put(slot)
        raise BackendError(f"{self.spec.name}: {ATTEMPTS} processes died or hung during one call; the last: {why}")

    def _free_slot(self) -> _ActorSlot:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Empty):
                return self._free.get(timeout=POLL_SECONDS)
        raise BackendError(f"{self.spec.name}: closed")

    def pids(self) -> list[int]:
        """Return the process ids of the actors."""
        return [ray.get(slot.actor.pid.remote()) for slot in self._slots]

    def close(self) -> None:
        """See `Pool.close`."""
        self._closed.set()
        for slot in self._slots:
            with contextlib.suppress(Exception):
                ray.kill(slot.actor)


@contextlib.contextmanager
def ray_models(config: SpeechConfig, workers: int | None, address: str | None) -> Iterator[tuple[Models, int]]:
    """Yield the models of a config in actors, and the number of dialogues that keep them busy.

    `workers`: number of recognisers, None for one per core. Raises InputError when the cluster has too few cores: an actor that
    fits on no node would wait forever.
    """
    speakers, recogniser = specs(config)
    recognisers = workers or os.cpu_count() or 1

    def size(spec: ModelSpec, count: int) -> int:
        if spec.server is not None:
            return 1
        return math.ceil(count * SPEAKERS_PER_RECOGNISER.get(spec.config.backend, 1.0)) if spec.is_speaker else count

    every = [*speakers.values(), recogniser]
    local = [spec for spec in every if spec.server is None]
    cores = max(os.cpu_count() or 1, sum(size(spec, recognisers) for spec in local))
    with connected(address, cores) as available:
        if address is not None and workers is None:
            recognisers = max(1, available - sum(size(spec, 1) for spec in local if spec.is_speaker))
        needed = sum(size(spec, recognisers) for spec in local)
        if needed > available:
            raise InputError(
                f"the Ray cluster has {available} cores, but {needed} processes need one each",
                field="--workers",
                remedy="Use fewer workers or add nodes",
            )
        models = Models(config, lambda spec: RayPool(spec, size(spec, recognisers)))
        try:
            yield models, 2 * sum(size(spec, recognisers) * spec.concurrency for spec in every)
        finally:
            models.close()
