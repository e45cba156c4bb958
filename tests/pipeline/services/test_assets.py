"""Assets: the hash decides whichever source answers, and nothing incomplete is ever installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from soundflow.operators.tokens.qwen_bpe import VOCABULARY_SHA256
from soundflow.pipeline.services import assets
from soundflow.pipeline.services.assets import Asset, AssetSource
from soundflow.schemas.base import InputError
from tests.support import ROOT


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


def asset(original: Path, *sources: AssetSource, digest: str | None = None) -> dict[str, Asset]:
    about = {"role": "test", "licence": "CC0-1.0", "attribution": "", "select": ("**/*.wav",), "root": "inner", "bytes": 6}
    mark = digest or assets.tree_sha256(original / "inner", about["select"])
    return {"thing": Asset(**about, tree_sha256=mark, sources=sources)}


def in_place(directory: Path) -> list[str]:
    """Names of the installed assets."""
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


def kept(directory: Path) -> list[str]:
    """Downloads kept for a later run."""
    return [path.name for path in (directory / ".fetching").rglob("*") if path.is_file() and path.suffix != ".lock"]


def local(path: Path) -> AssetSource:
    return AssetSource(kind="local", path=str(path))


def test_the_manifest_of_the_package_is_sound() -> None:
    known = assets.manifest()
    always = {"scratch", "sonic-pi-samples", "openttd-opensfx", "asterisk-prompts", "qwen-bpe", "hibari-voice"}
    assert always <= {name for name, entry in known.items() if not entry.optional}
    assert all(entry.optional for entry in known.values() if entry.bytes > 100e6)
    assert all(entry.licence and entry.attribution for entry in known.values())
    assert all(entry.tree_sha256 == assets.names_sha256(entry.files) for entry in known.values() if entry.files)
    assert known["qwen-bpe"].files == {"qwen.tiktoken": VOCABULARY_SHA256}
    assert [row.state for row in assets.listing()] == ["missing"] * len(known)


def test_the_first_source_with_the_right_content_wins(original: Path, tmp_path: Path, own_directory: Path) -> None:
    wrong = Path(shutil.copytree(original, tmp_path / "wrong"))
    (wrong / "inner" / "a.wav").write_bytes(b"another")
    lines: list[str] = []
    (state,) = assets.fetch(
        assets=asset(original, local(tmp_path / "gone"), local(wrong), local(original)), on_progress=lines.append
    )
    assert state.state == "here" and len(lines) == 3
    assert sorted(path.name for path in (own_directory / "thing").rglob("*") if path.is_file()) == ["a.wav", "b.wav"]
    assert (original / "inner" / "a.wav").exists() and in_place(own_directory) == ["thing"]
    assert kept(own_directory) == []


def test_if_no_source_has_it_every_error_is_reported_and_nothing_is_left(
    original: Path, tmp_path: Path, own_directory: Path
) -> None:
    with pytest.raises(InputError) as caught:
        assets.fetch(assets=asset(original, local(tmp_path / "gone"), local(original), digest="0" * 64))
    assert str(caught.value).count("hash mismatch") == 2
    assert in_place(own_directory) == kept(own_directory) == []


def test_an_optional_asset_is_fetched_only_by_name(original: Path, own_directory: Path) -> None:
    known = {name: entry.model_copy(update={"optional": True}) for name, entry in asset(original, local(original)).items()}
    assert assets.fetch(assets=known) == [] and assets.listing(known)[0].state == "missing"
    assert [row.state for row in assets.fetch(list(known), assets=known)] == ["here"]


def test_verify_finds_a_damaged_asset_and_fetch_repairs_it(original: Path, own_directory: Path) -> None:
    known = asset(original, local(original))
    assets.fetch(assets=known)
    (own_directory / "thing" / "sub" / "b.wav").write_bytes(b"rot")
    assert assets.verify(known)[0].state == "damaged"
    assert assets.fetch(assets=known)[0].state == "here" and assets.verify(known)[0].state == "here"


def test_an_installed_asset_is_not_fetched_again(original: Path) -> None:
    known = asset(original, local(original))
    assets.fetch(assets=known)
    lines: list[str] = []
    assets.fetch(assets=known, on_progress=lines.append)
    assert lines == []


def test_an_unknown_name_is_refused_with_the_known_ones(original: Path) -> None:
    with pytest.raises(InputError, match="Known assets: thing"):
        assets.fetch(["thign"], assets=asset(original, local(original)))


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    about = {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "RECORD": ""}
    about["WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as packed:
        for path, content in (files | {f"{info}/{file}": text.encode() for file, text in about.items()}).items():
            packed.writestr(path, content)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place pip looks."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tmp_path / "wheels"


def test_a_wheel_is_a_carrier_through_pip_itself(original: Path, index: Path, own_directory: Path) -> None:
    wheel(index, "carrier", {"carrier/inner/a.wav": b"one", "carrier/inner/sub/b.wav": b"two"})
    known = asset(original, AssetSource(kind="pypi", package="carrier", version="1.0", root="carrier/inner"))
    assert assets.fetch(assets=known)[0].state == "here" and kept(own_directory) == []
    shutil.rmtree(own_directory / "thing")
    with pytest.raises(InputError, match="no-such-carrier"):
        assets.fetch(assets=asset(original, AssetSource(kind="pypi", package="no-such-carrier", version="1.0")))


def test_a_wheel_with_other_content_is_refused_and_not_kept(original: Path, index: Path, own_directory: Path) -> None:
    wheel(index, "carrier", {"carrier/inner/a.wav": b"one", "carrier/inner/sub/b.wav": b"forged"})
    source = AssetSource(kind="pypi", package="carrier", version="1.0", root="carrier/inner")
    with pytest.raises(InputError, match="hash mismatch"):
        assets.fetch(assets=asset(original, source))
    assert in_place(own_directory) == kept(own_directory) == []


def test_a_file_in_parts_is_joined_from_several_wheels(original: Path, index: Path) -> None:
    (original / "inner" / "sub" / "b.wav").write_bytes(b"first,second,third")
    wheel(index, "part1", {"part1/a.wav": b"one", "part1/b.0": b"first,", "part1/b.1": b"second,"})
    wheel(index, "part2", {"part2/b.2": b"third"})
    join = {"a.wav": ("part1/a.wav",), "sub/b.wav": ("part1/b.*", "part2/b.*")}
    source = AssetSource(kind="pypi", package="part1", more=("part2",), version="1.0", root="joined", join=join)
    assert assets.fetch(assets=asset(original, source))[0].state == "here"


def test_a_source_distribution_is_never_built(original: Path, index: Path, tmp_path: Path) -> None:
    project = tmp_path / "carrier-1.0"
    project.mkdir()
    (project / "backend.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (project / "pyproject.toml").write_text('[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n')
    (project / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
    index.mkdir()
    with tarfile.open(index / "carrier-1.0.tar.gz", "w:gz") as packed:
        packed.add(project, "carrier-1.0")
    with pytest.raises(InputError, match="carrier"):
        assets.fetch(assets=asset(original, AssetSource(kind="pypi", package="carrier", version="1.0")))
    assert not (tmp_path / "ran").exists()


def test_an_installed_distribution_is_copied(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    shutil.copytree(original / "inner", site / "inner")
    (site / "here_already-1.0.dist-info").mkdir()
    (site / "here_already-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: here-already\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(site))
    absent, present = (AssetSource(kind="installed", package=name) for name in ("not-here", "here-already"))
    with pytest.raises(InputError, match="installed:not-here: the Python distribution is not installed"):
        assets.fetch(assets=asset(original, absent))
    assert assets.fetch(assets=asset(original, absent, present))[0].state == "here"
    assert (site / "inner" / "a.wav").exists()


@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm on this machine")
def test_a_tarball_is_a_carrier_through_npm_itself(original: Path) -> None:
    (original / "package.json").write_text('{"name": "carrier", "version": "1.0.0"}')
    source = AssetSource(kind="npm", package=str(original), root="package/inner")
    assert assets.fetch(assets=asset(original, source))[0].state == "here"


def client(folder: Path, name: str, body: str) -> None:
    """A program that stands where a client would reach a registry."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable}\nimport os, shutil, sys\n{body}")
    (folder / name).chmod(0o755)


