"""A small world for pipeline tests: recordings on disk, their index, recipes, builds, and ways to damage them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import yaml

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import ShardWriter, read_shard
from soundflow.schemas.base import canonical_json

LABELS = ("dog bark", "siren", "rain", "baby cry", "typing", "owl")


def write_sources(root: Path, speech: dict[str, np.ndarray], texts: dict[str, str]) -> Path:
    """Spoken sentences with transcripts, cuts of them as labelled sounds, and two kinds of noise."""
    rng = np.random.default_rng(11)
    voice = np.concatenate(list(speech.values()))
    (root / "speech").mkdir(parents=True)
    for name, samples in speech.items():
        soundfile.write(root / "speech" / f"{name}.wav", samples, 16_000)
        (root / "speech" / f"{name}.txt").write_text(texts[name])
    for number in range(18):
        folder = root / LABELS[number % len(LABELS)].replace(" ", "_")
        folder.mkdir(exist_ok=True)
        start = int(rng.integers(voice.size - 24_000))
        cut = voice[start : start + int(rng.integers(5_000, 24_000))]
        soundfile.write(folder / f"{number}.flac", np.tanh(3 * cut * np.hanning(cut.size)), 16_000)
    for folder, level in (("noise", 0.02), ("noise_ambient", 0.01)):
        (root / folder).mkdir()
        soundfile.write(root / folder / "bed.wav", rng.standard_normal(40_000) * level, 16_000)
    return root


def write_recipe(path: Path, clips: Path, **change: object) -> Path:
    """A recipe of every task over `clips`."""
    tasks = dict.fromkeys(("event_description", "proactive_respond", "voice_chat", "streaming_asr"), 1.0)
    scene = {"events": [2, 4], "gap_seconds": [0.1, 0.5]}
    document = {"clips": str(clips), "streams": 12, "shards": 4, "seed": 3, "tasks": tasks, "scene": scene} | change
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return path


def corpus(out: Path) -> dict[str, tuple[str, str]]:
    """What a build committed: manifest name → (tar name and hash, manifest without timings)."""
    found = {}
    for path in sorted((out / "manifest").glob("*.json")):
        manifest = json.loads(path.read_bytes())
        manifest.pop("timings")
        manifest.pop("cost")
        tar = out / "data" / manifest["tar"]
        found[path.name] = (f"{tar.name} {hashlib.sha256(tar.read_bytes()).hexdigest()}", json.dumps(manifest, sort_keys=True))
    return found


Members = dict[str, bytes]


def rewrite(out: Path, shard: int, change: Callable[[int, str, Members], Members]) -> None:
    """Change members of a committed shard and make tar name, hash and manifest agree again, as a careful forger would."""
    build = BuildDir(out)
    manifest = next(entry for entry in build.manifests() if entry.shard == shard)
    old = build.data / manifest.tar
    samples = list(read_shard(old))
    forged = out / "forged.tar"
    with forged.open("wb") as stream:
        writer = ShardWriter(stream)
        for number, (key, members) in enumerate(samples):
            writer.add(key, change(number, key, dict(members)))
        writer.finish()
    sha256 = writer.sha256()
    old.unlink()
    name = f"shard-{shard:06d}-{sha256[:12]}.tar"
    forged.rename(build.data / name)
    path = build.manifest_path(shard)
    document = json.loads(path.read_bytes()) | {"tar": name, "sha256": sha256, "bytes": writer.bytes}
    path.write_bytes(canonical_json(document))
