"""Test data for retrieval: queries in the style of a planner for the demo's recordings, and clip indexes without audio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

from soundflow.operators.clean.clip_cache import CleanConfig
from soundflow.pipeline.clips.table import TABLE, write_table
from soundflow.schemas.documents import parse_yaml
from soundflow.schemas.identity import rng_for

QUERIES: Final[dict[str, set[str]]] = {
    "a dog barks loudly at the door": {"dog bark"},
    "barking": {"dog bark"},
    "kitten mewing for food": {"cat meow"},
    "songbird singing in a tree": {"bird chirp"},
    "wolf howling at night": {"wolf howl"},
    "hoot of an owl": {"owl"},
    "cockerel crowing at dawn": {"rooster"},
    "galloping horse hooves": {"horse gallop"},
    "insects chirping on a summer evening": {"cricket", "crickets"},
    "infant crying": {"baby cry"},
    "woman shrieks in terror": {"scream"},
    "a person coughing": {"cough"},
    "someone sneezes": {"sneeze"},
    "man laughing out loud": {"laugh"},
    "steps on a wooden floor": {"footsteps"},
    "fingers snapping": {"finger snap"},
    "keyboard typing in an office": {"typing"},
    "faucet running in the kitchen": {"water"},
    "dripping water": {"water drop"},
    "creaky old door opening": {"door creak"},
    "door slam": {"door"},
    "motorbike drives past": {"motorcycle passing"},
    "car driving by on the road": {"car passing"},
    "vehicle horn honking in traffic": {"car horn"},
    "church bell ringing": {"bell"},
    "chopper flying overhead": {"helicopter"},
    "pneumatic drill breaking pavement": {"jackhammer"},
    "loud explosion": {"explosion"},
    "audience clapping after a concert": {"applause", "hand clap"},
    "crow cawing": {"crow bird"},
    "cow mooing in a field": {"cow"},
    "sheep bleating": {"sheep"},
    "cash register opens": {"cash till"},
    "power saw cutting a log": {"chainsaw", "sawmill"},
    "railway crossing warning bell": {"level crossing bell"},
    "foghorn of a boat": {"ship horn"},
    "strong gusts of wind": {"wind", "ambient wind"},
    "people chatting at a party": {"party chatter"},
    "strumming a guitar": {"guitar"},
    "bus departing from a stop": {"bus engine"},
}
"""Query → correct labels. Written before any measurement."""

_KINDS = (
    "dog cat bird engine door siren rain wind river hammer bell horn crowd baby kettle train truck saw drill piano drum clock"
)
_VERBS = "barking ringing running passing falling creaking humming buzzing crying singing closing opening rattling dripping"
_MANNERS = "loud quiet distant near soft sharp rolling steady sudden old small big metallic wooden wet hollow muffled bright"
_PLACES = "kitchen street forest station office garden harbour factory church school cellar bridge market beach attic lift"
ROLES: Final = (*7 * ("foreground",), "background", "ambient", "noise_event")
Row = dict[str, Any]


def demo_rows() -> Iterator[Row]:
    """Yield a row per recording of the demo, with label and caption."""
    chosen = parse_yaml(resources.files("soundflow.pipeline.start").joinpath("demo_data.yaml").read_text(encoding="utf-8"))
    for source in ("scratch", "sonic-pi-samples", "openttd-opensfx"):
        for role, files in chosen[source].items():
            for file, (label, caption) in files.items():
                yield {"id": f"{source}/{file}".replace(" ", "_"), "role": role, "label": label, "caption": caption}
    for name, transcript in chosen["asterisk-prompts"].items():
        yield {"id": f"prompts/{name}", "label": "speech", "caption": "a woman speaking", "transcript": transcript}
    for number, question in enumerate(chosen["dialogue"]):
        yield {"id": f"spoken/{number:02d}", "label": "speech", "caption": "a synthetic voice", "transcript": question}


def synthetic_rows(clips: int, texts: int) -> Iterator[Row]:
    """Yield `clips` rows with `texts` distinct texts: labels of two words, captions of a dozen as in AudioCaps."""
    words = [column.split() for column in (_KINDS, _VERBS, _MANNERS, _MANNERS, _PLACES)]
    picks = rng_for("0" * 64, 0, 0, "synthetic labels").integers(0, 10_000, (texts, len(words)))
    for number in range(clips):
        text = number % texts
        kind, verb, manner, other, place = (column[pick % len(column)] for column, pick in zip(words, picks[text], strict=True))
        yield {
            "id": f"clip-{number:07d}",
            "role": ROLES[text % len(ROLES)],
            "label": f"{kind} {verb}",
            "caption": f"a {manner} {kind} {verb} in a {other} {place}, take {text}",
        }


def write_index(directory: Path, rows: Iterable[Row]) -> str:
    """Write an index of clips without audio to `directory` and return its content hash."""
    mark = "0" * 64
    common = {
        "path": "/nowhere",
        "content_sha256": mark,
        "clean_sha256": mark,
        "cache_key": mark,
        "role": "foreground",
        "caption": "",
        "transcript": None,
        "reply": None,
        "licence": "CC0-1.0",
        "attribution": "",
        "source": "words",
        "split": "train",
        "samples": 32_000,
        "active_end": 32_000,
        "active_level_db": -26.0,
        "peak": 0.5,
        "clipped_ratio": 0.0,
        "cleaning": None,
    }
    directory.mkdir(parents=True, exist_ok=True)
    ordered = sorted(rows, key=lambda row: str(row["id"]))
    return write_table(directory / TABLE, (common | row for row in ordered), CleanConfig()).content_hash


def recall(found: dict[str, list[str]], depth: int) -> int:
    """Count the queries with a correct label among the first `depth` distinct labels of `found` (query → labels, best first)."""
    return sum(bool(answers & set(list(dict.fromkeys(found[query]))[:depth])) for query, answers in QUERIES.items())
