"""Versioned prompt templates: instructions, responses and LLM roles, with a content hash.

`NAME.v1.j2` has one variant per line. `ask_ROLE.v*.j2` is the prompt of an LLM role (system message, then user message), in
exactly one version per role; `correction.v1.j2` is the user message after an invalid answer. `places.v1.yaml` lists the places of
the template planner, `questions.v1.yaml` the spoken questions that can be answered from the stream.
The hash of everything that shapes a corpus is part of its fingerprint: to change a word here is to make a new corpus.
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

from soundflow.schemas.documents import parse_yaml

_FILES = resources.files("soundflow.prompts")
_USER = "=== user ===\n"
_CORRECTION = "correction.v1.j2"
_ROLE_FILE = re.compile(r"ask_(\w+)\.v\d+\.j2")
_ENVIRONMENT = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=False)


class ScenePlace(NamedTuple):
    """A place where the template planner sets scenes."""

    title: str
    words: frozenset[str]
    """Words of labels and captions of the sounds that occur there."""


@functools.cache
def _lines(name: str) -> tuple[jinja2.Template, ...]:
    text = (_FILES / f"{name}.v1.j2").read_text(encoding="utf-8")
    return tuple(_ENVIRONMENT.from_string(line) for line in text.splitlines() if line.strip() and not line.startswith("{#"))


def variants(name: str, **values: object) -> list[str]:
    """Render every variant of the template `name`. Raises jinja2.UndefinedError for a missing value."""
    return [line.render(**values) for line in _lines(name)]


def messages(role: str, **values: object) -> list[dict[str, str]]:
    """Render the system and user message of an LLM role.

    Text from a corpus goes through the `data` filter: JSON inside a fence that the text cannot close.
    """
    return [{"role": name, "content": part.render(**values).strip()} for name, part in _role_templates(role).items()]


@functools.cache
def _role_templates(role: str) -> dict[str, jinja2.Template]:
    system, _, user = role_file(role).read_text(encoding="utf-8").partition(_USER)
    return {"system": _ENVIRONMENT.from_string(system), "user": _ENVIRONMENT.from_string(user)}


def correction(problem: str) -> str:
    """Render the user message that asks for a corrected answer. `problem` may quote the invalid one, so it is fenced as data."""
    return _ENVIRONMENT.from_string((_FILES / _CORRECTION).read_text(encoding="utf-8")).render(problem=problem).strip()


def role_variables(role: str) -> list[str]:
    """Return the names of the values that the prompt of a role needs."""
    text = role_file(role).read_text(encoding="utf-8")
    return sorted(jinja2.meta.find_undeclared_variables(_ENVIRONMENT.parse(text)))


def roles() -> list[str]:
    """Return the names of all LLM roles."""
    return sorted(found[1] for file in _FILES.iterdir() if (found := _ROLE_FILE.fullmatch(file.name)))


def role_file(role: str) -> Traversable:
    """Return the template file of an LLM role. Raises FileNotFoundError for an unknown role."""
    for file in _FILES.iterdir():
        found = _ROLE_FILE.fullmatch(file.name)
        if found and found[1] == role:
            return file
    raise FileNotFoundError(f"{role}: no prompt for this role. Known roles: {', '.join(roles())}")


def _data(value: object) -> str:
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises UndefinedError with the name of the value
    text = _multiline_json(json.loads(json.dumps(value))).replace("<", "\\u003c")
    text = text.encode("utf-8", "replace").decode("utf-8")  # file names may contain lone surrogates
    return f"<data>\n{text}\n</data>"


def _multiline_json(value: Any) -> str:
    """Return JSON with one entry per line where entries are nested. Indentation would double the number of tokens."""
    entries = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(entry, (dict, list)) for entry in entries):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(_multiline_json, value)) + "\n]"
    pairs = (f"{json.dumps(name, ensure_ascii=False)}: {_multiline_json(value[name])}" for name in sorted(value))
    return "{\n" + ",\n".join(pairs) + "\n}"


_ENVIRONMENT.filters["data"] = _data


@functools.cache
def _question_kinds() -> dict[str, str]:
    loaded = parse_yaml((_FILES / "questions.v1.yaml").read_text(encoding="utf-8"))
    return {text: kind for kind, texts in loaded.items() for text in texts}


def question_kind(transcript: str) -> str:
    """Return which question of `questions.v1.yaml` a transcript is; empty for any other text.

    Kinds: `sound_last`, `sound_first`, `sound_count`, `review_first`, `review_answer`.
    """
    return _question_kinds().get(transcript, "")


def question_texts(kind: str) -> list[str]:
    """Return the wordings of one kind of question."""
    return [text for text, known in _question_kinds().items() if known == kind]


@functools.cache
def _places() -> dict[str, ScenePlace]:
    loaded = parse_yaml((_FILES / "places.v1.yaml").read_text(encoding="utf-8"))
    return {name: ScenePlace(place["title"], frozenset(place["words"])) for name, place in loaded.items()}


@functools.cache
def places() -> dict[str, ScenePlace]:
    """Return the places of the template planner, by name."""
    return {name: place for name, place in _places().items() if name != "anywhere"}


def places_of(words: Iterable[str]) -> frozenset[str]:
    """Return the names of the places that have most of `words`: all places for sounds of no particular place, none if unknown."""
    known, given = _places(), set(words)
    counts = {name: len(given & place.words) for name, place in places().items()}
    most = max(counts.values())
    if most == 0:
        return frozenset(counts) if given & known["anywhere"].words else frozenset()
    return frozenset(name for name, count in counts.items() if count == most)


def prompt_hash() -> str:
    """Return the SHA-256 (hex) over the files that shape every corpus: instructions, responses, places, questions."""
    return _hash(lambda name: not name.startswith("ask_") and name != _CORRECTION)


def role_hash(role: str) -> str:
    """Return the SHA-256 (hex) over the prompt of an LLM role, which shapes only that role's answers."""
    return _hash((role_file(role).name, _CORRECTION).__contains__)


def _hash(is_included: Callable[[str], bool]) -> str:
    digest = hashlib.sha256()
    for file in sorted(_FILES.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith((".j2", ".yaml")) and is_included(file.name):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