@pytest.fixture
def deb(original: Path, tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    shutil.copytree(original, tree)
    (tree / "DEBIAN").mkdir()
    about = "Package: carrier\nVersion: 1.0\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
    (tree / "DEBIAN" / "control").write_text(about)
    subprocess.run(["dpkg-deb", "--build", str(tree), str(tmp_path / "carrier.deb")], check=True, capture_output=True)
    return tmp_path / "carrier.deb"


needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg on this machine")


@needs_dpkg
def test_another_point_release_with_the_same_files_is_the_same_asset(
    original: Path, deb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(tmp_path / "bin", "apt-cache", "")
    client(
        tmp_path / "bin",
        "apt-get",
        f'if "=" in sys.argv[2]: sys.exit("no such version")\nshutil.copy({str(deb)!r}, "carrier_1.0_all.deb")',
    )
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    assert assets.fetch(assets=asset(original, AssetSource(kind="debian", package="carrier", version="0.9")))[0].state == "here"


@needs_dpkg
def test_an_interrupted_download_is_kept_for_its_client_to_resume(
    original: Path, deb: Path, tmp_path: Path, own_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = deb.stat().st_size // 2
    client(tmp_path / "bin", "apt-cache", "sys.exit(1)")  # as with empty lists: the unpinned name is not tried
    client(
        tmp_path / "bin",
        "apt-get",
        f"""
have = os.path.getsize("carrier.deb") if os.path.exists("carrier.deb") else 0
with open({str(deb)!r}, "rb") as source, open("carrier.deb", "ab") as target:
    source.seek(have)
    target.write(source.read() if have else source.read({half}))
open({str(tmp_path / "log")!r}, "a").write(f"from {{have}}\\n")
sys.exit(0 if have else "connection lost")
""",
    )
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    known = asset(original, AssetSource(kind="debian", package="carrier", version="1.0"))
    with pytest.raises(InputError, match="apt-get update"):
        assets.fetch(assets=known)
    assert in_place(own_directory) == [] and kept(own_directory) == ["carrier.deb"]
    assert assets.fetch(assets=known)[0].state == "here" and kept(own_directory) == []
    assert (tmp_path / "log").read_text().split("\n")[:2] == ["from 0", f"from {half}"]


def test_a_missing_apt_is_reported(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(InputError, match="no apt-get and dpkg"):
        assets.fetch(assets=asset(original, AssetSource(kind="debian", package="carrier")))
    assert not assets.apt_knows("carrier")


def test_a_client_that_hangs_or_leaves_nothing_is_one_failed_source(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(tmp_path / "bin", "npm", 'import time\nif "slow" in sys.argv[-1]: time.sleep(60)')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    slow, nothing = (AssetSource(kind="npm", package=name) for name in ("slow", "nothing"))
    with pytest.raises(InputError, match="nothing: the package client downloaded no"):
        assets.fetch(assets=asset(original, nothing))
    assert assets.fetch(assets=asset(original, nothing, local(original)))[0].state == "here"
    shutil.rmtree(assets.directory() / "thing")
    monkeypatch.setattr(assets, "CLIENT_TIMEOUT", 1)
    with pytest.raises(InputError, match=r"slow: .*timed out"):
        assets.fetch(assets=asset(original, slow))


def test_two_runs_that_fetch_the_same_asset_fetch_it_once(
    original: Path, tmp_path: Path, own_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "carrier.tgz", "w:gz") as packed:
        packed.add(original, "package")
    slow = f"import time\nopen({str(tmp_path / 'log')!r}, 'a').write('x')\ntime.sleep(1)\n"
    client(tmp_path / "bin", "npm", f"{slow}shutil.copy({str(tmp_path / 'carrier.tgz')!r}, 'carrier.tgz')")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (document,) = asset(original, AssetSource(kind="npm", package="carrier", root="package/inner")).values()
    (tmp_path / "asset.json").write_bytes(document.canonical_json())
    script = (
        "import sys; from pathlib import Path; from soundflow.pipeline.services import assets\nAsset = assets.Asset\n"
        "thing = Asset.from_json(Path(sys.argv[1]).read_bytes())\n"
        "print(assets.fetch(assets={'thing': thing})[0].state)"
    )
    root = ROOT
    command = [sys.executable, "-c", script, str(tmp_path / "asset.json")]
    runs = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [run.communicate(timeout=60)[0] for run in runs] == ["here\n", "here\n"]
    assert (tmp_path / "log").read_text() == "x" and in_place(own_directory) == ["thing"]
