"""Running a public benchmark on a checkpoint in this process, or on an audio model behind an OpenAI-compatible server.

With `segments` = N, N items share one stream or conversation (the paper's stability under concatenation, N = 1 … 5). Groups are
shuffled by a seed; the last may be shorter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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
from soundflow.schemas.text import without_thoughts

if TYPE_CHECKING:
    from soundflow.model.device import Placement

ANSWERS: Final = ("model_output", "model_prediction", "response", "prediction", "answer")
"""Fields of published predictions that contain the model's answer."""
PAUSE_SECONDS: Final = 1.0
"""Pause after a recording: two and a half chunks to respond in."""


@dataclass(frozen=True, slots=True)
class ItemGroup:
    """Items that share a stream."""

    items: tuple[Item, ...]

    @property
    def id(self) -> str:
        """Id of the first item."""
        return self.items[0].id

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the items."""
        return tuple(item.id for item in self.items)


def segmented(items: Sequence[Item], segments: int, seed: int = 0) -> list[ItemGroup]:
    """Return items in groups of `segments`, shuffled within each category of the figures; in order if `segments` is 1."""
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
    placement: Placement | None = None,
) -> RunProgress:
    """Play items to a checkpoint. `out` receives run.json and predictions.jsonl; an incomplete run is resumed.

    Raises InputError if items of one stream have different written instructions, since a stream has one.
    """
    from soundflow.bench.harness.stream_player import StreamPlayer

    groups, speak = segmented(items, segments), voice or BenchmarkVoice()
    instructions = {item.id: (prompt := benchmark.prompt(item, mode)).instruction or prompt.text for item in items}
    if any(len({instructions[name] for name in group.ids}) > 1 for group in groups):
        remedy = "Use --mode audio or --segments 1"
        raise InputError("items with different instructions cannot share a stream", field="--segments", remedy=remedy)
    tester = {"tester": "runtime", "checkpoint": checkpoint_identity(checkpoint, placement), "threshold": threshold}
    tester |= {"room_tone_dbfs": ROOM_TONE_DBFS}
    with Predictions(out, _record(benchmark, items, mode, segments, tester)) as predictions:
        player = StreamPlayer.load(checkpoint, placement, threshold, longest_response)

        def answer(group: ItemGroup) -> list[dict[str, Any]]:
            pieces, owners = [], []
            for item in group.items:
                audio = _audio(benchmark.prompt(item, mode), item, speak) or [_NOTHING]
                pieces += [at_reference_level(one) for one in audio]
                owners += [item.id] * len(audio)
            played = player.play(pieces, instructions[group.id], PAUSE_SECONDS)
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
    placement: Placement | None = None,
) -> RunProgress:
    """Put items to a chat model; `out` as in `run_stream`."""
    speak = voice or BenchmarkVoice()

    def make(group: ItemGroup) -> Conversation:
        prompts = [(item, benchmark.prompt(item, mode)) for item in group.items]
        turns = tuple(UserTurn(item.id, prompt.text, tuple(_audio(prompt, item, speak))) for item, prompt in prompts)
        return Conversation(group.id, turns)

    def rows(group: ItemGroup, answers: list[ChatAnswer]) -> list[dict[str, Any]]:
        return [one.row() | {"place": place} for place, one in enumerate(answers)]

    tester = {"tester": "chat", "answering": config.answering("benchmark").model_dump(mode="json")}
    with Predictions(out, _record(benchmark, items, mode, segments, tester)) as predictions:
        return collect_chat(predictions, segmented(items, segments), config, make, rows)


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to score, without the thoughts of the model."""

    texts: dict[str, str]
    """Id → answer; empty for an unreadable one."""
    thoughts: int
    """Answers that contained thoughts."""
    unreadable: int
    """Of these, answers whose thoughts do not end."""

    @classmethod
    def of(cls, raw: Mapping[str, str]) -> Answers:
        """Return the answers in whole texts of a model."""
        found = {name: without_thoughts(text) for name, text in raw.items()}
        texts = {name: one.answer or "" for name, one in found.items()}
        return cls(texts, sum(one.has_thoughts for one in found.values()), sum(one.answer is None for one in found.values()))

    def notes(self) -> tuple[str, ...]:
        """Return a note if there were thoughts."""
        if not self.thoughts:
            return ()
        unreadable = f"; without an end of the thoughts (counted as wrong): {self.unreadable}" if self.unreadable else ""
        return (f"answers with thoughts of the model, which are not scored: {self.thoughts}{unreadable}",)


def read_answers(path: Path, known: set[str]) -> Answers:
    """Read third-party answers. Null is an empty answer.

    The answer is in `model_output`, `model_prediction`, `response`, `prediction` or `answer` (not in a row that repeats the
    question, where `answer` is the solution). Raises InputError for a row without an answer, an unknown id or a duplicate one.
    """
    found = {}
    for name, row in unique_rows((row.text("id"), row) for row in read_rows(path, otherwise=".jsonl")):
        if name not in known:
            raise row.error(
                "is not an item of the benchmark", "id", name, "Name the files that the answers belong to with --data"
            )
        fields = ANSWERS[:-1] if row.has("choices", "question", "prompt", "reference") else ANSWERS
        key = next((key for key in fields if key in row.values), None)
        value = None if key is None else row.values[key]
        if key is None or not (value is None or isinstance(value, str)):
            raise row.error("is not a string", key or "answer", value, "Write rows such as {id, answer}")
        found[name] = storable(value or "")
    return Answers.of(found)


def answers_of(directory: Path) -> Answers:
    """Return the answers of a run, so far."""
    return Answers.of({row.text("id"): str(row.values.get("answer") or "") for row in read_rows(directory / PREDICTIONS)})


_NOTHING: Final = np.zeros(0, dtype=np.float32)
"""Audio of an item whose question is text: only the pause is played."""


def _audio(prompt: ItemPrompt, item: Item, voice: BenchmarkVoice) -> list[Audio]:
    return [voice.say(piece.text) if isinstance(piece, Spoken) else _loaded(piece, item.where) for piece in prompt.audio]


def _loaded(recording: Recording, where: str) -> Audio:
    return load(recording.read() if isinstance(recording, Embedded) else recording, where)


def _identity(items: Sequence[Item]) -> str:
    rows = [[item.id, item.text, item.references, item.group, item.choices] for item in items]
    return hashlib.sha256(canonical_json(rows)).hexdigest()


def _record(benchmark: Benchmark, items: Sequence[Item], mode: Mode, segments: int, tester: dict[str, Any]) -> dict[str, Any]:
    return {"benchmark": benchmark.name, "mode": mode.value, "segments": segments, "set": _identity(items), **tester}
