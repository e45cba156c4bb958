"""The checks of `soundflow verify` on one sample: everything in it that follows from something else is derived again.

Tokens follow from the plan; audio from plan and clips; what the plan says of a clip from the clip index; the scene from recipe,
index and identity; the places of the responses from their evidence. A forger who makes all hashes agree gains nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundflow.operators.compose.clips import ClipPool
from soundflow.operators.compose.mixing import STREAM_FULL_SCALE, measure, stream_pcm16
from soundflow.operators.compose.noise import NOISE_ROLES, amplitude_for
from soundflow.operators.tasks.supervision import find_disagreements
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.operators.tokens.tokenize import TokenError, detokenize, from_npz, to_npz, tokenize
from soundflow.pipeline.corpus.clip_store import ClipStore
from soundflow.pipeline.corpus.versions import OPERATOR_VERSIONS
from soundflow.pipeline.curate.scenes import SceneSource
from soundflow.prompts import prompt_hash
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.identity import sample_id
from soundflow.schemas.outcome import Ok
from soundflow.schemas.shard import BuildRecord
from soundflow.schemas.stream import PlannedClip, PlannedNoise, PlannedPiece, StreamPlan, timeline_of
from soundflow.schemas.tokens import LATEST, layout_of

Finding = tuple[str, str]
"""Check (a slug of `schemas.shard.Problem`) and detail."""
Findings = Iterator[Finding]

PCM_STEP: Final = 1 / STREAM_FULL_SCALE
ROUNDING: Final = 1e-9
"""Relative: numbers of the plan that follow from others agree to the last bits of a float."""
_FROM_INDEX: Final = (
    "content_sha256", "clean_sha256", "kind", "label", "caption", "transcript", "reply", "language", "dialogue", "turn", "voice",
    "translation", "translation_language", "interpreter", "emotion", "source", "licence", "attribution", "active_level_db",
)  # fmt: skip
_NOISE_FROM_INDEX: Final = ("content_sha256", "clean_sha256", "label", "source", "licence", "attribution")
_WORDS: Final = frozenset({"label", "caption", "transcript", "reply", "translation"})


class SampleChecker:
    """Checks samples of one build. `pool` or `scenes` None: what needs the clips, or the scenes, is left out.

    `store`: the clips of a virtual build, whose audio is then rendered from them.
    """

    def __init__(self, record: BuildRecord, pool: ClipPool | None, scenes: SceneSource | None, store: ClipStore | None = None):
        self.record, self.recipe, self.pool, self.scenes, self.store = record, record.recipe, pool, scenes, store
        self.tokenizer = QwenTokenizer.load()
        # Another version of a prompt or operator would derive other words and places: both are then left as they are.
        self.same_words = record.prompt_hash == prompt_hash() and record.operator_versions == OPERATOR_VERSIONS
        self.clips: dict[str, Clip | None] = {}

    def check(self, key: str, members: dict[str, bytes], shard: int) -> tuple[StreamPlan | None, list[Finding]]:
        """The plan of sample `key` of `shard` (None when it has none that parses) and what is wrong with the sample."""
        kind = self.recipe.output.audio
        wanted = [*([] if self.record.virtual else [kind]), "json", "tokens.npz"]
        found: list[Finding] = []
        if list(members) != wanted:
            found.append(("members", f"has {list(members)}, a sample is {wanted}"))
        if "json" not in members:
            return None, found
        try:
            plan = StreamPlan.from_json(members["json"], file=f"{key}.json")
        except InputError as error:
            return None, [*found, ("labels", str(error))]
        if plan.canonical_json() != members["json"]:
            found.append(("members", f"{key}.json is not canonical JSON"))
        parts: list[tuple[str, Callable[[], Findings]]] = [
            ("manifest", lambda: self._identity(key, plan, shard)),
            ("response", lambda: self._timeline(plan)),
            ("labels", lambda: self._scene(plan)),
            ("clips", lambda: self._clips(plan)),
            ("snr", lambda: self._noises(plan)),
        ]
        if self.store is not None:
            parts.append(("render", lambda: self._tracks(plan, None)))
        elif kind in members:
            parts.append(("duration", lambda: self._audio(plan, members[kind])))
        if "tokens.npz" in members:
            parts.append(("timeline", lambda: self._tokens(plan, members["tokens.npz"])))
        for check, derive in parts:
            try:
                with np.errstate(all="ignore"):
                    found += derive()
            except Exception as error:  # values no sound plan has, an index that fails: a finding, never a crash
                found.append((check, f"cannot be checked: {type(error).__name__}: {error}"))
        return plan, found

    def _identity(self, key: str, plan: StreamPlan, shard: int) -> Findings:
        if plan.fingerprint != self.record.fingerprint:
            yield "fingerprint", f"the plan is of {plan.fingerprint[:12]}"
        if key != plan.sample_id or key != sample_id(plan.fingerprint, plan.shard, plan.index) or plan.shard != shard:
            yield "manifest", f"the plan says it is {plan.sample_id}, sample {plan.index} of shard {plan.shard}"
        layout = LATEST[self.recipe.output.token_layout]
        if plan.token_layout.partition("/")[0] != layout.name or (self.same_words and plan.token_layout != layout.id):
            yield "timeline", f"token layout {plan.token_layout}, the recipe says {layout.id}"

    def _timeline(self, plan: StreamPlan) -> Findings:
        """Chunk numbers follow from the evidence, answers from the clips."""
        pieces = [piece for response in plan.responses for piece in response.pieces]
        if plan.responses != timeline_of(pieces):
            for response, told in zip_longest(plan.responses, timeline_of(pieces)):
                if response != told:
                    opens = response and f"opens at chunk {response.chunk} (due {response.due_chunk}) with {response.text!r}"
                    due = told and f"chunk {told.chunk} (due {told.due_chunk}) with {told.text!r}"
                    yield "response", f"a response {opens}, the evidence says {due}"
        if pieces != sorted(pieces, key=lambda piece: (piece.evidence, piece.event)):
            yield "response", "the responses are not in the order of their evidence"
        if self.same_words:
            for detail in find_disagreements(plan):
                yield "labels", detail

    def _scene(self, plan: StreamPlan) -> Findings:
        """The scene follows from recipe, index and identity, or stands in the sheet that was curated."""
        if self.scenes is None or not (self.same_words or self.recipe.curates):
            return
        attempts = self.scenes.attempts(plan.shard, plan.index)
        if plan.attempt >= attempts:
            yield "manifest", f"attempt {plan.attempt}, there are {attempts}"
            return
        planned = self.scenes.scene(plan.shard, plan.index, plan.attempt)
        if not isinstance(planned, Ok):
            yield "labels", f"planned again it is {planned}"
            return
        scene = planned.value
        for name in ("task", "planner", "title", "instruction", "brief"):
            if getattr(plan, name) != getattr(scene, name):
                yield "labels", f"{name} is {getattr(plan, name)!r}, planned again {getattr(scene, name)!r}"
        if plan.draws[: len(scene.draws)] != scene.draws:
            yield "labels", "the draws are not those of the scene"
        told = [(clip.clip_id, clip.role) for clip in plan.clips]
        if told != [(event.clip_id, event.role) for event in scene.events]:
            yield "labels", "clips and roles are not those of the scene"
            return
        said: dict[int, list[PlannedPiece]] = {}
        for response in plan.responses:
            for piece in response.pieces:
                said.setdefault(piece.event, []).append(piece)
        length = 0
        for number, (event, clip) in enumerate(zip(scene.events, plan.clips, strict=True)):
            answer = [(piece.text, piece.source, piece.joins, piece.emotion) for piece in said.get(number, ())]
            wanted = [(response.text, response.source, response.joins, response.emotion) for response in event.responses]
            if answer != wanted:
                yield "labels", f"event {number} is answered {answer}, planned again {wanted}"
            due = [clip.offset + max(response.evidence - clip.start, 1) for response in event.responses]
            if [piece.evidence for piece in said.get(number, ())] != due:
                yield "response", f"event {number}: evidence at {[p.evidence for p in said.get(number, ())]}, planned again {due}"
            if event.role is ClipRole.FOREGROUND:
                if clip.offset != length + event.gap:
                    yield "clips", f"event {number} begins at {clip.offset}, planned again at {length + event.gap}"
                length = clip.offset + clip.length

    def _clips(self, plan: StreamPlan) -> Findings:
        """Levels follow from the recipe, the rest from the index."""
        mixing = self.recipe.mixing
        gains = {
            ClipRole.FOREGROUND: mixing.foreground_gain_db,
            ClipRole.BACKGROUND: mixing.background_gain_db,
            ClipRole.AMBIENT: mixing.ambient_gain_db,
        }
        if plan.reference_level_dbfs != mixing.reference_level_dbfs:
            yield "clips", f"reference level {plan.reference_level_dbfs} dBFS, the recipe says {mixing.reference_level_dbfs}"
        foreground = max((clip.offset + clip.length for clip in plan.clips if clip.role is ClipRole.FOREGROUND), default=0)
        for number, planned in enumerate(plan.clips):
            if planned.gain_db != gains.get(planned.role):
                yield "clips", f"event {number}: gain {planned.gain_db} dB, the recipe says {gains.get(planned.role)}"
            told = 10.0 ** ((plan.reference_level_dbfs - planned.active_level_db + planned.gain_db) / 20.0)
            if abs(planned.amplitude - told) > ROUNDING * told:
                yield "clips", f"event {number}: amplitude {planned.amplitude:.6g}, its levels give {told:.6g}"
            clip = self._clip(planned.clip_id)
            if self.pool is None:
                continue
            if clip is None:
                yield "clips", f"event {number}: no clip {planned.clip_id!r} in the index"
                continue
            for name in _FROM_INDEX:
                if getattr(clip, name) != getattr(planned, name):
                    there, known = getattr(planned, name), getattr(clip, name)
                    check = "labels" if name in _WORDS else "clips"
                    yield check, f"event {number} ({clip.id}): {name} is {there!r}, the index says {known!r}"
            length = clip.samples if planned.role is ClipRole.FOREGROUND else min(clip.samples, foreground)
            if planned.length != length or planned.start + planned.length > clip.samples:
                yield "clips", f"event {number}: {planned.length} samples from {planned.start} are not {length} of the clip"

    def _noises(self, plan: StreamPlan) -> Findings:
        """Tracks and SNRs follow from the recipe, amplitudes from the powers, the rest from the index."""
        mixing = self.recipe.mixing
        tracks = [name for name, wanted in (("event", mixing.event_noise), ("ambient", mixing.ambient_noise)) if wanted]
        if [noise.track for noise in plan.noises] != tracks:
            yield "snr", f"noise tracks {[noise.track for noise in plan.noises]}, the recipe says {tracks}"
        for noise in plan.noises:
            name = f"{noise.track} noise"
            offset = mixing.ambient_snr_offset_db if noise.track == "ambient" else 0.0
            low, high = (bound + offset for bound in mixing.snr_db)
            if not low <= noise.snr_db <= high:
                yield "snr", f"{name}: {noise.snr_db:.2f} dB, the recipe says {low:g} to {high:g}"
            told = amplitude_for(noise.snr_db, plan.main_power, noise.power)
            if abs(noise.amplitude - told) > ROUNDING * told:
                yield "snr", f"{name}: amplitude {noise.amplitude:.6g}, SNR and powers give {told:.6g}"
            if noise.clip_id is None:
                made = {field: PlannedNoise.model_fields[field].default for field in _NOISE_FROM_INDEX} | {
                    "label": noise.procedural
                }
                for field, known in made.items():
                    if getattr(noise, field) != known:
                        yield "clips", f"{name}: {field} is {getattr(noise, field)!r}, of {noise.procedural} it is {known!r}"
                continue
            if self.pool is None:
                continue
            clip = self._clip(noise.clip_id)
            if clip is None or clip.role not in NOISE_ROLES[noise.track]:
                yield "clips", f"{name}: the index has no {noise.clip_id!r} for it"
                continue
            for field in _NOISE_FROM_INDEX:
                if getattr(clip, field) != getattr(noise, field):
                    there, known = getattr(noise, field), getattr(clip, field)
                    yield "clips", f"{name} ({clip.id}): {field} is {there!r}, the index says {known!r}"

    def _clip(self, clip_id: str) -> Clip | None:
        if clip_id not in self.clips and self.pool is not None:
            try:
                self.clips[clip_id] = self.pool.get(clip_id)
            except KeyError:
                self.clips[clip_id] = None
        return self.clips.get(clip_id)

    def _audio(self, plan: StreamPlan, data: bytes) -> Findings:
        """Length, peak, and every sample: the tracks are built and measured again."""
        try:
            pcm, rate = soundfile.read(io.BytesIO(data), dtype="int16")
        except (RuntimeError, ValueError, OSError) as error:
            yield "duration", f"the audio cannot be decoded: {error}"
            return
        if pcm.shape != (plan.samples,) or rate != c.SAMPLE_RATE:
            yield "duration", f"audio of shape {pcm.shape} at {rate} Hz, the plan says {plan.chunks} chunks"
            return
        limit = self.recipe.mixing.peak_limit
        peak = float(np.abs(pcm.astype(np.int32)).max()) * PCM_STEP
        if peak > limit + PCM_STEP:
            yield "peak", f"{peak:.4f}, the limit is {limit}"
        if self.pool is not None:
            yield from self._tracks(plan, pcm)

    def _tracks(self, plan: StreamPlan, pcm: NDArray[np.int16] | None) -> Findings:
        """The tracks, built and measured again; what they add up to is `pcm` (samples,), unless that is not stored."""
        load = self.store.load if self.store is not None else self._load
        try:
            measured = measure(plan, load, peak_limit=self.recipe.mixing.peak_limit)
        except (KeyError, OSError, ValueError, InputError) as error:
            yield "clips", f"the tracks cannot be built again: {error}"
            return
        for deviation in measured.deviations:
            yield "peak" if deviation.startswith("peak") else "snr", deviation
        if pcm is not None and not np.array_equal(stream_pcm16(measured.audio), pcm):
            yield "render", "the audio is not what the plan renders to"

    def _load(self, item: PlannedClip | PlannedNoise) -> NDArray[np.float32]:
        assert self.pool is not None and item.clip_id is not None
        clip = self._clip(item.clip_id)
        if clip is None or clip.clean_sha256 != item.clean_sha256:
            raise ValueError(f"the index has no clip {item.clip_id!r} with the audio the plan names")
        return self.pool.audio(clip)

    def _tokens(self, plan: StreamPlan, data: bytes) -> Findings:
        """The arrays, byte for byte, and the timeline back from X."""
        try:
            said = detokenize(from_npz(data), self.tokenizer)
            layout = layout_of(plan.token_layout)
        except (TokenError, InputError) as error:
            yield "timeline", f"the tokens cannot be read: {error}"
            return
        if (said.instruction, said.chunks, said.timeline) != (plan.instruction, plan.chunks, plan.timeline()):
            yield "timeline", "the tokens tell another instruction, length or timeline than the plan"
            return  # nothing would agree, and a forged length could be any
        if to_npz(tokenize(plan.instruction, plan.chunks, plan.timeline(), self.tokenizer, layout, plan.emotions())) != data:
            yield "labels", "X, y_stream or y_lm is not what the plan gives"
