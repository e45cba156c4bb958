"""The interface of a clip index for planner and composer, and the palette of its clips.

`pipeline.clips.table.ClipIndex` is the implementation on disk.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from soundflow import prompts
from soundflow.schemas import constants as c
from soundflow.schemas.clip import Clip, ClipRole, Kind, kind_of
from soundflow.schemas.decision import DecisionRules, danger_of, decision_of
from soundflow.schemas.licences import UNKNOWN, is_listed
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.taxonomy import (
    SUB_TASKS,
    Capability,
    Task,
    Urgency,
    chat_style,
    emotion,
    is_music,
    label_words,
    speech_style,
)


class ClipBrief(NamedTuple):
    """The columns by which a planner chooses clips; small enough to keep for every clip of an index."""

    id: str
    role: ClipRole
    kind: Kind
    label: str
    caption: str
    source: str
    split: str
    samples: int
    has_reply: bool = False
    language: str = ""
    dialogue: str = ""
    turn: int | None = None
    translated: bool = False
    translation_language: str = ""
    aligned: bool = False
    """Whether its words have times."""
    voice: str = ""
    content_sha256: str = ""
    asks: str = ""
    """Kind of question that the speech asks, see `prompts.question_kind`; empty for none."""
    decision: Urgency | None = None
    """See `schemas.clip.ClipFacts`."""
    licence: str = UNKNOWN
    transcript_rejected: str | None = None
    """See `schemas.clip.Clip`."""

    @classmethod
    def of(cls, clip: Clip) -> Self:
        """Return the brief of a clip. The index itself reads columns instead of validating every row (`pipeline.clips.table`)."""
        copied = {name: getattr(clip, name) for name in COPIED}
        return cls.derive(copied, clip.transcript, clip.reply, clip.translation, aligned=bool(clip.words))

    @classmethod
    def derive(
        cls, copied: Mapping[str, Any], transcript: str | None, reply: str | None, translation: str | None, *, aligned: bool
    ) -> Self:
        """Return the brief of a clip whose `COPIED` fields are `copied`; the rest follows from its texts."""
        return cls(
            **copied,
            kind=kind_of(transcript),
            has_reply=bool(reply),
            translated=bool(translation),
            aligned=aligned,
            asks=prompts.question_kind(transcript or ""),
        )


COPIED: Final = tuple(name for name in ClipBrief._fields if name in Clip.model_fields)
"""Fields of a brief that are fields of its clip; the others are derived."""


class ClipPool(Protocol):
    """Clips by id, in a fixed order, with their cleaned audio."""

    def briefs(self) -> Sequence[ClipBrief]:
        """Return the briefs of all clips, sorted by id."""
        ...

    def ids(self, role: ClipRole) -> Sequence[str]:
        """Return the ids of a role, sorted."""
        ...

    def get(self, clip_id: str) -> Clip:
        """Return a clip. Raises KeyError for an unknown id."""
        ...

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """Return the cleaned samples in [-1, 1], shape (clip.samples,), 16 kHz, read-only. Raises OSError if they are missing or
        damaged."""
        ...


class DecidedPool:
    """A ClipPool whose clips carry the decisions of a recipe's taxonomy where their manifest has none."""

    def __init__(self, base: ClipPool, rules: DecisionRules):
        self.base, self.rules = base, rules

    def briefs(self) -> Sequence[ClipBrief]:
        """See `ClipPool`."""
        return [
            brief if brief.decision else brief._replace(decision=self.rules.find(brief.label)) for brief in self.base.briefs()
        ]

    def ids(self, role: ClipRole) -> Sequence[str]:
        """See `ClipPool`."""
        return self.base.ids(role)

    def get(self, clip_id: str) -> Clip:
        """See `ClipPool`."""
        return decided_clip(self.base.get(clip_id), self.rules)

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """See `ClipPool`."""
        return self.base.audio(clip)


def decided_clip(clip: Clip, rules: DecisionRules) -> Clip:
    """Return a clip with the decision of the rules, unless it has one or none matches."""
    ruled = None if clip.decision else rules.find(clip.label)
    return clip if ruled is None else clip.model_copy(update={"decision": ruled})


class SelectedPool:
    """A ClipPool of some of the clips of another one. `get` and `audio` also accept the others."""

    def __init__(self, base: ClipPool, kept: frozenset[str]):
        self.base, self.kept = base, kept
        self._roles: dict[ClipRole, list[str]] = {}

    def briefs(self) -> Sequence[ClipBrief]:
        """See `ClipPool`."""
        return [brief for brief in self.base.briefs() if brief.id in self.kept]

    def ids(self, role: ClipRole) -> Sequence[str]:
        """See `ClipPool`."""
        if role not in self._roles:
            self._roles[role] = [clip_id for clip_id in self.base.ids(role) if clip_id in self.kept]
        return self._roles[role]

    def get(self, clip_id: str) -> Clip:
        """See `ClipPool`."""
        return self.base.get(clip_id)

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """See `ClipPool`."""
        return self.base.audio(clip)


