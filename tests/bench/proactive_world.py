"""Miniatures of ProactiveSound-Bench: rows in the public form, recordings in the public tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

PUBLISHED = {
    "Daily Living Sounds": {"Daily Affairs": (29, 97), "Housekeeping": (11, 25), "Personal Care": (5, 14)},
    "Equipment": {"House Equipment States": (37, 60), "Industrial Tools & Instruments": (29, 14)},
    "Human Sound Signals": {
        "Body Movements": (9, 20),
        "Collective Ambience": (2, 17),
        "Emotion Expression": (31, 9),
        "Physiological states": (31, 37),
    },
    "Music": {"Artistic": (7, 8)},
    "Nature & Environment": {
        "Ecological & Biological Context": (9, 8),
        "Environment background": (22, 36),
        "Geological Events & Hazards": (11, 0),
        "Meteorological Dynamics": (12, 5),
    },
    "Traffic": {"Large Traffic": (4, 3), "Traffic": (11, 4), "Vehicle": (7, 20)},
}
"""(RESPOND, IGNORE) of each sub-category of the public metadata."""


def rows_of(counts: dict[str, dict[str, tuple[int, int]]]) -> list[dict[str, Any]]:
    """Metadata rows with so many sounds."""
    rows = []
    for domain, categories in counts.items():
        for category, numbers in categories.items():
            for decision, number in zip(("RESPOND", "IGNORE"), numbers, strict=True):
                for copy in range(number):
                    name = f"{len(rows):08x}"
                    path = f"./proactive-sound-effect/{domain}/{category}/{decision}/{name}.wav"
                    rows.append({"id": name, "path": path, "description": f"sound {copy}", "decision": decision})
    return rows


def write(path: Path, rows: list[Any]) -> Path:
    """A JSON-lines file; a text is written as it is."""
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def write_recordings(root: Path, rows: list[dict[str, Any]], seconds: float = 0.9) -> Path:
    """A tone for every row, louder from row to row, at another rate than ours."""
    for number, row in enumerate(rows):
        path = root / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = 0.02 * (number + 1) * np.sin(2 * np.pi * (300 + 40 * number) * np.arange(round(seconds * 22_050)) / 22_050)
        soundfile.write(path, tone, 22_050, subtype="PCM_16")
    return root


SMALL = rows_of({"Traffic": {"Vehicle": (2, 3)}, "Music": {"Artistic": (1, 0)}})
