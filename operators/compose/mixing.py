"""Dual-track composition (paper, Algorithm 3): `compose` draws and plans, `render` makes the audio of a plan.

Both build the tracks with the same function, so that a render is bit-equal to what was composed. Two passes: the whole
foreground is laid out first, then background and ambient offsets are drawn over its span.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.clean.activity import FLOOR_DBFS, active_power
from soundflow.operators.compose.clips import ClipPool
from soundflow.operators.compose.noise import (
    SILENT_POWER,
    ClipSamples,
    Track,
    draw_noise,
    mean_square,
    noise_track,
    significant,
    unit_of,
)
from soundflow.schemas import constants as c
from soundflow.schemas.clip import Clip, ClipFacts, ClipRole
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from soundflow.schemas.pcm16 import to_pcm16
from soundflow.schemas.recipe import MixingConfig
from soundflow.schemas.scene import Scene, SceneEvent
from soundflow.schemas.stream import PlannedClip, PlannedNoise, PlannedPiece, StreamPlan, due_chunk, timeline_of

MIXING_VERSION: Final = "3"
SNR_TOLERANCE_DB: Final = 0.1
STREAM_FULL_SCALE: Final = 32_767.0
"""The integer that 1.0 stands for in the audio of a stream. Part of the corpus format: clips have 32,768."""

Audio = NDArray[np.float32]
Load = Callable[["PlannedClip | PlannedNoise"], ClipSamples]


class AudioMismatch(ValueError):
    """The samples of a clip are not those its row or plan speaks of."""


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """Which stream this is; identity is the framework's."""

    sample_id: str
    fingerprint: str
    shard: int
    index: int
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What the tracks of a plan really are, before peak scaling; powers are mean squares."""

    main_power: float
    snr_db: tuple[float, ...]
    """Per noise track, in the plan's order."""
    peak: float
    """Of the final stream."""
    deviations: tuple[str, ...]
    """Sentences on what is not as planned; empty when all is."""
    audio: Audio
    """The final stream, as `render` makes it."""


def compose(
    scene: Scene, identity: StreamIdentity, pool: ClipPool, mixing: MixingConfig, layout_id: str, rng: np.random.Generator
) -> Outcome[tuple[StreamPlan, Audio]]:
    """Place a scene in time, draw noise and levels, mix (paper, Algorithm 3). Deterministic in its arguments.

    Ok((plan, audio float32 of shape (plan.samples,))); every draw is in the plan. Rejected: `no_foreground`, `silent_clip`,
    `silent_main` (nothing to be heard), `peaks_bury_stream`. Failed: a clip that is missing or not intact, or an event
    that contradicts its clip.
    """
    try:
        clips = [pool.get(event.clip_id) for event in scene.events]
        wrong = _contradiction(scene.events, clips)
        if not wrong:
            return _compose(scene, clips, identity, pool, mixing, layout_id, rng)
    except (KeyError, OSError, AudioMismatch) as error:
        wrong = f"{type(error).__name__}: {error}"
    return Failed(wrong, "mixing", {"attempt": identity.attempt, "scene": scene.model_dump(mode="json")})


def _compose(
    scene: Scene,
    clips: Sequence[Clip],
    identity: StreamIdentity,
    pool: ClipPool,
    mixing: MixingConfig,
    layout_id: str,
    rng: np.random.Generator,
) -> Outcome[tuple[StreamPlan, Audio]]:
    silent = next((clip for clip in clips if 10.0 ** (clip.active_level_db / 10.0) < SILENT_POWER), None)
    if silent is not None:
        return Rejected("silent_clip", {"clip": silent.id, "active_dbfs": silent.active_level_db})
    places = _lay_out(scene.events, clips, rng)
    if not places:
        return Rejected("no_foreground")
    planned = tuple(
        _planned_clip(clip, event, place, mixing) for clip, event, place in zip(clips, scene.events, places, strict=True)
    )
    responses = timeline_of(_pieces(scene.events, places))
    chunks = max(*(due_chunk(clip.offset + clip.length) for clip in planned), *(response.chunk for response in responses), 1)
    audio_of = {clip.id: _intact(clip, pool.audio(clip)) for clip in clips}
    mixed = _main_track(planned, range(chunks * c.CHUNK_SAMPLES), lambda item: audio_of[str(item.clip_id)])
    if not math.isfinite(_peak(mixed)):
        raise AudioMismatch("a clip of the scene holds samples that are no numbers")
    power = significant(active_power(mixed))
    if power < SILENT_POWER:
        return Rejected("silent_main", {"active_dbfs": _db(power)})

    draws = list(scene.draws)
    taken = {clip.content_sha256 for clip in clips}
    noises: list[PlannedNoise] = []
    wanted: list[tuple[Track, float]] = []  # both SNRs before any noise: independent draws
    if mixing.event_noise:
        wanted.append(("event", float(rng.uniform(*mixing.snr_db))))
    if mixing.ambient_noise:
        wanted.append(("ambient", float(rng.uniform(*mixing.snr_db)) + mixing.ambient_snr_offset_db))
    for track, snr in wanted:
        noise, samples = draw_noise(track, snr, power, mixed.size, pool, taken, draws, rng)
        noises.append(noise)
        _add_noise(mixed, noise, samples)
    peak = _peak(mixed)
    # A millionth below the limit, so that rounding to float32 cannot pass it.
    scale = 1.0 if peak <= mixing.peak_limit else mixing.peak_limit / peak * (1.0 - 1e-6)
    heard_dbfs = _db(power * scale**2)
    if heard_dbfs < FLOOR_DBFS:  # a click in a long noise, say: scaled to keep its peaks the stream would be silence
        return Rejected("peaks_bury_stream", {"scale": scale, "active_dbfs": heard_dbfs})
    plan = StreamPlan(
        sample_id=identity.sample_id,
        fingerprint=identity.fingerprint,
        shard=identity.shard,
        index=identity.index,
        attempt=identity.attempt,
        task=scene.task,
        planner=scene.planner,
        title=scene.title,
        instruction=scene.instruction,
        brief=scene.brief,
        token_layout=layout_id,
        chunks=chunks,
        samples=mixed.size,
        clips=planned,
        noises=tuple(noises),
        responses=responses,
        reference_level_dbfs=mixing.reference_level_dbfs,
        main_power=power,
        scale=scale,
        draws=tuple(draws),
    )
    return Ok((plan, _scaled(mixed, scale)))


