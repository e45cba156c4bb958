"""Dual-track composition (paper, Algorithm 3): `compose` draws and plans a stream, `render` produces the audio of a plan.

Both build the tracks with the same function, so that the audio of `render` is bit-equal to that of `compose`. The layout has two
passes: first the whole foreground, then background and ambient events at random offsets within its span.
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
"""Integer value of 1.0 in the audio of a stream. Part of the corpus format; clips have 32,768."""

Audio = NDArray[np.float32]
Load = Callable[["PlannedClip | PlannedNoise"], ClipSamples]


class AudioMismatch(ValueError):
    """Raised when the samples of a clip do not match its row or its place in a plan."""


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """The identity of a stream, assigned by the pipeline."""

    sample_id: str
    fingerprint: str
    shard: int
    index: int
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of the tracks of a plan before peak scaling. Powers are mean squares."""

    main_power: float
    snr_db: tuple[float, ...]
    """SNR of each noise track, in the order of the plan."""
    peak: float
    """Peak of the final stream."""
    deviations: tuple[str, ...]
    """Descriptions of deviations from the plan; empty if there are none."""
    audio: Audio
    """The final stream, equal to the output of `render`."""


def compose(
    scene: Scene, identity: StreamIdentity, pool: ClipPool, mixing: MixingConfig, layout_id: str, rng: np.random.Generator
) -> Outcome[tuple[StreamPlan, Audio]]:
    """Place the events of a scene in time, draw noise and levels, and mix (paper, Algorithm 3). Deterministic in its arguments.

    Ok: (plan, audio), audio as float32 of shape (plan.samples,); every draw is in the plan. Rejected: `no_foreground`,
    `silent_clip`, `silent_main` (the main track is silent), `peaks_bury_stream` (scaling down the peaks would make it silent).
    Failed: a clip is missing or damaged, or an event contradicts its clip.
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
        raise AudioMismatch("a clip of the scene contains NaN or infinity")
    power = significant(active_power(mixed))
    if power < SILENT_POWER:
        return Rejected("silent_main", {"active_dbfs": _db(power)})

    draws = list(scene.draws)
    taken = {clip.content_sha256 for clip in clips}
    noises: list[PlannedNoise] = []
    tracks: list[tuple[Track, float]] = []  # draw both SNRs before any noise, so that the draws are independent
    if mixing.event_noise:
        tracks.append(("event", float(rng.uniform(*mixing.snr_db))))
    if mixing.ambient_noise:
        tracks.append(("ambient", float(rng.uniform(*mixing.snr_db)) + mixing.ambient_snr_offset_db))
    for track, snr in tracks:
        noise, samples = draw_noise(track, snr, power, mixed.size, pool, taken, draws, rng)
        noises.append(noise)
        _add_noise(mixed, noise, samples)
    peak = _peak(mixed)
    # A millionth below the limit, so that rounding to float32 cannot exceed it.
    scale = 1.0 if peak <= mixing.peak_limit else mixing.peak_limit / peak * (1.0 - 1e-6)
    scaled_dbfs = _db(power * scale**2)
    if scaled_dbfs < FLOOR_DBFS:  # for example a click in a long noise
        return Rejected("peaks_bury_stream", {"scale": scale, "active_dbfs": scaled_dbfs})
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
    """Return the audio of a plan, float32 of shape (plan.samples,), bit-equal to that of `compose`; with `span`, that part of it.

    `audio` returns the cleaned samples of a planned clip or recorded noise; procedural noise is generated here. Of PCM16 samples,
    only those within the span are read. Raises AudioMismatch if a clip is shorter than its place, ValueError if the span is not
    within the stream.
    """
    span = range(plan.samples) if span is None else span
    if span.step != 1 or not 0 <= span.start <= span.stop <= plan.samples:
        raise ValueError(f"{span} is not a range within the {plan.samples} samples of the stream")
    mixed = _main_track(plan.clips, span, audio)
    for noise in plan.noises:
        _add_noise(mixed, noise, *noise_track(noise, span, audio))
    return _scaled(mixed, plan.scale)


def measure(plan: StreamPlan, audio: Load, *, peak_limit: float = c.PEAK_LIMIT) -> Measured:
    """Measure the tracks of a plan: active power of the main track, SNR of each noise track, peak of the stream.

    `audio`: as for `render`. `peak_limit`: that of the recipe. A deviation is an SNR or main level that differs by more than 0.1
    dB from the plan, or a peak above the limit.
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
    """Return the first inconsistency between an event and its clip or Algorithm 3; empty if there is none."""
    for number, (event, clip) in enumerate(zip(events, clips, strict=True)):
        if event.role not in (ClipRole.FOREGROUND, ClipRole.BACKGROUND, ClipRole.AMBIENT):
            return f"event {number}: {event.role} is not a role of events"
        if event.responses and event.responses[-1].evidence > clip.samples:
            late = event.responses[-1].evidence
            return f"event {number}: evidence at sample {late}, but clip {clip.id} has {clip.samples} samples"
    return ""


