"""What every directory that remembers what it is made with shares: being claimed, telling what changed, moving aside."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import write_if_absent
from soundflow.schemas.atomic_file import NO_SPACE
from soundflow.schemas.base import InputError


def claim_directory(directory: BuildDir, record_path: Path, record: bytes, fresh: bool, strange: str, elsewhere: str) -> None:
    """Make an output directory with its record, where there is none; `fresh` moves one that is there aside first.

    InputError, with the remedy `elsewhere`, when it cannot be written or holds something else (it is "not empty and" `strange`);
    OSError when the disk is full.
    """
    out = directory.root
    try:
        if fresh and record_path.exists():
            move_aside(out)
        out.mkdir(parents=True, exist_ok=True)
        if not record_path.exists():
            strangers = sorted(path.name for path in out.iterdir() if path.name != "_tmp")
            if strangers:
                raise InputError(f"is not empty and {strange}", file=out, value=strangers[:5], remedy=elsewhere)
            write_if_absent(directory, record_path, record)
        if not os.access(out, os.W_OK | os.X_OK):
            raise InputError("cannot be written", file=out, remedy=elsewhere)
    except OSError as error:
        if error.errno in NO_SPACE - {errno.EROFS}:
            raise
        raise InputError(f"cannot be an output directory: {error.strerror}", file=out, remedy=elsewhere) from None


def move_aside(out: Path) -> None:
    """Rename a directory to the first free OUT.old-N; nothing is deleted."""
    place = Path(os.path.abspath(out))  # noqa: PTH100 - of a symlink the link is moved, as `mv` does
    number = 1
    while (aside := place.with_name(f"{place.name}.old-{number}")).exists():
        number += 1
    place.rename(aside)


def changed_fields(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two documents, one line each: `field: old -> new`."""
    flat_old, flat_new = _flat(old), _flat(new)
    names = sorted(flat_old.keys() | flat_new.keys())
    return [f"{name}: {flat_old.get(name)} -> {flat_new.get(name)}" for name in names if flat_old.get(name) != flat_new.get(name)]


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
