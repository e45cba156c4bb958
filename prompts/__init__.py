"""What the model is told and what it answers, as versioned templates with a content hash.

A template `NAME.v1.j2` holds one variant per line; `places.v1.yaml` holds the scene shapes of the template planner.
The hash of all of them is part of every fingerprint: changing a word here is a new corpus.
"""

from __future__ import annotations

import functools
import hashlib
from importlib import resources
from typing import Any

import jinja2
import yaml

_FILES = resources.files("prompts")
_ENVIRONMENT = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=False)


@functools.cache
def _lines(name: str) -> tuple[jinja2.Template, ...]:
    text = (_FILES / f"{name}.v1.j2").read_text(encoding="utf-8")
    return tuple(_ENVIRONMENT.from_string(line) for line in text.splitlines() if line.strip() and not line.startswith("{#"))


def variants(name: str, **values: object) -> list[str]:
    """Every variant of template `name`, filled in; a missing value raises jinja2.UndefinedError."""
    return [line.render(**values) for line in _lines(name)]


@functools.cache
def places() -> dict[str, dict[str, Any]]:
    """Place name → {title, words}: where the template planner lets scenes happen."""
    loaded: dict[str, dict[str, Any]] = yaml.safe_load((_FILES / "places.v1.yaml").read_text(encoding="utf-8"))
    return loaded


@functools.cache
def prompt_hash() -> str:
    """SHA-256 (hex) over the names and contents of all templates."""
    digest = hashlib.sha256()
    for file in sorted(_FILES.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith((".j2", ".yaml")):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
