"""Ways to damage the files of a committed build. `tests.support.damages` lists what the commands have to make of them.

The first shard is damaged unless a function takes another one. A *forged* tar has a manifest with the hash and size of the
damaged file, so that hashes do not show the damage.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from soundflow.pipeline.corpus.clip_store import PLACE
from soundflow.schemas.base import canonical_json
from soundflow.schemas.ustar import BLOCK
from tests.support.corpus import Members, rewrite

Apply = Callable[[Path], None]
"""Damages the build in this directory."""


def manifest_of(build: Path, shard: int = 0) -> dict[str, Any]:
    """Return the manifest of a shard."""
    return dict(json.loads(manifest_path(build, shard).read_bytes()))


def manifest_path(build: Path, shard: int = 0) -> Path:
    """Return the path of the manifest of a shard."""
    return build / "manifest" / f"{shard:06d}.json"


def tar_path(build: Path, shard: int = 0) -> Path:
    """Return the path of the tar of a shard."""
    return build / "data" / str(manifest_of(build, shard)["tar"])


def forge(build: Path, data: bytes, shard: int = 0) -> None:
    """Replace the tar of a shard by `data` and make the manifest agree with it."""
    old, manifest = tar_path(build, shard), manifest_of(build, shard)
    sha256 = hashlib.sha256(data).hexdigest()
    old.unlink()
    manifest |= {"tar": f"shard-{shard:06d}-{sha256[:12]}.tar", "sha256": sha256, "bytes": len(data)}
    manifest_path(build, shard).write_bytes(canonical_json(manifest))
    tar_path(build, shard).write_bytes(data)


def with_checksum(header: bytes) -> bytes:
    """Return a tar header with its checksum corrected."""
    blank = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(blank) + header[156:]


# Changes of a file as a whole


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def fifo(path: Path) -> None:
    """Replace a file by a named pipe without a writer."""
    _remove(path)
    os.mkfifo(path)


def listening(path: Path) -> None:
    """Replace a file by a socket."""
    _remove(path)
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def directory(path: Path) -> None:
    """Replace a file by a directory that is not empty."""
    _remove(path)
    path.mkdir()
    (path / "note.txt").write_text("a note")


def loop(path: Path) -> None:
    """Replace a file by a symlink to itself."""
    _remove(path)
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    """Replace a file by a symlink that leads nowhere."""
    _remove(path)
    path.symlink_to("nowhere")


def overwrite(data: bytes) -> Callable[[Path], None]:
    """Return a change that replaces the content of a file."""
    return lambda path: void(path.write_bytes(data))


def void(_: object) -> None:
    """Ignore a value."""


def flip(path: Path, place: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def huge(path: Path) -> None:
    """Make a sparse file of 1 TiB out of a file."""
    os.truncate(path, 1 << 40)


def on(where: Callable[[Path], Path], change: Callable[[Path], None]) -> Apply:
    """Return a damage that applies `change` to the file that `where` finds in a build."""
    return lambda build: change(where(build))


# Changes of a tar


def header_field(start: int, value: bytes, *, checksum: bool = True) -> Apply:
    """Return a damage that writes `value` into the first header of a forged tar."""

    def apply(build: Path) -> None:
        data = tar_path(build).read_bytes()
        header = data[:start] + value + data[start + len(value) : BLOCK]
        forge(build, (with_checksum(header) if checksum else header) + data[BLOCK:])

    return apply


def member(suffix: str, content: Callable[[bytes], bytes]) -> Apply:
    """Return a damage that changes one member of the first sample of a forged tar."""

    def change(number: int, key: str, members: Members) -> Members:
        return members if number else {name: content(data) if name == suffix else data for name, data in members.items()}

    return lambda build: rewrite(build, 0, change)


def members(change: Callable[[Members], Members]) -> Apply:
    """Return a damage that changes the members of the first sample of a forged tar."""
    return lambda build: rewrite(build, 0, lambda number, key, found: found if number else change(found))


def flac_at(data: bytes, rate: int) -> bytes:
    """Return the audio of a FLAC file with another rate in its header."""
    pcm, _ = soundfile.read(io.BytesIO(data), dtype="int16")
    buffer = io.BytesIO()
    soundfile.write(buffer, pcm, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def endless_flac(data: bytes) -> bytes:
    """Return a FLAC file whose header announces 2^36 - 1 samples, 128 GiB of PCM16."""
    return data[:21] + bytes([data[21] | 0x0F]) + b"\xff" * 4 + data[26:]


def plan_with(**change: object) -> Callable[[bytes], bytes]:
    """Return a change of fields of a plan."""
    return lambda data: canonical_json(json.loads(data) | change)


def long_plan(data: bytes) -> bytes:
    """Return a plan of a billion chunks."""
    return canonical_json(json.loads(data) | {"chunks": 10**9, "samples": 6400 * 10**9})


def pickled(data: bytes) -> bytes:
    """Return a token archive that holds a pickle."""
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{}], dtype=object))
    return buffer.getvalue()


def repeat_member(build: Path) -> None:
    """Store the first member of a forged tar twice."""
    data = tar_path(build).read_bytes()
    size = int(data[124:135], 8)
    first = data[: BLOCK + size + -size % BLOCK]
    forge(build, first + data)


def swap_tars(build: Path) -> None:
    """Exchange the contents of two tars."""
    one, other = tar_path(build, 0), tar_path(build, 1)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


# Changes of a manifest or of the record


def edit(where: Callable[[Path], Path], **change: object) -> Apply:
    """Return a damage that changes fields of a JSON document, which stays canonical."""
    return on(where, lambda path: void(path.write_bytes(canonical_json(json.loads(path.read_bytes()) | change))))


def text(where: Callable[[Path], Path], old: bytes, new: bytes) -> Apply:
    """Return a damage that replaces a part of a document."""

    def apply(path: Path) -> None:
        data = path.read_bytes()
        assert old in data, f"{path.name} has no {old!r}"
        path.write_bytes(data.replace(old, new, 1))

    return on(where, apply)


def new_file(name: str, data: bytes) -> Apply:
    """Return a damage that adds a file."""

    def apply(build: Path) -> None:
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        (build / name).write_bytes(data)

    return apply


def record_path(build: Path) -> Path:
    """Return the path of the record of a build."""
    return build / "build.json"


def copy_manifest(name: str) -> Apply:
    """Return a damage that copies a manifest to another name."""
    return lambda build: void(shutil.copy(manifest_path(build), build / "manifest" / name))


def new_fifo(name: str) -> Apply:
    """Return a damage that adds a named pipe."""

    def apply(build: Path) -> None:
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(build / name)

    return apply


def replaced_folder(name: str) -> Apply:
    """Return a damage that replaces a folder by a file."""

    def apply(build: Path) -> None:
        shutil.rmtree(build / name, ignore_errors=True)
        (build / name).write_bytes(b"a file")

    return apply


DEEP = b"[" * 200_000
NOT_UTF8 = b'{"fingerprint": "\xff\xfe"}'


# Changes of a clip store


def npy(array: np.ndarray) -> bytes:
    """Return an array as an .npy file, pickled if it holds objects."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def place(offset: int, samples: int) -> np.ndarray:
    """Return a table of one clip."""
    return np.array([(b"x" * 32, offset, samples)], dtype=PLACE)


def endless_table(path: Path) -> None:
    """Let the header of a table announce 2^60 rows."""
    data = path.read_bytes()
    start = data.index(b"'shape': (") + len(b"'shape': (")
    end = data.index(b",)", start)
    new = str(1 << 60).encode()
    blank = data.index(b" ", end + 4)
    grown = data[:start] + new + data[end:blank] + data[blank + len(new) - (end - start) :]
    path.write_bytes(grown)
