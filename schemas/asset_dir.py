"""Where assets are kept: one answer for whoever fetches them (pipeline.services.assets) and whoever uses them."""

from __future__ import annotations

import os
from pathlib import Path


def asset_dir() -> Path:
    """`$SOUNDFLOW_ASSETS`, else `~/.cache/soundflow/assets`. It need not exist."""
    return Path(os.environ.get("SOUNDFLOW_ASSETS") or Path.home() / ".cache" / "soundflow" / "assets")
