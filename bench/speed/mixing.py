"""Speed of composition from files against scaper and lhotse, and with encoding against FLAC encoding alone.

`python -m soundflow.bench.speed.mixing [--json OUT] [--runs N]`. All candidates mix the same cleaned clips at the same positions
with the same noise. Ours reads cached PCM from a clip index and draws the stream as in a build; the peers read WAV files and
receive the finished specification.

Installing scaper builds soxbindings, which needs the headers of sox (Debian: libsox-dev). lhotse depends on torch.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundflow.bench.harness import measure as bench
from soundflow.operators.compose.mixing import Audio, StreamIdentity, compose, render, stream_pcm16
from soundflow.pipeline.build.produce import encode
from soundflow.pipeline.clips.index import ClipIndex, index_clips
from soundflow.schemas import constants as c
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.outcome import Ok
from soundflow.schemas.pcm16 import to_pcm16
from soundflow.schemas.recipe import MixingConfig
from soundflow.schemas.scene import Scene, SceneEvent, SceneResponse
from soundflow.schemas.stream import PlannedClip, PlannedNoise, StreamPlan
from soundflow.schemas.taxonomy import Task

STREAMS: Final = 12
"""Enough streams that their clips exceed the memory cache of an index, so that ours reads files too."""
EVENTS: Final = 10
SECONDS: Final = {"foreground": (4, 7), "background": (6, 12), "noise_event": (20, 30), "noise_ambient": (20, 30)}
IDENTITY: Final = StreamIdentity("sf-000000000000-000000-00000", "0" * 64, 0, 0)


def sound(seconds: float, rng: np.random.Generator, *, steady: bool = False) -> Audio:
    """Return noise with the spectrum and, unless `steady`, the syllable envelope of speech."""
    count = round(seconds * c.SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(count)) / np.maximum(np.arange(count // 2 + 1) * c.SAMPLE_RATE / count, 150.0)
    samples = np.fft.irfft(spectrum, n=count)
    if not steady:
        syllables = np.interp(np.arange(count), np.arange(0, count + 3200, 3200), rng.uniform(0.02, 1.0, count // 3200 + 2) ** 2)
        samples *= syllables
    scaled: Audio = (samples * (0.4 / np.abs(samples).max())).astype(np.float32)
    return scaled


def make_index(directory: Path, seed: int = 0) -> ClipIndex:
    """Write and index recordings for STREAMS streams."""
    rng = np.random.default_rng(seed)
    counts = {"foreground": EVENTS * STREAMS, "background": STREAMS, "noise_event": STREAMS, "noise_ambient": STREAMS}
    rows = ["id,path,label,role"]
    for role, count in counts.items():
        (directory / "source" / role).mkdir(parents=True)
        for number in range(count):
            name = f"{role}/{number:03d}.wav"
            soundfile.write(directory / "source" / name, sound(rng.uniform(*SECONDS[role]), rng), c.SAMPLE_RATE, subtype="PCM_16")
            rows.append(f"{role}-{number:03d},{name},{role},{role}")
    manifest = directory / "source" / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    index_clips([manifest], directory / "index", workers=1)
    return ClipIndex.open(directory / "index")


def scenes(index: ClipIndex) -> list[Scene]:
    """Return a scene per stream: EVENTS foreground clips with pauses and responses, and one background clip."""
    rng = np.random.default_rng(1)
    foreground, background = index.ids(ClipRole.FOREGROUND), index.ids(ClipRole.BACKGROUND)
    made = []
    for number in range(STREAMS):
        events = [
            SceneEvent(
                clip_id=clip_id,
                role=ClipRole.FOREGROUND,
                responses=(SceneResponse(text="I heard that.", source="bench", evidence=index.get(clip_id).active_end),),
                gap=int(rng.integers(12_800)),
            )
            for clip_id in foreground[number::STREAMS]
        ]
        events.append(SceneEvent(clip_id=background[number % len(background)], role=ClipRole.BACKGROUND))
        made.append(
            Scene(
                task=Task.EVENT_DESCRIPTION,
                planner="random",
                title="bench",
                instruction="Name what you hear.",
                events=tuple(events),
            )
        )
    return made


def ours(scene: Scene, index: ClipIndex, seed: int) -> tuple[StreamPlan, Audio]:
    """Plan and mix one stream."""
    outcome = compose(scene, IDENTITY, index, MixingConfig(), "soundflow/1", np.random.default_rng(seed))
    if not isinstance(outcome, Ok):
        raise RuntimeError(f"composition failed: {outcome}")
    return outcome.value


def write_cleaned(plans: Sequence[StreamPlan], index: ClipIndex, directory: Path) -> None:
    """Write the cleaned clips of `plans`, the input of the peers, as WAV files in a folder per label, as scaper requires."""
    for plan in plans:
        for item in clips_in(plan):
            path = wav_of(directory, item.label, str(item.clip_id))
            path.parent.mkdir(parents=True, exist_ok=True)
            pcm = to_pcm16(index.audio(index.get(str(item.clip_id))))
            soundfile.write(path, pcm, c.SAMPLE_RATE, subtype="PCM_16")


def clips_in(plan: StreamPlan) -> list[PlannedClip | PlannedNoise]:
    """Return all recordings of a stream, including noise."""
    return [*plan.clips, *plan.noises]


def load_scaper() -> ModuleType | None:
    """Import scaper, or return None. scaper 1.6 uses np.Inf, which numpy 2 removed."""
    vars(np).setdefault("Inf", np.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bench.import_peer("scaper")


def wav_of(directory: Path, label: str, clip_id: str) -> Path:
    """Return the path of the cleaned WAV file of a clip."""
    return directory / label / f"{clip_id}.wav"


def with_scaper(scaper: ModuleType, plan: StreamPlan, directory: Path) -> tuple[NDArray[Any], Any, list[Any], list[NDArray[Any]]]:
    """Run `Scaper.generate`: the first noise is the background, other clips are events with the plan's times and SNRs."""
    first = plan.noises[0]
    scape = scaper.Scaper(plan.seconds, str(directory), str(directory), random_state=0)
    scape.sr, scape.ref_db, scape.n_channels = c.SAMPLE_RATE, -26.0 - first.snr_db, 1
    const = partial(_constant, scape)
    scape.add_background(
        label=("const", first.label),
        source_file=("const", str(wav_of(directory, first.label, str(first.clip_id)))),
        source_time=("const", 0),
    )
    for clip in plan.clips:
        const(
            wav_of(directory, clip.label, clip.clip_id),
            clip.label,
            clip.start,
            clip.offset,
            clip.length,
            first.snr_db + clip.gain_db,
        )
    for noise in plan.noises[1:]:
        path = wav_of(directory, noise.label, str(noise.clip_id))
        length = min(soundfile.info(path).frames, plan.samples)
        const(path, noise.label, 0, 0, length, first.snr_db - noise.snr_db)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: tuple[NDArray[Any], Any, list[Any], list[NDArray[Any]]] = scape.generate(disable_instantiation_warnings=True)
    return made


