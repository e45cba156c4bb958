"""`soundflow gc`: remove files that no manifest refers to: tars of lost races and killed commits, packs without a table."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import find_writer, garbage, sweep
from soundflow.schemas.atomic_file import file_system_time
from soundflow.schemas.base import InputError

YOUNG_SECONDS: Final = 3600.0
"""Younger files are kept: another machine may be committing them, since a tar is moved into place before its manifest."""


@dataclass(frozen=True, slots=True)
class Collected:
    """The garbage that was found."""

    files: tuple[str, ...]
    bytes: int
    young: int
    """Number of files that were kept because they may be about to be committed."""
    removed: bool
    """Whether `files` have been deleted."""


def collect_garbage(directory: Path, *, remove: bool = False, young_seconds: float = YOUNG_SECONDS) -> Collected:
    """List or, with `remove`, delete the garbage of a build.

    Raises InputError if `directory` is not a build directory, a manifest is damaged, or with `remove` if another process is
    building there.
    """
    build = BuildDir(directory)
    build.record()
    sweep(build)
    if remove and (busy := find_writer(build)):
        remedy = "Wait until the build has ended, or stop it"
        raise InputError("another process is building in this directory", file=directory, value=busy, remedy=remedy)
    packs = build.clips.glob("pack-*.pcm") if build.clips.is_dir() else ()
    found = [*garbage(build), *(path for path in sorted(packs) if not path.with_suffix(".npy").exists())]
    now = file_system_time(build.unfinished) if remove else time.time()
    old = [path for path in found if abs(now - path.lstat().st_mtime) >= young_seconds]
    size = sum(path.lstat().st_size for path in old)
    if remove:
        for path in old:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    return Collected(tuple(str(path.relative_to(directory)) for path in old), size, len(found) - len(old), remove)
