"""Output directories with a record of their configuration: create or reopen them, list changes, move them aside."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import write_if_absent
from soundflow.schemas.atomic_file import NO_SPACE
from soundflow.schemas.base import InputError


def claim_directory(directory: BuildDir, record_path: Path, record: bytes, fresh: bool, mismatch: str, elsewhere: str) -> None:
    """Create an output directory with its record unless it has one; `fresh` moves an existing directory aside first.

    Raises InputError with the remedy `elsewhere` if the directory cannot be written or contains something else (it "is not empty
    and" `mismatch`), and OSError if the disk is full.
    """
    out = directory.root
    try:
        if fresh and record_path.exists():
            move_aside(out)
        out.mkdir(parents=True, exist_ok=True)
        if not record_path.exists():
            found = sorted(path.name for path in out.iterdir() if path.name != "_tmp")
            if found:
                raise InputError(f"is not empty and {mismatch}", file=out, value=found[:5], remedy=elsewhere)
            write_if_absent(directory, record_path, record)
        if not os.access(out, os.W_OK | os.X_OK):
            raise InputError("the directory is not writable", file=out, remedy=elsewhere)
    except OSError as error:
        if error.errno in NO_SPACE - {errno.EROFS}:
            raise
        raise InputError(f"cannot be used as an output directory: {error.strerror}", file=out, remedy=elsewhere) from None


def move_aside(out: Path) -> None:
    """Rename a directory to OUT.old-N with the first free N. Nothing is deleted."""
    path = Path(os.path.abspath(out))  # noqa: PTH100 - a symlink is moved itself, as `mv` does
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    path.rename(aside)


def changed_fields(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the fields in which two documents differ, as `field: old -> new`."""
    flat_old, flat_new = _flat(old), _flat(new)
    names = sorted(flat_old.keys() | flat_new.keys())
    return [f"{name}: {flat_old.get(name)} -> {flat_new.get(name)}" for name in names if flat_old.get(name) != flat_new.get(name)]


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
