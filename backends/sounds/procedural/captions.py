"""From captions to procedural sounds, and back.

Every word of a caption must belong to ONE sound or its parameters, or be neutral. Any other caption is rejected, with the words
that were not understood: a clip that only resembles its caption would be a wrong label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from soundflow.backends.sounds.procedural.catalogue import SOUNDS, parameters_of
from soundflow.backends.sounds.procedural.dsp import Choice, ProceduralSound, Range
from soundflow.schemas.outcome import Ok, Outcome, Rejected

LONGEST_CAPTION: Final = 2000
MOST_EVENTS: Final = 60
_NUMBER_WORDS: Final = "one single once|two twice double|three thrice|four|five|six|seven|eight|nine|ten|eleven|twelve"
_NUMBERS: Final = {word: number for number, words in enumerate(_NUMBER_WORDS.split("|"), 1) for word in words.split()}
_NEUTRAL: Final = """
a an the of in on at from by to into onto through near inside outside with over against along across up down out off for its it is
are being be as and or some somewhere then that this there very quite slightly fairly several short long brief
sound noise effect audio recording clip hear heard audible background foreground ambient scene
emit make produce go goes come continue continuous continuously constant constantly repeat repeatedly repetitive time per second
pause pattern burst series followed loud loudly quiet quietly clear clearly crisp persistent sudden suddenly distinct steady
steadily empty kitchen room living house home apartment office street city town building hall hallway corridor bathroom bedroom
garage garden park yard table indoors indoor wall upstairs downstairs night morning evening day afternoon distance pitched
sounding ringing ring
""".split()


@dataclass(frozen=True, slots=True)
class Match:
    """The meaning of a caption."""

    sound: ProceduralSound
    wishes: Mapping[str, str]
    """Parameter → `less`, `more` or the option of a choice."""
    count: int | None
    """Number of events that the caption states."""


def understand(caption: str) -> Outcome[Match]:
    """Find the sound whose words cover the whole caption; Rejected("cannot_make") lists the words that no sound covers."""
    if len(caption) > LONGEST_CAPTION:
        return Rejected("cannot_make", {"detail": f"a caption of {len(caption)} characters"})
    tokens = [_stem(word) for word in re.findall(r"[^\W\d_]+|\d+", caption.lower())]
    found: list[tuple[int, Match]] = []
    unknown = [token for token in tokens if token not in _STEMMED_NEUTRAL]
    for sound in SOUNDS.values():
        named = max((len(head) for head in _heads(sound) if head <= set(tokens)), default=0)
        if not named:
            continue
        read = _read(sound, tokens)
        if isinstance(read, Match):
            found.append((named, read))
        elif len(read) < len(unknown):
            unknown = read
    if not found:
        return Rejected("cannot_make", {"not_understood": sorted(set(unknown))[:20]})
    return Ok(max(found, key=lambda entry: entry[0])[1])


def describe(sound: ProceduralSound, parameters: Mapping[str, float | str], count: int | None) -> str:
    """Return a caption for a clip from its parameters; `understand` accepts it."""
    words = []
    for name, spec in parameters_of(sound).items():
        if isinstance(spec, Range):
            third = (float(parameters[name]) - spec.low) / (spec.high - spec.low) * 3
            words += (spec.less if third < 1 else spec.more if third > 2 else "").split()[:1]
    text = " ".join(sound.caption.format(adjectives=" ".join(words), **parameters).split())
    if count is not None:
        text += f", {next((word for word, number in _NUMBERS.items() if number == count), count)} times"
    return text[0].upper() + text[1:]


def _read(sound: ProceduralSound, tokens: list[str]) -> Match | list[str]:
    """The meaning of the caption for `sound`, or the words that it does not cover."""
    meanings: dict[str, tuple[str, str]] = {}
    for name, spec in parameters_of(sound).items():
        options = spec.options if isinstance(spec, Choice) else {"less": spec.less, "more": spec.more}
        for value, words in options.items():
            own = f"{value} {words}" if isinstance(spec, Choice) else words
            meanings |= {_stem(word): (name, value) for word in re.findall(r"[^\W\d_]+|\d+", own.lower())}
    known = {_stem(word) for word in sound.also.split()} | {word for head in _heads(sound) for word in head} | _STEMMED_NEUTRAL
    wishes: dict[str, str] = {}
    count: int | None = None
    unknown: list[str] = []
    for token in tokens:
        number = int(token) if token.isdecimal() and len(token) < 4 else _STEMMED_NUMBERS.get(token)
        if token in meanings:
            name, value = meanings[token]
            if wishes.setdefault(name, value) != value and token not in known:
                unknown.append(token)  # contradicts an earlier word
        elif token in known:
            continue
        elif number is not None and sound.counted and 1 <= number <= MOST_EVENTS and count in (None, number):
            count = number
        else:
            unknown.append(token)
    return unknown or Match(sound, wishes, count)


def _heads(sound: ProceduralSound) -> list[frozenset[str]]:
    return [frozenset(_stem(word) for word in head.split()) for head in sound.heads.split("|")]


def _stem(word: str) -> str:
    """A rough stem: `dripping` → `drip`, `knocks` → `knock`, `typing` and `type` → `typ`."""
    for ending, shortest in (("ally", 9), ("ing", 6), ("ed", 5), ("es", 5), ("s", 4), ("ly", 6)):
        if word.endswith(ending) and len(word) >= shortest and not word.endswith(("ss", "us")):
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "slz":
        word = word[:-1]
    if word.endswith("y") and len(word) > 3:
        word = word[:-1] + "i"
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


_STEMMED_NEUTRAL: Final = frozenset(_stem(word) for word in _NEUTRAL)
_STEMMED_NUMBERS: Final = {_stem(word): number for word, number in _NUMBERS.items()}