def render(plan: StreamPlan, audio: Load, span: range | None = None) -> Audio:
    """The audio of a plan: float32, shape (plan.samples,), bit-equal to what `compose` returned; of a `span`, that part of it.

    `audio` gives the cleaned samples of a planned clip or recorded noise; procedural noise is made here. Of PCM16 only what is
    heard in the span is touched. Raises AudioMismatch when a clip is shorter than its place, ValueError for a span that
    leaves the stream.
    """
    span = range(plan.samples) if span is None else span
    if span.step != 1 or not 0 <= span.start <= span.stop <= plan.samples:
        raise ValueError(f"{span} of a stream of {plan.samples} samples")
    mixed = _main_track(plan.clips, span, audio)
    for noise in plan.noises:
        _add_noise(mixed, noise, *noise_track(noise, span, audio))
    return _scaled(mixed, plan.scale)


def measure(plan: StreamPlan, audio: Load, *, peak_limit: float = c.PEAK_LIMIT) -> Measured:
    """Measure the tracks of a plan again: active power of the main track, SNR of each noise track, peak of the stream.

    `audio` as for `render`, `peak_limit` the recipe's. A deviation is an SNR or a main level more than 0.1 dB from the plan,
    or a peak past the limit.
    """
    whole = range(plan.samples)
    mixed = _main_track(plan.clips, whole, audio)
    power = active_power(mixed)
    deviations = _deviation("level of the main track (dBFS)", _db(power), _db(plan.main_power))
    snr: list[float] = []
    for noise in plan.noises:
        track, unit = noise_track(noise, whole, audio)
        snr.append(_db(power) - _db((noise.amplitude * unit) ** 2 * mean_square(track)))
        deviations += _deviation(f"SNR of the {noise.track} noise (dB)", snr[-1], noise.snr_db)
        _add_noise(mixed, noise, track, unit)
    stream = _scaled(mixed, plan.scale)
    peak = _peak(stream)
    if peak > peak_limit:
        deviations.append(f"peak: {peak:.6f}, limit {peak_limit:g}")
    return Measured(power, tuple(snr), peak, tuple(deviations), stream)


def _deviation(what: str, found: float, planned: float) -> list[str]:
    return [] if abs(found - planned) <= SNR_TOLERANCE_DB else [f"{what}: {found:.2f}, planned {planned:.2f}"]


def _db(power: float) -> float:
    return 10.0 * float(np.log10(max(power, 1e-20)))


def stream_pcm16(samples: Audio) -> NDArray[np.int16]:
    """Convert a composed stream (n,) to int16 at `STREAM_FULL_SCALE`. The peak limit keeps it from being clipped."""
    return to_pcm16(samples, STREAM_FULL_SCALE)


def _contradiction(events: Sequence[SceneEvent], clips: Sequence[Clip]) -> str:
    """What an event claims that its clip or Algorithm 3 denies; empty when all is well."""
    for number, (event, clip) in enumerate(zip(events, clips, strict=True)):
        if event.role not in (ClipRole.FOREGROUND, ClipRole.BACKGROUND, ClipRole.AMBIENT):
            return f"event {number}: {event.role} is no role of an event"
        if event.responses and event.responses[-1].evidence > clip.samples:
            late = event.responses[-1].evidence
            return f"event {number}: evidence at {late}, but clip {clip.id} has {clip.samples} samples"
    return ""


@dataclass(frozen=True, slots=True)
class _Place:
    offset: int
    start: int
    length: int


