"""Running one of the seven: a checkpoint in this process, or an audio model behind an OpenAI-compatible server.

With `segments` N, N items share one stream or conversation (the paper's stability under concatenation, N = 1 … 5): each is
answered after those before it. Groups are dealt by a seed; the last may be shorter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from soundflow.bench.harness.chat_player import ChatAnswer, Conversation, UserTurn
from soundflow.bench.harness.collect import RunProgress, checkpoint_identity, collect_chat, collect_local
from soundflow.bench.harness.predictions import PREDICTIONS, Predictions
from soundflow.bench.harness.rows import read_rows, storable, unique_rows
from soundflow.bench.harness.sounds import ROOM_TONE_DBFS, Audio, at_reference_level, load
from soundflow.bench.suites.item import Benchmark, Embedded, Item, ItemPrompt, Mode, Recording, Spoken
from soundflow.bench.suites.spoken import BenchmarkVoice
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.identity import rng_for
from soundflow.schemas.llm import LlmConfig

ANSWERS: Final = ("model_output", "model_prediction", "response", "prediction", "answer")
"""Where published predictions keep what the model said."""
PAUSE_SECONDS: Final = 1.0
"""Behind a recording: two and a half chunks to answer in."""


@dataclass(frozen=True, slots=True)
class ItemGroup:
    """Items that share a stream."""

    items: tuple[Item, ...]

    @property
    def id(self) -> str:
        """Of its first item."""
        return self.items[0].id

    @property
    def ids(self) -> tuple[str, ...]:
        """Of its items."""
        return tuple(item.id for item in self.items)


def segmented(items: Sequence[Item], segments: int, seed: int = 0) -> list[ItemGroup]:
    """Items in groups of `segments`, shuffled by the seed within what figures are broken down by; in order when alone."""
    if segments == 1:
        return [ItemGroup((item,)) for item in items]
    groups: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: item.id):
        groups.setdefault(item.group, []).append(item)
    dealt = []
    for name, group in sorted(groups.items()):
        order = [group[place] for place in rng_for(f"segments/{seed}/{segments}/{name}", 0, 0, "deal").permutation(len(group))]
        dealt += [ItemGroup(tuple(order[start : start + segments])) for start in range(0, len(order), segments)]
    return dealt


def run_stream(
    benchmark: Benchmark,
    items: Sequence[Item],
    out: Path,
    checkpoint: Path,
    mode: Mode,
    *,
    segments: int = 1,
    threshold: float = 0.5,
    longest_response: int = 256,
    voice: BenchmarkVoice | None = None,
) -> RunProgress:
    """Play items to a checkpoint; `out` has run.json and predictions.jsonl, and is taken up where it was left.

    InputError when items that share a stream are told different things in writing: a stream has one instruction.
    """
    from soundflow.bench.harness.stream_player import StreamPlayer

    groups, speak = segmented(items, segments), voice or BenchmarkVoice()
    told = {item.id: (ask := benchmark.prompt(item, mode)).instruction or ask.text for item in items}
    if any(len({told[name] for name in group.ids}) > 1 for group in groups):
        remedy = "Use --mode audio, or --segments 1"
        raise InputError("a stream is told one thing, and these items differ in writing", field="segments", remedy=remedy)
    about = {"tester": "runtime", "checkpoint": checkpoint_identity(checkpoint), "threshold": threshold}
    about |= {"room_tone_dbfs": ROOM_TONE_DBFS}
    with Predictions(out, _about(benchmark, items, mode, segments, about)) as predictions:
        player = StreamPlayer.load(checkpoint, threshold, longest_response)

        def answer(group: ItemGroup) -> list[dict[str, Any]]:
            pieces, owners = [], []
            for item in group.items:
                heard = _heard(benchmark.prompt(item, mode), item, speak) or [_NOTHING]
                pieces += [at_reference_level(one) for one in heard]
                owners += [item.id] * len(heard)
            played = player.play(pieces, told[group.id], PAUSE_SECONDS)
            rows = []
            for place, item in enumerate(group.items):
                own = [one for owner, one in zip(owners, played, strict=True) if owner == item.id]
                text = " ".join(one.text for one in own if one.text)
                opened = sum(len(one.responses) for one in own)
                seconds = sum(one.seconds for one in own)
                rows.append({"id": item.id, "answer": text, "responses": opened, "seconds": seconds, "place": place})
            return rows

        return collect_local(predictions, groups, answer)


def run_chat(
    benchmark: Benchmark,
    items: Sequence[Item],
    out: Path,
    config: LlmConfig,
    mode: Mode,
    *,
    segments: int = 1,
    voice: BenchmarkVoice | None = None,
) -> RunProgress:
    """Ask a chat model; `out` as in `run_stream`."""
    speak = voice or BenchmarkVoice()

    def make(group: ItemGroup) -> Conversation:
        asks = [(item, benchmark.prompt(item, mode)) for item in group.items]
        return Conversation(group.id, tuple(UserTurn(item.id, ask.text, tuple(_heard(ask, item, speak))) for item, ask in asks))

    def rows(group: ItemGroup, answers: list[ChatAnswer]) -> list[dict[str, Any]]:
        return [one.row() | {"place": place} for place, one in enumerate(answers)]

    about = {"tester": "chat", "answering": config.answering("benchmark").model_dump(mode="json")}
    with Predictions(out, _about(benchmark, items, mode, segments, about)) as predictions:
        return collect_chat(predictions, segmented(items, segments), config, make, rows)


def read_answers(path: Path, known: set[str]) -> dict[str, str]:
    """Anyone's answers by id: `model_output`, `model_prediction`, `response`, `prediction`, or `answer` (unless
    the row repeats the question: then that is the solution); null is an empty answer.

    InputError for a row without any of them, an id that is no item's, or one that is there twice.
    """
    found = {}
    for name, row in unique_rows((row.text("id"), row) for row in read_rows(path, otherwise=".jsonl")):
        if name not in known:
            raise row.error("is no item of the benchmark", "id", name, "Score against the files the answers were made for")
        given = ANSWERS[:-1] if row.has("choices", "question", "prompt", "reference") else ANSWERS  # there it is the solution
        key = next((key for key in given if key in row.values), None)
        value = None if key is None else row.values[key]
        if key is None or not (value is None or isinstance(value, str)):
            raise row.error("has no answer that is text", key or "answer", value, "One row: {id, answer}")
        found[name] = storable(value or "")
    return found


def answers_of(directory: Path) -> dict[str, str]:
    """Id → answer of a run, so far."""
    return {row.text("id"): str(row.values.get("answer") or "") for row in read_rows(directory / PREDICTIONS)}


_NOTHING: Final = np.zeros(0, dtype=np.float32)
"""What a stream hears before its pause when a question is only read."""


def _heard(ask: ItemPrompt, item: Item, voice: BenchmarkVoice) -> list[Audio]:
    return [voice.say(piece.text) if isinstance(piece, Spoken) else _loaded(piece, item.where) for piece in ask.audio]


def _loaded(recording: Recording, where: str) -> Audio:
    return load(recording.read() if isinstance(recording, Embedded) else recording, where)


def _identity(items: Sequence[Item]) -> str:
    rows = [[item.id, item.text, item.references, item.group, item.choices] for item in items]
    return hashlib.sha256(canonical_json(rows)).hexdigest()


def _about(benchmark: Benchmark, items: Sequence[Item], mode: Mode, segments: int, tester: dict[str, Any]) -> dict[str, Any]:
    return {"benchmark": benchmark.name, "mode": mode.value, "segments": segments, "set": _identity(items), **tester}
