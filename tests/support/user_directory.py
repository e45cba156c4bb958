"""A directory of a user whose modules have the names of ours: importing one of them by mistake fails."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support import ROOT

ROOMS = ("schemas", "prompts", "operators", "backends", "pipeline", "model", "training", "streaming", "bench")


def user_directory(path: Path, *more: str) -> Path:
    """Make a directory that holds `schemas.py`, `model/__init__.py` and so on, and modules with the names `more`."""
    path.mkdir()
    for name in (*ROOMS, *more):
        package = name in ("model", "training", "streaming")
        module = path / name / "__init__.py" if package else path / f"{name}.py"
        module.parent.mkdir(exist_ok=True)
        module.write_text(f'raise RuntimeError("the user\'s own {name} was imported")\n')
    return path


def environment() -> dict[str, str]:
    """The environment of a child process that runs this checkout from another directory."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