def _lay_out(events: Sequence[SceneEvent], clips: Sequence[Clip], rng: np.random.Generator) -> list[_Place]:
    """A place for every event: foreground one after another (length D), then the others at random inside D.

    Empty when there is no foreground. A clip longer than D is cropped at a random start; with responses it keeps its
    beginning, or at least the D samples before its last evidence, so that none is due before its evidence.
    """
    places: dict[int, _Place] = {}
    length = 0
    for number, (event, clip) in enumerate(zip(events, clips, strict=True)):
        if event.role is ClipRole.FOREGROUND:
            offset = length + event.gap
            length = offset + clip.samples
            places[number] = _Place(offset, 0, clip.samples)
    if not length:
        return []
    for number, clip in enumerate(clips):
        if number not in places:
            kept = min(clip.samples, length)
            said = events[number].responses
            start = max(said[-1].evidence - kept, 0) if said else int(rng.integers(clip.samples - kept + 1))
            places[number] = _Place(int(rng.integers(length - kept + 1)), start, kept)
    return [places[number] for number in range(len(events))]


def _pieces(events: Sequence[SceneEvent], places: Sequence[_Place]) -> list[PlannedPiece]:
    """Every response with its place in the stream, in the order of their evidence.

    Of a cropped clip, what rests on samples before the crop is heard by its beginning.
    """
    pieces = [
        PlannedPiece(
            event=number,
            text=response.text,
            source=response.source,
            evidence=place.offset + max(response.evidence - place.start, 1),
            emotion=response.emotion,
            joins=response.joins,
        )
        for number, (event, place) in enumerate(zip(events, places, strict=True))
        for response in event.responses
    ]
    return sorted(pieces, key=lambda piece: (piece.evidence, piece.event))


def _planned_clip(clip: Clip, event: SceneEvent, place: _Place, mixing: MixingConfig) -> PlannedClip:
    gain = {
        ClipRole.FOREGROUND: mixing.foreground_gain_db,
        ClipRole.BACKGROUND: mixing.background_gain_db,
        ClipRole.AMBIENT: mixing.ambient_gain_db,
    }[event.role]
    facts = {name: getattr(clip, name) for name in ClipFacts.model_fields} | {"role": event.role}
    return PlannedClip(
        **facts,
        clip_id=clip.id,
        content_sha256=clip.content_sha256,
        clean_sha256=clip.clean_sha256,
        kind=clip.kind,
        interpreter=clip.interpreter,
        offset=place.offset,
        start=place.start,
        length=place.length,
        active_level_db=clip.active_level_db,
        gain_db=gain,
        amplitude=float(10.0 ** ((mixing.reference_level_dbfs - clip.active_level_db + gain) / 20.0)),
    )


def _intact(clip: Clip, samples: Audio) -> Audio:
    if samples.shape != (clip.samples,):
        raise AudioMismatch(f"clip {clip.id} has samples of shape {samples.shape}, its row says {clip.samples}")
    return samples


def _main_track(clips: Sequence[PlannedClip], span: range, audio: Load) -> Audio:
    """The samples of `span` of y_main: every clip at its place and level, float32 (len(span),)."""
    main = np.zeros(len(span), dtype=np.float32)
    for clip in clips:
        first, last = max(span.start - clip.offset, 0), min(span.stop - clip.offset, clip.length)
        if first >= last:
            continue
        whole = audio(clip)
        if whole.size < clip.start + clip.length:
            raise AudioMismatch(f"clip {clip.clip_id} has {whole.size} samples, its place needs {clip.start + clip.length}")
        level = np.float32(clip.amplitude) * np.float32(unit_of(whole))
        piece = np.multiply(whole[clip.start + first : clip.start + last], level, dtype=np.float32)
        # TFJP tapered the clip's own ends; only ends made by a crop are faded here (never faded twice).
        if clip.start > 0:
            _rise(piece, first, clip.length)
        if clip.start + clip.length < whole.size:
            _rise(piece[::-1], clip.length - last, clip.length)
        main[clip.offset + first - span.start : clip.offset + last - span.start] += piece
    return main


def _rise(piece: Audio, first: int, length: int) -> None:
    """Rising half Hann over ω (half the whole when that is shorter), in place, as TFJP's spec_smooth.

    `piece` holds what begins at sample `first` of a whole of `length` samples.
    """
    fade = min(c.FADE_SAMPLES, length // 2)
    if first < fade:
        curve = (0.5 - 0.5 * np.cos(np.pi * np.arange(fade) / max(fade, 1))).astype(np.float32)[first:]
        heard = piece[: curve.size]
        heard *= curve[: heard.size]


def _add_noise(mixed: Audio, noise: PlannedNoise, track: Audio, unit: float = 1.0) -> None:
    """Add a noise track at its amplitude, in place; `track` is used up."""
    track *= np.float32(noise.amplitude) * np.float32(unit)
    mixed += track


def _peak(samples: Audio) -> float:
    return max(float(samples.max()), -float(samples.min()))


def _scaled(mixed: Audio, scale: float) -> Audio:
    """Scale the stream, in place; 1 changes nothing."""
    mixed *= np.float32(scale)
    return mixed
