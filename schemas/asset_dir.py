"""The directory of downloaded assets, shared by the code that fetches them and the code that uses them."""

from __future__ import annotations

import os
from pathlib import Path


def asset_dir() -> Path:
    """Return `$SOUNDFLOW_ASSETS`, or `~/.cache/soundflow/assets` if it is not set. The directory may not exist."""
    return Path(os.environ.get("SOUNDFLOW_ASSETS") or Path.home() / ".cache" / "soundflow" / "assets")
