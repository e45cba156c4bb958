"""What every command shares: exit codes, the --json flag, where output goes."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

FAILED: Final = 1
"""`verify` found problems."""
USAGE: Final = 2
INCOMPLETE: Final = 3
"""Shards failed or are missing; the same command resumes."""
INTERRUPTED: Final = 130

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Timeout = Annotated[float | None, typer.Option(min=1, max=3600, help="Seconds one call to a server may take; default 120.")]
Retries = Annotated[int | None, typer.Option(min=0, max=100, help="Of a call whose server or line failed; default 8.")]


class ExecutorName(StrEnum):
    """Where the work is done."""

    INLINE = "inline"
    RAY = "ray"


def sub_app(about: str) -> typer.Typer:
    """An empty group of commands."""
    return typer.Typer(help=about, no_args_is_help=True, rich_markup_mode=None)


def say(text: str) -> None:
    """A line for people, on stdout."""
    typer.echo(text)


def say_json(document: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(document, ensure_ascii=False, sort_keys=True))
