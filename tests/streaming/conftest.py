"""A small model with random weights, as a checkpoint and in memory, and a threshold it crosses now and then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soundflow.model.frontend import CausalLogMel, chunked
from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import StreamingConfig
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.schemas.pcm16 import from_pcm16
from soundflow.streaming.events import Event, ListenConfig
from soundflow.streaming.listener import Listener

torch.set_num_threads(1)
INSTRUCTION = "Name what you hear."
TOKENIZER = QwenTokenizer.load()


def features_of(model: StreamingThinker, pcm: np.ndarray) -> np.ndarray:
    """int16 samples, a whole number of chunks, as the encoder gives them: (chunks, slots, hidden)."""
    mel = CausalLogMel().push(from_pcm16(pcm.reshape(-1)))
    with torch.inference_mode():
        return model.encode_chunks(torch.from_numpy(chunked(mel))).numpy()


def play(listener: Listener, features: np.ndarray, drains: list[int]) -> list[Event]:
    """What is told when so many chunks are heard at a time."""
    events, at = [], 0
    for drained in drains:
        events += listener.hear(features[at : at + drained])
        at += drained
        while listener.speaking:
            events += listener.step()
    return events


def clear_threshold(model: StreamingThinker, features: np.ndarray, longest: int) -> float:
    """One that some chunks cross, heard one by one, and none comes near: rounding changes no decision."""
    found = {}
    for threshold in np.linspace(0.3, 0.7, 5):
        config = ListenConfig(threshold=float(threshold), longest_response=longest)
        events = play(Listener(model, TOKENIZER, INSTRUCTION, config), features, [1] * len(features))
        chances = np.array([event.probability for event in events if event.probability is not None])
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


def with_words(self: object, event: dict[str, Any], queue: int) -> dict[str, Any]:
    """In place of `Translator.translate`: a random model says nothing that can be said aloud."""
    match event["kind"]:
        case "response" | "silent":
            kind = "response.created" if event["kind"] == "response" else "chunk.silent"
            return {"type": kind, "chunk": event["chunk"], "probability": 1.0, "latency_ms": 1.0, "queue": queue}
        case "token":
            return {"type": "response.output_text.delta", "chunk": event["chunk"], "delta": "A dog barks. "}
    return {"type": "response.done", "chunk": event["chunk"], "text": "A dog barks. ", "cut": event["cut"]}