def scene_chunks(events: Sequence[SceneEvent], clips: Sequence[Clip]) -> int:
    """Return the number of chunks of the stream of a scene, before it is composed: it ends with its foreground or last response.

    `clips`: those of the events. Only foreground events may have responses. 0 without a foreground.
    """
    places, length = _place_foreground(events, clips)
    front = [(event, places[number]) for number, event in enumerate(events) if number in places]
    responses = timeline_of(_pieces([event for event, _ in front], [place for _, place in front]))
    return max(due_chunk(length), *(response.chunk for response in responses[-1:]), 0)


@dataclass(frozen=True, slots=True)
class _Place:
    offset: int
    start: int
    length: int


def _place_foreground(events: Sequence[SceneEvent], clips: Sequence[Clip]) -> tuple[dict[int, _Place], int]:
    """Return the place of each foreground event by its number, in sequence, and their total length D in samples."""
    places: dict[int, _Place] = {}
    length = 0
    for number, (event, clip) in enumerate(zip(events, clips, strict=True)):
        if event.role is ClipRole.FOREGROUND:
            offset = length + event.gap
            length = offset + clip.samples
            places[number] = _Place(offset, 0, clip.samples)
    return places, length


def _lay_out(events: Sequence[SceneEvent], clips: Sequence[Clip], rng: np.random.Generator) -> list[_Place]:
    """Return the place of every event: the foreground in sequence (total length D), the others at random within D.

    Empty without a foreground. A clip longer than D is cropped at a random start. With responses, it keeps its beginning, or at
    least the D samples before its last evidence, so that no response is due before its evidence.
    """
    places, length = _place_foreground(events, clips)
    if not length:
        return []
    for number, clip in enumerate(clips):
        if number not in places:
            kept = min(clip.samples, length)
            responses = events[number].responses
            start = max(responses[-1].evidence - kept, 0) if responses else int(rng.integers(clip.samples - kept + 1))
            places[number] = _Place(int(rng.integers(length - kept + 1)), start, kept)
    return [places[number] for number in range(len(events))]


def _pieces(events: Sequence[SceneEvent], places: Sequence[_Place]) -> list[PlannedPiece]:
    """Return all responses with their place in the stream, in the order of their evidence.

    If a clip is cropped, evidence before the crop moves to the beginning of the rest.
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
        raise AudioMismatch(
            f"clip {clip.id} has samples of shape {samples.shape}, but {clip.samples} samples according to its row"
        )
    return samples


def _main_track(clips: Sequence[PlannedClip], span: range, audio: Load) -> Audio:
    """Return the samples of `span` of y_main, float32 (len(span),): all clips at their places and levels."""
    main = np.zeros(len(span), dtype=np.float32)
    for clip in clips:
        first, last = max(span.start - clip.offset, 0), min(span.stop - clip.offset, clip.length)
        if first >= last:
            continue
        whole = audio(clip)
        if whole.size < clip.start + clip.length:
            raise AudioMismatch(
                f"clip {clip.clip_id} has {whole.size} samples, but its place requires {clip.start + clip.length}"
            )
        level = np.float32(clip.amplitude) * np.float32(unit_of(whole))
        piece = np.multiply(whole[clip.start + first : clip.start + last], level, dtype=np.float32)
        # TFJP has tapered the ends of the clip; only ends that a crop created are faded here.
        if clip.start > 0:
            _rise(piece, first, clip.length)
        if clip.start + clip.length < whole.size:
            _rise(piece[::-1], clip.length - last, clip.length)
        main[clip.offset + first - span.start : clip.offset + last - span.start] += piece
    return main


def _rise(piece: Audio, first: int, length: int) -> None:
    """Apply a half-Hann fade-in of ω, or half the length if that is shorter, in place, like `spec_smooth` of TFJP.

    `piece` begins at sample `first` of a clip of `length` samples.
    """
    fade = min(c.FADE_SAMPLES, length // 2)
    if first < fade:
        curve = (0.5 - 0.5 * np.cos(np.pi * np.arange(fade) / max(fade, 1))).astype(np.float32)[first:]
        faded = piece[: curve.size]
        faded *= curve[: faded.size]


def _add_noise(mixed: Audio, noise: PlannedNoise, track: Audio, unit: float = 1.0) -> None:
    """Add a noise track at its amplitude, in place. `track` is overwritten."""
    track *= np.float32(noise.amplitude) * np.float32(unit)
    mixed += track


def _peak(samples: Audio) -> float:
    return max(float(samples.max()), -float(samples.min()))


def _scaled(mixed: Audio, scale: float) -> Audio:
    """Scale the stream in place."""
    mixed *= np.float32(scale)
    return mixed
