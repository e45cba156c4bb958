"""What every directory that remembers what it is made with shares: telling what changed, moving the old one aside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def move_aside(out: Path) -> None:
    """Rename a directory to the first free OUT.old-N; nothing is deleted."""
    place = Path(os.path.abspath(out))  # noqa: PTH100 - of a symlink the link is moved, as `mv` does
    number = 1
    while (aside := place.with_name(f"{place.name}.old-{number}")).exists():
        number += 1
    place.rename(aside)


def differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two documents, one line each: `field: old -> new`."""
    flat_old, flat_new = _flat(old), _flat(new)
    names = sorted(flat_old.keys() | flat_new.keys())
    return [f"{name}: {flat_old.get(name)} -> {flat_new.get(name)}" for name in names if flat_old.get(name) != flat_new.get(name)]


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
