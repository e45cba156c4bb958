"""The models of the speech chain behind one kind of call: in this process, or in Ray actors (`pipeline.speech.ray_models`).

A speaker or recogniser seen through a pool is a `Speaker` or `Recogniser` itself, so the chain does not know where it runs. Many
threads may call one pool; each call waits until a model is free, which is all the queue there is: who waits asks nothing more.
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
from soundflow.schemas.speech import AudioServer, RecogniserConfig, SpeakerConfig, SpeechConfig, Voice

Call = tuple[str, tuple[Any, ...], dict[str, Any]]
"""Method, arguments, keyword arguments."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model a pool holds, and how it is operated; pickles."""

    config: SpeakerConfig | RecogniserConfig
    speaks: bool
    """A speaker; else a recogniser."""
    timeout: float
    """Seconds one call may take before its process is replaced."""

    @property
    def server(self) -> AudioServer | None:
        """How the server is treated, when the model is one."""
        remote = getattr(self.config, "base_url", None) is not None
        return getattr(self.config, "server", None) if remote else None

    @property
    def at_once(self) -> int:
        """Calls one process takes at once: local models one, since not all of them are safe to share."""
        return self.server.concurrency if self.server else 1

    @property
    def name(self) -> str:
        """For messages."""
        return f"{'speaker' if self.speaks else 'recogniser'} {self.config.backend}"

    def open(self) -> Any:
        """The speaker or recogniser; InputError when it cannot be had here."""
        return open_speaker(self.config) if self.speaks else open_recogniser(self.config)  # type: ignore[arg-type]


class Pool(Protocol):
    """Answers calls of one model."""

    def call(self, call: Call) -> Any:
        """What the model answers. Raises BackendError when it cannot, InputError when nobody will fare better."""
        ...

    def close(self) -> None:
        """End it; calls that wait or run raise BackendError."""
        ...


OpenPool = Callable[[ModelSpec], Pool]


class InlinePool:
    """A model in this process, loaded with the first call. A call cannot be broken off here, nor its model replaced."""

    def __init__(self, spec: ModelSpec):
        self._spec = spec
        self._model: Any = None
        self._closed = False
        self._opening = threading.Lock()
        self._turn: AbstractContextManager[Any] = nullcontext() if spec.at_once > 1 else threading.Lock()

    def call(self, call: Call) -> Any:
        """See `Pool.call`."""
        with self._opening:
            if self._model is None:
                self._model = self._spec.open()
        with self._turn:
            if self._closed:
                raise BackendError(f"{self._spec.name}: closed")
            return result_of(answer(self._model, call))

    def close(self) -> None:
        """See `Pool.close`."""
        self._closed = True


def answer(model: Any, call: Call) -> Any:
    """What `model` answers, or the exception, as a value: one that crosses processes as it is."""
    method, arguments, named = call
    try:
        return getattr(model, method)(*arguments, **named)
    except (BackendError, InputError) as error:
        return error
    except MemoryError:
        raise
    except Exception as error:  # a model's own surprise: this call has no answer, another may
        return BackendError(f"{type(error).__name__}: {error}")


def result_of(answered: Any) -> Any:
    """The answer; raises what is one."""
    if isinstance(answered, BackendError | InputError):
        raise answered
    return answered


class PooledSpeaker:
    """A `Speaker` whose renderings are made in a pool."""

    def __init__(self, pool: Pool, voices: tuple[Voice, ...], knobs: tuple[Knob, ...]):
        self._pool, self.voices, self.knobs = pool, voices, knobs

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        rendering: Rendering = self._pool.call(("say", (text, voice), {"seed": seed, "speed": speed}))
        return rendering


class PooledRecogniser:
    """A `Recogniser` that listens in a pool."""

    def __init__(self, pool: Pool):
        self._pool = pool

    def transcribe(self, samples: NDArray[np.float32], language: str) -> Transcription:
        """See `Recogniser.transcribe`."""
        heard: Transcription = self._pool.call(("transcribe", (samples, language), {}))
        return heard


MARGIN: Final = 60.0
"""Seconds a server call may take beyond what its own deadlines add up to."""


def specs(config: SpeechConfig) -> tuple[dict[str, ModelSpec], ModelSpec]:
    """The speakers by backend, and the recogniser."""

    def spec(one: SpeakerConfig | RecogniserConfig, speaks: bool) -> ModelSpec:
        bare = ModelSpec(one, speaks, config.patience_seconds)
        if bare.server is None:
            return bare
        longest = (bare.server.retries + 1) * (bare.server.timeout_seconds + MARGIN)
        return ModelSpec(one, speaks, longest + MARGIN)

    return {one.backend: spec(one, True) for one in config.speakers}, spec(config.recogniser, False)


class Models:
    """All models of a config in pools: a voice pool and a recogniser. A context manager."""

    def __init__(self, config: SpeechConfig, open_pool: OpenPool = InlinePool):
        speakers, recogniser = specs(config)
        known: dict[str, Speaker] = {backend: spec.open() for backend, spec in speakers.items()}  # loads nothing
        self._pools = {backend: open_pool(spec) for backend, spec in speakers.items()}
        hearing = open_pool(recogniser)
        self.recogniser = PooledRecogniser(hearing)
        pooled = {
            backend: PooledSpeaker(self._pools[backend], tuple(one.voices), tuple(one.knobs)) for backend, one in known.items()
        }
        self._pools["recogniser"] = hearing
        self.voice_pool = VoicePool(pooled, config.voices)

    @property
    def pools(self) -> Mapping[str, Pool]:
        """By backend; the recogniser's is called `recogniser`."""
        return self._pools

    def close(self) -> None:
        """End every pool."""
        for pool in self._pools.values():
            pool.close()


@contextlib.contextmanager
def inline_models(config: SpeechConfig) -> Iterator[tuple[Models, int]]:
    """The models of a config in this process, and how many dialogues keep them busy."""
    speakers, recogniser = specs(config)
    models = Models(config, InlinePool)
    try:
        yield models, sum(spec.at_once for spec in (*speakers.values(), recogniser))
    finally:
        models.close()
