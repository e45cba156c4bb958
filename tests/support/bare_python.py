"""A Python with the dependencies of SoundFlow but without SoundFlow, like that of a cluster's nodes."""

from __future__ import annotations

import subprocess
import sysconfig
import venv
from pathlib import Path


def bare_python(folder: Path) -> str:
    """Make a virtual environment in `folder` and return its interpreter; `import soundflow` fails in it."""
    venv.create(folder, symlinks=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])  # without its .pth files
    python = str(folder / "bin" / "python")
    tried = subprocess.run([python, "-c", "import ray, soundflow"], cwd=folder, env={}, capture_output=True, text=True)
    assert "No module named 'soundflow'" in tried.stderr, tried.stderr
    return python
