"""What the model is told and what it answers, as versioned templates with a content hash.

A template `NAME.v1.j2` holds one variant per line; `ask_ROLE.v*.j2`, one version of each, what an LLM role is asked (system,
then user message), `correction.v1.j2` what it is told when its answer was wrong; `places.v1.yaml` holds the scene shapes of
the template planner, `questions.v1.yaml` the spoken questions whose answer follows from the stream.
The hash of what shapes a corpus is part of its fingerprint: changing a word here is a new corpus.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

import jinja2
import jinja2.meta
import yaml

_FILES = resources.files("soundflow.prompts")
_USER = "=== user ===\n"
_CORRECTION = "correction.v1.j2"
_ASK = re.compile(r"ask_(\w+)\.v\d+\.j2")
_ENVIRONMENT = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=False)


class Place(NamedTuple):
    """A shape of scenes."""

    title: str
    words: frozenset[str]
    """Of the labels and captions of what is heard there."""


@functools.cache
def _lines(name: str) -> tuple[jinja2.Template, ...]:
    text = (_FILES / f"{name}.v1.j2").read_text(encoding="utf-8")
    return tuple(_ENVIRONMENT.from_string(line) for line in text.splitlines() if line.strip() and not line.startswith("{#"))


def variants(name: str, **values: object) -> list[str]:
    """Every variant of template `name`, filled in; a missing value raises jinja2.UndefinedError."""
    return [line.render(**values) for line in _lines(name)]


def messages(role: str, **values: object) -> list[dict[str, str]]:
    """The system and user message of LLM role `role` (template `ask_<role>.v*.j2`), filled in.

    What comes from a corpus goes through the `data` filter: JSON inside a fence that nothing in it can close.
    """
    return [{"role": name, "content": part.render(**values).strip()} for name, part in _asked(role).items()]


@functools.cache
def _asked(role: str) -> dict[str, jinja2.Template]:
    system, _, user = asked_file(role).read_text(encoding="utf-8").partition(_USER)
    return {"system": _ENVIRONMENT.from_string(system), "user": _ENVIRONMENT.from_string(user)}


def correction(problem: str) -> str:
    """The user message that asks for a better answer. `problem` may quote the bad one: it is data too."""
    return _ENVIRONMENT.from_string((_FILES / _CORRECTION).read_text(encoding="utf-8")).render(problem=problem).strip()


def values_of(role: str) -> list[str]:
    """The names of the values that role `role` is asked with."""
    text = asked_file(role).read_text(encoding="utf-8")
    return sorted(jinja2.meta.find_undeclared_variables(_ENVIRONMENT.parse(text)))


def roles() -> list[str]:
    """The LLM roles there are prompts for."""
    return sorted(found[1] for file in _FILES.iterdir() if (found := _ASK.fullmatch(file.name)))


def asked_file(role: str) -> Traversable:
    """The template of an LLM role; FileNotFoundError when there is none."""
    for file in _FILES.iterdir():
        found = _ASK.fullmatch(file.name)
        if found and found[1] == role:
            return file
    raise FileNotFoundError(f"no prompt for role {role}")


def _data(value: object) -> str:
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises, and names what is missing
    text = _written(json.loads(json.dumps(value))).replace("<", "\\u003c")
    text = text.encode("utf-8", "replace").decode("utf-8")  # file names may hold lone surrogates
    return f"<data>\n{text}\n</data>"


def _written(value: Any) -> str:
    """JSON with an entry a line where entries are large: indented, half of what a model reads would be blanks."""
    held = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(one, (dict, list)) for one in held):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(_written, value)) + "\n]"
    return (
        "{\n" + ",\n".join(f"{json.dumps(name, ensure_ascii=False)}: {_written(value[name])}" for name in sorted(value)) + "\n}"
    )


_ENVIRONMENT.filters["data"] = _data


@functools.cache
def _questions() -> dict[str, str]:
    loaded = yaml.safe_load((_FILES / "questions.v1.yaml").read_text(encoding="utf-8"))
    return {text: kind for kind, texts in loaded.items() for text in texts}


def asked(transcript: str) -> str:
    """Which of the questions everybody may ask this is: `sound_last`, `sound_first`, `sound_count`, `review_first`,
    `review_answer`; empty for none."""
    return _questions().get(transcript, "")


def questions(kind: str) -> list[str]:
    """The wordings of one of them."""
    return [text for text, known in _questions().items() if known == kind]


@functools.cache
def _places() -> dict[str, Place]:
    loaded = yaml.safe_load((_FILES / "places.v1.yaml").read_text(encoding="utf-8"))
    return {name: Place(place["title"], frozenset(place["words"])) for name, place in loaded.items()}


@functools.cache
def places() -> dict[str, Place]:
    """Where the template planner lets scenes happen, by name."""
    return {name: place for name, place in _places().items() if name != "anywhere"}


def places_of(words: Iterable[str]) -> frozenset[str]:
    """The places that have most of `words`; all of them for words of sounds that may happen anywhere, none for unknown words."""
    known, said = _places(), set(words)
    counts = {name: len(said & place.words) for name, place in places().items()}
    most = max(counts.values())
    if most == 0:
        return frozenset(counts) if said & known["anywhere"].words else frozenset()
    return frozenset(name for name, count in counts.items() if count == most)


def prompt_hash() -> str:
    """SHA-256 (hex) over the templates that shape every corpus: instructions, responses, places."""
    return _hash(lambda name: not name.startswith("ask_") and name != _CORRECTION)


def role_hash(role: str) -> str:
    """SHA-256 (hex) over what LLM role `role` is asked; shapes only what that role answers."""
    return _hash((asked_file(role).name, _CORRECTION).__contains__)


def _hash(wanted: Callable[[str], bool]) -> str:
    digest = hashlib.sha256()
    for file in sorted(_FILES.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith((".j2", ".yaml")) and wanted(file.name):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
