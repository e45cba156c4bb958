"""Dual-track composition (paper, Algorithm 3): `compose` draws and plans, `render` makes the audio of a plan.

Both build the tracks with the same function, so that a render is bit-equal to what was composed. Two passes: the whole
foreground is laid out first, then background and ambient offsets are drawn over its span.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from operators.activity import active_power, to_db
from operators.clips import ClipPool
from operators.noise import procedural, tile
from schemas import constants as c
from schemas.clip import Clip, ClipRole
from schemas.outcome import Ok, Outcome, Rejected
from schemas.recipe import MixingConfig
from schemas.scene import Draw, Scene, SceneEvent
from schemas.stream import PlannedClip, PlannedNoise, PlannedResponse, StreamPlan, due_chunk

MIXING_VERSION: Final = "1"
NOISE_DRAWS: Final = 8
"""Noise clips tried before procedural noise takes their place."""
SILENT_POWER: Final = 1e-9
"""A noise tile below this mean square (-90 dBFS) is silent."""

Audio = NDArray[np.float32]
Load = Callable[["PlannedClip | PlannedNoise"], Audio]


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
    """What the tracks of a plan really are, before peak scaling; dB and linear."""

    main_power: float
    snr_db: tuple[float, ...]
    """Per noise track, in the plan's order."""
    audio: Audio
    """The final stream, as `render` makes it."""


def compose(
    scene: Scene, identity: StreamIdentity, pool: ClipPool, mixing: MixingConfig, layout_id: str, rng: np.random.Generator
) -> Outcome[tuple[StreamPlan, Audio]]:
    """Place a scene in time, draw noise and levels, mix.

    Ok((plan, audio float32 of plan.samples)), or Rejected(`no_foreground` | `silent_main`). Deterministic in its
    arguments; every draw is in the plan. KeyError when the scene names a clip the pool does not have.
    """
    clips = [pool.get(event.clip_id) for event in scene.events]
    draws = list(scene.draws)
    length, places = _lay_out(scene.events, clips, rng)
    if length == 0:
        return Rejected("no_foreground")
    planned = tuple(
        _planned_clip(clip, event, place, mixing) for clip, event, place in zip(clips, scene.events, places, strict=True)
    )
    responses = _timeline(scene.events, planned)
    chunks = max(due_chunk(length), *(response.chunk for response in responses), 1)
    audio_of = {clip.id: pool.audio(clip) for clip in clips}
    main = _main_track(planned, chunks * c.CHUNK_SAMPLES, lambda item: audio_of[str(item.clip_id)])
    power = _significant(active_power(main))
    if power < SILENT_POWER:
        return Rejected("silent_main", {"active_dbfs": float(to_db(np.asarray(power)))})

    noises: list[PlannedNoise] = []
    tracks: list[Audio] = []
    wanted: list[tuple[Literal["event", "ambient"], float]] = []
    if mixing.event_noise:
        wanted.append(("event", float(rng.uniform(*mixing.snr_db))))
    if mixing.ambient_noise:
        wanted.append(("ambient", float(rng.uniform(*mixing.snr_db)) + mixing.ambient_snr_offset_db))
    taken = {clip.content_sha256 for clip in clips}
    for track, snr in wanted:
        noise, samples = _draw_noise(track, snr, power, main.size, pool, taken, draws, rng)
        noises.append(noise)
        tracks.append(samples)
    mixed = _add_noise(main, noises, tracks)
    peak = float(np.abs(mixed).max())
    scale = 1.0 if peak <= mixing.peak_limit else mixing.peak_limit / peak
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
        token_layout=layout_id,
        chunks=chunks,
        samples=main.size,
        clips=planned,
        noises=tuple(noises),
        responses=responses,
        reference_level_dbfs=mixing.reference_level_dbfs,
        main_power=power,
        scale=scale,
        draws=tuple(draws),
    )
    return Ok((plan, _scaled(mixed, scale)))


def render(plan: StreamPlan, audio: Load) -> Audio:
    """The audio of a plan: float32, shape (plan.samples,), bit-equal to what `compose` returned.

    `audio` gives the cleaned samples of a planned clip or recorded noise; procedural noise is made here.
    """
    main = _main_track(plan.clips, plan.samples, audio)
    tracks = [_noise_track(noise, plan.samples, audio) for noise in plan.noises]
    return _scaled(_add_noise(main, plan.noises, tracks), plan.scale)


