"""Pools of the models of the speech chain: in this process, or in Ray actors (`pipeline.speech.ray_models`).

A pool behind `PooledSpeaker` or `PooledRecogniser` is a `Speaker` or `Recogniser` itself, so the chain does not depend on where
models run. Many threads may call one pool; each call blocks until a model is free.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from soundflow.backends.asr.recognisers import open_recogniser
from soundflow.backends.tts.speakers import open_speaker
from soundflow.operators.protocols.asr import Transcription
from soundflow.operators.protocols.faults import BackendError
from soundflow.operators.protocols.tts import Knob, Rendering, Speaker
from soundflow.operators.speech.voice_pool import VoicePool
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import Halted
from soundflow.schemas.speech import AudioServer, RecogniserConfig, SpeakerConfig, SpeechConfig, Voice

Call = tuple[str, tuple[Any, ...], dict[str, Any]]
"""(method, positional arguments, keyword arguments)."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The model of a pool and its limits; can be pickled."""

    config: SpeakerConfig | RecogniserConfig
    is_speaker: bool
    """Whether the model is a speaker; otherwise it is a recogniser."""
    timeout: float
    """Seconds after which the process of an unanswered call is replaced."""

    @property
    def server(self) -> AudioServer | None:
        """Settings of the server; None for a local model."""
        remote = getattr(self.config, "base_url", None) is not None
        return getattr(self.config, "server", None) if remote else None

    @property
    def concurrency(self) -> int:
        """Concurrent calls per process: 1 for local models, because not all of them are thread-safe."""
        return self.server.concurrency if self.server else 1

    @property
    def name(self) -> str:
        """Name of the model in messages."""
        return f"{'speaker' if self.is_speaker else 'recogniser'} {self.config.backend}"

    def open(self) -> Any:
        """Open the speaker or recogniser. Raises InputError when it is not available."""
        return open_speaker(self.config) if self.is_speaker else open_recogniser(self.config)  # type: ignore[arg-type]


class Pool(Protocol):
    """Executes calls on one or more instances of a model."""

    def call(self, call: Call) -> Any:
        """Return the result of a call. Raises BackendError when the call failed, InputError and Halted when every call would."""
        ...

    def close(self) -> None:
        """Close the pool; waiting and running calls raise BackendError."""
        ...


OpenPool = Callable[[ModelSpec], Pool]


class InlinePool:
    """A model in this process, loaded by the first call. Running calls cannot be cancelled, and there is no timeout."""

    def __init__(self, spec: ModelSpec):
        self._spec = spec
        self._model: Any = None
        self._closed = False
        self._opening = threading.Lock()
        self._exclusive: AbstractContextManager[Any] = nullcontext() if spec.concurrency > 1 else threading.Lock()

    def call(self, call: Call) -> Any:
        """See `Pool.call`."""
        with self._opening:
            if self._model is None:
                self._model = self._spec.open()
        with self._exclusive:
            if self._closed:
                raise BackendError(f"{self._spec.name}: closed")
            return unwrap(execute(self._model, call))

    def close(self) -> None:
        """See `Pool.close`."""
        self._closed = True


def execute(model: Any, call: Call) -> Any:
    """Return the result of a call, or the exception as a value, which can be sent between processes."""
    method, arguments, named = call
    try:
        return getattr(model, method)(*arguments, **named)
    except (BackendError, InputError, Halted) as error:
        return error
    except MemoryError:
        raise
    except Exception as error:  # an unexpected error of one call
        return BackendError(f"{type(error).__name__}: {error}")


def unwrap(result: Any) -> Any:
    """Return a result of `execute`, or raise it if it is an exception."""
    if isinstance(result, BackendError | InputError | Halted):
        raise result
    return result


class PooledSpeaker:
    """A `Speaker` that renders in a pool."""

    def __init__(self, pool: Pool, voices: tuple[Voice, ...], knobs: tuple[Knob, ...]):
        self._pool, self.voices, self.knobs = pool, voices, knobs

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        rendering: Rendering = self._pool.call(("say", (text, voice), {"seed": seed, "speed": speed}))
        return rendering


class PooledRecogniser:
    """A `Recogniser` that runs in a pool."""

    def __init__(self, pool: Pool):
        self._pool = pool

    def transcribe(self, samples: NDArray[np.float32], language: str) -> Transcription:
        """See `Recogniser.transcribe`."""
        transcription: Transcription = self._pool.call(("transcribe", (samples, language), {}))
        return transcription


MARGIN: Final = 60.0
"""Seconds added to the sum of a server call's own deadlines."""


def specs(config: SpeechConfig) -> tuple[dict[str, ModelSpec], ModelSpec]:
    """Return the specs of the speakers by backend, and that of the recogniser."""

    def spec(one: SpeakerConfig | RecogniserConfig, is_speaker: bool) -> ModelSpec:
        bare = ModelSpec(one, is_speaker, config.patience_seconds)
        if bare.server is None:
            return bare
        longest = (bare.server.retries + 1) * (bare.server.timeout_seconds + MARGIN)
        return ModelSpec(one, is_speaker, longest + MARGIN)

    return {one.backend: spec(one, True) for one in config.speakers}, spec(config.recogniser, False)


class Models:
    """All models of a config in pools: a voice pool and a recogniser. Close it after use."""

    def __init__(self, config: SpeechConfig, open_pool: OpenPool = InlinePool):
        speakers, recogniser = specs(config)
        known: dict[str, Speaker] = {backend: spec.open() for backend, spec in speakers.items()}  # loads nothing
        self._pools = {backend: open_pool(spec) for backend, spec in speakers.items()}
        recogniser_pool = open_pool(recogniser)
        self.recogniser = PooledRecogniser(recogniser_pool)
        pooled = {
            backend: PooledSpeaker(self._pools[backend], tuple(one.voices), tuple(one.knobs)) for backend, one in known.items()
        }
        self._pools["recogniser"] = recogniser_pool
        self.voice_pool = VoicePool(pooled, config.voices)

    @property
    def pools(self) -> Mapping[str, Pool]:
        """The pools by backend, and that of the recogniser as `recogniser`."""
        return self._pools

    def close(self) -> None:
        """Close every pool."""
        for pool in self._pools.values():
            pool.close()


@contextlib.contextmanager
def inline_models(config: SpeechConfig) -> Iterator[tuple[Models, int]]:
    """Yield the models of a config in this process, and the number of dialogues that keep them busy."""
    speakers, recogniser = specs(config)
    models = Models(config, InlinePool)
    try:
        yield models, sum(spec.concurrency for spec in (*speakers.values(), recogniser))
    finally:
        models.close()
