"""Running ProactiveSound-Bench on a checkpoint as a stream, or on a chat model behind a server with the public prompt.

A stream contains one sound in the tier Single, and two to five sounds of a sub-category in the tier Multiple. A sound counts as
answered if a response opens between its first chunk and the first chunk of the next sound. A chat model receives one sound per
turn, with the history of the conversation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from soundflow.bench.harness.chat_player import ChatAnswer, Conversation, UserTurn
from soundflow.bench.harness.collect import RunProgress, checkpoint_identity, collect_chat, collect_local
from soundflow.bench.harness.predictions import Predictions
from soundflow.bench.harness.sounds import ROOM_TONE_DBFS, Audio, at_reference_level, level_db, load
from soundflow.bench.proactive.metadata import Decision, Prediction, Sound, set_name
from soundflow.bench.proactive.multiple import Stream, multiple, read_manifest, single, write_manifest
from soundflow.bench.proactive.prompt import PUBLIC, instruction
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.llm import LlmConfig

if TYPE_CHECKING:
    from soundflow.model.device import Placement

MANIFEST: Final = "tier.jsonl"
"""File in the run's directory that lists its streams."""


@dataclass(frozen=True, slots=True)
class StreamGroup:
    """A stream of a tier as a group of rows."""

    stream: Stream

    @property
    def id(self) -> str:
        """Id of the stream."""
        return self.stream.id

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of its sounds."""
        return self.stream.sounds


class ProactiveSet:
    """The sounds of a set with their recordings."""

    def __init__(self, sounds: Sequence[Sound], root: Path, partial: bool = False):
        """Raise InputError if recordings are missing, unless `partial`: then their sounds are not run and count as wrong."""
        self.files = {sound.id: sound.file(root) for sound in sounds}
        missing = [name for name, file in self.files.items() if not file.is_file()]
        if missing and (not partial or len(missing) == len(sounds)):
            why = f"{len(missing)} of {len(sounds)} recordings are missing, such as {self.files[missing[0]]}"
            remedy = "Name the folder that contains `proactive-sound-effect`, or run with --partial, which counts them as wrong"
            raise InputError(why, file=root, field="--audio", remedy=remedy)
        self.sounds = list(sounds)
        self.available = [sound for sound in sounds if sound.id not in set(missing)]

    def audio(self, name: str) -> Audio:
        """Load the recording of a sound."""
        return load(self.files[name])

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of the rows without standard answers, which do not affect a run."""
        rows = [sound.model_dump(mode="json") | {"standard_answers": []} for sound in self.sounds]
        return hashlib.sha256(canonical_json(rows)).hexdigest()

    def tier(self, name: str, seed: int, manifest: Path | None = None) -> list[StreamGroup]:
        """Return the streams of the tier `single` or `multiple`, or those of `manifest` if given."""
        if manifest is not None:
            streams = read_manifest(manifest, self.sounds)
        else:
            streams = single(self.sounds) if name == "single" else multiple(self.sounds, seed)
        available = {sound.id for sound in self.available}
        kept = [one.model_copy(update={"sounds": tuple(name for name in one.sounds if name in available)}) for one in streams]
        return [StreamGroup(one) for one in kept if one.sounds]

    def measured(self, predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
        """Return `predictions` completed with the levels and lengths of available recordings."""
        found = dict(predictions)
        for sound in self.available:
            prediction = found.get(sound.id)
            if prediction is not None and (prediction.level_db is None or prediction.seconds is None):
                samples = self.audio(sound.id)
                seconds = len(samples) / c.SAMPLE_RATE if prediction.seconds is None else prediction.seconds
                found[sound.id] = prediction.model_copy(update={"level_db": level_db(samples), "seconds": seconds})
        return found

    def levels(self) -> list[float | None]:
        """Return the levels (dBFS) of all recordings, in order; None for a missing one."""
        available = {sound.id for sound in self.available}
        return [level_db(self.audio(sound.id)) if sound.id in available else None for sound in self.sounds]


def run_stream(
    proactive: ProactiveSet,
    groups: Sequence[StreamGroup],
    out: Path,
    checkpoint: Path,
    *,
    threshold: float = 0.5,
    as_recorded: bool = False,
    text: str | None = None,
    placement: Placement | None = None,
) -> RunProgress:
    """Play a tier to a checkpoint. `out` receives run.json, tier.jsonl and predictions.jsonl; an incomplete run is resumed.

    Recordings are scaled to the level of clips in corpora, unless `as_recorded`. `text` replaces the default instruction.
    """
    from soundflow.bench.harness.stream_player import StreamPlayer

    text = text or instruction()
    tester = {
        "tester": "runtime",
        "checkpoint": checkpoint_identity(checkpoint, placement),
        "threshold": threshold,
        "instruction": text,
    }
    tester |= {"as_recorded": as_recorded, "room_tone_dbfs": ROOM_TONE_DBFS}
    with Predictions(out, _record(proactive, groups, tester)) as predictions:
        write_manifest(out / MANIFEST, [group.stream for group in groups])
        player = StreamPlayer.load(checkpoint, placement, threshold)

        def answer(group: StreamGroup) -> list[dict[str, Any]]:
            recordings = [proactive.audio(name) for name in group.ids]
            scaled = recordings if as_recorded else [at_reference_level(one) for one in recordings]
            played = player.play(scaled, text, group.stream.gap_seconds)
            return [
                {
                    "id": name,
                    "decision": (Decision.RESPOND if one.responses else Decision.IGNORE).value,
                    "reply": one.text,
                    "seconds": one.seconds,
                    "level_db": round(level_db(recording), 3),
                    "stream": group.id,
                    "chunks": [round(chance, 4) for chance in one.probabilities],
                    "said": [{"chunk": reply.chunk, "text": reply.text} for reply in one.responses],  # a stored name
                }
                for name, recording, one in zip(group.ids, recordings, played, strict=True)
            ]

        return collect_local(predictions, groups, answer)


def run_chat(proactive: ProactiveSet, groups: Sequence[StreamGroup], out: Path, config: LlmConfig) -> RunProgress:
    """Put the public prompt and the sounds of a tier to a chat model; `out` as in `run_stream`."""
    tester = {"tester": "chat", "answering": config.answering("benchmark").model_dump(mode="json"), "prompt": PUBLIC}
    measured: dict[str, tuple[float, float]] = {}

    def make(group: StreamGroup) -> Conversation:
        turns = []
        for name in group.ids:
            samples = proactive.audio(name)
            measured[name] = len(samples) / c.SAMPLE_RATE, round(level_db(samples), 3)
            turns.append(UserTurn(name, PUBLIC, (samples,)))
        return Conversation(group.id, tuple(turns))

    def rows(group: StreamGroup, answers: list[ChatAnswer]) -> list[dict[str, Any]]:
        return [
            {"id": one.id, "_raw_reply": one.text, "seconds": measured[one.id][0], "level_db": measured[one.id][1]}
            | {"stream": group.id, "finish": one.finish, "answered_by": one.model}
            | ({"error": one.error} if one.error else {})
            for one in answers
        ]

    with Predictions(out, _record(proactive, groups, tester)) as predictions:
        write_manifest(out / MANIFEST, [group.stream for group in groups])
        return collect_chat(predictions, groups, config, make, rows)


def _record(proactive: ProactiveSet, groups: Sequence[StreamGroup], tester: Mapping[str, Any]) -> dict[str, Any]:
    tier = hashlib.sha256(canonical_json([group.stream.model_dump(mode="json") for group in groups])).hexdigest()
    kind = groups[0].stream.tier if groups else "single"
    return {"benchmark": set_name(proactive.sounds), "tier": kind, "set": proactive.identity, "streams": tier, **tester}