def licensed_pool(pool: ClipPool, recipe: Recipe) -> ClipPool:
    """Return the clips of the licences that a recipe lists; all clips if it lists none."""
    if not recipe.licences:
        return pool
    fits = {text: is_listed(text, recipe.licences) for text in {brief.licence for brief in pool.briefs()}}
    return SelectedPool(pool, frozenset(brief.id for brief in pool.briefs() if fits[brief.licence]))


def decided_pool(pool: ClipPool, recipe: Recipe) -> ClipPool:
    """Return the clips of a recipe's licences with the decisions of its taxonomy."""
    pool = licensed_pool(pool, recipe)
    return DecidedPool(pool, DecisionRules(recipe.taxonomy)) if recipe.taxonomy else pool


class Candidate(NamedTuple):
    """A clip that a planner may choose, with its features."""

    id: str
    samples: int
    source: str
    places: frozenset[str]
    """Places of the template planner where the sound may occur; empty if label and caption do not tell."""
    speaker: str = ""
    """The voice if it is known, else the source."""
    direction: str = ""
    """Direction of the translation, such as `en>zh`; empty without a translation."""
    dialogue: str = ""
    turn: int = 0
    name: str = ""
    """The words of the label."""
    aligned: bool = False
    asks: str = ""
    """See `ClipBrief`."""


Candidates = list[Candidate]


