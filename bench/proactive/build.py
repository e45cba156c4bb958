"""A proactive test set from the user's own clips: a recipe of sub-categories, disjoint from training builds by clip content.

A clip belongs to the sub-category and decision of the longest phrase whose words all occur in its label and caption (`train horn`
before `train`). Clips that fit two sub-categories or both decisions are borderline and left out, as in the paper. The set has the
form of the public benchmark; its recordings are not cleaned.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import soundfile
from pydantic import Field, model_validator

from soundflow.bench.harness.sounds import load
from soundflow.bench.proactive.metadata import Decision, read_sounds
from soundflow.bench.proactive.multiple import multiple, write_manifest
from soundflow.operators.clean.clip_cache import file_sha256
from soundflow.operators.tasks.policy import respond_with_description
from soundflow.pipeline.clips.table import ClipIndex
from soundflow.pipeline.mechanics.console import Console
from soundflow.schemas import constants as c
from soundflow.schemas.atomic_file import temporary_file, write_atomic
from soundflow.schemas.base import InputError, Schema, canonical_json
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.documents import json_value
from soundflow.schemas.identity import rng_for
from soundflow.schemas.pcm16 import to_pcm16
from soundflow.schemas.taxonomy import label_words
from soundflow.training.corpus import StoredCorpus

BUILD_VERSION: Final = "2"
"""Increase it when the same recipe and clips would give another set."""
META, RESPONSES, TIER, PROVENANCE, RECORD = "meta.jsonl", "responses.jsonl", "multiple.jsonl", "provenance.jsonl", "build.json"
TREE: Final = "proactive-sound-effect"


class Category(Schema):
    """A sub-category of the benchmark and the phrases that select its sounds."""

    domain: str = Field(min_length=1, pattern=r"^[^/\\]+$")
    category: str = Field(min_length=1, pattern=r"^[^/\\]+$")
    about: str = ""
    """Definition in the paper."""
    respond: tuple[str, ...] = ()
    """Phrases for sounds that call for a response."""
    ignore: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    """Additional standard answers; `{sound}` is replaced by the caption or label."""


class ProactiveRecipe(Schema):
    """Recipe of a test set."""

    version: int = Field(1, ge=1, le=1)
    name: str = Field(min_length=1)
    description: str = ""
    clips: str
    """Directory of a clip index, relative to the recipe."""
    split: str | None = None
    """Restrict the set to clips of this split."""
    roles: tuple[ClipRole, ...] = (ClipRole.FOREGROUND,)
    """Restrict the set to clips of these roles."""
    seed: int = Field(0, ge=0)
    per_side: int = Field(50, ge=1)
    """Maximum number of sounds per sub-category and decision."""
    categories: tuple[Category, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _once(self) -> ProactiveRecipe:
        names = [(one.domain, one.category) for one in self.categories]
        if len(set(names)) < len(names):
            raise ValueError("duplicate sub-category")
        return self


@dataclass(frozen=True, slots=True)
class SelectedClip:
    """A clip with its sub-category and decision."""

    clip: Clip
    category: Category
    decision: Decision

    @property
    def place(self) -> tuple[str, str, Decision]:
        """Domain, sub-category and decision."""
        return self.category.domain, self.category.category, self.decision


def build(recipe_path: Path, out: Path, not_in: Sequence[Path] = (), clips: Path | None = None) -> dict[str, Any]:
    """Write the set to `out` and return the content of build.json. Equal arguments give equal bytes.

    `not_in` are builds whose clips must not be in the set; `clips` replaces the recipe's index. Raises InputError if no clip is
    left, if a recording has changed since it was indexed, or if `out` contains something else.
    """
    recipe = ProactiveRecipe.from_yaml(recipe_path)
    index = ClipIndex.open((clips or recipe_path.parent / recipe.clips).resolve())
    used, corpora = _used_clips([StoredCorpus(path) for path in not_in])
    identity = {
        "version": BUILD_VERSION,
        "recipe": recipe.model_dump(mode="json", exclude={"clips"}),
        "clips": index.content_hash,
    }
    fingerprint = hashlib.sha256(canonical_json({**identity, "not_in": corpora})).hexdigest()
    counts: Counter[str] = Counter()
    selected = _selected(recipe, index, used, counts)
    if not selected:
        reasons = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "the index is empty"
        raise InputError(
            f"no clip is left: {reasons}", file=recipe_path, remedy="Add phrases that occur in your labels to categories"
        )
    _begin(out, fingerprint)
    rows, answers, provenance = [], [], []
    with Console("build", "sounds") as console:
        for number, one in enumerate(selected, 1):
            row = _row(one)
            _write_recording(one.clip, out / row["path"])
            rows.append(row)
            if one.decision is Decision.RESPOND:
                answers.append(row | {"standard_answers": standard_answers(one)})
            provenance.append(_provenance(row["id"], one.clip))
            console.show(number, len(selected))
    for name, documents in ((META, rows), (RESPONSES, answers), (PROVENANCE, provenance)):
        write_atomic(out / name, b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in documents))
    write_manifest(out / TIER, multiple(read_sounds(out / META), recipe.seed))
    record = {
        "name": recipe.name,
        "fingerprint": fingerprint,
        "sounds": len(rows),
        "respond": len(answers),
        "ignore": len(rows) - len(answers),
        "categories": len({(one.category.domain, one.category.category) for one in selected}),
        "left_out": dict(sorted(counts.items())),
        "not_in": corpora,
    }
    write_atomic(out / RECORD, json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return record


def classify(label: str, caption: str, categories: Sequence[Category]) -> tuple[Category, Decision] | str:
    """Return the sub-category and decision of a sound, or the reason why there is none: `unmatched` or `borderline`."""
    words = set(label_words(f"{label} {caption}"))
    matches = [
        (len(phrase), place, decision)
        for place, category in enumerate(categories)
        for decision, phrases in ((Decision.RESPOND, category.respond), (Decision.IGNORE, category.ignore))
        for phrase in (set(label_words(text)) for text in phrases)
        if phrase and phrase <= words
    ]
    longest = max((length for length, _, _ in matches), default=0)
    found = {(place, decision) for length, place, decision in matches if length == longest}
    if len(found) != 1:
        return "borderline" if found else "unmatched"
    place, decision = found.pop()
    return categories[place], decision


def standard_answers(one: SelectedClip) -> list[str]:
    """Return acceptable responses: the templates of proactive streams for this sound, and those of the category."""
    texts = [answer.text for answer in respond_with_description("response_proactive_respond", one.clip)]
    sound = one.clip.caption or one.clip.label
    return list(dict.fromkeys([*texts, *(text.replace("{sound}", sound) for text in one.category.answers)]))


def _selected(recipe: ProactiveRecipe, index: ClipIndex, used: frozenset[str], counts: Counter[str]) -> list[SelectedClip]:
    fit: list[SelectedClip] = []
    places: dict[str, set[tuple[str, str, Decision]]] = {}
    for clip in index.clips():
        found = classify(clip.label, clip.caption, recipe.categories)
        if recipe.split is not None and clip.split != recipe.split:
            counts["of another split"] += 1
        elif clip.role not in recipe.roles:
            counts["of another role"] += 1
        elif clip.kind == "speech" or isinstance(found, str):
            counts["speech" if clip.kind == "speech" else str(found)] += 1
        elif _digests(clip) & used:
            counts["heard in training"] += 1
        else:
            fit.append(SelectedClip(clip, *found))
            for digest in _digests(clip):
                places.setdefault(digest, set()).add(fit[-1].place)
    sides: dict[tuple[str, str, Decision], list[SelectedClip]] = {}
    seen: set[str] = set()
    for one in fit:
        digests = _digests(one.clip)
        if any(len(places[digest]) > 1 for digest in digests):
            counts["borderline"] += 1  # the same sound has another label, which puts it elsewhere
        elif digests & seen:
            counts["doubled"] += 1
        else:
            seen |= digests
            sides.setdefault(one.place, []).append(one)
    kept = []
    for (domain, category_name, decision), group in sorted(sides.items()):
        group.sort(key=lambda one: one.clip.content_sha256)
        rng = rng_for(f"proactive-build/{BUILD_VERSION}/{recipe.seed}/{domain}/{category_name}/{decision}", 0, 0, "draw")
        drawn = sorted(rng.permutation(len(group))[: recipe.per_side].tolist())
        counts["above per_side"] += len(group) - len(drawn)
        kept += [group[place] for place in drawn]
    for name in [name for name, count in counts.items() if not count]:
        del counts[name]
    return kept


def _digests(clip: Clip) -> set[str]:
    return {clip.content_sha256, clip.clean_sha256}


def _used_clips(corpora: Iterable[StoredCorpus]) -> tuple[frozenset[str], list[str]]:
    """Return the hashes of all clips in corpora, including noise tracks, and the ids of the corpora."""
    found: set[str] = set()
    ids = []
    for corpus in corpora:
        ids.append(corpus.id)
        for shard, size in enumerate(corpus.shard_sizes):
            for index in range(size):
                plan = corpus.plan(shard, index)
                for clip in plan.clips:
                    found |= {clip.content_sha256, clip.clean_sha256}
                for noise in plan.noises:
                    found |= {digest for digest in (noise.content_sha256, noise.clean_sha256) if digest is not None}
    return frozenset(found), sorted(ids)


def _row(one: SelectedClip) -> dict[str, Any]:
    name = one.clip.content_sha256[:12]
    path = f"./{TREE}/{one.category.domain}/{one.category.category}/{one.decision.value}/{name}.wav"
    return {"id": name, "path": path, "description": one.clip.caption or one.clip.label, "decision": one.decision.value}


def _write_recording(clip: Clip, path: Path) -> None:
    """Write the source recording as PCM16 at 16 kHz, neither cleaned nor leveled."""
    source = Path(clip.path)
    try:
        is_unchanged = file_sha256(source) == clip.content_sha256
    except OSError as error:
        why = f"the recording cannot be read ({error.strerror or error})"
        raise InputError(why, file=source, field=clip.id, remedy="Restore the file, or index the clips again") from None
    if not is_unchanged:
        raise InputError(
            "the recording has changed since it was indexed", file=source, field=clip.id, remedy="Index the clips again"
        )
    samples = load(source)
    with temporary_file(path.parent) as temporary:
        soundfile.write(temporary, to_pcm16(samples), c.SAMPLE_RATE, format="WAV", subtype="PCM_16")
        temporary.replace(path)


def _provenance(name: str, clip: Clip) -> dict[str, Any]:
    fields = ("content_sha256", "label", "caption", "source", "licence", "attribution")
    return {"id": name, "clip": clip.id, **{field: getattr(clip, field) for field in fields}}


def _begin(out: Path, fingerprint: str) -> None:
    """Start or resume the set in `out`; raises InputError if the directory contains something else."""
    try:
        before = json_value((out / RECORD).read_bytes())
    except FileNotFoundError:
        if out.is_dir() and any(out.iterdir()):
            raise InputError("is not empty", file=out, remedy="Choose a new directory") from None
        write_atomic(out / RECORD, json.dumps({"fingerprint": fingerprint}).encode() + b"\n")  # marks the set as started
        return
    except ValueError:
        before = {}
    if not isinstance(before, dict) or before.get("fingerprint") != fingerprint:
        raise InputError("contains another test set", file=out, remedy="Choose a new directory, or delete this one")