def _constant(scape: Any, path: Path, label: str, start: int, offset: int, length: int, snr: float) -> None:
    scape.add_event(
        label=("const", label),
        source_file=("const", str(path)),
        source_time=("const", start / c.SAMPLE_RATE),
        event_time=("const", offset / c.SAMPLE_RATE),
        event_duration=("const", length / c.SAMPLE_RATE),
        snr=("const", snr),
        pitch_shift=None,
        time_stretch=None,
    )


def with_lhotse(plan: StreamPlan, cuts: dict[str, Any]) -> NDArray[Any]:
    """Load a lhotse MixedCut of the plan. Noise is repeated without crossfades; levels are SNRs where lhotse supports them."""
    foreground = [clip for clip in plan.clips if clip.role is ClipRole.FOREGROUND]
    mixed = cuts[foreground[0].clip_id].pad(duration=plan.seconds, preserve_id=True)
    for clip in [*foreground[1:], *(clip for clip in plan.clips if clip.role is not ClipRole.FOREGROUND)]:
        snr = None if clip.role is ClipRole.FOREGROUND else -clip.gain_db
        mixed = mixed.mix(cuts[clip.clip_id], offset_other_by=clip.offset / c.SAMPLE_RATE, allow_padding=True, snr=snr)
    for noise in plan.noises:
        at, cut = 0.0, cuts[str(noise.clip_id)]
        while at < plan.seconds:  # as lhotse's CutSet.mix does
            piece = cut.truncate(duration=min(cut.duration, plan.seconds - at))
            mixed = mixed.mix(piece, offset_other_by=at, snr=noise.snr_db)
            at = round(at + piece.duration, 8)
    audio: NDArray[Any] = mixed.load_audio()
    return audio


def lhotse_cuts(lhotse: ModuleType, plans: Sequence[StreamPlan], directory: Path) -> dict[str, Any]:
    """Return a lhotse cut per clip. Like our index, they are prepared once and not timed."""
    items = [item for plan in plans for item in clips_in(plan)]
    return {
        str(item.clip_id): lhotse.Recording.from_file(wav_of(directory, item.label, str(item.clip_id))).to_cut() for item in items
    }


@dataclass(frozen=True, slots=True)
class Placed:
    """Start (samples) and SNR of one event in our stream and in scaper's."""

    ours_at: int
    scaper_at: int
    ours_snr_db: float
    scaper_snr_db: float


