"""Names in UTF-8 are read in a locale whose encoding is ASCII."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile


def test_names_in_utf8_are_read_in_a_posix_locale(tmp_path: Path) -> None:
    folder = tmp_path / "rec" / "\u72ac"
    folder.mkdir(parents=True)
    time = np.arange(32_000) / 16_000
    soundfile.write(folder / "a.wav", 0.3 * np.sin(880 * np.pi * time) * (1 + np.sin(6 * np.pi * time)) / 2, 16_000)
    settings = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "soundflow", "clips", "index", "rec", "-o", "out"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | settings, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/rejected.jsonl").read_text() == ""
    listed = [sys.executable, "-m", "soundflow", "clips", "list", "out", "--json"]
    shown = subprocess.run(listed, cwd=tmp_path, env=os.environ | settings, capture_output=True, check=True)
    assert "\u72ac" in json.dumps(json.loads(shown.stdout), ensure_ascii=False)
