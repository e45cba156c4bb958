"""Source folders for `make demo`: real recordings from the assets, and questions spoken by the embedded voice.

Run as `python -m pipeline.demo_data DIR`; writes DIR/<asset>/…, DIR/manifest.csv. What an asset cannot give is replaced by
procedural sounds that say so in label and source, and the run says so loudly.
"""

from __future__ import annotations

import csv
import io
import shutil
import struct
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import yaml

from operators.noise import procedural
from pipeline import assets
from schemas.base import InputError

VOICE_SOURCE: Final = "hibari-tts (embedded voice)"
FIELDS: Final = ("id", "path", "label", "caption", "role", "licence", "attribution", "source", "transcript", "reply")
Row = dict[str, str]


def prepare_demo(dest: Path) -> list[str]:
    """Write the demo's recordings and their manifest below `dest`; returns warnings, one per asset that could not be had."""
    chosen: dict[str, Any] = yaml.safe_load((resources.files("pipeline") / "demo_data.yaml").read_text(encoding="utf-8"))
    known = assets.manifest()
    dest.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    warnings = []
    for name in ("scratch", "sonic-pi-samples", "openttd-opensfx", "asterisk-prompts"):
        try:
            assets.fetch([name], on_progress=print)
        except InputError as error:
            warnings.append(f"{name} could not be had: its recordings are replaced by PROCEDURAL sounds. {error}")
            rows += list(_replacements(name, chosen[name], dest))
            continue
        root, more = (
            assets.directory() / name,
            {"licence": known[name].licence, "attribution": known[name].attribution, "source": name},
        )
        if name == "asterisk-prompts":
            rows += [row | more for row in _prompts(root, chosen[name], dest)]
        elif name == "openttd-opensfx":
            rows += [row | more for row in _opensfx(root / "opensfx.cat", chosen[name], dest)]
        else:
            rows += [row | more for row in _files(root, name, chosen[name], dest)]
    rows += list(_spoken(chosen["dialogue"], dest))
    with (dest / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS, restval="")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["id"]))
    return warnings


def _files(root: Path, name: str, roles: dict[str, dict[str, list[str]]], dest: Path) -> Iterator[Row]:
    for role, files in roles.items():
        for file, (label, caption) in files.items():
            target = dest / name / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / file, target)
            yield _row(target, dest, role=role, label=label, caption=caption)


def _opensfx(container: Path, roles: dict[str, dict[str, list[str]]], dest: Path) -> Iterator[Row]:
    """A .cat file: a table of (offset, length), then per sound a counted name and a RIFF file.

    The name reads `"Ship horn". Original … by …. License: ….`.
    """
    data = container.read_bytes()
    count = (struct.unpack_from("<I", data)[0] & 0x7FFF_FFFF) // 8
    sounds = {}
    for number in range(count):
        offset, size = struct.unpack_from("<II", data, 8 * number)
        start = (offset & 0x7FFF_FFFF) + 1 + data[offset & 0x7FFF_FFFF]
        said = data[(offset & 0x7FFF_FFFF) + 1 : start].rstrip(b"\0").decode("utf-8", "replace")
        sounds[said.split('"')[1].removeprefix("Lumber mill: ")] = (said, data[start : start + size])
    for role, names in roles.items():
        for name, (label, caption) in names.items():
            said, riff = sounds[name]
            samples, rate = soundfile.read(io.BytesIO(riff), dtype="int16")
            target = dest / "openttd-opensfx" / f"{name.lower().replace(' ', '_')}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(target, samples, rate, subtype="PCM_16")
            yield _row(target, dest, role=role, label=label, caption=caption)


def _prompts(root: Path, words: dict[str, str], dest: Path) -> Iterator[Row]:
    for name, transcript in words.items():
        target = dest / "asterisk-prompts" / f"{name}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(next(root.glob(f"*/{name}.wav")), target)
        yield _row(target, dest, role="foreground", label="speech", caption="a woman speaking", transcript=transcript)


def _spoken(dialogue: dict[str, str], dest: Path) -> Iterator[Row]:
    from hibari import SAMPLE_RATE, Hibari

    voice = Hibari()
    (dest / "spoken").mkdir(exist_ok=True)
    for number, (question, answer) in enumerate(dialogue.items()):
        target = dest / "spoken" / f"question-{number:02d}.wav"
        if not target.exists():
            soundfile.write(target, np.asarray(voice(question, seed=number), dtype=np.float32), SAMPLE_RATE, subtype="PCM_16")
        row = _row(
            target, dest, role="foreground", label="speech", caption="a synthetic voice", transcript=question, reply=answer
        )
        yield row | {"licence": "Apache-2.0", "attribution": "hibari-tts, voice heart", "source": VOICE_SOURCE}


def _replacements(name: str, roles: dict[str, Any], dest: Path) -> Iterator[Row]:
    """Coloured noise with the rhythm of an event, one per missing sound; speech has no replacement."""
    if name == "asterisk-prompts":
        return
    for role, sounds in roles.items():
        for number, (file, (label, _)) in enumerate(sounds.items()):
            samples = procedural(f"procedural:pink:{number}")[: 16_000 * (1 if role == "foreground" else 6)]
            times = np.arange(samples.size) / 16_000
            envelope = np.sin(np.pi * times / times[-1]) * (0.6 + 0.4 * np.sin(2 * np.pi * (2 + number % 7) * times))
            target = dest / "procedural" / name / f"{Path(file).stem.lower().replace(' ', '_')}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(target, (samples * envelope).astype(np.float32), 16_000, subtype="PCM_16")
            row = _row(target, dest, role=role, label=f"procedural stand-in for {label}", caption="")
            yield row | {"licence": "CC0-1.0", "attribution": "", "source": "procedural"}


def _row(target: Path, dest: Path, **more: str) -> Row:
    path = target.relative_to(dest).as_posix()
    return {"id": path.replace(" ", "_"), "path": path} | more


if __name__ == "__main__":
    for warning in prepare_demo(Path(sys.argv[1])):
        sys.stderr.write(f"\n*** WARNING: {warning}\n\n")