def agreement_with_scaper(seed: int = 0) -> list[Placed] | None:
    """Render the plan of a stream with scaper and compare the events; None if scaper is not installed.

    Scaper measures levels in LUFS, we in RMS over active frames. For steady sounds with equal spectra both agree. Events are
    located by cross-correlation, and SNRs are measured on the isolated tracks.
    """
    scaper = load_scaper()
    if scaper is None:
        return None
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        source, cleaned = Path(name, "source"), Path(name, "cleaned")
        source.mkdir()
        rows = ["id,path,label,role"]
        for number, seconds in enumerate((1.5, 2.2, 0.9, 3.1, 4.0)):
            gain = np.float32(rng.uniform(0.1, 1.0))
            soundfile.write(source / f"{number}.wav", gain * sound(seconds, rng, steady=True), c.SAMPLE_RATE, subtype="PCM_16")
            rows.append(f"clip-{number},{number}.wav,sound {number},{'noise_event' if number == 4 else 'foreground'}")
        (source / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        index_clips([source / "manifest.csv"], Path(name, "index"), workers=1)
        index = ClipIndex.open(Path(name, "index"))
        events = tuple(
            SceneEvent(clip_id=f"clip-{number}", role=ClipRole.FOREGROUND, gap=int(rng.integers(9_000))) for number in range(4)
        )
        scene = Scene(task=Task.EVENT_DESCRIPTION, planner="random", title="bench", instruction="Listen.", events=events)
        made = compose(scene, IDENTITY, index, MixingConfig(ambient_noise=False), "soundflow/1", rng)
        if not isinstance(made, Ok):
            raise RuntimeError(f"composition failed: {made}")
        plan, audio = made.value
        write_cleaned([plan], index, cleaned)
        scape, _, _, isolated = with_scaper(scaper, plan, cleaned)
        load = lambda item: index.audio(index.get(str(item.clip_id)))  # noqa: E731
        alone = plan.model_copy(update={"noises": (), "scale": 1.0})
        noise = audio.astype(np.float64) / plan.scale - render(alone, load)
        placed = []
        for clip, theirs in zip(plan.clips, isolated[1:], strict=True):
            ours_track = render(alone.model_copy(update={"clips": (clip,)}), load)
            clean = index.audio(index.get(clip.clip_id))
            placed.append(
                Placed(
                    _find(audio, clean),
                    _find(scape[:, 0], clean),
                    _level(ours_track[clip.offset :][: clip.length]) - _level(noise),
                    _level(theirs[clip.offset :][: clip.length]) - _level(isolated[0]),
                )
            )
    return placed


def _find(stream: NDArray[Any], clip: Audio) -> int:
    size = 1 << int(stream.size + clip.size).bit_length()
    match = np.fft.irfft(np.fft.rfft(stream, size) * np.conj(np.fft.rfft(clip, size)), size)
    return int(np.argmax(match[: stream.size]))


def _level(samples: NDArray[Any]) -> float:
    return 10.0 * float(np.log10(np.mean(np.square(samples, dtype=np.float64))))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    args = bench.parse_arguments("speed.mixing", argv)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as name:
        warnings.simplefilter("ignore")
        directory = Path(name)
        index = make_index(directory)
        spec = scenes(index)
        streams = [ours(scene, index, number) for number, scene in enumerate(spec)]
        plans = [plan for plan, _ in streams]
        pcm = [stream_pcm16(audio) for _, audio in streams]
        write_cleaned(plans, index, directory / "cleaned")
        scaper, lhotse = load_scaper(), bench.import_peer("lhotse")

        candidates: dict[str, Callable[[], object]] = {
            "ours: compose from cached PCM": lambda: [ours(scene, index, n) for n, scene in enumerate(spec)],
            "ours: compose + FLAC": lambda: [encode(ours(scene, index, n)[1], "flac") for n, scene in enumerate(spec)],
            "soundfile: FLAC alone": lambda: [_flac(samples) for samples in pcm],
        }
        if scaper is not None:
            candidates["scaper: generate"] = lambda: [with_scaper(scaper, plan, directory / "cleaned") for plan in plans]
        if lhotse is not None:
            cuts = lhotse_cuts(lhotse, plans, directory / "cleaned")
            candidates["lhotse: MixedCut.load_audio"] = lambda: [with_lhotse(plan, cuts) for plan in plans]
        timing = bench.compare("mixing", candidates, runs=args.runs)
        medians = timing["medians"]
        mixing, scaped, lhotsed = (
            medians.get(label) for label in ("ours: compose from cached PCM", "scaper: generate", "lhotse: MixedCut.load_audio")
        )
        ratios = [
            bench.Ratio("mixing from files, x scaper", scaped / mixing if scaped else None, at_least=15.0),
            bench.Ratio("mixing from files, x lhotse", lhotsed / mixing if lhotsed else None, at_least=1.5),
            bench.Ratio(
                "compose + FLAC / FLAC alone",
                medians["ours: compose + FLAC"] / medians["soundfile: FLAC alone"],
                at_most=2.2,
            ),
        ]
        seconds = sum(plan.seconds for plan in plans)
        notes = {
            "streams": len(plans),
            "seconds of audio": round(seconds, 1),
            "x real time, compose": round(seconds / mixing),
            "x real time, compose + FLAC": round(seconds / medians["ours: compose + FLAC"]),
        }
    return bench.finish(
        "mixing",
        ratios,
        medians,
        versions=["numpy", "soundfile", "scaper", "soxbindings", "lhotse", "torch"],
        missing=[label for label, module in (("scaper", scaper), ("lhotse", lhotse)) if module is None],
        json_path=args.json,
        notes=notes,
    )


def _flac(samples: NDArray[np.int16]) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, c.SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


if __name__ == "__main__":
    raise SystemExit(main())
