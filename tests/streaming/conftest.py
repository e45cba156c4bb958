"""A small model with random weights, as a checkpoint and in memory, and a threshold it crosses now and then."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from soundflow.model.frontend import CausalLogMel, chunked
from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import StreamingConfig
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.schemas.pcm16 import from_pcm16
from soundflow.streaming.events import (
    ChunkSilent,
    DecoderEvent,
    EngineEvent,
    Event,
    ListenConfig,
    ResponseCreated,
    ResponseDone,
    TextDelta,
)
from soundflow.streaming.listener import Listener
from soundflow.streaming.sessions import LiveSession

torch.set_num_threads(1)
INSTRUCTION = "Name what you hear."
TOKENIZER = QwenTokenizer.load()


def features_of(model: StreamingThinker, pcm: np.ndarray) -> np.ndarray:
    """int16 samples, a whole number of chunks, as the encoder gives them: (chunks, slots, hidden)."""
    mel = CausalLogMel().push(from_pcm16(pcm.reshape(-1)))
    with torch.inference_mode():
        return model.encode_chunks(torch.from_numpy(chunked(mel))).numpy()


def play(listener: Listener, features: np.ndarray, drains: list[int]) -> list[DecoderEvent]:
    """Events of a listener that drains these numbers of chunks."""
    events, at = [], 0
    for drained in drains:
        events += listener.drain(features[at : at + drained])
        at += drained
        while listener.responding:
            events += listener.step()
    return events


def decisions(events: Sequence[Event]) -> list[ChunkSilent | ResponseCreated]:
    """One per chunk."""
    return [event for event in events if isinstance(event, ChunkSilent | ResponseCreated)]


def clear_threshold(model: StreamingThinker, features: np.ndarray, longest: int) -> float:
    """A threshold that some chunks reach and none comes close to, so that rounding changes no decision."""
    found = {}
    for threshold in np.linspace(0.3, 0.7, 5):
        config = ListenConfig(threshold=float(threshold), longest_response=longest)
        events = play(Listener(model, TOKENIZER, INSTRUCTION, config), features, [1] * len(features))
        chances = np.array([event.probability for event in decisions(events)])
        if 1 < (chances >= threshold).sum() < len(features) - 1:
            found[np.abs(chances - threshold).min()] = float(threshold)
    assert max(found) > 1e-3
    return found[max(found)]


@pytest.fixture(scope="session")
def model() -> StreamingThinker:
    known = TOKENIZER.encode(f"{INSTRUCTION} I heard a dog 汪汪 über")
    ids = tuple(sorted({*known, *range(256)}))
    return StreamingThinker.from_scratch("nano", StreamingConfig(layout="soundflow/1", text_ids=ids), seed=3).eval()


@pytest.fixture(scope="session")
def checkpoint(model: StreamingThinker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoint")
    model.save(directory)
    return directory


@pytest.fixture
def sayable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token is a sentence: the text of a random model has no words that could be spoken."""
    receive = LiveSession._receive

    def with_words(session: LiveSession, event: EngineEvent) -> None:
        if isinstance(event, TextDelta):
            event = event.model_copy(update={"delta": "A dog barks. "})
        if isinstance(event, ResponseDone):
            event = event.model_copy(update={"text": "A dog barks. "})
        receive(session, event)

    monkeypatch.setattr(LiveSession, "_receive", with_words)
