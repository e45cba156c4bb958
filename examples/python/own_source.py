"""A source of your own: turn a corpus with its own layout into a manifest for `soundflow clips index`.

The corpus here has one folder per species, and `recordists.csv` with the columns species, number, recordist and licence:

    ROOT/recordists.csv
    ROOT/Strix aluco/0001.wav

Write the manifest into the corpus, then index it:

    python examples/python/own_source.py ROOT
    soundflow clips index ROOT/manifest.jsonl --out clips
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path


def read_corpus(root: Path) -> Iterator[dict[str, str]]:
    """Yield a manifest row for each recording. `operators/sources/manifest.py` lists the columns; only path is required."""
    with (root / "recordists.csv").open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            yield {
                "path": f"{row['species']}/{row['number']}.wav",
                "label": f"{row['species']} call",
                "role": "foreground",
                "licence": row["licence"],
                "attribution": row["recordist"],
                "source": "bird-calls",
            }


def main(root: Path) -> None:
    """Write ROOT/manifest.jsonl."""
    with (root / "manifest.jsonl").open("w", encoding="utf-8") as manifest:
        for row in read_corpus(root):
            manifest.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
