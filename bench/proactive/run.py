"""Testing a model on ProactiveSound-Bench: as a stream through our runtime, or by the public prompt behind a server.

On the Single tier a stream holds one sound, on Multiple two to five of a sub-category. In a stream a sound is answered when the
model opens a response in its span: from the sound's first chunk to the next sound's. A chat model gets a sound a turn, and what
it said before stays in its conversation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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

MANIFEST: Final = "tier.jsonl"
"""In the run's directory: which streams were heard."""


@dataclass(frozen=True, slots=True)
class StreamGroup:
    """A stream of a tier as a group of rows."""

    stream: Stream

    @property
    def id(self) -> str:
        """Of the stream."""
        return self.stream.id

    @property
    def ids(self) -> tuple[str, ...]:
        """Of its sounds."""
        return self.stream.sounds


class ProactiveSet:
    """The sounds of a benchmark with their recordings."""

    def __init__(self, sounds: Sequence[Sound], root: Path, partial: bool = False):
        """InputError when recordings are missing, unless `partial`: then their sounds are not asked, and count as wrong."""
        self.files = {sound.id: sound.file(root) for sound in sounds}
        missing = [name for name, file in self.files.items() if not file.is_file()]
        if missing and (not partial or len(missing) == len(sounds)):
            why = f"{len(missing)} of {len(sounds)} recordings are missing, the first of them"
            remedy = "Name the folder that holds `proactive-sound-effect` (--audio), or say --partial: what is missing is wrong"
            raise InputError(why, file=root, field="audio", value=str(self.files[missing[0]]), remedy=remedy)
        self.sounds = list(sounds)
        self.here = [sound for sound in sounds if sound.id not in set(missing)]

    def audio(self, name: str) -> Audio:
        """A sound as it was recorded."""
        return load(self.files[name])

    @property
    def identity(self) -> str:
        """SHA-256 (hex) over the rows; the recordings are named by them. Standard answers are the scorer's, nobody hears them."""
        rows = [sound.model_dump(mode="json") | {"standard_answers": []} for sound in self.sounds]
        return hashlib.sha256(canonical_json(rows)).hexdigest()

    def tier(self, name: str, seed: int, manifest: Path | None = None) -> list[StreamGroup]:
        """The streams of tier `single` or `multiple`, the latter from its `manifest` where there is one."""
        if manifest is not None:
            streams = read_manifest(manifest, self.sounds)
        else:
            streams = single(self.sounds) if name == "single" else multiple(self.sounds, seed)
        here = {sound.id for sound in self.here}
        kept = [one.model_copy(update={"sounds": tuple(name for name in one.sounds if name in here)}) for one in streams]
        return [StreamGroup(one) for one in kept if one.sounds]

    def measured(self, predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
        """`predictions` with levels and lengths of the recordings that are here; sounds without a prediction stay without."""
        found = dict(predictions)
        for sound in self.here:
            given = found.get(sound.id)
            if given is not None and (given.level_db is None or given.seconds is None):
                samples = self.audio(sound.id)
                seconds = len(samples) / c.SAMPLE_RATE if given.seconds is None else given.seconds
                found[sound.id] = given.model_copy(update={"level_db": level_db(samples), "seconds": seconds})
        return found

    def levels(self) -> list[float | None]:
        """Of every sound's recording, in order; None where it is missing."""
        here = {sound.id for sound in self.here}
        return [level_db(self.audio(sound.id)) if sound.id in here else None for sound in self.sounds]


def run_stream(
    proactive: ProactiveSet,
    groups: Sequence[StreamGroup],
    out: Path,
    checkpoint: Path,
    *,
    threshold: float = 0.5,
    as_recorded: bool = False,
    told: str | None = None,
) -> RunProgress:
    """Play a tier to a checkpoint; `out` gets run.json, tier.jsonl and predictions.jsonl, and is taken up where it was left.

    Recordings are brought to the level corpora have, unless `as_recorded`. `told`: another instruction.
    """
    from soundflow.bench.harness.stream_player import StreamPlayer

    said = told or instruction()
    about = {"tester": "runtime", "checkpoint": checkpoint_identity(checkpoint), "threshold": threshold, "instruction": said}
    about |= {"as_recorded": as_recorded, "room_tone_dbfs": ROOM_TONE_DBFS}
    with Predictions(out, _about(proactive, groups, about)) as predictions:
        write_manifest(out / MANIFEST, [group.stream for group in groups])
        player = StreamPlayer.load(checkpoint, threshold)

        def answer(group: StreamGroup) -> list[dict[str, Any]]:
            recordings = [proactive.audio(name) for name in group.ids]
            heard = recordings if as_recorded else [at_reference_level(one) for one in recordings]
            played = player.play(heard, said, group.stream.gap_seconds)
            return [
                {
                    "id": name,
                    "decision": (Decision.RESPOND if one.responses else Decision.IGNORE).value,
                    "reply": one.text,
                    "seconds": one.seconds,
                    "level_db": round(level_db(recording), 3),
                    "stream": group.id,
                    "chunks": [round(chance, 4) for chance in one.probabilities],
                    "said": [{"chunk": here.chunk, "text": here.text} for here in one.responses],
                }
                for name, recording, one in zip(group.ids, recordings, played, strict=True)
            ]

        return collect_local(predictions, groups, answer)


def run_chat(proactive: ProactiveSet, groups: Sequence[StreamGroup], out: Path, config: LlmConfig) -> RunProgress:
    """Put the public prompt and a tier's sounds to a chat model; `out` as in `run_stream`."""
    about = {"tester": "chat", "answering": config.answering("benchmark").model_dump(mode="json"), "prompt": PUBLIC}
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

    with Predictions(out, _about(proactive, groups, about)) as predictions:
        write_manifest(out / MANIFEST, [group.stream for group in groups])
        return collect_chat(predictions, groups, config, make, rows)


def _about(proactive: ProactiveSet, groups: Sequence[StreamGroup], tester: Mapping[str, Any]) -> dict[str, Any]:
    tier = hashlib.sha256(canonical_json([group.stream.model_dump(mode="json") for group in groups])).hexdigest()
    kind = groups[0].stream.tier if groups else "single"
    return {"benchmark": set_name(proactive.sounds), "tier": kind, "set": proactive.identity, "streams": tier, **tester}
