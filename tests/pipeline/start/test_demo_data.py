"""The recordings of the demo: real if the assets are there, procedural with a warning otherwise, always the same bytes."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import struct
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from soundflow.operators.compose.clips import Palette
from soundflow.operators.curate.planning import available_tasks
from soundflow.pipeline.clips.align import align_clips
from soundflow.pipeline.clips.index import ClipIndex, index_clips
from soundflow.pipeline.services import assets
from soundflow.pipeline.services.assets import Asset, AssetSource
from soundflow.pipeline.start.demo_data import DemoData, prepare_demo
from soundflow.schemas.taxonomy import WHOLE, Task, Urgency, urgency

CHOSEN = yaml.safe_load((resources.files("soundflow.pipeline.start") / "demo_data.yaml").read_text(encoding="utf-8"))


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> DemoData:
    """What a machine without any carrier's client gets."""
    folder = tmp_path_factory.mktemp("bare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDFLOW_ASSETS", str(folder / "assets"))
        patch.setenv("PATH", str(folder))
        return prepare_demo(folder / "recordings")


def test_missing_assets_are_replaced_with_a_warning(bare: DemoData) -> None:
    assert len(bare.warnings) == 4 and all("PROCEDURAL" in warning for warning in bare.warnings)
    made = [row for row in bare.rows if row["source"] == "procedural"]
    stand_ins = [row for row in made if row["label"].startswith("procedural stand-in for ")]
    assert len(made) > 70 and len(stand_ins) > 50
    assert {row["label"] for row in made if row not in stand_ins} >= {"car horn", "footsteps", "typing", "wind", "bell"}
    assert {row["source"] for row in bare.rows} == {"procedural", "hibari-tts 0.2.1"}
    sounds = [value for path, value in digests(bare.manifest.parent).items() if path.endswith(".wav")]
    assert len(set(sounds)) == len(sounds) == len(bare.rows)


def test_the_demo_is_the_same_bytes_each_time(bare: DemoData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDFLOW_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setenv("PATH", str(tmp_path))
    stale = tmp_path / "recordings" / "spoken" / "question-00.wav"  # of a killed run, or of other words
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"half")
    prepare_demo(tmp_path / "recordings")
    assert digests(tmp_path / "recordings") == digests(bare.manifest.parent)


def test_even_without_recordings_every_sub_task_can_be_built(bare: DemoData, tmp_path: Path) -> None:
    summary = index_clips([bare.manifest.parent], tmp_path / "clips", workers=1)
    assert summary.rejected == {}
    timed, wanted = {Task.SIMULTANEOUS_INTERPRETATION}, {*WHOLE, Task.EVENT_DESCRIPTION}
    assert available_tasks(Palette.of(ClipIndex.open(tmp_path / "clips")), at_least=5) & wanted == wanted - timed
    assert align_clips(tmp_path / "clips", workers=1).unaligned == {}
    assert available_tasks(Palette.of(ClipIndex.open(tmp_path / "clips")), at_least=5) >= wanted


def test_the_choice_holds_hazards_benign_sounds_noise_and_words_for_all_speech() -> None:
    sounds = [pair for name in ("scratch", "openttd-opensfx") for pair in CHOSEN[name]["foreground"].values()]
    verdicts = [urgency(*pair) for pair in sounds]
    assert verdicts.count(Urgency.RESPOND) >= 10 and verdicts.count(Urgency.IGNORE) >= 20
    assert len(CHOSEN["dialogue"]) >= 24 and all(question and answer for question, answer in CHOSEN["dialogue"].items())
    assert all(text.strip() for text in CHOSEN["asterisk-prompts"].values())
    assert set(CHOSEN["translations"]) <= {*CHOSEN["dialogue"], *CHOSEN["asterisk-prompts"].values()}
    assert {role for name in CHOSEN for role in CHOSEN[name] if role.startswith("noise")} == {"noise_event", "noise_ambient"}


