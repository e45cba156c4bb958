"""The tables of damages to stored and to virtual builds, and what every command has to make of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from soundflow.pipeline.corpus.clip_store import PLACE
from tests.support.damage import (
    DEEP,
    NOT_UTF8,
    Apply,
    copy_manifest,
    dangling,
    directory,
    edit,
    endless_flac,
    endless_table,
    fifo,
    flac_at,
    flip,
    forge,
    header_field,
    huge,
    listening,
    long_plan,
    loop,
    manifest_path,
    member,
    members,
    new_fifo,
    new_file,
    npy,
    on,
    overwrite,
    pickled,
    place,
    plan_with,
    record_path,
    repeat_member,
    replaced_folder,
    swap_tars,
    tar_path,
    text,
)


@dataclass(frozen=True)
class Damage:
    """One kind of damage and what the commands must do about it."""

    name: str
    apply: Apply
    check: str
    """Slug that `verify` must report, among others."""
    file: str
    """What the finding must name."""
    verify: int = 1
    """Exit code of `verify`, and so on for the other commands."""
    read: int = 2
    """Of `export`, and of `materialize` for a virtual build."""
    diff: tuple[int, ...] = (2,)
    """Possible exit codes of `diff` with an intact copy. It compares hashes and plans, so a forged tar may pass."""
    report: tuple[int, ...] = (2,)
    """Possible exit codes of `report`, which reads plans and a few samples but verifies no hash."""
    status: int = 0
    gc: int = 0
    by_recipe: bool = False
    """Whether the remedy needs the recipe file, since build.json cannot be used."""


SHARD: Final = "data/shard-000000"
MANIFEST: Final = "000000.json"


def _tar(name: str, apply: Apply, check: str, report: tuple[int, ...] = (2,)) -> Damage:
    return Damage(name, apply, check, SHARD, report=report)


def _forged(name: str, apply: Apply, check: str, file: str = SHARD, *, read: int = 2, report: tuple[int, ...] = (0, 2)) -> Damage:
    return Damage(name, apply, check, file, read=read, report=report, diff=(0, 1, 2))


def _header(name: str, start: int, value: bytes, check: str = "members", *, checksum: bool = True) -> Damage:
    return _tar(f"forged header: {name}", header_field(start, value, checksum=checksum), check)


def _manifest(name: str, apply: Apply, check: str = "manifest", gc: int = 2) -> Damage:
    return Damage(f"manifest: {name}", apply, check, MANIFEST, gc=gc)


def _record(name: str, apply: Apply) -> Damage:
    return Damage(f"build.json: {name}", apply, "build", "build.json", report=(2,), status=2, gc=2, by_recipe=True)


def _side(name: str, apply: Apply, check: str, file: str) -> Damage:
    """Damage that touches no shard: the corpus is read, and `verify` lists the file."""
    return Damage(name, apply, check, file, read=0, report=(0,), diff=(0,))


def _repeated(build: Path) -> None:
    manifest_path(build, 1).write_bytes(manifest_path(build, 0).read_bytes())


NEGATIVE: Final = b"-0000001000"
"""A size field that leads a reader back to the header it comes from."""
DAMAGES: Final = (
    _tar("flipped bit of audio", on(tar_path, lambda path: flip(path, 2000)), "sha256", report=(0, 2)),
    _tar("flipped bit of a header", on(tar_path, lambda path: flip(path, 3)), "sha256"),
    _tar("truncated tar", on(tar_path, lambda path: path.write_bytes(path.read_bytes()[:5000])), "truncated"),
    _tar("empty tar", on(tar_path, overwrite(b"")), "truncated"),
    _tar("bytes after the tar", on(tar_path, lambda path: path.write_bytes(path.read_bytes() + b"more")), "truncated"),
    _tar("missing tar", on(tar_path, lambda path: path.unlink()), "missing_tar"),
    _tar("directory instead of a tar", on(tar_path, directory), "truncated"),
    _tar("pipe instead of a tar", on(tar_path, fifo), "truncated"),
    _tar("socket instead of a tar", on(tar_path, listening), "truncated"),
    _tar("symlink loop instead of a tar", on(tar_path, loop), "truncated"),
    _tar("dangling symlink instead of a tar", on(tar_path, dangling), "missing_tar"),
    _tar("sparse tar of 1 TiB", on(tar_path, huge), "truncated"),
    _tar("tars of two shards exchanged", swap_tars, "truncated"),
    _header("negative size", 124, NEGATIVE),
    _header("size of minus one block", 124, b"-0000000777"),
    _header("giant size", 124, b"77777777777", "truncated"),
    _header("binary size", 124, b"\x80" + bytes(10) + b"\x40"),
    _header("size with an underscore", 124, b"0000_001000"),
    _header("wrong checksum", 148, b"0000000", checksum=False),
    _header("path that leads elsewhere", 0, b"../../x.json\0"),
    _header("symlink member", 156, b"2"),
    _header("name that is not ASCII", 0, b"\xff\xfe"),
    _forged("forged tar: no tar at all", lambda build: forge(build, b"\x1f\x8b" * 5000), "members"),
    _forged("forged tar: only zeros", lambda build: forge(build, bytes(10240)), "manifest", MANIFEST),
    _forged("forged tar: ends within a member", lambda build: forge(build, tar_path(build).read_bytes()[:5000]), "truncated"),
    _forged("forged tar: data after its end", lambda build: forge(build, tar_path(build).read_bytes() + b"x" * 512), "members"),
    _forged("forged tar: duplicate member", repeat_member, "members"),
    _forged("forged tar: member missing", members(lambda found: {"flac": found["flac"], "json": found["json"]}), "members"),
    _forged("forged tar: audio missing", members(lambda found: {k: v for k, v in found.items() if k != "flac"}), "members"),
    _forged("forged tar: extra member", members(lambda found: found | {"txt": b"hello"}), "members"),
    _forged("forged tar: members in another order", members(lambda found: dict(reversed(found.items()))), "members"),
    _forged("forged tar: sample missing", members(lambda found: {}), "manifest", MANIFEST),
    _forged("undecodable FLAC", member("flac", lambda data: b"fLaC" + b"junk" * 500), "duration"),
    _forged("truncated FLAC", member("flac", lambda data: data[: len(data) // 2]), "duration"),
    _forged("FLAC that announces 2^36 samples", member("flac", endless_flac), "duration"),
    _forged("FLAC at 8 kHz", member("flac", lambda data: flac_at(data, 8000)), "duration"),
    _forged("empty audio", member("flac", lambda data: b""), "duration"),
    _forged("plan that is no JSON", member("json", lambda data: b"{"), "labels"),
    _forged("plan nested too deeply", member("json", lambda data: DEEP), "labels"),
    _forged("plan that is not UTF-8", member("json", lambda data: NOT_UTF8), "labels"),
    _forged("plan with NaN", member("json", lambda data: data.replace(b'"scale":', b'"scale":NaN,"_":', 1)), "labels"),
    _forged("plan of a billion chunks", member("json", long_plan), "timeline"),
    _forged("plan of another sample", member("json", plan_with(sample_id="sf-000000000000-000000-00000")), "manifest"),
    _forged("tokens that are no archive", member("tokens.npz", lambda data: b"PK\3\4junk"), "timeline", read=0, report=(0,)),
    _forged("tokens that are a pickle", member("tokens.npz", pickled), "timeline", read=0, report=(0,)),
    _manifest("junk", on(manifest_path, overwrite(b"{"))),
    _manifest("empty", on(manifest_path, overwrite(b""))),
    _manifest("not UTF-8", on(manifest_path, overwrite(NOT_UTF8))),
    _manifest("nested too deeply", on(manifest_path, overwrite(DEEP))),
    _manifest("NaN", text(manifest_path, b'"seconds":', b'"seconds":NaN,"_":')),
    _manifest("number of 6000 digits", text(manifest_path, b'"shard":0', b'"shard":' + b"9" * 6000)),
    _manifest("number that is infinite", text(manifest_path, b'"shard":0', b'"shard":1e999')),
    _manifest("negative number", text(manifest_path, b'"shard":0', b'"shard":-1')),
    _manifest("key given twice", text(manifest_path, b'"shard":0', b'"shard":7,"shard":0')),
    _manifest("not canonical", text(manifest_path, b'"shard":0', b'"shard": 0'), gc=0),
    Damage("manifest of another shard", _repeated, "manifest", "000001.json"),
    Damage("manifest copied to another name", copy_manifest("000000 (copy).json"), "manifest", "000000 (copy).json"),
    Damage("manifest copied to a short name", copy_manifest("0.json"), "manifest", "0.json"),
    _manifest("directory", on(manifest_path, directory)),
    _manifest("pipe", on(manifest_path, fifo)),
    _manifest("socket", on(manifest_path, listening)),
    _manifest("symlink loop", on(manifest_path, loop)),
    _manifest("sparse file of 1 TiB", on(manifest_path, huge)),
    _manifest("tar outside the build", edit(manifest_path, tar="../../etc/passwd")),
    _manifest("another fingerprint", edit(manifest_path, fingerprint="0" * 64), "fingerprint", gc=0),
    _manifest("virtual", edit(manifest_path, virtual=True), gc=0),
    Damage(
        "manifest of a shard that is not planned",
        copy_manifest("000099.json"),
        "manifest",
        "000099.json",
    ),
    _side("counts of a manifest changed", edit(manifest_path, chunks=1), "manifest", MANIFEST),
    Damage("manifest missing", on(manifest_path, Path.unlink), "missing", "manifest", 3, read=0, diff=(1,), report=(0,)),
    Damage("no folder of manifests", replaced_folder("manifest"), "folder", "manifest", read=2, diff=(1,)),
    Damage("no folder of tars", replaced_folder("data"), "folder", "data"),
    _record("junk", on(record_path, overwrite(b"{"))),
    _record("empty", on(record_path, overwrite(b""))),
    _record("nested too deeply", on(record_path, overwrite(DEEP))),
    _record("pipe", on(record_path, fifo)),
    _record("directory", on(record_path, directory)),
    _record("symlink loop", on(record_path, loop)),
    _record("missing", on(record_path, lambda path: path.unlink())),
    Damage(
        "build.json: another fingerprint",
        edit(record_path, fingerprint="0" * 64),
        "fingerprint",
        "build.json",
        by_recipe=True,
    ),
    _side("junk in failed/", new_file("failed/000001.json", b"\xff\xfe"), "failed", "failed/000001.json"),
    _side("pipe in failed/", new_fifo("failed/000001.json"), "failed", "failed/000001.json"),
    _side("failed/ is a file", replaced_folder("failed"), "folder", "failed"),
    _side("junk in quarantine/", new_file("quarantine/sf-x.json", DEEP), "quarantine", "quarantine/sf-x.json"),
    _side("pipe in quarantine/", new_fifo("quarantine/sf-x.json"), "quarantine", "quarantine/sf-x.json"),
    _side("junk in stopped.json", new_file("stopped.json", b"[1"), "build", "stopped.json"),
    _side("pipe as stopped.json", new_fifo("stopped.json"), "build", "stopped.json"),
)


def pack_path(build: Path) -> Path:
    """Return the first pack of a clip store."""
    return min((build / "clips").glob("pack-*.pcm"))


def table_path(build: Path) -> Path:
    """Return the table of the first pack."""
    return pack_path(build).with_suffix(".npy")


def _clips(name: str, apply: Apply, file: str = "clips/pack-") -> Damage:
    return Damage(name, apply, "clips", file, diff=(0,))


VIRTUAL_DAMAGES: Final = (
    _clips("pack: flipped bit", on(pack_path, lambda path: flip(path, 101))),
    _clips("pack: truncated", on(pack_path, lambda path: path.write_bytes(path.read_bytes()[:1000]))),
    _clips("pack: empty", on(pack_path, overwrite(b""))),
    _clips("pack: odd number of bytes", on(pack_path, overwrite(b"x"))),
    _clips("pack: missing", on(pack_path, Path.unlink)),
    _clips("pack: pipe", on(pack_path, fifo)),
    _clips("pack: directory", on(pack_path, directory)),
    _clips("pack: symlink loop", on(pack_path, loop)),
    _clips("table: junk", on(table_path, overwrite(DEEP))),
    _clips("table: pipe", on(table_path, fifo)),
    _clips("table: directory", on(table_path, directory)),
    _clips("table: pickle", on(table_path, overwrite(npy(np.array([{}], dtype=object))))),
    _clips("table: columns of another type", on(table_path, overwrite(npy(np.zeros(3))))),
    _clips("table: two dimensions", on(table_path, overwrite(npy(np.zeros((2, 2), PLACE))))),
    _clips("table: negative place", on(table_path, overwrite(npy(place(-1, 10))))),
    _clips("table: place after the pack", on(table_path, overwrite(npy(place(1 << 40, 10))))),
    _clips("table: sum that overflows", on(table_path, overwrite(npy(place((1 << 63) - 1, (1 << 63) - 1))))),
    _clips("table: announces 2^60 rows", on(table_path, endless_table)),
    Damage("no folder of clips", replaced_folder("clips"), "folder", "clips", diff=(0,)),
    _tar("virtual: flipped bit of a plan", on(tar_path, lambda path: flip(path, 2000)), "sha256", report=(0, 2)),
    _tar("virtual: pipe instead of a tar", on(tar_path, fifo), "truncated"),
    _forged("virtual: plan of a billion chunks", member("json", long_plan), "timeline", report=(2,)),
    _manifest("virtual: junk", on(manifest_path, overwrite(b"{"))),
    _record("virtual: junk", on(record_path, overwrite(b"{"))),
)
"""For virtual builds, whose audio is rendered from clips."""
