"""The checks of `soundflow verify` on one sample: everything that can be derived is derived again and compared.

Tokens are derived from the plan, audio from the plan and the clips, the fields of a planned clip from the clip index, the scene
from recipe, index and identity, and the chunks of the responses from their evidence. A changed sample is therefore found even if
all hashes agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.compose.clips import ClipPool
from soundflow.operators.compose.mixing import STREAM_FULL_SCALE, measure, stream_pcm16
from soundflow.operators.compose.noise import NOISE_ROLES, amplitude_for
from soundflow.operators.tasks.supervision import find_disagreements
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.operators.tokens.replies import find_response_problem
from soundflow.operators.tokens.tokenize import TokenError, detokenize, from_npz, to_npz, tokenize
from soundflow.pipeline.corpus.clip_store import ClipStore
from soundflow.pipeline.corpus.committed import Finding, decode_audio
from soundflow.pipeline.corpus.versions import OPERATOR_VERSIONS
from soundflow.pipeline.curate.scenes import SceneSource
from soundflow.prompts import prompt_hash
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.identity import sample_id
from soundflow.schemas.outcome import Ok
from soundflow.schemas.shard import BuildRecord
from soundflow.schemas.stream import PlannedClip, PlannedNoise, PlannedPiece, PlannedResponse, StreamPlan, timeline_of
from soundflow.schemas.tokens import LATEST, layout_of

Findings = Iterator[Finding]

PCM_STEP: Final = 1 / STREAM_FULL_SCALE
ROUNDING: Final = 1e-9
"""Relative tolerance for derived numbers of a plan, which agree to the last bits of a float."""
_FROM_INDEX: Final = (
    "content_sha256", "clean_sha256", "kind", "label", "caption", "transcript", "reply", "language", "dialogue", "turn", "voice",
    "translation", "translation_language", "interpreter", "emotion", "source", "licence", "attribution", "active_level_db",
    "decision",
)  # fmt: skip
_NOISE_FROM_INDEX: Final = ("content_sha256", "clean_sha256", "label", "source", "licence", "attribution")
_TEXTS: Final = frozenset({"label", "caption", "transcript", "reply", "translation"})


class SampleChecker:
    """Checks samples of one build. Without `pool` or `scenes` the checks that need clips or scenes are skipped.

    `store`: the clips of a virtual build, from which its audio is rendered.
    """

    def __init__(self, record: BuildRecord, pool: ClipPool | None, scenes: SceneSource | None, store: ClipStore | None = None):
        self.record, self.recipe, self.pool, self.scenes, self.store = record, record.recipe, pool, scenes, store
        self.tokenizer = QwenTokenizer.load()
        # Other versions of prompts or operators derive other texts and positions, which then cannot be compared.
        self.same_versions = record.prompt_hash == prompt_hash() and record.operator_versions == OPERATOR_VERSIONS
        self.clips: dict[str, Clip | None] = {}

    def check(self, key: str, members: dict[str, bytes], shard: int) -> tuple[StreamPlan | None, list[Finding]]:
        """Check one sample. Return its plan (None when it does not parse) and the findings."""
        kind = self.recipe.output.audio
        expected = [*([] if self.record.virtual else [kind]), "json", "tokens.npz"]
        found: list[Finding] = []
        if list(members) != expected:
            found.append(("members", f"members are {list(members)}, expected {expected}"))
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
            ("duration", lambda: self._limits(plan)),
            ("response", lambda: self._timeline(plan)),
            ("labels", lambda: self._scene(plan)),
            ("clips", lambda: self._clips(plan)),
            ("snr", lambda: self._noises(plan)),
        ]
        if "tokens.npz" in members:
            parts.append(("timeline", lambda: self._tokens(plan, members["tokens.npz"])))
        if self.store is not None:
            parts.append(("render", lambda: self._tracks(plan, None)))
        elif kind in members:
            parts.append(("duration", lambda: self._audio(plan, members[kind])))
        for check, derive in parts:
            if check == "render" and any(name in ("timeline", "members") for name, _ in found):
                continue  # the tokens do not confirm the length of the plan, and a forged one may be huge
            try:
                with np.errstate(all="ignore"):
                    found += derive()
            except Exception as error:  # impossible values, a failing index: findings, not crashes
                found.append((check, f"cannot be checked: {type(error).__name__}: {error}"))
        return plan, found

    def _identity(self, key: str, plan: StreamPlan, shard: int) -> Findings:
        if plan.fingerprint != self.record.fingerprint:
            yield "fingerprint", f"the plan has fingerprint {plan.fingerprint[:12]}, the build {self.record.fingerprint[:12]}"
        if key != plan.sample_id or key != sample_id(plan.fingerprint, plan.shard, plan.index) or plan.shard != shard:
            yield "manifest", f"the plan belongs to {plan.sample_id}, sample {plan.index} of shard {plan.shard}"
        layout = LATEST[self.recipe.output.token_layout]
        if plan.token_layout.partition("/")[0] != layout.name or (self.same_versions and plan.token_layout != layout.id):
            yield "timeline", f"token layout is {plan.token_layout}, expected {layout.id} from the recipe"

    def _limits(self, plan: StreamPlan) -> Findings:
        limit = self.recipe.scene.max_seconds
        if plan.chunks > self.recipe.scene.max_chunks:
            yield "duration", f"the stream has {plan.seconds:g} s, scene.max_seconds of the recipe is {limit:g}"

    def _timeline(self, plan: StreamPlan) -> Findings:
        """Derive the chunks of the responses from their evidence, and the texts from the clips."""
        pieces = [piece for response in plan.responses for piece in response.pieces]
        if plan.responses != timeline_of(pieces):
            for response, expected in zip_longest(plan.responses, timeline_of(pieces)):
                if response != expected:
                    yield "response", f"the plan has {_described(response)}, its evidence gives {_described(expected)}"
        for response in plan.responses:
            if detail := find_response_problem(response.text, self.tokenizer)[1]:
                yield "response", f"the response at chunk {response.chunk} {detail}"
        if pieces != sorted(pieces, key=lambda piece: (piece.evidence, piece.event)):
            yield "response", "the responses are not in the order of their evidence"
        if self.same_versions:
            for detail in find_disagreements(plan):
                yield "labels", detail

    def _scene(self, plan: StreamPlan) -> Findings:
        """Plan the scene again from recipe, index and identity, or read it from the sheet if it was curated."""
        if self.scenes is None or not (self.same_versions or self.recipe.curates):
            return
        attempts = self.scenes.attempts(plan.shard, plan.index)
        if plan.attempt >= attempts:
            yield "manifest", f"attempt is {plan.attempt}, expected less than {attempts}"
            return
        planned = self.scenes.scene(plan.shard, plan.index, plan.attempt)
        if not isinstance(planned, Ok):
            yield "labels", f"planning the scene again gives {planned}"
            return
        scene = planned.value
        for name in ("task", "planner", "title", "instruction", "brief"):
            if getattr(plan, name) != getattr(scene, name):
                yield "labels", f"{name} is {getattr(plan, name)!r}, planning again gives {getattr(scene, name)!r}"
        if plan.draws[: len(scene.draws)] != scene.draws:
            yield "labels", "the draws differ from those of the scene"
        clips = [(clip.clip_id, clip.role) for clip in plan.clips]
        if clips != [(event.clip_id, event.role) for event in scene.events]:
            yield "labels", "clips or roles differ from those of the scene"
            return
        pieces_of: dict[int, list[PlannedPiece]] = {}
        for response in plan.responses:
            for piece in response.pieces:
                pieces_of.setdefault(piece.event, []).append(piece)
        length = 0
        for number, (event, clip) in enumerate(zip(scene.events, plan.clips, strict=True)):
            pieces = pieces_of.get(number, ())
            texts = [(piece.text, piece.source, piece.joins, piece.emotion) for piece in pieces]
            expected = [(response.text, response.source, response.joins, response.emotion) for response in event.responses]
            if texts != expected:
                yield "labels", f"event {number}: responses are {texts}, planning again gives {expected}"
            evidence = [piece.evidence for piece in pieces]
            due = [clip.offset + max(response.evidence - clip.start, 1) for response in event.responses]
            if evidence != due:
                yield "response", f"event {number}: evidence ends at samples {evidence}, planning again gives {due}"
            if event.role is ClipRole.FOREGROUND:
                if clip.offset != length + event.gap:
                    yield "clips", f"event {number}: starts at sample {clip.offset}, planning again gives {length + event.gap}"
                length = clip.offset + clip.length

    def _clips(self, plan: StreamPlan) -> Findings:
        """Derive the levels of the clips from the recipe, their other fields from the index."""
        mixing = self.recipe.mixing
        gains = {
            ClipRole.FOREGROUND: mixing.foreground_gain_db,
            ClipRole.BACKGROUND: mixing.background_gain_db,
            ClipRole.AMBIENT: mixing.ambient_gain_db,
        }
        if plan.reference_level_dbfs != mixing.reference_level_dbfs:
            level, expected = plan.reference_level_dbfs, mixing.reference_level_dbfs
            yield "clips", f"reference level is {level} dBFS, expected {expected} from the recipe"
        foreground = max((clip.offset + clip.length for clip in plan.clips if clip.role is ClipRole.FOREGROUND), default=0)
        for number, planned in enumerate(plan.clips):
            if planned.gain_db != gains.get(planned.role):
                gain = gains.get(planned.role)
                yield "clips", f"event {number}: gain is {planned.gain_db} dB, expected {gain} from the recipe"
            amplitude = 10.0 ** ((plan.reference_level_dbfs - planned.active_level_db + planned.gain_db) / 20.0)
            if abs(planned.amplitude - amplitude) > ROUNDING * amplitude:
                yield "clips", f"event {number}: amplitude is {planned.amplitude:.6g}, its levels give {amplitude:.6g}"
            clip = self._clip(planned.clip_id)
            if self.pool is None:
                continue
            if clip is None:
                yield "clips", f"event {number}: the index has no clip {planned.clip_id!r}"
                continue
            for name in _FROM_INDEX:
                if getattr(clip, name) != getattr(planned, name):
                    check = "labels" if name in _TEXTS else "clips"
                    yield check, f"event {number} ({clip.id}): {_mismatch(name, planned, clip)}"
            length = clip.samples if planned.role is ClipRole.FOREGROUND else min(clip.samples, foreground)
            if planned.length != length or planned.start + planned.length > clip.samples:
                span = f"{planned.length} samples from sample {planned.start}"
                yield "clips", f"event {number}: plays {span}, expected {length} of the {clip.samples} samples of the clip"

    def _noises(self, plan: StreamPlan) -> Findings:
        """Derive tracks and SNRs from the recipe, amplitudes from the powers, the other fields from the index."""
        mixing = self.recipe.mixing
        expected = [track for track, is_on in (("event", mixing.event_noise), ("ambient", mixing.ambient_noise)) if is_on]
        tracks = [noise.track for noise in plan.noises]
        if tracks != expected:
            yield "snr", f"noise tracks are {tracks}, expected {expected} from the recipe"
        for noise in plan.noises:
            name = f"{noise.track} noise"
            offset = mixing.ambient_snr_offset_db if noise.track == "ambient" else 0.0
            low, high = (bound + offset for bound in mixing.snr_db)
            if not low <= noise.snr_db <= high:
                yield "snr", f"{name}: SNR is {noise.snr_db:.2f} dB, expected {low:g} to {high:g} from the recipe"
            amplitude = amplitude_for(noise.snr_db, plan.main_power, noise.power)
            if abs(noise.amplitude - amplitude) > ROUNDING * amplitude:
                yield "snr", f"{name}: amplitude is {noise.amplitude:.6g}, SNR and powers give {amplitude:.6g}"
            if noise.clip_id is None:
                for field in _NOISE_FROM_INDEX:
                    value = noise.procedural if field == "label" else PlannedNoise.model_fields[field].default
                    if getattr(noise, field) != value:
                        yield "clips", f"{name}: {field} is {getattr(noise, field)!r}, expected {value!r} for procedural noise"
                continue
            if self.pool is None:
                continue
            clip = self._clip(noise.clip_id)
            if clip is None or clip.role not in NOISE_ROLES[noise.track]:
                yield "clips", f"{name}: the index has no clip {noise.clip_id!r} for this track"
                continue
            for field in _NOISE_FROM_INDEX:
                if getattr(clip, field) != getattr(noise, field):
                    yield "clips", f"{name} ({clip.id}): {_mismatch(field, noise, clip)}"

    def _clip(self, clip_id: str) -> Clip | None:
        if clip_id not in self.clips and self.pool is not None:
            try:
                self.clips[clip_id] = self.pool.get(clip_id)
            except KeyError:
                self.clips[clip_id] = None
        return self.clips.get(clip_id)

    def _audio(self, plan: StreamPlan, data: bytes) -> Findings:
        """Check length and peak, and every sample against the tracks, which are built again."""
        try:
            pcm = decode_audio(data, plan.samples)
        except ValueError as error:
            yield "duration", str(error)
            return
        limit = self.recipe.mixing.peak_limit
        peak = float(np.abs(pcm.astype(np.int32)).max()) * PCM_STEP
        if peak > limit + PCM_STEP:
            yield "peak", f"the peak is {peak:.4f}, above the limit of {limit}"
        if self.pool is not None:
            yield from self._tracks(plan, pcm)

    def _tracks(self, plan: StreamPlan, pcm: NDArray[np.int16] | None) -> Findings:
        """Build and measure the tracks again. `pcm`: the stored audio, shape (samples,); None when it is not stored."""
        load = self.store.load if self.store is not None else self._load
        try:
            measured = measure(plan, load, peak_limit=self.recipe.mixing.peak_limit)
        except (KeyError, OSError, ValueError, InputError) as error:
            yield "clips", f"the tracks cannot be built again: {error}"
            return
        for deviation in measured.deviations:
            yield "peak" if deviation.startswith("peak") else "snr", deviation
        if pcm is not None and not np.array_equal(stream_pcm16(measured.audio), pcm):
            yield "render", "the audio differs from what the plan renders to"

    def _load(self, item: PlannedClip | PlannedNoise) -> NDArray[np.float32]:
        assert self.pool is not None and item.clip_id is not None
        clip = self._clip(item.clip_id)
        if clip is None or clip.clean_sha256 != item.clean_sha256:
            raise ValueError(f"the index has no clip {item.clip_id!r} with the audio of the plan")
        return self.pool.audio(clip)

    def _tokens(self, plan: StreamPlan, data: bytes) -> Findings:
        """Compare the arrays byte for byte, and the timeline that is decoded from X."""
        try:
            decoded = detokenize(from_npz(data), self.tokenizer)
            layout = layout_of(plan.token_layout)
        except (TokenError, InputError) as error:
            yield "timeline", f"the tokens cannot be read: {error}"
            return
        if (decoded.instruction, decoded.chunks, decoded.timeline) != (plan.instruction, plan.chunks, plan.timeline()):
            yield "timeline", "instruction, length or timeline of the tokens differ from the plan"
            return  # the arrays cannot agree, and a forged length may be huge
        if to_npz(tokenize(plan.instruction, plan.chunks, plan.timeline(), self.tokenizer, layout, plan.emotions())) != data:
            yield "labels", "X, y_stream or y_lm differs from what the plan gives"


def _described(response: PlannedResponse | None) -> str:
    if response is None:
        return "no response"
    return f"a response at chunk {response.chunk} (due at {response.due_chunk}): {response.text!r}"


def _mismatch(field: str, planned: PlannedClip | PlannedNoise, clip: Clip) -> str:
    return f"{field} is {getattr(planned, field)!r}, the index has {getattr(clip, field)!r}"