def measure(plan: StreamPlan, audio: Load) -> Measured:
    """Measure the tracks of a plan again: active power of the main track, SNR of each noise track, the stream."""
    main = _main_track(plan.clips, plan.samples, audio)
    power = active_power(main)
    tracks = [_noise_track(noise, plan.samples, audio) for noise in plan.noises]
    snr = [
        10 * float(np.log10(power / (noise.amplitude**2 * mean_square(track))))
        for noise, track in zip(plan.noises, tracks, strict=True)
    ]
    return Measured(power, tuple(snr), _scaled(_add_noise(main, plan.noises, tracks), plan.scale))


def to_pcm16(samples: Audio) -> NDArray[np.int16]:
    """Round half to even at 32767 per unit; the peak limit keeps it from clipping."""
    return np.asarray(np.rint(np.clip(samples, -1.0, 1.0) * np.float32(32767.0)), dtype=np.int16)


def mean_square(samples: Audio) -> float:
    """Power of a whole track: blocks in float32, their sum in float64."""
    whole = samples.size // 4096 * 4096
    blocks, rest = samples[:whole].reshape(-1, 4096), samples[whole:]
    total = np.einsum("ij,ij->i", blocks, blocks).sum(dtype=np.float64) + np.einsum("i,i->", rest, rest)
    return float(total) / samples.size


def _significant(power: float) -> float:
    """Six digits: sums may round differently on another processor, and the plan must not."""
    return float(f"{power:.6g}")


@dataclass(frozen=True, slots=True)
class _Place:
    offset: int
    start: int
    length: int


def _lay_out(events: Sequence[SceneEvent], clips: Sequence[Clip], rng: np.random.Generator) -> tuple[int, list[_Place]]:
    """Length D of the foreground and a place for every event: foreground in order, the others at random inside D."""
    places: dict[int, _Place] = {}
    length = 0
    for number, (event, clip) in enumerate(zip(events, clips, strict=True)):
        if event.role is ClipRole.FOREGROUND:
            places[number] = _Place(length + event.gap, 0, clip.samples)
            length += event.gap + clip.samples
    for number, (event, clip) in enumerate(zip(events, clips, strict=True)):
        if event.role is not ClipRole.FOREGROUND and length:
            kept = min(clip.samples, length)
            latest = clip.samples - kept
            # A crop may start late, but not after the evidence of a response that hangs on it.
            start = int(rng.integers(0, (min(latest, event.evidence - 1) if event.evidence else latest) + 1))
            places[number] = _Place(int(rng.integers(0, length - kept + 1)), start, kept)
    return length, [places[number] for number in sorted(places)]


def _planned_clip(clip: Clip, event: SceneEvent, place: _Place, mixing: MixingConfig) -> PlannedClip:
    gain = {
        ClipRole.FOREGROUND: mixing.foreground_gain_db,
        ClipRole.BACKGROUND: mixing.background_gain_db,
        ClipRole.AMBIENT: mixing.ambient_gain_db,
    }[event.role]
    evidence = None
    if event.response is not None:
        heard = min(max(event.evidence or clip.active_end, 1) - place.start, place.length)
        evidence = place.offset + max(heard, 1)
    return PlannedClip(
        clip_id=clip.id,
        content_sha256=clip.content_sha256,
        clean_sha256=clip.clean_sha256,
        role=event.role,
        kind=clip.kind,
        label=clip.label,
        caption=clip.caption,
        transcript=clip.transcript,
        reply=clip.reply,
        source=clip.source,
        licence=clip.licence,
        attribution=clip.attribution,
        offset=place.offset,
        start=place.start,
        length=place.length,
        active_level_db=clip.active_level_db,
        gain_db=gain,
        amplitude=float(10.0 ** ((mixing.reference_level_dbfs - clip.active_level_db + gain) / 20.0)),
        evidence=evidence,
    )