@dataclass(frozen=True)
class Palette:
    """The clips of an index, grouped by use. Built once per worker; lists are in id order."""

    speech: Candidates = field(default_factory=list)
    sounds: Candidates = field(default_factory=list)
    """Foreground sounds with a label."""
    dialogue: Candidates = field(default_factory=list)
    """Speech with a reply. Turns of dialogues only if no earlier turn is missing."""
    turns: dict[str, Candidates] = field(default_factory=dict)
    """Turns of each dialogue in order, up to the first missing one."""
    single: Candidates = field(default_factory=list)
    """Speech that is not a turn of a dialogue: the clips with a reply, or all if none has one."""
    aligned: Candidates = field(default_factory=list)
    """Speech whose words have times."""
    translated: Candidates = field(default_factory=list)
    """Aligned speech with a translation into another language."""
    hazards: Candidates = field(default_factory=list)
    """Foreground sounds that call for a response."""
    benign: Candidates = field(default_factory=list)
    rejected: Candidates = field(default_factory=list)
    """Foreground speech whose transcript alignment rejected. It is in no other list unless the recipe uses it."""
    background: Candidates = field(default_factory=list)
    ambient: Candidates = field(default_factory=list)
    too_long: Candidates = field(default_factory=list)
    """Foreground clips that are in no other list, since they are longer than a stream may be."""
    kinds: dict[str, Candidates] = field(default_factory=dict)
    """Foreground clips by further uses: a sub-task, `music`, `emotion`, `repeated` (sounds whose label occurs more than once),
    `alone` (speech with a reply that depends on no earlier turn), `review` (turns that ask about earlier ones) and
    `question:<kind>` (see `prompts.question_kind`)."""

    def of_kind(self, kind: str) -> Candidates:
        """Return the clips of a kind, possibly none."""
        return self.kinds.get(kind, [])

    @classmethod
    def of(cls, pool: ClipPool, split: str | None = None, *, use_rejected: bool = False) -> Self:
        """Group the clips of `pool`, or of one split of it. `use_rejected`: see `of_briefs`."""
        briefs = (brief for brief in pool.briefs() if split is None or brief.split == split)
        return cls.of_briefs(briefs, use_rejected=use_rejected)

    @classmethod
    def of_recipe(cls, pool: ClipPool, recipe: Recipe) -> Self:
        """Group the clips of `pool` that the streams of a recipe may contain.

        By its `split`, `scene.max_seconds` and `rejected_transcripts`.
        """
        kept = (brief for brief in pool.briefs() if recipe.split is None or brief.split == recipe.split)
        return cls.of_briefs(kept, recipe.scene.longest_clip, use_rejected=recipe.rejected_transcripts == "use")

    @classmethod
    def of_briefs(cls, briefs: Iterable[ClipBrief], longest: int | None = None, *, use_rejected: bool = False) -> Self:
        """Group clips.

        `longest`: maximum length of foreground clips in samples. `use_rejected`: use speech whose transcript alignment rejected.
        """
        palette = cls()
        for brief in briefs:
            palette._add(brief, longest, use_rejected)
        palette._finish()
        return palette

    def _add(self, brief: ClipBrief, longest: int | None, use_rejected: bool) -> None:
        verdict = decision_of(brief)
        clip = Candidate(
            brief.id,
            brief.samples,
            brief.source,
            places_of(f"{brief.label} {brief.caption}"),
            brief.voice or brief.source,
            direction(brief.language, brief.translation_language) if brief.translated else "",
            brief.dialogue,
            brief.turn or 0,
            " ".join(label_words(brief.label)) or brief.label,
            brief.aligned,
            brief.asks,
        )
        is_rejected = brief.role is ClipRole.FOREGROUND and bool(brief.transcript_rejected)
        if is_rejected:
            self.rejected.append(clip)
        if longest is not None and brief.role is ClipRole.FOREGROUND and brief.samples > longest:
            self.too_long.append(clip)
        elif brief.kind == "speech":
            if brief.role is ClipRole.FOREGROUND and (use_rejected or not is_rejected):
                self._add_speech(brief, clip)
        elif brief.role is ClipRole.FOREGROUND and brief.label:
            self.sounds.append(clip)
            kinds = "emotion" if emotion(brief.label) else None, "music" if is_music(brief.label, brief.caption) else None
            self._add_kinds(clip, danger_of(brief), *kinds)
            if verdict is Urgency.RESPOND:
                self.hazards.append(clip)
            if verdict is Urgency.IGNORE:
                self.benign.append(clip)
        # Hazards never play in the background, where they would get no response.
        elif brief.role is ClipRole.BACKGROUND and verdict is not Urgency.RESPOND:
            self.background.append(clip)
        elif brief.role is ClipRole.AMBIENT and verdict is not Urgency.RESPOND:
            self.ambient.append(clip)

    def _add_speech(self, brief: ClipBrief, clip: Candidate) -> None:
        self.speech.append(clip)
        self._add_kinds(clip, speech_style(brief.label, brief.language, brief.source), _SENTENCES.get(clip.direction))
        self._add_kinds(clip, "emotion" if emotion(brief.label) else None, "review" if "review" in clip.name.split() else None)
        self._add_kinds(clip, f"question:{clip.asks}" if clip.asks else None)
        if brief.has_reply:
            self._add_kinds(clip, chat_style(brief.label, brief.source))
            self.dialogue.append(clip)
        if brief.dialogue:
            self.turns.setdefault(brief.dialogue, []).append(clip)
        else:
            self.single.append(clip)
        if brief.aligned:
            self.aligned.append(clip)
            if clip.direction:
                self.translated.append(clip)
                self._add_kinds(clip, _SIMULTANEOUS.get(clip.direction))

    def _add_kinds(self, clip: Candidate, *kinds: str | None) -> None:
        for kind in kinds:
            if kind is not None:
                self.kinds.setdefault(kind, []).append(clip)

    def _finish(self) -> None:
        """Remove turns whose earlier turns are missing and derive the lists that need all clips."""
        alone = {turns[0].id for turns in self.turns.values() if len(turns) == 1}
        for name, turns in list(self.turns.items()):
            self.turns[name] = _complete_turns(turns)
        reached = {clip.id for turns in self.turns.values() for clip in turns}
        self.dialogue[:] = [clip for clip in self.dialogue if not clip.dialogue or clip.id in reached]
        self.single[:] = [clip for clip in self.dialogue if not clip.dialogue] or self.single
        self.kinds["alone"] = [clip for clip in self.dialogue if not clip.dialogue or clip.id in alone]
        replied = {clip.id for clip in self.dialogue}
        for kind in (Task.CHAT_FACTUAL, Task.CHAT_DISCUSSION):
            self.kinds[kind] = [clip for clip in self.of_kind(kind) if clip.id in replied]
        long = {clip.id for turns in self.turns.values() if len(turns) >= c.EVENTS_RANGE[0] for clip in turns}
        self.kinds[Task.CHAT_MULTI_TURN] = [clip for clip in self.dialogue if clip.id in long]
        asking = {clip.dialogue for clip in self.of_kind("review")}
        own = [clip for clip in self.of_kind(Task.CHAT_MULTI_TURN) if clip.dialogue in asking]
        self.kinds[Task.CHAT_HISTORY] = own or self.of_kind(Task.CHAT_MULTI_TURN)
        for kind in SUB_TASKS[Capability.ASR]:
            self.kinds[kind] = [clip for clip in self.of_kind(kind) if clip.aligned] or self.of_kind(kind)
        names = Counter(clip.name for clip in self.sounds)
        self.kinds["repeated"] = [clip for clip in self.sounds if names[clip.name] > 1]


_SENTENCES: Final = {"en>zh": Task.TRANSLATION_EN_ZH, "zh>en": Task.TRANSLATION_ZH_EN}
_SIMULTANEOUS: Final = {"en>zh": Task.INTERPRETATION_EN_ZH, "zh>en": Task.INTERPRETATION_ZH_EN}


def direction(language: str, into: str) -> str:
    """Return two languages as `en>zh`; empty if one is unknown or both are the same."""
    source, target = (code.partition("-")[0] for code in (language, into))
    return f"{source}>{target}" if source and target and source != target else ""


def _complete_turns(turns: Candidates) -> Candidates:
    """Return the turns of a dialogue from its first (number 0 or 1) up to a missing or duplicate one."""
    ordered = sorted(turns, key=lambda clip: (clip.turn, clip.id))
    first = ordered[0].turn
    if first > 1:
        return []
    missing = next((at for at, clip in enumerate(ordered) if clip.turn != first + at), len(ordered))
    return ordered[:missing]


@functools.lru_cache(maxsize=65_536)  # thousands of clips share a label
def places_of(text: str) -> frozenset[str]:
    """Return the places where a sound with this label or caption may occur (`prompts.places_of`)."""
    return prompts.places_of(label_words(text))
