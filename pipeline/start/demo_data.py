"""Recordings for `make demo`: real ones from the assets, and questions spoken by the embedded voice.

Run as `python -m soundflow.pipeline.start.demo_data DIR [CHOICE]`. It writes DIR/<asset>/… and DIR/manifest.csv. CHOICE is
`demo_data.yaml` (default), or `all_tasks_data.yaml` for what `make all-tasks` needs in addition. The recordings of an asset that
cannot be fetched are replaced by procedural sounds, which the column `source` states; a warning is printed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundflow.backends.sounds.procedural import LICENCE, plan_sound, render
from soundflow.backends.sounds.procedural.captions import describe
from soundflow.backends.sounds.procedural.catalogue import SOUNDS
from soundflow.operators.compose.noise import procedural
from soundflow.pipeline.services import assets
from soundflow.schemas.base import InputError
from soundflow.schemas.documents import parse_yaml
from soundflow.schemas.outcome import Ok

RECORDED: Final = ("scratch", "sonic-pi-samples", "openttd-opensfx", "asterisk-prompts")
FIELDS: Final = (
    "id", "path", "label", "caption", "role", "licence", "attribution", "source", "transcript", "reply", "language",
    "translation", "translation_language", "split",
)  # fmt: skip
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class DemoData:
    """Result of `prepare_demo`."""

    manifest: Path
    rows: list[Row]
    warnings: list[str]
    """One for each asset that could not be fetched."""


def prepare_demo(dest: Path, on_progress: Callable[[str], None] = lambda line: None, choice: str = "demo_data.yaml") -> DemoData:
    """Write the recordings of a choice and their manifest to `dest`. The same assets give the same bytes."""
    chosen: dict[str, Any] = parse_yaml((resources.files("soundflow.pipeline.start") / choice).read_text(encoding="utf-8"))
    known = assets.manifest()
    dest.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    warnings = []
    _update_apt_lists(on_progress)
    for name in RECORDED:
        try:
            assets.fetch([name], on_progress)
        except InputError as error:
            warnings.append(f"{name} could not be fetched. Its recordings are replaced by PROCEDURAL sounds. {error}")
            rows += _replacements(name, chosen[name], dest)
            continue
        root = assets.directory() / name
        about = {"licence": known[name].licence, "attribution": known[name].attribution, "source": name}
        if name == "asterisk-prompts":
            found = _prompts(root, chosen[name], dest)
        elif name == "openttd-opensfx":
            found = _opensfx(root / "opensfx.cat", chosen[name], dest)
        else:
            found = _files(root, name, chosen[name], dest)
        rows += [row | about for row in found]
    rows += _spoken(chosen["dialogue"], dest) if chosen["dialogue"] else []
    rows += _synthesised(chosen.get("made", {}), dest)
    rows = [row | _translation(row, chosen["translations"]) | {"split": _split(row["id"])} for row in rows]
    rows.sort(key=lambda row: row["id"])
    with (dest / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return DemoData(dest / "manifest.csv", rows, warnings)


def _update_apt_lists(on_progress: Callable[[str], None]) -> None:
    """Run `apt-get update` as root if apt has no package lists yet, as on a new machine."""
    here = {state.name for state in assets.listing() if state.state == "here"}
    if here.issuperset(RECORDED) or os.geteuid() != 0 or shutil.which("apt-get") is None or assets.apt_knows("scratch"):
        return
    on_progress("apt has no package lists: running `apt-get update`")
    try:
        subprocess.run(["apt-get", "update"], check=True, capture_output=True, timeout=180)
    except (OSError, subprocess.SubprocessError) as error:
        on_progress(f"`apt-get update` failed: {error}")


def _translation(row: Row, translations: dict[str, str]) -> Row:
    """Return the language and translation of a transcript."""
    if not row.get("transcript"):
        return {}
    translated = translations.get(row["transcript"])
    return {"language": "en"} | ({"translation": translated, "translation_language": "zh"} if translated else {})


def _split(clip_id: str) -> str:
    """Assign about a sixth of the clips to `test`, by id."""
    return "test" if hashlib.sha256(clip_id.encode()).digest()[0] % 6 == 0 else "train"


def _files(root: Path, name: str, roles: dict[str, dict[str, list[str]]], dest: Path) -> Iterator[Row]:
    for role, files in roles.items():
        for file, (label, caption) in files.items():
            target = dest / name / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / file, target)
            yield _row(target, dest, role=role, label=label, caption=caption)


def _opensfx(container: Path, roles: dict[str, dict[str, list[str]]], dest: Path) -> Iterator[Row]:
    """Read a .cat file: a table of (offset, length), then for each sound its title, prefixed with the length, and a RIFF file.

    A title looks like `"Ship horn". Original … by …. License: ….`.
    """
    data = container.read_bytes()
    count = (struct.unpack_from("<I", data)[0] & 0x7FFF_FFFF) // 8
    sounds = {}
    for number in range(count):
        offset, size = struct.unpack_from("<II", data, 8 * number)
        start = (offset & 0x7FFF_FFFF) + 1 + data[offset & 0x7FFF_FFFF]
        title = data[(offset & 0x7FFF_FFFF) + 1 : start].rstrip(b"\0").decode("utf-8", "replace")
        sounds[title.split('"')[1].removeprefix("Lumber mill: ")] = data[start : start + size]
    for role, names in roles.items():
        for name, (label, caption) in names.items():
            samples, rate = soundfile.read(io.BytesIO(sounds[name]), dtype="int16")
            target = dest / "openttd-opensfx" / f"{name.lower().replace(' ', '_')}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(target, samples, rate, subtype="PCM_16")
            yield _row(target, dest, role=role, label=label, caption=caption)


def _prompts(root: Path, words: dict[str, str], dest: Path) -> Iterator[Row]:
    for name, transcript in words.items():
        target = dest / "asterisk-prompts" / f"{name}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(next(root.glob(f"*/{name}.wav")), target)
        yield _row(target, dest, role="foreground", label="telephone speech", caption="a woman speaking", transcript=transcript)


def _spoken(dialogue: dict[str, str], dest: Path) -> Iterator[Row]:
    from hibari import SAMPLE_RATE, Hibari

    voice, maker = Hibari(), f"hibari-tts {metadata.version('hibari-tts')}"
    (dest / "spoken").mkdir(exist_ok=True)
    for number, (question, answer) in enumerate(dialogue.items()):
        target = dest / "spoken" / f"question-{number:02d}.wav"
        soundfile.write(target, np.asarray(voice(question, seed=number), dtype=np.float32), SAMPLE_RATE, subtype="PCM_16")
        row = _row(
            target, dest, role="foreground", label="speech", caption="a synthetic voice", transcript=question, reply=answer
        )
        yield row | {"licence": "Apache-2.0", "attribution": "hibari-tts, voice heart (synthetic)", "source": maker}


def _replacements(name: str, roles: dict[str, Any], dest: Path) -> Iterator[Row]:
    """Replace missing sounds by synthesised ones, or by pulsating noise if the synthesiser does not know them; omit speech."""
    if name == "asterisk-prompts":
        return
    for role, sounds in roles.items():
        for file, (label, _) in sounds.items():
            number = int.from_bytes(hashlib.sha256(f"{name}/{file}".encode()).digest()[:4])
            planned = plan_sound(label, (1.0, 8.0), number)
            if isinstance(planned, Ok):
                plan, called = planned.value, label
                samples, caption = render(plan), describe(SOUNDS[plan.sound], plan.parameters, plan.count)
            else:
                samples, called, caption = _stand_in(role, number), f"procedural stand-in for {label}", ""
            target = dest / "procedural" / name / f"{Path(file).stem.lower().replace(' ', '_')}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(target, samples, 16_000, subtype="PCM_16")
            row = _row(target, dest, role=role, label=called, caption=caption)
            yield row | {"licence": LICENCE, "attribution": "", "source": "procedural"}


def _synthesised(labels: dict[str, int], dest: Path) -> Iterator[Row]:
    """Write sounds of the embedded synthesiser, several of each label; their source is `procedural`."""
    for label, count in labels.items():
        for number in range(count):
            planned = plan_sound(label, (1.0, 4.0), number)
            if not isinstance(planned, Ok):
                raise InputError("the synthesiser does not know this label", field="made", value=label)
            plan = planned.value
            target = dest / "procedural" / f"{label.replace(' ', '_')}-{number}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(target, render(plan), 16_000, subtype="PCM_16")
            row = _row(target, dest, role="foreground", label=label)
            yield row | {"licence": LICENCE, "attribution": "", "source": "procedural"}


def _stand_in(role: str, number: int) -> NDArray[np.float32]:
    samples = procedural(f"procedural:pink:{number}")[: 16_000 * (1 if role == "foreground" else 6)]
    times = np.arange(samples.size) / 16_000
    envelope = np.sin(np.pi * times / times[-1]) * (0.6 + 0.4 * np.sin(2 * np.pi * (2 + number % 7) * times))
    return np.asarray(samples * envelope, dtype=np.float32)


def _row(target: Path, dest: Path, **more: str) -> Row:
    path = target.relative_to(dest).as_posix()
    return {"id": path.replace(" ", "_"), "path": path} | more


if __name__ == "__main__":
    made = prepare_demo(Path(sys.argv[1]), print, *sys.argv[2:3])
    real = sum(row["source"] in RECORDED for row in made.rows)
    print(f"{made.manifest}: {len(made.rows)} clips, {real} of them real recordings")  # noqa: T201
    for warning in made.warnings:
        sys.stderr.write(f"\n*** WARNING: {warning}\n\n")