def _timeline(events: Sequence[SceneEvent], planned: Sequence[PlannedClip]) -> tuple[PlannedResponse, ...]:
    """t = ceil((offset + d) / c); of two responses due in one chunk the later goes to the next free one."""
    due = sorted(
        (clip.evidence, number)
        for number, (event, clip) in enumerate(zip(events, planned, strict=True))
        if event.response is not None and clip.evidence is not None
    )
    responses: list[PlannedResponse] = []
    free = 1
    for evidence, number in due:
        chunk = max(due_chunk(evidence), free)
        responses.append(
            PlannedResponse(
                chunk=chunk,
                due_chunk=due_chunk(evidence),
                event=number,
                text=events[number].response or "",
                source=events[number].response_source,
            )
        )
        free = chunk + 1
    return tuple(responses)


def _main_track(clips: Sequence[PlannedClip], samples: int, audio: Load) -> Audio:
    main = np.zeros(samples, dtype=np.float32)
    for clip in clips:
        whole = audio(clip)
        piece = whole[clip.start : clip.start + clip.length] * np.float32(clip.amplitude)
        # TFJP tapered the clip's own ends; only ends made by a crop are faded here (never faded twice).
        fade = min(c.FADE_SAMPLES, clip.length // 2)
        ramp = (0.5 - 0.5 * np.cos(np.pi * np.arange(fade) / max(fade, 1))).astype(np.float32)
        if clip.start > 0:
            piece[:fade] *= ramp
        if clip.start + clip.length < whole.size:
            piece[piece.size - fade :] *= ramp[::-1]
        main[clip.offset : clip.offset + clip.length] += piece
    return main


def _noise_track(noise: PlannedNoise, samples: int, audio: Load) -> Audio:
    source = procedural(noise.procedural) if noise.procedural is not None else audio(noise)
    return tile(source, noise.start, samples)


def _draw_noise(
    track: Literal["event", "ambient"],
    snr_db: float,
    main_power: float,
    samples: int,
    pool: ClipPool,
    taken: set[str],
    draws: list[Draw],
    rng: np.random.Generator,
) -> tuple[PlannedNoise, Audio]:
    """A noise track at `snr_db` below the active power of the main track; never a clip that is heard as an event."""
    roles = [ClipRole.NOISE_EVENT] if track == "event" else [ClipRole.NOISE_AMBIENT, ClipRole.AMBIENT]
    for role in roles:
        candidates = pool.ids(role)
        for _ in range(min(NOISE_DRAWS, len(candidates))):
            clip = pool.get(candidates[int(rng.integers(len(candidates)))])
            if clip.content_sha256 in taken:
                draws.append(Draw(what=f"{track} noise passed over, is an event", value=clip.id))
                continue
            source = pool.audio(clip)
            start = int(rng.integers(source.size))
            tiled = tile(source, start, samples)
            power = _significant(mean_square(tiled))
            if power < SILENT_POWER:
                draws.append(Draw(what=f"{track} noise passed over, is silent", value=clip.id))
                continue
            taken.add(clip.content_sha256)  # the two tracks are two recordings
            recorded = PlannedNoise(
                track=track,
                clip_id=clip.id,
                content_sha256=clip.content_sha256,
                clean_sha256=clip.clean_sha256,
                label=clip.label,
                source=clip.source,
                licence=clip.licence,
                attribution=clip.attribution,
                start=start,
                snr_db=snr_db,
                power=power,
                amplitude=_amplitude(main_power, power, snr_db),
            )
            return recorded, tiled
    name = f"procedural:{'pink' if track == 'event' else 'brown'}:{int(rng.integers(1_000_000))}"
    start = int(rng.integers(c.SAMPLE_RATE))
    tiled = tile(procedural(name), start, samples)
    power = _significant(mean_square(tiled))
    made = PlannedNoise(
        track=track,
        clip_id=None,
        procedural=name,
        label=name,
        start=start,
        snr_db=snr_db,
        power=power,
        amplitude=_amplitude(main_power, power, snr_db),
    )
    return made, tiled


def _amplitude(main_power: float, noise_power: float, snr_db: float) -> float:
    return math.sqrt(main_power / noise_power * 10.0 ** (-snr_db / 10.0))


def _add_noise(main: Audio, noises: Sequence[PlannedNoise], tracks: Sequence[Audio]) -> Audio:
    mixed = main.copy()
    for noise, track in zip(noises, tracks, strict=True):
        mixed += track * np.float32(noise.amplitude)
    return mixed


def _scaled(mixed: Audio, scale: float) -> Audio:
    return mixed if scale == 1.0 else mixed * np.float32(scale)