def container(sounds: dict[str, np.ndarray]) -> bytes:
    """An OpenTTD .cat file."""
    bodies = []
    for name, samples in sounds.items():
        riff = io.BytesIO()
        soundfile.write(riff, samples, 11_025, format="WAV", subtype="PCM_16")
        title = f'"{name}". Original by nobody. License: CC0.'.encode() + b"\0"
        bodies.append((bytes([len(title)]) + title, riff.getvalue()))
    place, table = 8 * len(bodies), b""
    for title, riff in bodies:
        table += struct.pack("<II", place, len(riff))
        place += len(title) + len(riff)
    return table + b"".join(title + riff for title, riff in bodies)


def test_recordings_are_taken_from_the_assets_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOUNDFLOW_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setenv("PATH", str(tmp_path))
    carriers = tmp_path / "carriers"
    rng = np.random.default_rng(4)

    def noise() -> np.ndarray:
        return (rng.standard_normal(4000) * 3000).astype(np.int16)

    for name in ("scratch", "sonic-pi-samples"):
        for file in (file for role in CHOSEN[name].values() for file in role):
            (carriers / name / file).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(carriers / name / file, noise(), 16_000, format="FLAC")
    (carriers / "asterisk-prompts" / "en").mkdir(parents=True)
    for name in CHOSEN["asterisk-prompts"]:
        soundfile.write(carriers / "asterisk-prompts" / "en" / f"{name}.wav", noise(), 8_000)
    effects = {name: noise() for role in CHOSEN["openttd-opensfx"].values() for name in role}
    (carriers / "openttd-opensfx").mkdir()
    (carriers / "openttd-opensfx" / "opensfx.cat").write_bytes(container(effects))
    known = {}
    for name, entry in assets.manifest().items():
        place = carriers / name
        place.mkdir(exist_ok=True)
        source, digest = AssetSource(kind="local", path=str(place)), assets.tree_sha256(place, entry.select)
        known[name] = Asset(**entry.model_dump() | {"root": "", "tree_sha256": digest, "files": {}, "sources": (source,)})
    monkeypatch.setattr(assets, "manifest", lambda: known)
    demo = prepare_demo(tmp_path / "recordings")
    assert demo.warnings == []
    rows = {row["path"]: row for row in csv.DictReader(io.StringIO(demo.manifest.read_text(encoding="utf-8"), newline=""))}
    assert len(rows) == len(demo.rows) > 100 and {row["split"] for row in rows.values()} == {"train", "test"}
    assert all(row["licence"] and row["attribution"] and (tmp_path / "recordings" / path).is_file() for path, row in rows.items())
    cry = rows["scratch/Human/BabyCry.mp3"]
    assert (cry["label"], cry["source"], cry["licence"]) == ("baby cry", "scratch", "CC-BY-SA-3.0")
    assert (tmp_path / "recordings" / cry["path"]).read_bytes() == (carriers / "scratch/Human/BabyCry.mp3").read_bytes()
    horn, rate = soundfile.read(tmp_path / "recordings" / "openttd-opensfx" / "ship_horn.wav", dtype="int16")
    assert rate == 11_025 and (horn == effects["Ship horn"]).all()
    assert rows["asterisk-prompts/tt-weasels.wav"]["transcript"] == "Weasels have eaten our phone system."
    assert "apt-get update" not in capsys.readouterr().out


@pytest.mark.parametrize(("lists", "runs"), [("empty", ["update"]), ("filled", [])])
def test_apt_lists_are_updated_for_root_on_a_new_machine(
    lists: str, runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    log.touch()
    bodies = {
        "apt-cache": f"sys.exit({int(lists == 'empty')})",
        "apt-get": f"open({str(log)!r}, 'a').write(sys.argv[1] + ' ')\nsys.exit(1)",
    }
    for name, body in bodies.items():
        (tmp_path / name).write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
        (tmp_path / name).chmod(0o755)
    shutil.copy("/bin/true", tmp_path / "dpkg")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SOUNDFLOW_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    lines: list[str] = []
    prepare_demo(tmp_path / "recordings", lines.append)
    assert [word for word in log.read_text().split() if word == "update"] == runs
    assert any("apt-get update" in line for line in lines) == bool(runs)
