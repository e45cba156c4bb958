"""The sound generator of a build: procedural, or a service behind the answer cache with one budget for all workers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from soundflow.backends.calls.answers import AnswerStore
from soundflow.backends.calls.metering import CostLedger, Meter, ProcessMeter
from soundflow.backends.sounds.elevenlabs import ElevenLabsSounds
from soundflow.backends.sounds.http import HttpSounds
from soundflow.backends.sounds.procedural import Procedural
from soundflow.backends.sounds.service import RemoteGenerator, limits_of
from soundflow.operators.protocols.generation import Generator
from soundflow.pipeline.services.shared_meter import SharedMeter
from soundflow.schemas.generation import GenerationConfig


@contextlib.asynccontextmanager
async def open_generator(
    config: GenerationConfig, answers: AnswerStore, *, spent: Path | None = None, ledger: CostLedger | None = None
) -> AsyncIterator[Generator | None]:
    """Open the sound generator of a recipe, or yield None if it has none. Cached requests need neither a key nor a service.

    `spent`: the file in which all workers of a build meter their calls (None: meter only this process). `ledger`: receives the
    cost of every call.
    """
    if config.backend == "none":
        yield None
    elif config.backend == "procedural":
        yield Procedural()
    else:
        limits = limits_of(config)
        meter: Meter = SharedMeter(spent, limits) if spent else ProcessMeter(limits)
        sounds = ElevenLabsSounds(config) if config.backend == "elevenlabs" else HttpSounds(config)
        async with RemoteGenerator(sounds, config, answers, meter=meter, ledger=ledger) as generator:
            yield generator
