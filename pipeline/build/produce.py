"""Produce one sample from its identity: planning, composition, tokens and encoding. An outcome names the stage that failed."""

from __future__ import annotations

import io
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import soundfile

from soundflow.operators.compose.clips import ClipPool
from soundflow.operators.compose.mixing import Audio, StreamIdentity, compose, stream_pcm16
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.operators.tokens.replies import find_response_problem
from soundflow.operators.tokens.tokenize import to_npz, tokenize
from soundflow.pipeline.curate.scenes import SceneSource
from soundflow.schemas import constants as c
from soundflow.schemas.identity import rng_for, sample_id
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.scene import Scene
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.tokens import LATEST


@dataclass(frozen=True, slots=True)
class Sample:
    """A stream, ready for a shard."""

    plan: StreamPlan
    members: dict[str, bytes]
    """Suffix → content, in the order of the shard."""


@dataclass(slots=True)
class Produced:
    """The outcome of a sample, and the draws that were rejected before it."""

    outcome: Outcome[Sample]
    attempts: int = 1
    redraws: Counter[str] = field(default_factory=Counter)
    """Reason → number of rejected draws."""


class Producer:
    """Produces samples of one recipe. Keeps the clip index, the scenes and the tokenizer loaded."""

    def __init__(
        self,
        recipe: Recipe,
        fingerprint: str,
        pool: ClipPool,
        scenes: SceneSource,
        tokenizer: QwenTokenizer | None = None,
        virtual: bool = False,
    ):
        """`virtual`: produce samples without audio."""
        self.recipe, self.fingerprint, self.pool, self.scenes = recipe, fingerprint, pool, scenes
        self.tokenizer = tokenizer or QwenTokenizer.load()
        self.virtual = virtual
        self.layout = LATEST[recipe.output.token_layout]

    def produce(self, shard: int, index: int) -> Produced:
        """Make sample `index` of `shard`, with up to `scenes.attempts` draws. Raises only MemoryError; see `draw`."""
        produced = Produced(Rejected("never_drawn"))
        for attempt in range(self.scenes.attempts(shard, index)):
            produced.attempts = attempt + 1
            produced.outcome = self.draw(shard, index, attempt)
            if not isinstance(produced.outcome, Rejected):
                break
            produced.redraws[produced.outcome.reason] += 1
        return produced

    def draw(self, shard: int, index: int, attempt: int) -> Outcome[Sample]:
        """Make one draw of a sample; return Ok, Rejected by a gate, or Failed with stage, traceback and the plan so far.

        Raises MemoryError, which is not caused by the sample: a later attempt at the shard can make it.
        """
        payload: dict[str, Any] = {"attempt": attempt}
        stage = "planning"
        try:
            scene = self.scenes.scene(shard, index, attempt)
            if not isinstance(scene, Ok):
                return scene
            payload["scene"] = scene.value.model_dump(mode="json")
            stage = "mixing"
            mixed = self._compose(scene.value, shard, index, attempt)
            if not isinstance(mixed, Ok):
                return mixed
            plan, audio = mixed.value
            for response in plan.responses:
                reason, detail = find_response_problem(response.text, self.tokenizer)
                if reason:
                    return Rejected(reason, {"chunk": response.chunk, "detail": detail})
            payload["plan"] = plan.model_dump(mode="json")
            stage = "encoding"
            return Ok(Sample(plan, self.members(plan, audio)))
        except MemoryError:
            raise
        except Exception as error:
            payload["traceback"] = traceback.format_exc()
            return Failed(f"{type(error).__name__}: {error}", stage, payload)

    def _compose(self, scene: Scene, shard: int, index: int, attempt: int) -> Outcome[tuple[StreamPlan, Audio]]:
        identity = StreamIdentity(sample_id(self.fingerprint, shard, index), self.fingerprint, shard, index, attempt)
        rng = rng_for(self.fingerprint, shard, index, "mix", attempt)
        return compose(scene, identity, self.scenes.pool(shard, index), self.recipe.mixing, self.layout.id, rng)

    def members(self, plan: StreamPlan, audio: Audio) -> dict[str, bytes]:
        """Return the files of a stream: audio (unless virtual), plan and tokens."""
        tokens = tokenize(plan.instruction, plan.chunks, plan.timeline(), self.tokenizer, self.layout, plan.emotions())
        kind = self.recipe.output.audio
        sound: dict[str, bytes] = {} if self.virtual else {kind: encode(audio, kind)}
        return {**sound, "json": plan.canonical_json(), "tokens.npz": to_npz(tokens)}


def encode(audio: Audio, kind: str) -> bytes:
    """Encode mono 16 kHz audio as PCM16 in a FLAC or WAV file. Equal samples give equal bytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, stream_pcm16(audio), c.SAMPLE_RATE, format=kind.upper(), subtype="PCM_16")
    return buffer.getvalue()
